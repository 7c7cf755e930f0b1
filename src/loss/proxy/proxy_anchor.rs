use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Bool, Tensor};

use super::{NO_EXPONENT, check, is_target_class, magnitudes, scaled_cosines};
use crate::batch::{CheckedBatch, LabelledBatch, SkippedCounter, Weighing};
use crate::centers::Centers;
use crate::error::{LossError, not_negative, within};
use crate::loss::common::{Call, Loss, LossConfig};
use crate::loss::display::loss_display;
use crate::loss::logits::checked_features;
use crate::loss::surface::{common_settings, loss_config, loss_methods};
use crate::reduce::{max_dim, sum_dim};

loss_config! {
    /// Configuration of a [`ProxyAnchor`].
    ///
    /// There are neither class weights nor a class balance nor a reduction. The loss is a sum over classes, not
    /// over samples: each class has one term of either kind, whatever the number of its samples.
    ///
    /// The proxies start from a normal distribution with mean 0 and standard deviation
    /// `1 / sqrt(feature_dim)`, which gives them a length of about 1. Only their directions enter the loss, but
    /// the shorter a proxy is, the faster a gradient turns it.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use burn_center_loss::ProxyAnchorConfig;
    ///
    /// let loss = ProxyAnchorConfig::new(10, 128).with_scale(16.0).init(&Device::flex().autodiff());
    /// assert_eq!(loss.centers().dims(), [10, 128]);
    /// ```
    pub struct ProxyAnchorConfig per batch {
        initializer: "burn::nn::Initializer::KaimingNormal { gain: 1.0, fan_out_only: false }",
        /// The factor of the cosines, `alpha` in the paper; greater than 0, and `scale * (1 + margin)` at most
        /// 1e30. Default: 32.
        #[config(default = 32.0)]
        pub scale: f64,
        /// The bound that the cosine with the proxy of the target class should be above. Minus the margin is
        /// the bound that the cosines with other proxies should be below. Finite and not negative. Default: 0.1.
        #[config(default = 0.1)]
        pub margin: f64,
    }
}

impl LossConfig for ProxyAnchorConfig {
    type Loss = ProxyAnchor;

    common_settings!();

    fn check_own(&self) -> Result<(), LossError> {
        not_negative("margin", self.margin)?;
        // Then no term of the loss overflows any data type of the proxies.
        let is_within = self.scale > 0.0 && self.scale * (1.0 + self.margin) <= 1e30;
        let rule = "it must be greater than 0, and scale * (1 + margin) at most 1e30";
        within("scale", self.scale, is_within, rule)?;
        Ok(())
    }

    fn assemble(&self, centers: Centers) -> ProxyAnchor {
        ProxyAnchor {
            centers,
            config: Arc::new(self.clone()),
            skipped: SkippedCounter::default(),
        }
    }
}

/// Proxy Anchor loss: every proxy is an anchor that all samples of a batch are compared with, the hardest
/// ones most.
///
/// ```text
/// positive_j = log(1 + sum_{i: y_i = j}  w_i exp(-s (cos(x_i, p_j) - margin)))
/// negative_j = log(1 + sum_{i: y_i != j} w_i exp( s (cos(x_i, p_j) + margin)))
/// L          = sum_j positive_j / P + sum_j negative_j / num_classes
/// ```
///
/// `x_i` is row `i` of the features, `y_i` its label, `p_j` the proxy of class `j`, `s` the scale, and `P` the
/// number of classes in the batch. `w_i` is the weight of the sample, 1 if none are given: a weight of 2 counts
/// as having the sample twice, a weight of 0 as not having it.
///
/// Features and proxies receive gradients. The proxies are an ordinary parameter, which the optimizer of the
/// model moves. The authors give it 100 times the rate of the network:
/// [`centers_param_group`](Self::centers_param_group). The negative term pushes the proxy of a class that the
/// batch does not have away from all samples. Training changes nothing else.
///
/// The loss is not a mean over samples. There is no loss of a single sample, and the loss grows with the
/// logarithm of the batch size.
///
/// # Panics or errors
///
/// [`forward`](Self::forward) and [`evaluate`](Self::evaluate) take tensors and panic, as Burn's losses do.
/// The methods with `try_` take a [`LabelledBatch`], which may have sample weights, and return errors as
/// values. [`centers`](Self::centers) panics if the backend failed in the middle of an earlier update.
///
/// # Numbers
///
/// Sums are logarithms of sums of exponentials. The largest exponent is subtracted first, so that nothing
/// overflows or vanishes. A vector of length 0 has cosine 0 with everything and receives no gradient.
///
/// # Differences from the references
///
/// | | this loss | pytorch-metric-learning 2.9 | the authors' program |
/// |---|---|---|---|
/// | `log(1 + sum exp)` | finite for any `scale` in range | finite | `exp` first: infinite in `f16` from an exponent of 11.1 on, in `f32` of 88.7 |
/// | weight `w` of a sample | `log(w)` joins the exponent | `w - 1` joins the exponent, so that a weight of 0 leaves `exp(-1)` of a sample | none |
/// | length of a vector | no floor | at least 1e-12 | `1e-12` is added to the square |
/// | proxies at first | length about 1 | normal, standard deviation `sqrt(2 / num_classes)` | the same |
///
/// # Cost
///
/// Three matrix products of `batch_size * num_classes * feature_dim`. There are no blocks: the backward pass
/// keeps two matrices of `[batch_size, num_classes]` in the data type of the proxies and three of booleans,
/// and some more exist on the way. Strict checking reads some numbers per sample back from the device.
///
/// # Data types
///
/// Features may be `f16`, `bf16`, `f32` or `f64`. The loss converts them to the data type of the proxies
/// ([`CenterDType`](crate::CenterDType)), and computes and returns in it. Labels may be of any integer type.
/// The proxies keep their type when a model is mapped to half precision.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_center_loss::ProxyAnchorConfig;
///
/// let device = Device::flex().autodiff();
/// let loss = ProxyAnchorConfig::new(2, 2)
///     .with_scale(1.0)
///     .with_margin(0.0)
///     .init_with_centers(Tensor::from_data([[1.0, 0.0], [0.0, 1.0]], &device))?;
///
/// // One sample of class 0 on its proxy: cosine 1 with it, and 0 with the other.
/// let value = loss.forward(Tensor::from_data([[3.0, 0.0]], &device), Tensor::from_data([0], &device));
/// let expected = (1.0 + (-1.0_f32).exp()).ln() + 2.0_f32.ln() / 2.0;
/// assert!((value.into_scalar::<f32>() - expected).abs() < 1e-6);
/// # Ok::<(), burn_center_loss::LossError>(())
/// ```
///
/// # References
///
/// Sungyeon Kim, Dongwon Kim, Minsu Cho, Suha Kwak: Proxy Anchor Loss for Deep Metric Learning, CVPR 2020.
#[doc(alias = "ProxyAnchorLoss")]
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct ProxyAnchor {
    centers: Centers,
    #[module(skip)]
    config: Arc<ProxyAnchorConfig>,
    #[module(skip)]
    skipped: SkippedCounter,
}

loss_methods!(ProxyAnchor, ProxyAnchorConfig per batch);
loss_display!(ProxyAnchor: add scale, add margin);

impl Loss for ProxyAnchor {
    type Config = ProxyAnchorConfig;

    fn value(&self, batch: LabelledBatch, call: Call) -> Result<Tensor<1>, LossError> {
        let config = &*self.config;
        let (mut batch, proxies) = check(config, config.checking, &self.centers, batch, call)?;
        // The range of the scale keeps the loss finite if the proxies are.
        let constant = self.centers.constant();
        let finite = magnitudes(&batch, &constant);
        let weights = batch.weigh(&finite, None, &Weighing::plain(), &constant)?;
        if let Some(skipped) = weights.skipped {
            self.skipped.add(skipped);
        }
        Ok(self.loss(&batch, proxies))
    }

    fn with_centers(self, centers: Centers, config: Option<Arc<ProxyAnchorConfig>>) -> Self {
        let config = config.unwrap_or_else(|| self.config.clone());
        Self {
            centers,
            config,
            ..self
        }
    }
}

impl ProxyAnchor {
    /// Scores of all classes, for predictions and accuracy: the scale times the cosine. They are on the graph
    /// of the features.
    ///
    /// # Shapes
    ///
    /// - features: `[num_features, feature_dim]`
    /// - output: `[num_features, num_classes]`
    ///
    /// # Errors
    ///
    /// [`LossError::FeaturesShape`], [`LossError::Device`] or [`LossError::EmptyBatch`] for features of another
    /// width or device, or without rows.
    pub fn logits(&self, features: Tensor<2>) -> Result<Tensor<2>, LossError> {
        let features = checked_features(&*self.config, &self.centers, features)?;
        Ok(scaled_cosines(
            features,
            self.centers.constant(),
            self.config.scale,
        ))
    }

    fn loss(&self, batch: &CheckedBatch, proxies: Tensor<2>) -> Tensor<1> {
        let ProxyAnchorConfig { scale, margin, .. } = *self.config;
        let scores = scaled_cosines(batch.features(), proxies, scale);
        let (shape, dtype) = (scores.dims(), scores.dtype());
        let [_, num_classes] = shape;

        // The weight of a sample joins the exponents as a logarithm.
        let weights = batch.weights();
        let rests = weights.clone().equal_elem(0.0);
        let logarithms = weights.mask_fill(rests.clone(), 1.0).log();
        let offsets = logarithms.add_scalar(scale * margin).unsqueeze_dim::<2>(1);
        let counts = rests.bool_not().unsqueeze_dim::<2>(1).expand(shape);
        let is_target = is_target_class(&batch.classes, num_classes);
        let is_positive = is_target.clone().bool_and(counts.clone());
        let is_negative = is_target.bool_not().bool_and(counts);

        let present = max_dim(is_positive.clone().float().cast(dtype), 0);
        let present = present.sum().clamp_min(1.0);
        let positive = log_of_one_and_exponentials(offsets.clone() - scores.clone(), is_positive);
        let negative = log_of_one_and_exponentials(offsets + scores, is_negative);
        positive.sum() / present + negative.sum().div_scalar(num_classes as f64)
    }
}

/// `log(1 + sum exp)` over the rows that count, for each column: `[1, columns]`.
fn log_of_one_and_exponentials(exponents: Tensor<2>, counts: Tensor<2, Bool>) -> Tensor<2> {
    let exponents = exponents.mask_fill(counts.bool_not(), NO_EXPONENT);
    let largest = max_dim(exponents.clone().without_autodiff(), 0).clamp_min(0.0);
    let sums = sum_dim((exponents - largest.clone()).exp(), 0);
    // The exponential of the 1, less 1. It is exactly 0 if no exponent is above 0, so that small sums keep
    // their digits.
    let one = largest.clone().neg().exp().sub_scalar(1.0);
    (sums + one).log1p() + largest
}
