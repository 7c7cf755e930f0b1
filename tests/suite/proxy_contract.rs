//! What every proxy loss does.
//!
//! Excepted from what center loss does: proxies of absent classes receive gradients, and the loss of a feature
//! on its proxy is not 0. [`ProxyAnchor`] is excepted from all that concerns a sum over samples: it has no loss
//! per sample, and doubling a batch does not double it. [`ProxyNca`] with [`Denominator::OtherClasses`] is
//! excepted from not being negative.

use burn::module::Module;
use burn::nn::loss::Reduction;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{DType, Device, Int, Tensor};
use burn_center_loss::{
    Batch, Checking, CosFace, Denominator, LeftOut, MarginSoftmaxConfig, NearestCenter,
    ProxyAnchor, ProxyAnchorConfig, ProxyNca, ProxyNcaConfig, SoftTriple, SoftTripleConfig,
};
use proptest::prelude::*;

use crate::center_plain::Plain;
use crate::devices::{devices, devices_with, values};
use crate::fixtures::assert_close;
use crate::margin_plain::f64_devices;
use crate::proxy_plain::{Case, Config, Loss, batch, every_case};
use crate::tensors::{ints, labels, typed_matrix};

fn autodiff_devices() -> Vec<Device> {
    devices().into_iter().map(Device::autodiff).collect()
}

/// Every loss with its defaults, in single precision; the class vectors of [`SoftTriple`] are two per class.
pub fn every_loss(num_classes: usize, feature_dim: usize) -> Vec<Config> {
    let nca = ProxyNcaConfig::new(num_classes, feature_dim);
    let others = nca.clone().with_denominator(Denominator::OtherClasses);
    vec![
        Config::Anchor(ProxyAnchorConfig::new(num_classes, feature_dim)),
        Config::Nca(nca),
        Config::Nca(others),
        Config::SoftTriple(SoftTripleConfig::new(num_classes, feature_dim).with_sub_centers(2)),
    ]
}

/// Value and both gradients in `f64`.
struct Run {
    value: Vec<f64>,
    features: Vec<Vec<f64>>,
    centers: Vec<f64>,
}

fn run(case: &Case, plain: &Plain, device: &Device) -> Run {
    let loss = case
        .config
        .try_with_centers(typed_matrix(&plain.centers, DType::F64, device))
        .unwrap();
    let features = plain.features(device).require_grad();
    let batch = Batch::new(features.clone(), plain.labels(device));
    let batch = match plain.weights(device) {
        Some(weights) => batch.with_weights(weights),
        None => batch,
    };
    let value = case.forward(&loss, batch).unwrap();
    let gradients = value.clone().sum().backward();
    let of_features = values(features.grad(&gradients).unwrap());
    let width = features.dims()[1];
    Run {
        value: values(value),
        features: of_features.chunks(width).map(<[f64]>::to_vec).collect(),
        centers: values(loss.centers_gradient(gradients).unwrap()),
    }
}

fn assert_same(name: &str, one: &Run, other: &Run) {
    let features = [one, other].map(|run| run.features.concat());
    assert_close(name, &one.value, &other.value, 1e-11);
    assert_close(name, &features[0], &features[1], 1e-11);
    assert_close(name, &one.centers, &other.centers, 1e-11);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn batch_order_does_not_matter(pick in any::<prop::sample::Index>(), rotation in 1_usize..9) {
        let case = pick.get(&every_case()).clone();
        let plain = batch(&case.config).with_weights();
        let mut rotated = plain.clone();
        rotated.features.rotate_left(rotation);
        rotated.labels.rotate_left(rotation);
        rotated.weights.as_mut().unwrap().rotate_left(rotation);
        for device in f64_devices() {
            let (mut one, other) = (run(&case, &plain, &device), run(&case, &rotated, &device));
            one.features.rotate_left(rotation);
            if case.per_sample {
                one.value.rotate_left(rotation);
            }
            assert_same(&case.name(), &one, &other);
        }
    }

    #[test]
    fn a_weight_of_two_is_the_sample_twice(pick in any::<prop::sample::Index>()) {
        let case = pick.get(&every_case()).clone();
        // The mean over the rows knows nothing of weights.
        prop_assume!(!case.per_sample && !case.config.is_mean_over_rows());
        let mut weighted = batch(&case.config);
        let mut twice = weighted.clone();
        weighted.weights = Some([vec![2.0], vec![1.0; 8]].concat());
        twice.features.push(twice.features[0].clone());
        twice.labels.push(twice.labels[0]);
        for device in f64_devices() {
            let (one, mut other) = (run(&case, &weighted, &device), run(&case, &twice, &device));
            let second = other.features.pop().unwrap();
            for (first, second) in other.features[0].iter_mut().zip(second) {
                *first += second;
            }
            assert_same(&case.name(), &one, &other);
        }
    }

    #[test]
    fn a_weight_of_zero_is_no_sample(pick in any::<prop::sample::Index>()) {
        let case = pick.get(&every_case()).clone();
        prop_assume!(!case.per_sample && !case.config.is_mean_over_rows());
        let mut weighted = batch(&case.config);
        let mut without = weighted.clone();
        weighted.weights = Some([vec![0.0], vec![1.0; 8]].concat());
        without.features.remove(0);
        without.labels.remove(0);
        for device in f64_devices() {
            let (mut one, other) = (run(&case, &weighted, &device), run(&case, &without, &device));
            prop_assert_eq!(one.features.remove(0), vec![0.0; 3]);
            assert_same(&case.name(), &one, &other);
        }
    }

    #[test]
    fn deferred_checking_gives_the_same(pick in any::<prop::sample::Index>()) {
        let case = pick.get(&every_case()).clone();
        let plain = batch(&case.config).with_weights();
        let deferred = Case {
            config: case.config.clone().with_checking(Checking::Deferred),
            ..case.clone()
        };
        for device in f64_devices() {
            let strict = run(&case, &plain, &device);
            assert_same(&case.name(), &strict, &run(&deferred, &plain, &device));
        }
    }
}

#[test]
fn the_sum_is_the_batch_size_times_the_mean() {
    for device in f64_devices() {
        for (nth, kind) in every_case().into_iter().enumerate() {
            let make = |reduction: Reduction, per_sample| {
                let config = match kind.config.clone() {
                    Config::Anchor(_) => return None,
                    Config::Nca(config) => Config::Nca(config.with_reduction(reduction)),
                    Config::SoftTriple(config) => {
                        Config::SoftTriple(config.with_reduction(reduction))
                    }
                };
                let plain = batch(&config);
                Some(run(&Case { config, per_sample }, &plain, &device).value)
            };
            // Without class weights and ignored samples, every row counts 1.
            if kind.config.ignore_label().is_some() {
                continue;
            }
            let Some(sum) = make(Reduction::Sum, false) else {
                continue;
            };
            let each: f64 = make(Reduction::Sum, true).unwrap().iter().sum();
            assert_close("sum", &[each], &sum, 1e-12);
            for mean in [Reduction::Mean, Reduction::Auto, Reduction::BatchMean] {
                let mean = make(mean, false).unwrap();
                assert_close(&format!("case {nth}"), &[9.0 * mean[0]], &sum, 1e-12);
            }
        }
    }
}

#[test]
fn the_exceptions_are_as_stated() {
    for device in f64_devices() {
        for case in every_case() {
            let plain = batch(&case.config);
            let one = run(&case, &plain, &device);
            let absent = &one.centers[3 * 3 * case.config.sub_centers()..];
            assert!(absent.iter().any(|g| *g != 0.0), "{}", case.name());
            let mut doubled = plain.clone();
            doubled.features.extend(plain.features);
            doubled.labels.extend(plain.labels);
            let twice = run(&case, &doubled, &device).value;
            match &case.config {
                // The exponent of every sample grows by log(2).
                Config::Anchor(_) => {
                    assert!(twice[0] > one.value[0]);
                    assert!(twice[0] < one.value[0] + 2.0 * 2_f64.ln());
                }
                Config::Nca(config) if config.denominator == Denominator::OtherClasses => {}
                Config::Nca(_) | Config::SoftTriple(_) => {
                    assert!(one.value.iter().all(|value| *value >= 0.0));
                }
            }
        }
        // Features on their proxies, and far from the others.
        let loss = ProxyNcaConfig::new(2, 1)
            .with_denominator(Denominator::OtherClasses)
            .init_with_centers(Tensor::from_data([[1.0], [-1.0]], &device))
            .unwrap();
        let features = Tensor::from_data([[2.0], [-3.0]], &device);
        let value = loss.forward(features, labels(&[0, 1], &device));
        assert_close("negative", &values(value), &[-4.0], 1e-6);
    }
}

/// Losses that are other losses of this crate.
#[test]
fn losses_that_are_the_same() {
    for device in f64_devices() {
        let plain = Plain::new(9, 4, 3, 5);
        let proxies = || typed_matrix(&plain.centers, DType::F64, &device);
        let value = |config: Config| {
            let config = config.with_precision(burn_center_loss::Precision::F64);
            let case = Case {
                config,
                per_sample: false,
            };
            run(&case, &plain, &device)
        };
        let margin_softmax = |config: MarginSoftmaxConfig| {
            let loss = config
                .with_precision(burn_center_loss::Precision::F64)
                .init_with_centers(proxies())
                .unwrap();
            values(loss.evaluate(plain.features(&device), plain.labels(&device)))
        };
        let nca = Config::Nca(ProxyNcaConfig::new(4, 3).with_softmax_scale(3.0));
        let normalized = MarginSoftmaxConfig::normalized_softmax(4, 3).with_scale(6.0);
        assert_close("nca", &value(nca).value, &margin_softmax(normalized), 1e-12);

        let triple = SoftTripleConfig::new(4, 3)
            .with_sub_centers(1)
            .with_scale(7.0)
            .with_margin(0.2);
        let cosface = MarginSoftmaxConfig::new(4, 3)
            .with_margin(CosFace::new().with_margin(0.2).into())
            .with_scale(7.0);
        let triple = value(Config::SoftTriple(triple)).value;
        assert_close("soft triple", &triple, &margin_softmax(cosface), 1e-12);
    }
}

#[test]
fn blocks_do_not_change_the_result() {
    for device in f64_devices() {
        for case in every_case() {
            let Config::Nca(config) = case.config.clone() else {
                continue;
            };
            let without = Case {
                config: Config::Nca(config.with_score_budget(0)),
                ..case.clone()
            };
            let plain = batch(&case.config);
            let kept = run(&case, &plain, &device);
            assert_same(&case.name(), &kept, &run(&without, &plain, &device));
        }
    }
}

#[test]
fn a_batch_of_one() {
    for device in f64_devices() {
        for case in every_case() {
            let mut plain = batch(&case.config);
            plain.features.truncate(1);
            plain.labels.truncate(1);
            let one = run(&case, &plain, &device);
            let expected = crate::proxy_plain::expected(&case, &plain);
            assert_close(&case.name(), &one.value, &expected, 1e-11);
        }
    }
}

/// Acceptance case 7: labels of -1 in insightface's PartialFC.
#[test]
fn ignored_samples_change_nothing_whatever_they_hold() {
    for device in autodiff_devices() {
        for checking in [Checking::Strict, Checking::Deferred] {
            for config in every_loss(3, 2) {
                let config = config.with_checking(checking).with_ignore_label(Some(-1));
                let loss = config.make(&device);
                let rows = [[1.5, -2.0], [f32::NAN, f32::INFINITY], [0.5, 3.0]];
                let features = Tensor::<2>::from_data(rows, &device).require_grad();
                let kept = Tensor::<2>::from_data([rows[0], rows[2]], &device).require_grad();
                let with = loss.try_forward((features.clone(), labels(&[0, -1, 2], &device)));
                let without = loss.try_forward((kept.clone(), labels(&[0, 2], &device)));
                let (with, without) = (with.unwrap(), without.unwrap());
                let (gradients, of_kept) = (with.backward(), without.backward());
                assert_close("loss", &values(with), &values(without), 1e-6);
                let gradient = values(features.grad(&gradients).unwrap());
                assert_eq!(gradient[2..4], [0.0, 0.0]);
                assert_close(
                    "features",
                    &[&gradient[..2], &gradient[4..]].concat(),
                    &values(kept.grad(&of_kept).unwrap()),
                    1e-6,
                );
                let gradient = values(loss.centers_gradient(gradients).unwrap());
                let expected = values(loss.centers_gradient(of_kept).unwrap());
                assert_close("proxies", &gradient, &expected, 1e-6);
                assert_eq!(loss.take_left_out(), Ok(LeftOut::default()));

                let features = Tensor::<2>::from_data(rows, &device).require_grad();
                let batch = (features.clone(), labels(&[-1, -1, -1], &device));
                let value = loss.try_forward(batch).unwrap();
                let gradients = value.backward();
                assert_eq!(values(value), [0.0]);
                assert_eq!(values(features.grad(&gradients).unwrap()), [0.0; 6]);
                let gradient = values(loss.centers_gradient(gradients).unwrap());
                assert!(gradient.iter().all(|g| *g == 0.0), "{}", config.name());
            }
        }
    }
}

#[test]
fn bad_samples_are_left_out_and_counted_under_deferred_checking() {
    for device in autodiff_devices() {
        for config in every_loss(3, 2) {
            let loss = config.with_checking(Checking::Deferred).make(&device);
            let rows = [
                [1.0, 2.0],
                [f32::NAN, 0.0],
                [3.0, 4.0],
                [-1.0, 2.0],
                [0.5, 0.1],
            ];
            let features = Tensor::<2>::from_data(rows, &device).require_grad();
            let weights = Tensor::from_data([1.0, 1.0, 1.0, -1.0, 1.0], &device);
            let bad = Batch::new(features.clone(), labels(&[0, 1, 7, 2, 1], &device));
            let value = loss.try_forward(bad.with_weights(weights)).unwrap();
            let gradients = value.backward();
            let gradient = values(features.grad(&gradients).unwrap());
            assert_eq!(gradient[2..8], [0.0; 6]);
            let good = Tensor::<2>::from_data([rows[0], rows[4]], &device);
            let expected = loss.try_forward((good, labels(&[0, 1], &device))).unwrap();
            assert_close("loss", &values(value), &values(expected), 1e-6);
            let expected = LeftOut {
                labels: 1,
                features: 1,
                weights: 1,
                distances: 0,
            };
            assert_eq!(loss.take_left_out(), Ok(expected));
            assert_eq!(loss.take_left_out(), Ok(LeftOut::default()));
        }
    }
}

/// One step of an optimizer, of any loss.
fn trained(loss: Loss, device: &Device) -> Loss {
    fn step<M: burn::module::Module>(loss: M, value: &Tensor<1>) -> M {
        let gradients = GradientsParams::from_grads(value.backward(), &loss);
        assert_eq!(gradients.len(), 1);
        SgdConfig::new().init().step(0.5, loss, gradients)
    }
    let features = Tensor::<2>::from_data([[1.0, 0.5], [-0.3, 3.0]], device);
    let value = loss
        .try_forward((features, labels(&[0, 2], device)))
        .unwrap();
    match loss {
        Loss::Anchor(loss) => Loss::Anchor(step(loss, &value)),
        Loss::Nca(loss) => Loss::Nca(step(loss, &value)),
        Loss::SoftTriple(loss) => Loss::SoftTriple(step(loss, &value)),
    }
}

/// Acceptance case 14: Proxy-Anchor-CVPR2020 #25, pytorch-metric-learning #175 and #534. The proxies are
/// parameters of the model, so that its optimizer cannot miss them.
#[test]
fn an_optimizer_moves_all_proxies() {
    for device in autodiff_devices() {
        for config in every_loss(5, 2) {
            // So soft that no share of a proxy is lost in the rounding of its step.
            let config = match config {
                Config::Anchor(config) => Config::Anchor(config.with_alpha(1.0)),
                Config::Nca(config) => Config::Nca(config),
                Config::SoftTriple(config) => {
                    Config::SoftTriple(config.with_scale(1.0).with_gamma(1.0))
                }
            };
            let loss = config.make(&device);
            let before = values(loss.centers());
            let after = values(trained(loss, &device).centers());
            for (row, moved) in before.chunks(2).zip(after.chunks(2)) {
                assert_ne!(row, moved, "{}", config.name());
            }
        }
    }
}

#[test]
fn a_group_gives_the_proxies_a_rate_of_their_own() {
    use burn::lr_scheduler::constant::ConstantLr;
    use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
    use burn::nn::{Linear, LinearConfig};

    #[derive(Module, Debug)]
    struct Model {
        net: Linear,
        proxies: ProxyAnchor,
    }
    for device in autodiff_devices() {
        let model = Model {
            net: LinearConfig::new(2, 2).init(&device),
            // So soft that no share of a proxy is lost in the rounding of its step.
            proxies: ProxyAnchorConfig::new(3, 2).with_alpha(1.0).init(&device),
        };
        let before = values(model.proxies.centers());
        let weight = values(model.net.weight.val());
        let group = ProxyAnchor::centers_group("proxies");
        let mut rates =
            ModuleLrScheduler::new(ConstantLr::new(0.0)).with_group(group, ConstantLr::new(0.5));
        let features = model.net.forward(Tensor::<2>::ones([1, 2], &device));
        let value = model.proxies.forward(features, labels(&[0], &device));
        let gradients = GradientsParams::from_grads(value.backward(), &model);
        let model = SgdConfig::new().init().step(rates.step(), model, gradients);
        assert_ne!(values(model.proxies.centers()), before);
        assert_eq!(values(model.net.weight.val()), weight);
    }
}

#[test]
fn evaluation_gives_the_proxies_no_gradient() {
    for device in autodiff_devices() {
        for config in every_loss(3, 2) {
            let loss = config.make(&device);
            let features = Tensor::<2>::ones([1, 2], &device).require_grad();
            let batch = || (features.clone(), labels(&[1], &device));
            let gradients = loss.try_evaluate(batch()).unwrap().backward();
            assert!(features.grad(&gradients).is_some());
            assert!(loss.centers_gradient(gradients).is_none());
            // Frozen proxies receive none either, and the features still do.
            let frozen = match loss {
                Loss::Anchor(loss) => Loss::Anchor(loss.freeze()),
                Loss::Nca(loss) => Loss::Nca(loss.freeze()),
                Loss::SoftTriple(loss) => Loss::SoftTriple(loss.freeze()),
            };
            let gradients = frozen.try_forward(batch()).unwrap().backward();
            assert!(features.grad(&gradients).is_some());
            assert!(frozen.centers_gradient(gradients).is_none());
        }
    }
}

#[test]
fn values_without_autodiff_are_the_same() {
    for device in devices() {
        for config in every_loss(3, 2) {
            let plain = Plain::new(2, 3 * config.sub_centers(), 2, 11);
            let proxies = typed_matrix(&plain.centers, DType::F32, &device.clone().autodiff());
            let loss = config.try_with_centers(proxies).unwrap();
            let on = |device: &Device| {
                let features = Tensor::<2>::from_data([[1.0, 0.5], [-0.3, 3.0]], device);
                values(
                    loss.try_forward((features, labels(&[0, 2], device)))
                        .unwrap(),
                )
            };
            let (without, with) = (on(&device), on(&device.clone().autodiff()));
            match config {
                // Burn takes another softmax where nothing is differentiated.
                Config::SoftTriple(_) => assert_close("soft triple", &without, &with, 1e-6),
                Config::Anchor(_) | Config::Nca(_) => assert_eq!(without, with),
            }
        }
    }
}

/// Acceptance case 15: a checkpoint has the proxies; insightface #1360 and #2027, pytorch-metric-learning #544.
#[test]
fn a_record_has_the_proxies() {
    use burn::store::ModuleRecord;
    for device in autodiff_devices() {
        for config in every_loss(4, 2) {
            let loss = config.make(&device);
            let bytes = match loss.clone() {
                Loss::Anchor(loss) => loss.into_record().into_bytes(),
                Loss::Nca(loss) => loss.into_record().into_bytes(),
                Loss::SoftTriple(loss) => loss.into_record().into_bytes(),
            };
            let record = ModuleRecord::from_bytes(bytes.unwrap()).unwrap();
            let resumed = match config.make(&device) {
                Loss::Anchor(loss) => Loss::Anchor(loss.load_record(record)),
                Loss::Nca(loss) => Loss::Nca(loss.load_record(record)),
                Loss::SoftTriple(loss) => Loss::SoftTriple(loss.load_record(record)),
            };
            assert_eq!(values(resumed.centers()), values(loss.centers()));
            let (resumed, loss) = (trained(resumed, &device), trained(loss, &device));
            assert_eq!(values(resumed.centers()), values(loss.centers()));
        }
    }
}

/// Acceptance case 15: layouts of other checkpoints.
#[test]
fn proxies_of_other_checkpoints() {
    use burn::module::Param;
    use burn::store::{ModuleSnapshot, SafetensorsStore};

    /// `ProxyAnchorLoss` and `ProxyNCALoss` of pytorch-metric-learning 2 have a parameter `proxies`,
    /// `[num_classes, feature_dim]`.
    #[derive(Module, Debug)]
    struct Proxies {
        proxies: Param<Tensor<2>>,
    }
    /// `SoftTripleLoss` there has a parameter `fc`, `[feature_dim, num_classes * centers_per_class]`.
    #[derive(Module, Debug)]
    struct Transposed {
        fc: Param<Tensor<2>>,
    }
    let rows = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]];
    let directory = tempfile::tempdir().unwrap();
    for device in devices() {
        let path = directory.path().join("proxies.safetensors");
        let saved = Proxies {
            proxies: Param::from_data(rows, &device),
        };
        let mut store = SafetensorsStore::from_file(&path).overwrite(true);
        saved.save_into(&mut store).unwrap();
        fn load<M: ModuleSnapshot>(mut loss: M, path: &std::path::Path) -> M {
            let mut store =
                SafetensorsStore::from_file(path).with_key_remapping("^proxies$", "centers");
            let result = loss.load_from(&mut store).unwrap();
            assert!(result.errors.is_empty(), "{result:?}");
            loss
        }
        let anchor: ProxyAnchor = load(ProxyAnchorConfig::new(4, 2).init(&device), &path);
        let nca: ProxyNca = load(ProxyNcaConfig::new(4, 2).init(&device), &path);
        assert_eq!(values(anchor.centers()), rows.concat());
        assert_eq!(values(nca.centers()), rows.concat());

        let path = directory.path().join("transposed.safetensors");
        let saved = Transposed {
            fc: Param::from_data([[1.0, 3.0, 5.0, 7.0], [2.0, 4.0, 6.0, 8.0]], &device),
        };
        let mut store = SafetensorsStore::from_file(&path).overwrite(true);
        saved.save_into(&mut store).unwrap();
        let mut loaded = Transposed {
            fc: Param::from_tensor(Tensor::zeros([2, 4], &device)),
        };
        loaded
            .load_from(&mut SafetensorsStore::from_file(&path))
            .unwrap();
        let loss: SoftTriple = SoftTripleConfig::new(2, 2)
            .with_sub_centers(2)
            .init_with_centers(loaded.fc.val().transpose())
            .unwrap();
        assert_eq!(values(loss.centers()), rows.concat());
    }
}

#[test]
fn a_half_precision_model_keeps_proxies_in_single_precision() {
    use burn::module::{ModuleMapper, Param};
    struct ToHalf;
    impl ModuleMapper for ToHalf {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|tensor| tensor.cast(DType::F16))
        }
    }
    for device in devices_with(DType::F16).into_iter().map(Device::autodiff) {
        let loss = ProxyNcaConfig::new(4, 2)
            .with_class_weights(Some(vec![1.0; 4]))
            .init(&device);
        let record = loss.clone().map(&mut ToHalf).into_record();
        let loss = loss.load_record(record);
        assert_eq!(loss.centers().dtype(), DType::F32);
        trained(Loss::Nca(loss), &device);
    }
}

#[test]
fn the_nearest_center_is_the_class_with_the_largest_logit() {
    for device in devices() {
        for num_classes in [3, 40] {
            let soft = SoftTripleConfig::new(num_classes, 3).with_sub_centers(1);
            // Nearly a hard choice among the proxies of a class.
            let hard = SoftTripleConfig::new(num_classes, 3)
                .with_sub_centers(2)
                .with_gamma(1e-4);
            let mut configs = every_loss(num_classes, 3);
            configs.truncate(3);
            configs.extend([soft, hard].map(Config::SoftTriple));
            for config in configs {
                let plain = Plain::new(50, num_classes * config.sub_centers(), 3, 7);
                let loss = config
                    .try_with_centers(typed_matrix(&plain.centers, DType::F32, &device))
                    .unwrap();
                let queries = typed_matrix(&plain.features, DType::F32, &device);
                let logits = loss.logits(queries.clone()).unwrap();
                assert_eq!(logits.dims(), [50, num_classes]);
                let expected = ints(logits.argmax(1).squeeze_dim::<1>(1));
                let nearest: NearestCenter = match &loss {
                    Loss::Anchor(loss) => loss.nearest_center().unwrap(),
                    Loss::Nca(loss) => loss.nearest_center().unwrap(),
                    Loss::SoftTriple(loss) => loss.nearest_center().unwrap(),
                };
                assert_eq!(ints(nearest.predict(queries).unwrap()), expected);
            }
        }
    }
}

#[test]
fn logits_are_the_exponents_of_the_loss() {
    for device in autodiff_devices() {
        let proxies =
            Tensor::<2>::from_data([[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, 0.0]], &device);
        let expected = |config: Config| {
            let loss = config.try_with_centers(proxies.clone()).unwrap();
            let features = Tensor::<2>::from_data([[3.0, 0.0]], &device).require_grad();
            let logits = loss.logits(features.clone()).unwrap();
            assert!(features.grad(&logits.clone().sum().backward()).is_some());
            values(logits)
        };
        let anchor = ProxyAnchorConfig::new(4, 2).with_alpha(8.0);
        assert_eq!(expected(Config::Anchor(anchor)), [8.0, 0.0, -8.0, 0.0]);
        let nca = ProxyNcaConfig::new(4, 2).with_softmax_scale(3.0);
        assert_eq!(expected(Config::Nca(nca)), [6.0, 0.0, -6.0, 0.0]);
        let triple = SoftTripleConfig::new(2, 2)
            .with_sub_centers(2)
            .with_scale(5.0)
            .with_gamma(0.5);
        // exp(cos / gamma) of the proxies of a class are its shares: (e^2, 1) and (e^-2, 1).
        let share = |cosine: f64| (2.0 * cosine).exp() / ((2.0 * cosine).exp() + 1.0) * cosine;
        let similarities = [5.0 * share(1.0), 5.0 * share(-1.0)];
        assert_close(
            "soft triple",
            &expected(Config::SoftTriple(triple)),
            &similarities,
            1e-6,
        );
    }
}

#[test]
fn labels_of_every_integer_type() {
    for dtype in crate::integers::INTEGER_TYPES {
        for device in devices_with(dtype) {
            for checking in [Checking::Strict, Checking::Deferred] {
                for config in every_loss(200, 2) {
                    let loss = config.with_checking(checking).make(&device);
                    let features = || Tensor::<2>::from_data([[1.0, 0.5], [0.3, 2.0]], &device);
                    let y = Tensor::<1, Int>::from_data([5, 120], (&device, dtype));
                    let value = loss.try_evaluate((features(), y)).unwrap();
                    let y = labels(&[5, 120], &device);
                    let expected = loss.try_evaluate((features(), y)).unwrap();
                    assert_eq!(values(value), values(expected), "{dtype:?}");
                }
            }
        }
    }
}

/// Acceptance case 16: options that a loss swallows, pytorch-metric-learning #746.
#[test]
fn configurations_survive_json() {
    use burn::config::Config as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.json");
    for case in every_case() {
        let loaded = match &case.config {
            Config::Anchor(config) => {
                config.save(&path).unwrap();
                Config::Anchor(ProxyAnchorConfig::load(&path).unwrap())
            }
            Config::Nca(config) => {
                config.save(&path).unwrap();
                Config::Nca(ProxyNcaConfig::load(&path).unwrap())
            }
            Config::SoftTriple(config) => {
                config.save(&path).unwrap();
                Config::SoftTriple(SoftTripleConfig::load(&path).unwrap())
            }
        };
        assert_eq!(loaded.name(), case.config.name());
    }
}

#[test]
fn display_names_the_settings() {
    let device = &devices()[0];
    assert_eq!(
        ProxyAnchorConfig::new(10, 2).init(device).to_string(),
        "ProxyAnchor {num_classes: 10, feature_dim: 2, alpha: 32, margin: 0.1, params: 20}"
    );
    assert_eq!(
        ProxyNcaConfig::new(10, 2).init(device).to_string(),
        "ProxyNca {num_classes: 10, feature_dim: 2, softmax_scale: 1, denominator: AllClasses, params: 20}"
    );
    assert_eq!(
        SoftTripleConfig::new(10, 2).init(device).to_string(),
        "SoftTriple {num_classes: 10, feature_dim: 2, sub_centers: 10, scale: 20, gamma: 0.1, margin: 0.01, \
         params: 200}"
    );
}
