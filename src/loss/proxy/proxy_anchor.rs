use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use burn::config::Config;
use burn::module::{Content, DisplaySettings, Module, ModuleDisplay, ParamGroup};
use burn::nn::Initializer;
use burn::tensor::{Bool, Device, Int, Tensor};

use super::error::ProxyError;
use super::methods::{calling, making};
use super::proxies::Proxies;
use super::scores::{NO_EXPONENT, is_own_class, scaled_cosines};
use super::start;
use crate::batch::{
    Batch, BatchError, BatchRules, Checking, ClassBalance, LeftOut, LeftOutCounter, PerSample,
    Weighing,
};
use crate::centers::{Centers, Precision};
use crate::distance::{no_zero, norms};
use crate::engine::{Counted, Samples};
use crate::error::{at_least_one, not_negative, within};
use crate::neighbors::{KnnError, NearestCenter};
use crate::reduce::{max_dim, sum_dim};

/// Configuration of a [`ProxyAnchor`].
///
/// There are neither class weights nor a class balance nor a reduction: the loss is no sum over samples but
/// over classes, each of which has one term of either kind however many samples it has.
///
/// # Example
///
/// ```
/// use burn::tensor::Device;
/// use burn_center_loss::ProxyAnchorConfig;
///
/// let loss = ProxyAnchorConfig::new(10, 128).with_alpha(16.0).init(&Device::flex().autodiff());
/// assert_eq!(loss.centers().dims(), [10, 128]);
/// ```
#[derive(Config, Debug)]
pub struct ProxyAnchorConfig {
    /// The number of classes: labels are `0..num_classes`.
    pub num_classes: usize,
    /// The width of the features and of the proxies.
    pub feature_dim: usize,
    /// What cosines are multiplied by; greater than 0, and `alpha * (1 + margin)` at most 1e30. Default: 32.
    #[config(default = 32.0)]
    pub alpha: f64,
    /// What the cosine with the proxy of the own class should be above, and minus the cosines with the
    /// others; finite and not negative. Default: 0.1.
    #[config(default = 0.1)]
    pub margin: f64,
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

/// Proxy Anchor loss: every proxy is an anchor that all samples of a batch are compared with, the hardest
/// ones most.
///
/// ```text
/// positive_j = log(1 + sum_{i: y_i = j}  w_i exp(-alpha (cos(x_i, p_j) - margin)))
/// negative_j = log(1 + sum_{i: y_i != j} w_i exp( alpha (cos(x_i, p_j) + margin)))
/// L          = sum_j positive_j / P + sum_j negative_j / num_classes
/// ```
///
/// `x_i` is row `i` of the features, `y_i` its label, `p_j` the proxy of class `j`, and `P` the number of
/// classes in the batch. `w_i` is the weight of the sample, 1 if none are given: a weight of 2 counts as
/// having the sample twice, a weight of 0 as not having it.
///
/// Features and proxies receive gradients. The proxies are an ordinary parameter, which the optimizer of the
/// model moves. The authors give it 100 times the rate of the network:
/// [`centers_group`](Self::centers_group). The proxy of a class that the batch does not have is pushed away
/// from all samples, by its negative term.
///
/// The loss is no mean over samples, so that there is no loss of a single sample: it grows with the
/// logarithm of the batch size.
///
/// # Panics or errors
///
/// [`forward`](Self::forward) and [`evaluate`](Self::evaluate) take tensors and panic, as Burn's losses do.
/// Their twins with `try_` take a [`Batch`], which may have sample weights, and return errors as values. All
/// other methods return errors as values.
///
/// # Numbers
///
/// All sums are taken as logarithms of sums of exponentials, less their largest exponent, so that nothing
/// overflows or vanishes. A vector of length 0 has cosine 0 with everything and receives no gradient. Under
/// other lengths there is no floor.
///
/// # Differences from the references
///
/// | | this loss | pytorch-metric-learning 2.9 | the authors' program |
/// |---|---|---|---|
/// | `log(1 + sum exp)` | finite for any `alpha` in range | finite | `exp` first: infinite in `f16` from an exponent of 11.1 on, in `f32` of 88.7 |
/// | weight `w` of a sample | `log(w)` joins the exponent | `w - 1` joins the exponent, so that a weight of 0 leaves `exp(-1)` of a sample | none |
/// | length of a vector | no floor | at least 1e-12 | `1e-12` is added to the square |
/// | proxies at first | length about 1 | normal, standard deviation `sqrt(2 / num_classes)` | the same |
///
/// # Cost
///
/// Three matrix products of `batch_size * num_classes * feature_dim`. The `[batch_size, num_classes]` scores
/// are not gone through in blocks: the backward pass keeps two matrices of this size in the data type of the
/// proxies and three of booleans, and some more exist on the way. Strict checking reads some numbers per
/// sample back from the device.
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
/// use burn_center_loss::ProxyAnchorConfig;
///
/// let device = Device::flex().autodiff();
/// let loss = ProxyAnchorConfig::new(2, 2)
///     .with_alpha(1.0)
///     .with_margin(0.0)
///     .init_with_centers(Tensor::from_data([[1.0, 0.0], [0.0, 1.0]], &device))?;
///
/// // One sample of class 0 on its proxy: cosine 1 with it, and 0 with the other.
/// let value = loss.forward(Tensor::from_data([[3.0, 0.0]], &device), Tensor::from_data([0], &device));
/// let expected = (1.0 + (-1.0_f32).exp()).ln() + 2.0_f32.ln() / 2.0;
/// assert!((value.into_scalar::<f32>() - expected).abs() < 1e-6);
/// # Ok::<(), burn_center_loss::ProxyError>(())
/// ```
///
/// # References
///
/// Sungyeon Kim, Dongwon Kim, Minsu Cho, Suha Kwak: Proxy Anchor Loss for Deep Metric Learning, CVPR 2020.
#[doc(alias = "ProxyAnchorLoss")]
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct ProxyAnchor {
    centers: Centers,
    #[module(skip)]
    config: Arc<ProxyAnchorConfig>,
    #[module(skip)]
    left_out: LeftOutCounter,
}

making!(ProxyAnchorConfig, ProxyAnchor);
calling!(ProxyAnchor, ProxyAnchorConfig);

impl ProxyAnchorConfig {
    fn validate(&self) -> Result<(), ProxyError> {
        at_least_one("num_classes", self.num_classes as u64)?;
        at_least_one("feature_dim", self.feature_dim as u64)?;
        not_negative("margin", self.margin)?;
        // Then no term of the loss overflows any data type of the proxies.
        let largest = self.alpha * (1.0 + self.margin);
        within(
            "alpha",
            self.alpha,
            self.alpha > 0.0 && largest <= 1e30,
            "it must be greater than 0, and alpha * (1 + margin) at most 1e30",
        )?;
        Ok(())
    }

    /// The number of rows of the proxies.
    fn rows(&self) -> usize {
        self.num_classes
    }

    fn assemble(&self, centers: Centers) -> Result<ProxyAnchor, ProxyError> {
        Ok(ProxyAnchor {
            centers,
            config: Arc::new(self.clone()),
            left_out: LeftOutCounter::default(),
        })
    }
}

impl ProxyAnchor {
    /// Scores of all classes, for predictions and accuracy: alpha times the cosine. They are on the graph of
    /// the features.
    ///
    /// # Shapes
    ///
    /// - features: `[num_features, feature_dim]`
    /// - output: `[num_features, num_classes]`
    ///
    /// # Errors
    ///
    /// [`BatchError`] for features of another width or device.
    pub fn logits(&self, features: Tensor<2>) -> Result<Tensor<2>, ProxyError> {
        let features = self.proxies().fit(features)?;
        let proxies = self.centers.constant();
        Ok(scaled_cosines(features, proxies, self.config.alpha))
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

    fn total(&self, batch: Batch, may_train: bool) -> Result<Tensor<1>, ProxyError> {
        // The loss weighs the samples itself.
        let weighing = Weighing {
            lambda: 1.0,
            reduction: None,
            class_balance: ClassBalance::None,
            class_weights: None,
        };
        let (counted, proxies) = self.proxies().count(batch, weighing, may_train)?;
        let loss = self.loss(&counted, proxies);
        self.check(counted.features, counted.samples, &loss)?;
        self.proxies().note(counted.left_out);
        Ok(loss)
    }

    fn loss(&self, counted: &Counted, proxies: Tensor<2>) -> Tensor<1> {
        let ProxyAnchorConfig { alpha, margin, .. } = *self.config;
        let scores = scaled_cosines(counted.features.clone(), proxies, alpha);
        let [batch_size, num_classes] = scores.dims();

        let device = counted.classes.device();
        let weights = counted.samples.weights(&device, scores.dtype());
        let has_none = weights.clone().equal_elem(0.0);
        let logarithms = weights.mask_fill(has_none.clone(), 1.0).log();
        let offsets = logarithms.add_scalar(alpha * margin).unsqueeze_dim::<2>(1);

        let is_own = is_own_class(&counted.classes, num_classes);
        let counts = has_none.bool_not().unsqueeze_dim::<2>(1);
        let counts = counts.expand([batch_size, num_classes]);
        let is_positive = is_own.clone().bool_and(counts.clone());
        let is_negative = is_own.bool_not().bool_and(counts);

        let present = is_positive.clone().any_dim(0).float();
        let present = present.cast(scores.dtype()).sum().clamp_min(1.0);
        let positive = log_of_one_and_exponentials(offsets.clone() - scores.clone(), is_positive);
        let negative = log_of_one_and_exponentials(offsets + scores, is_negative);
        positive.sum() / present + negative.sum().div_scalar(num_classes as f64)
    }

    /// Refuses a batch with a bad sample, or whose loss or gradient of the features is not finite, under strict
    /// checking.
    fn check(
        &self,
        features: Tensor<2>,
        samples: Samples,
        loss: &Tensor<1>,
    ) -> Result<(), BatchError> {
        let Samples::Strict(samples) = samples else {
            return Ok(());
        };
        let lengths = norms(features.without_autodiff()).squeeze_dim(1);
        let numbers = Tensor::cat(vec![lengths, loss.clone().without_autodiff()], 0);
        let (_, read) = samples.read(PerSample::Device(numbers))?;
        let (lengths, of_loss) = read.split_at(read.len() - 1);
        // By the range of alpha the loss is finite if the proxies are.
        self.proxies().check_finite(of_loss)?;
        let (dtype, limit) = (loss.dtype(), largest(loss));
        // A feature has a share of at most 1 in the term of its class and in each negative term.
        let steepest = |length: f64| 2.0 * self.config.alpha / length;
        let too_steep = |length: &f64| *length > 0.0 && steepest(*length) > limit;
        match lengths.iter().position(too_steep) {
            Some(sample) => Err(BatchError::Overflow {
                what: "gradient of the features",
                sample,
                value: steepest(lengths[sample]),
                limit,
                dtype: format!("{dtype:?}"),
            }),
            None => Ok(()),
        }
    }
}

/// The largest number of the data type of a tensor.
fn largest(tensor: &Tensor<1>) -> f64 {
    match tensor.dtype().finfo() {
        Some(info) => info.max,
        None => f64::MAX,
    }
}

/// `log(1 + sum exp)` over the rows that count, for each column: `[columns]`.
fn log_of_one_and_exponentials(exponents: Tensor<2>, counts: Tensor<2, Bool>) -> Tensor<1> {
    let exponents = exponents.mask_fill(counts.bool_not(), NO_EXPONENT);
    let largest = max_dim(exponents.clone().without_autodiff(), 0).clamp_min(0.0);
    let sums = sum_dim((exponents - largest.clone()).exp(), 0);
    // The exponential of the 1, less 1: what is exactly 0 where no exponent is above 0, so that small sums
    // keep their digits.
    let one = largest.clone().neg().exp().sub_scalar(1.0);
    (log_of_one_plus(sums + one) + largest).squeeze_dim(0)
}

/// `log(1 + x)` of numbers that are not negative, with all digits of a small `x`. Some backends compute
/// `log1p` as the logarithm of a sum that has lost them.
fn log_of_one_plus(x: Tensor<2>) -> Tensor<2> {
    let sums = x.clone().add_scalar(1.0);
    let logarithms = sums.clone().log();
    let (x, sums, rounded) = (
        x.without_autodiff(),
        sums.without_autodiff(),
        logarithms.clone().without_autodiff(),
    );
    // What rounding the sum has made of x makes up for the error of the logarithm.
    let of_sum = sums.sub_scalar(1.0);
    let is_lost = of_sum.clone().equal_elem(0.0);
    let exact = (rounded.clone() * x.clone() / no_zero(of_sum)).mask_where(is_lost, x);
    // The slope is that of the logarithm.
    logarithms + (exact - rounded)
}

impl ModuleDisplay for ProxyAnchor {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new()
            .with_new_line_after_attribute(false)
            .optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        content
            .add("num_classes", &self.num_classes())
            .add("feature_dim", &self.feature_dim())
            .add("alpha", &self.config.alpha)
            .add("margin", &self.config.margin)
            .optional()
    }
}
