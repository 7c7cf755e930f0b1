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
        let mut mean = vec![0.0; feature_dim];
        if feature_dim <= 2 {
            let unit = |axis| Vec::from_iter((0..feature_dim).map(|i| f64::from(i == axis)));
            let axes = [0, 1].map(unit);
            return Self { mean, axes };
        }
        let count = (features.len() / feature_dim).max(1) as f64;
        for (index, &value) in features.iter().enumerate() {
            mean[index % feature_dim] += f64::from(value) / count;
        }
        let rows = features.chunks_exact(feature_dim);
        let mut rows: Vec<Vec<f64>> = rows.map(|row| centered(row, &mean)).collect();
        let axes = [0, 1].map(|_| {
            let axis = leading_direction(&rows, feature_dim);
            for row in &mut rows {
                let part = dot(row, &axis);
                add(row, -part, &axis);
            }
            axis
        });
        Self { mean, axes }
    }

    /// The point of one feature vector.
    pub fn point(&self, feature: &[f32]) -> (f64, f64) {
        let centered = centered(feature, &self.mean);
        (dot(&centered, &self.axes[0]), dot(&centered, &self.axes[1]))
    }
}

/// The direction in which `rows` of mean zero are widest, by power iteration; its largest component is positive.
fn leading_direction(rows: &[Vec<f64>], feature_dim: usize) -> Vec<f64> {
    const ROUNDS: usize = 200;
    // No special direction, so that it is at right angles to none of the likely ones.
    let start = |index| 1.0 + f64::sin(index as f64) / 2.0;
    let mut direction: Vec<f64> = (0..feature_dim).map(start).collect();
    for _ in 0..ROUNDS {
        let mut image = vec![0.0; feature_dim];
        for row in rows {
            add(&mut image, dot(row, &direction), row);
        }
        let norm = dot(&image, &image).sqrt();
        if norm == 0.0 {
            break;
        }
        direction = image.iter().map(|value| value / norm).collect();
    }
    let values = direction.iter().copied();
    let largest = values.max_by(|left, right| left.abs().total_cmp(&right.abs()));
    let sign = largest.unwrap_or(1.0).signum();
    direction.iter().map(|value| sign * value).collect()
}

fn centered(row: &[f32], mean: &[f64]) -> Vec<f64> {
    let values = row.iter().copied().map(f64::from).zip(mean);
    values.map(|(value, mean)| value - mean).collect()
}

fn add(sum: &mut [f64], factor: f64, row: &[f64]) {
    let values = sum.iter_mut().zip(row);
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
