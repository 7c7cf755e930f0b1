use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Int, Tensor};

use super::value::{nan_unless_finite, offsets, squares, weigh};
use crate::batch::{CheckedBatch, LabelledBatch, SkippedCounter};
use crate::centers::Centers;
use crate::distance::CenterDistance;
use crate::error::{LossError, not_negative, positive};
use crate::loss::common::{Call, Loss, LossConfig, check_batch};
use crate::loss::display::loss_display;
use crate::loss::surface::{assemble, common_settings, loss_config, loss_methods, with_centers};
use crate::reduce::{fusion_barrier, sum_dim};

loss_config! {
    /// Configuration of a [`ContrastiveCenterLoss`].
    ///
    /// The centers are drawn from a normal distribution with mean 0 and standard deviation 1 by default.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use burn_center_loss::ContrastiveCenterLossConfig;
    ///
    /// let loss = ContrastiveCenterLossConfig::new(10, 2).with_lambda(0.5).init(&Device::flex().autodiff());
    /// assert_eq!(loss.centers().dims(), [10, 2]);
    /// ```
    pub struct ContrastiveCenterLossConfig per sample {
        initializer: "burn::nn::Initializer::Normal { mean: 0.0, std: 1.0 }",
        /// The number that is added to the squared distances to other centers, so that the divisor is not 0;
        /// finite and greater than 0. Default: 1.
        #[config(default = 1.0)]
        pub delta: f64,
        /// The weight of the loss; finite and not negative. Default: 0.1.
        #[config(default = 0.1)]
        pub lambda: f64,
    }
}

impl LossConfig for ContrastiveCenterLossConfig {
    type Loss = ContrastiveCenterLoss;

    common_settings!();

    fn check_own(&self) -> Result<(), LossError> {
        positive("delta", self.delta)?;
        not_negative("lambda", self.lambda)?;
        Ok(())
    }

    assemble!(ContrastiveCenterLoss);

    fn distance(&self) -> CenterDistance {
        CenterDistance::Euclidean
    }

    fn has_functions(&self) -> bool {
        false
    }
}

/// Contrastive-center loss: pulls features towards the center of their class and away from all other centers.
///
/// ```text
/// q_ij = |x_i - c_j|^2
/// l_i  = 1/2 * q_iy / (sum_{j != y} q_ij + delta)
/// L    = lambda * reduce_i(w_i l_i)
/// ```
///
/// `x_i` is row `i` of the features, `y` its label, and `c_j` the center of class `j`. `w_i` is the weight of the
/// sample (1 if none are given) times the weight of its class; a weight of 2 counts as having the sample twice.
/// Under [`ClassBalance::Histogram`](crate::ClassBalance::Histogram) each `l_i` is divided by the number of samples
/// of the batch with its label. `reduce` is Burn's [`Reduction`](burn::nn::loss::Reduction): `Mean` (and `Auto`) is
/// `sum_i w_i l_i / sum_i w_i`, `Sum` is `sum_i w_i l_i`, and `BatchMean` is that sum divided by the number of rows,
/// ignored ones included. With one class the divisor is `delta`.
///
/// Features and centers receive gradients. The centers are an ordinary parameter, which the optimizer of the model
/// moves; [`centers_param_group`](Self::centers_param_group) gives them a rate of their own. All of them have a
/// gradient in every step, also those of classes that the batch does not have. Training changes nothing else.
///
/// The loss is small once the centers are far apart: add it to a softmax loss, which keeps the classes apart where
/// this one has little gradient left.
///
/// # Panics or errors
///
/// [`forward`](Self::forward), [`forward_no_reduction`](Self::forward_no_reduction) and
/// [`evaluate`](Self::evaluate) take tensors and panic, as Burn's losses do. The methods with `try_` take
/// a [`LabelledBatch`], which may have sample weights, and return errors as values.
/// [`centers`](Self::centers) panics if the backend failed in the middle of an earlier update.
///
/// # Numbers
///
/// The sum over other centers comes from the mean of the centers and their spread around it, not from each distance.
/// The center that is farthest from the mean stays out of both and has its own term, so that no difference of two
/// large numbers is left, however far a center is from the others, and all of them from the origin.
///
/// # Differences from the references
///
/// | | this loss | the paper | lyakaap (PyTorch) |
/// |---|---|---|---|
/// | batch | weighted mean of the ratios | sum of the ratios | ratio of the sums of the batch, over `batch_size` and over 0.1 |
/// | `delta` | 1 | 1 | 1e-6 |
///
/// # Cost
///
/// `O((batch_size + num_classes) * feature_dim)` time and memory. Nothing of shape `[batch_size, num_classes]` exists.
/// Strict checking reads some numbers per sample back from the device. Deferred checking computes the loss twice.
///
/// # Data types
///
/// Features may be `f16`, `bf16`, `f32` or `f64`. The loss converts them to the data type of the centers
/// ([`CenterDType`](crate::CenterDType)), and computes and returns in it. Labels may be of any integer type. The gradient
/// of a feature has the type of the features, and falls with the distance from the centers: in `f16` it may vanish unless
/// the loss is scaled up.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_center_loss::ContrastiveCenterLossConfig;
///
/// let device = Device::flex().autodiff();
/// let loss = ContrastiveCenterLossConfig::new(2, 2)
///     .with_lambda(1.0)
///     .init_with_centers(Tensor::from_data([[0.0, 0.0], [3.0, 0.0]], &device))?;
///
/// // At distance 1 from its center and 2 from the other: 1/2 * 1 / (4 + 1).
/// let value = loss.forward(Tensor::from_data([[1.0, 0.0]], &device), Tensor::from_data([0], &device));
/// assert!((value.into_scalar::<f32>() - 0.1).abs() < 1e-6);
/// # Ok::<(), burn_center_loss::LossError>(())
/// ```
///
/// # References
///
/// Ce Qi, Fei Su: Contrastive-Center Loss for Deep Neural Networks, ICIP 2017.
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct ContrastiveCenterLoss {
    centers: Centers,
    class_weights: Option<Tensor<1>>,
    #[module(skip)]
    config: Arc<ContrastiveCenterLossConfig>,
    #[module(skip)]
    skipped: SkippedCounter,
}

loss_methods!(ContrastiveCenterLoss, ContrastiveCenterLossConfig per sample);
loss_display!(ContrastiveCenterLoss: add delta, add lambda);

impl Loss for ContrastiveCenterLoss {
    type Config = ContrastiveCenterLossConfig;

    fn value(&self, batch: LabelledBatch, call: Call) -> Result<Tensor<1>, LossError> {
        let config = &*self.config;
        let (batch, centers) =
            check_batch(config.rules(config.checking), &self.centers, batch, call)?;
        let weighing = config.weighing(config.lambda, self.class_weights.as_ref(), call);
        let losses = |batch: &CheckedBatch, centers| losses(batch, centers, config.delta);
        weigh(batch, centers, &weighing, &self.skipped, losses)
    }

    with_centers!(ContrastiveCenterLossConfig);
}

/// The losses of the samples, `[batch_size]`.
fn losses(batch: &CheckedBatch, centers: Tensor<2>, delta: f64) -> Tensor<1> {
    let own = squares(offsets(
        batch,
        centers.clone().select(0, batch.classes.clone()),
    ));
    let others = squares_to_others(batch, centers, own.clone());
    let others = others.add_scalar(delta).mul_scalar(2.0);
    // A ratio to infinity would pass for a loss of 0.
    let bad = nan_unless_finite(&others);
    (own / others + bad).squeeze_dim(1)
}

/// The sum of the squared distances to the centers of other classes, `[batch_size, 1]`. `own` is that to the center
/// of the class.
///
/// With an origin `o` near the mean of `n` centers and `z_j = c_j - o`,
/// `sum_j |x - c_j|^2 = n |x - o|^2 - 2 (x - o) . sum_j z_j + sum_j |z_j|^2`. These are all centers but the farthest
/// from the mean. A sample of another class takes its own distance off, and adds that to the farthest center. No digits
/// are lost: if its own distance were far larger than the sum of all others, its own center would be the farthest.
fn squares_to_others(batch: &CheckedBatch, centers: Tensor<2>, own: Tensor<2>) -> Tensor<2> {
    let [num_classes, _] = centers.dims();
    let count = (num_classes - 1) as f64;
    let constant = centers.clone().without_autodiff();
    let farthest = farthest(&constant).cast(batch.classes.dtype());
    let is_farthest = Tensor::<1, Int>::arange(0..num_classes as i64, &farthest.device())
        .cast(farthest.dtype())
        .equal(farthest.clone().expand([num_classes]));
    let but_farthest = |rows: Tensor<2>| {
        let shape = rows.dims();
        rows.mask_fill(is_farthest.clone().unsqueeze_dim::<2>(1).expand(shape), 0.0)
    };
    let origin = sum_dim(but_farthest(constant), 0).div_scalar(count.max(1.0));
    let near = but_farthest(centers.clone() - origin.clone());
    let spread = sum_dim(squares(near.clone()), 0);
    let features = offsets(batch, origin);
    let across = sum_dim(features.clone() * sum_dim(near, 0), 1);
    let without_farthest = squares(features).mul_scalar(count) - across.mul_scalar(2.0) + spread;

    let mut others = squares(offsets(batch, centers.select(0, farthest.clone())));
    if num_classes > 2 {
        others = others + without_farthest.clone() - own;
    }
    let is_of_farthest = batch
        .classes
        .clone()
        .equal(farthest.expand(batch.classes.dims()));
    others.mask_where(is_of_farthest.unsqueeze_dim(1), without_farthest)
}

/// The class whose center is farthest from the mean, `[1]`.
fn farthest(centers: &Tensor<2>) -> Tensor<1, Int> {
    let [num_classes, _] = centers.dims();
    let mean = sum_dim(centers.clone(), 0).div_scalar(num_classes as f64);
    let squares = squares(centers.clone() - mean).squeeze_dim::<1>(1);
    fusion_barrier(squares).argmax(0)
}
