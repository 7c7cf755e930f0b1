//! Compares queries with every reference, a few queries at a time.

use crate::neighbors::{KnnMetric, Rows, is_zero};
use crate::parts::{for_each_part, threads};
use crate::simd::{Loops, vectorized};
use alloc::vec;
use alloc::vec::Vec;

/// Bytes of the ranks that all threads together hold at one time, unless few queries need more.
const RANK_BYTES: usize = 32 << 20;

/// The most queries that are compared with the references in one pass over them.
const MAX_QUERIES_AT_ONCE: usize = 32;

/// The least number of queries that are compared with the references in one pass.
const MIN_QUERIES_AT_ONCE: usize = 4;

/// References that lie column by column in the cache while all queries of a pass are compared with them.
const REFERENCES_IN_TILE: usize = 64;

/// Columns that are added to a sum each time it is read. Rows are filled up to a multiple with zeros, whose terms are
/// zero: adding zero changes no sum.
const COLUMNS_AT_ONCE: usize = 4;

/// Queries that one thread answers before progress is reported.
const QUERIES_IN_PART: usize = 128;

/// References that every query is compared with.
///
/// Ranks are those of [`KnnMetric::rank`] bit for bit: the smaller, the nearer.
pub(crate) struct Comparison<'a> {
    metric: KnnMetric,
    references: &'a Rows,
    /// Whether a reference has no direction; empty where directions aren't compared.
    zero_references: Vec<bool>,
}

impl<'a> Comparison<'a> {
    /// Takes rows that `metric` has prepared.
    pub(crate) fn new(references: &'a Rows, metric: KnnMetric) -> Self {
        Self {
            metric,
            references,
            zero_references: if metric == KnnMetric::Cosine {
                references.iter().map(is_zero).collect()
            } else {
                Vec::new()
            },
        }
    }

    /// Calls `answer` for each of these queries with its number and its ranks of all references, on all threads, and
    /// `progress` with how many of the queries are answered.
    ///
    /// `scratch` makes memory that one thread uses for several queries in turn.
    pub(crate) fn answers<T: Send, S>(
        &self,
        queries: &Rows,
        numbers: &[usize],
        scratch: impl Fn() -> S + Send + Sync,
        answer: impl Fn(&mut S, usize, &[f64]) -> T + Send + Sync,
        progress: &mut dyn FnMut(usize),
    ) -> Vec<T> {
        let count = self.references.len();
        let at_once = RANK_BYTES / (threads() * count * size_of::<f64>());
        let at_once = at_once.clamp(MIN_QUERIES_AT_ONCE, MAX_QUERIES_AT_ONCE);
        let mut answers: Vec<Option<T>> = numbers.iter().map(|_| None).collect();
        let mut done = 0;
        for answers in answers.chunks_mut(threads() * QUERIES_IN_PART) {
            let numbers = &numbers[done..done + answers.len()];
            for_each_part(answers, QUERIES_IN_PART, |first, part| {
                let numbers = &numbers[first..first + part.len()];
                let mut scratch = scratch();
                let mut ranks = vec![0.0; at_once.min(part.len()) * count];
                for (part, numbers) in part.chunks_mut(at_once).zip(numbers.chunks(at_once)) {
                    let ranks = &mut ranks[..numbers.len() * count];
                    self.ranks(queries, numbers, ranks);
                    let ranks = ranks.chunks_exact(count);
                    for ((answer_of, number), ranks) in part.iter_mut().zip(numbers).zip(ranks) {
                        *answer_of = Some(answer(&mut scratch, *number, ranks));
                    }
                }
            });
            done += answers.len();
            progress(done);
        }
        answers.into_iter().flatten().collect()
    }

    /// The ranks of all references for each of these queries in turn.
    fn ranks(&self, queries: &Rows, numbers: &[usize], ranks: &mut [f64]) {
        let inner = self.metric == KnnMetric::InnerProduct;
        vectorized(Sums {
            queries,
            numbers,
            references: self.references,
            inner,
            sums: ranks,
        });
        for (number, ranks) in numbers
            .iter()
            .zip(ranks.chunks_exact_mut(self.references.len()))
        {
            let query = queries.row(*number);
            match self.metric {
                KnnMetric::InnerProduct => {
                    for (index, rank) in ranks.iter_mut().enumerate() {
                        *rank = if rank.is_finite() {
                            0.0 - *rank
                        } else {
                            self.metric.rank(query, self.references.row(index))
                        };
                    }
                }
                KnnMetric::Cosine => {
                    let zero_query = is_zero(query);
                    for (rank, zero_reference) in ranks.iter_mut().zip(&self.zero_references) {
                        *rank = if zero_query || *zero_reference {
                            KnnMetric::RANK_WITHOUT_DIRECTION
                        } else {
                            self.metric.rank_of_squared(*rank)
                        };
                    }
                }
                KnnMetric::SquaredEuclidean | KnnMetric::Euclidean => {
                    for rank in ranks {
                        *rank = self.metric.rank_of_squared(*rank);
                    }
                }
            }
        }
    }
}

/// The sums of squared differences, or of products, of all pairs of a query and a reference.
struct Sums<'a> {
    queries: &'a Rows,
    numbers: &'a [usize],
    references: &'a Rows,
    /// Whether products are summed.
    inner: bool,
    /// The sums of each query with all references in turn.
    sums: &'a mut [f64],
}

impl Loops for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        if self.inner {
            self.fill(|x, y| x * y);
        } else {
            self.fill(|x, y| (x - y) * (x - y));
        }
    }
}

impl Sums<'_> {
    #[inline(always)]
    fn fill(self, term: impl Fn(f64, f64) -> f64) {
        let [count, columns] = self.references.shape();
        let padded = columns.next_multiple_of(COLUMNS_AT_ONCE);
        let queries: Vec<f64> = self
            .numbers
            .iter()
            .flat_map(|number| {
                let row = self.queries.row(*number).iter().copied();
                row.chain(core::iter::repeat_n(0.0, padded - columns))
            })
            .collect();
        let mut tile = vec![0.0; padded * REFERENCES_IN_TILE];
        for start in (0..count).step_by(REFERENCES_IN_TILE) {
            let filled = REFERENCES_IN_TILE.min(count - start);
            for at in 0..filled {
                let places = tile[at..].iter_mut().step_by(REFERENCES_IN_TILE);
                for (place, value) in places.zip(self.references.row(start + at)) {
                    *place = *value;
                }
            }
            let sums = self.sums.chunks_exact_mut(count);
            for (query, sums) in queries.chunks_exact(padded).zip(sums) {
                let sums = &mut sums[start..start + filled];
                sums.fill(0.0);
                let columns = tile.chunks_exact(COLUMNS_AT_ONCE * REFERENCES_IN_TILE);
                for (x, columns) in query.chunks_exact(COLUMNS_AT_ONCE).zip(columns) {
                    let column = |at: usize| &columns[at * REFERENCES_IN_TILE..][..filled];
                    let [a, b, c, d] = [column(0), column(1), column(2), column(3)];
                    for at in 0..filled {
                        let mut sum = sums[at];
                        sum += term(x[0], a[at]);
                        sum += term(x[1], b[at]);
                        sum += term(x[2], c[at]);
                        sum += term(x[3], d[at]);
                        sums[at] = sum;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Zeros, equal rows and rows whose squares or products overflow are among them.
        #[test]
        fn ranks_are_those_of_the_metric_to_the_bit(
            columns in 1_usize..20,
            values in prop::collection::vec(
                prop_oneof![Just(0.0), -2.0..2.0, Just(1e200), Just(-1e200)],
                600,
            ),
            count in 1_usize..20,
        ) {
            let rows = |values: &[f64]| {
                let whole = values.len() / columns * columns;
                Rows::from_values(values[..whole].to_vec(), columns)
            };
            for metric in KnnMetric::ALL {
                let references = metric.prepare(rows(&values[..values.len() / 2]));
                let queries = metric.prepare(rows(&values[values.len() / 2..]));
                let numbers: Vec<usize> = (0..count).map(|at| at * 7 % queries.len()).collect();
                let answers = Comparison::new(&references, metric).answers(
                    &queries,
                    &numbers,
                    || (),
                    |(), number, ranks| (number, ranks.to_vec()),
                    &mut |_| (),
                );
                prop_assert_eq!(answers.len(), numbers.len());
                for ((number, ranks), expected) in answers.into_iter().zip(&numbers) {
                    prop_assert_eq!(number, *expected);
                    for (rank, reference) in ranks.iter().zip(references.iter()) {
                        let expected = metric.rank(queries.row(number), reference);
                        prop_assert_eq!(rank.to_bits(), expected.to_bits());
                    }
                }
            }
        }
    }

    #[test]
    fn progress_ends_at_the_number_of_queries() {
        let rows = Rows::from_values((0..1000).map(f64::from).collect(), 1);
        let numbers: Vec<usize> = (0..1000).collect();
        let mut reported = Vec::new();
        Comparison::new(&rows, KnnMetric::Euclidean).answers(
            &rows,
            &numbers,
            || (),
            |(), _, _| (),
            &mut |done| reported.push(done),
        );
        assert!(reported.is_sorted() && reported.len() > 1, "{reported:?}");
        assert_eq!(reported.last(), Some(&1000));
    }
}
