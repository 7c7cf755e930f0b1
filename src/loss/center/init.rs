//! Making a center loss: from its configuration, from centers, from data, and with more classes.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use burn::module::Param;
use burn::nn::loss::Reduction;
use burn::tensor::{Bool, DType, Device, Int, Tensor, TensorData};

use super::center_loss::CenterLoss;
use super::config::CenterLossConfig;
use super::error::CenterLossError;
use super::pending::Pending;
use super::rule::{UpdateRule, UpdateTiming};
use crate::batch::{
    Batch, Checking, ClassBalance, ClassWeights, HostSamples, LeftOutCounter, PerSample, Weighing,
};
use crate::centers::{
    Centers, CentersError, Classes, Entries, Step, accepted, drawn, with_autodiff_of,
};
use crate::engine::{self, Problem, Wants};
use crate::schedule::Rates;

impl CenterLossConfig {
    /// Makes the loss, with centers drawn by the initializer at their first use.
    ///
    /// # Panics
    ///
    /// With the message of [`try_init`](Self::try_init).
    pub fn init(&self, device: &Device) -> CenterLoss {
        self.try_init(device)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Makes the loss, with centers drawn by the initializer at their first use.
    ///
    /// # Errors
    ///
    /// [`SettingError`](crate::SettingError) for `num_classes` or `feature_dim` of zero, and for a rate,
    /// radius or schedule outside its range. [`ClassWeightsError`](crate::ClassWeightsError) for class
    /// weights that are not one per class, or negative or not finite.
    pub fn try_init(&self, device: &Device) -> Result<CenterLoss, CenterLossError> {
        self.validate()?;
        let param = drawn(
            [self.num_classes, self.feature_dim],
            self.initializer.clone(),
            self.precision.dtype(),
            device,
            self.update_rule == UpdateRule::Gradient,
        );
        self.assemble(param)
    }

    /// Makes the loss around the given centers, `[num_classes, feature_dim]`, on their device. Reads one
    /// number per center back from it.
    ///
    /// # Errors
    ///
    /// As [`try_init`](Self::try_init), and [`CentersError`] for centers of another shape or with a value
    /// that is not finite.
    pub fn init_with_centers(&self, centers: Tensor<2>) -> Result<CenterLoss, CenterLossError> {
        self.validate()?;
        let device = centers.device();
        let centers = self.accept_centers(centers)?;
        let centers = with_autodiff_of(centers, &device);
        self.assemble(Param::from_tensor(centers))
    }

    /// Checks shape and values, and converts the centers to their data type, without autodiff.
    fn accept_centers(&self, centers: Tensor<2>) -> Result<Tensor<2>, CentersError> {
        let shape = [self.num_classes, self.feature_dim];
        accepted(centers, shape, self.precision.dtype())
    }

    fn assemble(&self, centers: Param<Tensor<2>>) -> Result<CenterLoss, CenterLossError> {
        let device = centers.lazy_device();
        let dtype = self.precision.dtype();
        let class_weights = ClassWeights::of_config(
            self.class_weights.as_deref(),
            self.num_classes,
            &device,
            dtype.into(),
        )?;
        let (alpha, timing) = match &self.update_rule {
            UpdateRule::Direct(rule) => (rule.alpha, rule.timing),
            UpdateRule::Gradient | UpdateRule::Frozen => (0.0, UpdateTiming::Immediate),
        };
        Ok(CenterLoss {
            centers: Centers::new(centers, self.update_rule == UpdateRule::Gradient, dtype),
            updating: Param::from_bool(true),
            rates: Rates::new([alpha, self.lambda], &device),
            class_weights,
            pending: Pending::new(timing),
            config: Arc::new(self.clone()),
            left_out: LeftOutCounter::default(),
        })
    }
}

impl CenterLoss {
    /// The same loss with centers at the class means of the given batches. A class without samples keeps
    /// its center.
    ///
    /// Starting at class means avoids the early collapse of random centers and features into one point.
    /// Waiting updates stay with the
    /// loss they were noted on. The means are of the normalised features under
    /// [`CenterDistance::Cosine`](crate::CenterDistance::Cosine). Every sample counts the same.
    ///
    /// # Errors
    ///
    /// The [`BatchError`](crate::BatchError)s of [`try_forward`](Self::try_forward), for any of the
    /// batches. Bad samples are refused under both ways of checking.
    pub fn init_from_data(
        &self,
        batches: impl IntoIterator<Item = (Tensor<2>, Tensor<1, Int>)>,
    ) -> Result<Self, CenterLossError> {
        let shape = self.centers.shape();
        let target = self.centers.target();
        let mut means = Tensor::zeros(shape, (&target.device, DType::from(target.dtype)));
        let mut seen = vec![0.0; shape[0]];
        for (features, labels) in batches {
            let batch = Batch::new(features.without_autodiff(), labels);
            let step = self.step_to_means(means.clone(), batch, &mut seen)?;
            means = engine::prepare(step, &target)?.add_to(means);
        }
        let absent: Vec<bool> = seen.iter().map(|samples| *samples == 0.0).collect();
        let absent = TensorData::new(absent, [shape[0], 1]);
        let absent = Tensor::<2, Bool>::from_data(absent, &target.device);
        let values = means.mask_where(absent.expand(shape), self.centers.constant());
        let same = self.clone();
        Ok(Self {
            centers: same.centers.with_values(values),
            pending: self.pending.emptied(),
            ..same
        })
    }

    /// The step that adds a batch to running class means. `seen` has the number of samples of each class
    /// before the batch, and after the call those of the batch too.
    fn step_to_means(
        &self,
        means: Tensor<2>,
        batch: Batch,
        seen: &mut [f64],
    ) -> Result<Step, CenterLossError> {
        let rules = self.rules(Checking::Strict);
        let measured = engine::measure(&Problem {
            batch: rules.fit(batch, self.centers.device(), self.centers.dtype())?,
            centers: means,
            tracked: false,
            rules: &rules,
            // The loss is not used. Without a weight it cannot overflow.
            weighing: Weighing {
                lambda: 0.0,
                reduction: Some(&Reduction::Sum),
                class_balance: ClassBalance::None,
                class_weights: None,
            },
            distance: self.config.distance,
            radius: 0.0,
            wants: Wants::Pulls,
        })?;
        let pulls = measured.pulls.expect("the pulls were asked for");
        let Entries::Host { samples, .. } = pulls.entries else {
            unreachable!("strict checking knows the samples on the host")
        };
        let HostSamples { classes, weights } = samples;
        for (class, weight) in classes.iter().zip(&weights) {
            seen[*class] += weight;
        }
        let share = |(class, weight): (&usize, &f64)| {
            if *weight > 0.0 {
                weight / seen[*class]
            } else {
                0.0
            }
        };
        let factors = classes.iter().zip(&weights).map(share).collect();
        Ok(Step {
            classes: Classes::Host(classes),
            pulls: pulls.rows,
            factors: PerSample::Host(factors),
            num_classes: pulls.num_classes,
            singles: None,
        })
    }

    /// The same loss with more classes: the given centers, `[new_classes, feature_dim]`, follow the
    /// present ones. The new classes have weight 1 if there are class weights. Rates and schedules go
    /// on, and frozen centers stay frozen. Waiting updates stay with the loss they were noted on.
    ///
    /// # Errors
    ///
    /// As [`CenterLossConfig::init_with_centers`].
    pub fn extend_classes(&self, centers: Tensor<2>) -> Result<Self, CenterLossError> {
        let [new_classes, _] = centers.dims();
        let mut config = (*self.config).clone();
        config.num_classes = new_classes;
        let added = config
            .accept_centers(centers)?
            .to_device(self.centers.device());
        config.num_classes = self.num_classes() + new_classes;
        if let Some(weights) = &mut config.class_weights {
            weights.resize(config.num_classes, 1.0);
        }
        let all = Tensor::cat(vec![self.centers.constant(), added], 0);
        let all = with_autodiff_of(all, &self.centers.autodiff_device());
        let extended = config.init_with_centers(all)?;
        let rates = self.rates.get();
        extended.rates.change(|state| *state = rates);
        Ok(Self {
            updating: self.updating.clone(),
            left_out: self.left_out.clone(),
            ..extended
        })
    }
}
