//! Metrics for Burn's `Learner`.

use std::sync::Arc;

use burn::tensor::TensorReadError;
use burn::train::metric::{
    Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry,
    SerializedEntry, format_float,
};

use crate::loss::margin::AngleStatistics;
use crate::loss::statistics::CenterStatistics;

mod evaluation;

pub use evaluation::{EvaluationInput, EvaluationMetric};

/// One of the [`CenterStatistics`] as a metric of Burn's `Learner`.
///
/// Its input is a [`CenterStatistics`]: the output of the training or inference step carries the result of
/// [`CenterLoss::statistics`](crate::CenterLoss::statistics), and adapts to it.
///
/// A batch without the value shows `N/A` and changes nothing. So does an epoch of such batches: `compute` returns an entry
/// that is not available, and `final_value` an aggregate of 0 samples.
///
/// # Example
///
/// ```
/// use burn::train::metric::{Adaptor, Numeric, Metric};
/// use burn_center_loss::{CenterMetric, CenterStatistics};
///
/// struct Output {
///     statistics: CenterStatistics,
/// }
///
/// impl Adaptor<CenterStatistics> for Output {
///     fn adapt(&self) -> CenterStatistics {
///         self.statistics
///     }
/// }
///
/// // training.metric_train_numeric(CenterMetric::mean_distance())
/// assert_eq!(*CenterMetric::mean_distance().name(), "Mean distance to center");
/// ```
pub type CenterMetric = StatisticsMetric<CenterStatistics>;

/// One of the [`AngleStatistics`] as a metric of Burn's `Learner`.
///
/// Its input is an [`AngleStatistics`]: the output of the training or inference step carries the result of
/// [`MarginSoftmax::angle_statistics`](crate::MarginSoftmax::angle_statistics), and adapts to it.
///
/// All numbers are means over the samples that count. A batch without the value shows `N/A` and changes nothing, as in
/// [`CenterMetric`].
///
/// # Example
///
/// ```
/// use burn::train::metric::{Adaptor, Metric};
/// use burn_center_loss::AngleMetric;
/// use burn_center_loss::margin::AngleStatistics;
///
/// struct Output {
///     statistics: AngleStatistics,
/// }
///
/// impl Adaptor<AngleStatistics> for Output {
///     fn adapt(&self) -> AngleStatistics {
///         self.statistics
///     }
/// }
///
/// // training.metric_train_numeric(AngleMetric::violating_share())
/// assert_eq!(*AngleMetric::violating_share().name(), "Share of samples that violate the margin");
/// ```
pub type AngleMetric = StatisticsMetric<AngleStatistics>;

/// A number of some statistics as a metric: see [`CenterMetric`] and [`AngleMetric`].
#[derive(Clone)]
pub struct StatisticsMetric<S> {
    name: MetricName,
    measured: fn(&S) -> Option<Mean>,
    higher_is_better: bool,
    batch: Option<Mean>,
    epoch: Option<Mean>,
}

/// A mean of `count` numbers, which is at least 1.
#[derive(Clone, Copy)]
struct Mean {
    value: f64,
    count: usize,
}

impl Mean {
    fn of_samples(value: Option<f64>, count: usize) -> Option<Self> {
        let value = value.filter(|_| count > 0);
        value.map(|value| Self { value, count })
    }

    fn joined(self, other: Self) -> Self {
        let count = self.count + other.count;
        let share = |part: Self| part.value * (part.count as f64 / count as f64);
        Self {
            value: share(self) + share(other),
            count,
        }
    }

    fn entry(self) -> NumericEntry {
        NumericEntry::Aggregated {
            aggregated_value: self.value,
            count: self.count,
        }
    }
}

impl CenterMetric {
    /// The mean distance of samples to the center of their class, over all samples that count; lower is better.
    pub fn mean_distance() -> Self {
        let measured = |s: &CenterStatistics| Mean::of_samples(s.mean_distance, s.samples);
        Self::new("Mean distance to center", measured, false)
    }

    /// The smallest distance between two centers, a mean over the batches; higher is better. A batch without samples that
    /// count has it too.
    pub fn min_center_distance() -> Self {
        let measured = |s: &CenterStatistics| {
            let value = s.min_center_distance;
            value.map(|value| Mean { value, count: 1 })
        };
        Self::new("Smallest distance between centers", measured, true)
    }

    /// The mean distance to the center divided by the smallest distance between centers, a mean over all samples that
    /// count; lower is better.
    pub fn ratio() -> Self {
        let measured = |s: &CenterStatistics| Mean::of_samples(s.ratio, s.samples);
        Self::new("Center distance ratio", measured, false)
    }
}

impl AngleMetric {
    /// The mean angle of samples to the vector of their class, in radians; lower is better.
    pub fn own_angle() -> Self {
        let measured = |s: &AngleStatistics| Mean::of_samples(s.own.map(|a| a.mean), s.samples);
        Self::new("Mean angle to own class vector", measured, false)
    }

    /// The mean angle of samples to the nearest vector of another class, in radians; higher is better.
    pub fn nearest_other_angle() -> Self {
        let measured =
            |s: &AngleStatistics| Mean::of_samples(s.nearest_other.map(|a| a.mean), s.samples);
        Self::new("Mean angle to nearest other class vector", measured, true)
    }

    /// The share of the samples that violate the margin; lower is better.
    pub fn violating_share() -> Self {
        let measured = |s: &AngleStatistics| Mean::of_samples(s.violating_share, s.samples);
        Self::new("Share of samples that violate the margin", measured, false)
    }

    /// The share of the samples that are nearer to another class than to their own; lower is better.
    pub fn wrong_share() -> Self {
        let measured = |s: &AngleStatistics| Mean::of_samples(s.wrong_share, s.samples);
        Self::new("Share of samples nearer to another class", measured, false)
    }
}

impl<S> StatisticsMetric<S> {
    fn new(name: &str, measured: fn(&S) -> Option<Mean>, higher_is_better: bool) -> Self {
        Self {
            name: Arc::new(name.to_string()),
            measured,
            higher_is_better,
            batch: None,
            epoch: None,
        }
    }

    /// The text that is shown, with the number that is logged, if there is one.
    fn entry(&self, logged: Option<NumericEntry>) -> SerializedEntry {
        let [epoch, batch] = [self.epoch, self.batch].map(|mean| match mean {
            Some(mean) => format_float(mean.value, 4),
            None => SerializedEntry::NOT_AVAILABLE.to_string(),
        });
        let logged = match logged {
            Some(entry) => entry.serialize(),
            None => SerializedEntry::NOT_AVAILABLE.to_string(),
        };
        SerializedEntry::new(format!("epoch {epoch} - batch {batch}"), logged)
    }
}

impl<S: Clone + Send + Sync + 'static> Metric for StatisticsMetric<S> {
    type Input = S;

    fn update(
        &mut self,
        statistics: &S,
        _metadata: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        self.batch = (self.measured)(statistics);
        if let Some(batch) = self.batch {
            self.epoch = Some(self.epoch.map_or(batch, |epoch| epoch.joined(batch)));
        }
        Ok(self.entry(self.value()))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.entry(self.epoch.map(|_| self.final_value())))
    }

    fn clear(&mut self) {
        (self.batch, self.epoch) = (None, None);
    }

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes {
            unit: None,
            higher_is_better: self.higher_is_better,
        }
        .into()
    }
}

impl<S> Numeric for StatisticsMetric<S> {
    fn value(&self) -> Option<NumericEntry> {
        self.batch.map(Mean::entry)
    }

    fn running_value(&self) -> Option<NumericEntry> {
        self.epoch.map(Mean::entry)
    }

    fn final_value(&self) -> NumericEntry {
        match self.epoch {
            Some(epoch) => NumericEntry::Final(epoch.value),
            None => NumericEntry::Aggregated {
                aggregated_value: 0.0,
                count: 0,
            },
        }
    }
}
