//! Losses on a device whose default integer type is the smallest: labels, counts and records.
//!
//! The only test of its file, since a process sets the default types of a device once.
#![cfg(feature = "flex")]

use burn::module::Module;
use burn::store::ModuleRecord;
use burn::tensor::{DType, Device, Int, IntDType, Tensor};
use burn_center_loss::{
    CenterLossConfig, Checking, MarginSoftmaxConfig, ProxyAnchorConfig, ProxyNcaConfig, Schedule,
    SoftTripleConfig,
};

#[test]
fn records_and_counts_where_integers_are_small() {
    let mut device = Device::flex();
    device.configure(IntDType::I8).unwrap();
    let device = device.autodiff();
    assert_eq!(Tensor::<1, Int>::zeros([1], &device).dtype(), DType::I8);
    macro_rules! check {
        ($config:expr) => {
            let config = $config.with_checking(Checking::Deferred);
            let loss = config.init(&device);
            let labels =
                |labels: &[i64]| Tensor::<1, Int>::from_data(labels, (&device, DType::I64));
            let features = || Tensor::<2>::ones([3, 2], &device);
            for _ in 0..30 {
                loss.forward(features(), labels(&[0, 99, 700]));
            }
            assert_eq!(loss.take_skipped().unwrap().labels, 30);
            for _ in 0..30 {
                loss.forward(features(), labels(&[100, -1, 700]));
            }
            assert_eq!(loss.take_skipped().unwrap().labels, 90);
            let bytes = loss.clone().into_record().into_bytes().unwrap();
            let record = ModuleRecord::from_bytes(bytes).unwrap();
            let loaded = config.init(&device).load_record(record);
            assert_eq!(loaded.centers().into_data(), loss.centers().into_data());
            let [value, expected] =
                [&loaded, &loss].map(|loss| loss.evaluate(features(), labels(&[0, 99, 1])));
            assert_eq!(value.into_data(), expected.into_data());
            loss.statistics(features(), labels(&[0, 99, 1])).unwrap();
        };
    }
    check!(
        CenterLossConfig::new(100, 2).with_lambda_schedule(Schedule::LinearWarmup { steps: 900 })
    );
    check!(MarginSoftmaxConfig::new(100, 2));
    check!(ProxyAnchorConfig::new(100, 2));
    check!(ProxyNcaConfig::new(100, 2));
    check!(SoftTripleConfig::new(100, 2).with_sub_centers(1));
}
