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

#[cfg(test)]
mod tests {
    use super::*;

    fn tally<const N: usize>(votes: KnnVotes, neighbors: &[(f64, usize)]) -> [f64; N] {
        let mut tally = [7.0; N];
        votes.tally(neighbors, &mut tally);
        tally
    }

    #[test]
    fn uniform_votes_are_counted() {
        let neighbors = [(0.0, 2), (1.0, 0), (5.0, 2)];
        assert_eq!(tally(KnnVotes::Uniform, &neighbors), [1.0, 0.0, 2.0]);
        assert_eq!(tally(KnnVotes::Uniform, &[]), [0.0]);
    }

    #[test]
    fn inverse_distances_are_relative_to_the_nearest() {
        let neighbors = [(2.0, 1), (2.0, 0), (4.0, 0), (8.0, 2)];
        let votes = tally(KnnVotes::InverseDistance, &neighbors);
        assert_eq!(votes, [1.5, 1.0, 0.25]);
    }

    #[test]
    fn at_distance_zero_no_other_neighbor_counts() {
        let neighbors = [(0.0, 1), (0.0, 0), (1e-300, 2), (f64::INFINITY, 2)];
        let votes = tally(KnnVotes::InverseDistance, &neighbors);
        assert_eq!(votes, [1.0, 1.0, 0.0]);
    }

    #[test]
    fn infinite_distances_count_only_among_themselves() {
        let infinity = f64::INFINITY;
        let votes = tally(
            KnnVotes::InverseDistance,
            &[(f64::MAX, 0), (infinity, 1), (infinity, 1)],
        );
        assert_eq!(votes, [1.0, 0.0]);
        let votes = tally(
            KnnVotes::InverseDistance,
            &[(infinity, 0), (infinity, 1), (infinity, 1)],
        );
        assert_eq!(votes, [1.0, 2.0]);
        // 1 / distance would overflow.
        let least = f64::from_bits(1);
        let votes = tally(KnnVotes::InverseDistance, &[(least, 0), (2.0 * least, 1)]);
        assert_eq!(votes, [1.0, 0.5]);
    }

    #[test]
    fn the_first_of_the_most_voted_wins() {
        assert_eq!(winner(&[0.0, 2.0, 1.0, 2.0]), 1);
        assert_eq!(winner(&[3.0, 2.0]), 0);
        assert_eq!(winner(&[0.5, 0.75]), 1);
        assert_eq!(winner(&[1.0]), 0);
    }
}
