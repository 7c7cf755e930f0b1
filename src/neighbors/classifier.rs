//! Classification by the votes of the k nearest references.

use super::classifier_data::KnnClassifierData;
use super::config::KnnClassifierConfig;
use super::error::KnnError;
use super::indices::index_tensor;
use super::labels::{Labels, label_data};
use super::nearest::Neighbor;
use super::placement::{check_device, check_dtype};
use super::precision::full_precision_dtype;
use super::rows::Rows;
use super::score::accuracy;
use super::search::Search;
use super::vote::winner;
use alloc::vec;
use alloc::vec::Vec;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

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
    /// [`KnnError`] if there are no references or no columns, `k` is not in `1..=num_references`, `max_pairs` is 0,
    /// a reference is not finite, the labels are not one per reference or not on the references' device, or inverse
    /// distances are asked of inner products.
    pub fn fit(
        &self,
        references: Tensor<2>,
        labels: Tensor<1, Int>,
    ) -> Result<KnnClassifier, KnnError> {
        self.check()?;
        let device = references.device().without_autodiff();
        check_device("labels", &labels.device(), "references", &device)?;
        let labels = Labels::read(labels, "references", references.dims()[0])?;
        let references = self.metric.prepare(Rows::read(references, "references")?);
        self.check_k(references.len())?;
        Ok(KnnClassifier::new(
            self.clone(),
            references,
            labels,
            &device,
        ))
    }
}

/// The nearest references of each query, nearest first.
#[derive(Clone, Debug)]
pub struct Neighbors {
    /// Distances `[num_queries, k]`, as the [metric](crate::KnnMetric) reports them.
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
/// [`KnnMetric`](crate::KnnMetric) gives the distance and [`KnnVotes`](crate::KnnVotes) the weight w. Of references
/// equally far from the query the one with the lowest index is nearer; of labels with equally many votes the lowest
/// wins.
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
/// floats are taken as `f32`. No result is NaN; [`KnnMetric`](crate::KnnMetric) says what is infinite.
///
/// [`to_data`](Self::to_data) and [`from_data`](Self::from_data) store a classifier.
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
    classes: Vec<i128>,
    label_dtype: DType,
}

impl KnnClassifier {
    /// Takes references that the metric has prepared and that have `k` nearest, and one label for each.
    fn new(config: KnnClassifierConfig, references: Rows, labels: Labels, device: &Device) -> Self {
        let Labels { values, dtype } = labels;
        let mut classes = values.clone();
        classes.sort_unstable();
        classes.dedup();
        let class_of: Vec<usize> = values
            .iter()
            .map(|label| classes.partition_point(|class| class < label))
            .collect();
        // References of one class tend to lie near each other.
        let mut by_class: Vec<usize> = (0..references.len()).collect();
        by_class.sort_unstable_by_key(|&index| (class_of[index], index));
        let search = Search::new(
            references,
            by_class,
            config.metric,
            config.k,
            config.max_pairs,
            device,
        );
        Self {
            config,
            search,
            class_of,
            classes,
            label_dtype: dtype,
        }
    }

    /// All that makes up this classifier, to be stored in any format of serde.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_center_loss::{KnnClassifier, KnnClassifierConfig, KnnClassifierData};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let device = Device::flex();
    /// let references = Tensor::<2>::from_floats([[0.0, 0.0], [5.0, 5.0]], &device);
    /// let classifier = KnnClassifierConfig::new(1).fit(references.clone(), Tensor::from_ints([3, 8], &device))?;
    ///
    /// let text = serde_json::to_string(&classifier.to_data())?;
    ///
    /// let data: KnnClassifierData = serde_json::from_str(&text)?;
    /// let loaded = KnnClassifier::from_data(data, &device)?;
    /// assert_eq!(loaded.classes(), [3, 8]);
    /// assert_eq!(loaded.score(references, Tensor::from_ints([3, 8], &device))?, 1.0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn to_data(&self) -> KnnClassifierData {
        let labels = self.class_of.iter().map(|&class| self.classes[class]);
        KnnClassifierData {
            config: self.config.clone(),
            references: self.search.references().to_data(),
            labels: label_data(labels, self.label_dtype),
        }
    }

    /// The stored classifier on a device, which may be another than it was made on. Every answer is the same, bit by
    /// bit.
    ///
    /// # Errors
    ///
    /// [`KnnError`] if the data is inconsistent, or the device does not support the integer type of the labels.
    ///
    /// # Example
    ///
    /// See [`to_data`](Self::to_data).
    pub fn from_data(data: KnnClassifierData, device: &Device) -> Result<Self, KnnError> {
        let KnnClassifierData {
            config,
            references,
            labels,
        } = data;
        let device = device.clone().without_autodiff();
        config.check()?;
        let references = Rows::from_data(&references, "references")?;
        config.metric.check_prepared(&references, "references")?;
        config.check_k(references.len())?;
        let labels = Labels::from_data(&labels, "references", references.len())?;
        check_dtype("labels", labels.dtype, &device)?;
        Ok(Self::new(config, references, labels, &device))
    }

    /// The labels that occur, in ascending order: the columns of [`predict_proba`](Self::predict_proba). `i128` holds
    /// every value of every integer type.
    pub fn classes(&self) -> &[i128] {
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
    /// [`KnnError`] if there are no queries, or they are not finite, not as wide as the references or on another
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
            indices: index_tensor(indices, shape, device),
        })
    }

    /// The label with the most votes for each query, `[num_queries]`, in the integer type of the fitted labels.
    ///
    /// # Errors
    ///
    /// As [`kneighbors`](Self::kneighbors).
    pub fn predict(&self, queries: Tensor<2>) -> Result<Tensor<1, Int>, KnnError> {
        let labels = self.predict_labels(queries)?;
        Ok(Tensor::from_data(
            label_data(labels.into_iter(), self.label_dtype),
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
    /// As [`kneighbors`](Self::kneighbors), and if the labels are not one per query or on another device.
    pub fn score(&self, queries: Tensor<2>, labels: Tensor<1, Int>) -> Result<f64, KnnError> {
        check_device(
            "labels",
            &labels.device(),
            "references",
            self.search.device(),
        )?;
        let labels = Labels::read(labels, "queries", queries.dims()[0])?;
        let predictions = self.predict_labels(queries)?;
        Ok(accuracy(predictions.into_iter(), &labels.values))
    }

    fn predict_labels(&self, queries: Tensor<2>) -> Result<Vec<i128>, KnnError> {
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

    pub(crate) fn k(&self) -> usize {
        self.config.k
    }

    fn neighbors_of(&self, queries: Tensor<2>) -> Result<Vec<Neighbor>, KnnError> {
        self.search.answer(queries, "references", self.config.k)
    }
}

impl core::fmt::Debug for KnnClassifier {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("KnnClassifier")
            .field("config", &self.config)
            .field("references", &self.search.references().shape())
            .field("classes", &self.classes)
            .finish_non_exhaustive()
    }
}
