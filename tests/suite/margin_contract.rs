//! What every softmax with a margin does, whatever its margin; and what it does not, unlike center loss:
//! class vectors of absent classes receive gradients, and the loss of a feature on its class vector is
//! not 0.

use burn::module::Module;
use burn::nn::loss::Reduction;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{DType, Device, Int, Tensor};
use burn_center_loss::{
    AdaFace, ArcFace, Batch, Checking, CosFace, LeftOut, Margin, MarginSoftmax,
    MarginSoftmaxConfig, NormStatistics, Schedule, class_margins_from_counts,
};
use proptest::prelude::*;

use crate::center_plain::Plain;
use crate::devices::{devices, devices_with, values};
use crate::fixtures::assert_close;
use crate::margin_plain::{Case, batch, every_case, f64_devices, margins};
use crate::storage::centers_id;
use crate::tensors::{ints, labels, typed_matrix};

fn autodiff_devices() -> Vec<Device> {
    devices().into_iter().map(Device::autodiff).collect()
}

/// Value and both gradients in `f64`, and the statistics of AdaFace.
struct Run {
    value: Vec<f64>,
    features: Vec<Vec<f64>>,
    centers: Vec<f64>,
    statistics: Option<NormStatistics>,
}

fn run(case: &Case, plain: &Plain, device: &Device) -> Run {
    let loss = case.loss(plain, DType::F64, device);
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
    let gradients = GradientsParams::from_grads(gradients, &loss);
    Run {
        value: values(value),
        features: of_features.chunks(width).map(<[f64]>::to_vec).collect(),
        centers: values(gradients.get::<2>(centers_id(&loss)).unwrap()),
        statistics: loss.norm_statistics(),
    }
}

fn assert_same(name: &str, one: &Run, other: &Run) {
    assert_close(name, &one.value, &other.value, 1e-11);
    assert_close(
        name,
        &one.features.concat(),
        &other.features.concat(),
        1e-11,
    );
    assert_close(name, &one.centers, &other.centers, 1e-11);
    let numbers = |run: &Run| {
        let statistics = run.statistics.into_iter();
        statistics.flat_map(|s| [s.mean, s.std]).collect::<Vec<_>>()
    };
    assert_close(name, &numbers(one), &numbers(other), 1e-11);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn batch_order_does_not_matter(pick in any::<prop::sample::Index>(), rotation in 1_usize..9) {
        let case = pick.get(&every_case()).clone();
        let plain = batch(&case).with_weights();
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
        prop_assume!(!case.per_sample && !matches!(case.config.reduction, Reduction::BatchMean));
        let mut weighted = batch(&case);
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
    fn deferred_checking_gives_the_same(pick in any::<prop::sample::Index>()) {
        let mut case = pick.get(&every_case()).clone();
        let plain = batch(&case).with_weights();
        for device in f64_devices() {
            case.config.checking = Checking::Strict;
            let strict = run(&case, &plain, &device);
            case.config.checking = Checking::Deferred;
            assert_same(&case.name(), &strict, &run(&case, &plain, &device));
        }
    }

    #[test]
    fn blocks_do_not_change_the_result(pick in any::<prop::sample::Index>()) {
        let mut case = pick.get(&every_case()).clone();
        let plain = batch(&case);
        for device in f64_devices() {
            case.config.score_budget = usize::MAX;
            let kept = run(&case, &plain, &device);
            case.config.score_budget = 0;
            assert_same(&case.name(), &kept, &run(&case, &plain, &device));
        }
    }
}

#[test]
fn the_sum_is_the_batch_size_times_the_mean() {
    for device in f64_devices() {
        for margin in margins() {
            let make = |reduction, per_sample| {
                let mut case = every_case()[0].clone();
                case.config.margin = margin.clone();
                case.config.reduction = reduction;
                case.per_sample = per_sample;
                let plain = batch(&case);
                run(&case, &plain, &device).value
            };
            let sum = make(Reduction::Sum, false);
            assert_close(
                "sum",
                &[make(Reduction::Sum, true).iter().sum()],
                &sum,
                1e-12,
            );
            for mean in [Reduction::Mean, Reduction::Auto, Reduction::BatchMean] {
                assert_close("mean", &[9.0 * make(mean, false)[0]], &sum, 1e-12);
            }
        }
    }
}

#[test]
fn bad_samples_are_left_out_and_counted_under_deferred_checking() {
    for device in autodiff_devices() {
        for margin in [ArcFace::new().into(), Margin::from(AdaFace::new())] {
            let config = MarginSoftmaxConfig::new(3, 2)
                .with_margin(margin)
                .with_checking(Checking::Deferred);
            let loss = config.init(&device);
            let same = config.init_with_centers(loss.centers()).unwrap();
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
            let expected = same.forward(good, labels(&[0, 1], &device));
            assert_close("loss", &values(value), &values(expected), 1e-6);
            if let (Some(one), Some(other)) = (loss.norm_statistics(), same.norm_statistics()) {
                assert_close(
                    "norms",
                    &[one.mean, one.std],
                    &[other.mean, other.std],
                    1e-6,
                );
            }
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

fn step(loss: &MarginSoftmax, device: &Device, offset: f32) -> Vec<f64> {
    let features = Tensor::<2>::from_data([[1.0, offset], [offset, 3.0], [0.1, 0.7]], device);
    values(loss.forward(features, labels(&[0, 2, 0], device)))
}

/// Acceptance case 15: a checkpoint has the class vectors; insightface #1360 and #2027,
/// pytorch-metric-learning #544.
#[test]
fn a_resumed_training_takes_the_same_steps_bit_by_bit() {
    use burn::store::ModuleRecord;
    for device in autodiff_devices() {
        for margin in [ArcFace::new().into(), Margin::from(AdaFace::new())] {
            let config = MarginSoftmaxConfig::new(4, 2)
                .with_margin(margin)
                .with_margin_schedule(Schedule::LinearWarmup { steps: 10 });
            let loss = config.init(&device);
            for offset in [0.3, -2.0, 0.9] {
                step(&loss, &device, offset);
            }
            loss.set_margin_factor(0.8).unwrap();
            let bytes = loss.clone().into_record().into_bytes().unwrap();
            let record = ModuleRecord::from_bytes(bytes).unwrap();
            let resumed = config.init(&device).load_record(record);
            assert_eq!(resumed.step(), 3);
            assert_eq!(resumed.margin_factor(), loss.margin_factor());
            assert_eq!(resumed.norm_statistics(), loss.norm_statistics());
            assert_eq!(values(resumed.centers()), values(loss.centers()));
            for offset in [1.7, 0.2, -0.4] {
                assert_eq!(
                    step(&resumed, &device, offset),
                    step(&loss, &device, offset)
                );
            }
        }
    }
}

#[test]
fn the_margin_follows_its_schedule() {
    for device in autodiff_devices() {
        let centers = Tensor::<2>::from_data([[1.0, 0.2], [0.0, 1.0], [-1.0, 0.0]], &device);
        let make = |margin: Margin, schedule| {
            MarginSoftmaxConfig::new(3, 2)
                .with_margin(margin)
                .with_margin_schedule(schedule)
                .init_with_centers(centers.clone())
                .unwrap()
        };
        for margin in [
            CosFace::new().with_margin(0.4).into(),
            Margin::from(ArcFace::new()),
        ] {
            let scheduled = make(margin.clone(), Schedule::LinearWarmup { steps: 4 });
            for factor in [0.25, 0.5, 0.75, 1.0, 1.0] {
                assert_eq!(scheduled.margin_factor(), factor);
                let fixed = match &margin {
                    Margin::ArcFace(arc) => {
                        Margin::from(arc.clone().with_margin(arc.margin * factor))
                    }
                    _ => CosFace::new().with_margin(0.4 * factor).into(),
                };
                let fixed = make(fixed, Schedule::Constant);
                // Evaluation sees the margin as it is, and leaves the schedule alone.
                let features = Tensor::<2>::from_data([[1.0, 0.5]], &device);
                scheduled.evaluate(features, labels(&[0], &device));
                assert_eq!(step(&scheduled, &device, 0.5), step(&fixed, &device, 0.5));
            }
            scheduled.set_margin_factor(0.5).unwrap();
            assert_eq!(scheduled.margin_factor(), 0.5);
        }
    }
}

#[test]
fn statistics_rest_in_validation_when_frozen_and_without_two_samples() {
    for device in autodiff_devices() {
        let config = MarginSoftmaxConfig::adaface(3, 2);
        let loss = config.init(&device);
        step(&loss, &device, 2.0);
        let before = loss.norm_statistics().unwrap();
        assert_ne!((before.mean, before.std), (20.0, 100.0));

        let plain = device.clone().without_autodiff();
        step(&loss.valid(), &plain, 3.0);
        assert_eq!(loss.valid().norm_statistics(), Some(before));
        let frozen = loss.clone().freeze();
        step(&frozen, &device, 3.0);
        assert_eq!(frozen.norm_statistics(), Some(before));
        assert_eq!((frozen.step(), loss.step()), (1, 1));

        for (rows, weights) in [(1, vec![1.0]), (1, vec![1.5]), (2, vec![1.0, 0.0])] {
            let features = Tensor::<2>::ones([rows, 2], &device);
            let batch = Batch::new(features, labels(&vec![0; rows], &device));
            let weights = Tensor::from_data(weights.as_slice(), &device);
            loss.try_forward(batch.with_weights(weights)).unwrap();
            assert_eq!(loss.norm_statistics(), Some(before), "{rows} rows");
        }
        step(&loss, &device, 2.0);
        assert_ne!(loss.norm_statistics(), Some(before));
    }
}

#[test]
fn a_clone_has_statistics_of_its_own() {
    for device in autodiff_devices() {
        let loss = MarginSoftmaxConfig::adaface(3, 2).init(&device);
        let (clone, before) = (loss.clone(), loss.norm_statistics());
        step(&loss, &device, 2.0);
        assert_eq!(clone.norm_statistics(), before);
    }
}

/// Acceptance case 14: Proxy-Anchor-CVPR2020 #25, pytorch-metric-learning #175 and #534. The class vectors are
/// parameters of the model, so that its optimizer cannot miss them.
#[test]
fn an_optimizer_moves_all_class_vectors() {
    for device in autodiff_devices() {
        let loss = MarginSoftmaxConfig::new(5, 2).with_scale(4.0).init(&device);
        let before = values(loss.centers());
        let features = Tensor::<2>::from_data([[1.0, 0.5], [-0.3, 3.0]], &device);
        let gradients = loss.forward(features, labels(&[0, 2], &device)).backward();
        assert_eq!(values(loss.centers()), before, "forward leaves them alone");
        let gradients = GradientsParams::from_grads(gradients, &loss);
        assert_eq!(gradients.len(), 1);
        let moved = SgdConfig::new().init().step(0.5, loss, gradients);
        let after = values(moved.centers());
        for class in 0..5 {
            assert_ne!(
                before[2 * class..][..2],
                after[2 * class..][..2],
                "class {class}"
            );
        }
    }
}

#[test]
fn evaluation_gives_the_class_vectors_no_gradient() {
    for device in autodiff_devices() {
        let loss = MarginSoftmaxConfig::new(3, 2).init(&device);
        let features = Tensor::<2>::ones([1, 2], &device).require_grad();
        let gradients = loss
            .evaluate(features.clone(), labels(&[1], &device))
            .backward();
        assert!(features.grad(&gradients).is_some());
        assert!(GradientsParams::from_grads(gradients, &loss).is_empty());
        // Frozen class vectors receive none either, and the features still do.
        let frozen = loss.freeze();
        let gradients = frozen
            .forward(features.clone(), labels(&[1], &device))
            .backward();
        assert!(features.grad(&gradients).is_some());
        assert!(GradientsParams::from_grads(gradients, &frozen).is_empty());
    }
}

#[test]
fn class_margins_of_equal_counts_and_their_bounds() {
    assert_eq!(
        class_margins_from_counts(&[7, 7], 0.1..=0.5),
        Ok(vec![0.1, 0.1])
    );
    let refused = |counts: &[u64], bounds| {
        class_margins_from_counts(counts, bounds)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        refused(&[3, 0], 0.1..=0.5),
        "the number of samples of a class is 0: it must be at least 1"
    );
    assert_eq!(
        refused(&[3], -0.1..=0.5),
        "the lower bound of the margins is -0.1: it must be finite, not negative, and in the order of the bounds"
    );
    assert_eq!(
        refused(&[3], 0.3..=0.2),
        "the upper bound of the margins is 0.2: it must be finite, not negative, and in the order of the bounds"
    );
}

#[test]
fn the_nearest_center_is_the_class_with_the_largest_logit() {
    for device in devices() {
        // More class vectors than are compared one by one, and fewer.
        for num_classes in [3, 40] {
            for sub_centers in [1, 2] {
                let plain = Plain::new(50, num_classes * sub_centers, 3, 7);
                let loss = MarginSoftmaxConfig::new(num_classes, 3)
                    .with_sub_centers(sub_centers)
                    .init_with_centers(typed_matrix(&plain.centers, DType::F32, &device))
                    .unwrap();
                let queries = typed_matrix(&plain.features, DType::F32, &device);
                let logits = loss.logits(queries.clone()).unwrap();
                assert_eq!(logits.dims(), [50, num_classes]);
                let expected = ints(logits.clone().argmax(1).squeeze_dim::<1>(1));
                let nearest = loss.nearest_center().unwrap();
                assert_eq!(ints(nearest.predict(queries.clone()).unwrap()), expected);
                let squared = nearest.squared_distances(queries.clone()).unwrap();
                let of_logits = (logits.div_scalar(64.0) - 1.0).mul_scalar(-2.0);
                assert_close("squares", &values(squared), &values(of_logits), 1e-5);
                let sums = nearest.predict_proba(queries.clone()).unwrap().sum_dim(1);
                assert_close("sums", &values(sums), &[1.0; 50], 1e-5);
                let stored = burn_center_loss::NearestCenter::from_data(nearest.to_data(), &device);
                assert_eq!(ints(stored.unwrap().predict(queries).unwrap()), expected);
            }
        }
    }
}

/// Acceptance case 15: layouts of other checkpoints.
#[test]
#[allow(non_snake_case, reason = "a name in a checkpoint")]
fn class_vectors_of_other_checkpoints() {
    use burn::module::Param;
    use burn::store::{ModuleSnapshot, SafetensorsStore};

    /// pytorch-metric-learning 2 has a parameter `W`, `[feature_dim, num_classes]`.
    #[derive(Module, Debug)]
    struct Transposed {
        W: Param<Tensor<2>>,
    }
    /// insightface and pytorch-metric-learning 3 have a parameter `weight`, `[num_classes, feature_dim]`.
    #[derive(Module, Debug)]
    struct Rows {
        weight: Param<Tensor<2>>,
    }
    let rows = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]];
    let directory = tempfile::tempdir().unwrap();
    for device in devices() {
        let path = directory.path().join("rows.safetensors");
        let saved = Rows {
            weight: Param::from_data(rows, &device),
        };
        let mut store = SafetensorsStore::from_file(&path).overwrite(true);
        saved.save_into(&mut store).unwrap();
        let mut loss = MarginSoftmaxConfig::new(3, 2).init(&device);
        let mut store = SafetensorsStore::from_file(&path)
            .with_key_remapping("^weight$", "centers")
            .allow_partial(true);
        let result = loss.load_from(&mut store).unwrap();
        assert!(result.errors.is_empty(), "{result:?}");
        assert_eq!(values(loss.centers()), rows.concat());

        let path = directory.path().join("transposed.safetensors");
        let saved = Transposed {
            W: Param::from_data([[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]], &device),
        };
        let mut store = SafetensorsStore::from_file(&path).overwrite(true);
        saved.save_into(&mut store).unwrap();
        let mut loaded = Transposed {
            W: Param::from_tensor(Tensor::zeros([2, 3], &device)),
        };
        loaded
            .load_from(&mut SafetensorsStore::from_file(&path))
            .unwrap();
        let loss = MarginSoftmaxConfig::new(3, 2)
            .init_with_centers(loaded.W.val().transpose())
            .unwrap();
        assert_eq!(values(loss.centers()), rows.concat());
    }
}

#[test]
fn labels_of_every_integer_type() {
    for dtype in [DType::I64, DType::I32, DType::I8, DType::U64, DType::U8] {
        for device in devices_with(dtype) {
            for checking in [Checking::Strict, Checking::Deferred] {
                let loss = MarginSoftmaxConfig::new(200, 2)
                    .with_checking(checking)
                    .init(&device);
                let features = Tensor::<2>::from_data([[1.0, 0.5], [0.3, 2.0]], &device);
                let y = Tensor::<1, Int>::from_data([5, 120], (&device, dtype));
                let value = values(loss.evaluate(features.clone(), y));
                let expected = values(loss.evaluate(features, labels(&[5, 120], &device)));
                assert_eq!(value, expected, "{dtype:?}");
            }
        }
    }
}

/// Acceptance case 16: options that a loss swallows, pytorch-metric-learning #746.
#[test]
fn configurations_survive_json_and_presets_have_their_numbers() {
    use burn::config::Config;
    use burn_center_loss::{BeyondPi, MarginGradient};

    let presets = [
        (
            MarginSoftmaxConfig::insightface(9, 4),
            (0.5, 64.0, BeyondPi::Reflect, MarginGradient::Detached),
        ),
        (
            MarginSoftmaxConfig::pytorch_metric_learning(9, 4),
            (
                28.6_f64.to_radians(),
                64.0,
                BeyondPi::Linear,
                MarginGradient::Exact,
            ),
        ),
        (
            MarginSoftmaxConfig::speechbrain(9, 4),
            (0.2, 30.0, BeyondPi::Linear, MarginGradient::Exact),
        ),
        (
            MarginSoftmaxConfig::wespeaker(9, 4),
            (0.2, 32.0, BeyondPi::Continuous, MarginGradient::Exact),
        ),
    ];
    let directory = tempfile::tempdir().unwrap();
    for (config, expected) in presets {
        let Margin::ArcFace(margin) = &config.margin else {
            panic!("{config}");
        };
        let found = (
            margin.margin,
            config.scale,
            margin.beyond_pi,
            margin.gradient,
        );
        assert_eq!(found, expected);
        let path = directory.path().join("config.json");
        config.save(&path).unwrap();
        let loaded = MarginSoftmaxConfig::load(&path).unwrap();
        assert_eq!(loaded.to_string(), config.to_string());
    }
    let sphere = MarginSoftmaxConfig::sphereface(9, 4);
    assert_eq!(sphere.scale, 1.0);
    assert_eq!(MarginSoftmaxConfig::normalized_softmax(9, 4).scale, 20.0);
    for case in every_case() {
        let path = directory.path().join("case.json");
        case.config.save(&path).unwrap();
        let loaded = MarginSoftmaxConfig::load(&path).unwrap();
        assert_eq!(loaded.margin, case.config.margin);
    }
}

#[test]
fn display_names_the_settings() {
    let loss = MarginSoftmaxConfig::new(10, 2)
        .with_margin(CosFace::new().into())
        .init(&devices()[0]);
    assert_eq!(
        loss.to_string(),
        "MarginSoftmax {num_classes: 10, feature_dim: 2, sub_centers: 1, margin: CosFace(CosFace { margin: 0.35, \
         class_margins: None }), scale: 64, params: 20}"
    );
}
