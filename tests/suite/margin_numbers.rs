//! Softmax with a margin at the angles, lengths and types where implementations fail.

use std::f64::consts::{FRAC_PI_2, PI};

use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Int, Tensor};
use burn_center_loss::{
    AdaFace, ArcFace, BeyondPi, Checking, CombinedMargin, CosFace, LeftOut, Margin, MarginGradient,
    MarginSoftmax, MarginSoftmaxConfig, Precision, SphereFace,
};

use crate::devices::{devices, devices_with, values};
use crate::fixtures::assert_close;
use crate::margin_plain::f64_devices;
use crate::storage::centers_id;
use crate::tensors::{labels, typed_matrix};

fn autodiff_devices() -> Vec<Device> {
    devices().into_iter().map(Device::autodiff).collect()
}

fn arcface(margin: f64, beyond_pi: BeyondPi) -> Margin {
    ArcFace::new()
        .with_margin(margin)
        .with_beyond_pi(beyond_pi)
        .into()
}

/// Loss and both gradients.
struct Found {
    loss: f64,
    features: Vec<f64>,
    centers: Vec<f64>,
}

fn run(
    config: &MarginSoftmaxConfig,
    features: &[Vec<f64>],
    classes: &[i64],
    centers: &[Vec<f64>],
    (dtype, device): (DType, &Device),
) -> Found {
    let center_dtype = match config.precision {
        Precision::F32 => DType::F32,
        Precision::F64 => DType::F64,
    };
    let loss = config
        .init_with_centers(typed_matrix(centers, center_dtype, device))
        .unwrap();
    let features = typed_matrix(features, dtype, device).require_grad();
    let value = loss.forward(features.clone(), labels(classes, device));
    let gradients = value.backward();
    let of_features = values(features.grad(&gradients).unwrap());
    let gradients = GradientsParams::from_grads(gradients, &loss);
    Found {
        loss: values(value)[0],
        features: of_features,
        centers: values(gradients.get::<2>(centers_id(&loss)).unwrap()),
    }
}

/// A point of the plane at an angle.
fn at(angle: f64, length: f64) -> Vec<f64> {
    vec![length * angle.cos(), length * angle.sin()]
}

/// Features and class vectors of the plane, as they are after rounding to `f32`.
struct Plane {
    features: Vec<Vec<f64>>,
    classes: Vec<i64>,
    centers: Vec<Vec<f64>>,
}

/// From one vector to the other, counterclockwise.
fn turn(from: &[f64], to: &[f64]) -> f64 {
    let cross = from[0] * to[1] - from[1] * to[0];
    let dot = from[0] * to[0] + from[1] * to[1];
    cross.atan2(dot)
}

impl Plane {
    fn new(features: Vec<Vec<f64>>, classes: Vec<i64>, centers: Vec<Vec<f64>>) -> Self {
        let rounded = |rows: Vec<Vec<f64>>| -> Vec<Vec<f64>> {
            let round = |value: f64| f64::from(value as f32);
            rows.into_iter()
                .map(|row| row.into_iter().map(round).collect())
                .collect()
        };
        Self {
            features: rounded(features),
            classes,
            centers: rounded(centers),
        }
    }

    /// Mean loss and gradients of ArcFace before pi: every cosine changes with the angle between two
    /// vectors, and that with their positions at a rate of one over their length.
    fn expected(&self, scale: f64, margin: f64) -> Found {
        let mut found = Found {
            loss: 0.0,
            features: vec![0.0; 2 * self.features.len()],
            centers: vec![0.0; 2 * self.centers.len()],
        };
        let share = 1.0 / self.features.len() as f64;
        for (i, x) in self.features.iter().enumerate() {
            let class = self.classes[i] as usize;
            let turns: Vec<f64> = self.centers.iter().map(|w| turn(w, x)).collect();
            let margin = |j: usize| if j == class { margin } else { 0.0 };
            let scores: Vec<f64> = turns
                .iter()
                .enumerate()
                .map(|(j, turn)| scale * (turn.abs() + margin(j)).cos())
                .collect();
            let largest = scores.iter().copied().fold(f64::MIN, f64::max);
            let total: f64 = scores.iter().map(|z| (z - largest).exp()).sum();
            found.loss += share * (total.ln() + largest - scores[class]);
            for (j, w) in self.centers.iter().enumerate() {
                let own = if j == class { 1.0 } else { 0.0 };
                let by_score = (scores[j] - largest).exp() / total - own;
                let by_angle = -scale * (turns[j].abs() + margin(j)).sin();
                // The angle is the absolute value of the turn; on the kink its slope is taken for zero.
                let sign = match turns[j] {
                    turn if turn == 0.0 || turn.abs() == PI => 0.0,
                    turn => turn.signum(),
                };
                let rate = share * by_score * by_angle * sign;
                for (gradient, row, direction) in [
                    (&mut found.features[2 * i..], x, 1.0),
                    (&mut found.centers[2 * j..], w, -1.0),
                ] {
                    let squared = row[0] * row[0] + row[1] * row[1];
                    gradient[0] += -row[1] / squared * rate * direction;
                    gradient[1] += row[0] / squared * rate * direction;
                }
            }
        }
        found
    }

    fn check(&self, name: &str, margin: f64, device: &Device) {
        let scale = 64.0;
        for budget in [usize::MAX, 0] {
            let config = MarginSoftmaxConfig::new(self.centers.len(), 2)
                .with_margin(arcface(margin, BeyondPi::Reflect))
                .with_scale(scale)
                .with_score_budget(budget);
            let found = run(
                &config,
                &self.features,
                &self.classes,
                &self.centers,
                (DType::F32, device),
            );
            let expected = self.expected(scale, margin);
            let error = (found.loss - expected.loss).abs();
            assert!(
                error <= 1e-5 * expected.loss.max(1.0),
                "{name}: loss {} is not {}",
                found.loss,
                expected.loss
            );
            for (rows, found, expected) in [
                (&self.features, &found.features, &expected.features),
                (&self.centers, &found.centers, &expected.centers),
            ] {
                for (i, row) in rows.iter().enumerate() {
                    let bound = scale / row[0].hypot(row[1]);
                    for d in [2 * i, 2 * i + 1] {
                        let error = (found[d] - expected[d]).abs() / bound;
                        assert!(
                            error <= 1e-5,
                            "{name}: gradient {} is not {} within {bound}",
                            found[d],
                            expected[d]
                        );
                    }
                }
            }
        }
    }
}

/// Acceptance case 1: ronghuaiyang/arcface-pytorch #32, #68, #91; face.evoLVe #117; MccreeZhao #2. Case 3:
/// JDAI fast-reid #111.
#[test]
fn features_on_and_opposite_their_class_vectors() {
    for device in autodiff_devices() {
        for length in [1e-30, 1.0, 3.0, 1e30] {
            for exponent in [0, -8, -6, -4] {
                let off = match exponent {
                    0 => 0.0,
                    exponent => 10_f64.powi(exponent),
                };
                for direction in [1.0, -1.0] {
                    // On an axis, so that a direction rounds to itself.
                    let feature = vec![direction * length, off * length];
                    let centers = vec![vec![0.5, 0.0], at(2.0, 1.0), at(-1.2, 2.0)];
                    let plane = Plane::new(vec![feature], vec![0], centers);
                    let name = format!("length {length}, {off} off, direction {direction}");
                    for margin in [0.0, 0.5] {
                        plane.check(&name, margin, &device);
                    }
                }
            }
        }
    }
}

/// Next to an exactly collinear pair the gradient of the own class is `s sin(m) / |x|`, and in the pair
/// itself none.
#[test]
fn the_gradient_jumps_to_zero_at_exact_collinearity_alone() {
    for device in autodiff_devices() {
        let config = MarginSoftmaxConfig::new(2, 3)
            .with_margin(arcface(0.5, BeyondPi::Reflect))
            .with_scale(10.0);
        // The other class is orthogonal to all, so that its gradient is along the third axis.
        let centers = [vec![1.0, 0.0, 0.0], vec![0.0, 0.0, 1.0]];
        let own = |off: f64| {
            let feature = vec![2.0, 2.0 * off, 0.0];
            let found = run(&config, &[feature], &[0], &centers, (DType::F32, &device));
            let probability = 1.0 - (-found.loss).exp();
            found.features[1] / probability
        };
        assert_eq!(own(0.0), 0.0);
        for off in [1e-8, 1e-6, 1e-4] {
            let expected = 10.0 * (0.5_f64 + off).sin() / 2.0;
            assert!((own(off) / expected - 1.0).abs() < 1e-4, "{off}");
        }
    }
}

/// Acceptance case 2: the same on the opposite side; pytorch-metric-learning 3.0.4, #794 and #805.
#[test]
fn no_margin_is_the_normalized_softmax_to_the_bit() {
    let forms = [
        BeyondPi::Linear,
        BeyondPi::Continuous,
        BeyondPi::Reflect,
        BeyondPi::Easy,
    ];
    let mut margins: Vec<Margin> = vec![CosFace::new().with_margin(0.0).into()];
    for form in forms {
        margins.push(arcface(0.0, form));
        margins.push(
            CombinedMargin::new(1.0, 0.0, 0.0)
                .with_beyond_pi(form)
                .into(),
        );
    }
    let detached = ArcFace::new().with_margin(0.0);
    margins.push(detached.with_gradient(MarginGradient::Detached).into());
    for device in autodiff_devices() {
        let centers = vec![at(0.0, 1.0), at(1.0, 0.3), at(-2.5, 2.0)];
        let mut features: Vec<Vec<f64>> = (0..24).map(|i| at(f64::from(i) * 0.3, 1.5)).collect();
        features.extend([vec![-1.0, 0.0], vec![1.0, 0.0], vec![0.0, 0.0]]);
        let classes: Vec<i64> = (0..features.len() as i64).map(|i| i % 3).collect();
        let bits = |margin: &Margin| {
            let config = MarginSoftmaxConfig::normalized_softmax(3, 2).with_margin(margin.clone());
            let found = run(
                &config,
                &features,
                &classes,
                &centers,
                (DType::F32, &device),
            );
            let all = [vec![found.loss], found.features, found.centers].concat();
            all.into_iter().map(f64::to_bits).collect::<Vec<_>>()
        };
        for margin in &margins {
            assert_eq!(bits(margin), bits(&Margin::None), "{margin:?}");
        }
    }
}

/// The sweep of pytorch-metric-learning's tests: an embedding at every second degree around the circle.
#[test]
fn a_sweep_of_180_angles() {
    for device in autodiff_devices() {
        let centers = vec![at(0.0, 1.0), at(2.1, 0.5), at(-1.7, 3.0), at(0.7, 1.0)];
        let features: Vec<Vec<f64>> = (0..180)
            .map(|i| at(f64::from(i) * PI / 90.0, 2.0))
            .collect();
        for class in 0..4 {
            let plane = Plane::new(features.clone(), vec![class; 180], centers.clone());
            for margin in [0.0, 0.5, 1.0] {
                plane.check(&format!("class {class}, margin {margin}"), margin, &device);
            }
        }
    }
}

/// The changed cosines at angles from 0 to pi, up to a function that rises with them: minus the losses
/// beside a class with cosine 0.
fn own_scores(margin: Margin, angles: usize, device: &Device) -> Vec<f64> {
    let config = MarginSoftmaxConfig::new(2, 3)
        .with_margin(margin)
        .with_scale(1.0)
        .with_precision(Precision::F64);
    let centers = vec![vec![1.0, 0.0, 0.0], vec![0.0, 0.0, 1.0]];
    let loss = config
        .init_with_centers(typed_matrix(&centers, DType::F64, device))
        .unwrap();
    let features: Vec<Vec<f64>> = (0..=angles)
        .map(|i| {
            let angle = PI * i as f64 / angles as f64;
            vec![angle.cos(), angle.sin(), 0.0]
        })
        .collect();
    let features = typed_matrix(&features, DType::F64, device);
    let classes = labels(&vec![0; angles + 1], device);
    let losses = loss.forward_no_reduction(features, classes);
    values(losses).into_iter().map(|loss| -loss).collect()
}

/// Acceptance case 4: pytorch-metric-learning #537 and #539, keras-arcface #11.
#[test]
fn the_own_score_falls_with_the_angle() {
    const ANGLES: usize = 10_000;
    for device in f64_devices() {
        let falls = |margin: Margin| {
            let scores = own_scores(margin.clone(), ANGLES, &device);
            let rise = scores.windows(2).position(|pair| pair[1] >= pair[0]);
            assert_eq!(rise, None, "{margin:?}");
        };
        falls(Margin::None);
        falls(CosFace::new().into());
        falls(SphereFace::new().into());
        falls(SphereFace::new().with_margin(3).into());
        for m in [0.1, 0.5, 1.0, 2.0, 2.33] {
            falls(arcface(m, BeyondPi::Linear));
        }
        for m in [0.1, 0.5, 1.0, 2.0, 2.33, 2.34, 3.0] {
            falls(arcface(m, BeyondPi::Continuous));
            falls(CombinedMargin::new(1.4, m, 0.2).into());
        }

        // The forms that are excepted rise once, where their docs say.
        let rises = |margin: Margin| -> Vec<usize> {
            let scores = own_scores(margin, ANGLES, &device);
            (0..ANGLES)
                .filter(|i| scores[i + 1] >= scores[*i])
                .collect()
        };
        let place = |angle: f64| (angle / PI * ANGLES as f64) as usize;
        let jump = rises(arcface(2.34, BeyondPi::Linear));
        assert_eq!(jump.len(), 1);
        assert!(jump[0].abs_diff(place(PI - 2.34)) <= 1);
        let jump = rises(arcface(0.5, BeyondPi::Easy));
        assert_eq!(jump.len(), 1);
        assert!(jump[0].abs_diff(place(FRAC_PI_2)) <= 1);
        let back = rises(arcface(0.5, BeyondPi::Reflect));
        assert!(back[0].abs_diff(place(PI - 0.5)) <= 1);
        assert!(back.len().abs_diff(ANGLES - place(PI - 0.5)) <= 1);

        // Clipped angles have equal scores.
        for h in [0.0, 0.333, 30.0] {
            let scores = own_scores(AdaFace::new().with_h(h).into(), ANGLES, &device);
            let rise = scores.windows(2).find(|pair| pair[1] > pair[0] + 1e-15);
            assert_eq!(rise, None, "h {h}");
        }
    }
}

/// Acceptance case 5: insightface #2309 and #2255, unicom #11. `margin_plain` has the exact gradients.
#[test]
fn a_detached_gradient_is_that_of_a_constant_margin() {
    for device in autodiff_devices() {
        let centers = vec![vec![1.0, 0.0], vec![0.0, 1.0]];
        let config = MarginSoftmaxConfig::insightface(2, 2).with_scale(5.0);
        let angle = 0.6_f64;
        let found = run(
            &config,
            &[at(angle, 2.0)],
            &[0],
            &centers,
            (DType::F32, &device),
        );
        // s (p - y) J by hand: J turns the feature, at a rate of one over its length.
        let (own, other) = (5.0 * (angle + 0.5).cos(), 5.0 * angle.sin());
        let p = own.exp() / (own.exp() + other.exp());
        let rate = 5.0 * ((p - 1.0) * -angle.sin() + (1.0 - p) * angle.cos()) / 2.0;
        let expected = [-angle.sin() * rate, angle.cos() * rate];
        assert_close("features", &found.features, &expected, 1e-5);
    }
}

/// Acceptance case 6: insightface #1437 and #894, LightCNN #5, MagFace #15.
#[test]
fn labels_from_one_on_are_refused_by_name() {
    for device in autodiff_devices() {
        let loss = MarginSoftmaxConfig::new(3, 2).init(&device);
        for bad in [3, -1] {
            let batch = (Tensor::ones([2, 2], &device), labels(&[1, bad], &device));
            assert_eq!(
                loss.try_forward(batch).unwrap_err().to_string(),
                format!("labels[1] is {bad}: it must be in 0..3")
            );
        }
        assert_eq!(loss.step(), 0);
    }
}

/// Acceptance case 7: labels of -1 in insightface's PartialFC.
#[test]
fn ignored_samples_change_nothing_whatever_they_hold() {
    for device in autodiff_devices() {
        for checking in [Checking::Strict, Checking::Deferred] {
            for margin in [ArcFace::new().into(), Margin::from(AdaFace::new())] {
                let config = MarginSoftmaxConfig::new(3, 2)
                    .with_margin(margin)
                    .with_checking(checking)
                    .with_ignore_label(Some(-1));
                let make = || -> MarginSoftmax {
                    config
                        .init_with_centers(typed_matrix(
                            &[at(0.1, 1.0), at(2.0, 1.0), at(4.0, 1.0)],
                            DType::F32,
                            &device,
                        ))
                        .unwrap()
                };
                let (with, without) = (make(), make());
                let rows = [[1.5, -2.0], [f32::NAN, f32::INFINITY], [0.5, 3.0]];
                let features = Tensor::<2>::from_data(rows, &device).require_grad();
                let kept = Tensor::<2>::from_data([rows[0], rows[2]], &device).require_grad();
                let value = with.forward(features.clone(), labels(&[0, -1, 2], &device));
                let expected = without.forward(kept.clone(), labels(&[0, 2], &device));
                let (gradients, of_kept) = (value.backward(), expected.backward());
                assert_close("loss", &values(value), &values(expected), 1e-6);
                let gradient = values(features.grad(&gradients).unwrap());
                assert_eq!(gradient[2..4], [0.0, 0.0]);
                assert_close(
                    "features",
                    &[&gradient[..2], &gradient[4..]].concat(),
                    &values(kept.grad(&of_kept).unwrap()),
                    1e-6,
                );
                let gradients = GradientsParams::from_grads(gradients, &with);
                let of_kept = GradientsParams::from_grads(of_kept, &without);
                assert_close(
                    "centers",
                    &values(gradients.get::<2>(centers_id(&with)).unwrap()),
                    &values(of_kept.get::<2>(centers_id(&without)).unwrap()),
                    1e-6,
                );
                assert_eq!(with.norm_statistics(), without.norm_statistics());
                assert_eq!(with.take_left_out(), Ok(LeftOut::default()));

                let before = with.norm_statistics();
                let features = Tensor::<2>::from_data(rows, &device).require_grad();
                let value = with.forward(features.clone(), labels(&[-1, -1, -1], &device));
                let gradients = value.backward();
                assert_eq!(values(value), [0.0]);
                assert_eq!(values(features.grad(&gradients).unwrap()), [0.0; 6]);
                let gradients = GradientsParams::from_grads(gradients, &with);
                let gradient = gradients.get::<2>(centers_id(&with)).unwrap();
                assert_eq!(values(gradient), [0.0; 6]);
                assert_eq!(with.norm_statistics(), before);
            }
        }
    }
}

/// Acceptance cases 9 and 10: pytorch-metric-learning #293, #309, #209; mmpretrain #1169 and PR #1181;
/// pytorch-metric-learning 3.0.4, #792.
#[test]
fn half_precision_features() {
    for dtype in [DType::F16, DType::BF16] {
        for device in devices_with(dtype).into_iter().map(Device::autodiff) {
            // 300^2 is beyond f16.
            let features = vec![vec![300.0, 4.0], vec![-200.0, 100.0]];
            let centers = vec![at(0.1, 1.0), at(1.5, 0.7), at(3.0, 2.0)];
            let config = MarginSoftmaxConfig::new(3, 2);
            let (classes, f32) = ([0, 1], (DType::F32, &device));
            let half = run(&config, &features, &classes, &centers, (dtype, &device));
            let rounded = typed_matrix(&features, dtype, &device);
            let rounded: Vec<Vec<f64>> = values(rounded).chunks(2).map(<[f64]>::to_vec).collect();
            let single = run(&config, &rounded, &classes, &centers, f32);
            assert_close("loss", &[half.loss], &[single.loss], 1e-6);
            assert_close("features", &half.features, &single.features, 1e-2);
            assert_close("centers", &half.centers, &single.centers, 1e-6);

            let loss = config
                .init_with_centers(typed_matrix(&centers, DType::F32, &device))
                .unwrap();
            let before = loss.centers().into_data();
            let features = typed_matrix(&features, dtype, &device);
            let value = loss.forward(features.clone(), labels(&classes, &device));
            assert_eq!(value.dtype(), DType::F32);
            assert_eq!(loss.logits(features).unwrap().dtype(), DType::F32);
            assert_eq!(loss.centers().into_data(), before);
        }
    }
}

/// A zero vector has cosine 0 with everything, and passes no gradient.
#[test]
fn zero_vectors() {
    for device in autodiff_devices() {
        for margin in [Margin::None, CosFace::new().into(), AdaFace::new().into()] {
            let config = MarginSoftmaxConfig::new(2, 2).with_margin(margin.clone());
            let centers = [vec![0.0, 0.0], vec![0.0, 1.0]];
            let features = [vec![0.0, 0.0], vec![3.0, 0.0]];
            let found = run(&config, &features, &[0, 0], &centers, (DType::F32, &device));
            assert!(found.loss.is_finite(), "{margin:?}");
            assert_eq!(found.features[..2], [0.0, 0.0], "{margin:?}");
            assert_eq!(found.centers[..2], [0.0, 0.0], "{margin:?}");
            if margin == Margin::None {
                assert!((found.loss - 2_f64.ln()).abs() < 1e-6);
            }
        }
        let loss = MarginSoftmaxConfig::new(2, 2)
            .init_with_centers(Tensor::from_data([[0.0, 0.0], [0.0, 1.0]], &device))
            .unwrap();
        let features = Tensor::<2>::from_data([[0.0, 0.0], [0.0, 2.0]], &device).require_grad();
        let logits = loss.logits(features.clone()).unwrap();
        assert_eq!(values(logits.clone()), [0.0, 0.0, 0.0, 64.0]);
        let gradient = features.grad(&logits.sum().backward()).unwrap();
        assert_eq!(values(gradient)[..2], [0.0, 0.0]);
    }
}

/// Acceptance case 17: gluon-face #28. Beyond 2^24 not every whole number is an `f32`.
#[test]
fn labels_that_no_float_holds() {
    const LAST: i64 = (1 << 24) + 1;
    let device = devices().remove(0);
    for (checking, precision, class, expected) in [
        (Checking::Strict, Precision::F64, LAST, 0.0),
        (Checking::Deferred, Precision::F64, LAST - 1, 250.0),
        (Checking::Strict, Precision::F32, LAST, 0.0),
    ] {
        let config = MarginSoftmaxConfig::new(LAST as usize + 1, 1)
            .with_margin(CosFace::new().with_margin(0.5).into())
            .with_scale(100.0)
            .with_precision(precision)
            .with_checking(checking);
        // Only the last class is along the feature.
        let centers = Tensor::<1>::full([LAST as usize + 1], -1.0, &device);
        let centers = centers.slice_fill(LAST..LAST + 1, 1.0);
        let loss = config.init_with_centers(centers.unsqueeze_dim(1)).unwrap();
        let features = Tensor::<2>::ones([1, 1], &device);
        let label = Tensor::<1, Int>::from_data([class], &device);
        let found = values(loss.evaluate(features, label))[0];
        assert!((found - expected).abs() < 1e-3, "{class}: {found}");
    }
}
