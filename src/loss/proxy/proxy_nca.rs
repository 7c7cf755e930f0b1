use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use burn::config::Config;
use burn::module::{Content, DisplaySettings, Module, ModuleDisplay, ParamGroup};
use burn::nn::Initializer;
use burn::nn::loss::Reduction;
use burn::tensor::{Device, Int, Tensor};
use serde::{Deserialize, Serialize};

use super::error::ProxyError;
use super::methods::{calling, calling_per_sample, making};
use super::proxies::Proxies;
use super::scores::{NO_EXPONENT, is_own_class, scaled_cosines};
use super::start;
use crate::batch::{
    Batch, BatchRules, Checking, ClassBalance, ClassWeights, LeftOut, LeftOutCounter, Weighing,
};
use crate::centers::{Centers, Precision};
use crate::engine::{self, Counted, Losses, OwnScores, Scale, Softmax};
use crate::error::{at_least_one, positive, within};
use crate::neighbors::{KnnError, NearestCenter};
use crate::reduce::{max_dim, sum_dim};

/// Which proxies the own one is compared with in a [`ProxyNca`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Denominator {
    /// All, as in a softmax: the loss is above 0. pytorch-metric-learning and ProxyNCA++ do this.
    #[default]
    AllClasses,
    /// Those of other classes, as in the paper: the loss of a sample that lies well is below 0.
    OtherClasses,
}

/// Configuration of a [`ProxyNca`].
///
/// # Example
///
/// ```
/// use burn::tensor::Device;
/// use burn_center_loss::{Denominator, ProxyNcaConfig};
///
/// let loss = ProxyNcaConfig::new(10, 128)
///     .with_denominator(Denominator::OtherClasses)
///     .with_softmax_scale(3.0)
///     .init(&Device::flex().autodiff());
/// assert_eq!(loss.centers().dims(), [10, 128]);
/// ```
#[derive(Config, Debug)]
pub struct ProxyNcaConfig {
    /// The number of classes: labels are `0..num_classes`. At least 2 with [`Denominator::OtherClasses`].
    pub num_classes: usize,
    /// The width of the features and of the proxies.
    pub feature_dim: usize,
    /// What squared distances between directions are multiplied by; finite and greater than 0. Default: 1.
    ///
    /// ProxyNCA++ makes directions 3 long, which is a softmax scale of 9 here.
    #[config(default = 1.0)]
    pub softmax_scale: f64,
    /// Which proxies the own one is compared with. Default: [`Denominator::AllClasses`].
    #[config(default = "Denominator::AllClasses")]
    pub denominator: Denominator,
    /// Whether the loss of a sample is divided by the batch histogram of its class. Default:
    /// [`ClassBalance::None`].
    #[config(default = "ClassBalance::None")]
    pub class_balance: ClassBalance,
    /// How the losses of the samples become one value. Default: `Reduction::Mean`.
    #[config(default = "Reduction::Mean")]
    pub reduction: Reduction,
    /// One factor per class for the loss of its samples; finite and not negative. It enters the weighted
    /// mean as well. Default: none.
    pub class_weights: Option<Vec<f64>>,
    /// Samples with this label change neither loss nor gradients. It may lie outside `0..num_classes`.
    /// Default: none.
    pub ignore_label: Option<i64>,
    /// How the proxies start. Default: normal with mean 0 and standard deviation `1 / sqrt(feature_dim)`,
    /// which gives them a length of about 1. Only their directions enter the loss, but a gradient turns a
    /// vector the faster the shorter it is.
    pub initializer: Option<Initializer>,
    /// The data type of the proxies. Default: [`Precision::F32`].
    #[config(default = "Precision::F32")]
    pub precision: Precision,
    /// When bad samples are reported. Default: [`Checking::Strict`].
    #[config(default = "Checking::Strict")]
    pub checking: Checking,
    /// How many bytes of scores `forward` keeps for the backward pass, with [`Denominator::AllClasses`]. If
    /// all scores fit, the work is three matrix products. If not, none is kept, and it is four. Default:
    /// 64 MiB.
    #[config(default = "1 << 26")]
    pub score_budget: usize,
}

/// Proxy-NCA: neighbourhood component analysis in which proxies of the classes are the neighbours.
///
/// ```text
/// d_ij = |x_i / |x_i| - p_j / |p_j||^2 = 2 - 2 cos(x_i, p_j)
/// l_i  = -log(exp(-a d_iy) / sum_j exp(-a d_ij))
/// L    = reduce_i(w_i l_i)
/// ```
///
/// `x_i` is row `i` of the features, `y` its label, `p_j` the proxy of class `j`, and `a` the softmax scale.
/// The sum is over all classes, or over all but the own one ([`Denominator`]). `w_i` is the weight of the
/// sample (1 if none are given) times the weight of its class; a weight of 2 counts as having the sample
/// twice. Under [`ClassBalance::Histogram`] each `l_i` is divided by how many samples of the batch have its
/// label. `reduce` is Burn's [`Reduction`]: `Mean` (and `Auto`) is `sum_i w_i l_i / sum_i w_i`, `Sum` is
/// `sum_i w_i l_i`, and `BatchMean` is that sum divided by the number of rows, ignored ones included.
///
/// Over all classes this is the normalised softmax with a scale of `2 a`.
///
/// Features and proxies receive gradients. The proxies are an ordinary parameter, which the optimizer of the
/// model moves; [`centers_group`](Self::centers_group) gives them a rate of their own, which published
/// settings make far larger than that of the network. All of them have a gradient in every step, also those
/// of classes that the batch does not have.
///
/// # Panics or errors
///
/// [`forward`](Self::forward), [`forward_no_reduction`](Self::forward_no_reduction) and
/// [`evaluate`](Self::evaluate) take tensors and panic, as Burn's losses do. Their twins with `try_` take
/// a [`Batch`], which may have sample weights, and return errors as values. All other methods return
/// errors as values.
///
/// # Numbers
///
/// Sums are taken as logarithms of sums of exponentials, less their largest exponent, so that nothing
/// overflows or vanishes. A vector of length 0 has cosine 0, a squared distance of 2, with everything and
/// receives no gradient. Under other lengths there is no floor.
///
/// # Differences from the references
///
/// | | this loss | pytorch-metric-learning 2.9 | the paper |
/// |---|---|---|---|
/// | own class in the denominator | [`Denominator`] | yes | no |
/// | a probability that vanishes | has its loss | the sample is left out | infinite |
/// | weighted mean | divided by the weights | divided by the number of samples | none |
/// | length of a vector | no floor | at least 1e-12 | not said |
/// | proxies at first | length about 1 | normal, standard deviation 1 | not said |
///
/// # Cost
///
/// With [`Denominator::AllClasses`], three matrix products of `batch_size * num_classes * feature_dim` within
/// [`score_budget`](ProxyNcaConfig::score_budget), four beyond it. Classes are gone through in blocks, so that
/// beyond features, proxies, their gradients and the budget the memory does not depend on the number of
/// classes. With [`Denominator::OtherClasses`] there are no blocks: three products, and the backward pass
/// keeps a matrix of `[batch_size, num_classes]` in the data type of the proxies and one of booleans. Strict
/// checking reads some numbers per sample back from the device.
///
/// # Data types
///
/// Features may be `f16`, `bf16`, `f32` or `f64`. They are converted to the data type of the proxies
/// ([`Precision`](crate::Precision)), in which everything is summed and the loss is returned. Labels may be
/// of any integer type. The proxies keep their type when a model is mapped to half precision.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_center_loss::{Denominator, ProxyNcaConfig};
///
/// let device = Device::flex().autodiff();
/// let loss = ProxyNcaConfig::new(2, 2)
///     .with_denominator(Denominator::OtherClasses)
///     .init_with_centers(Tensor::from_data([[1.0, 0.0], [0.0, 1.0]], &device))?;
///
/// // On the own proxy, at a squared distance of 2 from the other one: log(exp(-2) / exp(-0)).
/// let value = loss.forward(Tensor::from_data([[3.0, 0.0]], &device), Tensor::from_data([0], &device));
/// assert!((value.into_scalar::<f32>() + 2.0).abs() < 1e-6);
/// # Ok::<(), burn_center_loss::ProxyError>(())
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
    class_weights: Option<ClassWeights>,
    #[module(skip)]
    config: Arc<ProxyNcaConfig>,
    #[module(skip)]
    left_out: LeftOutCounter,
}

making!(ProxyNcaConfig, ProxyNca);
calling!(ProxyNca, ProxyNcaConfig);
calling_per_sample!(ProxyNca);

impl ProxyNcaConfig {
    fn validate(&self) -> Result<(), ProxyError> {
        at_least_one("num_classes", self.num_classes as u64)?;
        at_least_one("feature_dim", self.feature_dim as u64)?;
        within(
            "num_classes",
            self.num_classes as f64,
            self.num_classes > 1 || self.denominator == Denominator::AllClasses,
            "it must be at least 2 where the denominator has the other classes alone",
        )?;
        positive("softmax_scale", self.softmax_scale)?;
        if let Some(weights) = &self.class_weights {
            ClassWeights::check(weights, self.num_classes)?;
        }
        Ok(())
    }

    /// The number of rows of the proxies.
    fn rows(&self) -> usize {
        self.num_classes
    }

    fn assemble(&self, centers: Centers) -> Result<ProxyNca, ProxyError> {
        let weights = self.class_weights.as_deref();
        Ok(ProxyNca {
            class_weights: start::class_weights(weights, self.num_classes, &centers)?,
            centers,
            config: Arc::new(self.clone()),
            left_out: LeftOutCounter::default(),
        })
    }
}

impl ProxyNca {
    /// Scores of all classes, for predictions and accuracy: `2 a cos(x, p_j)`, which is `-a d_j` up to a
    /// constant. They are on the graph of the features.
    ///
    /// # Shapes
    ///
    /// - features: `[num_features, feature_dim]`
    /// - output: `[num_features, num_classes]`
    ///
    /// # Errors
    ///
    /// [`BatchError`](crate::BatchError) for features of another width or device.
    pub fn logits(&self, features: Tensor<2>) -> Result<Tensor<2>, ProxyError> {
        let features = self.proxies().fit(features)?;
        let proxies = self.centers.constant();
        Ok(scaled_cosines(features, proxies, self.scale()))
    }

    /// A classifier of the proxies as they are now, by direction: the class with the largest cosine, as
    /// [`logits`](Self::logits) order them. Reads the proxies back from the device once.
    ///
    /// # Errors
    ///
    /// [`KnnError`] if a proxy is not finite.
    pub fn nearest_center(&self) -> Result<NearestCenter, KnnError> {
        self.proxies().nearest_center(1)
    }

    /// What a cosine is multiplied by.
    fn scale(&self) -> f64 {
        2.0 * self.config.softmax_scale
    }

    fn measure(
        &self,
        batch: Batch,
        reduction: Option<&Reduction>,
        may_train: bool,
    ) -> Result<Tensor<1>, ProxyError> {
        let weighing = Weighing {
            lambda: 1.0,
            reduction,
            class_balance: self.config.class_balance,
            class_weights: self.class_weights.as_ref(),
        };
        let (counted, proxies) = self.proxies().count(batch, weighing, may_train)?;
        let is_reduced = reduction.is_some();
        let losses = match self.config.denominator {
            Denominator::AllClasses => self.among_all(&counted, proxies, is_reduced),
            Denominator::OtherClasses => Losses::not_weighed(self.among_others(&counted, proxies)),
        };
        // The slopes by all cosines, of which each sign has at most 1 in all.
        let slope = 2.0 * self.scale();
        Ok(self.proxies().accept(losses, counted, slope, is_reduced)?)
    }

    /// The losses with all classes in the denominator: a softmax without any margin.
    fn among_all(&self, counted: &Counted, proxies: Tensor<2>, is_reduced: bool) -> Losses {
        let angles = engine::own_angles(
            counted.features.clone(),
            proxies.clone(),
            counted.classes.clone(),
            1,
        );
        let own = OwnScores {
            value: angles.angle.clone().cos(),
            slope: angles.angle.clone().sin(),
        };
        let softmax = Softmax {
            features: counted.features.clone(),
            centers: proxies,
            classes: counted.classes.clone(),
            sub_centers: 1,
            scale: Scale::Fixed(self.scale()),
            bound: None,
            smoothing: 0.0,
            angles,
            own,
            budget: self.config.score_budget,
        };
        engine::losses(softmax, counted.samples.coefficients(), is_reduced)
    }

    /// The losses with the other classes in the denominator, `[batch_size]`.
    fn among_others(&self, counted: &Counted, proxies: Tensor<2>) -> Tensor<1> {
        let scores = scaled_cosines(counted.features.clone(), proxies, self.scale());
        let is_own = is_own_class(&counted.classes, self.config.num_classes);
        let classes = counted.classes.clone().unsqueeze_dim::<2>(1);
        let own = scores.clone().gather(1, classes);
        let others = scores.mask_fill(is_own, NO_EXPONENT);
        let largest = max_dim(others.clone().without_autodiff(), 1);
        let sums = sum_dim((others - largest.clone()).exp(), 1);
        (sums.log() + largest - own).squeeze_dim(1)
    }
}

impl ModuleDisplay for ProxyNca {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new()
            .with_new_line_after_attribute(false)
            .optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        content
            .add("num_classes", &self.num_classes())
            .add("feature_dim", &self.feature_dim())
            .add("softmax_scale", &self.config.softmax_scale)
            .add_debug_attribute("denominator", &self.config.denominator)
            .optional()
    }
}
