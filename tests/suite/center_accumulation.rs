//! Many small batches under deferred checking move the centers as the whole batch does.

use burn::tensor::{DType, Device, Tensor};
use burn_center_loss::{CenterLossConfig, Checking, LabelledBatch, UpdateRule, UpdateTiming};

use crate::center_plain::{self, loss};
use crate::devices::{devices_with, values};
use crate::fixtures::assert_close;
use crate::plain::Plain;

const PARTS: usize = 64;
const PART: usize = 256;

#[test]
fn deferred_parts_equal_the_whole_batch() {
    for device in devices_with(DType::F64).into_iter().map(Device::autodiff) {
        for num_classes in [3, 1000, 40_000] {
            let plain = Plain::new(PARTS * PART, num_classes, 2, 11).with_weights();
            let (features, y) = (plain.features(&device), plain.labels(&device));
            let weights = plain.weights.as_deref().unwrap();
            let weights = Tensor::<1>::from_data(weights, (&device, DType::F64));
            for rule in [
                UpdateRule::paper(),
                UpdateRule::mean(),
                UpdateRule::sum().with_alpha(1e-3),
            ] {
                let config = CenterLossConfig::new(num_classes, 2)
                    .with_checking(Checking::Deferred)
                    .with_update_rule(rule.clone().with_timing(UpdateTiming::OnStep));
                let parts = loss(&config, &plain, &device);
                for part in 0..PARTS {
                    let range = part * PART..(part + 1) * PART;
                    let batch = LabelledBatch::new(
                        features.clone().slice(range.clone()),
                        y.clone().slice(range.clone()),
                    );
                    parts
                        .try_forward(batch.with_weights(weights.clone().slice(range)))
                        .unwrap();
                }
                assert_eq!(values(parts.centers()), plain.centers.concat());
                assert_eq!(parts.apply_pending(), Ok(PARTS));

                let config = config.with_update_rule(rule);
                let name = format!("{num_classes} classes, {:?}", config.update_rule);
                let whole = loss(&config, &plain, &device);
                whole.try_forward(plain.batch(&device)).unwrap();
                assert_close(
                    &name,
                    &values(parts.centers()),
                    &values(whole.centers()),
                    1e-12,
                );
                if num_classes == 3 {
                    let expected = center_plain::updated(&config, &plain);
                    assert_close(&name, &values(parts.centers()), &expected, 1e-11);
                }
            }
        }
    }
}
