//! Classification of queries by their neighbors and by the nearest center.

use std::fmt;

use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_center_loss::{KnnClassifier, KnnClassifierConfig, NearestCenter};

use super::devices::sync;

const NUM_CLASSES: usize = 10;

/// The most pairs of query and reference that plain tensor operations compare at one time: 64 MiB of distances.
const MAX_PAIRS: usize = 1 << 24;

/// Uniform values from 0 to 1.
fn random(rows: usize, feature_dim: usize, device: &Device) -> Tensor<2> {
    Tensor::random([rows, feature_dim], Distribution::Default, device)
}

/// The numbers of references, queries, columns and neighbors.
#[derive(Clone, Copy)]
pub struct KnnShape {
    pub references: usize,
    pub queries: usize,
    pub feature_dim: usize,
    pub k: usize,
}

impl KnnShape {
    pub const fn new(references: usize, queries: usize, feature_dim: usize, k: usize) -> Self {
        Self {
            references,
            queries,
            feature_dim,
            k,
        }
    }
}

impl fmt::Display for KnnShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            references,
            queries,
            feature_dim,
            k,
        } = self;
        write!(f, "N{references}_Q{queries}_D{feature_dim}_k{k}")
    }
}

/// The library's k-NN on references of ten classes without any order. Waits for the device.
pub struct KnnCase {
    classifier: KnnClassifier,
    queries: Tensor<2>,
    device: Device,
}

impl KnnCase {
    pub fn new(shape: KnnShape, device: &Device) -> Self {
        device.seed(1);
        let labels = class_labels(shape.references, device);
        let references = random(shape.references, shape.feature_dim, device);
        let case = Self {
            classifier: KnnClassifierConfig::new(shape.k)
                .fit(references, labels)
                .expect("the references are valid"),
            queries: random(shape.queries, shape.feature_dim, device),
            device: device.clone(),
        };
        sync(device);
        case
    }

    pub fn predict(&self) -> Tensor<1, Int> {
        let labels = self
            .classifier
            .predict(self.queries.clone())
            .expect("the queries are valid");
        sync(&self.device);
        labels
    }
}

/// The same by plain tensor operations: all squared distances from one matrix product, the k smallest, and the class
/// with the most votes among them. Waits for the device.
pub struct PlainKnn {
    references: Tensor<2>,
    labels: Tensor<1, Int>,
    queries: Tensor<2>,
    k: usize,
    device: Device,
}

impl PlainKnn {
    pub fn new(shape: KnnShape, device: &Device) -> Self {
        device.seed(1);
        let case = Self {
            labels: class_labels(shape.references, device),
            references: random(shape.references, shape.feature_dim, device),
            queries: random(shape.queries, shape.feature_dim, device),
            k: shape.k,
            device: device.clone(),
        };
        sync(device);
        case
    }

    pub fn predict(&self) -> Tensor<1, Int> {
        let chunk = (MAX_PAIRS / self.references.dims()[0]).max(1);
        let labels = self
            .queries
            .clone()
            .split(chunk, 0)
            .into_iter()
            .map(|queries| self.predict_chunk(queries))
            .collect();
        let labels = Tensor::cat(labels, 0);
        sync(&self.device);
        labels
    }

    fn predict_chunk(&self, queries: Tensor<2>) -> Tensor<1, Int> {
        let [count, _] = queries.dims();
        let squared = squared_distances(queries, self.references.clone());
        let (_, nearest) = squared.neg().topk_with_indices(self.k, 1);
        let neighbors = self
            .labels
            .clone()
            .select(0, nearest.reshape([count * self.k]));
        let classes = Tensor::<1, Int>::arange(0..NUM_CLASSES as i64, &self.device);
        neighbors
            .reshape([count, self.k, 1])
            .equal(classes.reshape([1, 1, NUM_CLASSES]))
            .int()
            .sum_dim(1)
            .squeeze_dim::<2>(1)
            .argmax(1)
            .squeeze_dim(1)
    }
}

/// The numbers of centers, queries and columns.
#[derive(Clone, Copy)]
pub struct CentersShape {
    pub centers: usize,
    pub queries: usize,
    pub feature_dim: usize,
}

impl CentersShape {
    pub const fn new(centers: usize, queries: usize, feature_dim: usize) -> Self {
        Self {
            centers,
            queries,
            feature_dim,
        }
    }
}

impl fmt::Display for CentersShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            centers,
            queries,
            feature_dim,
        } = self;
        write!(f, "C{centers}_Q{queries}_D{feature_dim}")
    }
}

/// The library's classifier by the nearest center. Waits for the device.
pub struct NearestCenterCase {
    classifier: NearestCenter,
    queries: Tensor<2>,
    device: Device,
}

impl NearestCenterCase {
    pub fn new(shape: CentersShape, device: &Device) -> Self {
        device.seed(1);
        let centers = random(shape.centers, shape.feature_dim, device);
        let case = Self {
            classifier: NearestCenter::from_centers(centers).expect("the centers are valid"),
            queries: random(shape.queries, shape.feature_dim, device),
            device: device.clone(),
        };
        sync(device);
        case
    }

    pub fn predict(&self) -> Tensor<1, Int> {
        let labels = self
            .classifier
            .predict(self.queries.clone())
            .expect("the queries are valid");
        sync(&self.device);
        labels
    }
}

/// The same by plain tensor operations: squared distances from one matrix product, and the smallest of each row. Waits
/// for the device.
pub struct PlainNearestCenter {
    centers: Tensor<2>,
    queries: Tensor<2>,
    device: Device,
}

impl PlainNearestCenter {
    pub fn new(shape: CentersShape, device: &Device) -> Self {
        device.seed(1);
        let case = Self {
            centers: random(shape.centers, shape.feature_dim, device),
            queries: random(shape.queries, shape.feature_dim, device),
            device: device.clone(),
        };
        sync(device);
        case
    }

    pub fn predict(&self) -> Tensor<1, Int> {
        let squared = squared_distances(self.queries.clone(), self.centers.clone());
        let labels = squared.argmin(1).squeeze_dim(1);
        sync(&self.device);
        labels
    }
}

/// Baselines that compute something else would say nothing. The rounding of a matrix product may decide between
/// neighbors that are nearly as far, so a few labels may differ.
pub fn assert_plain_predictions_are_the_same(device: &Device) {
    let shape = KnnShape::new(1_000, 1_000, 8, 5);
    let (ours, plain) = (KnnCase::new(shape, device), PlainKnn::new(shape, device));
    assert_same(ours.predict(), plain.predict());
    let shape = CentersShape::new(10, 1_000, 2);
    let ours = NearestCenterCase::new(shape, device);
    let plain = PlainNearestCenter::new(shape, device);
    assert_same(ours.predict(), plain.predict());
}

fn assert_same(ours: Tensor<1, Int>, plain: Tensor<1, Int>) {
    let [count] = ours.dims();
    let plain = plain.cast(ours.dtype());
    let same = ours.equal(plain).int().sum().into_scalar::<i64>();
    assert!(
        same * 100 >= count as i64 * 99,
        "{same} of {count} are the same"
    );
}

fn class_labels(samples: usize, device: &Device) -> Tensor<1, Int> {
    Tensor::arange(0..samples as i64, device) % NUM_CLASSES as i64
}

/// `|q|^2 + |r|^2 - 2 q.r`, `[num_queries, num_references]`.
fn squared_distances(queries: Tensor<2>, references: Tensor<2>) -> Tensor<2> {
    let of_queries = queries.clone().square().sum_dim(1);
    let of_references = references.clone().square().sum_dim(1).transpose();
    of_queries + of_references - queries.matmul(references.transpose()) * 2.0
}
