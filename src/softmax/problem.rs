use burn::tensor::{Bool, Int, Tensor};
use burn_std::sync::Mutex;

use super::target_angles::TargetAngles;
use crate::device::{is_host, is_remote};

/// The factor `r_i` that turns the cosines of a sample into scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scale {
    /// The same number for all samples.
    Fixed(f64),
    /// A number times the norm of the feature.
    Length(f64),
}

/// The score that takes the place of the cosine of the target class, `[batch_size]` each, without autodiff.
#[derive(Clone, Debug)]
pub(crate) struct TargetScores {
    /// In place of the cosine.
    pub value: Tensor<1>,
    /// Minus the derivative of the value by the angle: the sine if the value is the cosine.
    pub slope: Tensor<1>,
}

/// Features, class vectors, and the rule that makes losses of their cosines.
///
/// ```text
/// z_ij = r_i * cos(x_i, w_j)    other classes; w_j the sub-center of class j with the largest cosine
/// z_iy = r_i * value_i          the target class
/// l_i  = log sum_j exp(z_ij) - (1 - smoothing) z_iy - smoothing / num_classes * sum_j z_ij
/// ```
#[derive(Debug)]
pub(crate) struct Softmax {
    /// `[batch_size, feature_dim]`; on the autodiff graph if they receive gradients.
    pub features: Tensor<2>,
    /// `[num_classes * sub_centers, feature_dim]`, the sub-centers of a class one after the other; on the
    /// autodiff graph if they receive gradients.
    pub centers: Tensor<2>,
    /// `[batch_size]`
    pub classes: Tensor<1, Int>,
    pub sub_centers: usize,
    pub scale: Scale,
    /// Cosines of other classes are limited to `-bound..=bound`, and receive no gradient beyond. Only under a
    /// fixed scale.
    pub bound: Option<f64>,
    pub smoothing: f64,
    pub angles: TargetAngles,
    pub target: TargetScores,
    /// The largest size in bytes of scores that are kept for the backward pass.
    pub budget: usize,
}

impl Softmax {
    pub fn num_classes(&self) -> usize {
        self.centers.dims()[0] / self.sub_centers
    }

    pub fn smoothing_per_class(&self) -> f64 {
        self.smoothing / self.num_classes() as f64
    }

    /// Numbers of the samples, `[batch_size, _]`, times the factors of their cosines.
    pub fn scaled(&self, numbers: Tensor<2>) -> Tensor<2> {
        match self.scale {
            Scale::Fixed(scale) => numbers.mul_scalar(scale),
            Scale::Length(scale) => {
                let norms = column(&self.angles.norms).cast(numbers.dtype());
                numbers * norms.mul_scalar(scale)
            }
        }
    }

    /// The numbers of the classes, `[1, num_classes]`, in the type of the classes.
    pub fn columns(&self) -> Tensor<2, Int> {
        numbers_like(&self.classes, self.num_classes())
    }

    /// The place of the target class of each sample among classes, `[1, classes]`: `[batch_size, classes]`.
    pub fn is_target(&self, columns: Tensor<2, Int>) -> Tensor<2, Bool> {
        let shape = [self.classes.dims()[0], columns.dims()[1]];
        let targets = self.classes.clone().unsqueeze_dim::<2>(1);
        targets.expand(shape).equal(columns.expand(shape))
    }
}

/// The whole numbers below `count`, `[1, count]`, on the device and in the type of classes. A GPU starts three kernels
/// for them, so that those of the last few losses are kept.
pub(super) fn numbers_like(classes: &Tensor<1, Int>, count: usize) -> Tensor<2, Int> {
    static KEPT: Mutex<Vec<Tensor<2, Int>>> = Mutex::new(Vec::new());
    let (device, dtype) = (classes.device(), classes.dtype());
    let make = || {
        let numbers = Tensor::<1, Int>::arange(0..count as i64, &device);
        numbers.cast(dtype).unsqueeze_dim(0)
    };
    if is_host(&device) || is_remote(&device) {
        return make();
    }
    let mut kept = KEPT.lock();
    let is_like = |numbers: &&Tensor<2, Int>| {
        numbers.dims() == [1, count] && numbers.device() == device && numbers.dtype() == dtype
    };
    if let Some(numbers) = kept.iter().find(is_like) {
        return numbers.clone();
    }
    let numbers = make();
    kept.insert(0, numbers.clone());
    kept.truncate(8);
    numbers
}

/// Numbers of the samples, `[batch_size]`, as `[batch_size, 1]`.
pub(super) fn column(numbers: &Tensor<1>) -> Tensor<2> {
    numbers.clone().unsqueeze_dim(1)
}
