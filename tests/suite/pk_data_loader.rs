//! [`PkDataLoader`] in Burn's learner, with a resumed training and on two devices, and in a loop of one's own.

use std::path::Path;
use std::sync::{Arc, Mutex};

use burn::data::dataloader::DataLoader;
use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::split::split_dataloader;
use burn::data::dataset::{Dataset, DatasetError, InMemDataset};
use burn::lr_scheduler::constant::ConstantLr;
use burn::optim::SgdConfig;
use burn::tensor::{Device, Tensor};
use burn::train::logger::InMemoryMetricLogger;
use burn::train::metric::LossMetric;
use burn::train::renderer::CliMetricsRenderer;
use burn::train::{
    ExecutionStrategy, Learner, MultiDeviceOptim, SupervisedTraining, TrainingStrategy,
};
use burn_center_loss::{
    CenterLoss, CenterLossConfig, PkBatches, PkDataLoader, UpdateRule, UpdateTiming,
};
use proptest::prelude::*;

use crate::messages::assert_message;
use crate::models::{Batch, CLASSES, Model, RATE, WIDTH};

/// Items whose labels are 0, 1 and 2, unevenly.
const ITEMS: [i64; 8] = [0, 1, 3, 2, 6, 9, 4, 5];

/// Batches of two classes with two samples each; three in an epoch by default.
fn batches() -> PkBatches {
    let labels = ITEMS.map(|item| item % CLASSES as i64);
    PkBatches::new(&labels, 2, 2, 5).unwrap()
}

/// The items of the batches of an epoch.
fn epoch(batches: &PkBatches, epoch: usize) -> Vec<Vec<i64>> {
    let items = |batch: Vec<usize>| batch.into_iter().map(|sample| ITEMS[sample]).collect();
    batches.epoch(epoch).into_iter().map(items).collect()
}

/// The items of every batch, in the order of the calls.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Vec<i64>>>>);

impl Recorder {
    fn take(&self) -> Vec<Vec<i64>> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Batcher<i64, Batch> for Recorder {
    fn batch(&self, items: Vec<i64>, device: &Device) -> Batch {
        let batch = Batch::new(&items, device);
        self.0.lock().unwrap().push(items);
        batch
    }
}

fn loader(batches: PkBatches, recorder: &Recorder) -> PkDataLoader<i64, Batch> {
    PkDataLoader::new(InMemDataset::new(ITEMS.to_vec()), recorder.clone(), batches).unwrap()
}

/// Trains up to an epoch, with checkpoints in the directory, from the beginning or from one of them.
fn learn(
    directory: &Path,
    loader: PkDataLoader<i64, Batch>,
    (from, to): (Option<usize>, usize),
    change: impl FnOnce(SupervisedTraining<Model<CenterLoss>>) -> SupervisedTraining<Model<CenterLoss>>,
) -> Model<CenterLoss> {
    let device = Device::flex().autodiff();
    let timing = UpdateTiming::OnStepShared;
    let loss = CenterLossConfig::new(CLASSES, WIDTH)
        .with_update_rule(UpdateRule::paper().with_timing(timing))
        .init_with_centers(Tensor::from_data(
            [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.5]],
            &device,
        ))
        .unwrap();
    let validation = PkDataLoader::new(
        InMemDataset::new(vec![1, 2]),
        Recorder::default(),
        PkBatches::new(&[1, 2], 2, 1, 5).unwrap(),
    );
    let mut training =
        SupervisedTraining::new(directory, Arc::new(loader), Arc::new(validation.unwrap()))
            .num_epochs(to)
            .metrics((LossMetric::new(),))
            .with_default_checkpointers()
            .with_metric_logger(InMemoryMetricLogger::new())
            .with_application_logger(None)
            .renderer(Box::new(CliMetricsRenderer::new()));
    if let Some(epoch) = from {
        training = training.checkpoint(epoch);
    }
    let learner = Learner::new(
        Model::new(loss, &device),
        SgdConfig::new().init(),
        ConstantLr::new(RATE),
    );
    let result = change(training).launch(learner);
    assert!(result.error.is_none(), "{:?}", result.error);
    result.model
}

#[test]
fn a_resumed_training_sees_the_batches_of_the_epochs_it_has_left() {
    let recorder = Recorder::default();
    let new = || loader(batches(), &recorder);
    let epochs = |numbers: [usize; 2]| numbers.map(|number| epoch(&batches(), number)).concat();

    let directory = tempfile::tempdir().unwrap();
    let uninterrupted = learn(directory.path(), new(), (None, 4), |training| training);
    let seen = recorder.take();
    assert_eq!(seen, [epochs([1, 2]), epochs([3, 4])].concat());
    assert_eq!(uninterrupted.loss.step(), seen.len() as u64);

    let directory = tempfile::tempdir().unwrap();
    learn(directory.path(), new(), (None, 2), |training| training);
    assert_eq!(recorder.take(), epochs([1, 2]));
    let resumed = new().starting_at(3);
    let resumed = learn(directory.path(), resumed, (Some(2), 4), |training| training);
    assert_eq!(recorder.take(), epochs([3, 4]));
    assert_eq!(resumed.numbers(), uninterrupted.numbers());
}

/// The last batch flushes the gradients that wait, though 2 does not divide 5.
#[test]
fn the_last_batch_completes_the_progress() {
    let recorder = Recorder::default();
    let directory = tempfile::tempdir().unwrap();
    let loader = loader(batches().with_batches(5).unwrap(), &recorder);
    let trained = learn(directory.path(), loader, (None, 2), |training| {
        training.grads_accumulation(2)
    });
    assert_eq!(recorder.take().len(), 10);
    assert_eq!(trained.loss.step(), 6);
}

#[test]
fn two_devices_share_the_batches_of_an_epoch() {
    for optimizer in [
        MultiDeviceOptim::OptimMainDevice,
        MultiDeviceOptim::OptimSharded,
    ] {
        let recorder = Recorder::default();
        let directory = tempfile::tempdir().unwrap();
        let loader = loader(batches(), &recorder);
        let trained = learn(directory.path(), loader, (None, 2), |training| {
            let device = Device::flex().autodiff();
            let several = ExecutionStrategy::multi(vec![device.clone(), device], optimizer);
            training.with_training_strategy(TrainingStrategy::Default(several))
        });
        // The 12 items are cut at 6, which is in the second batch: the first device has one batch, the other two.
        let epochs = [1, 2].map(|number| epoch(&batches(), number)).concat();
        assert_eq!(recorder.take(), epochs, "{optimizer:?}");
        assert_eq!(trained.loss.step(), 4, "{optimizer:?}");
    }
}

#[test]
fn a_hand_written_loop() {
    let recorder = Recorder::default();
    let loader = loader(batches(), &recorder);
    assert_eq!(loader.num_items(), 12);
    for number in 1..=2 {
        let mut batches = loader.iter();
        let mut progress = vec![batches.progress().items_processed];
        while let Some(batch) = batches.next() {
            assert_eq!(batch.unwrap().labels.dims(), [4]);
            let now = batches.progress();
            assert_eq!((now.items_total, now.unit.as_deref()), (12, Some("items")));
            assert_eq!(now.is_completed(), now.items_processed == 12);
            progress.push(now.items_processed);
        }
        assert_eq!(progress, [0, 4, 8, 12]);
        assert_eq!(recorder.take(), epoch(&self::batches(), number));
    }
    // The copy goes on from the epoch that the loader has reached, and counts by itself.
    let device = Device::flex().autodiff();
    let copy = loader.to_device(&device);
    for number in [3, 4] {
        let on_device = |batch: Batch| batch.labels.device() == device;
        assert!(copy.iter().all(|batch| on_device(batch.unwrap())));
        assert_eq!(recorder.take(), epoch(&batches(), number));
    }
    assert_eq!(loader.iter().count(), 3);
    assert_eq!(recorder.take(), epoch(&batches(), 3));
}

/// A data set without one of its items.
struct WithoutItem(usize);

impl Dataset<i64> for WithoutItem {
    fn get(&self, index: usize) -> Result<i64, DatasetError> {
        if index == self.0 {
            let lost = std::io::Error::other(format!("item {index} is lost"));
            return Err(DatasetError::new(lost));
        }
        Ok(ITEMS[index])
    }

    fn len(&self) -> usize {
        ITEMS.len()
    }
}

#[test]
fn errors_of_the_dataset_are_passed_on() {
    let recorder = Recorder::default();
    let lost = batches().epoch(1)[1][2];
    let loader = PkDataLoader::new(WithoutItem(lost), recorder.clone(), batches()).unwrap();
    let mut batches = loader.iter();
    assert!(batches.next().unwrap().is_ok());
    let message = format!("item {lost} is lost");
    assert_message(batches.next().unwrap(), message);
    assert_eq!(batches.progress().items_processed, 8);

    let other = InMemDataset::new(ITEMS[1..].to_vec());
    let refused = PkDataLoader::new(other, recorder, self::batches());
    assert_message(
        refused,
        "labels has 8 values and dataset has 7 items: the numbers must be equal",
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn parts_share_all_batches_once(count in 1_usize..20, parts in 1_usize..6, first in 1_usize..4) {
        let recorder = Recorder::default();
        let batches = batches().with_batches(count).unwrap();
        let whole: Arc<dyn DataLoader<Batch>> =
            Arc::new(loader(batches.clone(), &recorder).starting_at(first));
        let parts = split_dataloader(whole.clone(), &vec![Device::flex(); parts]);
        let sizes: Vec<usize> = parts.iter().map(|part| part.num_items() / 4).collect();
        prop_assert_eq!(sizes.iter().sum::<usize>(), count);
        if count.is_multiple_of(sizes.len()) {
            prop_assert!(sizes.iter().all(|size| *size == sizes[0]), "{sizes:?}");
        }
        for number in [first, first + 1] {
            for (part, size) in parts.iter().zip(&sizes) {
                let mut batches = part.iter();
                prop_assert_eq!(batches.by_ref().count(), *size);
                prop_assert!(batches.progress().is_completed());
            }
            prop_assert_eq!(recorder.take(), epoch(&batches, number));
        }
        // Parts of a part, and ends that are out of range or out of order.
        let items = |start, end| whole.slice(start, end).num_items();
        prop_assert_eq!(whole.slice(4, usize::MAX).slice(4, 12).num_items(), count.saturating_sub(2).min(2) * 4);
        prop_assert_eq!((items(0, 3), items(3, 4), items(9, 2)), (0, 4, 0));
    }
}
