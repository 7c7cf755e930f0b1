//! Exact search for the k nearest references.
//!
//! A method only decides which references are compared. The comparison is the same everywhere, by the metric's rank in
//! `f64`, so that all methods give the same answers:
//!
//! ```text
//! tree     few columns        a k-d tree
//! product  any other matrix   products in f32
//! ```

use super::error::KnnError;
use super::metric::KnnMetric;
use super::nearest::Neighbor;
use super::product::Product;
use super::rows::{Rows, check_device};
use super::tree::Tree;
use crate::device::is_host;
use burn::tensor::{Device, Tensor};

/// Pairs of query and reference whose keys are held at one time, unless the caller says otherwise.
pub(crate) const DEFAULT_MAX_PAIRS: usize = 1 << 20;

/// References made ready for being searched.
#[derive(Clone)]
pub(crate) struct Search {
    metric: KnnMetric,
    references: Rows,
    device: Device,
    method: Method,
}

#[derive(Clone)]
enum Method {
    Tree(Tree),
    Product(Product),
}

impl Search {
    /// Prepares a search among rows that `metric` has [prepared](KnnMetric::prepare).
    ///
    /// `order` names every reference once. A search is faster if neighbors in it lie near each other, and for the
    /// `expected_k` nearest. Neither changes an answer, and every call chooses its own `k`. `max_pairs` bounds how many
    /// pairs of query and reference are multiplied at one time.
    pub(crate) fn new(
        references: Rows,
        order: Vec<usize>,
        metric: KnnMetric,
        expected_k: usize,
        max_pairs: usize,
        device: &Device,
    ) -> Self {
        let method =
            if metric != KnnMetric::InnerProduct && references.columns() <= Tree::MAX_COLUMNS {
                Method::Tree(Tree::new(&references, metric))
            } else if is_host(device) {
                Method::Product(Product::on_host(&references, metric, max_pairs, device))
            } else {
                Method::Product(Product::on_device(
                    &references,
                    order,
                    metric,
                    expected_k,
                    max_pairs,
                    device,
                ))
            };
        Self {
            metric,
            references,
            device: device.clone(),
            method,
        }
    }

    /// The `k` nearest references of each query, nearest first, one query after the other.
    ///
    /// `k` is from 1 to the number of references. The error calls the references `name`.
    pub(crate) fn answer(
        &self,
        queries: Tensor<2>,
        name: &'static str,
        k: usize,
    ) -> Result<Vec<Neighbor>, KnnError> {
        Ok(self.nearest(&self.prepare(queries, name)?, k))
    }

    /// As [`answer`](Self::answer), for [prepared](Self::prepare) queries.
    pub(crate) fn nearest(&self, queries: &Rows, k: usize) -> Vec<Neighbor> {
        match &self.method {
            Method::Tree(tree) => tree.nearest(queries, k),
            Method::Product(product) => product.nearest(&self.references, queries, k),
        }
    }

    /// Reads queries that can be compared with the references, in the form that the metric compares.
    pub(crate) fn prepare(&self, queries: Tensor<2>, name: &'static str) -> Result<Rows, KnnError> {
        check_device("queries", &queries.device(), name, &self.device)?;
        let shape @ [_, columns] = queries.dims();
        if columns != self.references.columns() {
            return Err(KnnError::FeatureDim {
                queries: shape,
                name,
                fitted: self.references.shape(),
            });
        }
        Ok(self.metric.prepare(Rows::read(queries, "queries")?))
    }

    /// The references in the form that the metric compares.
    pub(crate) fn references(&self) -> &Rows {
        &self.references
    }

    pub(crate) fn metric(&self) -> KnnMetric {
        self.metric
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }
}

#[cfg(test)]
#[cfg(feature = "flex")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    struct Problem {
        columns: usize,
        references: Vec<f64>,
        queries: Vec<f64>,
        k: usize,
        max_pairs: usize,
    }

    fn problems(value: impl Strategy<Value = f64> + Clone) -> impl Strategy<Value = Problem> {
        (1_usize..=10, 1_usize..200)
            .prop_flat_map(move |(columns, count)| {
                (
                    Just(columns),
                    prop::collection::vec(value.clone(), columns * count),
                    (1_usize..40).prop_flat_map({
                        let value = value.clone();
                        move |queries| prop::collection::vec(value.clone(), columns * queries)
                    }),
                    prop_oneof![Just(1), 1..=count.min(8), 1..=count],
                    prop_oneof![1_usize..2000, Just(DEFAULT_MAX_PAIRS), Just(usize::MAX)],
                )
            })
            .prop_map(|(columns, references, queries, k, max_pairs)| Problem {
                columns,
                references,
                queries,
                k,
                max_pairs,
            })
    }

    /// The answer of every way of searching, bit for bit: the ranks of all pairs, sorted.
    fn sorted(metric: KnnMetric, references: &Rows, queries: &Rows, k: usize) -> Vec<Neighbor> {
        let mut neighbors = Vec::new();
        for query in queries.iter() {
            let mut all: Vec<Neighbor> = references
                .iter()
                .enumerate()
                .map(|(index, reference)| Neighbor {
                    rank: metric.rank(query, reference),
                    index,
                })
                .collect();
            all.sort_by(|a, b| a.rank.total_cmp(&b.rank).then(a.index.cmp(&b.index)));
            neighbors.extend_from_slice(&all[..k]);
        }
        neighbors
    }

    fn assert_same(way: &str, metric: KnnMetric, actual: &[Neighbor], expected: &[Neighbor]) {
        assert_eq!(actual.len(), expected.len());
        for (at, (actual, expected)) in actual.iter().zip(expected).enumerate() {
            assert!(!expected.rank.is_nan(), "{metric:?} place {at}");
            assert_eq!(actual, expected, "{way} {metric:?} place {at}");
        }
    }

    fn check_every_way(problem: &Problem) {
        let device = Device::flex();
        let Problem {
            columns,
            k,
            max_pairs,
            ..
        } = *problem;
        for metric in KnnMetric::ALL {
            let references = metric.prepare(Rows::from_values(problem.references.clone(), columns));
            let queries = metric.prepare(Rows::from_values(problem.queries.clone(), columns));
            let expected = sorted(metric, &references, &queries, k);
            let count = references.len();

            let product = Product::on_host(&references, metric, max_pairs, &device);
            let nearest = product.nearest(&references, &queries, k);
            assert_same("product", metric, &nearest, &expected);

            // The search may have been made for another k.
            for expected_k in [k, count + 1 - k] {
                let reversed = (0..count).rev().collect();
                let blocks = Product::on_device(
                    &references,
                    reversed,
                    metric,
                    expected_k,
                    max_pairs,
                    &device,
                );
                let nearest = blocks.nearest(&references, &queries, k);
                assert_same("blocks", metric, &nearest, &expected);
            }

            if metric == KnnMetric::InnerProduct {
                continue;
            }
            if columns <= Tree::MAX_COLUMNS {
                let tree = Tree::new(&references, metric);
                assert_same("tree", metric, &tree.nearest(&queries, k), &expected);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(320))]

        #[test]
        fn every_way_answers_as_a_sort(
            problem in prop_oneof![
                // Many references are equally far, or equal, or zero.
                problems((-1_i8..=1).prop_map(f64::from)).boxed(),
                problems(-10.0..10.0).boxed(),
                // So far from the origin that the rounding of a product exceeds all distances.
                problems((0_i16..64).prop_map(|step| 1e7 + f64::from(step) / 1024.0)).boxed(),
                // Squares overflow and vanish, and are still ordered as they come out.
                problems((-1.0..1.0, -540_i32..540).prop_map(|(v, e)| v * 2.0_f64.powi(e))).boxed(),
                // Differences and sums overflow as well, and products are subnormal.
                problems(prop_oneof![
                    Just(0.0), Just(f64::MAX), Just(-f64::MAX), Just(f64::from_bits(1)),
                    Just(-f64::MIN_POSITIVE), Just(1e200), Just(-1e200), Just(1e-200), Just(1.0),
                ])
                .boxed(),
            ],
        ) {
            check_every_way(&problem);
        }

        /// Queries of one size among references of another: keys of queries far from all references.
        #[test]
        fn far_from_all_references(
            problem in problems(-1.0..1.0),
            scales in (-500_i32..500, -500_i32..500),
        ) {
            let mut problem = problem;
            problem.references.iter_mut().for_each(|v| *v *= 2.0_f64.powi(scales.0));
            problem.queries.iter_mut().for_each(|v| *v *= 2.0_f64.powi(scales.1));
            check_every_way(&problem);
        }
    }

    /// More queries and references than are compared at one time, in every way.
    #[test]
    fn in_several_parts() {
        let values = |count: usize, seed: u64| -> Vec<f64> {
            let mut state = seed;
            (0..count)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    ((state >> 40) % 61) as f64
                })
                .collect()
        };
        for columns in [3, 20] {
            check_every_way(&Problem {
                columns,
                references: values(1500 * columns, 1),
                queries: values(1100 * columns, 2),
                k: 6,
                max_pairs: DEFAULT_MAX_PAIRS,
            });
        }
    }

    #[test]
    fn of_equal_references_those_with_the_lowest_indices() {
        check_every_way(&Problem {
            columns: 2,
            references: vec![0.5; 2 * 2000],
            queries: vec![0.5, 0.5, 0.25, 3.0],
            k: 40,
            max_pairs: DEFAULT_MAX_PAIRS,
        });
    }
}
