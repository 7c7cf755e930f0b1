//! Ranks of all pairs of queries and references, in tiles that stay in the processor's cache.

use super::metric::{KnnMetric, is_zero};
use super::rows::Rows;
use crate::parts::{for_each_part, threads};
use crate::simd::{Loops, vectorized};
use std::iter::repeat_n;

/// Bytes of the ranks that all threads together hold at one time, unless the fewest queries of a pass need more.
const RANK_BYTES: usize = 32 << 20;

/// The fewest and the most queries that are compared with many references in one pass over them.
const QUERIES_IN_PASS: [usize; 2] = [4, 32];

/// Rows that lie column by column in the cache while they are compared with all rows of the other side.
const TILE: usize = 64;

/// With fewer references the queries lie in the tile, else the references.
const FEW_REFERENCES: usize = 33;

/// Columns that are added to a sum each time it is read. Rows are filled up to a multiple with zeros, whose terms are
/// zero: adding zero changes no sum.
const COLUMNS_AT_ONCE: usize = 4;

/// Terms that are worth a thread, and the fewest and the most queries that one thread answers in turn.
const TERMS_IN_PART: usize = 1 << 20;
const QUERIES_IN_PART: [usize; 2] = [128, 2048];

/// References that every query is compared with.
///
/// Ranks are those of [`KnnMetric::rank`] bit for bit: the smaller, the nearer.
pub(crate) struct Comparison<'a> {
    metric: KnnMetric,
    references: &'a Rows,
}

impl<'a> Comparison<'a> {
    /// Takes rows that `metric` has prepared.
    pub(crate) fn new(references: &'a Rows, metric: KnnMetric) -> Self {
        Self { metric, references }
    }

    /// Calls `answer`, on all threads, for each query in `numbers` with its number, its ranks of all references, and its
    /// part of `answers`. All parts are equally long. Calls `progress` with how many queries are answered.
    ///
    /// `scratch` makes memory that one thread uses for several queries in turn.
    pub(crate) fn for_each_query<T: Send, S>(
        &self,
        queries: &Rows,
        numbers: &[usize],
        answers: &mut [T],
        scratch: impl Fn() -> S + Send + Sync,
        answer: impl Fn(&mut S, usize, &mut [f64], &mut [T]) + Send + Sync,
        progress: &mut dyn FnMut(usize),
    ) {
        if numbers.is_empty() {
            return;
        }
        let [count, columns] = self.references.shape();
        let width = answers.len() / numbers.len();
        let [fewest, most] = QUERIES_IN_PASS;
        let in_pass = if count < FEW_REFERENCES {
            TILE
        } else {
            (RANK_BYTES / (threads() * count * size_of::<f64>())).clamp(fewest, most)
        };
        let [fewest, most] = QUERIES_IN_PART;
        let in_part = (TERMS_IN_PART / (count * columns)).clamp(fewest, most);
        let mut done = 0;
        for answers in answers.chunks_mut(threads() * in_part * width) {
            let numbers = &numbers[done..][..answers.len() / width];
            for_each_part(answers, in_part * width, |first, answers| {
                let numbers = &numbers[first / width..][..answers.len() / width];
                let mut scratch = scratch();
                let mut ranks = vec![0.0; in_pass.min(numbers.len()) * count];
                let passes = answers.chunks_mut(in_pass * width);
                for (answers, numbers) in passes.zip(numbers.chunks(in_pass)) {
                    let ranks = &mut ranks[..numbers.len() * count];
                    self.fill(queries, numbers, ranks);
                    let answers = answers.chunks_exact_mut(width);
                    let of_queries = numbers.iter().zip(ranks.chunks_exact_mut(count));
                    for (answers, (number, ranks)) in answers.zip(of_queries) {
                        answer(&mut scratch, *number, ranks, answers);
                    }
                }
            });
            done += numbers.len();
            progress(done);
        }
    }

    /// The ranks of all references for each of these queries in turn.
    fn fill(&self, queries: &Rows, numbers: &[usize], ranks: &mut [f64]) {
        let count = self.references.len();
        let queries_side = Side {
            rows: queries,
            numbers: Some(numbers),
            stride: count,
        };
        let references_side = Side {
            rows: self.references,
            numbers: None,
            stride: 1,
        };
        let (tiled, streamed) = if count < FEW_REFERENCES {
            (queries_side, references_side)
        } else {
            (references_side, queries_side)
        };
        vectorized(Pass {
            metric: self.metric,
            tiled,
            streamed,
            ranks,
        });
        if self.metric != KnnMetric::InnerProduct {
            return;
        }
        // A part of a sum may have overflowed.
        for (number, ranks) in numbers.iter().zip(ranks.chunks_exact_mut(count)) {
            for (rank, reference) in ranks.iter_mut().zip(self.references.iter()) {
                if !rank.is_finite() {
                    *rank = self.metric.rank(queries.row(*number), reference);
                }
            }
        }
    }
}

/// Queries or references.
struct Side<'a> {
    rows: &'a Rows,
    /// The rows that take part; `None` for all in their order.
    numbers: Option<&'a [usize]>,
    /// How far apart the ranks of two neighboring rows are.
    stride: usize,
}

impl<'a> Side<'a> {
    fn len(&self) -> usize {
        self.numbers.map_or(self.rows.len(), <[usize]>::len)
    }

    fn row(&self, at: usize) -> &'a [f64] {
        self.rows
            .row(self.numbers.map_or(at, |numbers| numbers[at]))
    }
}

/// All pairs of two sides. Few rows are streamed: all of them are compared with one tile after the other.
struct Pass<'a> {
    metric: KnnMetric,
    tiled: Side<'a>,
    streamed: Side<'a>,
    ranks: &'a mut [f64],
}

impl Loops for Pass<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let squared = |x: f64, y: f64| (x - y) * (x - y);
        match self.metric {
            KnnMetric::InnerProduct => self.compare(|x, y| x * y, |sum, _| 0.0 - sum),
            KnnMetric::Cosine => self.compare(squared, |sum, directionless| {
                if directionless {
                    KnnMetric::RANK_WITHOUT_DIRECTION
                } else {
                    KnnMetric::Cosine.rank_of_squared(sum)
                }
            }),
            KnnMetric::SquaredEuclidean | KnnMetric::Euclidean => {
                self.compare(squared, |sum, _| sum);
            }
        }
    }
}

impl Pass<'_> {
    /// Sums the terms of each pair, in the order of the columns, and turns the sum into a rank.
    #[inline(always)]
    fn compare(self, term: impl Fn(f64, f64) -> f64, rank: impl Fn(f64, bool) -> f64) {
        let Self {
            tiled,
            streamed,
            ranks,
            ..
        } = self;
        let columns = tiled.rows.columns();
        let padded = columns.next_multiple_of(COLUMNS_AT_ONCE);
        let rows = (0..streamed.len()).map(|at| streamed.row(at));
        let zero_rows: Vec<bool> = rows.clone().map(is_zero).collect();
        let rows: Vec<f64> = rows
            .flat_map(|row| row.iter().copied().chain(repeat_n(0.0, padded - columns)))
            .collect();
        let mut tile = vec![0.0; padded * TILE];
        for start in (0..tiled.len()).step_by(TILE) {
            let filled = TILE.min(tiled.len() - start);
            let mut zero_lanes = [false; TILE];
            for lane in 0..filled {
                let row = tiled.row(start + lane);
                zero_lanes[lane] = is_zero(row);
                let slots = tile[lane..].iter_mut().step_by(TILE);
                slots.zip(row).for_each(|(slot, value)| *slot = *value);
            }
            for (at, row) in rows.chunks_exact(padded).enumerate() {
                let mut sums = [0.0; TILE];
                let sums = &mut sums[..filled];
                let columns = tile.chunks_exact(COLUMNS_AT_ONCE * TILE);
                for (x, columns) in row.chunks_exact(COLUMNS_AT_ONCE).zip(columns) {
                    let column = |at: usize| &columns[at * TILE..][..filled];
                    let [a, b, c, d] = [column(0), column(1), column(2), column(3)];
                    for lane in 0..filled {
                        let mut sum = sums[lane];
                        sum += term(x[0], a[lane]);
                        sum += term(x[1], b[lane]);
                        sum += term(x[2], c[lane]);
                        sum += term(x[3], d[lane]);
                        sums[lane] = sum;
                    }
                }
                for (sum, zero_lane) in sums.iter_mut().zip(zero_lanes) {
                    *sum = rank(*sum, zero_lane | zero_rows[at]);
                }
                let first = at * streamed.stride + start * tiled.stride;
                if tiled.stride == 1 {
                    ranks[first..][..filled].copy_from_slice(sums);
                } else {
                    let slots = ranks[first..].iter_mut().step_by(tiled.stride);
                    slots.zip(sums).for_each(|(slot, rank)| *slot = *rank);
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

        /// Zeros, equal rows and rows whose squares or products overflow are among them. Few and many references.
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
                let mut answers = vec![(usize::MAX, f64::NAN); count * references.len()];
                Comparison::new(&references, metric).for_each_query(
                    &queries,
                    &numbers,
                    &mut answers,
                    || (),
                    |(), number, ranks, answers| {
                        let ranks = ranks.iter().map(|rank| (number, *rank));
                        answers.iter_mut().zip(ranks).for_each(|(slot, rank)| *slot = rank);
                    },
                    &mut |_| (),
                );
                for (answers, number) in answers.chunks(references.len()).zip(numbers) {
                    for ((of, rank), reference) in answers.iter().zip(references.iter()) {
                        let expected = metric.rank(queries.row(number), reference);
                        prop_assert_eq!((*of, rank.to_bits()), (number, expected.to_bits()));
                    }
                }
            }
        }
    }

    #[test]
    fn progress_ends_at_the_number_of_queries() {
        let rows = Rows::from_values((0..4000).map(f64::from).collect(), 4);
        let numbers: Vec<usize> = (0..1000).collect();
        let (mut reported, mut answers) = (Vec::new(), vec![(); 1000]);
        Comparison::new(&rows, KnnMetric::Euclidean).for_each_query(
            &rows,
            &numbers,
            &mut answers,
            || (),
            |(), _, _, _| (),
            &mut |done| reported.push(done),
        );
        assert!(reported.is_sorted());
        assert_eq!(reported.last(), Some(&1000));
    }
}
