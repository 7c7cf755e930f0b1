use std::sync::Arc;

use burn::module::{Content, DisplaySettings, Flag, Module, ModuleDisplay, Param};
use burn::nn::Initializer;
use burn::tensor::Tensor;

use super::pending::Pending;
use super::rule::{DirectRule, UpdateRule, UpdateTiming};
use crate::batch::{
    CheckedBatch, Checking, ClassBalance, LabelledBatch, SkippedCounter, check_finite,
    largest_if_not_finite, row_magnitudes,
};
use crate::centers::{CenterUpdate, Centers};
use crate::distance::{CenterDistance, beyond, half_squares, unit_rows};
use crate::error::{LossError, not_negative};
#[cfg(feature = "flex")]
use crate::host;
use crate::loss::common::{Call, Loss, LossConfig};
use crate::loss::surface::{common_settings, loss_config, loss_methods};
use crate::schedule::{RateState, Rates, Schedule};

loss_config! {
    /// Configuration of a [`CenterLoss`].
    ///
    /// The centers are drawn from a normal distribution with mean 0 and standard deviation 1 by default.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use burn_center_loss::{CenterLossConfig, UpdateRule};
    ///
    /// let loss = CenterLossConfig::new(10, 2)
    ///     .with_update_rule(UpdateRule::mean().with_alpha(0.5))
    ///     .with_lambda(0.01)
    ///     .init(&Device::flex().autodiff());
    /// assert_eq!(loss.centers().dims(), [10, 2]);
    ///
    /// let error = CenterLossConfig::new(10, 2).with_lambda(-1.0).try_init(&Device::flex());
    /// assert_eq!(error.unwrap_err().to_string(), "lambda is -1: it must be finite and not negative");
    /// ```
    pub struct CenterLossConfig per sample {
        initializer: "burn::nn::Initializer::Normal { mean: 0.0, std: 1.0 }",
        /// The rule by which the centers follow the features. Default: [`UpdateRule::paper`].
        #[config(default = "UpdateRule::paper()")]
        pub update_rule: UpdateRule,
        /// The weight of the loss; finite and not negative. It never changes how fast the centers move under a
        /// direct rule. Default: 1.
        #[config(default = 1.0)]
        pub lambda: f64,
        /// The change of lambda over the training steps. Default: [`Schedule::Constant`].
        #[config(default = "Schedule::Constant")]
        pub lambda_schedule: Schedule,
        /// The distance between a feature and its center. Default: [`CenterDistance::Euclidean`].
        #[config(default = "CenterDistance::Euclidean")]
        pub distance: CenterDistance,
        /// The distance within which a sample neither adds to the loss nor moves its center (IJCV 2019, where it is
        /// called margin); finite and not negative. Default: 0.
        #[config(default = 0.0)]
        pub radius: f64,
    }
}

impl CenterLossConfig {
    /// The settings of Wen et al., ECCV 2016: their rule, alpha 0.5, lambda 0.003, Xavier initialisation.
    pub fn paper(num_classes: usize, feature_dim: usize) -> Self {
        Self::new(num_classes, feature_dim)
            .with_lambda(0.003)
            .with_initializer(Initializer::XavierUniform { gain: 1.0 })
    }

    /// The settings of the MXNet programs (ShownX/mxnet-center-loss, wangx404/Center_Loss_in_MXNet): the gradient
    /// rule, losses divided by the batch histogram, lambda 1, Xavier initialisation of magnitude 2.24.
    ///
    /// Their trainer's rate for the centers is 0.5. Give it to the parameter group of
    /// [`CenterLoss::centers_param_group`], with plain SGD.
    pub fn mxnet(num_classes: usize, feature_dim: usize) -> Self {
        Self::new(num_classes, feature_dim)
            .with_update_rule(UpdateRule::Gradient)
            .with_class_balance(ClassBalance::Histogram)
            .with_initializer(Initializer::XavierUniform {
                // MXNet draws from +-sqrt(2 * magnitude / (fan_in + fan_out)), Burn from +-gain * sqrt(6 / (..)).
                gain: (2.24_f64 / 3.0).sqrt(),
            })
    }
}

impl LossConfig for CenterLossConfig {
    type Loss = CenterLoss;

    common_settings!();

    fn check_own(&self) -> Result<(), LossError> {
        if let UpdateRule::Direct(rule) = &self.update_rule {
            rule.validate()?;
        }
        not_negative("lambda", self.lambda)?;
        self.lambda_schedule.validate()?;
        not_negative("radius", self.radius)?;
        Ok(())
    }

    fn is_trainable(&self) -> bool {
        self.update_rule == UpdateRule::Gradient
    }

    fn distance(&self) -> CenterDistance {
        self.distance
    }

    fn has_functions(&self) -> bool {
        false
    }

    fn assemble(&self, centers: Centers) -> CenterLoss {
        let (alpha, timing) = match &self.update_rule {
            UpdateRule::Direct(rule) => (rule.alpha, rule.timing),
            UpdateRule::Gradient | UpdateRule::Frozen => (0.0, UpdateTiming::Immediate),
        };
        CenterLoss {
            updating: Param::from_bool(true),
            rates: Rates::new([alpha, self.lambda], centers.device()),
            class_weights: self.class_weights(&centers),
            pending: Pending::new(timing),
            config: Arc::new(self.clone()),
            skipped: SkippedCounter::default(),
            centers,
        }
    }
}

/// Center loss: half the squared distance between a feature and the center of its class. The centers follow the
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
/// mean, in the histogram and in the update. `reduce` is Burn's [`Reduction`](burn::nn::loss::Reduction): `Mean` (and `Auto`) is
/// `sum_i w_i l_i / sum_i w_i`, `Sum` is `sum_i w_i l_i`, and `BatchMean` is that sum divided by the
/// number of rows, ignored ones included.
///
/// The features receive gradients. The centers receive gradients only under [`UpdateRule::Gradient`].
/// Under a direct rule the loss moves the centers itself, without an optimizer; [`UpdateRule`] has
/// the formulas.
///
/// # Panics or errors
///
/// [`forward`](Self::forward), [`forward_no_reduction`](Self::forward_no_reduction) and [`evaluate`](Self::evaluate)
/// take tensors and panic, as Burn's losses do. Their twins with `try_` take a [`LabelledBatch`], which may have sample
/// weights, and return errors as values. [`centers`](Self::centers) and [`nearest_center`](Self::nearest_center) panic
/// if the backend failed in the middle of an earlier update.
///
/// # When the centers move
///
/// [`forward`](Self::forward) moves them if the features are on an autodiff device and the module is
/// neither frozen nor in validation mode, as in batch normalisation. They move once per call, by the batch
/// and the centers before the call. Two calls in one training step move them twice. Before you evaluate a
/// model on an autodiff device, call `valid()`, or use [`evaluate`](Self::evaluate), which never moves
/// anything. After `freeze()` the centers rest.
///
/// # Several devices, gradient accumulation
///
/// Choose [`UpdateTiming::OnStep`] for gradient accumulation and [`UpdateTiming::OnStepShared`] for several devices, and
/// call [`apply_pending`](Self::apply_pending) where the optimizer steps. Burn's multi-device training forks the model
/// for every shard, and drops the forks with the updates that they applied at once. For Burn's distributed data
/// parallel training choose [`UpdateRule::Gradient`], whose gradients Burn reduces over the devices. The pages
/// [`accumulation`](crate::guide::accumulation) and [`devices`](crate::guide::devices) have examples.
///
/// # Devices of other machines
///
/// A step waits for its host once under [`Checking::Strict`](crate::Checking::Strict), and once more in
/// [`apply_pending`](Self::apply_pending). It never waits under [`Checking::Deferred`](crate::Checking::Deferred). If the
/// host has died, strict checking returns [`LossError::Read`](crate::LossError::Read). Deferred checking notices it at the
/// next read.
///
/// # Cost
///
/// Loss and update take `O(batch_size * feature_dim)` time and memory beyond the centers, and one number per class for
/// the histogram. The gradient rule takes `O(num_classes * feature_dim)`, since gradients of an embedding are dense in
/// Burn. While a clone of the module is alive, the first update after it copies the centers once.
///
/// On the flex backend the Euclidean loss without a radius is one loop for loss and gradient and one for the update.
/// Everything else is Burn's tensor operations, with the same results up to rounding.
///
/// # Data types
///
/// Features may be `f16`, `bf16`, `f32` or `f64`. They are converted to the data type of the centers
/// ([`CenterDType`](crate::CenterDType)), in which everything is summed and the loss is returned. Labels may
/// be of any integer type.
///
/// # Differences from the references
///
/// | source | loss value | here |
/// |---|---|---|
/// | Wen et al. 2016, caffe-face | `sum_i r_i^2 / (2B)` | `Reduction::Mean`, `UpdateRule::paper()` |
/// | Wen et al. 2019, code | the same, with a radius | `Reduction::Mean`, `UpdateRule::mean()`, `with_radius` |
/// | ShownX and wangx404 (MXNet) | `lambda/2 * r_i^2 / n_{y_i}` per sample | [`CenterLossConfig::mxnet`] |
/// | KaiyangZhou (PyTorch) | `sum_i r_i^2 / B`, no half | `lambda = 2`, `UpdateRule::Gradient` |
/// | facenet (TensorFlow) | mean of `(x - c)^2` over all `B * D` entries | `lambda = 2 / feature_dim`, `UpdateRule::sum()`, `alpha` for its `1 - alpha` |
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_center_loss::{CenterLossConfig, UpdateRule};
///
/// let device = Device::flex().autodiff();
/// let loss = CenterLossConfig::new(2, 2)
///     .with_update_rule(UpdateRule::paper().with_alpha(1.0))
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
/// # Ok::<(), burn_center_loss::LossError>(())
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
    centers: Centers,
    updating: Param<Flag>,
    /// Alpha, which is 0 where the loss does not move the centers itself, and lambda.
    rates: Rates<2>,
    class_weights: Option<Tensor<1>>,
    pending: Pending,
    #[module(skip)]
    config: Arc<CenterLossConfig>,
    #[module(skip)]
    skipped: SkippedCounter,
}

loss_methods!(CenterLoss, CenterLossConfig per sample);

impl Loss for CenterLoss {
    type Config = CenterLossConfig;

    fn value(&self, batch: LabelledBatch, call: Call) -> Result<Tensor<1>, LossError> {
        let is_autodiff = batch.features.is_autodiff();
        let trains = call.may_train && is_autodiff && self.updating.is_enabled();
        let rule = match &self.config.update_rule {
            UpdateRule::Direct(rule) if trains => Some(rule),
            _ => None,
        };
        let waits = rule.is_some_and(|rule| rule.timing != UpdateTiming::Immediate);
        let loads = self.rates.loads();
        if waits {
            self.pending.check_room(loads)?;
        }
        #[cfg(feature = "flex")]
        if !waits && let Some(value) = self.value_on_host(&batch, call, rule)? {
            if trains {
                self.rates.pass_step();
            }
            return Ok(value);
        }
        let (value, differences) = self.value_and_differences(batch, call, rule)?;
        match rule {
            Some(_) if waits => self.pending.push(differences.update(&self.config), loads),
            Some(rule) => self.move_centers(rule, differences.update(&self.config), false)?,
            None if trains => self.rates.pass_step(),
            None => {}
        }
        Ok(value)
    }

    fn with_centers(self, centers: Centers, config: Option<Arc<CenterLossConfig>>) -> Self {
        match config {
            Some(config) => Self {
                class_weights: config.class_weights(&centers),
                config,
                centers,
                ..self
            },
            None => Self {
                pending: self.pending.emptied(),
                centers,
                ..self
            },
        }
    }
}

impl CenterLoss {
    /// The loss of a batch, and its update of the centers as a value. Nothing moves.
    ///
    /// The update can be [merged](CenterUpdate::merge) with those of other batches and given to
    /// [`apply`](Self::apply). The loss has a gradient for the features and none for the centers.
    ///
    /// # Shapes
    ///
    /// - features: `[batch_size, feature_dim]`
    /// - labels, weights: `[batch_size]`
    /// - loss: `[1]`
    ///
    /// # Errors
    ///
    /// As [`try_evaluate`](Self::try_evaluate).
    pub fn measure(
        &self,
        batch: impl Into<LabelledBatch>,
    ) -> Result<(Tensor<1>, CenterUpdate), LossError> {
        let (value, differences) =
            self.value_and_differences(batch.into(), Call::EVALUATE, None)?;
        Ok((value, differences.update(&self.config)))
    }

    /// Moves the centers by an update of [`measure`](Self::measure), at the current alpha. The schedules advance by one
    /// step.
    ///
    /// The update may come from another loss, with at most as many classes, of the same feature dimension and data
    /// type, on any device. An update on a device of another machine is read to this machine first.
    ///
    /// # Errors
    ///
    /// [`LossError::Rule`] unless the rule is direct, [`LossError::Frozen`] for a module that is frozen or in
    /// validation mode, [`LossError::Update`] for an update that does not fit, and under [`Checking::Strict`]
    /// [`LossError::NotFinite`] for a step that is not finite. The centers are unchanged then.
    pub fn apply(&self, update: CenterUpdate) -> Result<(), LossError> {
        let rule = self.moving_rule()?;
        self.centers.check_update(&update)?;
        let update = update.moved_to(self.centers.device())?;
        self.move_centers(rule, update, true)
    }

    /// Applies all pending updates at once, in the order of the shards, and returns their number.
    ///
    /// `forward` leaves them under [`UpdateTiming::OnStep`] and [`UpdateTiming::OnStepShared`]. Without any, nothing happens.
    /// Call it in `TrainStep::optimize` and `optimize_multi`, or beside `optimizer.step(..)`.
    ///
    /// # Errors
    ///
    /// [`LossError::Rule`] and [`LossError::Frozen`] as [`apply`](Self::apply): the updates keep waiting then.
    /// [`LossError::NotFinite`] and [`LossError::Read`] if the step is not finite, or a device does not return its
    /// update: the centers are unchanged, and the refused updates are gone.
    pub fn apply_pending(&self) -> Result<usize, LossError> {
        let rule = self.moving_rule()?;
        self.centers.check_present()?;
        let updates = self.pending.take(self.rates.loads());
        let count = updates.len();
        if let Some(merged) = CenterUpdate::merge_all(updates)? {
            let merged = merged.moved_to(self.centers.device())?;
            self.move_centers(rule, merged, true)?;
        }
        Ok(count)
    }

    /// The rate of the centers at the current training step: the base rate times its schedule. `None` unless the
    /// rule is direct.
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

    /// The number of training steps that the schedules have seen.
    ///
    /// A step is a call of `forward` that trains. With an [`UpdateTiming`] other than `Immediate` it is a call of
    /// [`apply_pending`](Self::apply_pending), which is a step of the optimizer.
    pub fn step(&self) -> u64 {
        self.rates.get().step
    }

    /// Sets the base rate of the centers. It is kept in the record.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`] if `alpha` is negative or not finite, [`LossError::Rule`] unless the rule is direct.
    pub fn set_alpha(&self, alpha: f64) -> Result<(), LossError> {
        match &self.config.update_rule {
            UpdateRule::Direct(_) => {}
            rule => return Err(not_direct(rule, "a rate of the centers (alpha)")),
        }
        let alpha = not_negative("alpha", alpha)?;
        self.rates.change(|state| state.rates[0] = alpha);
        Ok(())
    }

    /// Sets the base weight of the loss. It is kept in the record.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`] if `lambda` is negative or not finite.
    pub fn set_lambda(&self, lambda: f64) -> Result<(), LossError> {
        let lambda = not_negative("lambda", lambda)?;
        self.rates.change(|state| state.rates[1] = lambda);
        Ok(())
    }

    /// The loss by loops over host memory, with the centers moved if there is a rule. `None` where only tensor
    /// operations serve, and where they find the error of the batch.
    #[cfg(feature = "flex")]
    fn value_on_host(
        &self,
        batch: &LabelledBatch,
        call: Call,
        rule: Option<&DirectRule>,
    ) -> Result<Option<Tensor<1>>, LossError> {
        let config = &*self.config;
        let is_plain = config.distance == CenterDistance::Euclidean && config.radius == 0.0;
        let wants_gradient = call.may_train && config.is_trainable();
        if !is_plain || wants_gradient {
            return Ok(None);
        }
        let rules = config.rules(config.checking);
        rules.check_fits(batch, self.centers.device())?;
        self.centers.check_present()?;
        let found = host::center_loss(&host::Problem {
            batch,
            centers: self.centers.constant(),
            rules: &rules,
            weighing: config.weighing(self.lambda(), self.class_weights.as_ref(), call),
            rate: rule.map(|rule| (rule.normalization, self.alpha_of(rule))),
        });
        let Some((value, step)) = found else {
            return Ok(None);
        };
        if let Some(step) = step {
            self.centers.replace(|centers| step.add_to(centers))?;
        }
        Ok(Some(value))
    }

    /// The loss by tensor operations. With a rule, a step that is not finite is refused.
    fn value_and_differences(
        &self,
        batch: LabelledBatch,
        call: Call,
        rule: Option<&DirectRule>,
    ) -> Result<(Tensor<1>, Differences), LossError> {
        self.centers.check_present()?;
        let config = &*self.config;
        let rules = config.rules(config.checking);
        let (device, dtype) = (self.centers.device(), self.centers.dtype());
        let mut batch = rules.check(batch, device, dtype)?;
        let centers = if call.may_train && batch.is_autodiff && config.is_trainable() {
            self.centers.tracked()
        } else {
            self.centers.constant()
        };
        let near = centers.select(0, batch.classes.clone());
        let (offsets, differences) = match config.distance {
            CenterDistance::Euclidean => {
                let offsets = batch.features() - near;
                (offsets.clone(), offsets.without_autodiff())
            }
            CenterDistance::Cosine => {
                let units = unit_rows(batch.features());
                let (features, constant) = (units.clone(), near.clone().without_autodiff());
                let differences = features.without_autodiff() - constant;
                (units - unit_rows(near), differences)
            }
        };
        let offsets = match config.checking {
            Checking::Strict => offsets,
            // A difference that is not finite gives a loss that is not, and passes no gradient.
            Checking::Deferred => largest_if_not_finite(offsets),
        };
        let losses = half_squares(offsets.clone(), config.radius);
        let constant = losses.clone().without_autodiff();
        let step = rule.map(|rule| {
            // No entry of a difference is larger than 1 and the half of its square.
            let bounds = constant.clone().add_scalar(1.0);
            batch.weights() * bounds.mul_scalar(self.alpha_of(rule))
        });
        let weighing = config.weighing(self.lambda(), self.class_weights.as_ref(), call);
        let weights = batch.weigh(&constant, step, &weighing, &self.centers.constant())?;
        let value = weights.apply(losses);
        if let Some(skipped) = weights.skipped {
            self.skipped.add(skipped);
        }
        let differences = Differences {
            batch,
            offsets: offsets.without_autodiff(),
            differences,
        };
        Ok((value, differences))
    }

    /// The direct rule, if updates may move the centers.
    fn moving_rule(&self) -> Result<&DirectRule, LossError> {
        match &self.config.update_rule {
            UpdateRule::Direct(_) if !self.updating.is_enabled() => Err(LossError::Frozen),
            UpdateRule::Direct(rule) => Ok(rule),
            rule => Err(not_direct(rule, "updates to apply")),
        }
    }

    /// Moves the centers by an update on their device. One step of the schedules passes. Whatever can fail comes
    /// before the centers are touched.
    fn move_centers(
        &self,
        rule: &DirectRule,
        update: CenterUpdate,
        is_new: bool,
    ) -> Result<(), LossError> {
        let alpha = self.alpha_of(rule);
        if alpha > 0.0 {
            let CenterUpdate {
                classes,
                rows,
                weights,
                num_classes,
            } = update;
            let is_absent = weights.clone().equal_elem(0.0).unsqueeze_dim::<2>(1);
            let factors = rule
                .normalization
                .factors(&classes, weights, num_classes, alpha);
            // Adding the negative zero changes no bit.
            let shape = rows.dims();
            let rows = (rows * factors.unsqueeze_dim(1)).mask_fill(is_absent.expand(shape), -0.0);
            if is_new && self.config.checking == Checking::Strict {
                self.check_step(&rows)?;
            }
            self.centers.add(classes, rows)?;
        }
        self.rates.pass_step();
        Ok(())
    }

    /// Refuses a step of the centers that is not finite.
    fn check_step(&self, rows: &Tensor<2>) -> Result<(), LossError> {
        let magnitudes = row_magnitudes(rows.clone()).try_into_data()?;
        match magnitudes.iter::<f64>().position(|m| !m.is_finite()) {
            Some(sample) => {
                check_finite(&self.centers.constant())?;
                Err(LossError::NotFinite {
                    name: "step of the center",
                    sample,
                    dtype: format!("{:?}", rows.dtype()),
                })
            }
            None => Ok(()),
        }
    }

    fn alpha_of(&self, rule: &DirectRule) -> f64 {
        let RateState { step, rates } = self.rates.get();
        let [alpha, _] = rates;
        alpha * rule.alpha_schedule.factor(step)
    }
}

/// The differences of a batch from its centers, `[batch_size, feature_dim]` without autodiff.
struct Differences {
    batch: CheckedBatch,
    /// In the distance of the loss.
    offsets: Tensor<2>,
    /// In feature space: under the cosine distance the centers move towards unit features, and have any norm.
    differences: Tensor<2>,
}

impl Differences {
    fn update(self, config: &CenterLossConfig) -> CenterUpdate {
        let rows = if config.radius > 0.0 {
            self.differences * beyond(self.offsets, config.radius)
        } else {
            self.differences
        };
        CenterUpdate {
            rows,
            weights: self.batch.weights(),
            classes: self.batch.classes,
            num_classes: config.num_classes,
        }
    }
}

fn not_direct(rule: &UpdateRule, name: &'static str) -> LossError {
    LossError::Rule {
        rule: format!("{rule:?}"),
        name,
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
