use std::f64::consts::SQRT_2;
use std::sync::Arc;

use burn::module::{Flag, Module, Param};
use burn::nn::Initializer;
use burn::tensor::{DType, Int, Tensor};

use super::adaface::{NormStatistics, RunningNorms, clipped_lengths};
use super::scale_schedule::{AdaCosSample, ScaleSchedule, adapted_scale};
use super::{AdaFace, ArcFace, BeyondPi, Margin, MarginGradient, SphereFace};
use crate::batch::{CheckedBatch, LabelledBatch, SkippedCounter};
use crate::centers::Centers;
use crate::error::{LossError, fraction, not_negative, positive, within};
use crate::loss::common::{Call, Loss, LossConfig};
use crate::loss::display::loss_display;
use crate::loss::logits::{LossWithLogits, checked_features, logits_methods};
use crate::loss::surface::{common_settings, loss_config, loss_methods};
use crate::reads::Reads;
use crate::schedule::{RateState, Rates, Schedule};
use crate::softmax::{Softmax, TargetAngles, TargetScores, logits, target_angles};

loss_config! {
    /// Configuration of a [`MarginSoftmax`].
    ///
    /// The class vectors start from a normal distribution with mean 0 and standard deviation
    /// `1 / sqrt(feature_dim)`, which gives them a length of about 1. Only their directions enter the loss,
    /// but the shorter a vector is, the faster a gradient turns it. With the standard deviation of 1 of
    /// pytorch-metric-learning, vectors of 512 columns are 22 long and turn 500 times more slowly than here
    /// under the same rate of plain SGD.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use burn_center_loss::{Margin, MarginSoftmaxConfig};
    ///
    /// let loss = MarginSoftmaxConfig::new(10, 128)
    ///     .with_margin(Margin::arcface(0.3))
    ///     .with_scale(30.0)
    ///     .init(&Device::flex().autodiff());
    /// assert_eq!(loss.centers().dims(), [10, 128]);
    ///
    /// let degrees = Margin::arcface(28.6);
    /// let error = MarginSoftmaxConfig::new(10, 128).with_margin(degrees).try_init(&Device::flex());
    /// assert_eq!(
    ///     error.unwrap_err().to_string(),
    ///     "margin is 28.6: it must be at least 0 and below pi, in radians (degrees times pi / 180)"
    /// );
    /// ```
    pub struct MarginSoftmaxConfig per sample {
        initializer: "Initializer::KaimingNormal { gain: 1.0, fan_out_only: false }",
        /// The margin of the target class. Default: [`ArcFace`], with a margin of 0.5.
        #[config(default = "Margin::arcface(0.5)")]
        pub margin: Margin,
        /// The factor of the margin over the training steps. Default: [`Schedule::Constant`].
        #[config(default = "Schedule::Constant")]
        pub margin_schedule: Schedule,
        /// The factor of all cosines, 1 / temperature; finite and greater than 0. It matters at least as much as the margin.
        /// [`SuggestedScale`](crate::margin::SuggestedScale) computes the least useful one. Default: 64.
        #[config(default = 64.0)]
        pub scale: f64,
        /// The scale over the training steps. Default: [`ScaleSchedule::Constant`].
        #[config(default = "ScaleSchedule::Constant")]
        pub scale_schedule: ScaleSchedule,
        /// The number of vectors of a class; at least 1. Only the one with the largest cosine counts, so that
        /// a class may have several clusters, or leave its noise to a vector of its own. Default: 1.
        #[config(default = 1)]
        pub sub_centers: usize,
        /// The share of the target that is spread over all classes, in `0..=1`. The target class keeps its
        /// margin. Default: 0.
        #[config(default = 0.0)]
        pub label_smoothing: f64,
        /// The number of bytes of scores that `forward` may keep for the backward pass. If all scores fit, the
        /// work is three matrix products. If not, none is kept, and it is four. Default: 64 MiB.
        #[config(default = "1 << 26")]
        pub score_budget: usize,
    }
}

impl MarginSoftmaxConfig {
    /// The normalised softmax, without a margin: scale 20, for a temperature of 0.05.
    ///
    /// Measured with equal scales, a margin does not always make a difference: this is the baseline to beat.
    #[doc(alias = "NormFace")]
    #[doc(alias = "COCO")]
    pub fn normalized_softmax(num_classes: usize, feature_dim: usize) -> Self {
        Self::new(num_classes, feature_dim)
            .with_margin(Margin::None)
            .with_scale(20.0)
    }

    /// [`SphereFace`] with its defaults: margin 4, and a scale of 1, so that the length of a feature alone
    /// multiplies its scores.
    pub fn sphereface(num_classes: usize, feature_dim: usize) -> Self {
        Self::new(num_classes, feature_dim)
            .with_margin(Margin::SphereFace(SphereFace::new()))
            .with_scale(1.0)
    }

    /// The settings of the authors' training scripts for AdaFace: margin 0.4, h 0.333, t_alpha 0.01, scale
    /// 64.
    pub fn adaface(num_classes: usize, feature_dim: usize) -> Self {
        Self::new(num_classes, feature_dim).with_margin(Margin::AdaFace(AdaFace::new()))
    }

    /// AdaCos: the normalised softmax with an adaptive scale ([`ScaleSchedule::AdaCos`]), which starts at
    /// `sqrt(2) ln(num_classes - 1)`. With [`ScaleSchedule::Constant`] this is its fixed form. Needs three classes
    /// or more.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use burn_center_loss::MarginSoftmaxConfig;
    ///
    /// let loss = MarginSoftmaxConfig::adacos(10, 128).init(&Device::flex().autodiff());
    /// assert_eq!(loss.scale(), 2_f64.sqrt() * 9_f64.ln());
    /// ```
    #[doc(alias = "AdaCos")]
    pub fn adacos(num_classes: usize, feature_dim: usize) -> Self {
        Self::new(num_classes, feature_dim)
            .with_margin(Margin::None)
            .with_scale(SQRT_2 * (num_classes as f64 - 1.0).ln())
            .with_scale_schedule(ScaleSchedule::AdaCos)
    }

    /// ArcFace as in insightface `arcface_torch`: margin 0.5, scale 64, [`BeyondPi::Reflect`],
    /// [`MarginGradient::Detached`], class vectors from a normal distribution of standard deviation 0.01.
    ///
    /// Most of its configurations have CosFace instead, with a margin of 0.4:
    /// `.with_margin(Margin::cosface(0.4))`.
    pub fn insightface(num_classes: usize, feature_dim: usize) -> Self {
        let margin = ArcFace::new()
            .with_margin(0.5)
            .with_beyond_pi(BeyondPi::Reflect)
            .with_gradient(MarginGradient::Detached);
        let start = Initializer::Normal {
            mean: 0.0,
            std: 0.01,
        };
        Self::of_arcface(num_classes, feature_dim, margin, 64.0, start)
    }

    /// ArcFace as in pytorch-metric-learning 2.9: margin 28.6 degrees, scale 64, [`BeyondPi::Linear`], class
    /// vectors from a normal distribution of standard deviation 1.
    ///
    /// Its CosFace has a margin of 0.35, its normalised softmax a temperature of 0.05, its SphereFace a
    /// margin of 4 and a scale of 1, and its sub-center ArcFace three sub-centers.
    pub fn pytorch_metric_learning(num_classes: usize, feature_dim: usize) -> Self {
        let margin = ArcFace::new()
            .with_margin(28.6_f64.to_radians())
            .with_beyond_pi(BeyondPi::Linear);
        let start = Initializer::Normal {
            mean: 0.0,
            std: 1.0,
        };
        Self::of_arcface(num_classes, feature_dim, margin, 64.0, start)
    }

    /// AAM softmax as in SpeechBrain: margin 0.2, scale 30, [`BeyondPi::Linear`], class vectors by Xavier.
    pub fn speechbrain(num_classes: usize, feature_dim: usize) -> Self {
        let margin = ArcFace::new()
            .with_margin(0.2)
            .with_beyond_pi(BeyondPi::Linear);
        let start = Initializer::XavierUniform { gain: 1.0 };
        Self::of_arcface(num_classes, feature_dim, margin, 30.0, start)
    }

    /// AAM softmax as in wespeaker: margin 0.2, scale 32, [`BeyondPi::Continuous`], class vectors by Xavier.
    ///
    /// Its recipes raise the margin from 0 over some epochs
    /// ([`margin_schedule`](Self::margin_schedule), [`Schedule::ExponentialWarmup`]), and fine-tune with a
    /// margin of 0.5.
    pub fn wespeaker(num_classes: usize, feature_dim: usize) -> Self {
        let margin = ArcFace::new()
            .with_margin(0.2)
            .with_beyond_pi(BeyondPi::Continuous);
        let start = Initializer::XavierUniform { gain: 1.0 };
        Self::of_arcface(num_classes, feature_dim, margin, 32.0, start)
    }

    fn of_arcface(
        num_classes: usize,
        feature_dim: usize,
        margin: ArcFace,
        scale: f64,
        initializer: Initializer,
    ) -> Self {
        Self::new(num_classes, feature_dim)
            .with_margin(Margin::ArcFace(margin))
            .with_scale(scale)
            .with_initializer(initializer)
    }
}

impl LossConfig for MarginSoftmaxConfig {
    type Loss = MarginSoftmax;

    common_settings!();

    fn check_own(&self) -> Result<(), LossError> {
        self.margin.validate(self.num_classes, 1.0)?;
        self.margin_schedule.validate()?;
        if self.margin_schedule != Schedule::Constant {
            // A schedule multiplies the margin by other factors than 1.
            self.margin.validate(self.num_classes, 0.5)?;
        }
        positive("scale", self.scale)?;
        self.scale_schedule.validate()?;
        fraction("label_smoothing", self.label_smoothing)?;
        if self.scale_schedule == ScaleSchedule::AdaCos {
            let is_off = self.label_smoothing == 0.0;
            let rule = "it must be 0 under ScaleSchedule::AdaCos";
            within("label_smoothing", self.label_smoothing, is_off, rule)?;
            if let Margin::SphereFace(SphereFace { margin }) = self.margin {
                let rule = "it must not be that of SphereFace under ScaleSchedule::AdaCos";
                within("margin", f64::from(margin), false, rule)?;
            }
        }
        Ok(())
    }

    fn assemble(&self, centers: Centers) -> MarginSoftmax {
        let norms = match &self.margin {
            Margin::AdaFace(_) => Some(RunningNorms::new(
                &centers.autodiff_device(),
                centers.dtype(),
            )),
            _ => None,
        };
        MarginSoftmax {
            updating: Param::from_bool(true),
            rates: Rates::new([1.0, 0.0], centers.device()),
            norms,
            class_weights: self.class_weights(&centers),
            class_margins: self.class_margins(&centers),
            centers,
            config: Arc::new(self.clone()),
            skipped: SkippedCounter::default(),
        }
    }

    fn sub_centers(&self) -> usize {
        self.sub_centers
    }

    fn extended(mut self) -> Self {
        self.margin.extend_class_margins(self.num_classes);
        self
    }
}

impl MarginSoftmaxConfig {
    /// The margin of each class on the device of the centers, `[num_classes]`, if they differ.
    fn class_margins(&self, centers: &Centers) -> Option<Tensor<1>> {
        let options = (centers.device(), DType::from(centers.dtype()));
        let margins = self.margin.class_margins();
        margins.map(|margins| Tensor::from_data(margins, options))
    }
}

/// Softmax cross-entropy over the cosines between features and one vector per class, with a margin for the
/// target class.
///
/// ```text
/// z_ij = s cos(x_i, w_j)                         other classes
/// z_iy = s psi(theta_iy)                         the target class: cos(theta) with a margin, see Margin
/// l_i  = log sum_j exp(z_ij) - (1 - e) z_iy - e / num_classes * sum_j z_ij
/// L    = reduce_i(w_i l_i)
/// ```
///
/// `x_i` is row `i` of the features, `y` its label, `w_j` the vector of class `j`, `theta` the angle between
/// both, `s` the [scale](Self::scale) and `e` the label smoothing. If a class has several sub-centers, `w_j` is the one with
/// the largest cosine. `w_i` is the weight of the sample (1 if none are given) times the weight of its class;
/// a weight of 2 counts as having the sample twice. Under
/// [`ClassBalance::Histogram`](crate::ClassBalance::Histogram) each `l_i` is divided by the number of samples
/// of the batch with its label. `reduce` is Burn's [`Reduction`](burn::nn::loss::Reduction): `Mean` (and
/// `Auto`) is `sum_i w_i l_i / sum_i w_i`, `Sum` is `sum_i w_i l_i`, and `BatchMean` is that sum divided by
/// the number of rows, ignored ones included.
///
/// Features and class vectors receive gradients. The class vectors are an ordinary parameter, which the
/// optimizer of the model moves; [`centers_param_group`](Self::centers_param_group) gives them a rate of
/// their own. All of them have a gradient in every step, also those of classes that the batch does not have.
///
/// # Which margin
///
/// Most published face and speaker models were trained with ArcFace or CosFace, whose results differ little.
/// If the scale is the same, the margin does not always make a measurable difference: compare with
/// [`MarginSoftmaxConfig::normalized_softmax`] at several scales before you tune a margin.
///
/// # Training and validation
///
/// A call of `forward`, or of a method that begins with `forward` or `try_forward`, trains if the features are
/// on an autodiff device and the module is neither frozen nor in validation mode. A call that trains advances
/// the schedules of margin and scale by one step, adapts the scale of AdaCos, and updates the statistics of
/// [`AdaFace`]. Under gradient accumulation that is one step for each micro-batch, not for each step of the
/// optimizer: multiply the number of steps of the schedules accordingly. Nothing moves in `evaluate`.
///
/// # Panics or errors
///
/// [`forward`](Self::forward), [`forward_no_reduction`](Self::forward_no_reduction),
/// [`forward_with_logits`](Self::forward_with_logits) and [`evaluate`](Self::evaluate) take tensors and panic,
/// as Burn's losses do. The methods with `try_` take a [`LabelledBatch`], which may have sample
/// weights, and return errors as values. [`centers`](Self::centers) panics if the backend failed in the middle
/// of an earlier update, and [`norm_statistics`](Self::norm_statistics) if the device returns no values.
///
/// # Numbers
///
/// The angle between a feature and the vector of its class is `2 atan2(|u - v|, |u + v|)` of the unit vectors
/// `u` and `v` on flex, and `atan2(|v - (u.v) u|, u.v)` on other devices. Its gradient is a projection. At angles
/// near 0 and pi the gradient neither grows without bound nor vanishes, and nothing is clamped. A vector of length 0
/// has cosine 0 with everything and receives no gradient.
///
/// # Cost
///
/// Three matrix products of `batch_size * num_classes * feature_dim` within
/// [`score_budget`](MarginSoftmaxConfig::score_budget), four beyond it. The loss goes through the classes in
/// blocks, so that beyond features, class vectors, their gradients and the budget the memory does not depend
/// on the number of classes. On devices other than flex, a step takes two more matrices of the size of the class
/// vectors, and losses that are not reduced keep a matrix of `[batch_size, num_classes]`. Strict checking reads labels and a few numbers per sample back from the
/// device, with one wait.
///
/// # Data types
///
/// Features may be `f16`, `bf16`, `f32` or `f64`. The loss converts them to the data type of the class vectors
/// ([`CenterDType`](crate::CenterDType)), and computes and returns in it. Labels may be of any integer type.
/// The class vectors keep their type when a model is mapped to half precision.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_center_loss::{Margin, MarginSoftmaxConfig};
///
/// let device = Device::flex().autodiff();
/// let loss = MarginSoftmaxConfig::new(3, 2)
///     .with_margin(Margin::cosface(0.2))
///     .with_scale(10.0)
///     .init(&device);
///
/// let features = Tensor::<2>::from_data([[2.0, 0.0], [0.0, 4.0]], &device).require_grad();
/// let labels = Tensor::from_data([0, 2], &device);
/// // The logits are the scores without the margin, for accuracy.
/// let (value, logits) = loss.forward_with_logits(features.clone(), labels);
/// assert_eq!(logits.argmax(1).dims(), [2, 1]);
///
/// let gradients = value.backward();
/// assert_eq!(features.grad(&gradients).unwrap().dims(), [2, 2]);
/// ```
///
/// # References
///
/// Those of the margins, and: Feng Wang, Xiang Xiang, Jian Cheng, Alan L. Yuille: NormFace: L2 Hypersphere
/// Embedding for Face Verification, ACM Multimedia 2017. Jiankang Deng, Jia Guo, Tongliang Liu, Mingming
/// Gong, Stefanos Zafeiriou: Sub-center ArcFace: Boosting Face Recognition by Large-Scale Noisy Web Faces,
/// ECCV 2020.
#[doc(alias = "ArcFaceLoss")]
#[doc(alias = "CosFaceLoss")]
#[doc(alias = "SphereFaceLoss")]
#[doc(alias = "SubCenterArcFaceLoss")]
#[doc(alias = "NormalizedSoftmaxLoss")]
#[doc(alias = "LargeMarginSoftmaxLoss")]
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct MarginSoftmax {
    pub(super) centers: Centers,
    updating: Param<Flag>,
    /// The factor of the margin, and the scale that is set or adapted: 0 if it is the configured one.
    rates: Rates<2>,
    norms: Option<RunningNorms>,
    class_weights: Option<Tensor<1>>,
    class_margins: Option<Tensor<1>>,
    #[module(skip)]
    pub(super) config: Arc<MarginSoftmaxConfig>,
    #[module(skip)]
    skipped: SkippedCounter,
}

loss_methods!(MarginSoftmax, MarginSoftmaxConfig per sample);
logits_methods!(MarginSoftmax);
loss_display!(MarginSoftmax: add sub_centers, add_debug_attribute margin, add scale);

impl Loss for MarginSoftmax {
    type Config = MarginSoftmaxConfig;

    fn value(&self, batch: LabelledBatch, call: Call) -> Result<Tensor<1>, LossError> {
        let (value, _) = self.value_and_logits(batch, call, false)?;
        Ok(value)
    }

    fn with_centers(self, centers: Centers, config: Option<Arc<MarginSoftmaxConfig>>) -> Self {
        let config = config.unwrap_or_else(|| self.config.clone());
        Self {
            class_weights: config.class_weights(&centers),
            class_margins: config.class_margins(&centers),
            centers,
            config,
            ..self
        }
    }
}

impl MarginSoftmax {
    /// The scores of all classes without the margin, for predictions and accuracy: the scale times the cosine;
    /// under [`SphereFace`] times the length of the feature as well. Of the sub-centers of a class the largest
    /// counts. They are on the graph of the features.
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
        let scale = self.config.margin.scale(self.scale());
        let (centers, sub_centers) = (self.centers.constant(), self.config.sub_centers);
        Ok(logits(features, centers, sub_centers, scale))
    }

    /// The factor of the margin at the current training step: that of
    /// [`set_margin_factor`](Self::set_margin_factor), 1 at first, times that of the schedule.
    pub fn margin_factor(&self) -> f64 {
        let RateState {
            step,
            rates: [factor, _],
        } = self.rates.get();
        factor * self.config.margin_schedule.factor(step)
    }

    /// Multiplies the margin by a factor, for instance to fine-tune with a larger one. The record keeps it, and
    /// the schedule goes on.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`] or [`LossError::ClassValue`] for a factor that is negative or not finite, or that
    /// brings a margin out of its range.
    pub fn set_margin_factor(&self, factor: f64) -> Result<(), LossError> {
        let factor = not_negative("margin_factor", factor)?;
        self.config
            .margin
            .validate(self.config.num_classes, factor)?;
        self.rates.change(|state| state.rates[0] = factor);
        Ok(())
    }

    /// The scale at the current training step: that of the [`ScaleSchedule`].
    pub fn scale(&self) -> f64 {
        let RateState {
            step,
            rates: [_, changed],
        } = self.rates.get();
        let scale = if changed > 0.0 {
            changed
        } else {
            self.config.scale
        };
        self.config.scale_schedule.scale(scale, step)
    }

    /// Sets the scale in place of the configured one; under [`ScaleSchedule::From`] the one that the schedule goes
    /// to. The record keeps it.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`] for a scale that is not finite and greater than 0.
    pub fn set_scale(&self, scale: f64) -> Result<(), LossError> {
        let scale = positive("scale", scale)?;
        self.rates.change(|state| state.rates[1] = scale);
        Ok(())
    }

    /// The number of training steps that have passed: the calls of `forward` that trained.
    pub fn step(&self) -> u64 {
        self.rates.get().step
    }

    /// The running statistics of [`AdaFace`]; `None` under another margin. Reads from the device.
    ///
    /// # Panics
    ///
    /// If the device returns no values.
    pub fn norm_statistics(&self) -> Option<NormStatistics> {
        let values = self.norms.as_ref()?.values().into_data();
        let mut values = values.iter::<f64>();
        Some(NormStatistics {
            mean: values.next()?,
            std: values.next()?,
        })
    }

    /// The quality of each sample under AdaFace, `[batch_size]`, and the statistics behind it, `[1, 2]`: those
    /// after the batch if it trains.
    pub(super) fn qualities(
        &self,
        batch: &CheckedBatch,
        angles: &TargetAngles,
        trains: bool,
    ) -> Option<(Tensor<1>, Tensor<2>)> {
        let (Margin::AdaFace(margin), Some(running)) = (&self.config.margin, &self.norms) else {
            return None;
        };
        let lengths = clipped_lengths(angles.norms.clone()).cast(self.centers.dtype());
        let norms = if trains {
            running.after(lengths.clone(), batch.weights(), margin.t_alpha)
        } else {
            running.values()
        };
        Some((margin.qualities(lengths, norms.clone()), norms))
    }

    /// The scores of the target classes with the margin of the current step.
    pub(super) fn target_scores(
        &self,
        angles: &TargetAngles,
        classes: &Tensor<1, Int>,
        qualities: Option<Tensor<1>>,
    ) -> TargetScores {
        let margins = self.class_margins.clone();
        let margins = margins.map(|m| m.without_autodiff().select(0, classes.clone()));
        let factor = self.margin_factor();
        let margin = &self.config.margin;
        margin.target_scores(angles, factor, margins, qualities)
    }

    /// The next scale of AdaCos, from the angles, scores and losses of the samples, `[batch_size]` each.
    fn adapted_scale(
        &self,
        samples: [Tensor<1>; 3],
        weights: Tensor<1>,
    ) -> Result<Option<f64>, LossError> {
        let reads = Reads::from(self.centers.device()).register(weights);
        let reads = samples.into_iter().fold(reads, Reads::register);
        let read = reads.execute()?;
        let numbers = |i: usize| read[i].iter::<f64>();
        let samples = numbers(0).zip(numbers(1)).zip(numbers(2)).zip(numbers(3));
        let samples = samples.filter_map(|(((weight, angle), target), loss)| {
            (weight > 0.0).then_some(AdaCosSample {
                angle,
                target,
                loss,
                weight,
            })
        });
        Ok(adapted_scale(self.scale(), samples.collect()))
    }
}

impl LossWithLogits for MarginSoftmax {
    fn value_and_logits(
        &self,
        batch: LabelledBatch,
        call: Call,
        wants_logits: bool,
    ) -> Result<(Tensor<1>, Option<Tensor<2>>), LossError> {
        let config = &*self.config;
        self.centers.check_present()?;
        let (device, dtype) = (self.centers.device(), self.centers.dtype());
        let mut batch = config.rules(config.checking).check(batch, device, dtype)?;
        let may_train = call.may_train && batch.is_autodiff;
        let trains = may_train && self.updating.is_enabled();
        let constant = self.centers.constant();
        let (features, classes) = (batch.features(), batch.classes.clone());
        let angles = target_angles(&features, &constant, &classes, config.sub_centers);
        let (qualities, norms) = self.qualities(&batch, &angles, trains).unzip();
        let margin = &config.margin;
        let target = self.target_scores(&angles, &classes, qualities);
        let samples = [angles.angle.clone(), target.value.clone()];
        let softmax = Softmax {
            target,
            features,
            centers: if may_train {
                self.centers.tracked()
            } else {
                constant.clone()
            },
            classes,
            sub_centers: config.sub_centers,
            scale: margin.scale(self.scale()),
            bound: margin.bound(),
            smoothing: config.label_smoothing,
            angles,
            budget: config.score_budget,
        };
        let pass = softmax.forward();
        let weighing = config.weighing(1.0, self.class_weights.as_ref(), call);
        let weights = batch.weigh(&pass.losses(), None, &weighing, &constant)?;
        let scale = match config.scale_schedule {
            ScaleSchedule::AdaCos if trains => {
                let [angles, targets] = samples;
                self.adapted_scale([angles, targets, pass.losses()], batch.weights())?
            }
            _ => None,
        };
        let logits = wants_logits.then(|| pass.logits());
        let value = pass.finish(&weights);
        if trains {
            if let (Some(norms), Some(running)) = (norms, &self.norms) {
                running.replace(norms)?;
            }
            self.rates.pass_step();
            if let Some(scale) = scale {
                self.rates.change(|state| state.rates[1] = scale);
            }
        }
        if let Some(skipped) = weights.skipped {
            self.skipped.add(skipped);
        }
        Ok((value, logits))
    }
}
