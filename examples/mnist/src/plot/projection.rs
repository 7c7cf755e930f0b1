//! From features of any dimension to points of the plane.

/// A map from feature space to the plane, linear but for a shift.
pub struct Projection {
    mean: Vec<f64>,
    /// Two directions of feature space.
    axes: [Vec<f64>; 2],
}

impl Projection {
    /// The identity for two dimensions, the two principal components of `features` for more.
    ///
    /// One dimension is laid along the horizontal axis.
    pub fn fit(features: &[f32], feature_dim: usize) -> Self {
        let unit = |index: usize| {
            let mut axis = vec![0.0; feature_dim];
            if let Some(value) = axis.get_mut(index) {
                *value = 1.0;
            }
            axis
        };
        if feature_dim <= 2 {
            return Self {
                mean: vec![0.0; feature_dim],
                axes: [unit(0), unit(1)],
            };
        }
        let mean = mean(features, feature_dim);
        let mut covariance = covariance(features, &mean);
        let axes = [0, 1].map(|_| {
            let axis = leading_direction(&covariance);
            deflate(&mut covariance, &axis);
            axis
        });
        Self { mean, axes }
    }

    /// The point of one feature vector.
    pub fn point(&self, feature: &[f32]) -> (f64, f64) {
        let along = |axis: &[f64]| -> f64 {
            feature
                .iter()
                .zip(&self.mean)
                .zip(axis)
                .map(|((&value, mean), weight)| (f64::from(value) - mean) * weight)
                .sum()
        };
        (along(&self.axes[0]), along(&self.axes[1]))
    }
}

fn mean(features: &[f32], feature_dim: usize) -> Vec<f64> {
    let rows = features.chunks_exact(feature_dim);
    let count = rows.len().max(1) as f64;
    let mut mean = vec![0.0; feature_dim];
    for row in rows {
        for (sum, &value) in mean.iter_mut().zip(row) {
            *sum += f64::from(value) / count;
        }
    }
    mean
}

fn covariance(features: &[f32], mean: &[f64]) -> Vec<Vec<f64>> {
    let mut covariance = vec![vec![0.0; mean.len()]; mean.len()];
    for row in features.chunks_exact(mean.len()) {
        let centered: Vec<f64> = row
            .iter()
            .zip(mean)
            .map(|(&value, mean)| f64::from(value) - mean)
            .collect();
        for (sums, left) in covariance.iter_mut().zip(&centered) {
            for (sum, right) in sums.iter_mut().zip(&centered) {
                *sum += left * right;
            }
        }
    }
    covariance
}

/// The direction of the largest eigenvalue, by power iteration; its largest component is positive.
fn leading_direction(matrix: &[Vec<f64>]) -> Vec<f64> {
    const ROUNDS: usize = 500;
    // No special direction, so that it is at right angles to none of the likely ones.
    let mut direction: Vec<f64> = (0..matrix.len())
        .map(|index| 1.0 + (index as f64).sin() / 2.0)
        .collect();
    for _ in 0..ROUNDS {
        let image: Vec<f64> = matrix.iter().map(|row| dot(row, &direction)).collect();
        let norm = dot(&image, &image).sqrt();
        if norm == 0.0 {
            break;
        }
        direction = image.iter().map(|value| value / norm).collect();
    }
    let largest = direction
        .iter()
        .copied()
        .max_by(|left, right| left.abs().total_cmp(&right.abs()));
    if largest.is_some_and(|value| value < 0.0) {
        direction.iter_mut().for_each(|value| *value = -*value);
    }
    direction
}

/// Takes the part along `direction` out of `matrix`.
fn deflate(matrix: &mut [Vec<f64>], direction: &[f64]) {
    let image: Vec<f64> = matrix.iter().map(|row| dot(row, direction)).collect();
    let eigenvalue = dot(&image, direction);
    for (row, left) in matrix.iter_mut().zip(direction) {
        for (value, right) in row.iter_mut().zip(direction) {
            *value -= eigenvalue * left * right;
        }
    }
}

fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter()
        .zip(right)
        .map(|(left, right)| left * right)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_dimensions_stay_as_they_are_and_one_lies_flat() {
        let projection = Projection::fit(&[1.0, 2.0, 3.0, 5.0], 2);
        assert_eq!(projection.point(&[3.0, -5.0]), (3.0, -5.0));
        assert_eq!(Projection::fit(&[1.0, 2.0], 1).point(&[3.0]), (3.0, 0.0));
    }

    #[test]
    fn more_dimensions_are_seen_along_the_widest_two() {
        // Widest along the third dimension, then along the first, a little along the second.
        let mut features = Vec::new();
        for step in -10i8..=10 {
            let t = f32::from(step);
            features.extend([2.0 * (t * 1.3).sin(), 0.01 * (t * 2.1).cos(), 7.0 + t]);
        }
        let projection = Projection::fit(&features, 3);
        let (x, y) = projection.point(&[1.0, 0.0, 9.0]);
        let (x0, y0) = projection.point(&[0.0, 0.0, 7.0]);
        assert!((x - x0 - 2.0).abs() < 0.1, "{x} {x0}");
        assert!((y - y0 - 1.0).abs() < 0.1, "{y} {y0}");
    }
}
