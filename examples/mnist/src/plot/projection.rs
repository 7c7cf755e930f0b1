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
        let unit = |axis| Vec::from_iter((0..feature_dim).map(|index| f64::from(index == axis)));
        let mut axes = [0, 1].map(unit);
        if feature_dim <= 2 {
            let mean = vec![0.0; feature_dim];
            return Self { mean, axes };
        }
        let rows = features.chunks_exact(feature_dim);
        let column = |index| rows.clone().map(move |row| f64::from(row[index]));
        let columns = (0..feature_dim).map(|index| Vec::from_iter(column(index)));
        let mut columns = Vec::from_iter(columns);
        let sum = |column: &Vec<f64>| column.iter().sum::<f64>();
        let mean = Vec::from_iter(
            columns
                .iter()
                .map(|column| sum(column) / column.len() as f64),
        );
        for (column, mean) in columns.iter_mut().zip(&mean) {
            column.iter_mut().for_each(|value| *value -= mean);
        }
        let line = |one: &Vec<f64>| Vec::from_iter(columns.iter().map(|other| dot(one, other)));
        let mut covariance = Vec::from_iter(columns.iter().map(line));
        for axis in &mut axes {
            let variance = turn_to_widest(axis, &covariance);
            for (line, one) in covariance.iter_mut().zip(&*axis) {
                let values = line.iter_mut().zip(&*axis);
                values.for_each(|(value, other)| *value -= variance * one * other);
            }
        }
        Self { mean, axes }
    }

    /// The point of one feature vector.
    pub fn point(&self, feature: &[f32]) -> [f64; 2] {
        let values = feature.iter().zip(&self.mean);
        let centered = Vec::from_iter(values.map(|(&value, mean)| f64::from(value) - mean));
        [0, 1].map(|axis| dot(&centered, &self.axes[axis]))
    }
}

/// Turns `axis` to the widest direction, by power iteration, and returns the eigenvalue. The largest component is positive.
fn turn_to_widest(axis: &mut Vec<f64>, covariance: &[Vec<f64>]) -> f64 {
    const ROUNDS: usize = 200;
    // No special direction, so that it is at right angles to none of the likely ones.
    *axis = (0..covariance.len())
        .map(|index| 1.0 + f64::sin(index as f64) / 2.0)
        .collect();
    let mut variance = 0.0;
    for _ in 0..ROUNDS {
        let image = Vec::from_iter(covariance.iter().map(|line| dot(line, axis)));
        variance = dot(&image, &image).sqrt();
        let largest = image
            .iter()
            .copied()
            .max_by(|one, other| one.abs().total_cmp(&other.abs()));
        if variance > 0.0 {
            let length = variance.copysign(largest.unwrap_or(1.0));
            *axis = image.iter().map(|value| value / length).collect();
        }
    }
    variance
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
        assert_eq!(projection.point(&[3.0, -5.0]), [3.0, -5.0]);
        assert_eq!(Projection::fit(&[1.0, 2.0], 1).point(&[3.0]), [3.0, 0.0]);
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
        let [x, y] = projection.point(&[1.0, 0.0, 9.0]);
        let [x0, y0] = projection.point(&[0.0, 0.0, 7.0]);
        assert!((x - x0 - 2.0).abs() < 0.1, "{x} {x0}");
        assert!((y - y0 - 1.0).abs() < 0.1, "{y} {y0}");
    }
}
