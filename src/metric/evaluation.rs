//! Retrieval and verification as metrics of Burn's `Learner`.

use alloc::format;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use burn::tensor::{ExecutionError, Int, Tensor, TensorReadError};
use burn::train::metric::{
    Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry,
    SerializedEntry, format_float,
};

use crate::evaluation::{
    EvaluationError, RetrievalConfig, RetrievalMeans, RetrievalSet, RocCurve, all_pair_scores,
};
use crate::neighbors::KnnMetric;

/// The features and labels of a batch, the input of an [`EvaluationMetric`].
///
/// # Shapes
///
/// - features: `[batch_size, feature_dim]`
/// - labels: `[batch_size]`
#[derive(Clone, Debug)]
pub struct EvaluationInput {
    /// The features.
    pub features: Tensor<2>,
    /// Their labels.
    pub labels: Tensor<1, Int>,
}

impl EvaluationInput {
    /// Features and their labels.
    pub fn new(features: Tensor<2>, labels: Tensor<1, Int>) -> Self {
        Self { features, labels }
    }
}

/// A metric of [`evaluation`](crate::evaluation) over the features and labels of an epoch, in percent.
///
/// It keeps the tensors of all batches until the epoch ends, outside of any autodiff graph, and computes its value then:
/// the samples of the epoch are compared with each other. There is no value for a single batch.
///
/// # Errors
///
/// `compute` returns an error, with which Burn's `Learner` ends the training, where the value is undefined: the epoch has
/// no samples, no two samples with one label, or, for pairs, no two samples with different labels; or a feature is not
/// finite.
///
/// # Example
///
/// ```
/// use burn::tensor::{Int, Tensor};
/// use burn::train::metric::{Adaptor, Metric};
/// use burn_center_loss::{EvaluationInput, EvaluationMetric, KnnMetric};
///
/// struct Output {
///     features: Tensor<2>,
///     labels: Tensor<1, Int>,
/// }
///
/// impl Adaptor<EvaluationInput> for Output {
///     fn adapt(&self) -> EvaluationInput {
///         EvaluationInput::new(self.features.clone(), self.labels.clone())
///     }
/// }
///
/// // training.metric_valid_numeric(EvaluationMetric::map_at_r(KnnMetric::Cosine))
/// assert_eq!(*EvaluationMetric::map_at_r(KnnMetric::Cosine).name(), "MAP@R [Cosine]");
/// ```
#[derive(Clone)]
pub struct EvaluationMetric {
    name: MetricName,
    distance: KnnMetric,
    value: Value,
    max_samples: usize,
    batches: Vec<EvaluationInput>,
    computed: Option<f64>,
}

/// What is computed of an epoch.
#[derive(Clone, Copy)]
enum Value {
    Retrieval(fn(&RetrievalMeans) -> f64),
    Pairs {
        value: fn(&RocCurve) -> f64,
        higher_is_better: bool,
    },
}

impl EvaluationMetric {
    /// How many samples [`equal_error_rate`](Self::equal_error_rate) and [`auroc`](Self::auroc) compare, unless
    /// [`with_max_samples`](Self::with_max_samples) says otherwise.
    pub const DEFAULT_MAX_SAMPLES: usize = 2048;

    /// How often the nearest other sample has the same label; higher is better.
    pub fn precision_at_1(distance: KnnMetric) -> Self {
        let value = Value::Retrieval(|means| means.precision_at[0]);
        Self::new("Precision@1", distance, value)
    }

    /// [R-precision](crate::evaluation::Ranking::r_precision), a mean over all samples; higher is better.
    pub fn r_precision(distance: KnnMetric) -> Self {
        let value = Value::Retrieval(|means| means.r_precision);
        Self::new("R-Precision", distance, value)
    }

    /// [MAP@R](crate::evaluation::Ranking::map_at_r), a mean over all samples; higher is better.
    pub fn map_at_r(distance: KnnMetric) -> Self {
        let value = Value::Retrieval(|means| means.map_at_r);
        Self::new("MAP@R", distance, value)
    }

    /// The [equal error rate](crate::evaluation::RocCurve::equal_error_rate) of telling pairs of one label from other
    /// pairs; lower is better.
    pub fn equal_error_rate(distance: KnnMetric) -> Self {
        let value = Value::Pairs {
            value: RocCurve::equal_error_rate,
            higher_is_better: false,
        };
        Self::new("EER of pairs", distance, value)
    }

    /// The [area under the ROC curve](crate::evaluation::RocCurve::auc) of telling pairs of one label from other pairs;
    /// higher is better.
    pub fn auroc(distance: KnnMetric) -> Self {
        let value = Value::Pairs {
            value: RocCurve::auc,
            higher_is_better: true,
        };
        Self::new("AUROC of pairs", distance, value)
    }

    /// Sets how many samples are compared where all pairs are, whose number grows with the square: of an epoch with more,
    /// as many are taken at even distances. Retrieval compares all samples.
    ///
    /// # Panics
    ///
    /// Panics where `max_samples` is below 2.
    pub fn with_max_samples(mut self, max_samples: usize) -> Self {
        assert!(
            max_samples >= 2,
            "max_samples is {max_samples}; it must be at least 2"
        );
        self.max_samples = max_samples;
        self
    }

    fn new(name: &str, distance: KnnMetric, value: Value) -> Self {
        Self {
            name: Arc::new(format!("{name} [{distance:?}]")),
            distance,
            value,
            max_samples: Self::DEFAULT_MAX_SAMPLES,
            batches: Vec::new(),
            computed: None,
        }
    }

    /// The value of the epoch, as a share.
    fn of_epoch(&self) -> Result<f64, EvaluationError> {
        if self.batches.is_empty() {
            return Err(EvaluationError::Empty { name: "features" });
        }
        let features = |batch: &EvaluationInput| batch.features.clone();
        let labels = |batch: &EvaluationInput| batch.labels.clone();
        let features = Tensor::cat(self.batches.iter().map(features).collect(), 0);
        let labels = Tensor::cat(self.batches.iter().map(labels).collect(), 0);
        match self.value {
            Value::Retrieval(value) => {
                let config = RetrievalConfig::new()
                    .with_metric(self.distance)
                    .with_average_precision(false);
                let report = config.evaluate(&RetrievalSet::new(features, labels))?;
                let means = report.means().ok_or(EvaluationError::NoMatch {
                    queries: report.queries().len(),
                })?;
                Ok(value(&means))
            }
            Value::Pairs { value, .. } => {
                let [count, _] = features.dims();
                let (features, labels) = if count > self.max_samples {
                    let kept = self.evenly_spaced(count, &labels);
                    (features.select(0, kept.clone()), labels.select(0, kept))
                } else {
                    (features, labels)
                };
                let pairs = all_pair_scores(features, labels, self.distance)?;
                Ok(value(&RocCurve::new(&pairs.scores, &pairs.same)?))
            }
        }
    }

    /// The indices of as many samples as are compared.
    fn evenly_spaced(&self, count: usize, labels: &Tensor<1, Int>) -> Tensor<1, Int> {
        let indices: Vec<i64> = (0..self.max_samples)
            .map(|place| (place as u128 * count as u128 / self.max_samples as u128) as i64)
            .collect();
        Tensor::from_data(indices.as_slice(), &labels.device())
    }
}

impl Metric for EvaluationMetric {
    type Input = EvaluationInput;

    fn update(
        &mut self,
        batch: &EvaluationInput,
        _metadata: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        self.batches.push(EvaluationInput {
            features: batch.features.clone().without_autodiff(),
            labels: batch.labels.clone().without_autodiff(),
        });
        Ok(SerializedEntry::not_available(Some("%")))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        let value = self
            .of_epoch()
            .map_err(|error| ExecutionError::WithContext {
                reason: error.to_string(),
            })?;
        let percent = 100.0 * value;
        self.computed = Some(percent);
        Ok(SerializedEntry::new(
            format!("epoch {} % - batch N/A %", format_float(percent, 2)),
            NumericEntry::Final(percent).serialize(),
        ))
    }

    fn clear(&mut self) {
        self.batches.clear();
        self.computed = None;
    }

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        let higher_is_better = match self.value {
            Value::Retrieval(_) => true,
            Value::Pairs {
                higher_is_better, ..
            } => higher_is_better,
        };
        NumericAttributes {
            unit: Some("%".to_string()),
            higher_is_better,
        }
        .into()
    }
}

impl Numeric for EvaluationMetric {
    fn value(&self) -> Option<NumericEntry> {
        None
    }

    fn running_value(&self) -> Option<NumericEntry> {
        None
    }

    fn final_value(&self) -> NumericEntry {
        let percent = self
            .computed
            .expect("final_value is asked for after compute");
        NumericEntry::Final(percent)
    }
}
