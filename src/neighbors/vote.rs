//! How the labels of the neighbors become one.

use burn::config::Config;

/// The weight of a neighbor's vote in a [`KnnClassifier`](super::KnnClassifier).
///
/// ```text
/// Uniform          1
/// InverseDistance  1 / distance; if any neighbor's distance is 0, 1 for those at 0 and 0 for the others
/// ```
///
/// The distance is the one that the [metric](super::KnnMetric) reports, so under `SquaredEuclidean` the weight is one
/// over the squared distance.
#[derive(Config, Copy, Debug, PartialEq, Eq)]
pub enum KnnVotes {
    /// Every neighbor counts the same.
    Uniform,
    /// Near neighbors count more.
    InverseDistance,
}

impl KnnVotes {
    /// Adds up the votes of one query's neighbors, nearest first, each a distance and the index of its class.
    ///
    /// The weights are relative to the nearest neighbor's, which no distance can overflow and which is the rule for
    /// zero distances as it stands: zero over anything else is zero.
    pub(crate) fn tally(self, neighbors: &[(f64, usize)], votes: &mut [f64]) {
        votes.fill(0.0);
        let nearest = neighbors.first().map_or(0.0, |(distance, _)| *distance);
        for &(distance, class) in neighbors {
            votes[class] += match self {
                Self::InverseDistance if distance != nearest => nearest / distance,
                _ => 1.0,
            };
        }
    }
}

/// The class with the most votes, of several the first.
pub(crate) fn winner(votes: &[f64]) -> usize {
    let mut winner = 0;
    for (class, vote) in votes.iter().enumerate() {
        if *vote > votes[winner] {
            winner = class;
        }
    }
    winner
}
