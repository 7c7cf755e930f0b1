mod addition;
mod batch;
mod centers;
#[cfg(all(test, any(feature = "flex", feature = "wgpu")))]
mod comparison;
mod config;
mod error;
#[cfg(feature = "flex")]
mod fused;
mod geometry;
mod groups;
#[cfg(feature = "_kernels")]
mod kernels;
mod nearest_center;
mod rates;
mod samples;
mod schedule;
mod shared;
mod statistics;
mod update;

pub use config::{
    CenterDistance, CenterLossConfig, Checking, ClassBalance, Precision, Reduction, UpdateRule,
    UpdateTiming,
};
pub use error::CenterLossError;
pub use schedule::Schedule;
pub use statistics::CenterStatistics;
pub use update::CenterUpdate;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use burn::module::{Content, DisplaySettings, Flag, Module, ModuleDisplay, Param, ParamGroup};
use burn::tensor::{Bool, DType, Int, Tensor, TensorData};

use crate::distance::{no_zero, unit_rows};
use batch::{Batch, CheckedBatch, check_fit};
use centers::{Centers, with_autodiff_of};
use config::setting;
use rates::Rates;
use samples::{DeviceSamples, PerSample, Samples, class_totals_on_device};
use shared::Shared;

/// Center loss: pulls features towards the center of their class, and moves the centers after the features.
///
/// ```text
/// L = lambda * reduce_i(w_i * l_i),   l_i = 1/2 * max(0, ||x_i - c_{y_i}|| - radius)^2
/// ```
///
/// `x_i` is row `i` of the features, `y_i` its label, `c_j` the center of class `j`, `w_i` the weight of the sample (1 if
/// none are given) times the weight of its class. Under [`ClassBalance::Histogram`] each `l_i` is divided by `n_{y_i}`,
/// how many samples of the batch have that label. A weight of 2 counts as having the sample twice, in the mean, in the
/// histogram and in the update.
///
/// The features receive gradients; the centers only under [`UpdateRule::Gradient`]. Under the direct rules
/// ([`UpdateRule`] has their formulas) the loss moves the centers itself, without an optimizer.
///
/// # When the centers move
///
/// [`forward`](Self::forward) moves them if the features are on an autodiff device and the module is not frozen or in
/// validation mode, as batch normalisation decides it too: once per call, from the batch as it was before the call.
/// Calling it twice in one training step moves them twice. A model on an autodiff device that is evaluated without
/// `valid()` moves them as well: call `valid()` first, or [`evaluate`](Self::evaluate), which never moves anything. After
/// `freeze()` they rest. [`measure`](Self::measure) and [`apply`](Self::apply) split the two halves of `forward`.
///
/// # Several devices, gradient accumulation
///
/// Burn's multi-device training forks the model for every shard and drops the forks, and with them what an immediate
/// update did. Choose [`UpdateTiming::OnStep`] and call [`apply_pending`](Self::apply_pending) where the optimizer steps.
/// Clones share the list of waiting updates: a second model made by `clone()` and trained beside the first one needs its
/// own, see [`with_own_pending`](Self::with_own_pending).
///
/// # Cost
///
/// Loss and update take `O(batch_size * feature_dim)` time and memory beyond the centers, whatever `num_classes` is;
/// the gradient rule takes `O(num_classes * feature_dim)`, since gradients of an embedding are dense in Burn. While a
/// clone of the module is alive, the first update after it copies the centers once.
///
/// The Euclidean loss without a radius goes over memory two or three times in code of its own: on the flex backend once
/// for loss and gradient and once for the update; on `wgpu`, `vulkan`, `metal`, `webgpu`, `cuda`, `rocm` and `cpu` in
/// kernels, with the gradient made on the way back. Everything else is made of Burn's tensor operations, which give the
/// same results up to rounding. So it is as well where `fusion` is on in Burn, as it is by default on these backends, but
/// not in this crate: turn it on in both.
///
/// # Data types
///
/// Features may be `f16`, `bf16`, `f32` or `f64`; they are brought into the data type of the centers ([`Precision`]),
/// in which everything is summed and the loss is returned. Labels may be of any integer type.
///
/// # Differences from the references
///
/// | source | loss value | here |
/// |---|---|---|
/// | Wen et al. 2016, caffe-face | `sum_i r_i^2 / (2B)` | `Reduction::Mean`, `UpdateRule::Paper` |
/// | Wen et al. 2019, code | the same, with a radius | `Reduction::Mean`, `UpdateRule::Mean`, `with_radius` |
/// | ShownX and wangx404 (MXNet) | `lambda/2 * r_i^2 / n_{y_i}` per sample | [`CenterLossConfig::mxnet`] |
/// | KaiyangZhou (PyTorch) | `sum_i r_i^2 / B`, no half | `lambda = 2`, `UpdateRule::Gradient` |
/// | facenet (TensorFlow) | mean of `(x - c)^2` over all `B * D` entries | `lambda = 2 / feature_dim`, `UpdateRule::Sum`, `alpha` for its `1 - alpha` |
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_center_loss::CenterLossConfig;
///
/// let device = Device::flex().autodiff();
/// let loss = CenterLossConfig::new(2, 2)
///     .with_alpha(1.0)
///     .init_with_centers(Tensor::zeros([2, 2], &device))?;
///
/// let features = Tensor::<2>::from_data([[2.0, 0.0], [0.0, 4.0]], &device).require_grad();
/// let labels = Tensor::from_data([0, 1], &device);
/// let value = loss.forward(features.clone(), labels);
///
/// // (2^2 / 2 + 4^2 / 2) / 2 samples; each center went alpha * 1 / (1 + 1) of the way.
/// assert_eq!(value.clone().into_scalar::<f32>(), 5.0);
/// assert_eq!(loss.centers().into_data(), [[1.0_f32, 0.0], [0.0, 2.0]].into());
///
/// let gradients = value.backward();
/// let gradient = features.grad(&gradients).unwrap();
/// assert_eq!(gradient.into_data(), [[1.0_f32, 0.0], [0.0, 2.0]].into());
/// # Ok::<(), burn_center_loss::CenterLossError>(())
/// ```
///
/// # References
///
/// Yandong Wen, Kaipeng Zhang, Zhifeng Li, Yu Qiao: A Discriminative Feature Learning Approach for Deep Face
/// Recognition, ECCV 2016. The same: A Comprehensive Study on Center Loss for Deep Face Recognition, IJCV 2019.
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct CenterLoss {
    centers: Centers,
    updating: Param<Flag>,
    rates: Rates,
    class_weights: Option<Tensor<1>>,
    #[module(skip)]
    config: Arc<CenterLossConfig>,
    #[module(skip)]
    shared: Shared,
}

/// A batch whose shapes and devices fit each other and the centers.
struct Input {
    /// In the centers' data type.
    features: Tensor<2>,
    /// Whether the features are on an autodiff device.
    is_autodiff: bool,
    /// The features as the caller gave them, for error messages, where their data type was another.
    given: Option<Tensor<2>>,
    labels: Tensor<1, Int>,
    weights: Option<Tensor<1>>,
}

impl CenterLoss {
    /// The loss of a batch; moves the centers.
    ///
    /// See [the type](Self#when-the-centers-move) for when the centers move. One training step of the
    /// [schedules](Schedule) passes with every such call. Reads from the device under [`Checking::Strict`] only.
    ///
    /// # Shapes
    ///
    /// - features: `[batch_size, feature_dim]`
    /// - labels: `[batch_size]`
    /// - output: `[1]`, or `[batch_size]` under [`Reduction::None`]
    ///
    /// # Panics
    ///
    /// With the message of [`try_forward`](Self::try_forward); the centers are unchanged.
    pub fn forward(&self, features: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        self.try_forward(features, labels, None)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// The loss of a batch with one weight per sample; moves the centers.
    ///
    /// # Shapes
    ///
    /// - features: `[batch_size, feature_dim]`
    /// - labels, weights: `[batch_size]`
    /// - output: `[1]`, or `[batch_size]` under [`Reduction::None`]
    ///
    /// # Panics
    ///
    /// With the message of [`try_forward`](Self::try_forward); the centers are unchanged.
    pub fn forward_weighted(
        &self,
        features: Tensor<2>,
        labels: Tensor<1, Int>,
        weights: Tensor<1>,
    ) -> Tensor<1> {
        self.try_forward(features, labels, Some(weights))
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// [`forward`](Self::forward) or [`forward_weighted`](Self::forward_weighted), with errors as values.
    ///
    /// # Errors
    ///
    /// A [`CenterLossError`] for a batch without samples, features, labels or weights of another shape or on another
    /// device than the centers, and for an update that would overflow. Under [`Checking::Strict`] also for a label
    /// outside `0..num_classes` that is not the ignored one, a feature that is not finite and a weight that is negative
    /// or not finite. Under [`UpdateTiming::OnStep`] also when 4096 updates wait, since then nobody applies them. The
    /// centers and the schedules are unchanged then.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_center_loss::CenterLossConfig;
    ///
    /// let device = Device::flex().autodiff();
    /// let loss = CenterLossConfig::new(10, 2).init(&device);
    /// let error = loss.try_forward(Tensor::zeros([1, 2], &device), Tensor::from_data([10], &device), None);
    /// assert_eq!(error.unwrap_err().to_string(), "labels[0] is 10: it must be in 0..10");
    /// ```
    pub fn try_forward(
        &self,
        features: Tensor<2>,
        labels: Tensor<1, Int>,
        weights: Option<Tensor<1>>,
    ) -> Result<Tensor<1>, CenterLossError> {
        let config = &*self.config;
        let tracked = config.update_rule == UpdateRule::Gradient;
        let input = self.fitting(features, labels, weights)?;
        let training = input.is_autodiff && self.updating.is_enabled();
        if !training {
            return self.value(input, tracked);
        }
        #[cfg(feature = "flex")]
        if config.update_timing == UpdateTiming::Immediate
            && config.update_rule.is_direct()
            && let Some(loss) = self.forward_fused(&input)
        {
            return loss;
        }
        let (loss, update) = self.measure_with(input, tracked)?;
        match config.update_timing {
            UpdateTiming::Immediate => self.apply_now(update)?,
            UpdateTiming::OnStep => self.shared.push(update)?,
        }
        Ok(loss)
    }

    /// The loss of a batch, without moving anything: centers, schedules and gradients of the centers stay.
    ///
    /// # Shapes
    ///
    /// - features: `[batch_size, feature_dim]`
    /// - labels: `[batch_size]`
    /// - output: `[1]`, or `[batch_size]` under [`Reduction::None`]
    ///
    /// # Panics
    ///
    /// With the message of [`measure`](Self::measure).
    pub fn evaluate(&self, features: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        self.fitting(features, labels, None)
            .and_then(|input| self.value(input, false))
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// The loss of a batch and what the batch would do to the centers, without moving anything.
    ///
    /// The update can be [merged](CenterUpdate::merge) with those of other batches and given to
    /// [`apply`](Self::apply). The loss is the one that [`evaluate`](Self::evaluate) gives: it has a gradient for the
    /// features and none for the centers.
    ///
    /// # Errors
    ///
    /// As [`try_forward`](Self::try_forward).
    pub fn measure(
        &self,
        features: Tensor<2>,
        labels: Tensor<1, Int>,
        weights: Option<Tensor<1>>,
    ) -> Result<(Tensor<1>, CenterUpdate), CenterLossError> {
        self.measure_with(self.fitting(features, labels, weights)?, false)
    }

    /// Moves the centers by an update that [`measure`](Self::measure) gave, at the current alpha; one step of the
    /// schedules passes.
    ///
    /// # Errors
    ///
    /// [`CenterLossError::RuleTakesNoUpdate`] under `Gradient` and `Frozen`, [`CenterLossError::Frozen`] for a module
    /// that is frozen or in validation mode, [`CenterLossError::UpdateShape`] and [`CenterLossError::UpdateOverflow`].
    /// The centers are unchanged then.
    pub fn apply(&self, update: CenterUpdate) -> Result<(), CenterLossError> {
        let rule = self.config.update_rule;
        if !rule.is_direct() {
            return Err(CenterLossError::RuleTakesNoUpdate { rule });
        }
        if !self.updating.is_enabled() {
            return Err(CenterLossError::Frozen);
        }
        self.apply_now(update.moved_to(&self.centers.device()))
    }

    /// Merges the updates that `forward` has noted on this loss, its clones and its forks under
    /// [`UpdateTiming::OnStep`], and applies them once, in the order of the shards. Returns how many there were; with
    /// none, nothing happens.
    ///
    /// Call it in `TrainStep::optimize` and `optimize_multi`, or beside `optimizer.step(..)` in a loop of one's own.
    ///
    /// # Errors
    ///
    /// [`CenterLossError::UpdateOverflow`]; the centers are unchanged, and the refused updates are gone.
    pub fn apply_pending(&self) -> Result<usize, CenterLossError> {
        let pending = self.shared.take();
        let count = pending.len();
        let merged = pending
            .into_iter()
            .map(Ok)
            .reduce(|merged, update| merged?.merge(update?));
        if let Some(merged) = merged {
            self.apply_now(merged?.moved_to(&self.centers.device()))?;
        }
        Ok(count)
    }

    /// The same loss with a list of waiting updates of its own, for a model that was cloned to be trained separately.
    pub fn with_own_pending(mut self) -> Self {
        self.shared = Shared::default();
        self
    }

    /// Reports what [`Checking::Deferred`] has left out since the last call, and starts counting anew. Reads from the
    /// devices that have counted.
    ///
    /// # Errors
    ///
    /// [`CenterLossError::LeftOut`] with the counts, if any is not zero.
    pub fn check(&self) -> Result<(), CenterLossError> {
        let mut total = [0; 3];
        for counts in self.shared.take_counts() {
            let counts = counts
                .try_into_data()
                .map_err(|error| CenterLossError::Read(error.to_string()))?;
            for (total, count) in total.iter_mut().zip(counts.iter::<u64>()) {
                *total += count;
            }
        }
        match total {
            [0, 0, 0] => Ok(()),
            [labels, features, weights] => Err(CenterLossError::LeftOut {
                labels,
                features,
                weights,
            }),
        }
    }

    /// The centers as they are now, `[num_classes, feature_dim]`: a constant on the plain device, which later updates
    /// leave alone.
    pub fn centers(&self) -> Tensor<2> {
        self.centers.constant()
    }

    /// The number of classes.
    pub fn num_classes(&self) -> usize {
        self.config.num_classes
    }

    /// The width of features and centers.
    pub fn feature_dim(&self) -> usize {
        self.config.feature_dim
    }

    /// The configuration that the loss was made with.
    pub fn config(&self) -> &CenterLossConfig {
        &self.config
    }

    /// The rate of the centers at the current training step: the base rate times its schedule.
    pub fn alpha(&self) -> f64 {
        let rates = self.rates.get();
        rates.alpha * self.config.alpha_schedule.factor(rates.step)
    }

    /// The weight of the loss at the current training step: the base weight times its schedule.
    pub fn lambda(&self) -> f64 {
        let rates = self.rates.get();
        rates.lambda * self.config.lambda_schedule.factor(rates.step)
    }

    /// How many training steps the schedules have seen.
    pub fn step(&self) -> u64 {
        self.rates.get().step
    }

    /// Sets the base rate of the centers. It is kept in the record.
    ///
    /// # Panics
    ///
    /// If `alpha` is negative or not finite.
    pub fn set_alpha(&self, alpha: f64) {
        let alpha = setting("alpha", alpha).unwrap_or_else(|error| panic!("{error}"));
        self.rates.change(|rates| rates.alpha = alpha);
    }

    /// Sets the base weight of the loss. It is kept in the record.
    ///
    /// # Panics
    ///
    /// If `lambda` is negative or not finite.
    pub fn set_lambda(&self, lambda: f64) {
        let lambda = setting("lambda", lambda).unwrap_or_else(|error| panic!("{error}"));
        self.rates.change(|rates| rates.lambda = lambda);
    }

    /// The parameter group of the centers, for giving them an optimizer and a rate of their own under
    /// [`UpdateRule::Gradient`]. `path` is where the loss is in the model, such as `"center_loss"`, or `""` if it is the
    /// model.
    ///
    /// The group matches by path: parameter ids change when a checkpoint is loaded.
    pub fn centers_group(path: &str) -> ParamGroup {
        let path = match path {
            "" => String::from("centers"),
            path => format!("{path}.centers"),
        };
        ParamGroup::from_path(path)
    }

    /// The same loss with centers at the class means of the given batches; a class without samples keeps its center.
    ///
    /// Starting at class means avoids the early collapse of random centers and features into one point. The means are
    /// of the normalised features under [`CenterDistance::Cosine`], and are weighted by nothing but the number of
    /// samples.
    ///
    /// # Errors
    ///
    /// As [`try_forward`](Self::try_forward), for any of the batches; bad samples are refused under both ways of
    /// checking.
    pub fn init_from_data(
        self,
        batches: impl IntoIterator<Item = (Tensor<2>, Tensor<1, Int>)>,
    ) -> Result<Self, CenterLossError> {
        let shape = self.centers.shape();
        let dtype = DType::from(self.centers.dtype());
        let device = self.centers.device();
        let means = (*self.config)
            .clone()
            .with_radius(0.0)
            .with_checking(Checking::Strict)
            .init_with_centers(Tensor::zeros(shape, (&device, dtype)))?;
        let mut seen = vec![0.0; shape[0]];
        for (features, labels) in batches {
            let (_, update) = means.measure(features.without_autodiff(), labels, None)?;
            let step = update.running_mean_step(&mut seen);
            means.centers.take(step.into());
        }
        let absent: Vec<bool> = seen.iter().map(|samples| *samples == 0.0).collect();
        let absent = Tensor::<2, Bool>::from_data(TensorData::new(absent, [shape[0], 1]), &device);
        let values = means
            .centers
            .constant()
            .mask_where(absent.expand(shape), self.centers.constant());
        Ok(Self {
            centers: self.centers.with_values(values),
            ..self
        })
    }

    /// The same loss with more classes: the given centers, `[new_classes, feature_dim]`, follow the present ones. The
    /// new classes have weight 1 if there are class weights; rates and schedules go on, and frozen centers stay frozen.
    ///
    /// # Errors
    ///
    /// As [`CenterLossConfig::init_with_centers`].
    pub fn extend_classes(&self, centers: Tensor<2>) -> Result<Self, CenterLossError> {
        let [new_classes, _] = centers.dims();
        let mut config = (*self.config).clone();
        config.num_classes = new_classes;
        let added = config
            .accept_centers(centers)?
            .to_device(&self.centers.device());
        config.num_classes = self.num_classes() + new_classes;
        if let Some(weights) = &mut config.class_weights {
            weights.resize(config.num_classes, 1.0);
        }
        let all = Tensor::cat(vec![self.centers.constant(), added], 0);
        let all = with_autodiff_of(all, &self.centers.autodiff_device());
        let extended = config.init_with_centers(all)?;
        let rates = self.rates.get();
        extended.rates.change(|state| *state = rates);
        Ok(Self {
            updating: self.updating.clone(),
            ..extended
        })
    }

    /// The batch, if shapes and devices fit, with features in the centers' data type.
    fn fitting(
        &self,
        features: Tensor<2>,
        labels: Tensor<1, Int>,
        weights: Option<Tensor<1>>,
    ) -> Result<Input, CenterLossError> {
        let device = self.centers.device();
        check_fit(&self.config, &device, &features, &labels, weights.as_ref())?;
        let is_autodiff = features.is_autodiff();
        let (features, given) = match features.dtype() == self.centers.dtype().into() {
            true => (features, None),
            false => (features.clone().cast(self.centers.dtype()), Some(features)),
        };
        Ok(Input {
            features,
            is_autodiff,
            given,
            labels,
            weights,
        })
    }

    /// The loss of a batch, without what it would do to the centers.
    fn value(&self, input: Input, tracked: bool) -> Result<Tensor<1>, CenterLossError> {
        #[cfg(feature = "flex")]
        if !tracked && let Some(loss) = self.value_fused(&input) {
            return Ok(loss);
        }
        Ok(self.measure_with(input, tracked)?.0)
    }

    fn measure_with(
        &self,
        input: Input,
        tracked: bool,
    ) -> Result<(Tensor<1>, CenterUpdate), CenterLossError> {
        #[cfg(feature = "flex")]
        if !tracked && let Some(measured) = self.measure_fused(&input) {
            return Ok(measured);
        }
        #[cfg(feature = "_kernels")]
        if !tracked && let Some(measured) = self.measure_by_kernels(&input) {
            return Ok(measured);
        }
        self.measure_by_operations(input, tracked)
    }

    /// As [`measure_with`](Self::measure_with), for any backend: the reference for what is faster.
    fn measure_by_operations(
        &self,
        input: Input,
        tracked: bool,
    ) -> Result<(Tensor<1>, CenterUpdate), CenterLossError> {
        let Input {
            features,
            is_autodiff,
            given,
            labels,
            weights,
        } = input;
        let given = given.unwrap_or_else(|| features.clone());
        let config = &*self.config;
        let batch = Batch::new(config, &self.centers.device(), labels, weights);
        let centers = match tracked && is_autodiff {
            true => self.centers.tracked(),
            false => self.centers.constant(),
        }
        .select(0, batch.classes.clone());

        // `offsets` is what the loss measures, `pulls` what moves the centers; they differ under the cosine distance.
        let (offsets, pulls) = match config.distance {
            CenterDistance::Euclidean => {
                let offsets = features - centers;
                (offsets.clone(), offsets.without_autodiff())
            }
            CenterDistance::Cosine => {
                let features = unit_rows(features);
                let pulls =
                    features.clone().without_autodiff() - centers.clone().without_autodiff();
                (features - unit_rows(centers), pulls)
            }
        };
        let CheckedBatch {
            samples,
            masked,
            left_out,
        } = batch.check(config, pulls.clone(), &given)?;
        if let Some(left_out) = left_out {
            self.shared.count(left_out);
        }
        let (offsets, pulls) = match masked {
            Some(masked) => {
                let shape = pulls.dims();
                let masked = masked.unsqueeze_dim::<2>(1).expand(shape);
                (
                    offsets.mask_fill(masked.clone(), 0.0),
                    pulls.mask_fill(masked, 0.0),
                )
            }
            None => (offsets, pulls),
        };
        let pulls = match config.radius > 0.0 {
            true => pulls * geometry::beyond(offsets.clone().without_autodiff(), config.radius),
            false => pulls,
        };
        let loss = self.reduce(offsets, &samples);
        Ok((loss, CenterUpdate::new(pulls, samples)))
    }

    /// The weighted, balanced and reduced loss of the offsets from the centers.
    fn reduce(&self, offsets: Tensor<2>, samples: &Samples) -> Tensor<1> {
        let losses: Tensor<1> = match self.coefficients(samples) {
            PerSample::Host(values) if values.iter().all(|value| *value == values[0]) => {
                geometry::half_squares(offsets, self.config.radius, |x| x.mul_scalar(values[0]))
            }
            values => {
                let column = values.column(&self.centers.device(), self.centers.dtype().into());
                geometry::half_squares(offsets, self.config.radius, |x| x * column)
            }
        };
        match self.config.reduction {
            Reduction::Mean | Reduction::Sum => losses.sum(),
            Reduction::None => losses,
        }
    }

    /// What each sample's half squared distance is multiplied by, the division of the mean included: scaled before it is
    /// summed, a loss whose value is finite does not overflow on the way.
    fn coefficients(&self, samples: &Samples) -> PerSample {
        let config = &*self.config;
        match samples {
            Samples::Host(host) => {
                let groups = host.groups();
                let totals = groups.totals(Some(&host.weights));
                let coefficients = self.class_coefficients(&groups.classes, &totals);
                let entries = groups.of_samples().into_iter().zip(&host.weights);
                PerSample::Host(
                    entries
                        .map(|(group, weight)| weight * coefficients[group])
                        .collect(),
                )
            }
            Samples::Device(samples) => {
                let DeviceSamples { classes, weights } = &**samples;
                let mut values = weights.clone();
                if let Some(class_weights) = &self.class_weights {
                    values = values
                        * class_weights
                            .clone()
                            .without_autodiff()
                            .select(0, classes.clone());
                }
                if config.reduction == Reduction::Mean {
                    values = values.clone() / no_zero(values.sum());
                }
                if config.class_balance == ClassBalance::Histogram {
                    values = values / no_zero(class_totals_on_device(classes, weights));
                }
                PerSample::Device(values.mul_scalar(self.lambda()))
            }
        }
    }

    /// What the half squared distance of a sample of weight 1 is multiplied by, for each of the batch's classes, of which
    /// the total weights are given.
    fn class_coefficients(&self, classes: &[usize], totals: &[f64]) -> Vec<f64> {
        let config = &*self.config;
        let class_weight = |class: usize| match &config.class_weights {
            Some(weights) => weights[class],
            None => 1.0,
        };
        let mut scale = self.lambda();
        if config.reduction == Reduction::Mean {
            let entries = classes.iter().zip(totals);
            let total: f64 = entries
                .map(|(class, total)| class_weight(*class) * total)
                .sum();
            if total > 0.0 {
                scale /= total;
            }
        }
        let divisor = |total: f64| match config.class_balance {
            ClassBalance::Histogram if total > 0.0 => total,
            _ => 1.0,
        };
        classes
            .iter()
            .zip(totals)
            .map(|(class, total)| scale * class_weight(*class) / divisor(*total))
            .collect()
    }

    /// Applies an update that is on the centers' device.
    fn apply_now(&self, update: CenterUpdate) -> Result<(), CenterLossError> {
        update.expect_feature_dim(self.feature_dim())?;
        let (rule, alpha) = (self.config.update_rule, self.alpha());
        if rule.is_direct() && alpha > 0.0 {
            self.centers.take(update.step(rule, alpha)?.into());
        }
        self.pass_step();
        Ok(())
    }

    /// One step of the schedules passes.
    fn pass_step(&self) {
        self.rates.change(|rates| rates.step += 1);
    }
}

impl ModuleDisplay for CenterLoss {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new()
            .with_new_line_after_attribute(false)
            .optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        content
            .add("num_classes", &self.num_classes())
            .add("feature_dim", &self.feature_dim())
            .add_debug_attribute("update_rule", &self.config.update_rule)
            .add("alpha", &self.alpha())
            .add("lambda", &self.lambda())
            .optional()
    }
}
