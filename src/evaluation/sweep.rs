//! Counts of the accepted scores of two groups at every threshold.
//!
//! A score is accepted if it is at least the threshold. Equal scores are therefore accepted together, and only the
//! distinct scores, and one threshold above all of them, make a difference.

/// Accepted scores at one threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Step {
    threshold: f64,
    /// Accepted scores of the first group.
    pub(crate) positives: usize,
    /// Accepted scores of the second group.
    pub(crate) negatives: usize,
}

/// One step for each distinct score, from the strictest threshold to the most lenient, after a step that accepts
/// nothing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ThresholdSweep(Vec<Step>);

impl ThresholdSweep {
    /// Takes scores without NaN.
    pub(crate) fn new(positives: Vec<f64>, negatives: Vec<f64>) -> Self {
        let positives = sorted_keys(positives);
        let negatives = sorted_keys(negatives);
        let mut steps = Vec::with_capacity(positives.len() + negatives.len() + 1);
        let mut accepted = Step {
            threshold: f64::INFINITY,
            positives: 0,
            negatives: 0,
        };
        steps.push(accepted);
        // Both lists are read from their largest score down.
        let (mut left_of_positives, mut left_of_negatives) = (&positives[..], &negatives[..]);
        while let Some(key) = left_of_positives
            .last()
            .max(left_of_negatives.last())
            .copied()
        {
            accepted.positives += take_equal(&mut left_of_positives, key);
            accepted.negatives += take_equal(&mut left_of_negatives, key);
            accepted.threshold = score_of_key(key);
            steps.push(accepted);
        }
        Self(steps)
    }

    pub(crate) fn as_slice(&self) -> &[Step] {
        &self.0
    }

    /// The corners of the concave hull of accepted positives over accepted negatives, as numbers of steps, from the first
    /// to the last. From one part between two corners to the next the share of positives falls strictly.
    ///
    /// The parts are the blocks that the pool adjacent violators algorithm leaves.
    pub(crate) fn hull(&self) -> Vec<usize> {
        let mut corners = vec![0];
        for step in 1..self.0.len() {
            while let [.., before, corner] = corners[..]
                && !self.falls(before, corner, step)
            {
                corners.pop();
            }
            corners.push(step);
        }
        corners
    }

    /// Whether the share of positives is larger between the first two of three steps than between the last two.
    fn falls(&self, first: usize, middle: usize, last: usize) -> bool {
        let [first, middle, last] = [first, middle, last].map(|step| self.0[step]);
        let added = |from: Step, to: Step| {
            let [positives, negatives] =
                [to.positives - from.positives, to.negatives - from.negatives];
            (positives as u128, negatives as u128)
        };
        let (before, after) = (added(first, middle), added(middle, last));
        before.0 * after.1 > after.0 * before.1
    }

    /// The most lenient step whose threshold is at least `threshold`, which is not NaN.
    pub(crate) fn step_at(&self, threshold: f64) -> usize {
        // The first step accepts nothing, at any threshold.
        let steps = &self.0[1..];
        steps.partition_point(|step| step.threshold >= threshold)
    }

    /// The threshold of a step; `None` for the first one, which accepts nothing.
    pub(crate) fn threshold(&self, step: usize) -> Option<f64> {
        (step > 0).then(|| self.0[step].threshold)
    }

    /// The step that accepts the most of the first group while at most the share `limit` of the second group's `total`
    /// is accepted; the strictest one of those that accept as many.
    pub(crate) fn most_positives_within(&self, limit: f64, total: usize) -> usize {
        let within = self
            .0
            .partition_point(|step| step.negatives as f64 / total as f64 <= limit);
        // The first step accepts nothing and is always within the limit.
        let most = self.0[within - 1].positives;
        self.0.partition_point(|step| step.positives < most)
    }

    /// The strictest step that accepts at least the share `share` of the first group's `total`.
    pub(crate) fn first_with_positives(&self, share: f64, total: usize) -> usize {
        self.0
            .partition_point(|step| (step.positives as f64 / total as f64) < share)
    }

    /// Twice the number of pairs of a score of the first group and one of the second in which the first is larger, equal
    /// scores counting one half: twice the area under the steps by trapezoids, in counts.
    pub(crate) fn twice_pairs_in_order(&self) -> u128 {
        self.0
            .windows(2)
            .map(|pair| {
                let negatives = pair[1].negatives - pair[0].negatives;
                negatives as u128 * (pair[0].positives + pair[1].positives) as u128
            })
            .sum()
    }
}

/// Removes the entries equal to `key` from the end of an ascending list and says how many there were.
fn take_equal(keys: &mut &[u64], key: u64) -> usize {
    let rest = keys.iter().rposition(|other| *other != key);
    let kept = rest.map_or(0, |last| last + 1);
    let taken = keys.len() - kept;
    *keys = &keys[..kept];
    taken
}

/// The scores in ascending order as integers that order as they do, which sort faster. Both zeros become one key.
fn sorted_keys(scores: Vec<f64>) -> Vec<u64> {
    let mut keys: Vec<u64> = scores.into_iter().map(key_of_score).collect();
    keys.sort_unstable();
    keys
}

const SIGN: u64 = 1 << 63;

fn key_of_score(score: f64) -> u64 {
    // The addition turns -0 into +0.
    let bits = (score + 0.0).to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

fn score_of_key(key: u64) -> f64 {
    f64::from_bits(if key & SIGN == 0 { !key } else { key & !SIGN })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_the_order_and_the_value_of_scores() {
        let scores = [
            f64::NEG_INFINITY,
            f64::MIN,
            -1.5,
            -f64::MIN_POSITIVE,
            0.0,
            5e-324,
            1.0,
            f64::MAX,
            f64::INFINITY,
        ];
        for pair in scores.windows(2) {
            assert!(key_of_score(pair[0]) < key_of_score(pair[1]), "{pair:?}");
        }
        for score in scores {
            assert_eq!(score_of_key(key_of_score(score)), score);
        }
        assert_eq!(key_of_score(-0.0), key_of_score(0.0));
    }

    #[test]
    fn equal_scores_are_accepted_together() {
        let sweep = ThresholdSweep::new(vec![1.0, 0.0, 2.0], vec![-0.0, 1.0, 1.0]);
        let counts: Vec<_> = sweep
            .as_slice()
            .iter()
            .map(|step| (step.positives, step.negatives))
            .collect();
        assert_eq!(counts, [(0, 0), (1, 0), (2, 2), (3, 3)]);
        let thresholds: Vec<_> = (0..4).map(|step| sweep.threshold(step)).collect();
        assert_eq!(thresholds, [None, Some(2.0), Some(1.0), Some(0.0)]);
    }
}
