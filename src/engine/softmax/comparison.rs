//! All ways to the losses of a softmax against each other.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use burn::tensor::{DType, Device, Distribution, Int, Tensor};

use super::angles::{by_operations, own_angles};
use super::arithmetic::Arithmetic;
use super::blocks::Blocks;
use super::losses::with_gradients;
use super::plain;
use super::problem::{Angles, OwnScores, Scale, Softmax};
use crate::batch::PerSample;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
use crate::engine::cube;
use crate::engine::host;

/// Features and class vectors on an autodiff device.
struct Inputs {
    features: Tensor<2>,
    centers: Tensor<2>,
    classes: Tensor<1, Int>,
}

fn inputs(sub_centers: usize, columns: usize, dtype: DType) -> Inputs {
    let device = Device::flex();
    device.seed(3);
    let autodiff = device.clone().autodiff();
    let random = |rows| {
        let normal = Distribution::Normal(0.0, 1.0);
        Tensor::<2>::random([rows, columns], normal, (&autodiff, dtype)).require_grad()
    };
    Inputs {
        features: random(20),
        centers: random(37 * sub_centers),
        classes: Tensor::arange(0..20, &device) * 7 % 37,
    }
}

fn problem(inputs: &Inputs, sub_centers: usize, scale: Scale, bound: Option<f64>) -> Softmax {
    let Inputs {
        features,
        centers,
        classes,
    } = inputs;
    let angles = own_angles(
        features.clone(),
        centers.clone(),
        classes.clone(),
        sub_centers,
    );
    let (cosine, sine) = (angles.cosine.clone(), angles.sine.clone());
    let (cos, sin) = (0.3_f64.cos(), 0.3_f64.sin());
    Softmax {
        features: features.clone(),
        centers: centers.clone(),
        classes: classes.clone(),
        sub_centers,
        scale,
        bound,
        smoothing: 0.1,
        own: OwnScores {
            value: cosine.clone() * cos - sine.clone() * sin,
            slope: sine * cos + cosine * sin,
        },
        angles,
        budget: usize::MAX,
    }
}

/// Losses and both gradients of a weighted sum.
fn run(inputs: &Inputs, losses: Tensor<1>) -> [Vec<f64>; 3] {
    let weights = Tensor::<1, Int>::arange(1..21, &losses.device()).float();
    let value = (losses.clone() * weights.cast(losses.dtype())).sum();
    let gradients = value.backward();
    let values = |tensor: Tensor<2>| tensor.into_data().iter::<f64>().collect();
    [
        losses.into_data().iter::<f64>().collect(),
        values(inputs.features.grad(&gradients).unwrap()),
        values(inputs.centers.grad(&gradients).unwrap()),
    ]
}

fn assert_close(name: &str, found: &[Vec<f64>; 3], expected: &[Vec<f64>; 3], tolerance: f64) {
    for (found, expected) in found.iter().zip(expected) {
        let scale = expected.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
        for (found, expected) in found.iter().zip(expected) {
            let error = (found - expected).abs();
            assert!(
                error <= tolerance * scale,
                "{name}: {found} is not {expected}"
            );
        }
    }
}

#[test]
fn blocks_plain_operations_and_host_loops_agree() {
    for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 1e-5)] {
        for sub_centers in [1, 3] {
            for scale in [Scale::Fixed(9.0), Scale::Length(2.0)] {
                for bound in [None, Some(0.6)] {
                    let inputs = inputs(sub_centers, 5, dtype);
                    let problem = || problem(&inputs, sub_centers, scale, bound);
                    let name = format!("{dtype:?}, {sub_centers}, {scale:?}, {bound:?}");
                    let pair = || [inputs.features.clone(), inputs.centers.clone()];
                    let expected = run(&inputs, plain::losses(&problem()));
                    // Nothing kept, the scores, what belongs to them too; one block and several.
                    for budget in [0, 740 * 5, 740 * 9, 740 * 18, usize::MAX] {
                        for block_scores in [1, 300, 1 << 20] {
                            let mut problem = problem();
                            problem.budget = budget;
                            let (losses, blocks) = Blocks::forward_by(problem, block_scores);
                            let found = run(&inputs, with_gradients(pair(), losses, blocks));
                            let name = format!("{name}, {budget} bytes, {block_scores} at once");
                            assert_close(&name, &found, &expected, tolerance);
                        }
                    }
                    if let Some(found) = host::losses(&problem(), None, false) {
                        assert_eq!(dtype, DType::F32);
                        let found =
                            run(&inputs, with_gradients(pair(), found.value, found.softmax));
                        assert_close(&name, &found, &expected, tolerance);
                    } else {
                        assert_eq!(dtype, DType::F64);
                    }
                }
            }
        }
    }
}

/// The angles by tensor operations and, on devices that have them, by kernels; each with a name.
fn angles_elsewhere(
    features: &Tensor<2>,
    centers: &Tensor<2>,
    classes: &Tensor<1, Int>,
    sub_centers: usize,
) -> Vec<(String, Angles)> {
    let mut found = vec![];
    for dtype in [DType::F64, DType::F32] {
        let arithmetic = Arithmetic::new(dtype);
        let (features, centers, classes) = (features.clone(), centers.clone(), classes.clone());
        found.push((
            format!("operations in {dtype:?}"),
            by_operations(features, centers, classes, sub_centers, arithmetic),
        ));
    }
    #[cfg(any(feature = "wgpu", feature = "cuda"))]
    for device in cube::devices() {
        for dtype in [DType::F64, DType::F32] {
            if device.supports_dtype(dtype) {
                let angles = cube::own_angles(
                    features.clone().to_device(&device),
                    centers.clone().to_device(&device),
                    classes.clone().to_device(&device),
                    sub_centers,
                    Arithmetic::new(dtype),
                );
                found.push((format!("kernel in {dtype:?}"), angles));
            }
        }
    }
    found
}

#[test]
fn angles_by_other_means_are_those_of_the_host() {
    let device = Device::flex();
    for (sub_centers, length, columns) in [
        (1, 1.0, 5),
        (3, 1.0, 5),
        (1, 1e-30, 5),
        (3, 1e-30, 5),
        (1, 1e30, 5),
        (3, 1e30, 5),
        (1, 1.0, 1),
        (2, 1.0, 300),
    ] {
        let Inputs {
            features,
            centers,
            classes,
        } = inputs(sub_centers, columns, DType::F32);
        let (mut features, centers) = (features.inner(), centers.inner());
        // Along and opposite: exactly, and by angles that a rounding of f32 would swallow. And zero.
        let own = centers.clone().slice(0..1);
        let off = features.clone().slice(0..1);
        for (row, along, across) in [
            (0, 2.0, 0.0),
            (1, -1.0, 0.0),
            (2, 1.0, 1e-4),
            (3, -1.0, 1e-6),
            (4, 1.0, 1e-7),
            (5, 0.0, 0.0),
        ] {
            let feature = own.clone() * along + off.clone() * across;
            features = features.slice_assign(row..row + 1, feature);
        }
        let first: Vec<i64> = [[0_i64; 6].as_slice(), &[1; 14]].concat();
        let classes = classes * Tensor::from_data(first.as_slice(), &device);
        let features = features * length;
        let expected = host::own_angles(&features, &centers, &classes, sub_centers).unwrap();
        for (means, found) in angles_elsewhere(&features, &centers, &classes, sub_centers) {
            let what = format!("{means}, {columns} columns of length {length}");
            let rows: [Vec<i64>; 2] =
                [&found.rows, &expected.rows].map(|rows| rows.to_data().iter::<i64>().collect());
            assert_eq!(rows[0], rows[1], "{what}");
            let numbers = |numbers: &PerSample| numbers.clone().into_values().unwrap();
            let rows = |rows: &Tensor<2>| rows.to_data().iter::<f64>().collect::<Vec<f64>>();
            // Slopes by the feature are as large as it is small.
            for (name, get, scale) in [
                (
                    "angle",
                    &(|angles: &Angles| numbers(&angles.angle)) as &dyn Fn(&Angles) -> Vec<f64>,
                    1.0,
                ),
                ("cosine", &|angles| numbers(&angles.cosine), 1.0),
                ("sine", &|angles| numbers(&angles.sine), 1.0),
                ("length", &|angles| numbers(&angles.length), length),
                (
                    "features",
                    &|angles| rows(&angles.by_features),
                    1.0 / length,
                ),
                ("centers", &|angles| rows(&angles.by_centers), 1.0),
            ] {
                for (place, (found, expected)) in
                    get(&found).iter().zip(&get(&expected)).enumerate()
                {
                    let error = (found - expected).abs() / scale;
                    assert!(
                        error <= 2e-6,
                        "{name} {place} by {what}: {found} is not {expected}"
                    );
                }
            }
        }
    }
}
