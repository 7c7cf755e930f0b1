//! P x K batches for Burn's `Learner`.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::vec::IntoIter;

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::{Dataset, DatasetError};
use burn::tensor::Device;

use super::error::SamplingError;
use super::pk_batches::PkBatches;

/// A data loader of [`PkBatches`], for Burn's `Learner` and for your own loop.
///
/// Each call of `iter` starts the next epoch, and nothing else does. The first one is epoch 1, as the `Learner` counts.
/// The `Learner` tells a loader no epoch number, so a resumed training must: [`starting_at`](Self::starting_at).
///
/// `to_device` and `slice` give loaders that go on from the epoch that this one has reached, and then count by
/// themselves. `slice` rounds both ends down to whole batches. So the parts that Burn gives to several devices have each
/// batch of an epoch once. Their sizes are equal if the number of batches is a multiple of the number of devices.
///
/// `num_items` is the number of batches times P * K. Items are read and batched in the thread that asks for them. A dataset
/// error takes the place of its batch, which counts as processed. Batches are made on the default device until
/// `to_device` names another.
///
/// # Example
///
/// ```
/// use burn::data::dataloader::{DataLoader, batcher::Batcher};
/// use burn::data::dataset::InMemDataset;
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_center_loss::{PkBatches, PkDataLoader};
///
/// struct ToLabels;
///
/// impl Batcher<i64, Tensor<1, Int>> for ToLabels {
///     fn batch(&self, items: Vec<i64>, device: &Device) -> Tensor<1, Int> {
///         Tensor::from_data(items.as_slice(), device)
///     }
/// }
///
/// let labels = vec![0_i64, 0, 0, 0, 1, 1, 2, 2];
/// let batches = PkBatches::new(&labels, 2, 2, 7)?;
/// let loader = PkDataLoader::new(InMemDataset::new(labels), ToLabels, batches)?;
/// // SupervisedTraining::new(directory, Arc::new(loader), validation)
///
/// let loader = loader.to_device(&Device::flex().autodiff());
/// for _epoch in 1..=2 {
///     for batch in loader.iter() {
///         assert_eq!(batch?.dims(), [4]);
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PkDataLoader<I, O> {
    dataset: Arc<dyn Dataset<I>>,
    batcher: Arc<dyn Batcher<I, O>>,
    batches: Arc<PkBatches>,
    /// The batches of each epoch that this loader gives.
    part: Range<usize>,
    next_epoch: AtomicUsize,
    device: Device,
}

impl<I, O> PkDataLoader<I, O> {
    /// Loads batches of a dataset whose items have the labels that the batches were made from, in the same order.
    ///
    /// # Errors
    ///
    /// [`SamplingError::DatasetLength`] if there are not as many items as labels.
    pub fn new(
        dataset: impl Dataset<I> + 'static,
        batcher: impl Batcher<I, O> + 'static,
        batches: PkBatches,
    ) -> Result<Self, SamplingError> {
        let (labels, items) = (batches.num_labels(), dataset.len());
        if labels != items {
            return Err(SamplingError::DatasetLength { labels, items });
        }
        Ok(Self {
            dataset: Arc::new(dataset),
            batcher: Arc::new(batcher),
            part: 0..batches.num_batches(),
            batches: Arc::new(batches),
            next_epoch: AtomicUsize::new(1),
            device: Device::default(),
        })
    }

    /// The same loader with another epoch for its next `iter`. A training that goes on from the checkpoint of epoch `n`
    /// starts at `n + 1`.
    pub fn starting_at(self, epoch: usize) -> Self {
        Self {
            next_epoch: AtomicUsize::new(epoch),
            ..self
        }
    }

    /// These batches of each epoch, on a device.
    fn part(&self, part: Range<usize>, device: &Device) -> Self {
        Self {
            dataset: self.dataset.clone(),
            batcher: self.batcher.clone(),
            batches: self.batches.clone(),
            part,
            next_epoch: AtomicUsize::new(self.next_epoch.load(Ordering::Relaxed)),
            device: device.clone(),
        }
    }
}

impl<I: 'static, O: 'static> DataLoader<O> for PkDataLoader<I, O> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<O> + 'a> {
        let epoch = self.next_epoch.fetch_add(1, Ordering::Relaxed);
        let mut batches = self.batches.epoch(epoch);
        batches.truncate(self.part.end);
        Box::new(PkIterator {
            loader: self,
            batches: batches.split_off(self.part.start).into_iter(),
        })
    }

    fn num_items(&self) -> usize {
        self.part.len() * self.batches.batch_size()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<O>> {
        Arc::new(self.part(self.part.clone(), device))
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<O>> {
        let size = self.batches.batch_size();
        let batch = |item: usize| (self.part.start + item / size).min(self.part.end);
        let part = batch(start)..batch(end.max(start));
        Arc::new(self.part(part, &self.device))
    }
}

impl<I, O> fmt::Debug for PkDataLoader<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PkDataLoader")
            .field("part", &self.part)
            .field("next_epoch", &self.next_epoch)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

/// The rest of an epoch.
struct PkIterator<'a, I, O> {
    loader: &'a PkDataLoader<I, O>,
    batches: IntoIter<Vec<usize>>,
}

impl<I, O> Iterator for PkIterator<'_, I, O> {
    type Item = Result<O, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let items = self.loader.dataset.get_many(self.batches.next()?);
        Some(items.map(|items| self.loader.batcher.batch(items, &self.loader.device)))
    }
}

impl<I, O> DataLoaderIterator<O> for PkIterator<'_, I, O> {
    fn progress(&self) -> Progress {
        let items = |batches: usize| batches * self.loader.batches.batch_size();
        let total = self.loader.part.len();
        let processed = items(total - self.batches.len());
        Progress::new(processed, items(total), Some("items".to_string()))
    }
}
