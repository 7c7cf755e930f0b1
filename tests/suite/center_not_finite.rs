//! Centers that are NaN or infinite, after a bad checkpoint or a training that diverged.

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::{GradientsParams, SgdConfig};
use burn::store::{ModuleRecord, ModuleSnapshot, SafetensorsStore};
use burn::tensor::{DType, Device, Int, Tensor};
use burn_center_loss::{
    CenterDistance, CenterLoss, CenterLossConfig, Checking, DirectRule, LeftOut, UpdateRule,
};

use crate::devices::{ONE_IN, devices, values};
use crate::tensors::{labels, matrix};

const NUM_CLASSES: usize = 4;

/// Changes one value of the centers, as a broken checkpoint has it.
struct Spoil(usize, usize, f32);

impl ModuleMapper for Spoil {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Self(class, dim, value) = *self;
        param.map(|tensor| {
            let [class_range, dim_range] = [class..class + 1, dim..dim + 1];
            tensor.slice_fill([class_range, dim_range], value)
        })
    }
}

fn through_record(loss: &CenterLoss, spoil: &mut Spoil) -> CenterLoss {
    let bytes = loss.clone().map(spoil).into_record().into_bytes().unwrap();
    loss.clone()
        .load_record(ModuleRecord::from_bytes(bytes).unwrap())
}

fn through_safetensors(loss: &CenterLoss, spoil: &mut Spoil) -> CenterLoss {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("centers.safetensors");
    let spoiled = loss.clone().map(spoil);
    spoiled
        .save_into(&mut SafetensorsStore::from_file(&path))
        .unwrap();
    let mut loaded = loss.clone();
    let mut store = SafetensorsStore::from_file(&path).allow_partial(true);
    let result = loaded.load_from(&mut store).unwrap();
    assert!(result.errors.is_empty(), "{result:?}");
    loaded
}

/// Every rule, distance and radius, with centers of which one value is replaced, in every place.
fn every_spoiled(mut check: impl FnMut(&CenterLoss, usize, usize, f32, &Device)) {
    let mut cases = vec![];
    for device in devices().into_iter().map(Device::autodiff) {
        for rule in [
            DirectRule::mean().into(),
            UpdateRule::Gradient,
            UpdateRule::Frozen,
        ] {
            for distance in [CenterDistance::Euclidean, CenterDistance::Cosine] {
                for radius in [0.0, 0.5] {
                    for checking in [Checking::Strict, Checking::Deferred] {
                        let loss = CenterLossConfig::new(NUM_CLASSES, 2)
                            .with_update_rule(rule.clone())
                            .with_distance(distance)
                            .with_radius(radius)
                            .with_checking(checking)
                            .init(&device);
                        for (i, value) in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY]
                            .into_iter()
                            .enumerate()
                        {
                            let places = [(0, 1), (1, 0), (NUM_CLASSES - 1, i % 2)];
                            for (class, dim) in places {
                                let spoil = Spoil(class, dim, value);
                                cases.push((loss.clone(), spoil, device.clone()));
                            }
                        }
                    }
                }
            }
        }
    }
    for (loss, mut spoil, device) in cases.into_iter().step_by(ONE_IN) {
        let Spoil(class, dim, value) = spoil;
        let spoiled = if value.is_nan() {
            through_record(&loss, &mut spoil)
        } else {
            loss.map(&mut spoil)
        };
        check(&spoiled, class, dim, value, &device);
    }
}

fn on_all_classes(device: &Device) -> (Tensor<2>, Tensor<1, Int>) {
    let rows: Vec<Vec<f32>> = (0..NUM_CLASSES).map(|i| vec![i as f32, 0.5]).collect();
    let y: Vec<i64> = (0..NUM_CLASSES as i64).collect();
    (matrix(&rows, device).require_grad(), labels(&y, device))
}

fn bits(loss: &CenterLoss) -> Vec<u64> {
    values(loss.centers())
        .into_iter()
        .map(f64::to_bits)
        .collect()
}

#[test]
fn the_center_is_named() {
    every_spoiled(|loss, class, dim, value, device| {
        let message = format!("centers[{class}][{dim}] is {value}: every center must be finite");
        let before = bits(loss);
        let (features, y) = on_all_classes(device);
        if loss.config().checking == Checking::Strict {
            for result in [
                loss.try_forward((features.clone(), y.clone())),
                loss.try_forward_no_reduction((features.clone(), y.clone())),
                loss.try_evaluate((features.clone(), y.clone())),
                loss.measure((features.clone(), y.clone()))
                    .map(|(value, _)| value),
            ] {
                assert_eq!(result.unwrap_err().to_string(), message);
            }
        }
        let error = loss.statistics(features.clone(), y.clone()).unwrap_err();
        assert_eq!(error.to_string(), message);
        // No sample is of that class, but all centers are compared.
        let other = (class + 1) % NUM_CLASSES;
        let one = (features.narrow(0, other, 1), y.narrow(0, other, 1));
        let error = loss.statistics(one.0.clone(), one.1.clone()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("centers[{class}] has a value that is not finite: every center must be finite")
        );
        let error = loss.nearest_center().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "centers holds {value} in row {class}, column {dim}; every value must be finite"
            )
        );
        assert_eq!((bits(loss), loss.step()), (before, 0));
        // Samples of other classes are as good as ever.
        let value = loss.try_forward(one).unwrap();
        assert!(values(value)[0].is_finite());
    });
}

#[test]
fn deferred_checking_counts_the_samples_of_the_center() {
    every_spoiled(|loss, class, _, _, device| {
        if loss.config().checking == Checking::Strict {
            return;
        }
        let before = bits(loss);
        let (features, y) = on_all_classes(device);
        let value = loss.forward(features.clone(), y);
        let gradients = value.backward();
        assert!(values(value)[0].is_finite());
        let gradient = values(features.grad(&gradients).unwrap());
        assert!(gradient.iter().all(|value| value.is_finite()));
        assert_eq!(gradient[2 * class..][..2], [0.0, 0.0]);
        let expected = LeftOut {
            distances: 1,
            ..LeftOut::default()
        };
        assert_eq!(loss.take_left_out(), Ok(expected));
        assert_eq!(bits(loss)[2 * class..][..2], before[2 * class..][..2]);
    });
}

#[test]
fn a_safetensors_file_with_a_bad_center() {
    for device in devices().into_iter().map(Device::autodiff) {
        let loss = CenterLossConfig::new(NUM_CLASSES, 2).init(&device);
        let loss = through_safetensors(&loss, &mut Spoil(1, 0, f32::NAN));
        let error = loss.try_forward(on_all_classes(&device)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "centers[1][0] is NaN: every center must be finite"
        );
    }
}

#[test]
fn a_gradient_rule_that_diverges() {
    for device in devices().into_iter().map(Device::autodiff) {
        let mut loss = CenterLossConfig::new(2, 1)
            .with_update_rule(UpdateRule::Gradient)
            .init_with_centers(matrix(&[vec![1.0], vec![2.0]], &device))
            .unwrap();
        let mut optimizer = SgdConfig::new().init();
        let batch = || {
            let features = Tensor::<2>::from_data([[3.0], [2.0]], (&device, DType::F32));
            (features, labels(&[0, 1], &device))
        };
        // The rate is far beyond what plain SGD can take.
        let error = loop {
            match loss.try_forward(batch()) {
                Ok(value) => {
                    assert!(values(value.clone())[0].is_finite());
                    let gradients = GradientsParams::from_grads(value.backward(), &loss);
                    loss = optimizer.step(1e30, loss, gradients);
                }
                Err(error) => break error.to_string(),
            }
        };
        assert!(
            error.starts_with("the loss overflows F32") || error.starts_with("centers[0][0] is "),
            "{error}"
        );
    }
}
