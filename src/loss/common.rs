//! The settings and the calls that all losses have.

use std::sync::Arc;

use burn::nn::Initializer;
use burn::tensor::{Device, Tensor};

use crate::batch::{BatchRules, CheckedBatch, Checking, LabelledBatch};
use crate::centers::{CenterDType, Centers};
use crate::distance::CenterDistance;
use crate::error::{LossError, at_least_one};

/// The manner of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// Whether centers, schedules and statistics may change, and the centers may get gradients.
    pub may_train: bool,
    /// Whether the losses of the samples become one value.
    pub is_reduced: bool,
}

impl Call {
    pub const FORWARD: Self = Self {
        may_train: true,
        is_reduced: true,
    };
    pub const NO_REDUCTION: Self = Self {
        may_train: true,
        is_reduced: false,
    };
    pub const EVALUATE: Self = Self {
        may_train: false,
        is_reduced: true,
    };
}

/// The settings that all losses have.
pub(crate) struct CommonSettings {
    pub num_classes: usize,
    pub feature_dim: usize,
    pub ignore_label: Option<i64>,
    pub dtype: CenterDType,
}

/// The configuration of a loss.
pub(crate) trait LossConfig: Clone {
    type Loss;

    /// Written by `loss_config!`.
    fn common(&self) -> CommonSettings;

    /// Checks the class weights. Written by `loss_config!`.
    fn check_class_weights(&self) -> Result<(), LossError>;

    /// Checks the settings that only this loss has.
    fn check_own(&self) -> Result<(), LossError>;

    /// The centers of a loss that is given none: drawn at their first use.
    fn start(&self, initializer: Initializer, device: &Device) -> Centers {
        let dtype = self.common().dtype.into();
        Centers::drawn(
            self.shape(),
            initializer,
            self.is_trainable(),
            dtype,
            device,
        )
    }

    /// The loss around its centers, at its first step.
    fn assemble(&self, centers: Centers) -> Self::Loss;

    /// The number of centers of a class. They follow one another.
    fn sub_centers(&self) -> usize {
        1
    }

    /// Whether an optimizer moves the centers.
    fn is_trainable(&self) -> bool {
        true
    }

    /// The distance of statistics, class means and the classifier of centers.
    fn distance(&self) -> CenterDistance {
        CenterDistance::Cosine
    }

    /// Whether the loss takes exponentials, logarithms or angles.
    fn has_functions(&self) -> bool {
        true
    }

    /// The same settings after `num_classes` has grown.
    fn extended(self) -> Self {
        self
    }

    /// The shape of the centers.
    fn shape(&self) -> [usize; 2] {
        let CommonSettings {
            num_classes,
            feature_dim,
            ..
        } = self.common();
        [num_classes * self.sub_centers(), feature_dim]
    }

    /// Checks all settings.
    fn check(&self, device: &Device) -> Result<(), LossError> {
        let common = self.common();
        at_least_one("num_classes", common.num_classes as u64)?;
        at_least_one("feature_dim", common.feature_dim as u64)?;
        at_least_one("sub_centers", self.sub_centers() as u64)?;
        self.check_class_weights()?;
        self.check_own()?;
        if self.has_functions() {
            common.dtype.check_functions(device)?;
        }
        Ok(())
    }

    /// The demands on a batch.
    fn rules(&self, checking: Checking) -> BatchRules {
        let common = self.common();
        BatchRules {
            num_classes: common.num_classes,
            feature_dim: common.feature_dim,
            ignore_label: common.ignore_label,
            checking,
        }
    }

    /// Centers that are given.
    fn given(&self, centers: Tensor<2>, shape: [usize; 2]) -> Result<Centers, LossError> {
        let dtype = self.common().dtype.into();
        Centers::given(centers, shape, self.is_trainable(), dtype)
    }
}

/// A loss with a vector, or several, for each class.
pub(crate) trait Loss {
    type Config: LossConfig;

    /// The weighed losses of a batch, `[batch_size]`, or their sum, `[1]`.
    fn value(&self, batch: LabelledBatch, call: Call) -> Result<Tensor<1>, LossError>;

    /// The loss with other centers, and with settings of another number of classes if there are any. The rest
    /// stays: rates, gradients, freezing and counts. Updates that wait for other centers of the same classes
    /// go.
    fn with_centers(self, centers: Centers, config: Option<Arc<Self::Config>>) -> Self;
}

/// The number of classes that given centers are of.
pub(crate) fn check_added<C: LossConfig>(
    config: &C,
    centers: &Tensor<2>,
) -> Result<usize, LossError> {
    let found = centers.dims();
    let [rows, _] = found;
    let (sub_centers, [_, feature_dim]) = (config.sub_centers(), config.shape());
    let new_classes = rows / sub_centers;
    if rows == new_classes * sub_centers {
        return Ok(new_classes);
    }
    Err(LossError::CentersShape {
        found,
        expected: [(new_classes + 1) * sub_centers, feature_dim],
    })
}

/// The checked batch, and the centers, on the graph if they get gradients.
pub(crate) fn check_batch(
    rules: BatchRules,
    centers: &Centers,
    batch: LabelledBatch,
    call: Call,
) -> Result<(CheckedBatch, Tensor<2>), LossError> {
    centers.check_present()?;
    let batch = rules.check(batch, centers.device(), centers.dtype())?;
    let centers = if call.may_train && batch.is_autodiff {
        centers.tracked()
    } else {
        centers.constant()
    };
    Ok((batch, centers))
}
