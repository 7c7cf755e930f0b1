//! The statistics for logging, against plain arithmetic.

use approx::assert_abs_diff_eq;
use burn::tensor::{Device, Int, Tensor};
use burn_center_loss::{CenterDistance, CenterLoss, CenterLossConfig, CenterStatistics};

use crate::devices::devices;

fn loss(rows: [[f32; 2]; 3], distance: CenterDistance, device: &Device) -> CenterLoss {
    CenterLossConfig::new(3, 2)
        .with_distance(distance)
        .with_ignore_label(Some(-1))
        .with_radius(0.5)
        .init_with_centers(Tensor::from_data(rows, device))
        .unwrap()
}

#[test]
fn statistics_are_plain_distances() {
    for device in devices() {
        let centers = [[0.0, 0.0], [0.0, 8.0], [6.0, 0.0]];
        let features = Tensor::<2>::from_data([[3.0, 4.0], [f32::NAN, 0.0], [6.0, 3.0]], &device);
        let labels = Tensor::<1, Int>::from_data([0, -1, 2], &device);
        let statistics = loss(centers, CenterDistance::Euclidean, &device)
            .statistics(features, labels)
            .unwrap();
        let CenterStatistics {
            mean_distance,
            min_center_distance,
            ratio,
            samples,
        } = statistics;
        assert_eq!(samples, 2);
        assert_abs_diff_eq!(mean_distance.unwrap(), 4.0, epsilon = 1e-5);
        assert_abs_diff_eq!(min_center_distance.unwrap(), 6.0, epsilon = 1e-5);
        assert_abs_diff_eq!(ratio.unwrap(), 4.0 / 6.0, epsilon = 1e-5);
    }
}

#[test]
fn statistics_of_a_cosine_loss_are_between_directions() {
    for device in devices() {
        let centers = [[5.0, 0.0], [0.0, 0.1], [-3.0, 0.0]];
        let features = Tensor::<2>::from_data([[0.0, 7.0], [0.0, 7.0]], &device);
        let labels = Tensor::<1, Int>::from_data([0, 1], &device);
        let statistics = loss(centers, CenterDistance::Cosine, &device)
            .statistics(features, labels)
            .unwrap();
        let right_angle = f64::sqrt(2.0);
        assert_abs_diff_eq!(
            statistics.mean_distance.unwrap(),
            right_angle / 2.0,
            epsilon = 1e-5
        );
        assert_abs_diff_eq!(
            statistics.min_center_distance.unwrap(),
            right_angle,
            epsilon = 1e-5
        );
    }
}
