//! Batches in f64 on the host, the formulas that all losses share, and central differences.

use burn::nn::loss::Reduction;
use burn::tensor::{DType, Device, Int, Tensor};
use burn_center_loss::{ClassBalance, LabelledBatch};

use crate::contract::Case;
use crate::devices::values;
use crate::fixtures::assert_close;
use crate::tensors::{labels, typed_matrix};

/// A batch and centers; the same numbers on every run.
#[derive(Clone, Debug)]
pub struct Plain {
    pub features: Vec<Vec<f64>>,
    pub labels: Vec<i64>,
    pub weights: Option<Vec<f64>>,
    pub centers: Vec<Vec<f64>>,
}

impl Plain {
    pub fn new(batch_size: usize, rows: usize, feature_dim: usize, seed: u64) -> Self {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut matrix = |count: usize| -> Vec<Vec<f64>> {
            let value = |bits: u64| (bits >> 11) as f64 / (1_u64 << 52) as f64 - 1.0;
            (0..count)
                .map(|_| (0..feature_dim).map(|_| 2.0 * value(next())).collect())
                .collect()
        };
        let (features, centers) = (matrix(batch_size), matrix(rows));
        let labels = (0..batch_size).map(|_| (next() % rows as u64) as i64);
        Self {
            labels: labels.collect(),
            features,
            weights: None,
            centers,
        }
    }

    pub fn with_weights(mut self) -> Self {
        let weight = |i: usize| [1.0, 0.5, 2.0, 0.0, 3.25][i % 5];
        self.weights = Some((0..self.features.len()).map(weight).collect());
        self
    }

    /// The same batch with its samples in another order.
    pub fn rotated(&self, by: usize) -> Self {
        let mut rotated = self.clone();
        rotated.features.rotate_left(by);
        rotated.labels.rotate_left(by);
        if let Some(weights) = &mut rotated.weights {
            weights.rotate_left(by);
        }
        rotated
    }

    pub fn features(&self, device: &Device) -> Tensor<2> {
        self.typed(DType::F64, device)
    }

    /// The features in a type.
    pub fn typed(&self, dtype: DType, device: &Device) -> Tensor<2> {
        typed_matrix(&self.features, dtype, device)
    }

    pub fn centers(&self, device: &Device) -> Tensor<2> {
        typed_matrix(&self.centers, DType::F64, device)
    }

    pub fn labels(&self, device: &Device) -> Tensor<1, Int> {
        labels(&self.labels, device)
    }

    /// The batch with the given features, and weights in `f64` if those are, in `f32` otherwise.
    pub fn batch_of(&self, features: Tensor<2>) -> LabelledBatch {
        let device = features.device();
        let dtype = match features.dtype() {
            DType::F64 => DType::F64,
            _ => DType::F32,
        };
        let batch = LabelledBatch::new(features, self.labels(&device));
        match self.weights.as_deref() {
            Some(weights) => batch.with_weights(Tensor::from_data(weights, (&device, dtype))),
            None => batch,
        }
    }

    pub fn batch(&self, device: &Device) -> LabelledBatch {
        self.batch_of(self.features(device))
    }

    /// The weight of each sample, 0 for an ignored one.
    pub fn counts(&self, ignore_label: Option<i64>) -> Vec<f64> {
        let weight = |i: usize| self.weights.as_ref().map_or(1.0, |weights| weights[i]);
        let is_ignored = |i: usize| ignore_label == Some(self.labels[i]);
        (0..self.labels.len())
            .map(|i| if is_ignored(i) { 0.0 } else { weight(i) })
            .collect()
    }

    /// The losses of the samples, weighed and reduced.
    pub fn weighed(&self, weighing: &Weighing, loss: impl Fn(usize) -> f64) -> Vec<f64> {
        let counts = self.counts(weighing.ignore_label);
        let class_weight = |i: usize| match &weighing.class_weights {
            Some(weights) if counts[i] > 0.0 => weights[self.labels[i] as usize],
            _ => 1.0,
        };
        let same = |i: usize| (0..counts.len()).filter(move |k| self.labels[*k] == self.labels[i]);
        let balance = |i: usize| match weighing.class_balance {
            ClassBalance::None => 1.0,
            ClassBalance::Histogram => same(i).map(|k| counts[k]).sum(),
        };
        let weighed = |i: usize| match counts[i] {
            0.0 => 0.0,
            count => count * class_weight(i) * loss(i) / balance(i),
        };
        let losses: Vec<f64> = (0..counts.len()).map(weighed).collect();
        if weighing.per_sample {
            return losses;
        }
        let sum: f64 = losses.iter().sum();
        let total: f64 = (0..counts.len()).map(|i| counts[i] * class_weight(i)).sum();
        vec![match &weighing.reduction {
            Reduction::Sum => sum,
            Reduction::BatchMean => sum / losses.len() as f64,
            Reduction::Mean | Reduction::Auto if total > 0.0 => sum / total,
            Reduction::Mean | Reduction::Auto => 0.0,
        }]
    }
}

/// The settings by which a loss weighs its samples.
#[derive(Clone, Debug)]
pub struct Weighing {
    pub class_balance: ClassBalance,
    pub reduction: Reduction,
    pub class_weights: Option<Vec<f64>>,
    pub ignore_label: Option<i64>,
    pub per_sample: bool,
}

/// Every way of weighing, for four classes.
pub fn weighings() -> Vec<Weighing> {
    let mut weighings = vec![];
    for class_balance in [ClassBalance::None, ClassBalance::Histogram] {
        for (per_sample, reduction) in [
            (false, Reduction::Mean),
            (false, Reduction::Sum),
            (false, Reduction::BatchMean),
            (true, Reduction::Mean),
        ] {
            let weights = Some(vec![0.5, 1.5, 2.5, 0.0]);
            for (class_weights, ignore_label) in [(None, None), (weights, Some(1))] {
                weighings.push(Weighing {
                    class_balance,
                    reduction: reduction.clone(),
                    class_weights,
                    ignore_label,
                    per_sample,
                });
            }
        }
    }
    weighings
}

/// Asserts that both gradients of a batch, in f64, are the central differences of a function of it.
pub fn assert_gradients(
    case: &Case,
    plain: &Plain,
    device: &Device,
    function: &dyn Fn(&Plain) -> Vec<f64>,
    tolerance: f64,
) {
    const STEP: f64 = 1e-5;
    let (name, found) = (case.name(), case.run(plain, device));
    let differences = |of: fn(&mut Plain) -> &mut Vec<Vec<f64>>| -> Vec<f64> {
        let moved = |row: usize, column: usize, step: f64| {
            let mut plain = plain.clone();
            of(&mut plain)[row][column] += step;
            function(&plain).iter().sum::<f64>()
        };
        let rows = of(&mut plain.clone()).clone();
        let entries = rows.iter().enumerate();
        entries
            .flat_map(|(i, row)| (0..row.len()).map(move |d| (i, d)))
            .map(|(i, d)| (moved(i, d, STEP) - moved(i, d, -STEP)) / (2.0 * STEP))
            .collect()
    };
    let expected = differences(|plain| &mut plain.features);
    assert_close(&name, &found.features.concat(), &expected, tolerance);
    if let Some(gradient) = found.of_centers {
        let expected = differences(|plain| &mut plain.centers);
        assert_close(&name, &gradient, &expected, tolerance);
    }
}

pub fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

pub fn squared_distance(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum()
}

pub fn norm(x: &[f64]) -> f64 {
    dot(x, x).sqrt()
}

/// The cosine of two vectors; 0 if one of them is zero.
pub fn cosine(x: &[f64], y: &[f64]) -> f64 {
    match norm(x) * norm(y) {
        0.0 => 0.0,
        lengths => dot(x, y) / lengths,
    }
}

pub fn log_sum_exp(exponents: impl Iterator<Item = f64>) -> f64 {
    let exponents: Vec<f64> = exponents.collect();
    let largest = exponents.iter().copied().fold(f64::MIN, f64::max);
    let sum: f64 = exponents.iter().map(|z| (z - largest).exp()).sum();
    largest + sum.ln()
}

/// Rows of a matrix on the device, as numbers.
pub fn rows_of(matrix: Tensor<2>) -> Vec<Vec<f64>> {
    let [_, columns] = matrix.dims();
    values(matrix)
        .chunks(columns)
        .map(<[f64]>::to_vec)
        .collect()
}

/// The rows of an answer, which must carry no graph.
pub fn answered<E: std::fmt::Debug>(answer: Result<Tensor<2>, E>) -> Vec<Vec<f64>> {
    let answer = answer.unwrap();
    assert!(!answer.is_autodiff());
    rows_of(answer)
}
