//! Classification by the nearest of one center per class.

use super::comparison::Comparison;
use super::error::KnnError;
use super::labels::{Labels, accuracy};
use super::metric::KnnMetric;
use super::nearest::Neighbor;
use super::rows::{
    Rows, check_device, check_dtype, check_full_precision, float_tensor, full_precision,
    index_tensor,
};
use super::search::{DEFAULT_MAX_PAIRS, Search};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The most centers for which comparing all is faster than leaving most of them out.
const MAX_COMPARED: usize = 32;

/// The nearest-center classifier: a query gets the class of its nearest center.
///
/// ```text
/// predict(q)   = argmin_j |q - c_j|^2, the lowest j if several are equally near
/// proba(q, j)  = exp(-|q - c_j|^2) / sum_l exp(-|q - c_l|^2)
/// ```
///
/// c_j is row j of the centers. Distances are direct differences in `f64`, summed on the host in the order of the
/// columns, so that answers and their ties are the same on every backend. Distances and probabilities are rounded to the
/// wider float type of queries and centers, at least `f32`. A distance is infinite if this type cannot hold it, or `f64`
/// its square. No result is NaN.
///
/// Every call reads the queries back from the device. Nothing receives gradients: tensors of an autodiff device are
/// accepted, results are on the device without autodiff.
///
/// [`to_data`](Self::to_data) and [`from_data`](Self::from_data) store a classifier.
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
    /// Has the centers as rows; compares positions under `SquaredEuclidean`, directions under `Cosine`.
    search: Search,
    centers: Tensor<2>,
    /// How many centers a class has, which follow each other.
    sub_centers: usize,
}

impl NearestCenter {
    /// A classifier of given centers, one row for each class. Reads them back from the device once.
    ///
    /// # Shapes
    ///
    /// - centers: `[num_classes, feature_dim]`
    ///
    /// # Errors
    ///
    /// [`KnnError`] if there are no centers or no columns, or a center is not finite.
    pub fn from_centers(centers: Tensor<2>) -> Result<Self, KnnError> {
        Self::read(centers, KnnMetric::SquaredEuclidean, 1)
    }

    /// A classifier of the directions of given centers.
    ///
    /// Centers and queries are brought to unit length. So the nearest center is the one with the largest cosine, and
    /// squared distances are `2 (1 - cos)`. A row of zeros has no direction: its cosine with any row counts as 0.
    ///
    /// # Shapes
    ///
    /// - centers: `[num_classes, feature_dim]`
    ///
    /// # Errors
    ///
    /// As [`from_centers`](Self::from_centers).
    pub fn from_directions(centers: Tensor<2>) -> Result<Self, KnnError> {
        Self::from_sub_directions(centers, 1)
    }

    /// [`from_directions`](Self::from_directions) of several centers per class, which follow each other: the nearest
    /// one of a class counts. Their number is a multiple of `sub_centers`, which is at least 1.
    pub(crate) fn from_sub_directions(
        centers: Tensor<2>,
        sub_centers: usize,
    ) -> Result<Self, KnnError> {
        Self::read(centers, KnnMetric::Cosine, sub_centers)
    }

    /// [`from_centers`](Self::from_centers) with several centers per class, as
    /// [`from_sub_directions`](Self::from_sub_directions) takes them.
    pub(crate) fn from_sub_centers(
        centers: Tensor<2>,
        sub_centers: usize,
    ) -> Result<Self, KnnError> {
        Self::read(centers, KnnMetric::SquaredEuclidean, sub_centers)
    }

    fn read(centers: Tensor<2>, metric: KnnMetric, sub_centers: usize) -> Result<Self, KnnError> {
        let dtype = full_precision(centers.dtype());
        let device = centers.device().without_autodiff();
        let rows = metric.prepare(Rows::read(centers, "centers")?);
        Ok(Self::new(rows, sub_centers, dtype, metric, &device))
    }

    /// Takes centers that the metric has prepared.
    fn new(
        centers: Rows,
        sub_centers: usize,
        dtype: DType,
        metric: KnnMetric,
        device: &Device,
    ) -> Self {
        let order = (0..centers.len()).collect();
        Self {
            centers: Tensor::from_data(centers.to_data(), (device, dtype)),
            search: Search::new(centers, order, metric, 1, DEFAULT_MAX_PAIRS, device),
            sub_centers,
        }
    }

    /// The stored form of this classifier, for any format of serde.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_center_loss::{NearestCenter, NearestCenterData};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let device = Device::flex();
    /// let classifier = NearestCenter::from_centers(Tensor::from_floats([[0.0, 0.0], [5.0, 5.0]], &device))?;
    ///
    /// let text = serde_json::to_string(&classifier.to_data())?;
    ///
    /// let data: NearestCenterData = serde_json::from_str(&text)?;
    /// let loaded = NearestCenter::from_data(data, &device)?;
    /// let queries = Tensor::<2>::from_floats([[4.0, 5.0]], &device);
    /// assert_eq!(loaded.predict(queries)?.into_scalar::<i64>(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn to_data(&self) -> NearestCenterData {
        NearestCenterData {
            centers: self.search.references().to_data(),
            sub_centers: self.sub_centers,
            dtype: self.centers.dtype(),
            directions: self.search.metric() == KnnMetric::Cosine,
        }
    }

    /// The stored classifier on a device, which may be another than it was made on. Every answer is the same, bit by
    /// bit.
    ///
    /// # Errors
    ///
    /// [`KnnError`] if the data is inconsistent, or the device does not support the float type of the centers.
    ///
    /// # Example
    ///
    /// See [`to_data`](Self::to_data).
    pub fn from_data(data: NearestCenterData, device: &Device) -> Result<Self, KnnError> {
        let NearestCenterData {
            centers,
            sub_centers,
            dtype,
            directions,
        } = data;
        let device = device.clone().without_autodiff();
        let metric = if directions {
            KnnMetric::Cosine
        } else {
            KnnMetric::SquaredEuclidean
        };
        let centers = Rows::from_data(&centers, "centers")?;
        metric.check_prepared(&centers, "centers")?;
        check_full_precision("centers", dtype)?;
        check_dtype("centers", dtype, &device)?;
        if sub_centers == 0 || !centers.len().is_multiple_of(sub_centers) {
            let rows = centers.len();
            return Err(KnnError::Stored {
                name: "centers",
                reason: format!(
                    "with {rows} rows and {sub_centers} for each class; the rows must be a multiple of it"
                ),
            });
        }
        Ok(Self::new(centers, sub_centers, dtype, metric, &device))
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
    /// [`KnnError`] if there are no features, columns or classes, a feature is not finite, the labels are not one
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
        let dtype = full_precision(features.dtype());
        check_device("labels", &labels.device(), "features", &device)?;
        let labels = Labels::read(labels, "features", features.dims()[0])?;
        let features = Rows::read(features, "features")?;
        let classes = classes(&labels.values, num_classes)?;
        let means = class_means(&features, &classes, num_classes);
        let shape = [num_classes, features.columns()];
        Self::from_centers(float_tensor(means, shape, dtype, &device))
    }

    /// The centers `[num_classes, feature_dim]`, of unit length if directions are compared. There are more rows if
    /// classes have sub-centers ([`MarginSoftmax::nearest_center`](crate::MarginSoftmax::nearest_center),
    /// [`DistanceSoftmax::nearest_center`](crate::DistanceSoftmax::nearest_center)).
    pub fn centers(&self) -> Tensor<2> {
        self.centers.clone()
    }

    /// The class of the nearest center for each query, `[num_queries]`.
    ///
    /// # Errors
    ///
    /// [`KnnError`] if there are no queries, or they are not finite, not as wide as the centers or on another
    /// device.
    pub fn predict(&self, queries: Tensor<2>) -> Result<Tensor<1, Int>, KnnError> {
        let classes = self.predict_classes(queries)?;
        let count = classes.len();
        Ok(index_tensor(classes, [count], self.search.device()))
    }

    /// The squared distance of each query to each center, `[num_queries, num_classes]`.
    ///
    /// # Errors
    ///
    /// As [`predict`](Self::predict).
    pub fn squared_distances(&self, queries: Tensor<2>) -> Result<Tensor<2>, KnnError> {
        self.table(queries, |_| {})
    }

    /// The distance of each query to each center, `[num_queries, num_classes]`.
    ///
    /// # Errors
    ///
    /// As [`predict`](Self::predict).
    pub fn distances(&self, queries: Tensor<2>) -> Result<Tensor<2>, KnnError> {
        self.table(queries, |squared| {
            squared.iter_mut().for_each(|value| *value = value.sqrt());
        })
    }

    /// The probability of each class for each query, `[num_queries, num_classes]`; each row sums to 1.
    ///
    /// Squared distances that `f64` cannot hold count as the largest that it holds, so that no probability is NaN.
    ///
    /// # Errors
    ///
    /// As [`predict`](Self::predict).
    pub fn predict_proba(&self, queries: Tensor<2>) -> Result<Tensor<2>, KnnError> {
        self.table(queries, softmin)
    }

    /// The share of queries whose predicted class is their label.
    ///
    /// # Errors
    ///
    /// As [`predict`](Self::predict), and if the labels are not one per query or on another device.
    pub fn score(&self, queries: Tensor<2>, labels: Tensor<1, Int>) -> Result<f64, KnnError> {
        check_device("labels", &labels.device(), "centers", self.search.device())?;
        let labels = Labels::read(labels, "queries", queries.dims()[0])?;
        let predictions = self.predict_classes(queries)?;
        Ok(accuracy(
            predictions.into_iter().map(i128::from),
            &labels.values,
        ))
    }

    /// The search for the nearest center.
    pub(crate) fn search(&self) -> &Search {
        &self.search
    }

    fn predict_classes(&self, queries: Tensor<2>) -> Result<Vec<i64>, KnnError> {
        let queries = self.search.prepare(queries, "centers")?;
        let centers = self.search.references();
        let sub_centers = self.sub_centers;
        if centers.len() > MAX_COMPARED {
            let nearest = self.search.nearest(&queries, 1);
            let class = |center: &Neighbor| (center.index / sub_centers) as i64;
            return Ok(nearest.iter().map(class).collect());
        }
        let nearest = Comparison::new(centers, self.search.metric()).nearest(&queries);
        let class = |center| center / sub_centers as i64;
        Ok(nearest.into_iter().map(class).collect())
    }

    /// A tensor `[num_queries, num_classes]` in the wider float type of queries and centers. Its rows are the squared
    /// distances of a query, changed by `finish`.
    fn table(
        &self,
        queries: Tensor<2>,
        finish: impl Fn(&mut [f64]) + Send + Sync,
    ) -> Result<Tensor<2>, KnnError> {
        let dtype = match self.centers.dtype() {
            DType::F64 => DType::F64,
            _ => full_precision(queries.dtype()),
        };
        let queries = self.search.prepare(queries, "centers")?;
        let classes = self.search.references().len() / self.sub_centers;
        let metric = self.search.metric();
        let mut table = vec![0.0; queries.len() * classes];
        let numbers: Vec<usize> = (0..queries.len()).collect();
        Comparison::new(self.search.references(), metric).for_each_query(
            &queries,
            &numbers,
            &mut table,
            || (),
            |(), _, ranks, row| {
                if self.sub_centers == 1 {
                    row.copy_from_slice(ranks);
                } else {
                    let classes = ranks.chunks_exact(self.sub_centers);
                    for (value, ranks) in row.iter_mut().zip(classes) {
                        *value = ranks.iter().copied().fold(f64::INFINITY, f64::min);
                    }
                }
                row.iter_mut()
                    .for_each(|rank| *rank = metric.squared(*rank));
                finish(row);
            },
            &mut |_| (),
        );
        let shape = [queries.len(), classes];
        Ok(float_tensor(table, shape, dtype, self.search.device()))
    }
}

impl fmt::Debug for NearestCenter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NearestCenter")
            .field("centers", &self.centers.dims())
            .finish_non_exhaustive()
    }
}

/// The classes that labels in `0..num_classes` name.
fn classes(labels: &[i128], num_classes: usize) -> Result<Vec<usize>, KnnError> {
    let class = |(index, &label): (usize, &i128)| {
        usize::try_from(label)
            .ok()
            .filter(|class| *class < num_classes)
            .ok_or(KnnError::LabelRange {
                label,
                index,
                num_classes,
            })
    };
    let classes: Vec<usize> = labels
        .iter()
        .enumerate()
        .map(class)
        .collect::<Result<_, _>>()?;
    let mut occurs = vec![false; num_classes];
    for &class in &classes {
        occurs[class] = true;
    }
    match occurs.iter().position(|occurs| !occurs) {
        Some(class) => Err(KnnError::EmptyClass { class, num_classes }),
        None => Ok(classes),
    }
}

/// Sums that overflow are computed again of values scaled by this power of two.
const MEAN_SCALE: f64 = f64::from_bits((1023 - 64) << 52);

/// The mean of the rows of each class, class after class. Each class must have a row.
pub(crate) fn class_means(rows: &Rows, classes: &[usize], num_classes: usize) -> Vec<f64> {
    let columns = rows.columns();
    let mut counts = vec![0.0; num_classes];
    for &class in classes {
        counts[class] += 1.0;
    }
    let means = |scale: f64| {
        let mut means = vec![0.0; num_classes * columns];
        for (row, &class) in rows.iter().zip(classes) {
            let sums = &mut means[class * columns..][..columns];
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += value * scale;
            }
        }
        for (sums, count) in means.chunks_exact_mut(columns).zip(&counts) {
            sums.iter_mut().for_each(|sum| *sum /= count);
        }
        means
    };
    let mut unscaled = means(1.0);
    if unscaled.iter().any(|mean| !mean.is_finite()) {
        // A sum overflowed. Rounding may bring the mean above the largest of the values.
        for (mean, scaled) in unscaled.iter_mut().zip(means(MEAN_SCALE)) {
            if !mean.is_finite() {
                *mean = (scaled / MEAN_SCALE).clamp(-f64::MAX, f64::MAX);
            }
        }
    }
    unscaled
}

/// Replaces each value by `exp(-x_j) / sum_l exp(-x_l)`. No value may be NaN. Infinite values count as `f64::MAX`.
fn softmin(values: &mut [f64]) {
    let least = values.iter().copied().fold(f64::MAX, f64::min);
    let mut sum = 0.0;
    for value in values.iter_mut() {
        *value = (least - value.min(f64::MAX)).exp();
        sum += *value;
    }
    values.iter_mut().for_each(|value| *value /= sum);
}

/// The stored form of a [`NearestCenter`](crate::NearestCenter), for any format of serde.
///
/// [`NearestCenter::to_data`](crate::NearestCenter::to_data) makes it,
/// [`NearestCenter::from_data`](crate::NearestCenter::from_data) takes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NearestCenterData {
    /// `[num_classes * sub_centers, feature_dim]`: rows of unit length if directions are compared.
    centers: TensorData,
    /// How many centers a class has.
    sub_centers: usize,
    /// The float type of the classifier's centers.
    dtype: DType,
    /// Whether directions are compared, not positions.
    directions: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn means(values: &[f64], classes: &[usize]) -> Vec<f64> {
        let rows = Rows::from_values(values.to_vec(), values.len() / classes.len());
        class_means(&rows, classes, classes.iter().max().unwrap() + 1)
    }

    #[test]
    fn means_of_each_class_and_column() {
        let rows = [1.0, 10.0, 5.0, 50.0, 3.0, 40.0];
        assert_eq!(means(&rows, &[1, 0, 1]), [5.0, 50.0, 2.0, 25.0]);
    }

    #[test]
    fn sums_that_overflow_have_a_mean() {
        let max = f64::MAX;
        assert_eq!(means(&[max, max, -max, -max], &[0; 4]), [0.0]);
        assert_eq!(means(&[max, max, -max, max], &[0; 4]), [max / 2.0]);
        assert_eq!(means(&[-max, -max], &[0; 2]), [-max]);
        assert_eq!(means(&[max; 7], &[0; 7]), [max]);
        assert_eq!(means(&[max, max, 6.0, 4.0], &[0, 0, 1, 1]), [max, 5.0]);
        // Large values that cancel leave the small one.
        let small = 2.0_f64.powi(-80);
        assert_eq!(
            means(&[max, max, -max, -max, 5.0 * small], &[0; 5]),
            [small]
        );
    }

    fn softmin_of<const N: usize>(mut values: [f64; N]) -> [f64; N] {
        softmin(&mut values);
        values
    }

    #[test]
    fn probabilities_of_small_values() {
        let actual = softmin_of([1.0, 0.0, 2.0_f64.ln()]);
        let sum = (-1.0_f64).exp() + 1.0 + 0.5;
        for (actual, weight) in actual.into_iter().zip([(-1.0_f64).exp(), 1.0, 0.5]) {
            assert!((actual - weight / sum).abs() < 1e-15);
        }
    }

    #[test]
    fn large_values_differ_and_infinite_ones_are_equal() {
        assert_eq!(softmin_of([1e300, 2e300]), [1.0, 0.0]);
        assert_eq!(softmin_of([f64::INFINITY, 1e300]), [0.0, 1.0]);
        assert_eq!(softmin_of([f64::INFINITY; 2]), [0.5, 0.5]);
        assert_eq!(softmin_of([f64::INFINITY, f64::MAX]), [0.5, 0.5]);
    }
}
