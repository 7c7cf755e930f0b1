use std::fmt;

use burn::tensor::{Int, Tensor};

use super::common::LossConfig;
use crate::batch::{Checking, LabelledBatch, Weighing, check_finite};
use crate::centers::Centers;
use crate::distance::{CenterDistance, norms, squared_euclidean, unit_rows};
use crate::error::LossError;
use crate::reads::Reads;

/// The spread of the classes and the distance between them, for logging.
///
/// All distances are those of the [`CenterDistance`] of the loss. The radius does not enter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CenterStatistics {
    /// The mean distance of the samples to the closest center of their class; `None` if no sample counts.
    pub mean_distance: Option<f64>,
    /// The smallest distance between centers of two classes, infinite if its square overflows; `None` if there
    /// is one class.
    pub min_center_distance: Option<f64>,
    /// `mean_distance / min_center_distance`: the smaller, the better nearest-center classification can be. At
    /// 1/2 and above, samples at the mean distance may lie nearer to another center. `None` if one of the two
    /// is, and if two centers are equal.
    pub ratio: Option<f64>,
    /// The number of samples that the mean is over.
    pub samples: usize,
}

impl CenterStatistics {
    fn new(distances: &[f64], min_center_distance: Option<f64>) -> Self {
        let samples = distances.len();
        // Divided before they are summed, so that the mean of finite distances is finite.
        let mean = || distances.iter().map(|d| d / samples as f64).sum();
        let mean_distance = (samples > 0).then(mean);
        let ratio = match (mean_distance, min_center_distance) {
            (Some(mean), Some(min)) if min > 0.0 => Some(mean / min),
            _ => None,
        };
        Self {
            mean_distance,
            min_center_distance,
            ratio,
            samples,
        }
    }
}

impl fmt::Display for CenterStatistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |value: Option<f64>| match value {
            Some(value) => format!("{value:.4}"),
            None => String::from("none"),
        };
        write!(
            f,
            "mean distance to the center {}, smallest distance between centers {}, ratio {}, of {} samples",
            number(self.mean_distance),
            number(self.min_center_distance),
            number(self.ratio),
            self.samples
        )
    }
}

/// The number of coordinate differences between centers that exist at one time.
const MAX_ELEMENTS: usize = 1 << 22;

/// The statistics of a batch.
pub(super) fn statistics<C: LossConfig>(
    config: &C,
    centers: &Centers,
    features: Tensor<2>,
    labels: Tensor<1, Int>,
) -> Result<CenterStatistics, LossError> {
    let batch = LabelledBatch::new(features.without_autodiff(), labels);
    let rules = config.rules(Checking::Strict);
    let mut batch = rules.check(batch, centers.device(), centers.dtype())?;
    let position = |rows: Tensor<2>| match config.distance() {
        CenterDistance::Euclidean => rows,
        CenterDistance::Cosine => unit_rows(rows),
    };
    let sub_centers = config.sub_centers();
    let (features, centers) = (position(batch.features()), centers.constant());
    let mut distances: Option<Tensor<1>> = None;
    for sub_center in 0..sub_centers {
        let rows = batch.classes.clone() * sub_centers as i64 + sub_center as i64;
        let differences = features.clone() - position(centers.clone().select(0, rows));
        let found = norms(batch.masked(differences)).squeeze_dim(1);
        distances = Some(match distances {
            Some(others) => others.min_pair(found),
            None => found,
        });
    }
    let distances = distances.expect("a class has at least one center");
    batch.weigh(&distances, None, &Weighing::plain(), &centers)?;
    let read = Reads::from(&batch.device())
        .register(distances)
        .register(batch.weights())
        .execute()?;
    let counted: Vec<f64> = read[0]
        .iter::<f64>()
        .zip(read[1].iter::<f64>())
        .filter_map(|(distance, weight)| (weight > 0.0).then_some(distance))
        .collect();
    check_finite(&centers)?;
    let min = min_center_distance(position(centers), sub_centers)?;
    Ok(CenterStatistics::new(&counted, min))
}

/// The smallest distance between two centers, `[num_classes * sub_centers, feature_dim]`, of two classes.
fn min_center_distance(centers: Tensor<2>, sub_centers: usize) -> Result<Option<f64>, LossError> {
    let [count, feature_dim] = centers.dims();
    let rows = (MAX_ELEMENTS / (count * feature_dim)).clamp(1, count);
    let mut smallest: Option<f64> = None;
    for (part, block) in centers.clone().split(rows, 0).into_iter().enumerate() {
        let squared = squared_euclidean(block, centers.clone(), MAX_ELEMENTS).try_into_data()?;
        for (i, squared) in squared.iter::<f64>().enumerate() {
            let (one, other) = (part * rows + i / count, i % count);
            let are_two = one / sub_centers != other / sub_centers;
            if are_two && smallest.is_none_or(|smallest| squared < smallest) {
                smallest = Some(squared);
            }
        }
    }
    Ok(smallest.map(f64::sqrt))
}
