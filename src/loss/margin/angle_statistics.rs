use std::f64::consts::FRAC_PI_2;
use std::fmt;

use burn::tensor::{Int, Tensor, TensorData};

use super::margin_softmax::MarginSoftmax;
use crate::batch::{Checking, LabelledBatch, Weighing, check_finite, index};
use crate::distance::unit_rows;
use crate::error::LossError;
use crate::loss::common::LossConfig;
use crate::reads::Reads;
use crate::reduce::{fusion_barrier, max_dim};
use crate::softmax::target_angles;

/// The angles between features and class vectors, for logging: they tell whether scale and margin fit.
///
/// All angles are in radians. Its display is one line, with the mean of the own angles, their 0.95 quantile in
/// parentheses, and the mean angle to the nearest other class:
///
/// ```
/// # use burn_center_loss::margin::{AngleStatistics, AngleSummary, ClosestClasses};
/// # let statistics = AngleStatistics {
/// #     own: Some(AngleSummary { mean: 0.61, quantiles: [0.3, 0.6, 0.93] }),
/// #     nearest_other: Some(AngleSummary { mean: 1.12, quantiles: [0.9, 1.1, 1.3] }),
/// #     violating_share: Some(0.41),
/// #     wrong_share: Some(0.1),
/// #     samples: 100,
/// #     closest_classes: Some(ClosestClasses { classes: (3, 8), angle: 0.55 }),
/// #     margin: Some(0.5),
/// #     largest_margin: Some(0.6283),
/// # };
/// assert_eq!(
///     statistics.to_string(),
///     "own 0.61 (0.93), other 1.12, violating 41 %, closest classes 3-8 at 0.55, margin 0.5 of at most 0.63"
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AngleStatistics {
    /// Angles of the samples to the nearest vector of their class; `None` if no sample counts.
    pub own: Option<AngleSummary>,
    /// Angles of the samples to the nearest vector of another class; `None` if no sample counts, or if there is one
    /// class.
    pub nearest_other: Option<AngleSummary>,
    /// The share of the samples that violate the margin: the cosine of their class after the margin is below the
    /// largest other cosine. The margin is that of the current step.
    pub violating_share: Option<f64>,
    /// The share of the samples that are nearer to another class than to their own.
    pub wrong_share: Option<f64>,
    /// The number of samples.
    pub samples: usize,
    /// The two closest classes, for the display. [`MarginSoftmax::closest_classes`] finds them.
    pub closest_classes: Option<ClosestClasses>,
    /// The margin at the current step, under [`ArcFace`](crate::margin::ArcFace) or
    /// [`CosFace`](crate::margin::CosFace) with one margin for all classes.
    pub margin: Option<f64>,
    /// The largest margin that features can meet: the upper bound of [`Margin::largest`](crate::Margin::largest).
    /// `None` under other margins, and if there is one class.
    pub largest_margin: Option<f64>,
}

/// Mean and quantiles of angles, in radians.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AngleSummary {
    /// The mean.
    pub mean: f64,
    /// The quantiles 0.05, 0.5 and 0.95, linear between order statistics.
    pub quantiles: [f64; 3],
}

/// The two classes whose vectors are the closest to each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClosestClasses {
    /// In ascending order.
    pub classes: (usize, usize),
    /// The angle between their closest vectors, in radians.
    pub angle: f64,
}

impl AngleSummary {
    /// `None` if there are no angles.
    fn new(mut angles: Vec<f64>) -> Option<Self> {
        let last = angles.len().checked_sub(1)?;
        angles.sort_by(f64::total_cmp);
        let quantile = |share: f64| {
            let place = share * last as f64;
            let (one, next) = (place.floor() as usize, place.ceil() as usize);
            angles[one] + (angles[next] - angles[one]) * place.fract()
        };
        Some(Self {
            mean: angles.iter().sum::<f64>() / angles.len() as f64,
            quantiles: [0.05, 0.5, 0.95].map(quantile),
        })
    }
}

impl fmt::Display for AngleStatistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.own {
            Some(AngleSummary { mean, quantiles }) => {
                write!(f, "own {mean:.2} ({:.2})", quantiles[2])?
            }
            None => write!(f, "own none")?,
        }
        if let Some(AngleSummary { mean, .. }) = self.nearest_other {
            write!(f, ", other {mean:.2}")?;
        }
        if let Some(share) = self.violating_share {
            write!(f, ", violating {:.0} %", 100.0 * share)?;
        }
        if let Some(ClosestClasses { classes, angle }) = self.closest_classes {
            write!(
                f,
                ", closest classes {}-{} at {angle:.2}",
                classes.0, classes.1
            )?;
        }
        if let (Some(margin), Some(largest)) = (self.margin, self.largest_margin) {
            write!(f, ", margin {margin} of at most {largest:.2}")?;
            if margin > largest {
                write!(f, ": not all features can meet it")?;
            }
        }
        Ok(())
    }
}

impl MarginSoftmax {
    /// Angles between the features and the class vectors, for logging. Moves nothing, and reads features and class
    /// vectors of the samples from the device.
    ///
    /// All samples count alike; ignored labels do not count. The class vectors are searched in blocks, as the loss does
    /// it. Angles are those of the loss, in `f64` where the device computes in it. A zero vector is at a right angle to
    /// everything. `closest_classes` of the answer is `None`: [`closest_classes`](Self::closest_classes) takes as many
    /// products as there are pairs of classes.
    ///
    /// A margin that not all features can meet is no error: the display says it.
    ///
    /// # Shapes
    ///
    /// - features: `[num_samples, feature_dim]`
    /// - labels: `[num_samples]`
    ///
    /// # Errors
    ///
    /// Those of [`try_forward`](Self::try_forward) under [`Checking::Strict`] for shapes, devices, labels and features,
    /// and [`LossError::Center`] for a class vector that is not finite.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_center_loss::{Margin, MarginSoftmaxConfig};
    ///
    /// let device = Device::flex();
    /// let loss = MarginSoftmaxConfig::new(2, 2)
    ///     .with_margin(Margin::arcface(0.5))
    ///     .init_with_centers(Tensor::from_data([[2.0, 0.0], [0.0, 1.0]], &device))?;
    /// let features = Tensor::from_data([[3.0, 0.0], [1.0, 1.1]], &device);
    /// let mut statistics = loss.angle_statistics(features, Tensor::from_data([0, 1], &device))?;
    /// assert_eq!((statistics.violating_share, statistics.wrong_share), (Some(0.5), Some(0.0)));
    /// // Once per epoch.
    /// statistics.closest_classes = loss.closest_classes()?;
    /// assert_eq!(
    ///     statistics.to_string(),
    ///     "own 0.37 (0.70), other 1.20, violating 50 %, closest classes 0-1 at 1.57, margin 0.5 of at most 3.14"
    /// );
    /// # Ok::<(), burn_center_loss::LossError>(())
    /// ```
    pub fn angle_statistics(
        &self,
        features: Tensor<2>,
        labels: Tensor<1, Int>,
    ) -> Result<AngleStatistics, LossError> {
        self.centers.check_present()?;
        let (config, centers) = (&*self.config, self.centers.constant());
        let rules = config.rules(Checking::Strict);
        let batch = LabelledBatch::new(features.without_autodiff(), labels);
        let mut batch = rules.check(batch, self.centers.device(), self.centers.dtype())?;
        let weights = batch.weights();
        batch.weigh(&weights, None, &Weighing::plain(), &centers)?;
        check_finite(&centers)?;
        let (features, classes) = (batch.features(), batch.classes.clone());
        let target = target_angles(&features, &centers, &classes, config.sub_centers);
        let qualities = self.qualities(&batch, &target, false);
        let qualities = qualities.map(|(qualities, _)| qualities);
        let scores = self.target_scores(&target, &classes, qualities);
        let nearest = nearest_others(features.clone(), &classes, &centers, config.sub_centers);
        let has_others = nearest.is_some();
        let nearest = nearest.unwrap_or_else(|| target.rows.clone());
        let read = Reads::from(&batch.device())
            .register(features)
            .register(centers.clone().select(0, target.rows))
            .register(centers.select(0, nearest))
            .register(scores.value)
            .register(weights)
            .execute()?;
        let columns = config.feature_dim;
        let own = angles(&read[0], &read[1], columns);
        let others = angles(&read[0], &read[2], columns);
        let counts = read[4].iter::<f64>().map(|weight| weight > 0.0);
        let counted: Vec<(f64, f64, f64)> = own
            .into_iter()
            .zip(others)
            .zip(read[3].iter::<f64>())
            .zip(counts)
            .filter_map(|(((own, other), score), counts)| counts.then_some((own, other, score)))
            .collect();
        let samples = counted.len();
        let share = |is_so: fn(&(f64, f64, f64)) -> bool| {
            let count = counted.iter().filter(|sample| is_so(sample)).count();
            (has_others && samples > 0).then_some(count as f64 / samples as f64)
        };
        let margin = config.margin.additive();
        let margin = margin.filter(|_| config.margin.class_margins().is_none());
        let largest = config.margin.largest(config.num_classes, columns);
        Ok(AngleStatistics {
            own: AngleSummary::new(counted.iter().map(|sample| sample.0).collect()),
            nearest_other: AngleSummary::new(counted.iter().map(|sample| sample.1).collect())
                .filter(|_| has_others),
            violating_share: share(|(_, other, score)| *score < other.cos()),
            wrong_share: share(|(own, other, _)| other < own),
            samples,
            closest_classes: None,
            margin: margin.map(|margin| margin * self.margin_factor()),
            largest_margin: largest.ok().flatten().map(|bounds| *bounds.end()),
        })
    }

    /// The two classes whose vectors are the closest, for logging once per epoch; `None` if there is one class. Goes
    /// through all pairs of class vectors in blocks: `num_classes^2 * feature_dim` products. Moves nothing, and reads
    /// from the device.
    ///
    /// # Errors
    ///
    /// [`LossError::Center`] for a class vector that is not finite.
    pub fn closest_classes(&self) -> Result<Option<ClosestClasses>, LossError> {
        self.centers.check_present()?;
        let (centers, sub_centers) = (self.centers.constant(), self.config.sub_centers);
        check_finite(&centers)?;
        let [count, columns] = centers.dims();
        let step = (MAX_ELEMENTS / columns).max(1);
        let mut closest: Option<ClosestClasses> = None;
        for first in (0..count).step_by(step) {
            let length = step.min(count - first);
            let rows = centers.clone().narrow(0, first, length);
            let classes = classes_of(first, length, sub_centers);
            let of_rows = index(&classes, self.centers.device());
            let nearest = nearest_others(rows.clone(), &of_rows, &centers, sub_centers);
            let Some(nearest) = nearest else {
                return Ok(None);
            };
            let read = Reads::from(self.centers.device())
                .register(rows)
                .register(centers.clone().select(0, nearest.clone()))
                .register(nearest)
                .execute()?;
            let found = angles(&read[0], &read[1], columns);
            for ((class, row), angle) in classes.into_iter().zip(read[2].iter::<i64>()).zip(found) {
                if closest.is_none_or(|closest| angle < closest.angle) {
                    let other = row as usize / sub_centers;
                    let classes = (class.min(other), class.max(other));
                    closest = Some(ClosestClasses { classes, angle });
                }
            }
        }
        Ok(closest)
    }
}

/// The number of cosines, and of elements of class vectors, that exist at one time.
const MAX_ELEMENTS: usize = 1 << 22;

/// The classes of rows of the class vectors.
fn classes_of(first: usize, length: usize, sub_centers: usize) -> Vec<usize> {
    let rows = first..first + length;
    rows.map(|row| row / sub_centers).collect()
}

/// For each row, `[rows, feature_dim]`, the row of `centers` of another class with the largest cosine; `None` if there
/// is one class. `classes`, `[rows]`, has the class of each row.
fn nearest_others(
    rows: Tensor<2>,
    classes: &Tensor<1, Int>,
    centers: &Tensor<2>,
    sub_centers: usize,
) -> Option<Tensor<1, Int>> {
    let ([length, columns], [count, _]) = (rows.dims(), centers.dims());
    if count == sub_centers {
        return None;
    }
    let units = unit_rows(rows);
    let step = (MAX_ELEMENTS / length.max(columns)).max(1);
    let mut nearest: Option<(Tensor<2>, Tensor<2, Int>)> = None;
    for first in (0..count).step_by(step) {
        let width = step.min(count - first);
        let block = unit_rows(centers.clone().narrow(0, first, width));
        let cosines = units.clone().matmul(block.transpose());
        let of_block = index(&classes_of(first, width, sub_centers), &classes.device());
        let of_block = of_block.unsqueeze_dim::<2>(0).expand([length, width]);
        let of_rows = classes
            .clone()
            .unsqueeze_dim::<2>(1)
            .expand([length, width]);
        let cosines = fusion_barrier(cosines.mask_fill(of_rows.equal(of_block), -2.0));
        let found = max_dim(cosines.clone(), 1);
        let places = cosines.argmax(1).cast(classes.dtype());
        let places = places.add_scalar(first as i64);
        nearest = Some(match nearest {
            None => (found, places),
            Some((largest, rows)) => {
                let is_nearer = found.clone().greater(largest.clone());
                (
                    largest.mask_where(is_nearer.clone(), found),
                    rows.mask_where(is_nearer, places),
                )
            }
        });
    }
    nearest.map(|(_, rows)| rows.squeeze_dim(1))
}

/// The angles between the rows of two matrices.
fn angles(one: &TensorData, other: &TensorData, columns: usize) -> Vec<f64> {
    let [one, other] = [one, other].map(|data| data.iter::<f64>().collect::<Vec<_>>());
    let pairs = one.chunks(columns).zip(other.chunks(columns));
    pairs.map(|(x, w)| angle(unit(x), unit(w))).collect()
}

/// The angle between unit vectors; a right angle if one of them does not exist.
fn angle(one: Option<Vec<f64>>, other: Option<Vec<f64>>) -> f64 {
    let (Some(u), Some(w)) = (one, other) else {
        return FRAC_PI_2;
    };
    let pairs = || u.iter().zip(&w);
    let difference = norm(pairs().map(|(u, w)| u - w));
    let sum = norm(pairs().map(|(u, w)| u + w));
    2.0 * difference.atan2(sum)
}

/// The row divided by its norm; `None` for a zero row.
fn unit(row: &[f64]) -> Option<Vec<f64>> {
    let largest = row.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
    // Divided first, so that no square overflows or vanishes.
    let scaled: Vec<f64> = row.iter().map(|x| x / largest).collect();
    let norm = norm(scaled.iter().copied());
    (largest > 0.0).then(|| scaled.iter().map(|x| x / norm).collect())
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}
