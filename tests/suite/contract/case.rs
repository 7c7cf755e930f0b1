//! A loss with a configuration, and what comes of a batch.

use burn::nn::loss::Reduction;
use burn::tensor::{DType, Device, Tensor};
use burn_center_loss::{CenterDType, Checking, LabelledBatch, LossError};

use super::losses::{AnyConfig, AnyLoss, ConfigUnderTest, Settings};
use crate::devices::values;
use crate::plain::{Plain, Weighing, rows_of};
use crate::tensors::typed_matrix;

/// A configuration, and whether its losses are left as they are, one per sample.
#[derive(Debug)]
pub struct Case {
    pub config: AnyConfig,
    pub per_sample: bool,
}

impl Clone for Case {
    fn clone(&self) -> Self {
        let (config, per_sample) = (self.config.boxed(), self.per_sample);
        Self { config, per_sample }
    }
}

/// Value, both gradients, and the loss after a call.
pub struct Found {
    pub value: Vec<f64>,
    /// `[batch_size][feature_dim]`
    pub features: Vec<Vec<f64>>,
    pub of_centers: Option<Vec<f64>>,
    pub loss: AnyLoss,
}

impl Case {
    pub fn new(config: impl ConfigUnderTest + 'static) -> Self {
        let (config, per_sample): (AnyConfig, _) = (Box::new(config), false);
        Self { config, per_sample }
    }

    pub fn name(&self) -> String {
        format!("{:?}, per sample: {}", self.config, self.per_sample)
    }

    pub fn with(&self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut case = self.clone();
        change(&mut case.config.settings());
        case
    }

    pub fn checking(&self, checking: Checking) -> Self {
        self.with(|settings| *settings.checking = checking)
    }

    pub fn ignoring(&self, label: i64) -> Self {
        self.with(|settings| *settings.ignore_label = Some(label))
    }

    pub fn in_type(&self, dtype: CenterDType) -> Self {
        self.with(|settings| *settings.dtype = dtype)
    }

    /// The case with a way of weighing, if the loss has a loss per sample.
    pub fn weighed(&self, weighing: &Weighing) -> Self {
        let mut case = self.ignoring(0);
        let settings = case.config.settings();
        *settings.ignore_label = weighing.ignore_label;
        if let Some((class_balance, reduction, class_weights)) = settings.weighing {
            *class_balance = weighing.class_balance;
            *reduction = weighing.reduction.clone();
            *class_weights = weighing.class_weights.clone();
            case.per_sample = weighing.per_sample;
        }
        case
    }

    /// How the losses of the samples are weighed; `None` for a loss that has none.
    pub fn weighing(&self) -> Option<Weighing> {
        let mut config = self.config.boxed();
        let settings = config.settings();
        let (class_balance, reduction, class_weights) = settings.weighing?;
        Some(Weighing {
            class_balance: *class_balance,
            reduction: reduction.clone(),
            class_weights: class_weights.clone(),
            ignore_label: *settings.ignore_label,
            per_sample: self.per_sample,
        })
    }

    /// Whether a weight counts as so many samples: the mean over the rows knows nothing of weights.
    pub fn counts_weights(&self) -> bool {
        let is_row_mean = |weighing: Weighing| matches!(weighing.reduction, Reduction::BatchMean);
        !self.per_sample && !self.weighing().is_some_and(is_row_mean)
    }

    /// Whether nothing moves the centers.
    pub fn has_fixed_centers(&self) -> bool {
        let text = self.config.text();
        text.contains("\"Frozen\"") || text.contains("\"trained_centers\": false")
    }

    pub fn num_classes(&self) -> usize {
        *self.config.boxed().settings().num_classes
    }

    pub fn dtype(&self) -> DType {
        match *self.config.boxed().settings().dtype {
            CenterDType::F32 => DType::F32,
            CenterDType::F64 => DType::F64,
        }
    }

    pub fn init(&self, device: &Device) -> AnyLoss {
        self.config.init(device)
    }

    /// The loss with the centers of a batch.
    pub fn loss(&self, plain: &Plain, device: &Device) -> AnyLoss {
        let centers = typed_matrix(&plain.centers, self.dtype(), device);
        self.config.try_with_centers(centers).unwrap()
    }

    /// A batch of nine samples with as many centers as the case has. The last class has no sample.
    pub fn batch(&self) -> Plain {
        let (num_classes, columns) = (
            self.num_classes(),
            *self.config.boxed().settings().feature_dim,
        );
        let rows = num_classes * self.config.sub_centers();
        let mut plain = Plain::new(9, rows, columns, 11);
        for label in &mut plain.labels {
            *label %= num_classes as i64 - 1;
        }
        plain
    }

    /// The losses of the samples, or their reduction.
    pub fn forward(&self, loss: &AnyLoss, batch: LabelledBatch) -> Result<Tensor<1>, LossError> {
        match self.per_sample {
            true => loss.try_each(batch).expect("it has a loss per sample"),
            false => loss.try_forward(batch),
        }
    }

    pub fn run(&self, plain: &Plain, device: &Device) -> Found {
        self.run_with(plain, self.dtype(), device, |value| value.sum())
    }

    /// With features of a type, and more of the graph behind the value.
    pub fn run_with(
        &self,
        plain: &Plain,
        dtype: DType,
        device: &Device,
        more: impl FnOnce(Tensor<1>) -> Tensor<1>,
    ) -> Found {
        let loss = self.loss(plain, device);
        let features = typed_matrix(&plain.features, dtype, device).require_grad();
        let value = self
            .forward(&loss, plain.batch_of(features.clone()))
            .unwrap();
        let gradients = more(value.clone()).backward();
        Found {
            value: values(value),
            features: rows_of(features.grad(&gradients).unwrap()),
            of_centers: loss.of_centers(gradients),
            loss,
        }
    }
}
