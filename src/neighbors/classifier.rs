//! Classification by the votes of the k nearest references.

use super::error::KnnError;
use super::metric::KnnMetric;
use super::nearest::Neighbor;
use super::rows::{Rows, check_device, full_precision_dtype, index_dtype, read_labels};
use super::score::accuracy;
use super::search::{DEFAULT_MAX_PAIRS, Search};
use super::vote::{KnnVotes, winner};
use alloc::vec;
use alloc::vec::Vec;
use burn::config::Config;
use burn::tensor::{DType, Int, Tensor, TensorData};

/// Configuration to create a [`KnnClassifier`] using the [fit function](KnnClassifierConfig::fit).
#[derive(Config, Debug)]
pub struct KnnClassifierConfig {
    /// The number of neighbors, from 1 to the number of references.
    pub k: usize,
    /// What "near" means. Default: `Euclidean`.
    #[config(default = "KnnMetric::Euclidean")]
    pub metric: KnnMetric,
    /// The weight of each neighbor's vote. Default: `Uniform`.
    #[config(default = "KnnVotes::Uniform")]
    pub votes: KnnVotes,
    /// Bounds the memory of a query: the most pairs of query and reference that a device, or each thread of the
    /// processor, multiplies at one time (4 bytes each), rounded up to whole blocks of at most 256 references. It
    /// changes no answer. Default: `1048576`.
    #[config(default = "DEFAULT_MAX_PAIRS")]
    pub max_pairs: usize,
}

impl KnnClassifierConfig {
    /// Makes a classifier of labelled references. Reads both tensors back from the device once.
    ///
    /// # Shapes
    ///
    /// - references: `[num_references, feature_dim]`
    /// - labels: `[num_references]`, any integers of any integer type
    ///
    /// # Errors
    ///
    /// [`KnnError`] where there are no references or no columns, `k` is not in `1..=num_references`, `max_pairs` is 0,
    /// a reference is not finite, the labels are not one per reference or not on the references' device, or inverse
    /// distances are asked of inner products.
    pub fn fit(
        &self,
        references: Tensor<2>,
        labels: Tensor<1, Int>,
    ) -> Result<KnnClassifier, KnnError> {
        if self.max_pairs == 0 {
            return Err(KnnError::MaxPairs);
        }
        if self.metric == KnnMetric::InnerProduct && self.votes == KnnVotes::InverseDistance {
            return Err(KnnError::InverseInnerProduct);
        }
        let device = references.device().without_autodiff();
        check_device("labels", &labels.device(), "references", &device)?;
        let label_dtype = labels.dtype();
        let labels = read_labels(labels, "references", references.dims()[0])?;
        let references = Rows::read(references, "references")?;
        if self.k == 0 || self.k > references.len() {
            return Err(KnnError::K {
                k: self.k,
                references: references.len(),
            });
        }
        let mut classes = labels.clone();
        classes.sort_unstable();
        classes.dedup();
        let class_of: Vec<usize> = labels
            .iter()
            .map(|label| classes.partition_point(|class| class < label))
            .collect();
        // References of one class tend to lie near each other.
        let mut by_class: Vec<usize> = (0..references.len()).collect();
        by_class.sort_unstable_by_key(|&index| (class_of[index], index));
        Ok(KnnClassifier {
            config: self.clone(),
            search: Search::new(
                references,
                by_class,
                self.metric,
                self.k,
                self.max_pairs,
                &device,
            ),
            class_of,
            classes,
            label_dtype,
        })
    }
}

/// The nearest references of each query, nearest first.
#[derive(Clone, Debug)]
pub struct Neighbors {
    /// Distances `[num_queries, k]`, as the [metric](KnnMetric) reports them.
    pub distances: Tensor<2>,
    /// Indices of the references `[num_queries, k]`.
    pub indices: Tensor<2, Int>,
}

/// Labels a query by the votes of its k nearest references; exact, on every backend the same.
///
/// ```text
/// votes(q, l)   = sum over the k nearest references r with label l of w(distance(q, r))
/// predict(q)    = the label with the most votes
/// proba(q, l)   = votes(q, l) / sum over all labels of votes(q, .)
/// ```
///
/// [`KnnMetric`] gives the distance and [`KnnVotes`] the weight w. Of references equally far from the query the one
/// with the lowest index is nearer; of labels with equally many votes the lowest wins.
///
/// Distances are direct differences in `f64` of the values as they are in the tensors, whatever the float type, summed
/// in the order of the columns, so that answers don't depend on the backend; those reported are then rounded to the
/// queries' type. Only references that can't be among the nearest are left out:
///
/// - Up to 8 columns, except under `InnerProduct`, the references are in a k-d tree on the host, and a query visits the
///   parts that may hold a neighbor.
/// - With more columns a matrix product on the references' device gives every pair a key, with a bound on its rounding.
///   The `flex` and `ndarray` backends multiply `f32` and the keys are looked through on all threads; on other devices,
///   which may cut the factors, the product is three times as wide and the smallest key of each block of references is
///   read back.
///
/// Where many references are nearly as far as the k-th, few can be left out and a query costs up to one comparison with
/// each reference.
///
/// The classifier keeps a copy of the references on the host. Every call reads back from the device. Nothing receives
/// gradients: tensors of an autodiff device are accepted, results are on the device without autodiff. Half-precision
/// floats are taken as `f32`. Squares of `f64` values above about 1e154 are infinite.
///
/// # Shapes
///
/// - queries: `[num_queries, feature_dim]`
/// - labels: `[num_queries]`
///
/// # Differences from the references
///
/// scikit-learn's `KNeighborsClassifier` leaves the order of equally far neighbors open, here it is by index. Its votes
/// by distance treat a cosine distance as zero only where rounding makes it so; here it is zero for rows that are
/// exact multiples of each other.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_center_loss::{KnnClassifierConfig, KnnError};
///
/// # fn main() -> Result<(), KnnError> {
/// let device = Device::flex();
/// let references = Tensor::<2>::from_floats([[0.0, 0.0], [0.0, 1.0], [5.0, 5.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([-1, -1, 7], &device);
/// let classifier = KnnClassifierConfig::new(2).fit(references, labels)?;
///
/// let queries = Tensor::<2>::from_floats([[0.0, 4.0]], &device);
/// let neighbors = classifier.kneighbors(queries.clone())?;
/// assert_eq!(neighbors.distances.to_data_as::<f32>().to_vec::<f32>().unwrap(), [3.0, 4.0]);
/// assert_eq!(neighbors.indices.to_data_as::<i64>().to_vec::<i64>().unwrap(), [1, 0]);
/// assert_eq!(classifier.classes(), [-1, 7]);
/// assert_eq!(classifier.predict(queries)?.into_scalar::<i64>(), -1);
/// # Ok(())
/// # }
/// ```
///
/// # References
///
/// T. M. Cover, P. E. Hart, *Nearest neighbor pattern classification*, IEEE Transactions on Information Theory, 1967.
#[derive(Clone)]
pub struct KnnClassifier {
    config: KnnClassifierConfig,
    search: Search,
    /// For each reference, where its label is in `classes`.
    class_of: Vec<usize>,
    classes: Vec<i64>,
    label_dtype: DType,
}

impl KnnClassifier {
    /// The labels that occur, in ascending order: the columns of [`predict_proba`](Self::predict_proba).
    pub fn classes(&self) -> &[i64] {
        &self.classes
    }

    /// The k nearest references of each query.
    ///
    /// # Shapes
    ///
    /// - queries: `[num_queries, feature_dim]`
    /// - output: distances and indices, each `[num_queries, k]`
    ///
    /// # Errors
    ///
    /// [`KnnError`] where there are no queries, or they are not finite, not as wide as the references or on another
    /// device.
    pub fn kneighbors(&self, queries: Tensor<2>) -> Result<Neighbors, KnnError> {
        let dtype = full_precision_dtype(queries.dtype());
        let neighbors = self.neighbors_of(queries)?;
        let shape = [neighbors.len() / self.config.k, self.config.k];
        let distances: Vec<f64> = neighbors
            .iter()
            .map(|neighbor| self.config.metric.distance(neighbor.rank))
            .collect();
        let indices: Vec<i64> = neighbors
            .iter()
            .map(|neighbor| neighbor.index as i64)
            .collect();
        let device = self.search.device();
        Ok(Neighbors {
            distances: Tensor::from_data(TensorData::new(distances, shape), (device, dtype)),
            indices: Tensor::from_data(
                TensorData::new(indices, shape),
                (device, index_dtype(device)),
            ),
        })
    }

    /// The label with the most votes for each query, `[num_queries]`, in the integer type of the fitted labels.
    ///
    /// # Errors
    ///
    /// As [`kneighbors`](Self::kneighbors).
    pub fn predict(&self, queries: Tensor<2>) -> Result<Tensor<1, Int>, KnnError> {
        let labels = self.predict_labels(queries)?;
        let count = labels.len();
        Ok(Tensor::from_data(
            TensorData::new(labels, [count]),
            (self.search.device(), self.label_dtype),
        ))
    }

    /// Each label's share of the votes, `[num_queries, num_classes]` with the columns of [`classes`](Self::classes).
    ///
    /// # Errors
    ///
    /// As [`kneighbors`](Self::kneighbors).
    pub fn predict_proba(&self, queries: Tensor<2>) -> Result<Tensor<2>, KnnError> {
        let dtype = full_precision_dtype(queries.dtype());
        let neighbors = self.neighbors_of(queries)?;
        let shape = [neighbors.len() / self.config.k, self.classes.len()];
        let mut shares = Vec::with_capacity(shape[0] * shape[1]);
        self.for_each_vote(&neighbors, |votes| {
            let sum: f64 = votes.iter().sum();
            shares.extend(votes.iter().map(|vote| vote / sum));
        });
        Ok(Tensor::from_data(
            TensorData::new(shares, shape),
            (self.search.device(), dtype),
        ))
    }

    /// The share of queries whose prediction is their label.
    ///
    /// # Errors
    ///
    /// As [`kneighbors`](Self::kneighbors), and where the labels are not one per query or on another device.
    pub fn score(&self, queries: Tensor<2>, labels: Tensor<1, Int>) -> Result<f64, KnnError> {
        check_device(
            "labels",
            &labels.device(),
            "references",
            self.search.device(),
        )?;
        let labels = read_labels(labels, "queries", queries.dims()[0])?;
        Ok(accuracy(&self.predict_labels(queries)?, &labels))
    }

    fn predict_labels(&self, queries: Tensor<2>) -> Result<Vec<i64>, KnnError> {
        let neighbors = self.neighbors_of(queries)?;
        let mut labels = Vec::with_capacity(neighbors.len() / self.config.k);
        self.for_each_vote(&neighbors, |votes| labels.push(self.classes[winner(votes)]));
        Ok(labels)
    }

    /// Calls `count` with the votes of each query, one number for each class.
    fn for_each_vote(&self, neighbors: &[Neighbor], mut count: impl FnMut(&[f64])) {
        let mut votes = vec![0.0; self.classes.len()];
        let mut voters = Vec::with_capacity(self.config.k);
        for neighbors in neighbors.chunks_exact(self.config.k) {
            voters.clear();
            voters.extend(neighbors.iter().map(|neighbor| {
                let distance = self.config.metric.distance(neighbor.rank);
                (distance, self.class_of[neighbor.index])
            }));
            self.config.votes.tally(&voters, &mut votes);
            count(&votes);
        }
    }

    /// The search for the k nearest references.
    pub(crate) fn search(&self) -> &Search {
        &self.search
    }

    fn neighbors_of(&self, queries: Tensor<2>) -> Result<Vec<Neighbor>, KnnError> {
        self.search.answer(queries, "references")
    }
}

impl core::fmt::Debug for KnnClassifier {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("KnnClassifier")
            .field("config", &self.config)
            .field("references", &self.search.shape())
            .field("classes", &self.classes)
            .finish_non_exhaustive()
    }
}
