//! Open set: telling samples of known classes from those of unknown ones.

mod oscr;
mod rejection;
mod scores;

pub use oscr::OscrPoint;
pub use rejection::{
    known_scores_by_center, known_scores_by_kth_neighbor, threshold_for_known_share,
};
pub use scores::OpenSet;
