use burn::tensor::{IndexingUpdateOp, Int, Tensor};

#[cfg(feature = "_kernels")]
use super::class_totals::MANY_SAMPLES;
#[cfg(feature = "_kernels")]
use super::cube;
#[cfg(feature = "flex")]
use super::host;
use crate::centers::{CentersError, Step, Target};
#[cfg(any(feature = "flex", feature = "_kernels"))]
use crate::device::Engine;
use crate::device::engine_of;

/// A step that is ready to be taken: nothing about it can fail any more.
#[allow(
    clippy::large_enum_variant,
    reason = "lives for one call, on the stack; which features are on decides whether it is one"
)]
pub(crate) enum Addition {
    /// Rows, each added to the center of the class beside it.
    Rows(Tensor<1, Int>, Tensor<2>),
    #[cfg(feature = "flex")]
    Host(host::InPlace),
    #[cfg(feature = "_kernels")]
    Cube(cube::InPlace),
}

/// Checks that a step, which is on the device of the centers, fits them, and brings it into the form that its
/// engine takes.
pub(crate) fn prepare(step: Step, target: &Target) -> Result<Addition, CentersError> {
    target.check(&step.pulls, step.num_classes)?;
    Ok(match engine_of(&target.device) {
        #[cfg(feature = "flex")]
        Engine::Host => match host::InPlace::new(step) {
            Ok(step) => Addition::Host(step),
            Err(step) => by_rows(*step),
        },
        // The kernel looks for entries of one class by comparing them, which many entries make slow.
        #[cfg(feature = "_kernels")]
        Engine::Cube if step.pulls.dims()[0] < MANY_SAMPLES => {
            Addition::Cube(cube::InPlace::new(step))
        }
        _ => by_rows(step),
    })
}

fn by_rows(step: Step) -> Addition {
    let (classes, rows) = step.rows();
    Addition::Rows(classes, rows)
}

impl Addition {
    /// The centers after the step, in place if their handle is the only one. A class that is named
    /// several times gets the sum. A value that would not be finite any more stays as it is.
    pub fn add_to(self, centers: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Rows(classes, rows) => add_rows(centers, classes, rows),
            #[cfg(feature = "flex")]
            Self::Host(step) => step.add_to(centers),
            #[cfg(feature = "_kernels")]
            Self::Cube(step) => step.add_to(centers),
        }
    }
}

/// The rows that could carry a value beyond what is finite become -0, which changes no bit.
fn add_rows(centers: Tensor<2>, classes: Tensor<1, Int>, rows: Tensor<2>) -> Tensor<2> {
    let [entries, _] = rows.dims();
    let limit = super::overflow::largest(rows.dtype());
    let own = centers.clone().select(0, classes.clone());
    // Divided before they are added, so that the sum is finite.
    let share = 1.0 / (2.0 * entries as f64);
    let far = own.abs().mul_scalar(share) + rows.clone().abs().mul_scalar(0.5);
    let stays_finite = far.lower_elem(limit * share);
    let rows = rows.mask_fill(stays_finite.bool_not(), -0.0);
    centers.select_assign(0, classes, rows, IndexingUpdateOp::Add)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::batch::PerSample;
    use crate::centers::Classes;
    use alloc::vec;
    use alloc::vec::Vec;
    use burn::tensor::{Device, FloatDType};

    fn step(pulls: [[f32; 2]; 2], num_classes: usize) -> Step {
        Step {
            classes: Classes::Host(vec![1, 1]),
            pulls: Tensor::from_data(pulls, &Device::flex()),
            factors: PerSample::Host(vec![1.0, 1.0]),
            num_classes,
            singles: None,
        }
    }

    fn target() -> Target {
        Target {
            shape: [2, 2],
            dtype: FloatDType::F32,
            device: Device::flex(),
        }
    }

    /// The centers after the step, from ones, by the engine of the device and by tensor operations.
    fn after(pulls: [[f32; 2]; 2]) -> [Vec<f64>; 2] {
        let by_engine = prepare(step(pulls, 2), &target()).unwrap();
        [by_engine, by_rows(step(pulls, 2))].map(|addition| {
            let centers = addition.add_to(Tensor::ones([2, 2], &Device::flex()));
            centers.into_data().iter::<f64>().collect()
        })
    }

    #[test]
    fn a_class_that_is_named_twice_gets_the_sum() {
        for centers in after([[1.0, 2.0], [3.0, 4.0]]) {
            assert_eq!(centers, [1.0, 1.0, 5.0, 7.0]);
        }
    }

    #[test]
    fn a_value_that_would_not_be_finite_stays() {
        for pulls in [[[3e38, 1.0], [3e38, 1.0]], [[f32::NAN, 1.0], [0.0, 1.0]]] {
            for centers in after(pulls) {
                assert_eq!(centers[3], 3.0);
                assert!(centers[2].is_finite());
            }
        }
    }

    #[test]
    fn a_step_that_does_not_fit_is_refused() {
        let refused = |step, target: &Target| match prepare(step, target) {
            Ok(_) => panic!("the step was accepted"),
            Err(error) => alloc::format!("{error}"),
        };
        let pulls = [[0.0; 2]; 2];
        assert_eq!(
            refused(step(pulls, 3), &target()),
            "the update is of 3 classes: this loss has 2"
        );
        let wide = Target {
            shape: [2, 5],
            ..target()
        };
        assert_eq!(
            refused(step(pulls, 2), &wide),
            "the update has feature_dim 2: it must have 5"
        );
        let double = Target {
            dtype: FloatDType::F64,
            ..target()
        };
        assert_eq!(
            refused(step(pulls, 2), &double),
            "the update is in F32: it must be in F64"
        );
    }
}
