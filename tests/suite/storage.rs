//! Where the centers live: records, clones, moving, other dtypes, and checkpoints of other frameworks.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::nn::{Linear, LinearConfig};
use burn::store::{ModuleRecord, RecordError};
use burn::tensor::{DType, Device, Int, Tensor};
use burn_center_loss::{CenterLoss, CenterLossConfig, DirectRule, Precision, Schedule, UpdateRule};

use crate::devices::{devices, devices_with, values};

/// The id of the parameter that holds the centers, the first one of float type.
pub fn centers_id(loss: &impl Module) -> ParamId {
    #[derive(Default)]
    struct Ids(Vec<ParamId>);
    impl ModuleVisitor for Ids {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.id);
        }
    }
    let mut ids = Ids::default();
    loss.visit(&mut ids);
    ids.0[0]
}

fn autodiff_devices() -> Vec<Device> {
    devices().into_iter().map(Device::autodiff).collect()
}

fn config() -> CenterLossConfig {
    CenterLossConfig::new(4, 2)
        .with_lambda_schedule(Schedule::LinearWarmup { steps: 10 })
        .with_update_rule(decaying(DirectRule::paper()))
}

fn decaying(rule: DirectRule) -> UpdateRule {
    let schedule = Schedule::StepDecay {
        every: 2,
        factor: 0.1,
    };
    rule.with_alpha_schedule(schedule).into()
}

fn step(loss: &CenterLoss, device: &Device, offset: f32) -> Vec<f64> {
    let features = Tensor::<2>::from_data([[1.0, offset], [offset, 3.0], [0.1, 0.7]], device);
    let labels = Tensor::<1, Int>::from_data([0, 2, 0], device);
    values(loss.forward(features, labels))
}

#[test]
fn a_resumed_training_takes_the_same_steps_bit_by_bit() {
    for device in autodiff_devices() {
        for rule in [DirectRule::paper(), DirectRule::mean(), DirectRule::sum()] {
            let config = config().with_update_rule(decaying(rule));
            let loss = config.init(&device);
            for offset in [0.3, -2.0, 0.9] {
                step(&loss, &device, offset);
            }
            loss.set_alpha(0.4).unwrap();
            let bytes = loss.clone().into_record().into_bytes().unwrap();
            let record = ModuleRecord::from_bytes(bytes).unwrap();
            let resumed = config.init(&device).load_record(record);
            assert_eq!(resumed.step(), 3);
            assert_eq!(
                (resumed.alpha(), resumed.lambda()),
                (loss.alpha(), loss.lambda())
            );
            assert_eq!(values(resumed.centers()), values(loss.centers()));
            for offset in [1.7, 0.2, -0.4] {
                assert_eq!(
                    step(&resumed, &device, offset),
                    step(&loss, &device, offset)
                );
                assert_eq!(values(resumed.centers()), values(loss.centers()));
            }
        }
    }
}

#[test]
fn schedules_follow_the_training_steps() {
    let device = Device::flex().autodiff();
    let loss = config().init(&device);
    let mut rates = vec![];
    for _ in 0..5 {
        rates.push((loss.lambda(), loss.alpha().unwrap()));
        step(&loss, &device, 0.5);
        loss.evaluate(
            Tensor::ones([1, 2], &device),
            Tensor::<1, Int>::zeros([1], &device),
        );
    }
    let (lambdas, alphas): (Vec<f64>, Vec<f64>) = rates.into_iter().unzip();
    assert_eq!(lambdas, [0.1, 0.2, 0.3, 0.4, 0.5]);
    crate::fixtures::assert_close("alpha", &alphas, &[0.5, 0.5, 0.05, 0.05, 0.005], 1e-12);
}

#[test]
fn a_snapshot_keeps_its_centers() {
    for device in autodiff_devices() {
        let loss = config().init(&device);
        let (clone, centers) = (loss.clone(), loss.centers());
        let before = values(loss.centers());
        step(&loss, &device, 0.5);
        assert_ne!(values(loss.centers()), before);
        assert_eq!(values(clone.centers()), before);
        assert_eq!(values(centers), before);
    }
}

#[test]
fn centers_survive_moving_forking_and_validation() {
    for device in autodiff_devices() {
        for rule in [DirectRule::paper().into(), UpdateRule::Gradient] {
            let loss = config().with_update_rule(rule.clone()).init(&device);
            let before = values(loss.centers());
            let id = centers_id(&loss);
            let moved = loss.fork(&device).to_device(&device).valid().train();
            assert_eq!(values(moved.centers()), before);
            assert_eq!(centers_id(&moved), id);
            assert_eq!(moved.devices(), std::slice::from_ref(&device));
            let gradients = Tensor::<2>::ones([1, 2], &device).require_grad();
            let labels = Tensor::<1, Int>::zeros([1], &device);
            let gradients = moved.forward(gradients, labels).backward();
            let gradients = burn::optim::GradientsParams::from_grads(gradients, &moved);
            assert_eq!(gradients.len(), usize::from(rule == UpdateRule::Gradient));
        }
    }
}

#[test]
fn unfreezing_does_not_make_directly_moved_centers_trainable() {
    let device = Device::flex().autodiff();
    let loss = config().init(&device).unfreeze();
    let features = Tensor::<2>::ones([1, 2], &device).require_grad();
    let gradients = loss
        .forward(features, Tensor::<1, Int>::zeros([1], &device))
        .backward();
    let gradients = burn::optim::GradientsParams::from_grads(gradients, &loss);
    assert!(gradients.is_empty());
    assert_eq!(loss.num_params(), 8);
}

#[test]
fn a_half_precision_model_keeps_centers_in_single_precision() {
    struct ToHalf;
    impl ModuleMapper for ToHalf {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|tensor| tensor.cast(DType::F16))
        }
    }
    for device in devices_with(DType::F16).into_iter().map(Device::autodiff) {
        let loss = config().init(&device);
        let record = loss.clone().map(&mut ToHalf).into_record();
        let loss = loss.load_record(record);
        assert_eq!(loss.centers().dtype(), DType::F32);
        step(&loss, &device, 0.5);
    }
    for device in devices_with(DType::F64).into_iter().map(Device::autodiff) {
        let double = config().with_precision(Precision::F64).init(&device);
        let single = config().init(&device);
        let double = double.load_record(single.into_record());
        assert_eq!(double.centers().dtype(), DType::F64);
        step(&double, &device, 0.5);
    }
}

#[derive(Module, Debug)]
struct WithLoss {
    net: Linear,
    center_loss: CenterLoss,
}

#[derive(Module, Debug)]
struct WithoutLoss {
    net: Linear,
}

#[test]
fn a_checkpoint_without_centers_and_a_model_without_the_loss() {
    let device = Device::flex().autodiff();
    let with = WithLoss {
        net: LinearConfig::new(3, 2).init(&device),
        center_loss: config().init(&device),
    };
    let without = WithoutLoss {
        net: LinearConfig::new(3, 2).init(&device),
    };
    let centers = values(with.center_loss.centers());
    let weight = values(without.net.weight.val());

    // Adding a center loss to a model whose checkpoint has none.
    let record = without.clone().into_record();
    let error = with.clone().try_load_record(record.clone()).unwrap_err();
    assert!(matches!(error, RecordError::Validation(_)), "{error}");
    let loaded = with.load_record(record.allow_partial(true));
    assert_eq!(values(loaded.net.weight.val()), weight);
    assert_eq!(values(loaded.center_loss.centers()), centers);

    // Deploying without it.
    let record = loaded.into_record();
    assert!(without.clone().try_load_record(record.clone()).is_err());
    let deployed = without.load_record(record.allow_unused(true));
    assert_eq!(values(deployed.net.weight.val()), weight);
}

#[test]
fn more_classes() {
    for device in autodiff_devices() {
        let loss = config()
            .with_class_weights(Some(vec![2.0; 4]))
            .init(&device);
        step(&loss, &device, 0.5);
        let before = values(loss.centers());
        let extended = loss
            .extend_classes(Tensor::from_data([[7.0, 8.0]], &device))
            .unwrap();
        assert_eq!(extended.num_classes(), 5);
        assert_eq!(extended.step(), 1);
        assert_eq!(
            values(extended.centers()),
            [before.clone(), vec![7.0, 8.0]].concat()
        );
        assert_eq!(
            extended.config().class_weights,
            Some(vec![2.0, 2.0, 2.0, 2.0, 1.0])
        );
        extended.forward(
            Tensor::ones([1, 2], &device),
            Tensor::<1, Int>::from_data([4], &device),
        );
        assert_ne!(values(extended.centers())[8..], [7.0, 8.0]);
        assert_eq!(
            loss.extend_classes(Tensor::zeros([1, 3], &device))
                .unwrap_err()
                .to_string(),
            "centers have shape [1, 3]: it must be [num_classes, feature_dim] = [1, 2]"
        );
    }
}

#[test]
fn centers_of_a_safetensors_checkpoint() {
    use burn::store::{ModuleSnapshot, SafetensorsStore};

    /// What a PyTorch model with a center loss has: a parameter `centers`.
    #[derive(Module, Debug)]
    struct Ported {
        centers: Param<Tensor<2>>,
    }
    let device = Device::flex().autodiff();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("centers.safetensors");
    let rows = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]];
    let ported = Ported {
        centers: Param::from_data(rows, &device),
    };
    ported
        .save_into(&mut SafetensorsStore::from_file(&path))
        .unwrap();

    let mut loss = config().init(&device);
    let mut store = SafetensorsStore::from_file(&path).allow_partial(true);
    let result = loss.load_from(&mut store).unwrap();
    assert!(result.errors.is_empty(), "{result:?}");
    assert_eq!(values(loss.centers()), rows.concat());
    step(&loss, &device, 0.5);
    assert_ne!(values(loss.centers()), rows.concat());
}

#[test]
fn display_names_the_settings() {
    let loss = CenterLossConfig::new(10, 2).init(&Device::flex());
    assert_eq!(
        loss.to_string(),
        "CenterLoss {num_classes: 10, feature_dim: 2, update_rule: Paper, alpha: 0.5, lambda: 1, params: 20}"
    );
}

#[test]
fn configurations_survive_json() {
    use burn::config::Config;
    let config = CenterLossConfig::mxnet(10, 2)
        .with_class_weights(Some(vec![0.5; 10]))
        .with_ignore_label(Some(-1))
        .with_lambda_schedule(Schedule::CosineDecay { steps: 7 });
    for config in [
        config.clone(),
        config.with_update_rule(decaying(DirectRule::sum())),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        config.save(&path).unwrap();
        let loaded = CenterLossConfig::load(&path).unwrap();
        assert_eq!(loaded.to_string(), config.to_string());
    }
}

#[test]
fn centers_of_a_pytorch_checkpoint() {
    use burn::store::{ModuleSnapshot, PytorchStore};

    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/checkpoints/centers.pt");
    for device in autodiff_devices() {
        let mut loss = config().init(&device);
        let mut store = PytorchStore::from_file(path).allow_partial(true);
        let result = loss.load_from(&mut store).unwrap();
        assert!(result.errors.is_empty(), "{result:?}");
        assert_eq!(
            values(loss.centers()),
            [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
        );
        step(&loss, &device, 0.5);
    }
}
