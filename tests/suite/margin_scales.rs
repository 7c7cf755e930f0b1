//! Suggested scales, largest margins, and scales that change over the training steps.

use std::f64::consts::{FRAC_PI_2, FRAC_PI_4, PI, SQRT_2};

use approx::assert_relative_eq;
use burn::module::Module;
use burn::tensor::{DType, Device};
use burn_center_loss::margin::{
    AdaFace, CosFace, ScaleSchedule, SuggestedScale, largest_angle, normface_bound,
};
use burn_center_loss::{
    CenterDType, Checking, LabelledBatch, Margin, MarginSoftmax, MarginSoftmaxConfig, Schedule,
};
use proptest::prelude::*;
use serde::Deserialize;

use crate::devices::{autodiff_devices, f64_devices, values};
use crate::fixtures::cases;
use crate::plain::{Plain, cosine};
use crate::tensors::{labels, typed_matrix};

const TOLERANCE: f64 = 1e-9;

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Case {
    Scale(ScaleCase),
    LargestAngle(AngleCase),
    Adacos(AdaCosCase),
    /// In `angle_statistics.rs`.
    AngleStatistics {},
}

#[derive(Deserialize)]
struct ScaleCase {
    name: String,
    num_classes: usize,
    probability: f64,
    margin_kind: String,
    margin: f64,
    own_angle: f64,
    scale_orthogonal: Option<f64>,
    scale_simplex: Option<f64>,
    scale_circle: Option<f64>,
    scale_adacos_fixed: f64,
    normface_bound_at: f64,
    normface_bound: f64,
}

#[derive(Deserialize)]
struct AngleCase {
    name: String,
    num_classes: usize,
    feature_dim: usize,
    exact: Option<f64>,
    lower: f64,
    upper: f64,
    cosface_margin_lower: f64,
    cosface_margin_upper: f64,
}

#[derive(Deserialize)]
struct AdaCosCase {
    labels: Vec<i64>,
    cosines: Vec<Vec<f32>>,
    scale_before: f64,
    median_own_angle: f64,
    scale_after: f64,
}

fn suite() -> Vec<Case> {
    cases("suggested_scale.json")
}

/// A margin of a fixture.
pub fn margin_of(kind: &str, margin: f64) -> Margin {
    match kind {
        "arcface" => Margin::arcface(margin),
        "cosface" => Margin::cosface(margin),
        "none" => Margin::None,
        _ => panic!("margin {kind}"),
    }
}

fn assert_same(name: &str, found: Option<f64>, expected: Option<f64>) {
    match (found, expected) {
        (Some(found), Some(expected)) => {
            let is_close = approx::relative_eq!(found, expected, max_relative = TOLERANCE);
            assert!(is_close, "{name}: {found} is not {expected}");
        }
        _ => assert_eq!(found, expected, "{name}"),
    }
}

#[test]
fn suggested_scales_are_those_of_the_fixture() {
    let mut count = 0;
    for case in suite() {
        let Case::Scale(case) = case else {
            continue;
        };
        count += 1;
        let suggested = SuggestedScale::new(case.num_classes, 2)
            .with_margin(margin_of(&case.margin_kind, case.margin))
            .with_probability(case.probability)
            .with_own_angle(case.own_angle);
        let circle = suggested.on_circle().unwrap();
        let simplex = suggested.simplex().unwrap();
        let orthogonal = suggested.orthogonal().unwrap();
        assert_same(&case.name, orthogonal, case.scale_orthogonal);
        assert_same(&case.name, simplex, case.scale_simplex);
        assert_same(&case.name, circle, case.scale_circle);
        assert_eq!(suggested.scale(), Ok(circle));
        let wide = SuggestedScale {
            feature_dim: 512,
            ..suggested
        };
        assert_eq!(wide.scale(), Ok(orthogonal));
        let fixed = MarginSoftmaxConfig::adacos(case.num_classes, 2).scale;
        assert_same(&case.name, Some(fixed), Some(case.scale_adacos_fixed));
        let bound = normface_bound(case.num_classes, case.normface_bound_at).unwrap();
        assert_same(&case.name, Some(bound), Some(case.normface_bound));
    }
    assert!(count > 5);
}

#[test]
fn largest_angles_are_those_of_the_fixture() {
    let mut count = 0;
    for case in suite() {
        let Case::LargestAngle(case) = case else {
            continue;
        };
        count += 1;
        let sizes = (case.num_classes, case.feature_dim);
        let bounds = largest_angle(sizes.0, sizes.1).unwrap();
        assert_same(&case.name, Some(*bounds.start()), Some(case.lower));
        assert_same(&case.name, Some(*bounds.end()), Some(case.upper));
        assert_eq!(case.exact.is_some(), bounds.start() == bounds.end());
        let arcface = Margin::arcface(0.1).largest(sizes.0, sizes.1);
        assert_eq!(arcface, Ok(Some(bounds)));
        let cosface = Margin::cosface(0.1).largest(sizes.0, sizes.1);
        let bounds = cosface.unwrap().unwrap();
        assert_same(
            &case.name,
            Some(*bounds.start()),
            Some(case.cosface_margin_lower),
        );
        assert_same(
            &case.name,
            Some(*bounds.end()),
            Some(case.cosface_margin_upper),
        );
        assert_eq!(Margin::sphereface(4).largest(sizes.0, sizes.1), Ok(None));
    }
    assert!(count > 4);
}

proptest! {
    /// The scale gives the probability that was asked for, and half of it does not.
    #[test]
    fn the_scale_on_a_circle_gives_the_probability(
        num_classes in 2..40_usize,
        share in 0.01..0.999,
        own in 0.0..0.9,
        margin in 0.0..0.9,
    ) {
        let least = 1.0 / num_classes as f64;
        let probability = least + (1.0 - least) * share;
        // Closer to the own vector than to the next one, with the margin too: a scale exists.
        let half = PI / num_classes as f64;
        let (own_angle, margin) = (own * half, margin * 2.0 * (1.0 - own) * half);
        let suggested = SuggestedScale::new(num_classes, 2)
            .with_margin(Margin::arcface(margin))
            .with_probability(probability)
            .with_own_angle(own_angle);
        let scale = suggested.scale().unwrap().unwrap();
        let target = (own_angle + margin).cos();
        let at = |scale: f64| {
            let exponents = (1..num_classes).map(|k| (2.0 * half * k as f64 - own_angle).cos() - target);
            1.0 / (1.0 + exponents.map(|e| (scale * e).exp()).sum::<f64>())
        };
        prop_assert!((at(scale) - probability).abs() < 1e-9, "{} at {scale}", at(scale));
        prop_assert!(at(0.5 * scale) < probability);
        // More margin asks for more.
        let plain = suggested.clone().with_margin(Margin::None).scale().unwrap().unwrap();
        prop_assert!(plain <= scale * (1.0 + 1e-12));
        // The simplex is the best arrangement.
        let simplex = suggested.with_margin(Margin::None).with_own_angle(0.0).simplex().unwrap();
        prop_assert!(simplex.unwrap() <= plain * (1.0 + 1e-12));
    }

    #[test]
    fn largest_angles_fall_with_classes_and_rise_with_columns(
        num_classes in 2..300_usize,
        feature_dim in 1..64_usize,
    ) {
        let bounds = |c, d| {
            let (lower, upper) = largest_angle(c, d).unwrap().into_inner();
            assert!(lower <= upper * (1.0 + 1e-12), "{c} in {d}: {lower} to {upper}");
            (lower, upper)
        };
        let (lower, upper) = bounds(num_classes, feature_dim);
        let slack = 1.0 + 1e-12;
        let more = bounds(num_classes + 1, feature_dim);
        prop_assert!(more.1 <= upper * slack && more.0 <= lower * slack);
        let wider = bounds(num_classes, feature_dim + 1);
        prop_assert!(wider.1 * slack >= upper && wider.0 * slack >= lower);
        prop_assert!(lower > 0.0 || feature_dim == 1);
    }
}

/// Two and three classes on a circle are a simplex, and three dimensions have a closed cap share.
#[test]
fn closed_forms_agree_at_the_borders() {
    for (num_classes, margin) in [(2, 0.0), (3, 0.0), (2, 0.7), (3, 0.4)] {
        let suggested = SuggestedScale::new(num_classes, 2).with_margin(Margin::arcface(margin));
        let (circle, simplex) = (suggested.on_circle().unwrap(), suggested.simplex().unwrap());
        assert_relative_eq!(circle.unwrap(), simplex.unwrap(), max_relative = 1e-12);
        let angle = largest_angle(num_classes, 2).unwrap();
        assert_relative_eq!(
            *angle.end(),
            2.0 * PI / num_classes as f64,
            max_relative = 1e-12
        );
    }
    // (1 - cos phi) / 2 of a sphere is within phi.
    for num_classes in [7, 13, 1000] {
        let lower = (1.0 - 2.0 / (num_classes as f64 - 1.0)).acos();
        assert_relative_eq!(
            *largest_angle(num_classes, 3).unwrap().start(),
            lower,
            max_relative = 1e-12
        );
    }
    assert_eq!(largest_angle(3, 1), Ok(0.0..=0.0));
    assert_eq!(largest_angle(1024, 512), Ok(FRAC_PI_2..=FRAC_PI_2));
    // The icosahedron.
    let twelve = *largest_angle(12, 3).unwrap().end();
    assert_relative_eq!(twelve, 2.0_f64.atan(), max_relative = 1e-12);
    // AdaCos is one of the closed forms, and the bound of NormFace the loss at the scale of the simplex.
    let suggested = SuggestedScale::new(100, 64);
    let adacos = suggested
        .clone()
        .with_probability(0.5)
        .with_own_angle(FRAC_PI_4);
    let scale = MarginSoftmaxConfig::adacos(100, 64).scale;
    assert_relative_eq!(
        adacos.scale().unwrap().unwrap(),
        scale,
        max_relative = 1e-12
    );
    assert_relative_eq!(scale, SQRT_2 * 99.0_f64.ln());
    let simplex = suggested.simplex().unwrap().unwrap();
    assert_relative_eq!(
        normface_bound(100, simplex).unwrap(),
        -0.99_f64.ln(),
        max_relative = 1e-10
    );
}

/// Each margin by its formula, at an own angle of 0.5.
#[test]
fn margins_enter_by_their_formulas() {
    let of = |margin: Margin| {
        let suggested = SuggestedScale::new(3, 8)
            .with_probability(0.9)
            .with_own_angle(0.5);
        suggested.with_margin(margin).scale().unwrap()
    };
    let scale = |target: f64| Some((2.0_f64 * 9.0).ln() / target);
    let classes = CosFace::new().with_class_margins(Some(vec![0.1, 0.3, 0.2]));
    for (margin, target) in [
        (Margin::None, 0.5_f64.cos()),
        (Margin::CosFace(classes), 0.5_f64.cos() - 0.3),
        (Margin::combined(1.2, 0.1, 0.2), 0.7_f64.cos() - 0.2),
        (Margin::sphereface(2), 1.0_f64.cos()),
        (
            Margin::AdaFace(AdaFace::new().with_margin(0.4)),
            0.5_f64.cos() - 0.4,
        ),
    ] {
        assert_same(&format!("{margin:?}"), of(margin), scale(target));
    }
    // Beyond pi the cosine is below all others.
    for margin in [
        Margin::arcface(3.0),
        Margin::sphereface(8),
        Margin::combined(2.0, 3.0, 0.0),
    ] {
        assert_eq!(of(margin), None);
    }
}

#[test]
fn bad_settings_are_named() {
    let refused = |suggested: SuggestedScale| {
        let messages = [
            suggested.scale(),
            suggested.on_circle(),
            suggested.simplex(),
            suggested.orthogonal(),
        ];
        let messages = messages.map(|answer| answer.unwrap_err().to_string());
        assert!(messages.iter().all(|message| *message == messages[0]));
        messages[0].clone()
    };
    let good = SuggestedScale::new(10, 2);
    let classes = "num_classes is 1: it must be at least 2";
    assert_eq!(refused(SuggestedScale::new(1, 2)), classes);
    assert_eq!(largest_angle(1, 2).unwrap_err().to_string(), classes);
    assert_eq!(normface_bound(1, 2.0).unwrap_err().to_string(), classes);
    assert_eq!(
        refused(SuggestedScale::new(0, 2)),
        "num_classes is 0: it must be at least 2"
    );
    assert_eq!(
        refused(SuggestedScale::new(3, 1)),
        "feature_dim is 1: it must be at least 2"
    );
    assert_eq!(
        largest_angle(2, 0).unwrap_err().to_string(),
        "feature_dim is 0: it must be at least 1"
    );
    for bad in [0.0, 0.1, 1.0, -0.5, 1.5, f64::NAN] {
        assert_eq!(
            refused(good.clone().with_probability(bad)),
            format!("probability is {bad}: it must be above 1 / num_classes and below 1")
        );
    }
    for bad in [-0.1, 28.6, f64::NAN] {
        let rule = "it must be at least 0 and below pi, in radians (degrees times pi / 180)";
        assert_eq!(
            refused(good.clone().with_own_angle(bad)),
            format!("own_angle is {bad}: {rule}")
        );
        assert_eq!(
            refused(good.clone().with_margin(Margin::arcface(bad))),
            format!("margin is {bad}: {rule}")
        );
    }
    assert_eq!(
        refused(good.with_margin(Margin::cosface(f64::NAN))),
        "margin is NaN: it must be finite and not negative"
    );
    for bad in [0.0, f64::NAN] {
        assert_eq!(
            normface_bound(10, bad).unwrap_err().to_string(),
            format!("scale is {bad}: it must be finite and greater than 0")
        );
    }
}

/// Acceptance case 9: CosFace 0.2 cannot be met by ten classes on a circle, and trains without a NaN.
#[test]
fn a_margin_that_no_feature_can_meet() {
    let largest = Margin::cosface(0.2).largest(10, 2).unwrap().unwrap();
    assert_relative_eq!(*largest.end(), 1.0 - (PI / 5.0).cos(), max_relative = 1e-12);
    assert_eq!(format!("{:.3}", largest.end()), "0.191");
    for device in autodiff_devices() {
        let circle: Vec<Vec<f64>> = (0..10)
            .map(|k| 0.2 * PI * f64::from(k))
            .map(|angle| vec![angle.cos(), angle.sin()])
            .collect();
        let vectors = typed_matrix(&circle, DType::F32, &device);
        let loss = MarginSoftmaxConfig::new(10, 2)
            .with_margin(Margin::cosface(0.2))
            .init_with_centers(vectors.clone())
            .unwrap();
        let y: Vec<i64> = (0..10).collect();
        let value = values(loss.forward(vectors.clone(), labels(&y, &device)));
        assert!(value[0].is_finite() && value[0] > 0.5, "{value:?}");
        let statistics = loss.angle_statistics(vectors, labels(&y, &device)).unwrap();
        assert_eq!(statistics.violating_share, Some(1.0));
        assert_eq!(
            statistics.to_string(),
            "own 0.00 (0.00), other 0.63, violating 100 %, margin 0.2 of at most 0.19: not all features can meet it"
        );
    }
}

fn refused(config: MarginSoftmaxConfig) -> String {
    let device = &autodiff_devices()[0];
    config.try_init(device).unwrap_err().to_string()
}

#[test]
fn bad_scale_schedules_are_named() {
    let config = MarginSoftmaxConfig::new(4, 3);
    let from = |start, schedule| {
        config
            .clone()
            .with_scale_schedule(ScaleSchedule::From { start, schedule })
    };
    for bad in [0.0, f64::INFINITY] {
        assert_eq!(
            refused(from(bad, Schedule::Constant)),
            format!("ScaleSchedule::From.start is {bad}: it must be finite and greater than 0")
        );
    }
    assert_eq!(
        refused(from(1.0, Schedule::LinearWarmup { steps: 0 })),
        "LinearWarmup.steps is 0: it must be at least 1"
    );
    let adacos = MarginSoftmaxConfig::adacos(4, 3);
    assert_eq!(
        refused(adacos.clone().with_label_smoothing(0.1)),
        "label_smoothing is 0.1: it must be 0 under ScaleSchedule::AdaCos"
    );
    assert_eq!(
        refused(adacos.with_margin(Margin::sphereface(4))),
        "margin is 4: it must not be that of SphereFace under ScaleSchedule::AdaCos"
    );
    assert_eq!(
        refused(MarginSoftmaxConfig::adacos(2, 3)),
        "scale is 0: it must be finite and greater than 0"
    );
}

fn batch(plain: &Plain, device: &Device) -> LabelledBatch {
    let batch = LabelledBatch::new(
        plain.typed(DType::F32, device),
        labels(&plain.labels, device),
    );
    match &plain.weights {
        Some(weights) => batch.with_weights(values_as_tensor(weights, device)),
        None => batch,
    }
}

fn values_as_tensor(numbers: &[f64], device: &Device) -> burn::tensor::Tensor<1> {
    burn::tensor::Tensor::from_data(numbers, device)
}

#[test]
fn the_scale_follows_its_schedule() {
    for device in autodiff_devices() {
        let plain = Plain::new(6, 4, 3, 3);
        let centers = typed_matrix(&plain.centers, DType::F32, &device);
        let make = |scale: f64, schedule| {
            let config = MarginSoftmaxConfig::new(4, 3)
                .with_scale(scale)
                .with_scale_schedule(schedule);
            config.init_with_centers(centers.clone()).unwrap()
        };
        let schedule = Schedule::LinearWarmup { steps: 4 };
        let loss = make(
            30.0,
            ScaleSchedule::From {
                start: 10.0,
                schedule,
            },
        );
        for scale in [15.0, 20.0, 25.0, 30.0, 30.0] {
            assert_eq!(loss.scale(), scale);
            let fixed = make(scale, ScaleSchedule::Constant);
            let value = |loss: &MarginSoftmax| {
                values(loss.try_evaluate(batch(&plain, &device)).unwrap())[0]
            };
            assert_eq!(value(&loss), value(&fixed));
            let rows = || plain.typed(DType::F32, &device.clone().without_autodiff());
            assert_eq!(
                values(loss.logits(rows()).unwrap()),
                values(fixed.logits(rows()).unwrap())
            );
            // Neither a refused batch nor one in validation is a step.
            let bad = (plain.typed(DType::F32, &device), labels(&[9; 6], &device));
            loss.try_forward(bad).unwrap_err();
            loss.valid()
                .try_forward(batch(&plain, &device.clone().without_autodiff()))
                .unwrap();
            let value =
                |loss: &MarginSoftmax| values(loss.try_forward(batch(&plain, &device)).unwrap())[0];
            assert_eq!(value(&loss), value(&fixed));
        }
        loss.set_scale(40.0).unwrap();
        assert_eq!(loss.scale(), 40.0);
        for bad in [0.0, -1.0, f64::NAN] {
            assert_eq!(
                loss.set_scale(bad).unwrap_err().to_string(),
                format!("scale is {bad}: it must be finite and greater than 0")
            );
        }
        assert_eq!((loss.scale(), loss.step()), (40.0, 5));
    }
}

/// The next scale of AdaCos by loops, and the median of the own angles.
fn adacos(scale: f64, cosines: &[Vec<f64>], labels: &[i64]) -> (f64, f64) {
    let own = |i: usize| labels[i] as usize;
    let mut angles: Vec<f64> = (0..labels.len())
        .map(|i| cosines[i][own(i)].acos())
        .collect();
    angles.sort_by(f64::total_cmp);
    let median = angles[(angles.len() - 1) / 2];
    let others = |i: usize| (0..cosines[i].len()).filter(move |j| *j != own(i));
    let exponentials = |i: usize| others(i).map(move |j| (scale * cosines[i][j]).exp());
    let sum: f64 = (0..labels.len()).flat_map(exponentials).sum();
    let mean = sum / labels.len() as f64;
    (mean.ln() / median.min(FRAC_PI_4).cos(), median)
}

#[test]
fn the_loop_of_adacos_gives_the_numbers_of_the_fixture() {
    let mut count = 0;
    for case in suite() {
        let Case::Adacos(case) = case else {
            continue;
        };
        count += 1;
        let wide = |row: &Vec<f32>| row.iter().copied().map(f64::from).collect();
        let cosines: Vec<Vec<f64>> = case.cosines.iter().map(wide).collect();
        let (scale, median) = adacos(case.scale_before, &cosines, &case.labels);
        assert_same("scale", Some(scale), Some(case.scale_after));
        assert_same("median", Some(median), Some(case.median_own_angle));
    }
    assert_eq!(count, 2);
}

/// The samples, each as often as its weight says.
fn repeated(plain: &Plain) -> (Vec<Vec<f64>>, Vec<i64>) {
    let counts = plain
        .weights
        .clone()
        .unwrap_or_else(|| vec![1.0; plain.labels.len()]);
    let each = || (0..plain.labels.len()).flat_map(|i| vec![i; counts[i] as usize]);
    let cosines = |i: usize| {
        plain
            .centers
            .iter()
            .map(|w| cosine(&plain.features[i], w))
            .collect()
    };
    (
        each().map(cosines).collect(),
        each().map(|i| plain.labels[i]).collect(),
    )
}

#[test]
fn adacos_adapts_the_scale_as_the_loop_does() {
    for device in autodiff_devices() {
        for (batch_size, weights) in [
            (8, None),
            (7, None),
            (8, Some([1.0, 2.0, 0.0, 3.0, 1.0, 1.0, 0.0, 2.0])),
        ] {
            for checking in [Checking::Strict, Checking::Deferred] {
                let mut plain = Plain::new(batch_size, 12, 5, 11);
                // Every third feature is near its class vector, so that the median is below pi / 4 or above.
                for i in (0..batch_size).filter(|i| i % 3 != 1) {
                    let own = &plain.centers[plain.labels[i] as usize];
                    let near = plain.features[i].iter().zip(own).map(|(x, w)| w + 0.2 * x);
                    plain.features[i] = near.collect();
                }
                plain.weights = weights.map(|weights| weights.to_vec());
                let loss = MarginSoftmaxConfig::adacos(12, 5)
                    .with_checking(checking)
                    .init_with_centers(typed_matrix(&plain.centers, DType::F32, &device))
                    .unwrap();
                let (cosines, labels) = repeated(&plain);
                let mut scale = SQRT_2 * 11.0_f64.ln();
                for _ in 0..4 {
                    assert_relative_eq!(loss.scale(), scale, max_relative = 1e-5);
                    loss.try_evaluate(batch(&plain, &device)).unwrap();
                    loss.try_forward(batch(&plain, &device)).unwrap();
                    (scale, _) = adacos(scale, &cosines, &labels);
                }
                let before = loss.scale();
                assert!((before - SQRT_2 * 11.0_f64.ln()).abs() > 1e-3, "{before}");
                // A batch without samples changes nothing.
                let mut none = plain.clone();
                none.weights = Some(vec![0.0; batch_size]);
                loss.try_forward(batch(&none, &device)).unwrap();
                assert_eq!(loss.scale(), before);
            }
        }
    }
}

/// A scale that is not greater than 0 is not taken.
#[test]
fn adacos_keeps_the_scale_where_the_next_is_none() {
    for device in f64_devices() {
        let centers = typed_matrix(&[vec![1.0, 0.0], vec![-1.0, 0.0]], DType::F64, &device);
        let loss = MarginSoftmaxConfig::adacos(2, 2)
            .with_scale(5.0)
            .with_dtype(CenterDType::F64)
            .init_with_centers(centers)
            .unwrap();
        let features = typed_matrix(&[vec![1.0, 0.0]], DType::F64, &device);
        loss.forward(features, labels(&[0], &device));
        assert_eq!((loss.scale(), loss.step()), (5.0, 1));
    }
}

#[test]
fn the_record_keeps_the_scale() {
    use burn::store::{ModuleSnapshot, SafetensorsStore};

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("loss.safetensors");
    for device in autodiff_devices() {
        let config = MarginSoftmaxConfig::adacos(4, 3);
        let loss = config.init(&device);
        let plain = Plain::new(6, 4, 3, 5);
        loss.try_forward(batch(&plain, &device)).unwrap();
        assert_ne!(loss.scale(), config.scale);
        let mut store = SafetensorsStore::from_file(&path).overwrite(true);
        loss.save_into(&mut store).unwrap();
        let mut loaded = config.init(&device);
        loaded
            .load_from(&mut SafetensorsStore::from_file(&path))
            .unwrap();
        assert_eq!((loaded.scale(), loaded.step()), (loss.scale(), 1));
        assert_eq!(loss.clone().scale(), loss.scale());
        // A scale that was neither adapted nor set is the configured one.
        let fixed = |scale: f64| {
            MarginSoftmaxConfig::new(4, 3)
                .with_scale(scale)
                .init(&device)
        };
        let mut store = SafetensorsStore::from_file(&path).overwrite(true);
        fixed(30.0).save_into(&mut store).unwrap();
        let mut larger = fixed(40.0);
        larger
            .load_from(&mut SafetensorsStore::from_file(&path))
            .unwrap();
        assert_eq!(larger.scale(), 40.0);
        assert_eq!(loss.valid().scale(), loss.scale());
    }
}
