//! Calibration: scores become log-likelihood ratios, whose best threshold is known for every prior and every cost.

mod cllr;
mod isotonic;
mod logistic;

pub use cllr::{cllr, min_cllr};
pub use isotonic::{IsotonicCalibration, PavBlock};
pub use logistic::LogisticCalibration;
