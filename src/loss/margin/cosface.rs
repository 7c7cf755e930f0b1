use burn::config::Config;
use burn::tensor::Tensor;

use crate::softmax::{TargetAngles, TargetScores};

/// The additive cosine margin of CosFace (AM softmax): it lowers the cosine between a feature and the vector
/// of its class.
///
/// ```text
/// cos(theta_y)  becomes  cos(theta_y) - m
/// ```
///
/// `theta_y` is the angle between feature and class vector, `m` the margin.
///
/// # Differences from the references
///
/// All references compute the same value. pytorch-metric-learning has a margin of 0.35 and a scale of 64,
/// insightface 0.4 and 64 in most of its configurations.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_center_loss::{Margin, MarginSoftmaxConfig};
///
/// let device = Device::flex().autodiff();
/// let loss = MarginSoftmaxConfig::new(2, 2)
///     .with_margin(Margin::cosface(0.25))
///     .with_scale(2.0)
///     .init_with_centers(Tensor::from_data([[1.0, 0.0], [0.0, 1.0]], &device))?;
///
/// // The cosines are 1 and 0; the first one counts as 0.75.
/// let value = loss.forward(Tensor::from_data([[3.0, 0.0]], &device), Tensor::from_data([0], &device));
/// let expected = (1.5_f32.exp() + 1.0).ln() - 1.5;
/// assert!((value.into_scalar::<f32>() - expected).abs() < 1e-6);
/// # Ok::<(), burn_center_loss::LossError>(())
/// ```
///
/// # Errors
///
/// [`MarginSoftmaxConfig::try_init`](crate::MarginSoftmaxConfig::try_init) refuses a margin that is
/// negative or not finite.
///
/// # References
///
/// Hao Wang, Yitong Wang, Zheng Zhou, Xing Ji, Dihong Gong, Jingchao Zhou, Zhifeng Li, Wei Liu: CosFace:
/// Large Margin Cosine Loss for Deep Face Recognition, CVPR 2018. Feng Wang, Weiyang Liu, Haijun Liu, Jian
/// Cheng: Additive Margin Softmax for Face Verification, IEEE Signal Processing Letters 2018.
#[doc(alias = "CosFaceLoss")]
#[doc(alias = "AMSoftmax")]
#[doc(alias = "LMCL")]
#[derive(Config, Debug, PartialEq)]
pub struct CosFace {
    /// The margin, finite and not negative. Default: 0.35.
    #[config(default = 0.35)]
    pub margin: f64,
    /// One margin per class, in place of `margin`. Classes that are added later get `margin`. Default: none.
    /// [`class_margins_from_counts`](crate::margin::class_margins_from_counts) makes them.
    pub class_margins: Option<Vec<f64>>,
}

/// The scores with these margins, `[1]` or `[batch_size]`.
pub(super) fn target_scores(angles: &TargetAngles, margins: Tensor<1>) -> TargetScores {
    TargetScores {
        value: angles.cosine.clone() - margins,
        slope: angles.sine.clone(),
    }
}
