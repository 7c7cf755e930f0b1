//! Classification by the nearest of one center per class.

use super::direct::Direct;
use super::error::KnnError;
use super::metric::KnnMetric;
use super::rows::{
    Rows, check_device, full_precision, full_precision_dtype, index_dtype, read_labels,
};
use super::score::accuracy;
use super::search::{DEFAULT_MAX_PAIRS, Search};
use crate::distance::{squared_euclidean, unit_rows};
use crate::loss::{CenterDistance, CenterLoss};
use alloc::vec;
use alloc::vec::Vec;
use burn::tensor::activation::softmin;
use burn::tensor::{DType, FloatDType, Int, Tensor, TensorData};

/// Labels a query with the class of its nearest center.
///
/// ```text
/// predict(q)   = argmin_j |q - c_j|^2, the lowest j where several are equally near
/// proba(q, j)  = exp(-|q - c_j|^2) / sum_l exp(-|q - c_l|^2)
/// ```
///
/// c_j is row j of the centers. Predictions compare direct differences in `f64`, summed in the order of the columns, so
/// that they and their ties are the same on every backend. Distances and probabilities are computed on the device in
/// the wider float type of queries and centers, half-precision floats taken as `f32`; two that differ by less than that
/// type holds can come out equal.
///
/// Every call reads the queries back from the device. Nothing receives gradients: tensors of an autodiff device are
/// accepted, results are on the device without autodiff.
///
/// # Shapes
///
/// - centers: `[num_classes, feature_dim]`
/// - queries: `[num_queries, feature_dim]`
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_center_loss::{KnnError, NearestCenter};
///
/// # fn main() -> Result<(), KnnError> {
/// let device = Device::flex();
/// let features = Tensor::<2>::from_floats([[0.0, 0.0], [0.0, 2.0], [4.0, 1.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([0, 0, 1], &device);
/// let classifier = NearestCenter::fit(features, labels, 2)?;
///
/// // The centers are (0, 1) and (4, 1); the second query is as far from one as from the other.
/// let queries = Tensor::<2>::from_floats([[3.0, 1.0], [2.0, 5.0]], &device);
/// let predictions = classifier.predict(queries.clone())?;
/// assert_eq!(predictions.to_data_as::<i64>().to_vec::<i64>().unwrap(), [1, 0]);
/// let squared = classifier.squared_distances(queries)?;
/// assert_eq!(squared.to_data_as::<f32>().to_vec::<f32>().unwrap(), [9.0, 1.0, 20.0, 20.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct NearestCenter {
    centers: Tensor<2>,
    /// Whether directions are compared, not positions; the centers have unit length then.
    directions: bool,
    search: Search,
    /// Answers in place of the search where there are few centers.
    direct: Option<Direct>,
}

impl NearestCenter {
    /// A classifier of the centers of a loss as they are now: by position, or by direction if the loss measures the
    /// [cosine distance](CenterDistance::Cosine). Reads the centers back from the device once.
    ///
    /// # Errors
    ///
    /// As [`from_centers`](Self::from_centers).
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_center_loss::{CenterLossConfig, KnnError, NearestCenter};
    ///
    /// # fn main() -> Result<(), KnnError> {
    /// let loss = CenterLossConfig::new(10, 2).init(&Device::flex());
    /// let classifier = NearestCenter::from_center_loss(&loss)?;
    /// let predictions = classifier.predict(loss.centers())?;
    /// assert_eq!(predictions.to_data_as::<i64>().to_vec::<i64>().unwrap(), (0..10).collect::<Vec<_>>());
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_center_loss(loss: &CenterLoss) -> Result<Self, KnnError> {
        match loss.config().distance {
            CenterDistance::Euclidean => Self::from_centers(loss.centers()),
            CenterDistance::Cosine => Self::from_directions(loss.centers()),
        }
    }

    /// A classifier of given centers, one row for each class. Reads them back from the device once.
    ///
    /// # Errors
    ///
    /// [`KnnError`] where there are no centers or no columns, or a center is not finite.
    pub fn from_centers(centers: Tensor<2>) -> Result<Self, KnnError> {
        Self::new(full_precision(centers), KnnMetric::SquaredEuclidean)
    }

    /// A classifier of the directions of given centers: centers and queries are brought to unit length, so that the
    /// nearest center is the one with the largest cosine, and squared distances are `2 (1 - cos)`. Zero rows stay zero.
    ///
    /// # Errors
    ///
    /// As [`from_centers`](Self::from_centers).
    pub fn from_directions(centers: Tensor<2>) -> Result<Self, KnnError> {
        Self::new(full_precision(centers), KnnMetric::Cosine)
    }

    fn new(centers: Tensor<2>, metric: KnnMetric) -> Result<Self, KnnError> {
        let rows = Rows::read(centers.clone(), "centers")?;
        let device = centers.device();
        let num_classes = rows.len();
        let directions = metric == KnnMetric::Cosine;
        Ok(Self {
            direct: (num_classes <= Direct::MAX_CENTERS)
                .then(|| Direct::new(metric.prepare(rows.clone()), metric)),
            search: Search::new(
                rows,
                (0..num_classes).collect(),
                metric,
                1,
                DEFAULT_MAX_PAIRS,
                &device,
            ),
            centers: match directions {
                true => unit_rows(centers),
                false => centers,
            },
            directions,
        })
    }

    /// A classifier whose centers are the means of the classes, summed in `f64`. Reads both tensors back from the
    /// device once.
    ///
    /// # Shapes
    ///
    /// - features: `[batch_size, feature_dim]`
    /// - labels: `[batch_size]`, in `0..num_classes`
    ///
    /// # Errors
    ///
    /// [`KnnError`] where there are no features, columns or classes, a feature is not finite, the labels are not one
    /// per row or not on the features' device, a label is not in `0..num_classes`, or a class has no sample.
    pub fn fit(
        features: Tensor<2>,
        labels: Tensor<1, Int>,
        num_classes: usize,
    ) -> Result<Self, KnnError> {
        if num_classes == 0 {
            return Err(KnnError::NumClasses);
        }
        let device = features.device().without_autodiff();
        let dtype = full_precision_dtype(features.dtype());
        check_device("labels", &labels.device(), "features", &device)?;
        let labels = read_labels(labels, "features", features.dims()[0])?;
        let features = Rows::read(features, "features")?;
        let means = class_means(&features, &labels, num_classes)?;
        let centers = TensorData::new(means, [num_classes, features.columns()]);
        Self::from_centers(Tensor::from_data(centers, (&device, dtype)))
    }

    /// The centers `[num_classes, feature_dim]`, of unit length where directions are compared.
    pub fn centers(&self) -> Tensor<2> {
        self.centers.clone()
    }

    /// The class of the nearest center for each query, `[num_queries]`.
    ///
    /// # Errors
    ///
    /// [`KnnError`] where there are no queries, or they are not finite, not as wide as the centers or on another
    /// device.
    pub fn predict(&self, queries: Tensor<2>) -> Result<Tensor<1, Int>, KnnError> {
        let classes = self.predict_classes(queries)?;
        let count = classes.len();
        let device = self.search.device();
        Ok(Tensor::from_data(
            TensorData::new(classes, [count]),
            (device, index_dtype(device)),
        ))
    }

    /// The squared distance of each query to each center, `[num_queries, num_classes]`.
    ///
    /// # Errors
    ///
    /// As [`predict`](Self::predict).
    pub fn squared_distances(&self, queries: Tensor<2>) -> Result<Tensor<2>, KnnError> {
        self.search.read_queries(queries.clone(), "centers")?;
        let (mut queries, mut centers) = (full_precision(queries), self.centers.clone());
        if queries.dtype() != centers.dtype() {
            queries = queries.cast(FloatDType::F64);
            centers = centers.cast(FloatDType::F64);
        }
        if self.directions {
            queries = unit_rows(queries);
        }
        Ok(squared_euclidean(queries, centers, DEFAULT_MAX_PAIRS))
    }

    /// The distance of each query to each center, `[num_queries, num_classes]`.
    ///
    /// # Errors
    ///
    /// As [`predict`](Self::predict).
    pub fn distances(&self, queries: Tensor<2>) -> Result<Tensor<2>, KnnError> {
        Ok(self.squared_distances(queries)?.sqrt())
    }

    /// The probability of each class for each query, `[num_queries, num_classes]`; each row sums to 1.
    ///
    /// Squared distances too large for the float type count as the largest that it holds, so that no probability is
    /// NaN.
    ///
    /// # Errors
    ///
    /// As [`predict`](Self::predict).
    pub fn predict_proba(&self, queries: Tensor<2>) -> Result<Tensor<2>, KnnError> {
        let squared = self.squared_distances(queries)?;
        let largest = match squared.dtype() {
            DType::F64 => f64::MAX,
            _ => f64::from(f32::MAX),
        };
        Ok(softmin(squared.clamp_max(largest), 1))
    }

    /// The share of queries whose predicted class is their label.
    ///
    /// # Errors
    ///
    /// As [`predict`](Self::predict), and where the labels are not one per query or on another device.
    pub fn score(&self, queries: Tensor<2>, labels: Tensor<1, Int>) -> Result<f64, KnnError> {
        check_device("labels", &labels.device(), "centers", self.search.device())?;
        let labels = read_labels(labels, "queries", queries.dims()[0])?;
        Ok(accuracy(&self.predict_classes(queries)?, &labels))
    }

    /// The search for the nearest center.
    pub(crate) fn search(&self) -> &Search {
        &self.search
    }

    fn predict_classes(&self, queries: Tensor<2>) -> Result<Vec<i64>, KnnError> {
        if let Some(direct) = &self.direct {
            return Ok(direct.nearest(&self.search.prepare(queries, "centers")?));
        }
        let nearest = self.search.answer(queries, "centers")?;
        Ok(nearest.iter().map(|center| center.index as i64).collect())
    }
}

impl core::fmt::Debug for NearestCenter {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("NearestCenter")
            .field("centers", &self.centers.dims())
            .finish_non_exhaustive()
    }
}

/// The mean of the features of each class, row after row.
fn class_means(features: &Rows, labels: &[i64], num_classes: usize) -> Result<Vec<f64>, KnnError> {
    let mut sums = Rows::from_values(
        vec![0.0; num_classes * features.columns()],
        features.columns(),
    );
    let mut counts = vec![0_usize; num_classes];
    for (index, (row, &label)) in features.iter().zip(labels).enumerate() {
        let class = usize::try_from(label)
            .ok()
            .filter(|class| *class < num_classes)
            .ok_or(KnnError::LabelRange {
                label,
                index,
                num_classes,
            })?;
        counts[class] += 1;
        for (sum, value) in sums.row_mut(class).iter_mut().zip(row) {
            *sum += value;
        }
    }
    for (class, (sum, &count)) in sums.iter_mut().zip(&counts).enumerate() {
        if count == 0 {
            return Err(KnnError::EmptyClass { class, num_classes });
        }
        sum.iter_mut().for_each(|value| *value /= count as f64);
    }
    Ok(sums.into_values())
}
