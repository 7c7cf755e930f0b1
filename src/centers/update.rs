use burn::tensor::{DType, Device, Int, Tensor};

use crate::device::is_remote;
use crate::error::LossError;
use crate::reads::Reads;

/// The update of the centers that a batch asks for, as a value.
///
/// Updates that were measured against the same centers [merge](Self::merge) into the update of the
/// whole batch, up to the order of float additions, with sample weights and ignored labels too. An
/// update holds `O(batch_size * feature_dim)` values however many classes there are, and none of them
/// belongs to an autodiff graph.
///
/// This is the low-level way. For gradient accumulation and several devices, choose
/// [`UpdateTiming::OnStep`](crate::UpdateTiming::OnStep) and
/// [`CenterLoss::apply_pending`](crate::CenterLoss::apply_pending).
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor, Tolerance};
/// use burn_center_loss::CenterLossConfig;
///
/// let device = Device::flex();
/// let features = Tensor::<2>::from_data([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0], [5.0, 5.0]], &device);
/// let labels = Tensor::from_data([0, 0, 1, 0], &device);
/// let config = CenterLossConfig::new(3, 2);
///
/// let whole = config.init_with_centers(Tensor::zeros([3, 2], &device))?;
/// let (_, update) = whole.measure((features.clone(), labels.clone()))?;
/// whole.apply(update)?;
///
/// let parts = config.init_with_centers(Tensor::zeros([3, 2], &device))?;
/// let (_, first) = parts.measure((features.clone().slice(0..2), labels.clone().slice(0..2)))?;
/// let (_, second) = parts.measure((features.slice(2..4), labels.slice(2..4)))?;
/// parts.apply(first.merge(second)?)?;
///
/// let tolerance = Tolerance::<f32>::default();
/// parts.centers().into_data().assert_approx_eq(&whole.centers().into_data(), tolerance);
/// # Ok::<(), burn_center_loss::LossError>(())
/// ```
#[derive(Clone, Debug)]
pub struct CenterUpdate {
    /// The class of each row, `[rows]`, in the integer type of its device. Classes may repeat.
    pub(crate) classes: Tensor<1, Int>,
    /// The difference of a sample from the center of its class, `[rows, feature_dim]`. It has no meaning where the
    /// weight is 0.
    pub(crate) rows: Tensor<2>,
    /// The weight of each sample, `[rows]`: 0 where it takes no part.
    pub(crate) weights: Tensor<1>,
    /// All classes are below this number.
    pub(crate) num_classes: usize,
}

impl CenterUpdate {
    /// The width of the features that it was measured on.
    pub fn feature_dim(&self) -> usize {
        self.rows.dims()[1]
    }

    /// The number of classes of the loss that measured it: an upper bound of the classes it names.
    pub fn num_classes(&self) -> usize {
        self.num_classes
    }

    /// The update of both batches together, on the device of this one. It has the rows of both.
    ///
    /// # Errors
    ///
    /// [`LossError::Update`] if the two differ in feature dimension or data type, and [`LossError::Read`] if
    /// a device of another machine does not return its update.
    pub fn merge(self, other: Self) -> Result<Self, LossError> {
        let merged = Self::merge_all(vec![self, other])?;
        Ok(merged.expect("two updates merge into one"))
    }

    /// All updates together, on the device of the first one; `None` of no updates.
    pub(crate) fn merge_all(all: Vec<Self>) -> Result<Option<Self>, LossError> {
        let Some(first) = all.first() else {
            return Ok(None);
        };
        let (device, dtype) = (first.rows.device(), first.rows.dtype());
        for other in &all {
            other.check_like(first.feature_dim(), dtype)?;
        }
        let mut moved = Self::all_moved_to(&device, all)?;
        if moved.len() == 1 {
            return Ok(moved.pop());
        }
        let parts = |part: fn(&Self) -> Tensor<1>| moved.iter().map(part).collect();
        Ok(Some(Self {
            classes: Tensor::cat(moved.iter().map(|u| u.classes.clone()).collect(), 0),
            rows: Tensor::cat(moved.iter().map(|u| u.rows.clone()).collect(), 0),
            weights: Tensor::cat(parts(|update| update.weights.clone()), 0),
            num_classes: moved.iter().map(|u| u.num_classes).max().unwrap_or(0),
        }))
    }

    /// Checks width and data type.
    pub(crate) fn check_like(&self, feature_dim: usize, dtype: DType) -> Result<(), LossError> {
        let rule = "it must be";
        if self.feature_dim() != feature_dim {
            return Err(LossError::Update {
                name: "feature_dim",
                found: self.feature_dim().to_string(),
                rule,
                expected: feature_dim.to_string(),
            });
        }
        if self.rows.dtype() != dtype {
            return Err(LossError::Update {
                name: "dtype",
                found: format!("{:?}", self.rows.dtype()),
                rule,
                expected: format!("{dtype:?}"),
            });
        }
        Ok(())
    }

    /// The update on another device.
    pub(crate) fn moved_to(self, device: &Device) -> Result<Self, LossError> {
        let moved = Self::all_moved_to(device, vec![self])?.pop();
        Ok(moved.expect("as many are returned as were given"))
    }

    /// All updates on one device. Those of a device that is hosted elsewhere come by way of this machine, with
    /// one wait for all of them. A host that has failed then gives an error here, and does not take down the
    /// one that would fetch from it.
    fn all_moved_to(device: &Device, all: Vec<Self>) -> Result<Vec<Self>, LossError> {
        let is_fetched = |update: &Self| {
            let own = update.rows.device();
            own != *device && is_remote(&own)
        };
        let mut reads = Reads::from(device);
        if let Some(first) = all.iter().find(|update| is_fetched(update)) {
            reads = Reads::from(&first.rows.device());
        }
        for update in all.iter().filter(|update| is_fetched(update)) {
            reads = reads
                .register(update.classes.clone())
                .register(update.rows.clone())
                .register(update.weights.clone());
        }
        let mut read = reads.execute()?.into_iter();
        let mut next = || read.next().expect("every registered tensor is read");
        let int_dtype = device.settings().int_dtype;
        Ok(all
            .into_iter()
            .map(|update| {
                if update.rows.device() == *device {
                    return update;
                }
                // Tensors that are joined must have one type.
                if is_fetched(&update) {
                    let options = (device, update.rows.dtype());
                    return Self {
                        classes: Tensor::from_data(next(), (device, int_dtype.into())),
                        rows: Tensor::from_data(next(), options),
                        weights: Tensor::from_data(next(), options),
                        ..update
                    };
                }
                Self {
                    classes: update.classes.to_device(device).cast(int_dtype),
                    rows: update.rows.to_device(device),
                    weights: update.weights.to_device(device),
                    ..update
                }
            })
            .collect())
    }
}
