use burn::tensor::{Int, Tensor};

use super::margin_softmax::MarginSoftmax;
use crate::batch::{Checking, LabelledBatch, Weighing, check_finite, index};
use crate::error::{LossError, radians};
use crate::loss::common::LossConfig;
use crate::softmax::target_angles;

/// The samples that [`MarginSoftmax::outliers`] finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outliers {
    /// The samples that are far from the dominant sub-center of their class, in ascending order.
    pub samples: Vec<usize>,
    /// The dominant sub-center of each class, `0..sub_centers`; `None` for a class without samples.
    pub dominant: Vec<Option<usize>>,
}

impl MarginSoftmax {
    /// The samples that may be labelled wrong: those whose angle to the dominant sub-center of their class is
    /// above `angle`. The dominant sub-center is the one that is the closest to most samples of the class, the
    /// first of several such.
    ///
    /// Sub-centers exist for this: one gathers the clean samples of a class, the others the mislabelled ones.
    /// Deng et al. drop all samples that are more than 75 degrees from the dominant one, and train again with
    /// one vector per class. Give all training samples at once, or at least whole classes: the dominant
    /// sub-center is counted over the samples of this call. Moves nothing, and reads from the device.
    ///
    /// # Shapes
    ///
    /// - features: `[num_samples, feature_dim]`
    /// - labels: `[num_samples]`; ignored labels do not count
    /// - angle: in radians
    ///
    /// # Errors
    ///
    /// Those of [`try_forward`](Self::try_forward) under [`Checking::Strict`] for shapes, devices, labels and
    /// features, [`LossError::Center`] for a class vector that is not finite, even of a class without samples,
    /// and [`LossError::Setting`] for an angle outside `0..pi`.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_center_loss::MarginSoftmaxConfig;
    ///
    /// let device = Device::flex();
    /// // One class with two sub-centers, and one without samples.
    /// let vectors = Tensor::from_data([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]], &device);
    /// let loss = MarginSoftmaxConfig::new(2, 2).with_sub_centers(2).init_with_centers(vectors)?;
    /// let features = Tensor::from_data([[2.0, 0.0], [3.0, 0.1], [0.0, 1.0], [1.0, 0.9]], &device);
    /// let found = loss.outliers(features, Tensor::from_data([0, 0, 0, 0], &device), 75_f64.to_radians())?;
    /// assert_eq!(found.samples, [2]);
    /// assert_eq!(found.dominant, [Some(0), None]);
    /// # Ok::<(), burn_center_loss::LossError>(())
    /// ```
    #[doc(alias = "get_outliers")]
    pub fn outliers(
        &self,
        features: Tensor<2>,
        labels: Tensor<1, Int>,
        angle: f64,
    ) -> Result<Outliers, LossError> {
        let angle = radians("angle", angle)?;
        self.centers.check_present()?;
        let centers = self.centers.constant();
        let device = self.centers.device();
        let rules = self.config.rules(Checking::Strict);
        let batch = LabelledBatch::new(features.without_autodiff(), labels);
        let mut batch = rules.check(batch, device, self.centers.dtype())?;
        let weights = batch.weights();
        batch.weigh(&weights, None, &Weighing::plain(), &centers)?;
        check_finite(&centers)?;
        let sub_centers = self.config.sub_centers;
        let closest = target_angles(&batch.features(), &centers, &batch.classes, sub_centers).rows;
        let closest = closest.try_into_data()?;
        let closest: Vec<usize> = closest.iter::<i64>().map(|row| row as usize).collect();
        let weights = weights.try_into_data()?;
        let counts: Vec<bool> = weights.iter::<f64>().map(|weight| weight > 0.0).collect();

        let mut votes = vec![0_usize; self.num_classes() * sub_centers];
        for (row, counts) in closest.iter().zip(&counts) {
            votes[*row] += usize::from(*counts);
        }
        let dominant: Vec<Option<usize>> = votes.chunks(sub_centers).map(most).collect();

        // Every sub-center becomes a class, so that the angle is the one to the dominant sub-center.
        let dominant_row = |row: &usize| {
            let class = row / sub_centers;
            class * sub_centers + dominant[class].unwrap_or(0)
        };
        let rows: Vec<usize> = closest.iter().map(dominant_row).collect();
        let rows = index(&rows, device);
        let angles = target_angles(&batch.features(), &centers, &rows, 1).angle;
        let angles = angles.try_into_data()?;
        let is_far =
            |(sample, found): (usize, f64)| (counts[sample] && found > angle).then_some(sample);
        Ok(Outliers {
            samples: angles
                .iter::<f64>()
                .enumerate()
                .filter_map(is_far)
                .collect(),
            dominant,
        })
    }
}

/// The place of the largest count, the first of several; `None` if all are 0.
fn most(counts: &[usize]) -> Option<usize> {
    let largest = *counts.iter().max()?;
    let first = counts.iter().position(|count| *count == largest);
    first.filter(|_| largest > 0)
}
