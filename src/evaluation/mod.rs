#![doc = include_str!("../../docs/evaluation.md")]

mod clustering;
mod comparison;
mod error;
mod features;
mod identification;
mod open_set;
mod relevance;
mod retrieval;
mod scores;
mod steps;
mod verification;

pub use clustering::{Contingency, clusters_by_nearest_center};
pub use error::EvaluationError;
pub use features::label_values;
pub use identification::{Identification, MatedProbe, TpirAtFpir};
pub use open_set::{
    OpenSet, OscrPoint, known_scores_by_center, known_scores_by_kth_neighbor,
    threshold_for_known_share,
};
pub use retrieval::{
    QueryRetrieval, Ranking, RetrievalConfig, RetrievalMeans, RetrievalReport, RetrievalSet,
};
pub use verification::{
    BestAccuracy, DetectionCost, Fold, LfwAccuracy, MinDetectionCost, PairScores, RocCurve,
    RocPoint, TarAtFar, all_pair_scores, lfw_accuracy, pair_distances, pair_scores,
};
