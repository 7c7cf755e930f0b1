//! Classification by the votes of the k nearest references.

use super::error::KnnError;
use super::labels::{Labels, accuracy, label_data};
use super::metric::KnnMetric;
use super::nearest::Neighbor;
use super::rows::{Rows, check_device, check_dtype, float_tensor, full_precision, index_tensor};
use super::sample_weights::SampleWeights;
use super::search::{DEFAULT_MAX_PAIRS, Search};
use burn::config::Config;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The weight of a neighbor's vote in a [`KnnClassifier`](super::KnnClassifier).
///
/// ```text
/// Uniform          1
/// InverseDistance  1 / distance; if any neighbor's distance is 0, 1 for those at 0 and 0 for the others
/// ```
///
/// The distance is the one that the [metric](super::KnnMetric) reports, so under `SquaredEuclidean` the weight is one
/// over the squared distance. Weights of references ([`fit_weighted`](super::KnnClassifierConfig::fit_weighted))
/// multiply these weights.
#[derive(Config, Copy, Debug, PartialEq, Eq)]
pub enum KnnWeights {
    /// Every neighbor counts the same.
    Uniform,
    /// Near neighbors count more.
    InverseDistance,
}

/// Configuration of a [`KnnClassifier`](crate::KnnClassifier), which [`fit`](KnnClassifierConfig::fit) makes.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_center_loss::{KnnClassifierConfig, KnnMetric, KnnWeights};
///
/// let device = Device::flex();
/// let config = KnnClassifierConfig::new(3).with_metric(KnnMetric::Cosine).with_weights(KnnWeights::InverseDistance);
/// let error = config.fit(Tensor::ones([2, 4], &device), Tensor::from_data([0, 1], &device)).err().unwrap();
/// assert_eq!(error.to_string(), "k is 3; it must be at least 1 and at most 2, the number of references");
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct KnnClassifierConfig {
    /// The number of neighbors, from 1 to the number of references.
    pub k: usize,
    /// The distance between a query and a reference. Default: `Euclidean`.
    #[config(default = "KnnMetric::Euclidean")]
    pub metric: KnnMetric,
    /// The weight of each neighbor's vote. Default: `Uniform`.
    #[config(default = "KnnWeights::Uniform")]
    pub weights: KnnWeights,
    /// The bound on the memory of a query: the number of pairs of query and reference that a device, or each thread of
    /// the processor, multiplies at one time. A pair takes 4 bytes. The number is rounded up to whole blocks of at most
    /// 256 references. It changes no answer. Default: `1048576`.
    #[config(default = "DEFAULT_MAX_PAIRS")]
    pub max_pairs: usize,
}

impl KnnClassifierConfig {
    /// Checks the settings that do not depend on the references.
    fn check(&self) -> Result<(), KnnError> {
        if self.max_pairs == 0 {
            return Err(KnnError::MaxPairs);
        }
        if self.metric == KnnMetric::InnerProduct && self.weights == KnnWeights::InverseDistance {
            return Err(KnnError::InverseInnerProduct);
        }
        Ok(())
    }

    /// Checks that `k` of this many references exist, which may be those with a weight above 0.
    fn check_k(&self, references: usize, are_weighted: bool) -> Result<(), KnnError> {
        let k = self.k;
        if (1..=references).contains(&k) {
            return Ok(());
        }
        Err(if are_weighted {
            let voters = references;
            KnnError::KVoters { k, voters }
        } else {
            KnnError::K { k, references }
        })
    }

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
        self.fit_references(references, labels, None)
    }

    /// [`fit`](Self::fit) with one weight per reference, which its votes are multiplied by.
    ///
    /// A reference of weight 0 counts as not given: it is no neighbor, takes no place among the k, and its label is no
    /// class unless another reference has it. So every query has votes. Among neighbors at distance 0 under
    /// [`KnnWeights::InverseDistance`] the weights decide. The weights move no neighbor: a reference of weight 2 votes
    /// twice, but takes one place among the k.
    ///
    /// # Shapes
    ///
    /// - references: `[num_references, feature_dim]`
    /// - labels: `[num_references]`, any integers of any integer type
    /// - sample_weights: `[num_references]`, each 0 or in `1e-15..=1e15`
    ///
    /// # Errors
    ///
    /// As [`fit`](Self::fit), and if the weights are not one per reference, not in their range or not on the
    /// references' device, or `k` is more than the number of references with a weight above 0.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_center_loss::{KnnClassifierConfig, KnnError};
    ///
    /// let device = Device::flex();
    /// let references = Tensor::<2>::from_floats([[0.0], [1.0], [2.0], [9.0]], &device);
    /// let labels = Tensor::from_ints([4, 7, 7, 7], &device);
    /// let weights = Tensor::from_floats([3.0, 1.0, 0.0, 1.0], &device);
    /// let classifier = KnnClassifierConfig::new(3).fit_weighted(references, labels, weights)?;
    ///
    /// // The third reference has weight 0, so the three nearest are the others: 3 votes for 4, and 2 for 7.
    /// let query = Tensor::<2>::from_floats([[1.5]], &device);
    /// let neighbors = classifier.kneighbors(query.clone())?;
    /// assert_eq!(neighbors.indices.to_data_as::<i64>().to_vec::<i64>().unwrap(), [1, 0, 3]);
    /// assert_eq!(classifier.predict(query)?.into_scalar::<i64>(), 4);
    /// # Ok::<(), KnnError>(())
    /// ```
    pub fn fit_weighted(
        &self,
        references: Tensor<2>,
        labels: Tensor<1, Int>,
        sample_weights: Tensor<1>,
    ) -> Result<KnnClassifier, KnnError> {
        self.fit_references(references, labels, Some(sample_weights))
    }

    fn fit_references(
        &self,
        references: Tensor<2>,
        labels: Tensor<1, Int>,
        sample_weights: Option<Tensor<1>>,
    ) -> Result<KnnClassifier, KnnError> {
        self.check()?;
        let device = references.device().without_autodiff();
        check_device("labels", &labels.device(), "references", &device)?;
        let mut labels = Labels::read(labels, "references", references.dims()[0])?;
        let mut references = Rows::read(references, "references")?;
        let mut weights = None;
        if let Some(given) = sample_weights {
            check_device("sample_weights", &given.device(), "references", &device)?;
            let given = SampleWeights::read(given, references.len())?;
            references = references.select(given.voters());
            labels = labels.select(given.voters());
            weights = Some(given);
        }
        self.check_k(references.len(), weights.is_some())?;
        let references = self.metric.prepare(references);
        Ok(KnnClassifier::new(
            self.clone(),
            references,
            labels,
            weights,
            &device,
        ))
    }
}

/// The stored form of a [`KnnClassifier`](crate::KnnClassifier), for any format of serde.
///
/// [`KnnClassifier::to_data`](crate::KnnClassifier::to_data) makes it,
/// [`KnnClassifier::from_data`](crate::KnnClassifier::from_data) takes it. It holds the configuration, the references
/// as the metric compares them, the labels in their integer type, and the weights of the references if there are any.
/// The search structure is not stored, nor are references of weight 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KnnClassifierData {
    config: KnnClassifierConfig,
    /// `[num_references, feature_dim]`: rows of unit length under `Cosine`.
    references: TensorData,
    /// `[num_references]`
    labels: TensorData,
    /// One for each reference that was given. Those above 0 are the weights of the stored references.
    sample_weights: Option<TensorData>,
}

/// The nearest references of each query, nearest first.
#[derive(Clone, Debug)]
pub struct Neighbors {
    /// Distances `[num_queries, k]`, as the [metric](crate::KnnMetric) reports them.
    pub distances: Tensor<2>,
    /// Indices of the references `[num_queries, k]`.
    pub indices: Tensor<2, Int>,
}

/// The k-nearest-neighbor classifier: a query gets the label with the most votes of its k nearest references. It is exact,
/// and the same on every backend.
///
/// ```text
/// votes(q, l)   = sum over the k nearest references r with label l of s(r) w(distance(q, r))
/// predict(q)    = the label with the most votes
/// proba(q, l)   = votes(q, l) / sum over all labels of votes(q, .)
/// ```
///
/// [`KnnMetric`](crate::KnnMetric) gives the distance and [`KnnWeights`](crate::KnnWeights) the weight w. s is 1, or the
/// reference's own weight if there are any ([`fit_weighted`](crate::KnnClassifierConfig::fit_weighted)). Of references
/// equally far from the query the one with the lowest index is nearer; of labels with equally many votes the lowest
/// wins. Votes are added in `f64`, nearest first.
///
/// Distances are direct differences in `f64`, summed in the order of the columns, so that answers do not depend on the
/// backend. Reported distances are rounded to the type of the queries. The search leaves out only references that cannot be
/// among the nearest:
///
/// - Up to 8 columns, except under `InnerProduct`, the references are in a k-d tree on the host. A query visits the
///   parts that may hold a neighbor.
/// - With more columns a matrix product on the device of the references gives every pair a key, with a bound on its
///   rounding. On `flex` and `ndarray` the factors are `f32`, and all threads look through the keys. Other devices may cut
///   the factors: there the product is three times as wide, and the smallest key of each block of references is read back.
///
/// If many references are nearly as far as the k-th, few can be left out. A query then costs up to one comparison with each
/// reference.
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
/// by distance treat a cosine distance as zero only if rounding makes it so; here it is zero for rows that are
/// exact multiples of each other. It takes no weights of references.
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
    /// The references that the search has are the voters.
    sample_weights: Option<SampleWeights>,
}

impl KnnClassifier {
    /// Takes references that the metric has prepared and that have `k` nearest, and one label for each. If there are
    /// weights, the references are the voters.
    fn new(
        config: KnnClassifierConfig,
        references: Rows,
        labels: Labels,
        sample_weights: Option<SampleWeights>,
        device: &Device,
    ) -> Self {
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
            sample_weights,
        }
    }

    /// The stored form of this classifier, for any format of serde.
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
            sample_weights: self.sample_weights.as_ref().map(SampleWeights::to_data),
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
            sample_weights,
        } = data;
        let device = device.clone().without_autodiff();
        config.check()?;
        let references = Rows::from_data(&references, "references")?;
        config.metric.check_prepared(&references, "references")?;
        config.check_k(references.len(), sample_weights.is_some())?;
        let labels = Labels::from_data(&labels, "references", references.len())?;
        check_dtype("labels", labels.dtype, &device)?;
        let weights = sample_weights
            .map(|weights| SampleWeights::from_data(&weights, references.len()))
            .transpose()?;
        Ok(Self::new(config, references, labels, weights, &device))
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
        let dtype = full_precision(queries.dtype());
        let neighbors = self.neighbors_of(queries)?;
        let shape = [neighbors.len() / self.config.k, self.config.k];
        let distances: Vec<f64> = neighbors
            .iter()
            .map(|neighbor| self.config.metric.distance(neighbor.rank))
            .collect();
        let indices: Vec<i64> = neighbors
            .iter()
            .map(|neighbor| match &self.sample_weights {
                Some(weights) => weights.voters()[neighbor.index] as i64,
                None => neighbor.index as i64,
            })
            .collect();
        let device = self.search.device();
        Ok(Neighbors {
            distances: float_tensor(distances, shape, dtype, device),
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
        let dtype = full_precision(queries.dtype());
        let neighbors = self.neighbors_of(queries)?;
        let shape = [neighbors.len() / self.config.k, self.classes.len()];
        let mut shares = Vec::with_capacity(shape[0] * shape[1]);
        self.for_each_vote(&neighbors, |votes| {
            let sum: f64 = votes.iter().sum();
            shares.extend(votes.iter().map(|vote| vote / sum));
        });
        Ok(float_tensor(shares, shape, dtype, self.search.device()))
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
                let weights = self.sample_weights.as_ref();
                let weight = weights.map_or(1.0, |weights| weights.of(neighbor.index));
                (distance, self.class_of[neighbor.index], weight)
            }));
            self.config.weights.tally(&voters, &mut votes);
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

impl fmt::Debug for KnnClassifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnnClassifier")
            .field("config", &self.config)
            .field("references", &self.search.references().shape())
            .field("classes", &self.classes)
            .finish_non_exhaustive()
    }
}

impl KnnWeights {
    /// Adds up the votes of one query's neighbors, nearest first, each a distance, the index of its class, and its own
    /// weight, which is above 0.
    ///
    /// The weights of distances are relative to the nearest neighbor's, which no distance can overflow and which is the rule for
    /// zero distances as it stands: zero over anything else is zero.
    pub(crate) fn tally(self, neighbors: &[(f64, usize, f64)], votes: &mut [f64]) {
        votes.fill(0.0);
        let nearest = neighbors.first().map_or(0.0, |(distance, ..)| *distance);
        for &(distance, class, weight) in neighbors {
            votes[class] += match self {
                Self::InverseDistance if distance != nearest => weight * (nearest / distance),
                _ => weight,
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

    fn tally<const N: usize>(votes: KnnWeights, neighbors: &[(f64, usize)]) -> [f64; N] {
        let mut tally = [7.0; N];
        let neighbors: Vec<_> = neighbors
            .iter()
            .map(|&(d, class)| (d, class, 1.0))
            .collect();
        votes.tally(&neighbors, &mut tally);
        tally
    }

    #[test]
    fn uniform_votes_are_counted() {
        let neighbors = [(0.0, 2), (1.0, 0), (5.0, 2)];
        assert_eq!(tally(KnnWeights::Uniform, &neighbors), [1.0, 0.0, 2.0]);
        assert_eq!(tally(KnnWeights::Uniform, &[]), [0.0]);
    }

    #[test]
    fn inverse_distances_are_relative_to_the_nearest() {
        let neighbors = [(2.0, 1), (2.0, 0), (4.0, 0), (8.0, 2)];
        let votes = tally(KnnWeights::InverseDistance, &neighbors);
        assert_eq!(votes, [1.5, 1.0, 0.25]);
    }

    #[test]
    fn at_distance_zero_no_other_neighbor_counts() {
        let neighbors = [(0.0, 1), (0.0, 0), (1e-300, 2), (f64::INFINITY, 2)];
        let votes = tally(KnnWeights::InverseDistance, &neighbors);
        assert_eq!(votes, [1.0, 1.0, 0.0]);
    }

    #[test]
    fn infinite_distances_count_only_among_themselves() {
        let infinity = f64::INFINITY;
        let votes = tally(
            KnnWeights::InverseDistance,
            &[(f64::MAX, 0), (infinity, 1), (infinity, 1)],
        );
        assert_eq!(votes, [1.0, 0.0]);
        let votes = tally(
            KnnWeights::InverseDistance,
            &[(infinity, 0), (infinity, 1), (infinity, 1)],
        );
        assert_eq!(votes, [1.0, 2.0]);
        // 1 / distance would overflow.
        let least = f64::from_bits(1);
        let votes = tally(KnnWeights::InverseDistance, &[(least, 0), (2.0 * least, 1)]);
        assert_eq!(votes, [1.0, 0.5]);
    }

    #[test]
    fn own_weights_multiply_the_weights_of_distances() {
        let mut votes = [7.0; 3];
        let neighbors = [(2.0, 1, 0.5), (2.0, 0, 3.0), (4.0, 0, 8.0), (8.0, 2, 1e15)];
        KnnWeights::InverseDistance.tally(&neighbors, &mut votes);
        assert_eq!(votes, [7.0, 0.5, 0.25e15]);
        KnnWeights::Uniform.tally(&neighbors, &mut votes);
        assert_eq!(votes, [11.0, 0.5, 1e15]);
        let neighbors = [(0.0, 1, 1e-15), (0.0, 0, 2e-15), (1e-300, 2, 1e15)];
        KnnWeights::InverseDistance.tally(&neighbors, &mut votes);
        assert_eq!(votes, [2e-15, 1e-15, 0.0]);
    }

    #[test]
    fn the_first_of_the_most_voted_wins() {
        assert_eq!(winner(&[0.0, 2.0, 1.0, 2.0]), 1);
        assert_eq!(winner(&[3.0, 2.0]), 0);
        assert_eq!(winner(&[0.5, 0.75]), 1);
        assert_eq!(winner(&[1.0]), 0);
    }
}
