//! Metrics for Burn's `Learner`.

use alloc::string::ToString;
use alloc::sync::Arc;
use burn::tensor::TensorReadError;
use burn::train::metric::state::{FormatOptions, NumericMetricState};
use burn::train::metric::{
    Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry,
    SerializedEntry,
};

use crate::CenterStatistics;

mod evaluation;

pub use evaluation::{EvaluationInput, EvaluationMetric};

/// One of the [`CenterStatistics`] as a metric of Burn's `Learner`, averaged over the samples.
///
/// Its input is a [`CenterStatistics`]: the output of the training or inference step carries what
/// [`CenterLoss::statistics`](crate::CenterLoss::statistics) returned, and adapts to it.
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
#[derive(Clone)]
pub struct CenterMetric {
    name: MetricName,
    value: fn(&CenterStatistics) -> Option<f64>,
    higher_is_better: bool,
    state: NumericMetricState,
}

impl CenterMetric {
    /// The mean distance of samples to the center of their class; lower is better.
    pub fn mean_distance() -> Self {
        Self::new("Mean distance to center", |s| s.mean_distance, false)
    }

    /// The smallest distance between two centers; higher is better.
    pub fn min_center_distance() -> Self {
        Self::new(
            "Smallest distance between centers",
            |s| s.min_center_distance,
            true,
        )
    }

    /// The former divided by the latter; lower is better.
    pub fn ratio() -> Self {
        Self::new("Center distance ratio", |s| s.ratio, false)
    }

    fn new(
        name: &str,
        value: fn(&CenterStatistics) -> Option<f64>,
        higher_is_better: bool,
    ) -> Self {
        Self {
            name: Arc::new(name.to_string()),
            value,
            higher_is_better,
            state: NumericMetricState::default(),
        }
    }

    fn format(&self) -> FormatOptions {
        FormatOptions::new(self.name()).precision(4)
    }
}

impl Metric for CenterMetric {
    type Input = CenterStatistics;

    fn update(
        &mut self,
        statistics: &CenterStatistics,
        _metadata: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        // A batch without the value changes nothing.
        if let Some(value) = (self.value)(statistics) {
            self.state.update(value, statistics.samples);
        }
        Ok(self.state.compute_update(self.format()))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.state.compute_final(self.format()))
    }

    fn clear(&mut self) {
        self.state.reset();
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

impl Numeric for CenterMetric {
    fn value(&self) -> Option<NumericEntry> {
        Some(self.state.current_value())
    }

    fn running_value(&self) -> Option<NumericEntry> {
        Some(self.state.running_value())
    }

    fn final_value(&self) -> NumericEntry {
        self.state.final_value()
    }
}
