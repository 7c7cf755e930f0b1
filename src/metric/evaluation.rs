//! Retrieval and verification as metrics of Burn's `Learner`.

use std::sync::Arc;

use burn::tensor::{Device, ExecutionError, Int, Tensor, TensorReadError};
use burn::train::metric::{
    Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry,
    SerializedEntry, format_float,
};

use crate::evaluation::{
    EvaluationError, LabelsAndKeys, RetrievalConfig, RetrievalValues, RocCurve, Samples,
    label_values, pair_scores_of_rows,
};
use crate::neighbors::{KnnMetric, Rows, read_values};

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
/// It reads every batch back from its device. At the end of the epoch it compares the samples of all batches with each
/// other. Batches may differ in device, float type and label type. There is no value for a single batch.
///
/// # Errors
///
/// Burn's `Learner` ends the training with an error of `update` or `compute`.
///
/// `update` returns an error if the features are not as wide as those of the batch before, the labels are not one per row,
/// or the device does not hand out the values.
///
/// `compute` returns an error if the value is undefined: the epoch has no samples, no two samples with one label, or, for
/// pairs, no two samples with different labels; or a feature is not finite.
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
    higher_is_better: bool,
    max_samples: usize,
    samples: Option<GatheredSamples>,
    computed: Option<f64>,
}

/// Samples of all batches on the host.
#[derive(Clone)]
struct GatheredSamples {
    features: Vec<f64>,
    feature_dim: usize,
    labels: Vec<i128>,
    /// The device of the first batch.
    device: Device,
}

impl GatheredSamples {
    fn add(&mut self, batch: &EvaluationInput) -> Result<(), EvaluationError> {
        let [rows, feature_dim] = batch.features.dims();
        if feature_dim != self.feature_dim {
            return Err(EvaluationError::BatchWidth {
                columns: feature_dim,
                expected: self.feature_dim,
            });
        }
        let [labels] = batch.labels.dims();
        if labels != rows {
            return Err(EvaluationError::Lengths {
                name: "labels",
                length: labels,
                other: "features",
                other_length: rows,
            });
        }
        let features = read_values(batch.features.clone(), "features")?;
        self.labels.extend(label_values(batch.labels.clone())?);
        self.features.extend(features);
        Ok(())
    }
}

/// The value of an epoch.
#[derive(Clone, Copy)]
enum Value {
    Retrieval(fn(&RetrievalValues) -> f64),
    Pairs(fn(&RocCurve) -> f64),
}

impl EvaluationMetric {
    /// The number of samples that [`equal_error_rate`](Self::equal_error_rate) and [`auroc`](Self::auroc) compare, unless
    /// [`with_max_samples`](Self::with_max_samples) says otherwise.
    pub const DEFAULT_MAX_SAMPLES: usize = 2048;

    /// The share of samples whose nearest other sample has their label; higher is better.
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
        let value = Value::Pairs(RocCurve::equal_error_rate);
        Self {
            higher_is_better: false,
            ..Self::new("EER of pairs", distance, value)
        }
    }

    /// The [area under the ROC curve](crate::evaluation::RocCurve::auc) of telling pairs of one label from other pairs;
    /// higher is better.
    pub fn auroc(distance: KnnMetric) -> Self {
        Self::new("AUROC of pairs", distance, Value::Pairs(RocCurve::auc))
    }

    /// Sets how many samples [`equal_error_rate`](Self::equal_error_rate) and [`auroc`](Self::auroc) compare. The number of
    /// pairs grows with the square. Of an epoch with more samples, as many are taken at even distances. Retrieval
    /// compares all samples.
    ///
    /// # Panics
    ///
    /// Panics if `max_samples` is below 2.
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
            higher_is_better: true,
            max_samples: Self::DEFAULT_MAX_SAMPLES,
            samples: None,
            computed: None,
        }
    }

    /// The value of the epoch, as a share.
    fn of_epoch(&self) -> Result<f64, EvaluationError> {
        let Some(samples) = &self.samples else {
            return Err(EvaluationError::Empty { name: "features" });
        };
        let count = samples.labels.len();
        let shape = [count, samples.feature_dim];
        let rows = Rows::new(samples.features.clone(), shape, "features")?;
        match self.value {
            Value::Retrieval(value) => {
                let config = RetrievalConfig::new()
                    .with_metric(self.distance)
                    .with_average_precision(false);
                let samples = Samples {
                    rows,
                    names: LabelsAndKeys {
                        labels: samples.labels.clone(),
                        keys: None,
                    },
                    device: samples.device.clone(),
                };
                let report = config.evaluate_samples(samples, |_, _| ())?;
                let means = report.means();
                let queries = count;
                Ok(value(&means.ok_or(EvaluationError::NoMatch { queries })?))
            }
            Value::Pairs(value) => {
                let kept = count.min(self.max_samples);
                let kept: Vec<usize> = (0..kept)
                    .map(|at| (at as u128 * count as u128 / kept as u128) as usize)
                    .collect();
                let rows = self.distance.prepare(rows.select(&kept));
                let labels: Vec<i128> = kept.iter().map(|at| samples.labels[*at]).collect();
                let pairs = pair_scores_of_rows(&rows, &labels, self.distance)?;
                Ok(value(&RocCurve::new(&pairs.scores, &pairs.same)?))
            }
        }
    }
}

/// The error as one that Burn's `Learner` takes.
fn read_error(error: EvaluationError) -> TensorReadError {
    let reason = error.to_string();
    ExecutionError::WithContext { reason }.into()
}

impl Metric for EvaluationMetric {
    type Input = EvaluationInput;

    fn update(
        &mut self,
        batch: &EvaluationInput,
        _metadata: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        let samples = self.samples.get_or_insert_with(|| GatheredSamples {
            features: Vec::new(),
            feature_dim: batch.features.dims()[1],
            labels: Vec::new(),
            device: batch.features.device().without_autodiff(),
        });
        samples.add(batch).map_err(read_error)?;
        Ok(SerializedEntry::not_available(Some("%")))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        let percent = 100.0 * self.of_epoch().map_err(read_error)?;
        self.computed = Some(percent);
        Ok(SerializedEntry::new(
            format!("epoch {} % - batch N/A %", format_float(percent, 2)),
            NumericEntry::Final(percent).serialize(),
        ))
    }

    fn clear(&mut self) {
        self.samples = None;
        self.computed = None;
    }

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes {
            unit: Some("%".to_string()),
            higher_is_better: self.higher_is_better,
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
