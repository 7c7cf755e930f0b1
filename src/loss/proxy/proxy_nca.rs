use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Int, Tensor};
use serde::{Deserialize, Serialize};

use super::{NO_EXPONENT, check, is_target_class, log_sum_exp, scaled_cosines, target_scores};
use crate::batch::{CheckedBatch, LabelledBatch, SkippedCounter};
use crate::centers::Centers;
use crate::error::{LossError, positive, within};
use crate::loss::common::{Call, Loss, LossConfig};
use crate::loss::display::loss_display;
use crate::loss::logits::{LossWithLogits, checked_features, logits_methods};
use crate::loss::surface::{assemble, common_settings, loss_config, loss_methods, with_centers};
use crate::softmax::{Scale, Softmax, TargetScores, target_angles};

/// The proxies in the denominator of a [`ProxyNca`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Denominator {
    /// All proxies, as in a softmax: the loss is above 0. pytorch-metric-learning and ProxyNCA++ do this.
    #[default]
    AllClasses,
    /// The proxies of other classes, as in the paper: the loss of a sample near its proxy is below 0.
    OtherClasses,
}

loss_config! {
    /// Configuration of a [`ProxyNca`].
    ///
    /// The proxies start from a normal distribution with mean 0 and standard deviation
    /// `1 / sqrt(feature_dim)`, which gives them a length of about 1. Only their directions enter the loss, but
    /// the shorter a proxy is, the faster a gradient turns it. [`Denominator::OtherClasses`] needs at least two
    /// classes.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use burn_center_loss::ProxyNcaConfig;
    /// use burn_center_loss::proxy::Denominator;
    ///
    /// let loss = ProxyNcaConfig::new(10, 128)
    ///     .with_denominator(Denominator::OtherClasses)
    ///     .with_scale(3.0)
    ///     .init(&Device::flex().autodiff());
    /// assert_eq!(loss.centers().dims(), [10, 128]);
    /// ```
    pub struct ProxyNcaConfig per sample {
        initializer: "burn::nn::Initializer::KaimingNormal { gain: 1.0, fan_out_only: false }",
        /// The factor of the squared distances between directions; finite and greater than 0. Default: 1.
        ///
        /// pytorch-metric-learning calls it `softmax_scale`. ProxyNCA++ makes directions 3 long, which is a
        /// scale of 9 here.
        #[config(default = 1.0)]
        pub scale: f64,
        /// The proxies in the denominator. Default: [`Denominator::AllClasses`].
        #[config(default = "Denominator::AllClasses")]
        pub denominator: Denominator,
        /// The number of bytes of scores that `forward` may keep for the backward pass, with
        /// [`Denominator::AllClasses`]. If all scores fit, the work is three matrix products. If not, none is
        /// kept, and it is four. Default: 64 MiB.
        #[config(default = "1 << 26")]
        pub score_budget: usize,
    }
}

impl LossConfig for ProxyNcaConfig {
    type Loss = ProxyNca;

    common_settings!();

    fn check_own(&self) -> Result<(), LossError> {
        let has_others = self.num_classes > 1 || self.denominator == Denominator::AllClasses;
        let rule = "it must be at least 2 where the denominator has the other classes alone";
        within("num_classes", self.num_classes as f64, has_others, rule)?;
        positive("scale", self.scale)?;
        Ok(())
    }

    assemble!(ProxyNca);
}

/// Proxy-NCA: neighbourhood component analysis in which proxies of the classes are the neighbours.
///
/// ```text
/// d_ij = |x_i / |x_i| - p_j / |p_j||^2 = 2 - 2 cos(x_i, p_j)
/// l_i  = -log(exp(-s d_iy) / sum_j exp(-s d_ij))
/// L    = reduce_i(w_i l_i)
/// ```
///
/// `x_i` is row `i` of the features, `y` its label, `p_j` the proxy of class `j`, and `s` the scale.
/// The sum is over all classes, or over all but the target class ([`Denominator`]). `w_i` is the weight of the
/// sample (1 if none are given) times the weight of its class; a weight of 2 counts as having the sample
/// twice. Under [`ClassBalance::Histogram`](crate::ClassBalance::Histogram) each `l_i` is divided by the number
/// of samples of the batch with its label. `reduce` is Burn's [`Reduction`](burn::nn::loss::Reduction): `Mean`
/// (and `Auto`) is `sum_i w_i l_i / sum_i w_i`, `Sum` is `sum_i w_i l_i`, and `BatchMean` is that sum divided
/// by the number of rows, ignored ones included.
///
/// Over all classes this is the normalised softmax with a scale of `2 s`.
///
/// Features and proxies receive gradients. The proxies are an ordinary parameter, which the optimizer of the
/// model moves; [`centers_param_group`](Self::centers_param_group) gives them a rate of their own. Published
/// settings make it far larger than the rate of the network. All proxies have a gradient in every step, also
/// those of classes that the batch does not have. Training changes nothing else.
///
/// # Panics or errors
///
/// [`forward`](Self::forward), [`forward_no_reduction`](Self::forward_no_reduction),
/// [`forward_with_logits`](Self::forward_with_logits) and [`evaluate`](Self::evaluate) take tensors and panic,
/// as Burn's losses do. The methods with `try_` take a [`LabelledBatch`], which may have sample weights, and
/// return errors as values. [`centers`](Self::centers) panics if the backend failed in the middle of an earlier
/// update.
///
/// # Numbers
///
/// Sums are logarithms of sums of exponentials. The largest exponent is subtracted first, so that nothing
/// overflows or vanishes. A vector of length 0 has cosine 0, a squared distance of 2, with everything and
/// receives no gradient.
///
/// # Differences from the references
///
/// | | this loss | pytorch-metric-learning 2.9 | the paper |
/// |---|---|---|---|
/// | target class in the denominator | [`Denominator`] | yes | no |
/// | a probability that vanishes | has its loss | the sample is dropped | infinite |
/// | weighted mean | divided by the weights | divided by the number of samples | none |
/// | length of a vector | no floor | at least 1e-12 | not said |
/// | proxies at first | length about 1 | normal, standard deviation 1 | not said |
///
/// # Cost
///
/// With [`Denominator::AllClasses`], three matrix products of `batch_size * num_classes * feature_dim` within
/// [`score_budget`](ProxyNcaConfig::score_budget), four beyond it. The loss goes through the classes in
/// blocks, so that beyond features, proxies, their gradients and the budget the memory does not depend on the
/// number of classes. [`Denominator::OtherClasses`] has no blocks: three products, and the backward pass
/// keeps a matrix of `[batch_size, num_classes]` in the data type of the proxies and one of booleans. Strict
/// checking reads some numbers per sample back from the device.
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
/// use burn_center_loss::ProxyNcaConfig;
/// use burn_center_loss::proxy::Denominator;
///
/// let device = Device::flex().autodiff();
/// let loss = ProxyNcaConfig::new(2, 2)
///     .with_denominator(Denominator::OtherClasses)
///     .init_with_centers(Tensor::from_data([[1.0, 0.0], [0.0, 1.0]], &device))?;
///
/// // On its proxy, at a squared distance of 2 from the other one: log(exp(-2) / exp(-0)).
/// let value = loss.forward(Tensor::from_data([[3.0, 0.0]], &device), Tensor::from_data([0], &device));
/// assert!((value.into_scalar::<f32>() + 2.0).abs() < 1e-6);
/// # Ok::<(), burn_center_loss::LossError>(())
/// ```
///
/// # References
///
/// Yair Movshovitz-Attias, Alexander Toshev, Thomas K. Leung, Sergey Ioffe, Saurabh Singh: No Fuss Distance
/// Metric Learning Using Proxies, ICCV 2017. Eu Wern Teh, Terrance DeVries, Graham W. Taylor: ProxyNCA++:
/// Revisiting and Revitalizing Proxy Neighborhood Component Analysis, ECCV 2020.
#[doc(alias = "ProxyNCA")]
#[doc(alias = "ProxyNCALoss")]
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct ProxyNca {
    centers: Centers,
    class_weights: Option<Tensor<1>>,
    #[module(skip)]
    config: Arc<ProxyNcaConfig>,
    #[module(skip)]
    skipped: SkippedCounter,
}

loss_methods!(ProxyNca, ProxyNcaConfig per sample);
logits_methods!(ProxyNca);
loss_display!(ProxyNca: add scale, add_debug_attribute denominator);

impl Loss for ProxyNca {
    type Config = ProxyNcaConfig;

    fn value(&self, batch: LabelledBatch, call: Call) -> Result<Tensor<1>, LossError> {
        let (value, _) = self.value_and_logits(batch, call, false)?;
        Ok(value)
    }

    with_centers!(ProxyNcaConfig);
}

impl ProxyNca {
    /// Scores of all classes, for predictions and accuracy: `2 s cos(x, p_j)`, which is `-s d_j` up to a
    /// constant. They are on the graph of the features.
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
            self.cosine_scale(),
        ))
    }

    /// The factor of a cosine.
    fn cosine_scale(&self) -> f64 {
        2.0 * self.config.scale
    }

    /// The softmax with all classes in the denominator, and without a margin.
    fn softmax(&self, batch: &CheckedBatch, proxies: Tensor<2>) -> Softmax {
        let constant = self.centers.constant();
        let angles = target_angles(&batch.features(), &constant, &batch.classes, 1);
        let target = TargetScores {
            value: angles.cosine.clone(),
            slope: angles.sine.clone(),
        };
        Softmax {
            features: batch.features(),
            centers: proxies,
            classes: batch.classes.clone(),
            sub_centers: 1,
            scale: Scale::Fixed(self.cosine_scale()),
            bound: None,
            smoothing: 0.0,
            angles,
            target,
            budget: self.config.score_budget,
        }
    }
}

impl LossWithLogits for ProxyNca {
    fn value_and_logits(
        &self,
        batch: LabelledBatch,
        call: Call,
        wants_logits: bool,
    ) -> Result<(Tensor<1>, Option<Tensor<2>>), LossError> {
        let config = &*self.config;
        let (mut batch, proxies) = check(config, config.checking, &self.centers, batch, call)?;
        let weighing = config.weighing(1.0, self.class_weights.as_ref(), call);
        let constant = self.centers.constant();
        let (value, logits, skipped) = match config.denominator {
            Denominator::AllClasses => {
                let pass = self.softmax(&batch, proxies).forward();
                let weights = batch.weigh(&pass.losses(), None, &weighing, &constant)?;
                let logits = wants_logits.then(|| pass.logits());
                (pass.finish(&weights), logits, weights.skipped)
            }
            Denominator::OtherClasses => {
                let features = batch.features();
                let scores = scaled_cosines(features, proxies, self.cosine_scale());
                let losses = losses_among_others(scores.clone(), &batch.classes);
                let found = losses.clone().without_autodiff();
                let weights = batch.weigh(&found, None, &weighing, &constant)?;
                let logits = wants_logits.then(|| scores.without_autodiff());
                (weights.apply(losses), logits, weights.skipped)
            }
        };
        if let Some(skipped) = skipped {
            self.skipped.add(skipped);
        }
        Ok((value, logits))
    }
}

/// The losses with the other classes in the denominator, `[batch_size]`.
fn losses_among_others(scores: Tensor<2>, classes: &Tensor<1, Int>) -> Tensor<1> {
    let [_, num_classes] = scores.dims();
    let target = target_scores(scores.clone(), classes);
    let others = scores.mask_fill(is_target_class(classes, num_classes), NO_EXPONENT);
    (log_sum_exp(others) - target).squeeze_dim(1)
}
