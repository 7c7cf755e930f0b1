use alloc::boxed::Box;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use burn::tensor::{DType, Device, IndexingUpdateOp, Tensor, TensorData};

use super::error::CentersError;
use crate::batch::{DeviceSamples, HostSamples, PerGroup, PerSample, index, totals_and_shares};
use crate::device::is_remote;
use crate::reads::Reads;

/// Where a batch would pull the centers: the mean difference of some samples from the center of their
/// class, for each entry.
#[derive(Clone, Debug)]
pub(crate) struct Pulls {
    /// `[entries, feature_dim]`: a row is zero where the weight is zero.
    pub rows: Tensor<2>,
    pub entries: Entries,
    /// All classes are below this number.
    pub num_classes: usize,
    /// Entries that have no row. Only pulls for a step that is taken at once have them.
    pub singles: Option<Box<Singles>>,
}

/// Entries of one sample, whose pull is not stored: it is the difference of the sample's features from
/// the center as it is. To compute it again takes less time than to write and to read it.
#[derive(Clone, Debug)]
#[cfg_attr(
    not(feature = "flex"),
    expect(dead_code, reason = "only the host engine leaves out pulls")
)]
pub(crate) struct Singles {
    /// `[batch_size, feature_dim]`
    pub features: Tensor<2>,
    /// The only sample of each entry; `None` for an entry that has a row.
    pub samples: Vec<Option<usize>>,
}

/// Class and total weight of each entry of [`Pulls`]; classes may repeat. `reach` is an upper bound of
/// the absolute values of the pulls.
///
/// Strict checking knows the samples on the host. Deferred checking must not read them, so they stay
/// on the device.
#[derive(Clone, Debug)]
pub(crate) enum Entries {
    Host { samples: HostSamples, reach: f64 },
    Device(Box<OnDevice>),
}

#[derive(Clone, Debug)]
pub(crate) struct OnDevice {
    pub samples: DeviceSamples,
    /// `[entries]`
    pub reach: Tensor<1>,
}

impl Pulls {
    pub fn feature_dim(&self) -> usize {
        self.rows.dims()[1]
    }

    pub fn dtype(&self) -> DType {
        self.rows.dtype()
    }

    /// The pulls of all batches together, on the device of the first one; `None` of no batches. Where
    /// all classes are known on the host, there is one entry per class.
    pub fn merge(all: Vec<Self>) -> Result<Option<Self>, CentersError> {
        let Some(first) = all.first() else {
            return Ok(None);
        };
        let device = first.rows.device();
        for other in &all {
            other.expect_like(first.feature_dim(), first.dtype())?;
        }
        if all.len() == 1 {
            return Ok(all.into_iter().next());
        }
        let num_classes = all.iter().map(|pulls| pulls.num_classes).max();
        let num_classes = num_classes.unwrap_or(0);
        let (rows, entries): (Vec<_>, Vec<_>) = Self::all_moved_to(&device, all)?
            .into_iter()
            .map(|pulls| (pulls.rows, pulls.entries))
            .unzip();
        let merged = Self {
            entries: Entries::merge(entries, &device, rows[0].dtype()),
            rows: Tensor::cat(rows, 0),
            num_classes,
            singles: None,
        };
        Ok(Some(merged.compact()))
    }

    /// One entry per class, if the classes are known on the host.
    fn compact(self) -> Self {
        let Entries::Host { samples, reach } = &self.entries else {
            return self;
        };
        if samples.is_one_per_class() {
            return self;
        }
        let groups = samples.groups();
        let slots = groups.of_samples();
        let (weights, shares) = totals_and_shares(&groups, Some(&samples.weights));
        let PerGroup::Each(shares) = shares else {
            unreachable!("weights give one share per sample")
        };
        let (device, dtype) = (self.rows.device(), self.rows.dtype());
        let rows = self.rows.clone() * PerSample::Host(shares).column(&device, dtype);
        let rows = Tensor::zeros([groups.len(), self.feature_dim()], (&device, dtype))
            .select_assign(0, index(&slots, &device), rows, IndexingUpdateOp::Add);
        Self {
            rows,
            entries: Entries::Host {
                samples: HostSamples {
                    classes: groups.classes,
                    weights,
                },
                reach: *reach,
            },
            num_classes: self.num_classes,
            singles: None,
        }
    }

    /// The pulls on another device.
    pub fn moved_to(self, device: &Device) -> Result<Self, CentersError> {
        let moved = Self::all_moved_to(device, vec![self])?.pop();
        Ok(moved.expect("as many are returned as were given"))
    }

    /// All pulls on one device. Those of a device that is hosted elsewhere come by way of this machine, with
    /// one wait for all of them: so a host that has failed gives an error here, and does not take down the
    /// one that would fetch from it.
    fn all_moved_to(device: &Device, all: Vec<Self>) -> Result<Vec<Self>, CentersError> {
        let is_fetched = |pulls: &Self| {
            let own = pulls.rows.device();
            own != *device && is_remote(&own)
        };
        let Some(first) = all.iter().find(|pulls| is_fetched(pulls)) else {
            return Ok(all.into_iter().map(|pulls| pulls.on(device)).collect());
        };
        let mut reads = Reads::from(&first.rows.device());
        for pulls in all.iter().filter(|pulls| is_fetched(pulls)) {
            reads = pulls.read(reads);
        }
        let read = reads
            .execute()
            .map_err(|error| CentersError::ReadUpdate(format!("{error}")))?;
        let mut read = read.into_iter();
        Ok(all
            .into_iter()
            .map(|pulls| match is_fetched(&pulls) {
                true => pulls.uploaded(&mut read, device),
                false => pulls.on(device),
            })
            .collect())
    }

    /// Registers all tensors.
    fn read(&self, reads: Reads) -> Reads {
        let reads = reads.register(self.rows.clone());
        match &self.entries {
            Entries::Host { .. } => reads,
            Entries::Device(entries) => reads
                .register(entries.samples.classes.clone())
                .register(entries.samples.weights.clone())
                .register(entries.reach.clone()),
        }
    }

    /// The pulls on a device, from what [`read`](Self::read) has registered.
    fn uploaded(self, read: &mut impl Iterator<Item = TensorData>, device: &Device) -> Self {
        let mut next = || read.next().expect("all tensors were read");
        let options = (device, self.dtype());
        let rows = Tensor::from_data(next(), options);
        let entries = match self.entries {
            Entries::Host { samples, reach } => Entries::Host { samples, reach },
            Entries::Device(entries) => Entries::Device(Box::new(OnDevice {
                samples: DeviceSamples {
                    classes: Tensor::from_data(
                        next(),
                        (device, device.settings().int_dtype.into()),
                    ),
                    weights: Tensor::from_data(next(), options),
                    are_weighted: entries.samples.are_weighted,
                },
                reach: Tensor::from_data(next(), options),
            })),
        };
        Self {
            rows,
            entries,
            num_classes: self.num_classes,
            singles: self.singles,
        }
    }

    /// The pulls on a device, by Burn's own way.
    fn on(self, device: &Device) -> Self {
        if self.rows.device() == *device {
            return self;
        }
        Self {
            rows: self.rows.to_device(device),
            entries: match self.entries {
                Entries::Host { samples, reach } => Entries::Host { samples, reach },
                Entries::Device(entries) => Entries::Device(Box::new(OnDevice {
                    samples: entries.samples.moved_to(device),
                    reach: entries.reach.to_device(device),
                })),
            },
            num_classes: self.num_classes,
            singles: self.singles,
        }
    }

    /// Checks the width and the data type.
    pub fn expect_like(&self, feature_dim: usize, dtype: DType) -> Result<(), CentersError> {
        if self.feature_dim() != feature_dim {
            return Err(CentersError::UpdateFeatureDim {
                found: self.feature_dim(),
                expected: feature_dim,
            });
        }
        if self.dtype() != dtype {
            return Err(CentersError::UpdateDType {
                found: format!("{:?}", self.dtype()),
                expected: format!("{dtype:?}"),
            });
        }
        Ok(())
    }
}

impl Entries {
    /// All entries one after the other, on the host if all are there.
    fn merge(all: Vec<Self>, device: &Device, dtype: DType) -> Self {
        if all.iter().any(|entries| matches!(entries, Self::Device(_))) {
            return Self::merge_on_device(all, device, dtype);
        }
        let (mut merged, mut largest) = (HostSamples::default(), 0.0_f64);
        for entries in all {
            if let Self::Host { samples, reach } = entries {
                merged.classes.extend(samples.classes);
                merged.weights.extend(samples.weights);
                largest = largest.max(reach);
            }
        }
        Self::Host {
            samples: merged,
            reach: largest,
        }
    }

    fn merge_on_device(all: Vec<Self>, device: &Device, dtype: DType) -> Self {
        let (mut classes, mut weights, mut reaches) = (vec![], vec![], vec![]);
        let mut are_weighted = false;
        for entries in all {
            let (samples, reach) = entries.on(device, dtype);
            are_weighted |= samples.are_weighted;
            classes.push(samples.classes);
            weights.push(samples.weights);
            reaches.push(reach);
        }
        Self::Device(Box::new(OnDevice {
            samples: DeviceSamples {
                classes: Tensor::cat(classes, 0),
                weights: Tensor::cat(weights, 0),
                are_weighted,
            },
            reach: Tensor::cat(reaches, 0),
        }))
    }

    fn on(self, device: &Device, dtype: DType) -> (DeviceSamples, Tensor<1>) {
        match self {
            Self::Device(on_device) => (on_device.samples, on_device.reach),
            Self::Host { samples, reach } => {
                let entries = samples.classes.len();
                let column = PerSample::Host(samples.weights).column(device, dtype);
                let samples = DeviceSamples {
                    classes: index(&samples.classes, device),
                    weights: column.squeeze_dim(1),
                    are_weighted: true,
                };
                (samples, Tensor::full([entries], reach, (device, dtype)))
            }
        }
    }
}
