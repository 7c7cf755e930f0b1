use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{DType, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::value::{nan_unless_finite, offsets, weigh};
use crate::batch::{CheckedBatch, LabelledBatch, SkippedCounter};
use crate::centers::Centers;
use crate::device::is_host;
use crate::distance::{CenterDistance, no_zero, norms, squared_euclidean};
use crate::error::{LossError, not_negative};
use crate::loss::common::{Call, Loss, LossConfig, check_batch};
use crate::loss::display::loss_display;
use crate::loss::surface::{assemble, common_settings, loss_config, loss_methods, with_centers};
use crate::neighbors::{DEFAULT_MAX_PAIRS, KnnMetric, Rows, Search};
use crate::reduce::{max_dim, sum_dim};

/// The distance between a feature and a center in a [`TripletCenterLoss`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TripletDistance {
    /// Half of the squared Euclidean distance, `|x - c|^2 / 2`.
    #[default]
    HalfSquaredEuclidean,
    /// The Euclidean distance, `|x - c|`.
    Euclidean,
}

loss_config! {
    /// Configuration of a [`TripletCenterLoss`].
    ///
    /// The centers are drawn from a normal distribution with mean 0 and standard deviation 1 by default.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use burn_center_loss::TripletCenterLossConfig;
    ///
    /// let loss = TripletCenterLossConfig::new(10, 2).with_margin(1.0).init(&Device::flex().autodiff());
    /// assert_eq!(loss.centers().dims(), [10, 2]);
    /// ```
    pub struct TripletCenterLossConfig per sample {
        initializer: "burn::nn::Initializer::Normal { mean: 0.0, std: 1.0 }",
        /// The number by which the distance to the nearest other center should exceed that to the own center, in the
        /// units of the distance; finite and not negative. Default: 5.
        #[config(default = 5.0)]
        pub margin: f64,
        /// The distance. Default: [`TripletDistance::HalfSquaredEuclidean`].
        #[config(default = "TripletDistance::HalfSquaredEuclidean")]
        pub distance: TripletDistance,
        /// The weight of the loss; finite and not negative. Default: 0.1.
        #[config(default = 0.1)]
        pub lambda: f64,
    }
}

impl LossConfig for TripletCenterLossConfig {
    type Loss = TripletCenterLoss;

    common_settings!();

    fn check_own(&self) -> Result<(), LossError> {
        not_negative("margin", self.margin)?;
        not_negative("lambda", self.lambda)?;
        Ok(())
    }

    assemble!(TripletCenterLoss);

    fn distance(&self) -> CenterDistance {
        CenterDistance::Euclidean
    }

    fn has_functions(&self) -> bool {
        false
    }
}

/// Triplet-center loss: a feature must be nearer to the center of its class than to any other center, by a margin.
///
/// ```text
/// l_i = max(0, D(x_i, c_y) + margin - min_{j != y} D(x_i, c_j))
/// L   = lambda * reduce_i(w_i l_i)
/// ```
///
/// `x_i` is row `i` of the features, `y` its label, `c_j` the center of class `j`, and `D` the [`TripletDistance`].
/// `w_i` is the weight of the sample (1 if none are given) times the weight of its class; a weight of 2 counts as
/// having the sample twice. Under [`ClassBalance::Histogram`](crate::ClassBalance::Histogram) each `l_i` is divided
/// by the number of samples of the batch with its label. `reduce` is Burn's
/// [`Reduction`](burn::nn::loss::Reduction): `Mean` (and `Auto`) is `sum_i w_i l_i / sum_i w_i`, `Sum` is
/// `sum_i w_i l_i`, and `BatchMean` is that sum divided by the number of rows, ignored ones included. With one class
/// there is no other center, and the loss is 0.
///
/// Features and centers receive gradients: the feature, the center of its class, and the nearest other center. Of
/// several equally near centers the one of the lowest class is taken. Where `l_i` is 0 there is no gradient. The centers
/// are an ordinary parameter, which the optimizer of the model moves;
/// [`centers_param_group`](Self::centers_param_group) gives them a rate of their own. Training changes nothing else.
///
/// # Panics or errors
///
/// [`forward`](Self::forward), [`forward_no_reduction`](Self::forward_no_reduction) and
/// [`evaluate`](Self::evaluate) take tensors and panic, as Burn's losses do. The methods with `try_` take
/// a [`LabelledBatch`], which may have sample weights, and return errors as values.
/// [`centers`](Self::centers) panics if the backend failed in the middle of an earlier update.
///
/// # Numbers
///
/// The difference of the two squared distances is `(c_n - c_y) . (2 x - c_y - c_n)`, `c_n` the nearest other center.
/// No two large squares are subtracted. The Euclidean distances differ by this over their sum. A distance of 0 has no
/// gradient.
///
/// # Differences from the references
///
/// | | this loss | xlliu7 (PyTorch) |
/// |---|---|---|
/// | distance | `q / 2`, or Euclidean | Euclidean |
/// | other centers | all classes | classes of the batch |
///
/// In the paper the centers have an update of their own, which divides pull and push of a center each by 1 + the number
/// of samples that cause it. Here they follow the gradient of the value.
///
/// # Cost
///
/// On the host the nearest other centers come from the exact search of this crate, as in
/// [`NearestCenter`](crate::NearestCenter). On other devices all distances are computed, in blocks of classes,
/// `O(batch_size * num_classes * feature_dim)`. No matrix of all distances exists. The rest is
/// `O(batch_size * feature_dim)`, and `O(num_classes * feature_dim)` for the gradient of the centers. Strict checking
/// reads some numbers per sample back from the device. Deferred checking computes the loss twice, but searches once.
///
/// # Data types
///
/// Features may be `f16`, `bf16`, `f32` or `f64`. The loss converts them to the data type of the centers
/// ([`CenterDType`](crate::CenterDType)), and computes and returns in it. Labels may be of any integer type.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_center_loss::TripletCenterLossConfig;
///
/// let device = Device::flex().autodiff();
/// let loss = TripletCenterLossConfig::new(3, 1)
///     .with_lambda(1.0)
///     .init_with_centers(Tensor::from_data([[0.0], [4.0], [9.0]], &device))?;
///
/// // 1^2 / 2 to its own center, and 3^2 / 2 to the nearest other one.
/// let value = loss.forward(Tensor::from_data([[1.0]], &device), Tensor::from_data([0], &device));
/// assert_eq!(value.into_scalar::<f32>(), 0.5 + 5.0 - 4.5);
/// # Ok::<(), burn_center_loss::LossError>(())
/// ```
///
/// # References
///
/// Xinwei He, Yang Zhou, Zhichao Zhou, Song Bai, Xiang Bai: Triplet-Center Loss for Multi-View 3D Object Retrieval,
/// CVPR 2018.
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct TripletCenterLoss {
    centers: Centers,
    class_weights: Option<Tensor<1>>,
    #[module(skip)]
    config: Arc<TripletCenterLossConfig>,
    #[module(skip)]
    skipped: SkippedCounter,
}

loss_methods!(TripletCenterLoss, TripletCenterLossConfig per sample);
loss_display!(TripletCenterLoss: add margin, add_debug_attribute distance, add lambda);

impl Loss for TripletCenterLoss {
    type Config = TripletCenterLossConfig;

    fn value(&self, batch: LabelledBatch, call: Call) -> Result<Tensor<1>, LossError> {
        let config = &*self.config;
        let (batch, centers) =
            check_batch(config.rules(config.checking), &self.centers, batch, call)?;
        let weighing = config.weighing(config.lambda, self.class_weights.as_ref(), call);
        let others = nearest_others(&batch, &centers.clone().without_autodiff());
        let losses = |batch: &CheckedBatch, centers| losses(config, batch, centers, others.clone());
        weigh(batch, centers, &weighing, &self.skipped, losses)
    }

    with_centers!(TripletCenterLossConfig);
}

/// The losses of the samples, `[batch_size]`. `others` are the classes of the nearest other centers.
fn losses(
    config: &TripletCenterLossConfig,
    batch: &CheckedBatch,
    centers: Tensor<2>,
    others: Tensor<1, Int>,
) -> Tensor<1> {
    let own = centers.clone().select(0, batch.classes.clone());
    let other = centers.select(0, others);
    let between = batch.masked(other.clone() - own.clone());
    let (from_own, from_other) = (offsets(batch, own), offsets(batch, other));
    let difference = sum_dim(between * (from_own.clone() + from_other.clone()), 1);
    let difference = match config.distance {
        TripletDistance::HalfSquaredEuclidean => difference.mul_scalar(0.5),
        TripletDistance::Euclidean => difference / no_zero(norms(from_own) + norms(from_other)),
    };
    // With one class the center of the class stands in for the other one.
    let margin = if config.num_classes > 1 {
        config.margin
    } else {
        0.0
    };
    // A difference of minus infinity would pass for a loss of 0, as NaN does not.
    let bad = nan_unless_finite(&difference);
    let beyond = (difference.add_scalar(margin) + bad).squeeze_dim::<1>(1);
    // No gradient passes at exactly 0.
    let is_satisfied = beyond.clone().lower_equal_elem(0.0);
    beyond.mask_fill(is_satisfied, 0.0)
}

/// The class of the nearest center of another class, `[batch_size]`; of several equally near ones the lowest.
/// `centers` are without autodiff. With one class it is that class.
fn nearest_others(batch: &CheckedBatch, centers: &Tensor<2>) -> Tensor<1, Int> {
    let features = batch.features().without_autodiff();
    let classes = &batch.classes;
    let found = match is_host(&batch.device()) {
        true => by_search(features.clone(), classes, centers),
        false => None,
    };
    found.unwrap_or_else(|| by_blocks(features, classes, centers, MAX_ELEMENTS))
}

/// [`nearest_others`] by the exact search. `None` if a feature or a center is not finite.
fn by_search(
    features: Tensor<2>,
    classes: &Tensor<1, Int>,
    centers: &Tensor<2>,
) -> Option<Tensor<1, Int>> {
    let [num_classes, _] = centers.dims();
    let metric = KnnMetric::Euclidean;
    let references = metric.prepare(Rows::read(centers.clone(), "centers").ok()?);
    let (order, k) = ((0..num_classes).collect(), num_classes.min(2));
    let device = centers.device();
    let search = Search::new(references, order, metric, k, DEFAULT_MAX_PAIRS, &device);
    let nearest = search.answer(features, "centers", k).ok()?;
    let classes_read = classes.clone().try_into_data().ok()?;
    let of_samples = nearest.chunks(k).zip(classes_read.iter::<i64>());
    let others: Vec<i64> = of_samples
        .map(|(nearest, class)| {
            let mut nearest = nearest.iter().map(|neighbor| neighbor.index as i64);
            nearest.find(|other| *other != class).unwrap_or(class)
        })
        .collect();
    let data = TensorData::new(others, classes.dims());
    Some(Tensor::from_data(data, (&device, classes.dtype())))
}

/// Distances and coordinate differences that exist at one time.
const MAX_ELEMENTS: usize = 1 << 22;

/// [`nearest_others`] by all distances, one block of classes after the other. A block has at most `max_elements`
/// distances and coordinate differences, or those of one class.
fn by_blocks(
    features: Tensor<2>,
    classes: &Tensor<1, Int>,
    centers: &Tensor<2>,
    max_elements: usize,
) -> Tensor<1, Int> {
    let [batch_size, feature_dim] = features.dims();
    let [num_classes, _] = centers.dims();
    let device = centers.device();
    // A distance that is not finite is none.
    let none = match centers.dtype() {
        DType::F64 => f64::MAX,
        _ => f64::from(f32::MAX),
    };
    let mut least = Tensor::<2>::full([batch_size, 1], none, (&device, centers.dtype()));
    let first_other = classes.clone().equal_elem(0).int().cast(classes.dtype());
    let mut others = first_other
        .clamp_max(num_classes as i64 - 1)
        .unsqueeze_dim::<2>(1);
    let width = (max_elements / batch_size.max(feature_dim)).max(1);
    for first in (0..num_classes).step_by(width) {
        let width = width.min(num_classes - first);
        let block = centers.clone().narrow(0, first, width);
        let distances = squared_euclidean(features.clone(), block, max_elements);
        let shape = distances.dims();
        let in_block = Tensor::<1, Int>::arange(0..width as i64, &device).cast(classes.dtype());
        let in_block = in_block.unsqueeze_dim::<2>(0);
        let own = classes
            .clone()
            .sub_scalar(first as i64)
            .unsqueeze_dim::<2>(1);
        let is_own = own.expand(shape).equal(in_block.clone().expand(shape));
        let is_other = distances
            .clone()
            .lower_equal_elem(none)
            .bool_and(is_own.bool_not());
        let distances = distances.mask_fill(is_other.bool_not(), none);
        let nearest = max_dim(distances.clone().neg(), 1).neg();
        let is_farther = distances.greater(nearest.clone().expand(shape));
        // The lowest number is the largest negative one. A block has fewer classes than `f32` can count.
        let negative = in_block.neg().float().cast(centers.dtype()).expand(shape);
        let lowest = max_dim(negative.mask_fill(is_farther, -(width as f64)), 1).neg();
        let lowest = lowest.int().cast(classes.dtype()).add_scalar(first as i64);
        let is_nearer = nearest.clone().lower(least.clone());
        others = others.mask_where(is_nearer.clone(), lowest);
        least = least.mask_where(is_nearer, nearest);
    }
    others.squeeze_dim(1)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use burn::tensor::{Device, Distribution};

    /// Points of a grid, many of which are equally near or equal.
    fn on_grid(rows: usize, feature_dim: usize) -> Tensor<2> {
        let shape = [rows, feature_dim];
        Tensor::<2>::random(shape, Distribution::Uniform(-2.0, 2.0), &Device::flex()).round()
    }

    fn numbers(classes: Tensor<1, Int>) -> Vec<i64> {
        classes.into_data().iter::<i64>().collect()
    }

    #[test]
    fn blocks_of_any_size_find_what_the_search_finds() {
        for (num_classes, feature_dim) in [(1, 2), (2, 1), (3, 2), (50, 2), (70, 10)] {
            let (features, centers) = (on_grid(20, feature_dim), on_grid(num_classes, feature_dim));
            let classes = Tensor::<1, Int>::arange(0..20, &Device::flex()) % num_classes as i64;
            // A feature on its center.
            let own = centers.clone().narrow(0, 0, 1);
            let features = features.slice_assign([0..1, 0..feature_dim], own);
            let expected = by_search(features.clone(), &classes, &centers).unwrap();
            let expected = numbers(expected);
            for max_elements in [1, 100, 1000, MAX_ELEMENTS] {
                let found = by_blocks(features.clone(), &classes, &centers, max_elements);
                assert_eq!(numbers(found), expected, "{num_classes}, {max_elements}");
            }
            for (other, class) in expected.iter().zip(numbers(classes)) {
                assert_eq!(*other == class, num_classes == 1);
            }
        }
    }

    /// A center that is not finite is nobody's nearest, unless there is no other.
    #[test]
    fn centers_that_are_not_finite_are_passed_over() {
        let device = Device::flex();
        let features = Tensor::<2>::from_data([[1.0], [1.0]], &device);
        let classes = Tensor::<1, Int>::from_data([0, 1], &device);
        for (centers, expected) in [
            ([1.0, f32::NAN, 9.0], [2, 0]),
            ([f32::INFINITY, 1.0, 9.0], [1, 2]),
            ([f32::NAN, f32::NAN, f32::INFINITY], [1, 0]),
        ] {
            let centers = Tensor::<1>::from_data(centers, &device).unsqueeze_dim::<2>(1);
            assert!(by_search(features.clone(), &classes, &centers).is_none());
            for max_elements in [1, MAX_ELEMENTS] {
                let found = by_blocks(features.clone(), &classes, &centers, max_elements);
                assert_eq!(numbers(found), expected);
            }
        }
    }
}
