//! Any loss of this crate, as a test sees it.

use std::fmt::Debug;

use burn::config::Config as _;
use burn::module::Module;
use burn::nn::loss::Reduction;
use burn::optim::GradientsParams;
use burn::store::ModuleRecord;
use burn::tensor::{Bytes, Device, Gradients, Int, Tensor};
use burn_center_loss::{
    CenterDType, CenterLoss, CenterLossConfig, CenterStatistics, Checking, ClassBalance,
    ContrastiveCenterLoss, ContrastiveCenterLossConfig, DistanceSoftmax, DistanceSoftmaxConfig,
    IslandLoss, IslandLossConfig, KnnError, LabelledBatch, LossError, MarginSoftmax,
    MarginSoftmaxConfig, NearestCenter, ProxyAnchor, ProxyAnchorConfig, ProxyNca, ProxyNcaConfig,
    SkippedSamples, SoftTriple, SoftTripleConfig, TripletCenterLoss, TripletCenterLossConfig,
    UpdateRule,
};

use super::changes::{Change, centers_id, changed, parameters, stepped};
use crate::devices::values;

pub type AnyLoss = Box<dyn LossUnderTest>;
pub type AnyConfig = Box<dyn ConfigUnderTest>;
type Labelled = (Tensor<2>, Tensor<1, Int>);

/// What every loss can do.
pub trait LossUnderTest: Debug {
    fn try_forward(&self, batch: LabelledBatch) -> Result<Tensor<1>, LossError>;
    /// `None` for a loss that has no loss per sample.
    fn try_each(&self, batch: LabelledBatch) -> Option<Result<Tensor<1>, LossError>>;
    fn try_evaluate(&self, batch: LabelledBatch) -> Result<Tensor<1>, LossError>;
    fn forward(&self, features: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1>;
    fn evaluate(&self, features: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1>;
    fn take_skipped(&self) -> Result<SkippedSamples, LossError>;
    fn centers(&self) -> Tensor<2>;
    /// `[num_classes, feature_dim]`
    fn shape(&self) -> [usize; 2];
    fn init_from_data(&self, batches: Vec<Labelled>) -> Result<AnyLoss, LossError>;
    fn extend_classes(&self, centers: Tensor<2>) -> Result<AnyLoss, LossError>;
    fn statistics(&self, batch: Labelled) -> Result<CenterStatistics, LossError>;
    fn nearest_center(&self) -> Result<NearestCenter, KnnError>;
    /// The same loss after something that Burn does to modules.
    fn changed(&self, change: Change) -> AnyLoss;
    fn record(&self) -> Bytes;
    fn loaded(&self, record: Bytes) -> AnyLoss;
    /// All numbers of the record, bit by bit.
    fn state(&self) -> Vec<Vec<u8>>;
    /// The gradient of the centers, if they receive one.
    fn of_centers(&self, gradients: Gradients) -> Option<Vec<f64>>;
    /// The loss after a step of plain gradient descent.
    fn stepped(&self, value: &Tensor<1>, rate: f64) -> AnyLoss;
    /// The number of updates that waited, of a loss that has any.
    fn apply_pending(&self) -> usize;
}

/// What every configuration can do.
pub trait ConfigUnderTest: Debug {
    fn try_init(&self, device: &Device) -> Result<AnyLoss, LossError>;
    fn init(&self, device: &Device) -> AnyLoss;
    fn try_with_centers(&self, centers: Tensor<2>) -> Result<AnyLoss, LossError>;
    fn settings(&mut self) -> Settings<'_>;
    fn boxed(&self) -> AnyConfig;
    fn text(&self) -> String;
    /// The configuration that is read from its JSON.
    fn reread(&self) -> String;
    fn sub_centers(&self) -> usize;
    /// Whether the loss moves its centers itself.
    fn moves_centers(&self) -> bool;
    /// Tolerance of values in `f64`.
    fn tolerance(&self) -> f64;
}

/// The settings that losses have alike.
pub struct Settings<'a> {
    pub num_classes: &'a mut usize,
    pub feature_dim: &'a mut usize,
    pub ignore_label: &'a mut Option<i64>,
    pub dtype: &'a mut CenterDType,
    pub checking: &'a mut Checking,
    /// Of losses that have one loss per sample.
    pub weighing: Option<(
        &'a mut ClassBalance,
        &'a mut Reduction,
        &'a mut Option<Vec<f64>>,
    )>,
}

macro_rules! under_test {
    ($loss:ty, $config:ty {
        each: $each:expr,
        pending: $pending:expr,
        settings: $settings:expr,
        sub_centers: $sub_centers:expr,
        moves: $moves:expr,
        tolerance: $tolerance:expr,
    }) => {
        impl LossUnderTest for $loss {
            fn try_forward(&self, batch: LabelledBatch) -> Result<Tensor<1>, LossError> {
                <$loss>::try_forward(self, batch)
            }
            fn try_each(&self, batch: LabelledBatch) -> Option<Result<Tensor<1>, LossError>> {
                $each(self, batch)
            }
            fn try_evaluate(&self, batch: LabelledBatch) -> Result<Tensor<1>, LossError> {
                <$loss>::try_evaluate(self, batch)
            }
            fn forward(&self, features: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
                <$loss>::forward(self, features, labels)
            }
            fn evaluate(&self, features: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
                <$loss>::evaluate(self, features, labels)
            }
            fn take_skipped(&self) -> Result<SkippedSamples, LossError> {
                <$loss>::take_skipped(self)
            }
            fn centers(&self) -> Tensor<2> {
                <$loss>::centers(self)
            }
            fn shape(&self) -> [usize; 2] {
                let (config, shape) = (self.config(), [self.num_classes(), self.feature_dim()]);
                assert_eq!([config.num_classes, config.feature_dim], shape);
                shape
            }
            fn init_from_data(&self, batches: Vec<Labelled>) -> Result<AnyLoss, LossError> {
                Ok(Box::new(<$loss>::init_from_data(self, batches)?))
            }
            fn extend_classes(&self, centers: Tensor<2>) -> Result<AnyLoss, LossError> {
                Ok(Box::new(<$loss>::extend_classes(self, centers)?))
            }
            fn statistics(
                &self,
                (features, labels): Labelled,
            ) -> Result<CenterStatistics, LossError> {
                <$loss>::statistics(self, features, labels)
            }
            fn nearest_center(&self) -> Result<NearestCenter, KnnError> {
                <$loss>::nearest_center(self)
            }
            fn changed(&self, change: Change) -> AnyLoss {
                Box::new(changed(self.clone(), change))
            }
            fn record(&self) -> Bytes {
                self.clone().into_record().into_bytes().unwrap()
            }
            fn loaded(&self, record: Bytes) -> AnyLoss {
                let record = ModuleRecord::from_bytes(record).unwrap();
                Box::new(self.clone().load_record(record))
            }
            fn state(&self) -> Vec<Vec<u8>> {
                parameters(self).bytes
            }
            fn of_centers(&self, gradients: Gradients) -> Option<Vec<f64>> {
                let gradients = GradientsParams::from_grads(gradients, self);
                gradients.get::<2>(centers_id(self)).map(values)
            }
            fn stepped(&self, value: &Tensor<1>, rate: f64) -> AnyLoss {
                Box::new(stepped(self.clone(), value, rate))
            }
            fn apply_pending(&self) -> usize {
                $pending(self)
            }
        }

        impl ConfigUnderTest for $config {
            fn try_init(&self, device: &Device) -> Result<AnyLoss, LossError> {
                Ok(Box::new(<$config>::try_init(self, device)?))
            }
            fn init(&self, device: &Device) -> AnyLoss {
                Box::new(<$config>::init(self, device))
            }
            fn try_with_centers(&self, centers: Tensor<2>) -> Result<AnyLoss, LossError> {
                Ok(Box::new(self.init_with_centers(centers)?))
            }
            fn settings(&mut self) -> Settings<'_> {
                let settings: fn(&mut Self) -> Settings<'_> = $settings;
                settings(self)
            }
            fn boxed(&self) -> AnyConfig {
                Box::new(self.clone())
            }
            fn text(&self) -> String {
                self.to_string()
            }
            fn reread(&self) -> String {
                let json = self.to_string();
                <$config>::load_binary(json.as_bytes()).unwrap().to_string()
            }
            fn sub_centers(&self) -> usize {
                let sub_centers: fn(&Self) -> usize = $sub_centers;
                sub_centers(self)
            }
            fn moves_centers(&self) -> bool {
                let moves: fn(&Self) -> bool = $moves;
                moves(self)
            }
            fn tolerance(&self) -> f64 {
                $tolerance
            }
        }
    };
}

macro_rules! settings {
    ($($weighing:ident)?) => {
        |config| Settings {
            num_classes: &mut config.num_classes,
            feature_dim: &mut config.feature_dim,
            ignore_label: &mut config.ignore_label,
            dtype: &mut config.dtype,
            checking: &mut config.checking,
            weighing: settings!(@ config $($weighing)?),
        }
    };
    (@ $config:ident weighed) => {
        Some((&mut $config.class_balance, &mut $config.reduction, &mut $config.class_weights))
    };
    (@ $config:ident) => { None };
}

under_test!(
    CenterLoss,
    CenterLossConfig {
        each: |loss: &CenterLoss, batch| Some(loss.try_forward_no_reduction(batch)),
        pending: |loss: &CenterLoss| loss.apply_pending().unwrap(),
        settings: settings!(weighed),
        sub_centers: |_| 1,
        moves: |config| matches!(config.update_rule, UpdateRule::Direct(_)),
        tolerance: 1e-12,
    }
);
under_test!(
    MarginSoftmax,
    MarginSoftmaxConfig {
        each: |loss: &MarginSoftmax, batch| Some(loss.try_forward_no_reduction(batch)),
        pending: |_| 0,
        settings: settings!(weighed),
        sub_centers: |config| config.sub_centers,
        moves: |_| false,
        tolerance: 1e-11,
    }
);
under_test!(
    DistanceSoftmax,
    DistanceSoftmaxConfig {
        each: |loss: &DistanceSoftmax, batch| Some(loss.try_forward_no_reduction(batch)),
        pending: |_| 0,
        settings: settings!(weighed),
        sub_centers: |config| config.sub_centers,
        moves: |_| false,
        tolerance: 1e-11,
    }
);
under_test!(
    ProxyAnchor,
    ProxyAnchorConfig {
        each: |_, _| None,
        pending: |_| 0,
        settings: settings!(),
        sub_centers: |_| 1,
        moves: |_| false,
        tolerance: 1e-11,
    }
);
under_test!(
    ProxyNca,
    ProxyNcaConfig {
        each: |loss: &ProxyNca, batch| Some(loss.try_forward_no_reduction(batch)),
        pending: |_| 0,
        settings: settings!(weighed),
        sub_centers: |_| 1,
        moves: |_| false,
        tolerance: 1e-11,
    }
);
under_test!(
    SoftTriple,
    SoftTripleConfig {
        each: |loss: &SoftTriple, batch| Some(loss.try_forward_no_reduction(batch)),
        pending: |_| 0,
        settings: settings!(weighed),
        sub_centers: |config| config.sub_centers,
        moves: |_| false,
        tolerance: 1e-11,
    }
);
under_test!(
    ContrastiveCenterLoss,
    ContrastiveCenterLossConfig {
        each: |loss: &ContrastiveCenterLoss, batch| Some(loss.try_forward_no_reduction(batch)),
        pending: |_| 0,
        settings: settings!(weighed),
        sub_centers: |_| 1,
        moves: |_| false,
        tolerance: 1e-12,
    }
);
under_test!(
    TripletCenterLoss,
    TripletCenterLossConfig {
        each: |loss: &TripletCenterLoss, batch| Some(loss.try_forward_no_reduction(batch)),
        pending: |_| 0,
        settings: settings!(weighed),
        sub_centers: |_| 1,
        moves: |_| false,
        tolerance: 1e-12,
    }
);
under_test!(
    IslandLoss,
    IslandLossConfig {
        each: |loss: &IslandLoss, batch| Some(loss.try_forward_no_reduction(batch)),
        pending: |_| 0,
        settings: settings!(weighed),
        sub_centers: |_| 1,
        moves: |_| false,
        tolerance: 1e-12,
    }
);
