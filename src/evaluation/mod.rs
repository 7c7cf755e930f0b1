#![doc = include_str!("../../docs/evaluation.md")]

mod clustering;
mod error;
mod identification;
mod input;
mod lfw;
mod open_set;
mod pairs;
mod relevance;
mod retrieval;
mod roc;
mod sweep;

pub use clustering::{Contingency, clusters_by_nearest_center};
pub use error::EvaluationError;
pub use identification::{Identification, MatedProbe, TpirAtFpir};
#[cfg(feature = "train")]
pub(crate) use input::Samples;
pub use input::label_values;
pub use lfw::{Fold, LfwAccuracy, lfw_accuracy};
pub use open_set::{
    OpenSet, OscrPoint, known_scores_by_center, known_scores_by_kth_neighbor,
    known_scores_by_rejection, threshold_for_known_share,
};
#[cfg(feature = "train")]
pub(crate) use pairs::pair_scores_of_rows;
pub use pairs::{PairScores, all_pair_scores, pair_distances, pair_scores};
#[cfg(feature = "train")]
pub(crate) use relevance::LabelsAndKeys;
pub use retrieval::{
    QueryRetrieval, Ranking, RetrievalConfig, RetrievalReport, RetrievalSet, RetrievalValues,
};
pub use roc::{BestAccuracy, DetectionCost, MinDetectionCost, RocCurve, RocPoint, TarAtFar};
