use alloc::sync::Arc;
use alloc::vec::Vec;
use burn::config::Config;
use burn::module::{Param, ParamId};
use burn::nn::Initializer;
use burn::tensor::{DType, Device, FloatDType, Tensor};
use serde::{Deserialize, Serialize};

use super::centers::{Centers, with_autodiff_of};
use super::rates::Rates;
use super::shared::Shared;
use super::{CenterLoss, CenterLossError, Schedule};

/// How the centers follow the features.
///
/// `n_j` is how many samples of the batch have label `j` (the sum of their weights, if the batch has weights), `p_i` is
/// `x_i - c_{y_i}` (shortened by the radius, if there is one). None of the direct rules (`Paper`, `Mean`, `Sum`) knows
/// lambda, the reduction or the class balance, and under all of them a class that is absent from the batch keeps its
/// center bit by bit, whatever optimizer the rest of the model has.
///
/// | rule | change of center `j` | source |
/// |---|---|---|
/// | `Paper` | `alpha * sum_{y_i=j} p_i / (1 + n_j)` | Wen et al., ECCV 2016, and their caffe-face |
/// | `Mean` | `alpha * sum_{y_i=j} p_i / n_j` | Wen et al., IJCV 2019, code |
/// | `Sum` | `alpha * sum_{y_i=j} p_i` | facenet, with `alpha` for its `1 - alpha` |
/// | `Gradient` | whatever the optimizer makes of the gradient of the loss | the MXNet and PyTorch ports |
/// | `Frozen` | none | training with center loss alone |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpdateRule {
    /// The paper's rule: the mean over the batch with one more, unmoved, sample in it. Classes seen once move by half
    /// of `alpha`, so single samples do not tear their center about.
    #[default]
    Paper,
    /// The class mean: `alpha` is the part of the way to the mean of the batch's samples that a center goes.
    Mean,
    /// Every sample pulls with its full weight. Above `alpha * n_j = 2` the centers swing further at every step.
    Sum,
    /// The centers are an ordinary trainable parameter. They get their own rate from a parameter group, see
    /// [`CenterLoss::centers_group`]. A center whose class is absent has a zero gradient, which keeps it in place
    /// under plain SGD only: momentum, weight decay and Adam's moments move it all the same.
    Gradient,
    /// The centers never move.
    Frozen,
}

impl UpdateRule {
    /// Whether the loss itself moves the centers.
    pub(super) fn is_direct(self) -> bool {
        matches!(self, Self::Paper | Self::Mean | Self::Sum)
    }

    /// What a class of total weight `n > 0` multiplies the sum of its pulls by, per unit of alpha.
    pub(super) fn normalization(self, n: f64) -> f64 {
        match self {
            Self::Paper => 1.0 / (1.0 + n),
            Self::Mean => 1.0 / n,
            Self::Sum => 1.0,
            Self::Gradient | Self::Frozen => 0.0,
        }
    }
}

/// Whether the loss of a sample is divided by the batch histogram of its class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClassBalance {
    /// Every sample counts the same.
    #[default]
    None,
    /// The loss of sample `i` is divided by `n_{y_i}`, so that every class of the batch counts the same.
    Histogram,
}

/// What is measured between a feature and its center.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CenterDistance {
    /// The Euclidean distance `||x - c||`.
    #[default]
    Euclidean,
    /// The Euclidean distance between directions, `|| x/||x|| - c/||c|| ||`, so that half its square is `1 - cos(x, c)`.
    ///
    /// The centers themselves are not normalised: the direct rules move them towards the normalised features, and only
    /// their direction enters the loss. A zero vector has the direction zero.
    Cosine,
}

/// How the losses of the samples become one value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reduction {
    /// The mean over the samples, weighted by their weights: `sum_i w_i l_i / sum_i w_i`, of shape `[1]`.
    #[default]
    Mean,
    /// The sum, `sum_i w_i l_i`, of shape `[1]`.
    Sum,
    /// One value per sample, `w_i l_i`, of shape `[batch_size]`.
    None,
}

/// When bad samples are reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Checking {
    /// Every call reads the labels and one number per sample back from the device, and refuses the whole batch if one
    /// of its samples is bad.
    #[default]
    Strict,
    /// No call reads from the device. Bad samples are left out of loss, gradients and centers, and counted on the
    /// device; [`CenterLoss::check`] reads and reports the counts. The class counts of a batch then come from
    /// comparing its labels with each other: `batch_size` squared comparisons, in pieces of bounded size.
    Deferred,
}

/// When the direct rules move the centers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpdateTiming {
    /// In `forward`. Right for one device without gradient accumulation.
    #[default]
    Immediate,
    /// `forward` only notes what it would have changed, in a list that all clones and forks of the loss share, and
    /// [`CenterLoss::apply_pending`] merges and applies the notes once. For several devices and for gradient
    /// accumulation: whole batch and pieces then give the same centers.
    OnStep,
}

/// The data type of the centers, of the loss and of everything summed on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Precision {
    /// `f32`, also for half-precision features.
    #[default]
    F32,
    /// `f64`, where the backend has it.
    F64,
}

impl Precision {
    pub(super) fn dtype(self) -> FloatDType {
        match self {
            Self::F32 => FloatDType::F32,
            Self::F64 => FloatDType::F64,
        }
    }
}

/// Configuration of a [`CenterLoss`].
///
/// # Example
///
/// ```
/// use burn::tensor::Device;
/// use burn_center_loss::{CenterLossConfig, UpdateRule};
///
/// let loss = CenterLossConfig::new(10, 2)
///     .with_update_rule(UpdateRule::Mean)
///     .with_alpha(0.5)
///     .with_lambda(0.01)
///     .init(&Device::flex().autodiff());
/// assert_eq!(loss.centers().dims(), [10, 2]);
///
/// let error = CenterLossConfig::new(10, 2).with_alpha(-1.0).try_init(&Device::flex());
/// assert_eq!(error.unwrap_err().to_string(), "alpha is -1: it must be finite and not negative");
/// ```
#[derive(Config, Debug)]
pub struct CenterLossConfig {
    /// The number of classes: labels are `0..num_classes`.
    pub num_classes: usize,
    /// The width of the features and of the centers.
    pub feature_dim: usize,
    /// How the centers follow the features. Default: [`UpdateRule::Paper`].
    #[config(default = "UpdateRule::Paper")]
    pub update_rule: UpdateRule,
    /// The rate of the centers under the direct rules; finite and not negative. Default: 0.5.
    #[config(default = 0.5)]
    pub alpha: f64,
    /// How alpha changes over the training steps. Default: [`Schedule::Constant`].
    #[config(default = "Schedule::Constant")]
    pub alpha_schedule: Schedule,
    /// The weight of the loss; finite and not negative. It never changes how fast the centers move under the direct
    /// rules. Default: 1.
    #[config(default = 1.0)]
    pub lambda: f64,
    /// How lambda changes over the training steps. Default: [`Schedule::Constant`].
    #[config(default = "Schedule::Constant")]
    pub lambda_schedule: Schedule,
    /// Whether the loss of a sample is divided by the batch histogram of its class. Default: [`ClassBalance::None`].
    #[config(default = "ClassBalance::None")]
    pub class_balance: ClassBalance,
    /// How the losses of the samples become one value. Default: [`Reduction::Mean`].
    #[config(default = "Reduction::Mean")]
    pub reduction: Reduction,
    /// What is measured between a feature and its center. Default: [`CenterDistance::Euclidean`].
    #[config(default = "CenterDistance::Euclidean")]
    pub distance: CenterDistance,
    /// The distance within which a sample is neither penalised nor pulls its center (IJCV 2019, there called margin);
    /// finite and not negative. Default: 0.
    #[config(default = 0.0)]
    pub radius: f64,
    /// One factor per class for the loss of its samples, which enters the weighted mean as well and leaves the centers'
    /// update alone. Default: none.
    pub class_weights: Option<Vec<f64>>,
    /// Samples with this label change neither loss, gradients nor centers. It may lie outside `0..num_classes`.
    /// Default: none.
    pub ignore_label: Option<i64>,
    /// How the centers start. Default: normal with mean 0 and standard deviation 1.
    #[config(default = "Initializer::Normal{mean: 0.0, std: 1.0}")]
    pub initializer: Initializer,
    /// The data type of the centers. Default: [`Precision::F32`].
    #[config(default = "Precision::F32")]
    pub precision: Precision,
    /// When bad samples are reported. Default: [`Checking::Strict`].
    #[config(default = "Checking::Strict")]
    pub checking: Checking,
    /// When the direct rules move the centers. Default: [`UpdateTiming::Immediate`].
    #[config(default = "UpdateTiming::Immediate")]
    pub update_timing: UpdateTiming,
}

impl CenterLossConfig {
    /// The settings of Wen et al., ECCV 2016: their rule, alpha 0.5, lambda 0.003, Xavier initialisation.
    pub fn paper(num_classes: usize, feature_dim: usize) -> Self {
        Self::new(num_classes, feature_dim)
            .with_update_rule(UpdateRule::Paper)
            .with_alpha(0.5)
            .with_lambda(0.003)
            .with_initializer(Initializer::XavierUniform { gain: 1.0 })
    }

    /// The settings of the MXNet programs (ShownX/mxnet-center-loss, wangx404/Center_Loss_in_MXNet): the gradient rule,
    /// losses divided by the batch histogram, lambda 1, Xavier initialisation of magnitude 2.24.
    ///
    /// Their trainer's rate for the centers is `alpha`, 0.5: give it to the parameter group of
    /// [`CenterLoss::centers_group`], with plain SGD.
    pub fn mxnet(num_classes: usize, feature_dim: usize) -> Self {
        Self::new(num_classes, feature_dim)
            .with_update_rule(UpdateRule::Gradient)
            .with_class_balance(ClassBalance::Histogram)
            .with_alpha(0.5)
            .with_lambda(1.0)
            .with_initializer(Initializer::XavierUniform {
                // MXNet draws from +-sqrt(2 * magnitude / (fan_in + fan_out)), Burn from +-gain * sqrt(6 / (..)).
                gain: num_traits::Float::sqrt(2.24_f64 / 3.0),
            })
    }

    /// Makes the loss, with centers drawn by the initializer at their first use.
    ///
    /// # Panics
    ///
    /// With the message of [`try_init`](Self::try_init).
    pub fn init(&self, device: &Device) -> CenterLoss {
        self.try_init(device)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Makes the loss, with centers drawn by the initializer at their first use.
    ///
    /// # Errors
    ///
    /// [`CenterLossError`] for `num_classes` or `feature_dim` of zero, and for a rate, radius, schedule or class weight
    /// that is negative or not finite.
    pub fn try_init(&self, device: &Device) -> Result<CenterLoss, CenterLossError> {
        self.validate()?;
        let shape = [self.num_classes, self.feature_dim];
        let dtype = self.precision.dtype();
        let initializer = self.initializer.clone();
        let param = Param::uninitialized(
            ParamId::new(),
            move |device: &Device, require_grad| {
                let values = initializer
                    .init_with::<2, _>(
                        shape,
                        Some(shape[1]),
                        Some(shape[0]),
                        &device.clone().without_autodiff(),
                    )
                    .val()
                    .cast(dtype);
                with_autodiff_of(values, device).set_require_grad(require_grad)
            },
            device.clone(),
            self.update_rule == UpdateRule::Gradient,
            shape.into(),
        );
        Ok(self.assemble(param))
    }

    /// Makes the loss around the given centers, `[num_classes, feature_dim]`, on their device.
    ///
    /// # Errors
    ///
    /// As [`try_init`](Self::try_init), and for centers of another shape or with a value that is not finite.
    pub fn init_with_centers(&self, centers: Tensor<2>) -> Result<CenterLoss, CenterLossError> {
        self.validate()?;
        let device = centers.device();
        let centers = self.accept_centers(centers)?;
        let centers = with_autodiff_of(centers, &device);
        Ok(self.assemble(Param::from_tensor(centers)))
    }

    /// Checks shape and values, and brings the centers into their data type, without autodiff.
    pub(super) fn accept_centers(&self, centers: Tensor<2>) -> Result<Tensor<2>, CenterLossError> {
        let (found, expected) = (centers.dims(), [self.num_classes, self.feature_dim]);
        if found != expected {
            return Err(CenterLossError::CentersShape { found, expected });
        }
        let centers = centers.without_autodiff().cast(self.precision.dtype());
        let magnitudes = centers
            .clone()
            .abs()
            .mul_scalar(1.0 / self.feature_dim as f64)
            .sum_dim(1)
            .try_into_data()
            .map_err(|error| CenterLossError::Read(alloc::format!("{error}")))?;
        match magnitudes.iter::<f64>().position(|m| !m.is_finite()) {
            Some(class) => Err(CenterLossError::CenterNotFinite { class }),
            None => Ok(centers),
        }
    }

    fn assemble(&self, centers: Param<Tensor<2>>) -> CenterLoss {
        let device = centers.lazy_device();
        let class_weights = self.class_weights.as_ref().map(|weights| {
            Tensor::<1>::from_data(
                weights.as_slice(),
                (
                    &device.clone().without_autodiff(),
                    DType::from(self.precision.dtype()),
                ),
            )
        });
        CenterLoss {
            centers: Centers::new(
                centers,
                self.update_rule == UpdateRule::Gradient,
                self.precision.dtype(),
            ),
            updating: Param::from_bool(true),
            rates: Rates::new(self.alpha, self.lambda, &device),
            class_weights,
            config: Arc::new(self.clone()),
            shared: Shared::default(),
        }
    }

    fn validate(&self) -> Result<(), CenterLossError> {
        if self.num_classes == 0 {
            return Err(CenterLossError::ZeroClasses);
        }
        if self.feature_dim == 0 {
            return Err(CenterLossError::ZeroFeatureDim);
        }
        for (name, value) in [
            ("alpha", self.alpha),
            ("lambda", self.lambda),
            ("radius", self.radius),
        ] {
            setting(name, value)?;
        }
        self.alpha_schedule.validate()?;
        self.lambda_schedule.validate()?;
        let Some(weights) = &self.class_weights else {
            return Ok(());
        };
        if weights.len() != self.num_classes {
            return Err(CenterLossError::ClassWeightCount {
                found: weights.len(),
                num_classes: self.num_classes,
            });
        }
        match weights.iter().position(|w| !(w.is_finite() && *w >= 0.0)) {
            Some(class) => Err(CenterLossError::ClassWeight {
                class,
                value: weights[class],
            }),
            None => Ok(()),
        }
    }
}

/// A rate or radius, if it is finite and not negative.
pub(super) fn setting(name: &'static str, value: f64) -> Result<f64, CenterLossError> {
    match value.is_finite() && value >= 0.0 {
        true => Ok(value),
        false => Err(CenterLossError::Setting { name, value }),
    }
}
