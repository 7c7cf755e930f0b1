//! Ranks of all pairs of queries and references, in tiles that stay in the processor's cache.

use super::metric::{KnnMetric, is_zero};
use super::rows::Rows;
use crate::loops::{Loops, for_each_part, threads, vectorized};

/// Rows that lie column by column in the cache while they are compared with many others. Their sums stay in registers.
const LANES: usize = 32;

/// Bytes of the ranks that all threads together hold at one time, unless the fewest queries of a pass need more.
const RANK_BYTES: usize = 32 << 20;

/// The fewest and the most queries that are compared with the references in one pass over them.
const QUERIES_IN_PASS: [usize; 2] = [4, LANES];

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
        answer: impl Fn(&mut S, usize, &[f64], &mut [T]) + Send + Sync,
        progress: &mut dyn FnMut(usize),
    ) {
        if numbers.is_empty() {
            return;
        }
        let [count, columns] = self.references.shape();
        let width = answers.len() / numbers.len();
        let [fewest, most] = QUERIES_IN_PASS;
        let in_pass = RANK_BYTES / (threads() * count * size_of::<f64>());
        let in_pass = in_pass.clamp(fewest, most);
        let [fewest, most] = QUERIES_IN_PART;
        let in_part = (TERMS_IN_PART / (count * columns)).clamp(fewest, most);
        let mut done = 0;
        for answers in answers.chunks_mut(threads() * in_part * width) {
            let numbers = &numbers[done..][..answers.len() / width];
            for_each_part(answers, in_part * width, |first, answers| {
                let numbers = &numbers[first / width..][..answers.len() / width];
                let mut scratch = scratch();
                let mut tile = Tile::new(columns);
                let mut ranks = vec![0.0; in_pass.min(numbers.len()) * count];
                let passes = answers.chunks_mut(in_pass * width);
                for (answers, numbers) in passes.zip(numbers.chunks(in_pass)) {
                    let ranks = &mut ranks[..numbers.len() * count];
                    self.fill(&mut tile, queries, numbers, ranks);
                    let answers = answers.chunks_exact_mut(width);
                    let of_queries = numbers.iter().zip(ranks.chunks_exact(count));
                    for (answers, (number, ranks)) in answers.zip(of_queries) {
                        answer(&mut scratch, *number, ranks, answers);
                    }
                }
            });
            done += numbers.len();
            progress(done);
        }
    }

    /// The number of the nearest reference of each query, of equally near ones the lowest. The metric is not
    /// `InnerProduct`. Fast for few references.
    pub(crate) fn nearest(&self, queries: &Rows) -> Vec<i64> {
        let mut nearest = vec![0; queries.len()];
        for_each_part(&mut nearest, QUERIES_IN_PART[1], |first, nearest| {
            vectorized(NearestPass {
                metric: self.metric,
                queries,
                references: self.references,
                first,
                nearest,
            });
        });
        nearest
    }

    /// The ranks of all references for each of these queries in turn.
    fn fill(&self, tile: &mut Tile, queries: &Rows, numbers: &[usize], ranks: &mut [f64]) {
        vectorized(Pass {
            metric: self.metric,
            tile,
            queries,
            numbers,
            references: self.references,
            ranks,
        });
        if self.metric != KnnMetric::InnerProduct {
            return;
        }
        // A part of a sum may have overflowed.
        let ranks = ranks.chunks_exact_mut(self.references.len());
        for (number, ranks) in numbers.iter().zip(ranks) {
            for (rank, reference) in ranks.iter_mut().zip(self.references.iter()) {
                if !rank.is_finite() {
                    *rank = self.metric.rank(queries.row(*number), reference);
                }
            }
        }
    }
}

/// A few rows, column by column, so that they are compared with a row of the other side at the same time.
struct Tile {
    columns: Vec<[f64; LANES]>,
    /// Whether a row has no direction.
    zero: [bool; LANES],
}

impl Tile {
    fn new(columns: usize) -> Self {
        Self {
            columns: vec![[0.0; LANES]; columns],
            zero: [false; LANES],
        }
    }

    /// Takes a row. Lanes that take none have no meaning.
    #[inline(always)]
    fn set(&mut self, lane: usize, row: &[f64]) {
        for (column, value) in self.columns.iter_mut().zip(row) {
            column[lane] = *value;
        }
        self.zero[lane] = is_zero(row);
    }

    /// The rank of each lane and the row. No branch depends on a lane, so that the lanes stay together.
    #[inline(always)]
    fn ranks(&self, metric: KnnMetric, row: &[f64]) -> [f64; LANES] {
        if metric == KnnMetric::InnerProduct {
            let mut ranks = self.sums(row, |x, y| x * y);
            ranks.iter_mut().for_each(|rank| *rank = 0.0 - *rank);
            return ranks;
        }
        let mut ranks = self.sums(row, |x, y| (x - y) * (x - y));
        if metric == KnnMetric::Cosine {
            let zero_row = is_zero(row);
            for (rank, zero) in ranks.iter_mut().zip(self.zero) {
                *rank = if zero | zero_row {
                    KnnMetric::RANK_WITHOUT_DIRECTION
                } else {
                    metric.rank_of_squared(*rank)
                };
            }
        }
        ranks
    }

    /// Sums of the terms of each lane and the row, in the order of the columns.
    #[inline(always)]
    fn sums(&self, row: &[f64], term: impl Fn(f64, f64) -> f64) -> [f64; LANES] {
        let mut sums = [0.0; LANES];
        for (column, x) in self.columns.iter().zip(row) {
            for (sum, y) in sums.iter_mut().zip(column) {
                *sum += term(*x, *y);
            }
        }
        sums
    }
}

/// All pairs of a few queries, at most as many as a tile has lanes, and the references.
struct Pass<'a> {
    metric: KnnMetric,
    tile: &'a mut Tile,
    queries: &'a Rows,
    numbers: &'a [usize],
    references: &'a Rows,
    /// The ranks of all references for each query in turn.
    ranks: &'a mut [f64],
}

impl Loops for Pass<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (queries, references) = (self.queries, self.references);
        let count = references.len();
        if count < LANES {
            for (lane, number) in self.numbers.iter().enumerate() {
                self.tile.set(lane, queries.row(*number));
            }
            for (at, reference) in references.iter().enumerate() {
                let ranks = self.tile.ranks(self.metric, reference);
                let slots = self.ranks[at..].iter_mut().step_by(count);
                slots.zip(ranks).for_each(|(slot, rank)| *slot = rank);
            }
            return;
        }
        for start in (0..count).step_by(LANES) {
            let filled = LANES.min(count - start);
            for lane in 0..filled {
                self.tile.set(lane, references.row(start + lane));
            }
            let slots = self.ranks.chunks_exact_mut(count);
            for (number, slots) in self.numbers.iter().zip(slots) {
                let ranks = self.tile.ranks(self.metric, queries.row(*number));
                slots[start..][..filled].copy_from_slice(&ranks[..filled]);
            }
        }
    }
}

/// The nearest reference of some queries, the first of which has the number `first`.
struct NearestPass<'a> {
    metric: KnnMetric,
    queries: &'a Rows,
    references: &'a Rows,
    first: usize,
    nearest: &'a mut [i64],
}

impl Loops for NearestPass<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let mut tile = Tile::new(self.queries.columns());
        for (at, slots) in self.nearest.chunks_mut(LANES).enumerate() {
            for lane in 0..slots.len() {
                tile.set(lane, self.queries.row(self.first + at * LANES + lane));
            }
            let mut least = [f64::INFINITY; LANES];
            let mut nearest = [0; LANES];
            for (number, reference) in self.references.iter().enumerate() {
                let ranks = tile.ranks(self.metric, reference);
                for lane in 0..LANES {
                    let nearer = ranks[lane] < least[lane];
                    least[lane] = if nearer { ranks[lane] } else { least[lane] };
                    nearest[lane] = if nearer { number as i64 } else { nearest[lane] };
                }
            }
            slots.copy_from_slice(&nearest[..slots.len()]);
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
                if metric != KnnMetric::InnerProduct {
                    let expected: Vec<i64> = queries
                        .iter()
                        .map(|query| {
                            let ranks = references.iter().map(|other| metric.rank(query, other));
                            let least = (0..).zip(ranks).min_by(|a, b| a.1.total_cmp(&b.1));
                            least.unwrap().0
                        })
                        .collect();
                    let nearest = Comparison::new(&references, metric).nearest(&queries);
                    prop_assert_eq!(nearest, expected);
                }
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
