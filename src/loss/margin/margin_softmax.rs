use alloc::string::String;
use alloc::sync::Arc;
use burn::module::{Content, DisplaySettings, Flag, Module, ModuleDisplay, Param, ParamGroup};
use burn::nn::loss::Reduction;
use burn::tensor::{DType, Int, Tensor};

use super::config::MarginSoftmaxConfig;
use super::error::MarginSoftmaxError;
use super::margin::Margin;
use super::norm_statistics::{NormStatistics, RunningNorms, clipped, qualities};
use crate::batch::{Batch, BatchRules, ClassWeights, LeftOut, LeftOutCounter, PerSample, Weighing};
#[cfg(doc)]
use crate::batch::{BatchError, Checking};
use crate::centers::Centers;
use crate::engine::{self, Angles, Counted, Scale, Softmax};
use crate::error::not_negative;
use crate::schedule::{RateState, Rates};

/// Softmax cross-entropy over the cosines between features and one vector per class, with a margin for the
/// own class.
///
/// ```text
/// z_ij = s cos(x_i, w_j)                         other classes
/// z_iy = s psi(theta_iy)                         the own class: cos(theta) with a margin, see Margin
/// l_i  = log sum_j exp(z_ij) - (1 - e) z_iy - e / num_classes * sum_j z_ij
/// L    = reduce_i(w_i l_i)
/// ```
///
/// `x_i` is row `i` of the features, `y` its label, `w_j` the vector of class `j`, `theta` the angle between
/// both, `s` the scale and `e` the label smoothing. With several sub-centers per class, `w_j` is the one with
/// the largest cosine. `w_i` is the weight of the sample (1 if none are given) times the weight of its class;
/// a weight of 2 counts as having the sample twice. Under
/// [`ClassBalance::Histogram`](crate::ClassBalance::Histogram) each `l_i` is divided by how many samples of
/// the batch have its label. `reduce` is Burn's [`Reduction`]: `Mean` (and `Auto`) is
/// `sum_i w_i l_i / sum_i w_i`, `Sum` is `sum_i w_i l_i`, and `BatchMean` is that sum divided by the number
/// of rows, ignored ones included.
///
/// Features and class vectors receive gradients. The class vectors are an ordinary parameter, which the
/// optimizer of the model moves; [`centers_group`](Self::centers_group) gives them a rate of their own. All
/// of them have a gradient in every step, also those of classes that the batch does not have.
///
/// # Which margin
///
/// ArcFace and CosFace are what most published face and speaker models were trained with, and differ little
/// in their results. Where the scale is the same, the margin itself does not always make a measurable
/// difference: compare with [`MarginSoftmaxConfig::normalized_softmax`] at several scales before tuning a
/// margin.
///
/// # Panics or errors
///
/// [`forward`](Self::forward), [`forward_no_reduction`](Self::forward_no_reduction) and
/// [`evaluate`](Self::evaluate) take tensors and panic, as Burn's losses do. Their twins with `try_` take
/// a [`Batch`], which may have sample weights, and return errors as values. All other methods return
/// errors as values.
///
/// # Training and validation
///
/// `forward` trains if the features are on an autodiff device and the module is neither frozen nor in
/// validation mode: one step of the margin schedule passes, and the statistics of
/// [`AdaFace`](crate::AdaFace) are brought up to date. Otherwise, and in `evaluate`, nothing moves.
///
/// # Numbers
///
/// The angle between a feature and the vector of its class is computed in `f64` on devices that have it, and
/// in the data type of the class vectors elsewhere. The gradient is that of the angle itself: at angles near
/// 0 and pi it neither grows without bound nor vanishes, and nothing is clamped. A vector of length 0 has
/// cosine 0 with everything and receives no gradient. Under other lengths there is no floor
/// (pytorch-metric-learning has one of 1e-12), so that features of length 1e-30 or 1e30 are as good as any.
///
/// # Cost
///
/// Three matrix products of `batch_size * num_classes * feature_dim` within
/// [`score_budget`](MarginSoftmaxConfig::score_budget), four beyond it. Classes are gone through in blocks,
/// so that beyond features, class vectors, their gradients and the budget the memory does not depend on the
/// number of classes. On a backend that this crate does not know, Burn's own autodiff keeps all scores.
/// Strict checking reads labels and a few numbers per sample back from the device, with one wait.
///
/// # Data types
///
/// Features may be `f16`, `bf16`, `f32` or `f64`. They are converted to the data type of the class vectors
/// ([`Precision`](crate::Precision)), in which everything is summed and the loss is returned. Labels may be
/// of any integer type. The class vectors keep their type when a model is mapped to half precision.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_center_loss::{CosFace, MarginSoftmaxConfig};
///
/// let device = Device::flex().autodiff();
/// let loss = MarginSoftmaxConfig::new(3, 2)
///     .with_margin(CosFace::new().with_margin(0.2).into())
///     .with_scale(10.0)
///     .init(&device);
///
/// let features = Tensor::<2>::from_data([[2.0, 0.0], [0.0, 4.0]], &device).require_grad();
/// let value = loss.forward(features.clone(), Tensor::from_data([0, 2], &device));
/// let gradients = value.backward();
/// assert_eq!(features.grad(&gradients).unwrap().dims(), [2, 2]);
///
/// // For accuracy: the scores without the margin.
/// assert_eq!(loss.logits(features)?.argmax(1).dims(), [2, 1]);
/// # Ok::<(), burn_center_loss::MarginSoftmaxError>(())
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
    pub(super) updating: Param<Flag>,
    /// What the margin is multiplied by.
    pub(super) rates: Rates<1>,
    pub(super) norms: Option<RunningNorms>,
    pub(super) class_weights: Option<ClassWeights>,
    #[module(skip)]
    pub(super) config: Arc<MarginSoftmaxConfig>,
    #[module(skip)]
    pub(super) left_out: LeftOutCounter,
}

impl MarginSoftmax {
    /// The loss of a batch.
    ///
    /// # Shapes
    ///
    /// - features: `[batch_size, feature_dim]`
    /// - labels: `[batch_size]`, in `0..num_classes` or the ignored label
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// With the message of [`try_forward`](Self::try_forward).
    pub fn forward(&self, features: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        self.try_forward((features, labels))
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// [`forward`](Self::forward) with errors as values, also for a batch with sample weights.
    ///
    /// # Errors
    ///
    /// [`BatchError`] for shapes or devices that do not fit. Under [`Checking::Strict`] also for a label
    /// outside `0..num_classes`, a feature, weight or class vector that is not finite, a negative weight, and
    /// a loss or gradient of the features that would not be finite. Statistics and schedules are unchanged
    /// then. Gradients of class vectors are not checked: one that is shorter than about 1e-36 may get an
    /// infinite one in `f32`.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_center_loss::MarginSoftmaxConfig;
    ///
    /// let device = Device::flex().autodiff();
    /// let loss = MarginSoftmaxConfig::new(10, 2).init(&device);
    /// let error = loss.try_forward((Tensor::ones([1, 2], &device), Tensor::from_data([10], &device)));
    /// assert_eq!(error.unwrap_err().to_string(), "labels[0] is 10: it must be in 0..10");
    /// ```
    pub fn try_forward(&self, batch: impl Into<Batch>) -> Result<Tensor<1>, MarginSoftmaxError> {
        self.measure(batch.into(), Some(&self.config.reduction), true)
    }

    /// The losses `w_i l_i` of the samples, not reduced.
    ///
    /// # Shapes
    ///
    /// - features: `[batch_size, feature_dim]`
    /// - labels: `[batch_size]`
    /// - output: `[batch_size]`
    ///
    /// # Panics
    ///
    /// With the message of [`try_forward_no_reduction`](Self::try_forward_no_reduction).
    pub fn forward_no_reduction(&self, features: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        self.try_forward_no_reduction((features, labels))
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// [`forward_no_reduction`](Self::forward_no_reduction) with errors as values, also for a batch with
    /// sample weights.
    ///
    /// # Errors
    ///
    /// As [`try_forward`](Self::try_forward).
    pub fn try_forward_no_reduction(
        &self,
        batch: impl Into<Batch>,
    ) -> Result<Tensor<1>, MarginSoftmaxError> {
        self.measure(batch.into(), None, true)
    }

    /// The loss of a batch with the margin as it is, without moving anything: schedule and statistics stay,
    /// and the class vectors receive no gradient.
    ///
    /// # Shapes
    ///
    /// - features: `[batch_size, feature_dim]`
    /// - labels: `[batch_size]`
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// With the message of [`try_evaluate`](Self::try_evaluate).
    pub fn evaluate(&self, features: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        self.try_evaluate((features, labels))
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// [`evaluate`](Self::evaluate) with errors as values, also for a batch with sample weights.
    ///
    /// # Errors
    ///
    /// As [`try_forward`](Self::try_forward).
    pub fn try_evaluate(&self, batch: impl Into<Batch>) -> Result<Tensor<1>, MarginSoftmaxError> {
        self.measure(batch.into(), Some(&self.config.reduction), false)
    }

    /// The scores of all classes without the margin, for predictions and accuracy: the scale times the cosine;
    /// under [`SphereFace`](crate::SphereFace) times the length of the feature as well. Of the sub-centers of
    /// a class the largest counts. They are on the graph of the features.
    ///
    /// # Shapes
    ///
    /// - features: `[num_features, feature_dim]`
    /// - output: `[num_features, num_classes]`
    ///
    /// # Errors
    ///
    /// [`BatchError`] for features of another width or device.
    pub fn logits(&self, features: Tensor<2>) -> Result<Tensor<2>, MarginSoftmaxError> {
        let [rows, _] = features.dims();
        let labels = Tensor::zeros([rows], &features.device().without_autodiff());
        let rules = self.rules();
        let batch = rules.fit(
            Batch::new(features, labels),
            self.centers.device(),
            self.centers.dtype(),
        )?;
        Ok(engine::logits(
            batch.features,
            self.centers.constant(),
            self.config.sub_centers,
            self.scale(),
        ))
    }

    /// The counts of what [`Checking::Deferred`] has left out on this loss and all its clones since the
    /// last call, which starts counting anew. Reads from the devices that have counted.
    ///
    /// # Errors
    ///
    /// [`BatchError::Read`] if a device does not return its counts.
    pub fn take_left_out(&self) -> Result<LeftOut, MarginSoftmaxError> {
        Ok(self.left_out.take()?)
    }

    /// The class vectors as they are now, `[num_classes * sub_centers, feature_dim]`: a constant on the plain
    /// device.
    pub fn centers(&self) -> Tensor<2> {
        self.centers.constant()
    }

    /// The number of classes.
    pub fn num_classes(&self) -> usize {
        self.config.num_classes
    }

    /// The width of features and class vectors.
    pub fn feature_dim(&self) -> usize {
        self.config.feature_dim
    }

    /// The configuration that the loss was made with.
    pub fn config(&self) -> &MarginSoftmaxConfig {
        &self.config
    }

    /// What the margin is multiplied by at the current training step: the factor that
    /// [`set_margin_factor`](Self::set_margin_factor) has set, 1 at first, times that of the schedule.
    pub fn margin_factor(&self) -> f64 {
        let RateState { step, rates } = self.rates.get();
        let [factor] = rates;
        factor * self.config.margin_schedule.factor(step)
    }

    /// Multiplies the margin by a factor, for instance to fine-tune with a larger one. It is kept in the
    /// record, and the schedule goes on.
    ///
    /// # Errors
    ///
    /// [`SettingError`](crate::SettingError) for a factor that is negative or not finite, or whose margin is
    /// out of its range.
    pub fn set_margin_factor(&self, factor: f64) -> Result<(), MarginSoftmaxError> {
        let factor = not_negative("margin_factor", factor)?;
        self.config.margin.validate(self.num_classes(), factor)?;
        self.rates.change(|state| state.rates = [factor]);
        Ok(())
    }

    /// How many training steps the margin schedule has seen.
    pub fn step(&self) -> u64 {
        self.rates.get().step
    }

    /// The running statistics of [`AdaFace`](crate::AdaFace); `None` under another margin. Reads from the
    /// device.
    pub fn norm_statistics(&self) -> Option<NormStatistics> {
        let values = self.norms.as_ref()?.values().into_data();
        let mut values = values.iter::<f64>();
        Some(NormStatistics {
            mean: values.next()?,
            std: values.next()?,
        })
    }

    /// The parameter group of the class vectors, for an optimizer and a rate of their own. `path` is where
    /// the loss is in the model, such as `"margin_softmax"`, or `""` if it is the model.
    ///
    /// The group matches by path: parameter ids change when a checkpoint is loaded.
    pub fn centers_group(path: &str) -> ParamGroup {
        let path = match path {
            "" => String::from("centers"),
            path => alloc::format!("{path}.centers"),
        };
        ParamGroup::from_path(path)
    }

    pub(super) fn rules(&self) -> BatchRules {
        BatchRules {
            num_classes: self.config.num_classes,
            feature_dim: self.config.feature_dim,
            ignore_label: self.config.ignore_label,
            checking: self.config.checking,
        }
    }

    fn scale(&self) -> Scale {
        self.config.margin.scale(self.config.scale)
    }

    /// The loss of a batch; one that may train brings schedule and statistics forward.
    fn measure(
        &self,
        batch: Batch,
        reduction: Option<&Reduction>,
        may_train: bool,
    ) -> Result<Tensor<1>, MarginSoftmaxError> {
        let rules = self.rules();
        let batch = rules.fit(batch, self.centers.device(), self.centers.dtype())?;
        let trains = may_train && batch.is_autodiff && self.updating.is_enabled();
        let centers = if may_train && batch.is_autodiff {
            self.centers.tracked()
        } else {
            self.centers.constant()
        };
        let weighing = Weighing {
            lambda: 1.0,
            reduction,
            class_balance: self.config.class_balance,
            class_weights: self.class_weights.as_ref(),
        };
        let counted = engine::count(batch, &rules, weighing)?;
        let angles = engine::own_angles(
            counted.features.clone(),
            centers.clone(),
            counted.classes.clone(),
            self.config.sub_centers,
        );
        let (qualities, norms) = self.qualities(&counted, &angles, trains);
        let own = self.config.margin.own_scores(
            &angles,
            self.margin_factor(),
            self.class_margins(&counted, &angles.angle),
            qualities,
        );
        let softmax = Softmax {
            features: counted.features.clone(),
            centers,
            classes: counted.classes.clone(),
            sub_centers: self.config.sub_centers,
            scale: self.scale(),
            bound: self.config.margin.bound(),
            smoothing: self.config.label_smoothing,
            angles,
            own,
            budget: self.config.score_budget,
        };
        let is_reduced = reduction.is_some();
        let losses = engine::losses(softmax, counted.samples.coefficients(), is_reduced);
        let slope = match self.scale() {
            Scale::Fixed(scale) => 2.0 * scale * self.config.margin.steepest(),
            // Scores grow with the length, so that the gradient does not grow as the length falls.
            Scale::Length(_) => 0.0,
        };
        let centers = self.centers.constant();
        let value = counted
            .samples
            .accept(losses, &centers, slope, is_reduced)?;
        if trains {
            if let (Some(norms), Some(running)) = (norms, &self.norms) {
                running.replace(norms)?;
            }
            self.rates.pass_step();
        }
        if let Some(left_out) = counted.left_out {
            self.left_out.add(left_out);
        }
        Ok(value)
    }

    /// The margin of each sample, if classes have their own; on the host if `like` is.
    fn class_margins(&self, counted: &Counted, like: &PerSample) -> Option<PerSample> {
        let margins = self.config.margin.class_margins()?;
        Some(match like {
            PerSample::Host(_) => {
                let classes = counted.classes.clone().into_data();
                let of_class = |class: i64| margins[class as usize];
                PerSample::Host(classes.iter::<i64>().map(of_class).collect())
            }
            PerSample::Device(angles) => {
                let options = (&angles.device(), angles.dtype());
                let margins = Tensor::<1>::from_data(margins.as_slice(), options);
                PerSample::Device(margins.select(0, counted.classes.clone()))
            }
        })
    }

    /// What AdaFace makes of the lengths of the features, and its statistics after a batch that trains.
    fn qualities(
        &self,
        counted: &Counted,
        angles: &Angles,
        trains: bool,
    ) -> (Option<PerSample>, Option<Tensor<2>>) {
        let (Margin::AdaFace(margin), Some(running)) = (&self.config.margin, &self.norms) else {
            return (None, None);
        };
        let dtype = DType::from(self.centers.dtype());
        let device = self.centers.device();
        let lengths = clipped(&angles.length, device, dtype);
        let statistics = if trains {
            let weights = counted.samples.weights(device, dtype);
            running.after(lengths.clone(), weights, margin.t_alpha)
        } else {
            running.values()
        };
        let qualities = qualities(margin, lengths, statistics.clone(), &angles.angle);
        (Some(qualities), trains.then_some(statistics))
    }
}

impl ModuleDisplay for MarginSoftmax {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new()
            .with_new_line_after_attribute(false)
            .optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        content
            .add("num_classes", &self.num_classes())
            .add("feature_dim", &self.feature_dim())
            .add("sub_centers", &self.config.sub_centers)
            .add_debug_attribute("margin", &self.config.margin)
            .add("scale", &self.config.scale)
            .optional()
    }
}
