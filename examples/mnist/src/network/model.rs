//! All that is trained and recorded together.

use anyhow::{Context, Result};
use burn::module::Module;
use burn::store::ModuleRecord;

use super::lenet::LeNetPlusPlus;
use super::objective::Objective;

/// Where a [`Model`] has its center loss.
pub const CENTER_LOSS: &str = "objective.Softmax.center_loss";

/// Where a [`Model`] has the vectors of the classes that its optimizer moves, whatever its loss is.
pub const CLASS_VECTORS: [&str; 4] = [
    "objective.Softmax.class.weight",
    "objective.Distance.centers",
    "objective.Margin.centers",
    "objective.ProxyAnchor.centers",
];

/// A network that makes features of images, and what is asked of the features.
#[derive(Module, Debug)]
pub struct Model {
    pub network: LeNetPlusPlus,
    pub objective: Objective,
}

impl Model {
    /// This model with the values of `record`.
    pub fn load(self, record: ModuleRecord) -> Result<Self> {
        self.try_load_record(record)
            .context("the recorded model does not fit this run's options and data")
    }
}
