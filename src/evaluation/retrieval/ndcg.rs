//! Normalized discounted cumulative gain.

use super::ranking::{check_depth, discount};
use crate::evaluation::error::EvaluationError;
use crate::evaluation::input::{check_lengths, check_values, read_scores};

/// Normalized discounted cumulative gain of references of graded relevance, at depth k.
///
/// ```text
/// DCG@k  = sum over ranks i <= k of gain(i) / log2(i + 1)
/// nDCG@k = DCG@k / the DCG@k of the references in descending order of their gains
/// ```
///
/// The references are ranked by their scores, the largest first. A tie of scores is counted as the mean over all orders
/// of the tied references, so that the order of the input changes nothing. For references that are relevant or not,
/// [`Ranking::ndcg_at`](super::Ranking::ndcg_at) takes ranks.
///
/// # Differences from the references
///
/// scikit-learn's `ndcg_score` treats ties in the same way, takes a k beyond the number of references, and gives 0 where no
/// gain is above 0. Others take `2^grade - 1` as the gain of a grade; hand in such gains for their values.
///
/// # Errors
///
/// [`EvaluationError`] if there are no scores, one is NaN, the lengths differ, a gain is not finite or below 0, all gains
/// are 0, or `k` is 0 or larger than the number of references.
///
/// # Example
///
/// ```
/// use burn_center_loss::evaluation::{EvaluationError, ndcg_at};
///
/// # fn main() -> Result<(), EvaluationError> {
/// let gains = [3.0, 0.0, 1.0];
/// assert_eq!(ndcg_at(&[0.9, 0.1, 0.5], &gains, 2)?, 1.0);
/// // Either of the first two may come first: (3 + 0) / 2 at rank 1.
/// assert_eq!(ndcg_at(&[0.9, 0.9, 0.5], &gains, 1)?, 0.5);
/// # Ok(())
/// # }
/// ```
///
/// # References
///
/// K. Järvelin, J. Kekäläinen, *Cumulated gain-based evaluation of IR techniques*, ACM Transactions on Information Systems,
/// 2002. F. McSherry, M. Najork, *Computing information retrieval performance measures efficiently in the presence of tied
/// scores*, ECIR, 2008.
pub fn ndcg_at<S: Copy + Into<f64>>(
    scores: &[S],
    gains: &[f64],
    k: usize,
) -> Result<f64, EvaluationError> {
    let scores = read_scores("scores", scores)?;
    check_lengths("scores", scores.len(), "gains", gains.len())?;
    check_depth(k, scores.len())?;
    let rule = "every gain must be finite and at least 0";
    check_values("gains", gains, |gain| gain.is_finite() && gain >= 0.0, rule)?;
    let any = gains.iter().any(|gain| *gain > 0.0);
    check_values("gains", gains, |_| any, "a gain must be above 0")?;
    // Shares of the largest gain, whose sums do not overflow.
    let largest = gains.iter().copied().fold(0.0, f64::max);
    let mut ranked: Vec<(f64, f64)> = scores
        .into_iter()
        .zip(gains.iter().map(|gain| gain / largest))
        .collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut rank = 0;
    let mut found = 0.0;
    // Zeros of either sign are neighbors and equal.
    for tied in ranked.chunk_by(|a, b| a.0 == b.0) {
        let gain = tied.iter().map(|(_, gain)| gain).sum::<f64>() / tied.len() as f64;
        let last = rank + tied.len();
        found += gain * (rank + 1..=last.min(k)).map(discount).sum::<f64>();
        rank = last;
    }
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    let ideal = (1..=k)
        .zip(&ranked)
        .map(|(rank, (_, gain))| gain * discount(rank));
    Ok(found / ideal.sum::<f64>())
}
