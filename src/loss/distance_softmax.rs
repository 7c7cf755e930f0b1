use std::sync::Arc;

use burn::module::{Flag, Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, FloatDType, Tensor};

use super::common::{Call, Loss, LossConfig};
use super::display::loss_display;
use super::logits::{LossWithLogits, checked_features, logits_methods};
use super::surface::{common_settings, loss_config, loss_methods, with_centers};
use crate::batch::{LabelledBatch, SkippedCounter};
use crate::centers::Centers;
use crate::distance::{CenterDistance, SoftmaxDistance};
use crate::error::{LossError, not_negative, positive, within};
use crate::schedule::{Rates, Schedule};
use crate::softmax::{Distances, distance_logits};

loss_config! {
    /// Configuration of a [`DistanceSoftmax`].
    ///
    /// The centers start from a normal distribution with mean 0 and standard deviation
    /// `1 / sqrt(feature_dim)`. Random centers converge slowly: start at class means
    /// ([`DistanceSoftmax::init_from_data`]), or at zero as [`gcpl`](Self::gcpl) does.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use burn_center_loss::{DistanceSoftmaxConfig, SoftmaxDistance};
    ///
    /// let loss = DistanceSoftmaxConfig::new(10, 128)
    ///     .with_distance(SoftmaxDistance::Euclidean)
    ///     .with_scale(2.0)
    ///     .with_margin(0.1)
    ///     .init(&Device::flex().autodiff());
    /// assert_eq!(loss.centers().dims(), [10, 128]);
    ///
    /// let error = DistanceSoftmaxConfig::new(10, 128).with_pull(-1.0).try_init(&Device::flex());
    /// assert_eq!(error.unwrap_err().to_string(), "pull is -1: it must be finite and not negative");
    /// ```
    pub struct DistanceSoftmaxConfig per sample {
        initializer: "Initializer::KaimingNormal { gain: 1.0, fan_out_only: false }",
        /// The distance between features and centers. Default: [`SoftmaxDistance::SquaredEuclidean`].
        #[config(default = "SoftmaxDistance::SquaredEuclidean")]
        pub distance: SoftmaxDistance,
        /// The factor of the distances, also called gamma, or 1 / temperature; finite and greater than 0.
        /// Default: 0.5.
        #[config(default = 0.5)]
        pub scale: f64,
        /// The factor of the scale over the training steps. Default: [`Schedule::Constant`].
        #[config(default = "Schedule::Constant")]
        pub scale_schedule: Schedule,
        /// The margin: the distance to the own class counts `1 + margin` times in training. Finite and not
        /// negative; L-GM's alpha. Default: 0.
        #[config(default = 0.0)]
        pub margin: f64,
        /// The factor of the margin over the training steps. Default: [`Schedule::Constant`].
        #[config(default = "Schedule::Constant")]
        pub margin_schedule: Schedule,
        /// The weight of the distance to the own center, which pulls features and centers together; finite and
        /// not negative. Default: 0.
        #[config(default = 0.0)]
        pub pull: f64,
        /// The factor of the pull over the training steps. Default: [`Schedule::Constant`].
        #[config(default = "Schedule::Constant")]
        pub pull_schedule: Schedule,
        /// The number of centers of a class, its prototypes; at least 1. All of them count in the score of the
        /// class, and the nearest one pulls. Default: 1.
        #[config(default = 1)]
        pub sub_centers: usize,
        /// Whether the centers are parameters that an optimizer moves. Fixed centers get no gradient. Default:
        /// true.
        #[config(default = true)]
        pub trained_centers: bool,
        /// The length of anchors. With a length, `init` puts the center of class `j` at `length` on axis `j`
        /// instead of drawing it. Anchors need `feature_dim` equal to `num_classes`, and one center per class.
        /// Default: none.
        pub anchors: Option<f64>,
        /// The number of bytes of scores that `forward` may keep for the backward pass. If all scores fit, the
        /// work is three matrix products. If not, none is kept, and it is four. Default: 64 MiB.
        #[config(default = "1 << 26")]
        pub score_budget: usize,
    }
}

impl DistanceSoftmaxConfig {
    /// GCPL as in its authors' program: squared distances, scale 1, pull 0.0005 (their weight of 0.001 times the
    /// 1/2 in their code), centers at zero.
    pub fn gcpl(num_classes: usize, feature_dim: usize) -> Self {
        Self::new(num_classes, feature_dim)
            .with_scale(1.0)
            .with_pull(0.0005)
            .with_initializer(Initializer::Zeros)
    }

    /// L-GM with identity covariance: squared distances, scale 1/2, margin `alpha`, and half of `lambda` as the
    /// pull, which is the center loss of Caffe times `lambda`. The authors' example for CIFAR-100 ends at 0.3 and
    /// has 0.1.
    pub fn lgm(num_classes: usize, feature_dim: usize, alpha: f64, lambda: f64) -> Self {
        Self::new(num_classes, feature_dim)
            .with_margin(alpha)
            .with_pull(lambda / 2.0)
    }

    /// CAC: distances that are not squared, scale 1, pull 0.1, and fixed anchors of length 10, one on each axis,
    /// so that features are as wide as there are classes.
    pub fn cac(num_classes: usize) -> Self {
        Self::new(num_classes, num_classes)
            .with_distance(SoftmaxDistance::Euclidean)
            .with_scale(1.0)
            .with_pull(0.1)
            .with_trained_centers(false)
            .with_anchors(Some(10.0))
    }
}

impl LossConfig for DistanceSoftmaxConfig {
    type Loss = DistanceSoftmax;

    common_settings!();

    fn check_own(&self) -> Result<(), LossError> {
        positive("scale", self.scale)?;
        not_negative("margin", self.margin)?;
        not_negative("pull", self.pull)?;
        for schedule in [
            self.scale_schedule,
            self.margin_schedule,
            self.pull_schedule,
        ] {
            schedule.validate()?;
        }
        if let Some(length) = self.anchors {
            positive("anchors", length)?;
            let rule = "it must be num_classes if there are anchors";
            let columns = self.feature_dim;
            within(
                "feature_dim",
                columns as f64,
                columns == self.num_classes,
                rule,
            )?;
            let rule = "it must be 1 if there are anchors";
            within(
                "sub_centers",
                self.sub_centers as f64,
                self.sub_centers == 1,
                rule,
            )?;
        }
        Ok(())
    }

    fn start(&self, initializer: Initializer, device: &Device) -> Centers {
        let drawn = Centers::drawn(
            self.shape(),
            initializer,
            self.is_trainable(),
            self.dtype.into(),
            device,
        );
        match self.anchors {
            Some(length) => {
                let axes = Tensor::<2>::eye(self.num_classes, &device.clone().without_autodiff());
                let axes = axes.cast(FloatDType::from(self.dtype));
                drawn.with_values(axes.mul_scalar(length))
            }
            None => drawn,
        }
    }

    fn assemble(&self, centers: Centers) -> DistanceSoftmax {
        DistanceSoftmax {
            updating: Param::from_bool(true),
            rates: Rates::new([], centers.device()),
            class_weights: self.class_weights(&centers),
            centers,
            config: Arc::new(self.clone()),
            skipped: SkippedCounter::default(),
        }
    }

    fn sub_centers(&self) -> usize {
        self.sub_centers
    }

    fn is_trainable(&self) -> bool {
        self.trained_centers
    }

    fn distance(&self) -> CenterDistance {
        CenterDistance::Euclidean
    }
}

/// Softmax cross-entropy over the distances between features and the centers of the classes.
///
/// ```text
/// d_ijk = |x_i - c_jk|^2 or |x_i - c_jk|
/// z_ij  = log sum_k exp(-s d_ijk)                 other classes
/// z_iy  = log sum_k exp(-s (1 + m) d_iyk)         the target class
/// l_i   = log sum_j exp(z_ij) - z_iy + pull min_k d_iyk
/// L     = reduce_i(w_i l_i)
/// ```
///
/// `x_i` is row `i` of the features, `y` its label, `c_jk` center `k` of class `j`, which is row
/// `j * sub_centers + k`, `s` the scale and `m` the margin. With one center per class `z_ij = -s d_ij`. `w_i` is
/// the weight of the sample (1 if none are given) times the weight of its class; a weight of 2 counts as having
/// the sample twice. Under [`ClassBalance::Histogram`](crate::ClassBalance::Histogram) each `l_i` is divided by
/// the number of samples of the batch with its label. `reduce` is Burn's
/// [`Reduction`](burn::nn::loss::Reduction): `Mean` (and `Auto`) is `sum_i w_i l_i / sum_i w_i`, `Sum` is
/// `sum_i w_i l_i`, and `BatchMean` is that sum divided by the number of rows, ignored ones included.
///
/// There is no layer of classes: the centers are the classifier. A sample belongs to the class of its nearest
/// center ([`nearest_center`](Self::nearest_center)), the lowest one of several equally near. Its probabilities
/// are the softmax of [`logits`](Self::logits). If classes have several centers, the most probable class may be
/// another one than that of the nearest center.
///
/// With one center per class, squared distances and no margin this is cross-entropy on a linear layer that is tied
/// to the centers: weights `2 s c_j` and biases `-s |c_j|^2`.
///
/// # Which settings
///
/// | loss | settings |
/// |---|---|
/// | GCPL: prototypes, with a weak pull | [`DistanceSoftmaxConfig::gcpl`] |
/// | L-GM: a mixture of Gaussians, with a margin and a pull | [`DistanceSoftmaxConfig::lgm`] |
/// | CAC: fixed anchors, for open sets | [`DistanceSoftmaxConfig::cac`] |
///
/// For open sets, [`known_scores_by_center`](crate::evaluation::known_scores_by_center) and
/// [`known_scores_by_rejection`](crate::evaluation::known_scores_by_rejection) score features by the classifier of
/// the centers. The authors of CAC first replace each anchor by the mean of the correctly classified features of
/// its class: [`init_from_data`](Self::init_from_data) on these.
///
/// # Training and validation
///
/// A call of `forward`, or of a method that begins with `forward` or `try_forward`, trains if the features are on
/// an autodiff device and the module is neither frozen nor in validation mode. A call that trains advances the
/// schedules by one step; under gradient accumulation that is one step for each micro-batch. Margin and pull are in
/// the value of every call, also in validation. Features and centers receive gradients. Trained centers are an
/// ordinary parameter, which the optimizer of the model moves; [`centers_param_group`](Self::centers_param_group)
/// gives them a rate of their own. All of them have a gradient in every step, also those of classes that the batch
/// does not have.
///
/// # Panics or errors
///
/// [`forward`](Self::forward), [`forward_no_reduction`](Self::forward_no_reduction),
/// [`forward_with_logits`](Self::forward_with_logits) and [`evaluate`](Self::evaluate) take tensors and panic, as
/// Burn's losses do. The methods with `try_` take a [`LabelledBatch`], which may have sample weights, and return
/// errors as values. [`centers`](Self::centers) panics if the backend failed in the middle of an earlier update.
///
/// # Numbers
///
/// The expansion `|x|^2 - 2 x.c + |c|^2` of a squared distance loses all digits where features and centers lie far
/// from the origin. Here the mean of the centers is the origin, `|x|^2` is left out, which changes no difference of
/// scores, and the distances to the own centers are direct differences. Distances that are not squared are direct
/// differences where they are small. Where the target class leads, the loss is `log(1 + sum exp(z_j - z_y))`, so
/// that the smallest losses keep their digits. A feature on its center has distance 0, and the distance that is not
/// squared has no gradient there.
///
/// # Differences from the references
///
/// | | this loss | reference |
/// |---|---|---|
/// | pull | times the distance as it is | GCPL's code and L-GM have half of the squared distance, ARPL's port of GCPL also divides it by the columns, CAC has the distance |
/// | distance | as it is | ARPL divides it by the columns |
/// | several centers | sum of exponentials | ARPL takes the mean of the distances |
/// | margin | in every value | L-GM's is left out in its test phase |
/// | covariance | the identity | L-GM may learn a diagonal |
///
/// # Cost
///
/// Three matrix products of `batch_size * num_classes * sub_centers * feature_dim` within
/// [`score_budget`](DistanceSoftmaxConfig::score_budget), four beyond it. The loss goes through the classes in
/// blocks, so that beyond features, centers, their gradients and the budget the memory does not depend on the
/// number of classes. On devices other than flex, a step takes two more matrices of the size of the centers, and
/// losses that are not reduced keep a matrix of `[batch_size, num_classes * sub_centers]`; there, and in `f64`,
/// distances that are not squared are direct differences, without matrix products. Strict checking reads labels and
/// a few numbers per sample back from the device, with one wait.
///
/// # Data types
///
/// Features may be `f16`, `bf16`, `f32` or `f64`. The loss converts them to the data type of the centers
/// ([`CenterDType`](crate::CenterDType)), and computes and returns in it. Labels may be of any integer type. The
/// centers keep their type when a model is mapped to half precision.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, FloatDType, Tensor};
/// use burn_center_loss::DistanceSoftmaxConfig;
///
/// let device = Device::flex().autodiff();
/// let loss = DistanceSoftmaxConfig::new(2, 2)
///     .with_pull(0.1)
///     .init_with_centers(Tensor::from_data([[0.0, 0.0], [2.0, 0.0]], &device))?;
///
/// // At squared distances of 1 and 5: the scores are -0.5 and -2.5.
/// let features = Tensor::<2>::from_data([[0.0, 1.0]], &device).require_grad();
/// let value = loss.forward(features.clone(), Tensor::from_data([0], &device));
/// let expected = (1.0 + (-2.0_f32).exp()).ln() + 0.1;
/// assert!((value.clone().into_scalar::<f32>() - expected).abs() < 1e-6);
///
/// let gradients = value.backward();
/// assert_eq!(features.grad(&gradients).unwrap().dims(), [1, 2]);
/// # Ok::<(), burn_center_loss::LossError>(())
/// ```
///
/// # References
///
/// Hong-Ming Yang, Xu-Yao Zhang, Fei Yin, Cheng-Lin Liu: Robust Classification with Convolutional Prototype
/// Learning, CVPR 2018. Weitao Wan, Yuanyi Zhong, Tianpeng Li, Jiansheng Chen: Rethinking Feature Distribution for
/// Loss Functions in Image Classification, CVPR 2018. Dimity Miller, Niko Sünderhauf, Michael Milford, Feras Dayoub:
/// Class Anchor Clustering: A Loss for Distance-based Open Set Recognition, WACV 2021.
#[doc(alias = "GCPL")]
#[doc(alias = "CPL")]
#[doc(alias = "LGM")]
#[doc(alias = "LGMLoss")]
#[doc(alias = "CAC")]
#[doc(alias = "CACLoss")]
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct DistanceSoftmax {
    centers: Centers,
    updating: Param<Flag>,
    /// The training step of the schedules.
    rates: Rates<0>,
    class_weights: Option<Tensor<1>>,
    #[module(skip)]
    config: Arc<DistanceSoftmaxConfig>,
    #[module(skip)]
    skipped: SkippedCounter,
}

loss_methods!(DistanceSoftmax, DistanceSoftmaxConfig per sample);
logits_methods!(DistanceSoftmax);
loss_display!(DistanceSoftmax: add sub_centers, add_debug_attribute distance, add scale, add margin, add pull);

impl Loss for DistanceSoftmax {
    type Config = DistanceSoftmaxConfig;

    fn value(&self, batch: LabelledBatch, call: Call) -> Result<Tensor<1>, LossError> {
        let (value, _) = self.value_and_logits(batch, call, false)?;
        Ok(value)
    }

    with_centers!(DistanceSoftmaxConfig);
}

impl DistanceSoftmax {
    /// The scores of all classes without the margin, for probabilities and accuracy: `log sum_k exp(-scale d_jk)`,
    /// on the graph of the features. Their softmax are the probabilities of the classes.
    ///
    /// Under squared distances the scores lack a number that is the same for all classes of a row, about
    /// `scale |x|^2`, so that they keep their digits. Scores of different rows do not compare then.
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
        let DistanceSoftmaxConfig {
            distance,
            sub_centers,
            ..
        } = *self.config;
        let centers = self.centers.constant();
        Ok(distance_logits(
            features,
            &centers,
            distance,
            sub_centers,
            self.scale(),
        ))
    }

    /// The scale at the current training step.
    pub fn scale(&self) -> f64 {
        self.config.scale * self.config.scale_schedule.factor(self.step())
    }

    /// The margin at the current training step.
    pub fn margin(&self) -> f64 {
        self.config.margin * self.config.margin_schedule.factor(self.step())
    }

    /// The pull at the current training step.
    pub fn pull(&self) -> f64 {
        self.config.pull * self.config.pull_schedule.factor(self.step())
    }

    /// The number of training steps that have passed: the calls of `forward` that trained.
    pub fn step(&self) -> u64 {
        self.rates.get().step
    }
}

impl LossWithLogits for DistanceSoftmax {
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
        let constant = self.centers.constant();
        let distances = Distances {
            features: batch.features(),
            centers: if may_train {
                self.centers.tracked()
            } else {
                constant.clone()
            },
            classes: batch.classes.clone(),
            sub_centers: config.sub_centers,
            distance: config.distance,
            scale: self.scale(),
            margin: self.margin(),
            pull: self.pull(),
            budget: config.score_budget,
        };
        let pass = distances.forward();
        let weighing = config.weighing(1.0, self.class_weights.as_ref(), call);
        let weights = batch.weigh(&pass.losses(), None, &weighing, &constant)?;
        let logits = wants_logits.then(|| batch.masked(pass.logits()));
        let value = pass.finish(&weights);
        if may_train && self.updating.is_enabled() {
            self.rates.pass_step();
        }
        if let Some(skipped) = weights.skipped {
            self.skipped.add(skipped);
        }
        Ok((value, logits))
    }
}
