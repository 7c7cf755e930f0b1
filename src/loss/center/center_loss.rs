use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use burn::module::{Content, DisplaySettings, Flag, Module, ModuleDisplay, Param, ParamGroup};
use burn::nn::loss::Reduction;
use burn::tensor::{Int, Tensor};

use super::config::CenterLossConfig;
use super::error::CenterLossError;
use super::pending::Pending;
use super::rule::{DirectRule, UpdateRule, UpdateTiming};
use super::update::CenterUpdate;
use crate::batch::{
    Batch, BatchRules, Checking, ClassWeights, FittedBatch, LeftOut, LeftOutCounter, Weighing,
};
use crate::centers::{Centers, Pulls};
use crate::engine::{self, Measured, Problem, Wants};
use crate::error::not_negative;
use crate::schedule::{RateState, Rates};

/// Center loss: pulls features towards the center of their class, and moves the centers after the
/// features.
///
/// ```text
/// L = lambda * reduce_i(w_i * l_i),   l_i = 1/2 * max(0, ||x_i - c_{y_i}|| - radius)^2
/// ```
///
/// `x_i` is row `i` of the features, `y_i` its label, `c_j` the center of class `j`. `w_i` is the weight
/// of the sample (1 if none are given) times the weight of its class. Under
/// [`ClassBalance::Histogram`](crate::ClassBalance::Histogram) each `l_i` is divided by `n_{y_i}`, how
/// many samples of the batch have that label. A weight of 2 counts as having the sample twice, in the
/// mean, in the histogram and in the update. `reduce` is Burn's [`Reduction`]: `Mean` (and `Auto`) is
/// `sum_i w_i l_i / sum_i w_i`, `Sum` is `sum_i w_i l_i`, and `BatchMean` is that sum divided by the
/// number of rows, ignored ones included.
///
/// The features receive gradients. The centers receive gradients only under [`UpdateRule::Gradient`].
/// Under a [`DirectRule`] the loss moves the centers itself, without an optimizer; [`UpdateRule`] has
/// the formulas.
///
/// # Panics or errors
///
/// [`forward`](Self::forward), [`forward_no_reduction`](Self::forward_no_reduction) and
/// [`evaluate`](Self::evaluate) take tensors and panic, as Burn's losses do. Their twins with `try_` take
/// a [`Batch`], which may have sample weights, and return errors as values. All other methods return
/// errors as values.
///
/// # When the centers move
///
/// [`forward`](Self::forward) moves them if the features are on an autodiff device and the module is
/// neither frozen nor in validation mode, as batch normalisation decides it: once per call, from the
/// batch and the centers before the call. Calling it twice in one training step moves them twice. A
/// model on an autodiff device that is evaluated without `valid()` moves them as well: call `valid()`
/// first, or [`evaluate`](Self::evaluate), which never moves anything. After `freeze()` they rest.
///
/// # Several devices, gradient accumulation
///
/// Choose [`UpdateTiming::OnStep`] for gradient accumulation and [`UpdateTiming::OnStepShared`] for
/// several devices, and call [`apply_pending`](Self::apply_pending) where the optimizer steps. Burn's
/// multi-device training forks the model for every shard and drops the forks, and with them what an
/// immediate update did. For its distributed data parallel training choose
/// [`UpdateTiming::OnStepOfWorkers`], which needs the feature `std`.
///
/// # Devices of other machines
///
/// A step waits for its host once under [`Checking::Strict`](crate::Checking::Strict), and never under
/// [`Checking::Deferred`](crate::Checking::Deferred). If the host has died, strict checking returns
/// [`BatchError::Read`](crate::BatchError::Read); deferred checking notices nothing before the next read.
///
/// # Cost
///
/// Loss and update take `O(batch_size * feature_dim)` time and memory beyond the centers, whatever
/// `num_classes` is. Under [`Checking::Deferred`], tensor operations may take one number per class as
/// well, for at most `batch_size` squared classes. The gradient rule takes `O(num_classes * feature_dim)`, since gradients of an
/// embedding are dense in Burn. While a clone of the module is alive, the first update after it copies
/// the centers once.
///
/// The Euclidean loss without a radius reads and writes memory two or three times, in code of its own.
/// On the flex backend that is one pass for loss and gradient and one for the update. On `wgpu`,
/// `vulkan`, `metal`, `webgpu`, `cuda`, `rocm` and `cpu` it is kernels, and the gradient is made in the
/// backward pass. Everything else is Burn's tensor operations, with the same results up to rounding.
/// Where `fusion` is on in Burn, as it is by default on these backends, turn it on in this crate as
/// well, or its kernels are not used.
///
/// # Data types
///
/// Features may be `f16`, `bf16`, `f32` or `f64`. They are converted to the data type of the centers
/// ([`Precision`](crate::Precision)), in which everything is summed and the loss is returned. Labels may
/// be of any integer type.
///
/// # Differences from the references
///
/// | source | loss value | here |
/// |---|---|---|
/// | Wen et al. 2016, caffe-face | `sum_i r_i^2 / (2B)` | `Reduction::Mean`, `DirectRule::paper()` |
/// | Wen et al. 2019, code | the same, with a radius | `Reduction::Mean`, `DirectRule::mean()`, `with_radius` |
/// | ShownX and wangx404 (MXNet) | `lambda/2 * r_i^2 / n_{y_i}` per sample | [`CenterLossConfig::mxnet`] |
/// | KaiyangZhou (PyTorch) | `sum_i r_i^2 / B`, no half | `lambda = 2`, `UpdateRule::Gradient` |
/// | facenet (TensorFlow) | mean of `(x - c)^2` over all `B * D` entries | `lambda = 2 / feature_dim`, `DirectRule::sum()`, `alpha` for its `1 - alpha` |
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_center_loss::{CenterLossConfig, DirectRule};
///
/// let device = Device::flex().autodiff();
/// let loss = CenterLossConfig::new(2, 2)
///     .with_update_rule(DirectRule::paper().with_alpha(1.0).into())
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
/// Yandong Wen, Kaipeng Zhang, Zhifeng Li, Yu Qiao: A Discriminative Feature Learning Approach for Deep
/// Face Recognition, ECCV 2016. The same: A Comprehensive Study on Center Loss for Deep Face
/// Recognition, IJCV 2019.
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct CenterLoss {
    pub(super) centers: Centers,
    pub(super) updating: Param<Flag>,
    /// Alpha, which is 0 where the loss does not move the centers itself, and lambda.
    pub(super) rates: Rates<2>,
    pub(super) class_weights: Option<ClassWeights>,
    pub(super) pending: Pending,
    #[module(skip)]
    pub(super) config: Arc<CenterLossConfig>,
    #[module(skip)]
    pub(super) left_out: LeftOutCounter,
}

impl CenterLoss {
    /// The loss of a batch; moves the centers.
    ///
    /// See [the type](Self#when-the-centers-move) for when the centers move. One training step of the
    /// [schedules](crate::Schedule) passes with every call that trains. Reads from the device under
    /// [`Checking::Strict`] only.
    ///
    /// # Shapes
    ///
    /// - features: `[batch_size, feature_dim]`
    /// - labels: `[batch_size]`
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// With the message of [`try_forward`](Self::try_forward); the centers are unchanged.
    pub fn forward(&self, features: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        self.try_forward((features, labels))
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// [`forward`](Self::forward) with errors as values, also for a batch with sample weights.
    ///
    /// # Errors
    ///
    /// [`BatchError`](crate::BatchError) for a batch without samples, and for features, labels or weights
    /// of another shape or on another device than the centers. Under [`Checking::Strict`] also for a
    /// label outside `0..num_classes` that is not the ignored one, a feature that is not finite, a weight
    /// that is negative or not finite, a center that is not finite, and a loss or gradient that would not
    /// be finite, and [`CentersError`](crate::CentersError) for an update that would overflow.
    /// [`CenterLossError::PendingNotApplied`] when 4096 updates wait. The centers and the schedules are
    /// unchanged then.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_center_loss::CenterLossConfig;
    ///
    /// let device = Device::flex().autodiff();
    /// let loss = CenterLossConfig::new(10, 2).init(&device);
    /// let error = loss.try_forward((Tensor::zeros([1, 2], &device), Tensor::from_data([10], &device)));
    /// assert_eq!(error.unwrap_err().to_string(), "labels[0] is 10: it must be in 0..10");
    /// ```
    pub fn try_forward(&self, batch: impl Into<Batch>) -> Result<Tensor<1>, CenterLossError> {
        self.step_on(batch.into(), Some(&self.config.reduction))
    }

    /// The losses `lambda * w_i * l_i` of the samples, not reduced; moves the centers as
    /// [`forward`](Self::forward) does.
    ///
    /// # Shapes
    ///
    /// - features: `[batch_size, feature_dim]`
    /// - labels: `[batch_size]`
    /// - output: `[batch_size]`
    ///
    /// # Panics
    ///
    /// With the message of [`try_forward_no_reduction`](Self::try_forward_no_reduction); the centers are
    /// unchanged.
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
    ) -> Result<Tensor<1>, CenterLossError> {
        self.step_on(batch.into(), None)
    }

    /// The loss of a batch, without moving anything: centers, schedules and gradients of the centers
    /// stay.
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
    /// The [`BatchError`](crate::BatchError)s of [`try_forward`](Self::try_forward).
    pub fn try_evaluate(&self, batch: impl Into<Batch>) -> Result<Tensor<1>, CenterLossError> {
        let reduction = Some(&self.config.reduction);
        Ok(self
            .measure_batch(batch.into(), reduction, false, Wants::Nothing)?
            .value)
    }

    /// The loss of a batch and what the batch would do to the centers, without moving anything.
    ///
    /// The update can be [merged](CenterUpdate::merge) with those of other batches and given to
    /// [`apply`](Self::apply). The loss is the one that [`evaluate`](Self::evaluate) gives: it has a
    /// gradient for the features and none for the centers.
    ///
    /// # Errors
    ///
    /// As [`try_evaluate`](Self::try_evaluate).
    pub fn measure(
        &self,
        batch: impl Into<Batch>,
    ) -> Result<(Tensor<1>, CenterUpdate), CenterLossError> {
        let reduction = Some(&self.config.reduction);
        let measured = self.measure_batch(batch.into(), reduction, false, Wants::Pulls)?;
        let pulls = measured.pulls.expect("the pulls were asked for");
        Ok((measured.value, CenterUpdate { pulls: *pulls }))
    }

    /// Moves the centers by an update that [`measure`](Self::measure) gave, at the current alpha; one
    /// step of the schedules passes.
    ///
    /// The update may come from another loss, with at most as many classes, of the same feature dimension
    /// and data type, on any device. One that another machine hosts is read to this machine first.
    ///
    /// # Errors
    ///
    /// [`CenterLossError::RuleTakesNoUpdate`] unless the rule is direct, [`CenterLossError::Frozen`] for
    /// a module that is frozen or in validation mode, and [`CentersError`](crate::CentersError) for an
    /// update that does not fit or would overflow. The centers are unchanged then.
    pub fn apply(&self, update: CenterUpdate) -> Result<(), CenterLossError> {
        let rule = self.moving_rule()?;
        self.apply_pulls(rule, update.pulls)
    }

    /// Merges the updates that `forward` has noted under [`UpdateTiming::OnStep`] or
    /// [`UpdateTiming::OnStepShared`], and applies them once, in the order of the shards. Returns how many
    /// there were; with none, nothing happens.
    ///
    /// Under [`UpdateTiming::OnStepOfWorkers`] this waits until all workers have called it, and the updates
    /// are those of all of them.
    ///
    /// Call it in `TrainStep::optimize` and `optimize_multi`, or beside `optimizer.step(..)` in a loop of
    /// one's own.
    ///
    /// # Errors
    ///
    /// [`CenterLossError::RuleTakesNoUpdate`] and [`CenterLossError::Frozen`] as [`apply`](Self::apply):
    /// the updates keep waiting then, as they do after [`CenterLossError::WorkerGone`] and
    /// [`CenterLossError::TooManyWorkers`]. [`CentersError`](crate::CentersError) if an update would overflow
    /// or its device does not return it: the centers are unchanged, and the refused updates are gone.
    pub fn apply_pending(&self) -> Result<usize, CenterLossError> {
        let rule = self.moving_rule()?;
        let (merged, count) = self.pending.take_merged(self.centers.device())?;
        if let Some(merged) = merged {
            self.apply_pulls(rule, merged)?;
        }
        Ok(count)
    }

    /// The counts of what [`Checking::Deferred`] has left out on this loss and all its clones since the
    /// last call, which starts counting anew. Reads from the devices that have counted.
    ///
    /// # Errors
    ///
    /// [`BatchError::Read`](crate::BatchError::Read) if a device does not return its counts.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_center_loss::{CenterLossConfig, Checking};
    ///
    /// let device = Device::flex().autodiff();
    /// let loss = CenterLossConfig::new(3, 2).with_checking(Checking::Deferred).init(&device);
    /// loss.forward(Tensor::ones([2, 2], &device), Tensor::from_data([0, 7], &device));
    /// assert_eq!(loss.take_left_out()?.labels, 1);
    /// assert_eq!(loss.take_left_out()?.total(), 0);
    /// # Ok::<(), burn_center_loss::CenterLossError>(())
    /// ```
    pub fn take_left_out(&self) -> Result<LeftOut, CenterLossError> {
        Ok(self.left_out.take()?)
    }

    /// The centers as they are now, `[num_classes, feature_dim]`: a constant on the plain device, which
    /// later updates leave alone.
    ///
    /// # Panics
    ///
    /// If the backend failed in the middle of an earlier update. The message says to load a checkpoint.
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

    /// The rate of the centers at the current training step, the base rate times its schedule; `None`
    /// unless the rule is direct.
    pub fn alpha(&self) -> Option<f64> {
        match &self.config.update_rule {
            UpdateRule::Direct(rule) => Some(self.alpha_of(rule)),
            UpdateRule::Gradient | UpdateRule::Frozen => None,
        }
    }

    /// The weight of the loss at the current training step: the base weight times its schedule.
    pub fn lambda(&self) -> f64 {
        let RateState { step, rates } = self.rates.get();
        let [_, lambda] = rates;
        lambda * self.config.lambda_schedule.factor(step)
    }

    /// How many training steps the schedules have seen.
    pub fn step(&self) -> u64 {
        self.rates.get().step
    }

    /// Sets the base rate of the centers. It is kept in the record.
    ///
    /// # Errors
    ///
    /// [`SettingError`](crate::SettingError) if `alpha` is negative or not finite,
    /// [`CenterLossError::RuleHasNoAlpha`] unless the rule is direct.
    pub fn set_alpha(&self, alpha: f64) -> Result<(), CenterLossError> {
        let rule = &self.config.update_rule;
        if !matches!(rule, UpdateRule::Direct(_)) {
            return Err(CenterLossError::RuleHasNoAlpha { rule: rule.clone() });
        }
        let alpha = not_negative("alpha", alpha)?;
        self.rates.change(|state| state.rates[0] = alpha);
        Ok(())
    }

    /// Sets the base weight of the loss. It is kept in the record.
    ///
    /// # Errors
    ///
    /// [`SettingError`](crate::SettingError) if `lambda` is negative or not finite.
    pub fn set_lambda(&self, lambda: f64) -> Result<(), CenterLossError> {
        let lambda = not_negative("lambda", lambda)?;
        self.rates.change(|state| state.rates[1] = lambda);
        Ok(())
    }

    /// The parameter group of the centers, for an optimizer and a rate of their own under
    /// [`UpdateRule::Gradient`]. `path` is where the loss is in the model, such as `"center_loss"`, or
    /// `""` if it is the model.
    ///
    /// The group matches by path: parameter ids change when a checkpoint is loaded.
    pub fn centers_group(path: &str) -> ParamGroup {
        let path = match path {
            "" => String::from("centers"),
            path => format!("{path}.centers"),
        };
        ParamGroup::from_path(path)
    }

    /// Brings a batch into the centers' data type, if its shapes and devices fit.
    pub(super) fn fit(&self, batch: Batch) -> Result<FittedBatch, CenterLossError> {
        self.centers.check_present()?;
        let rules = self.rules(self.config.checking);
        Ok(rules.fit(batch, self.centers.device(), self.centers.dtype())?)
    }

    pub(super) fn rules(&self, checking: Checking) -> BatchRules {
        BatchRules {
            num_classes: self.config.num_classes,
            feature_dim: self.config.feature_dim,
            ignore_label: self.config.ignore_label,
            checking,
        }
    }

    /// Loss of a batch, after which the centers move if the loss trains.
    fn step_on(
        &self,
        batch: Batch,
        reduction: Option<&Reduction>,
    ) -> Result<Tensor<1>, CenterLossError> {
        let is_autodiff = batch.features.is_autodiff();
        let trains = is_autodiff && self.updating.is_enabled();
        let tracked = is_autodiff && self.config.update_rule == UpdateRule::Gradient;
        let rule = match &self.config.update_rule {
            UpdateRule::Direct(rule) if trains => Some(rule),
            _ => None,
        };
        let wants = match rule.map(|rule| rule.timing) {
            None => Wants::Nothing,
            Some(UpdateTiming::Immediate) => Wants::Step,
            Some(_) => Wants::Pulls,
        };
        let measured = self.measure_batch(batch, reduction, tracked, wants)?;
        match (rule, measured.pulls) {
            (Some(rule), Some(pulls)) if wants == Wants::Step => self.apply_pulls(rule, *pulls)?,
            (Some(_), Some(pulls)) => self.pending.push(*pulls)?,
            _ if trains => self.rates.pass_step(),
            _ => {}
        }
        Ok(measured.value)
    }

    fn measure_batch(
        &self,
        batch: Batch,
        reduction: Option<&Reduction>,
        tracked: bool,
        wants: Wants,
    ) -> Result<Measured, CenterLossError> {
        let measured = engine::measure(&Problem {
            batch: self.fit(batch)?,
            centers: if tracked {
                self.centers.tracked()
            } else {
                self.centers.constant()
            },
            tracked,
            rules: &self.rules(self.config.checking),
            weighing: Weighing {
                lambda: self.lambda(),
                reduction,
                class_balance: self.config.class_balance,
                class_weights: self.class_weights.as_ref(),
            },
            distance: self.config.distance,
            radius: self.config.radius,
            wants,
        })?;
        if let Some(left_out) = &measured.left_out {
            self.left_out.add((**left_out).clone());
        }
        Ok(measured)
    }

    /// The direct rule, if updates may move the centers.
    fn moving_rule(&self) -> Result<&DirectRule, CenterLossError> {
        match &self.config.update_rule {
            UpdateRule::Direct(_) if !self.updating.is_enabled() => Err(CenterLossError::Frozen),
            UpdateRule::Direct(rule) => Ok(rule),
            rule => Err(CenterLossError::RuleTakesNoUpdate { rule: rule.clone() }),
        }
    }

    /// Moves the centers; one step of the schedules passes. Everything that can fail comes before the
    /// centers are touched.
    fn apply_pulls(&self, rule: &DirectRule, pulls: Pulls) -> Result<(), CenterLossError> {
        let target = self.centers.target();
        target.check(&pulls.rows, pulls.num_classes)?;
        let alpha = self.alpha_of(rule);
        if alpha > 0.0 {
            let pulls = pulls.moved_to(&target.device)?;
            let step = rule
                .normalization
                .step(pulls, alpha, self.config.checking)?;
            let addition = engine::prepare(step, &target)?;
            self.centers.replace(|centers| addition.add_to(centers))?;
        }
        self.rates.pass_step();
        Ok(())
    }

    fn alpha_of(&self, rule: &DirectRule) -> f64 {
        let RateState { step, rates } = self.rates.get();
        let [alpha, _] = rates;
        alpha * rule.alpha_schedule.factor(step)
    }
}

impl ModuleDisplay for CenterLoss {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new()
            .with_new_line_after_attribute(false)
            .optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        let content = content
            .add("num_classes", &self.num_classes())
            .add("feature_dim", &self.feature_dim());
        let content = match &self.config.update_rule {
            UpdateRule::Direct(rule) => content
                .add_debug_attribute("update_rule", &rule.normalization)
                .add("alpha", &self.alpha_of(rule)),
            rule => content.add_debug_attribute("update_rule", rule),
        };
        content.add("lambda", &self.lambda()).optional()
    }
}
