use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use burn::tensor::{Int, Tensor};

use super::error::MarginSoftmaxError;
use super::margin_softmax::MarginSoftmax;
use crate::batch::{
    Batch, BatchError, BatchRules, Checking, ClassBalance, PerSample, Weighing, index,
};
use crate::engine::{self, Known, Samples};
use crate::error::radians;

/// What [`MarginSoftmax::outliers`] finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outliers {
    /// The samples that are far from the dominant sub-center of their class, in ascending order.
    pub samples: Vec<usize>,
    /// The dominant sub-center of each class, `0..sub_centers`; `None` for a class without samples.
    pub dominant: Vec<Option<usize>>,
}

impl MarginSoftmax {
    /// The samples that may be labelled wrong: those whose angle to the dominant sub-center of their class is
    /// above `angle`. The dominant sub-center is the one that is the nearest to most samples of the class, the
    /// first of several such.
    ///
    /// Sub-centers exist for this: one gathers the clean samples of a class, the others what is mislabelled.
    /// Deng et al. drop what is more than 75 degrees from the dominant one and train again with one vector per
    /// class. Give all training samples at once, or at least whole classes: which sub-center dominates is
    /// counted over the samples of this call. Moves nothing, and reads from the device.
    ///
    /// # Shapes
    ///
    /// - features: `[num_samples, feature_dim]`
    /// - labels: `[num_samples]`; ignored labels do not count
    /// - angle: in radians
    ///
    /// # Errors
    ///
    /// The [`BatchError`]s of [`try_forward`](Self::try_forward) under [`Checking::Strict`] for shapes, devices,
    /// labels and features, [`BatchError::Center`] for a class vector that is not finite, even of a class without
    /// samples, and [`SettingError`](crate::SettingError) for an angle outside `0..pi`.
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
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "get_outliers")]
    pub fn outliers(
        &self,
        features: Tensor<2>,
        labels: Tensor<1, Int>,
        angle: f64,
    ) -> Result<Outliers, MarginSoftmaxError> {
        let angle = radians("angle", angle)?;
        let rules = BatchRules {
            checking: Checking::Strict,
            ..self.rules()
        };
        let batch = rules.fit(
            Batch::new(features.without_autodiff(), labels),
            self.centers.device(),
            self.centers.dtype(),
        )?;
        let weighing = Weighing {
            lambda: 1.0,
            reduction: None,
            class_balance: ClassBalance::None,
            class_weights: None,
        };
        let counted = engine::count(batch, &rules, weighing)?;
        let Samples::Strict(samples) = counted.samples else {
            unreachable!("the checking is strict");
        };
        let (Known { samples, .. }, _) = samples.read(PerSample::Host(Vec::new()))?;
        let sub_centers = self.config.sub_centers;
        let centers = self.centers.constant();
        engine::check_centers(&centers)?;
        let features = counted.features;
        let nearest = engine::own_angles(
            features.clone(),
            centers.clone(),
            counted.classes,
            sub_centers,
        )
        .rows;
        let nearest = nearest
            .try_into_data()
            .map_err(|error| BatchError::Read(error.to_string()))?;

        let mut counts = vec![0_usize; self.num_classes() * sub_centers];
        for (row, weight) in nearest.iter::<i64>().zip(&samples.weights) {
            counts[row as usize] += usize::from(*weight > 0.0);
        }
        let dominant: Vec<Option<usize>> = counts.chunks(sub_centers).map(most).collect();

        // Every sub-center as a class of its own, so that the angle is to the dominant one.
        let of_sample = |class: &usize| class * sub_centers + dominant[*class].unwrap_or(0);
        let rows: Vec<usize> = samples.classes.iter().map(of_sample).collect();
        let rows = index(&rows, &centers.device());
        let angles = engine::own_angles(features, centers, rows, 1)
            .angle
            .into_values()?;
        let is_far = |sample: &usize| samples.weights[*sample] > 0.0 && angles[*sample] > angle;
        Ok(Outliers {
            samples: (0..angles.len()).filter(is_far).collect(),
            dominant,
        })
    }
}

/// Where the largest count is, the first of several; `None` if all are 0.
fn most(counts: &[usize]) -> Option<usize> {
    let largest = *counts.iter().max()?;
    let first = counts.iter().position(|count| *count == largest);
    first.filter(|_| largest > 0)
}
