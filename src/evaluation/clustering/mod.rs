//! Clustering: do two labelings of the same samples agree?

mod adjusted_mutual_information;
mod adjusted_rand;
mod contingency;
mod mutual_information;
mod nearest_center;

pub use contingency::Contingency;
pub use nearest_center::clusters_by_nearest_center;
