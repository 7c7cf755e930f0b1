use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use burn::config::Config;
use burn::module::{Content, DisplaySettings, Module, ModuleDisplay, ParamGroup};
use burn::nn::Initializer;
use burn::nn::loss::Reduction;
use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{Device, Int, Tensor};

use super::error::ProxyError;
use super::methods::{calling, calling_per_sample, making};
use super::proxies::Proxies;
use super::scores::{is_own_class, scaled_cosines};
use super::start;
use crate::batch::{
    Batch, BatchRules, Checking, ClassBalance, ClassWeights, LeftOut, LeftOutCounter, Weighing,
};
use crate::centers::{Centers, Precision};
use crate::engine::Losses;
use crate::error::{at_least_one, not_negative, positive};
use crate::neighbors::{KnnError, NearestCenter};
use crate::reduce::sum_dim;

/// Configuration of a [`SoftTriple`].
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
#[derive(Config, Debug)]
pub struct SoftTripleConfig {
    /// The number of classes: labels are `0..num_classes`.
    pub num_classes: usize,
    /// The width of the features and of the proxies.
    pub feature_dim: usize,
    /// How many proxies a class has, `K` in the paper and `centers_per_class` in pytorch-metric-learning; at
    /// least 1. Default: 10.
    #[config(default = 10)]
    pub sub_centers: usize,
    /// What the similarities with the classes are multiplied by, `lambda` in the paper and `la` in
    /// pytorch-metric-learning; finite and greater than 0. Default: 20.
    #[config(default = 20.0)]
    pub scale: f64,
    /// How soft the choice among the proxies of a class is; finite and greater than 0. Near 0 the closest one
    /// alone counts, and all count the same if it is large. Default: 0.1.
    #[config(default = 0.1)]
    pub gamma: f64,
    /// What the similarity with the own class is lowered by, `delta` in the paper; finite and not negative.
    /// Default: 0.01.
    #[config(default = 0.01)]
    pub margin: f64,
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
}

/// SoftTriple loss: softmax over the classes, each of which has several proxies for its clusters.
///
/// ```text
/// s_ijk = cos(x_i, p_jk)
/// S_ij  = sum_k q_ijk s_ijk,    q_ijk = exp(s_ijk / gamma) / sum_l exp(s_ijl / gamma)
/// z_ij  = scale S_ij            other classes
/// z_iy  = scale (S_iy - margin) the own class
/// l_i   = log sum_j exp(z_ij) - z_iy
/// L     = reduce_i(w_i l_i)
/// ```
///
/// `x_i` is row `i` of the features, `y` its label, and `p_jk` proxy `k` of class `j`, which is row
/// `j * sub_centers + k`. `w_i` is the weight of the sample (1 if none are given) times the weight of its
/// class; a weight of 2 counts as having the sample twice. Under [`ClassBalance::Histogram`] each `l_i` is
/// divided by how many samples of the batch have its label. `reduce` is Burn's [`Reduction`]: `Mean` (and
/// `Auto`) is `sum_i w_i l_i / sum_i w_i`, `Sum` is `sum_i w_i l_i`, and `BatchMean` is that sum divided by
/// the number of rows, ignored ones included.
///
/// With one proxy per class this is the softmax of [`CosFace`](crate::CosFace).
///
/// Features and proxies receive gradients. The proxies are an ordinary parameter, which the optimizer of the
/// model moves; [`centers_group`](Self::centers_group) gives them a rate of their own. All of them have a
/// gradient in every step, also those of classes that the batch does not have.
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
/// Both sums are taken from exponentials less their largest exponent, so that nothing overflows or vanishes.
/// A vector of length 0 has cosine 0 with everything and receives no gradient. Under other lengths there is
/// no floor.
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
/// Three matrix products of `batch_size * num_classes * sub_centers * feature_dim`. The scores of all
/// proxies are not gone through in blocks: the backward pass keeps four to six matrices of
/// `[batch_size, num_classes * sub_centers]` in the data type of the proxies, and some more exist on the way.
/// Strict checking reads some numbers per sample back from the device.
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
/// # Ok::<(), burn_center_loss::ProxyError>(())
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
    class_weights: Option<ClassWeights>,
    #[module(skip)]
    config: Arc<SoftTripleConfig>,
    #[module(skip)]
    left_out: LeftOutCounter,
}

making!(SoftTripleConfig, SoftTriple);
calling!(SoftTriple, SoftTripleConfig);
calling_per_sample!(SoftTriple);

impl SoftTripleConfig {
    fn validate(&self) -> Result<(), ProxyError> {
        at_least_one("num_classes", self.num_classes as u64)?;
        at_least_one("feature_dim", self.feature_dim as u64)?;
        at_least_one("sub_centers", self.sub_centers as u64)?;
        positive("scale", self.scale)?;
        positive("gamma", self.gamma)?;
        not_negative("margin", self.margin)?;
        if let Some(weights) = &self.class_weights {
            ClassWeights::check(weights, self.num_classes)?;
        }
        Ok(())
    }

    /// The number of rows of the proxies.
    fn rows(&self) -> usize {
        self.num_classes * self.sub_centers
    }

    fn assemble(&self, centers: Centers) -> Result<SoftTriple, ProxyError> {
        let weights = self.class_weights.as_deref();
        Ok(SoftTriple {
            class_weights: start::class_weights(weights, self.num_classes, &centers)?,
            centers,
            config: Arc::new(self.clone()),
            left_out: LeftOutCounter::default(),
        })
    }
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
    /// [`BatchError`](crate::BatchError) for features of another width or device.
    pub fn logits(&self, features: Tensor<2>) -> Result<Tensor<2>, ProxyError> {
        let features = self.proxies().fit(features)?;
        let similarities = self.similarities(features, self.centers.constant());
        Ok(similarities.mul_scalar(self.config.scale))
    }

    /// A classifier of the proxies as they are now, by direction: the class of the closest proxy. Reads the
    /// proxies back from the device once.
    ///
    /// [`logits`](Self::logits) weigh all proxies of a class, and may order two classes differently if both
    /// are near. The smaller [`gamma`](SoftTripleConfig::gamma) is, the less they differ.
    ///
    /// # Errors
    ///
    /// [`KnnError`] if a proxy is not finite.
    pub fn nearest_center(&self) -> Result<NearestCenter, KnnError> {
        self.proxies().nearest_center(self.config.sub_centers)
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
        let SoftTripleConfig {
            scale,
            gamma,
            margin,
            ..
        } = *self.config;
        let similarities = self.similarities(counted.features.clone(), proxies);
        let is_own = is_own_class(&counted.classes, self.config.num_classes);
        let lowered = similarities.clone().sub_scalar(margin);
        let scores = similarities.mask_where(is_own, lowered).mul_scalar(scale);
        let classes = counted.classes.clone().unsqueeze_dim::<2>(1);
        let losses = log_softmax(scores, 1).gather(1, classes).neg();
        let losses = Losses::not_weighed(losses.squeeze_dim(1));
        // The slopes by all similarities have at most 2 in all, and those of a similarity by its cosines
        // at most 1 and what the shares change by.
        let slope = 2.0 * scale * (1.0 + 1.0 / gamma);
        let is_reduced = reduction.is_some();
        Ok(self.proxies().accept(losses, counted, slope, is_reduced)?)
    }

    /// The similarities `S` between features and classes, `[batch_size, num_classes]`.
    fn similarities(&self, features: Tensor<2>, proxies: Tensor<2>) -> Tensor<2> {
        let cosines = scaled_cosines(features, proxies, 1.0);
        let [batch_size, _] = cosines.dims();
        let shape = [batch_size, self.config.num_classes, self.config.sub_centers];
        let cosines = cosines.reshape(shape);
        let shares = softmax(cosines.clone().mul_scalar(1.0 / self.config.gamma), 2);
        sum_dim(shares * cosines, 2).squeeze_dim(2)
    }
}

impl ModuleDisplay for SoftTriple {
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
            .add("scale", &self.config.scale)
            .add("gamma", &self.config.gamma)
            .add("margin", &self.config.margin)
            .optional()
    }
}
