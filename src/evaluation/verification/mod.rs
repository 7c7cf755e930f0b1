//! Verification: are two samples of the same class?

mod auc;
mod average_precision;
mod best_accuracy;
mod detection_cost;
mod eer;
mod lfw;
mod pairs;
mod roc;
mod tar_at_far;

pub use best_accuracy::BestAccuracy;
pub use detection_cost::{DetectionCost, MinDetectionCost};
pub use lfw::{Fold, LfwAccuracy, lfw_accuracy};
pub use pairs::{PairScores, all_pair_scores, pair_distances, pair_scores};
pub use roc::{RocCurve, RocPoint};
pub use tar_at_far::TarAtFar;
