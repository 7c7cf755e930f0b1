use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Tensor;

use super::value::{offsets, weigh};
use crate::batch::{CheckedBatch, LabelledBatch, SkippedCounter};
use crate::centers::Centers;
use crate::distance::{CenterDistance, half_squares, unit_rows};
use crate::error::{LossError, not_negative};
use crate::loss::common::{Call, Loss, LossConfig, check_batch};
use crate::loss::display::loss_display;
use crate::loss::surface::{assemble, common_settings, loss_config, loss_methods, with_centers};
use crate::reduce::{max_dim, sum_dim};

loss_config! {
    /// Configuration of an [`IslandLoss`].
    ///
    /// The centers are drawn from a normal distribution with mean 0 and standard deviation 1 by default.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use burn_center_loss::IslandLossConfig;
    ///
    /// let loss = IslandLossConfig::new(7, 2).with_lambda1(1.0).init(&Device::flex().autodiff());
    /// assert_eq!(loss.centers().dims(), [7, 2]);
    /// ```
    pub struct IslandLossConfig per sample {
        initializer: "burn::nn::Initializer::Normal { mean: 0.0, std: 1.0 }",
        /// The weight of the pairs of centers beside the distances; finite and not negative. Default: 10.
        #[config(default = 10.0)]
        pub lambda1: f64,
        /// The weight of the loss; finite and not negative. Default: 0.01.
        #[config(default = 0.01)]
        pub lambda: f64,
    }
}

impl LossConfig for IslandLossConfig {
    type Loss = IslandLoss;

    common_settings!();

    fn check_own(&self) -> Result<(), LossError> {
        not_negative("lambda1", self.lambda1)?;
        not_negative("lambda", self.lambda)?;
        Ok(())
    }

    assemble!(IslandLoss);

    fn distance(&self) -> CenterDistance {
        CenterDistance::Euclidean
    }

    fn has_functions(&self) -> bool {
        false
    }
}

/// Island loss: center loss, and a term that turns the centers of all classes away from each other.
///
/// ```text
/// P   = sum over ordered pairs j != k of (cos(c_j, c_k) + 1)
/// l_i = 1/2 * |x_i - c_y|^2 + lambda1 * P
/// L   = lambda * reduce_i(w_i l_i)
/// ```
///
/// `x_i` is row `i` of the features, `y` its label, and `c_j` the center of class `j`. `w_i` is the weight of the
/// sample (1 if none are given) times the weight of its class; a weight of 2 counts as having the sample twice.
/// `reduce` is Burn's [`Reduction`](burn::nn::loss::Reduction): `Mean` (and `Auto`) is
/// `sum_i w_i l_i / sum_i w_i`, `Sum` is `sum_i w_i l_i`, and `BatchMean` is that sum divided by the number of rows,
/// ignored ones included.
///
/// Features and centers receive gradients. The centers are an ordinary parameter, which the optimizer of the model
/// moves; [`centers_param_group`](Self::centers_param_group) gives them a rate of their own. All of them have a
/// gradient in every step, also those of classes that the batch does not have. Training changes nothing else.
///
/// # The pairs belong to every sample
///
/// `P` does not depend on the batch. Each sample carries it, so that the weighted mean is the definition of the
/// paper, `sum_i w_i q_i / (2 sum_i w_i) + lambda1 P`, and the mean of
/// [`forward_no_reduction`](Self::forward_no_reduction) is the loss. `Sum` has `P` once per sample. Class weights,
/// the factors of [`ClassBalance::Histogram`](crate::ClassBalance::Histogram) and `BatchMean` weigh it with the
/// sample. A batch in which no sample takes part has loss 0, without `P`.
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
/// `P` comes from the sum `S` of the `n` directions that are not zero: `|S|^2 - n + num_classes (num_classes - 1)`.
/// A center of zeros has cosine 0 with all others, and receives no gradient from them.
///
/// # Differences from the references
///
/// | | this loss | LeleFox (PyTorch) |
/// |---|---|---|
/// | distances | mean of `q / 2`, `q = |x - c|^2` | mean of `q` |
/// | pairs | `P` | `P + num_classes`: the cosine of a center with itself is set to 0, and 1 is added to it |
///
/// # Cost
///
/// `O((batch_size + num_classes) * feature_dim)` time and memory. No matrix of cosines exists. Strict checking reads
/// some numbers per sample back from the device. Deferred checking computes the loss twice.
///
/// # Data types
///
/// Features may be `f16`, `bf16`, `f32` or `f64`. The loss converts them to the data type of the centers
/// ([`CenterDType`](crate::CenterDType)), and computes and returns in it. Labels may be of any integer type.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_center_loss::IslandLossConfig;
///
/// let device = Device::flex().autodiff();
/// let loss = IslandLossConfig::new(2, 2)
///     .with_lambda1(0.5)
///     .with_lambda(1.0)
///     .init_with_centers(Tensor::from_data([[2.0, 0.0], [0.0, 3.0]], &device))?;
///
/// // 1/2 * 2^2, and two ordered pairs with cosine 0.
/// let value = loss.forward(Tensor::from_data([[0.0, 0.0]], &device), Tensor::from_data([0], &device));
/// assert!((value.into_scalar::<f32>() - (2.0 + 0.5 * 2.0)).abs() < 1e-6);
/// # Ok::<(), burn_center_loss::LossError>(())
/// ```
///
/// # References
///
/// Jie Cai, Zibo Meng, Ahmed Shehab Khan, Zhiyuan Li, James O'Reilly, Yan Tong: Island Loss for Learning
/// Discriminative Features in Facial Expression Recognition, FG 2018.
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct IslandLoss {
    centers: Centers,
    class_weights: Option<Tensor<1>>,
    #[module(skip)]
    config: Arc<IslandLossConfig>,
    #[module(skip)]
    skipped: SkippedCounter,
}

loss_methods!(IslandLoss, IslandLossConfig per sample);
loss_display!(IslandLoss: add lambda1, add lambda);

impl Loss for IslandLoss {
    type Config = IslandLossConfig;

    fn value(&self, batch: LabelledBatch, call: Call) -> Result<Tensor<1>, LossError> {
        let config = &*self.config;
        let (batch, centers) =
            check_batch(config.rules(config.checking), &self.centers, batch, call)?;
        let weighing = config.weighing(config.lambda, self.class_weights.as_ref(), call);
        let losses = |batch: &CheckedBatch, centers: Tensor<2>| {
            let own = centers.clone().select(0, batch.classes.clone());
            let distances = half_squares(offsets(batch, own), 0.0);
            let pairs = pair_term(centers).mul_scalar(config.lambda1);
            distances.clone() + pairs.expand(distances.dims())
        };
        weigh(batch, centers, &weighing, &self.skipped, losses)
    }

    with_centers!(IslandLossConfig);
}

/// The sum of `cos(c_j, c_k) + 1` over all ordered pairs of two classes, `[1]`.
fn pair_term(centers: Tensor<2>) -> Tensor<1> {
    let shape @ [num_classes, _] = centers.dims();
    let largest = max_dim(centers.clone().without_autodiff().abs(), 1);
    let is_zero = largest.clone().equal_elem(0.0);
    // No gradient can turn a center without a direction.
    let units = unit_rows(centers.mask_fill(is_zero.clone().expand(shape), 0.0));
    let sum = sum_dim(units, 0);
    let square = sum_dim(sum.clone() * sum, 1).squeeze_dim::<1>(1);
    let zeros = largest.zeros_like().mask_fill(is_zero, 1.0).sum();
    let count = num_classes as f64;
    let pairs = (square + zeros).add_scalar(count * (count - 2.0));
    // With one class there is no pair, and the square of its direction is 1 but for rounding.
    if num_classes == 1 {
        pairs.mul_scalar(0.0)
    } else {
        pairs
    }
}
