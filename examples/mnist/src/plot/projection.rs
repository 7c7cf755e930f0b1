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
        let unit = |axis| Vec::from_iter((0..feature_dim).map(|i| f64::from(i == axis)));
        let mut projection = Self {
            mean: vec![0.0; feature_dim],
            axes: [0, 1].map(unit),
        };
        if feature_dim <= 2 {
            return projection;
        }
        let rows = features.chunks_exact(feature_dim);
        for row in rows.clone() {
            let values = row
                .iter()
                .map(|&value| f64::from(value) / rows.len() as f64);
            add(&mut projection.mean, 1.0, values);
        }
        let mut covariance = vec![vec![0.0; feature_dim]; feature_dim];
        for row in rows.map(|row| projection.centered(row)) {
            for (line, &value) in covariance.iter_mut().zip(&row) {
                add(line, value, row.iter().copied());
            }
        }
        for axis in &mut projection.axes {
            let variance = leading_direction(&covariance, axis);
            for (line, &value) in covariance.iter_mut().zip(axis.iter()) {
                add(line, -variance * value, axis.iter().copied());
            }
        }
        projection
    }

    /// The point of one feature vector.
    pub fn point(&self, feature: &[f32]) -> (f64, f64) {
        let centered = self.centered(feature);
        (dot(&centered, &self.axes[0]), dot(&centered, &self.axes[1]))
    }

    fn centered(&self, feature: &[f32]) -> Vec<f64> {
        let values = feature.iter().zip(&self.mean);
        values
            .map(|(&value, mean)| f64::from(value) - mean)
            .collect()
    }
}

/// Turns `axis` to the widest direction of `covariance`, by power iteration, and returns its eigenvalue. The largest component is positive.
fn leading_direction(covariance: &[Vec<f64>], axis: &mut [f64]) -> f64 {
    const ROUNDS: usize = 200;
    // No special direction, so that it is at right angles to none of the likely ones.
    for (index, value) in axis.iter_mut().enumerate() {
        *value = 1.0 + f64::sin(index as f64) / 2.0;
    }
    let mut variance = 0.0;
    for _ in 0..ROUNDS {
        let image = Vec::from_iter(covariance.iter().map(|line| dot(line, axis)));
        let largest = image
            .iter()
            .copied()
            .max_by(|one, other| one.abs().total_cmp(&other.abs()));
        variance = dot(&image, &image).sqrt();
        if variance == 0.0 {
            break;
        }
        let length = variance.copysign(largest.unwrap_or(1.0));
        axis.iter_mut()
            .zip(image)
            .for_each(|(value, image)| *value = image / length);
    }
    variance
}

fn add(sum: &mut [f64], factor: f64, values: impl Iterator<Item = f64>) {
    let values = sum.iter_mut().zip(values);
    values.for_each(|(sum, value)| *sum += factor * value);
}

fn dot(left: &[f64], right: &[f64]) -> f64 {
    let values = left.iter().zip(right);
    values.map(|(left, right)| left * right).sum()
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
