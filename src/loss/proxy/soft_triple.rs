use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Tensor;

use super::{check, is_target_class, log_sum_exp, scaled_cosines, target_scores};
use crate::batch::{LabelledBatch, SkippedCounter};
use crate::centers::Centers;
use crate::error::{LossError, not_negative, positive};
use crate::loss::common::{Call, Loss, LossConfig};
use crate::loss::display::loss_display;
use crate::loss::logits::checked_features;
use crate::loss::surface::{assemble, common_settings, loss_config, loss_methods, with_centers};
use crate::reduce::{max_dim, sum_dim};

loss_config! {
    /// Configuration of a [`SoftTriple`].
    ///
    /// The proxies start from a normal distribution with mean 0 and standard deviation
    /// `1 / sqrt(feature_dim)`, which gives them a length of about 1. Only their directions enter the loss, but
    /// the shorter a proxy is, the faster a gradient turns it.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use burn_center_loss::SoftTripleConfig;
    ///
    /// let loss = SoftTripleConfig::new(10, 128).with_sub_centers(3).init(&Device::flex().autodiff());
    /// assert_eq!(loss.centers().dims(), [30, 128]);
    /// ```
    pub struct SoftTripleConfig per sample {
        initializer: "burn::nn::Initializer::KaimingNormal { gain: 1.0, fan_out_only: false }",
        /// The number of proxies of a class, `K` in the paper and `centers_per_class` in
        /// pytorch-metric-learning; at least 1. Default: 10.
        #[config(default = 10)]
        pub sub_centers: usize,
        /// The factor of the similarities with the classes, `lambda` in the paper and `la` in
        /// pytorch-metric-learning; finite and greater than 0. Default: 20.
        #[config(default = 20.0)]
        pub scale: f64,
        /// The softness of the choice among the proxies of a class; finite and greater than 0. Near 0 only the
        /// closest one counts. If it is large, all count the same. Default: 0.1.
        #[config(default = 0.1)]
        pub gamma: f64,
        /// The number that is subtracted from the similarity with the target class, `delta` in the paper;
        /// finite and not negative. Default: 0.01.
        #[config(default = 0.01)]
        pub margin: f64,
    }
}

impl LossConfig for SoftTripleConfig {
    type Loss = SoftTriple;

    common_settings!();

    fn check_own(&self) -> Result<(), LossError> {
        positive("scale", self.scale)?;
        positive("gamma", self.gamma)?;
        not_negative("margin", self.margin)?;
        Ok(())
    }

    assemble!(SoftTriple);

    fn sub_centers(&self) -> usize {
        self.sub_centers
    }
}

/// SoftTriple loss: softmax over the classes, each of which has several proxies for its clusters.
///
/// ```text
/// s_ijk = cos(x_i, p_jk)
/// S_ij  = sum_k q_ijk s_ijk,    q_ijk = exp(s_ijk / gamma) / sum_l exp(s_ijl / gamma)
/// z_ij  = scale S_ij            other classes
/// z_iy  = scale (S_iy - margin) the target class
/// l_i   = log sum_j exp(z_ij) - z_iy
/// L     = reduce_i(w_i l_i)
/// ```
///
/// `x_i` is row `i` of the features, `y` its label, and `p_jk` proxy `k` of class `j`, which is row
/// `j * sub_centers + k`. `w_i` is the weight of the sample (1 if none are given) times the weight of its
/// class; a weight of 2 counts as having the sample twice. Under
/// [`ClassBalance::Histogram`](crate::ClassBalance::Histogram) each `l_i` is divided by the number of samples
/// of the batch with its label. `reduce` is Burn's [`Reduction`](burn::nn::loss::Reduction): `Mean` (and
/// `Auto`) is `sum_i w_i l_i / sum_i w_i`, `Sum` is `sum_i w_i l_i`, and `BatchMean` is that sum divided by
/// the number of rows, ignored ones included.
///
/// With one proxy per class this is the softmax of [`CosFace`](crate::margin::CosFace).
///
/// Features and proxies receive gradients. The proxies are an ordinary parameter, which the optimizer of the
/// model moves; [`centers_param_group`](Self::centers_param_group) gives them a rate of their own. All of them
/// have a gradient in every step, also those of classes that the batch does not have. Training changes nothing
/// else.
///
/// [`nearest_center`](Self::nearest_center) classifies by the closest proxy. [`logits`](Self::logits) weigh all
/// proxies of a class, and may order two classes differently if both are near. The smaller
/// [`gamma`](SoftTripleConfig::gamma) is, the less they differ.
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
/// The largest exponent is subtracted from the exponents of either sum, so that nothing overflows or vanishes.
/// A vector of length 0 has cosine 0 with everything and receives no gradient.
///
/// # Differences from the references
///
/// | | this loss | pytorch-metric-learning 2.9 | the paper |
/// |---|---|---|---|
/// | regulariser that merges proxies of a class | none | none unless one is given | `tau * sum sqrt(2 - 2 cos)` over pairs of a class |
/// | weighted mean | divided by the weights | divided by the number of samples | none |
/// | length of a vector | no floor | at least 1e-12 | not said |
/// | layout of the proxies | `[num_classes * sub_centers, feature_dim]` | transposed | not said |
/// | proxies at first | length about 1 | Kaiming uniform | not said |
///
/// # Cost
///
/// Three matrix products of `batch_size * num_classes * sub_centers * feature_dim`. There are no blocks: the
/// backward pass keeps four to six matrices of `[batch_size, num_classes * sub_centers]` in the data type of
/// the proxies, and some more exist on the way. Strict checking reads some numbers per sample back from the
/// device.
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
/// use burn_center_loss::SoftTripleConfig;
///
/// let device = Device::flex().autodiff();
/// let proxies = Tensor::from_data([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], &device);
/// let loss = SoftTripleConfig::new(2, 2)
///     .with_sub_centers(2)
///     .with_scale(1.0)
///     .with_margin(0.0)
///     .init_with_centers(proxies)?;
///
/// // On one of the two proxies of its class, and orthogonal to those of the other class.
/// let value = loss.forward(Tensor::from_data([[3.0, 0.0]], &device), Tensor::from_data([0], &device));
/// let similarity = (10.0_f32).tanh();
/// let expected = (similarity.exp() + 1.0).ln() - similarity;
/// assert!((value.into_scalar::<f32>() - expected).abs() < 1e-6);
/// # Ok::<(), burn_center_loss::LossError>(())
/// ```
///
/// # References
///
/// Qi Qian, Lei Shang, Baigui Sun, Juhua Hu, Hao Li, Rong Jin: SoftTriple Loss: Deep Metric Learning Without
/// Triplet Sampling, ICCV 2019.
#[doc(alias = "SoftTripleLoss")]
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct SoftTriple {
    centers: Centers,
    class_weights: Option<Tensor<1>>,
    #[module(skip)]
    config: Arc<SoftTripleConfig>,
    #[module(skip)]
    skipped: SkippedCounter,
}

loss_methods!(SoftTriple, SoftTripleConfig per sample);
loss_display!(SoftTriple: add sub_centers, add scale, add gamma, add margin);

impl Loss for SoftTriple {
    type Config = SoftTripleConfig;

    fn value(&self, batch: LabelledBatch, call: Call) -> Result<Tensor<1>, LossError> {
        let config = &*self.config;
        let (mut batch, proxies) = check(config, config.checking, &self.centers, batch, call)?;
        let similarities = self.similarities(batch.features(), proxies);
        let is_target = is_target_class(&batch.classes, config.num_classes);
        let lowered = similarities.clone().sub_scalar(config.margin);
        let scores = similarities
            .mask_where(is_target, lowered)
            .mul_scalar(config.scale);
        let target = target_scores(scores.clone(), &batch.classes);
        let losses = (log_sum_exp(scores) - target).squeeze_dim::<1>(1);
        let weighing = config.weighing(1.0, self.class_weights.as_ref(), call);
        let found = losses.clone().without_autodiff();
        let weights = batch.weigh(&found, None, &weighing, &self.centers.constant())?;
        let value = weights.apply(losses);
        if let Some(skipped) = weights.skipped {
            self.skipped.add(skipped);
        }
        Ok(value)
    }

    with_centers!(SoftTripleConfig);
}

impl SoftTriple {
    /// Scores of all classes without the margin, for predictions and accuracy: `scale S_j`. They are on the
    /// graph of the features.
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
        let similarities = self.similarities(features, self.centers.constant());
        Ok(similarities.mul_scalar(self.config.scale))
    }

    /// The similarities `S` between features and classes, `[batch_size, num_classes]`.
    fn similarities(&self, features: Tensor<2>, proxies: Tensor<2>) -> Tensor<2> {
        let cosines = scaled_cosines(features, proxies, 1.0);
        let [batch_size, _] = cosines.dims();
        let shape = [batch_size, self.config.num_classes, self.config.sub_centers];
        let cosines = cosines.reshape(shape);
        let largest = max_dim(cosines.clone().without_autodiff(), 2);
        let shares = (cosines.clone() - largest)
            .div_scalar(self.config.gamma)
            .exp();
        let similarities = sum_dim(shares.clone() * cosines, 2) / sum_dim(shares, 2);
        similarities.squeeze_dim(2)
    }
}
