#![doc = "Measures of features for retrieval, verification, open sets and clustering.\n"]
#![doc = include_str!("../../docs/evaluation.md")]

mod calibration;
mod clustering;
mod detection_cost;
mod error;
mod identification;
mod input;
mod lfw;
mod open_set;
mod pairs;
mod relevance;
mod retrieval;
mod roc;
mod score_norm;
mod sweep;

pub use calibration::{IsotonicCalibration, LogisticCalibration, PavBlock, cllr, min_cllr};
pub use clustering::{Contingency, clusters_by_nearest_center};
pub use detection_cost::{CostAtThreshold, DetectionCost};
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
    ndcg_at,
};
pub use roc::{BestAccuracy, RocCurve, RocPoint, TarAtFar};
pub use score_norm::{Deviation, ScoreNorm, ScoreNormConfig};
