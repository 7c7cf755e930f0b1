//! Softmax with a margin at the angles, lengths and types where implementations fail.

use std::f64::consts::{FRAC_PI_2, PI};

use burn::tensor::{DType, Device, Int, Tensor};
use burn_center_loss::margin::{AdaFace, ArcFace, BeyondPi, CombinedMargin, MarginGradient};
use burn_center_loss::{CenterDType, Checking, Margin, MarginSoftmaxConfig};

use crate::contract::Case;
use crate::devices::{autodiff_devices, devices, f64_devices, values};
use crate::fixtures::assert_close;
use crate::plain::Plain;
use crate::tensors::{labels, typed_matrix};

fn arcface(margin: f64, beyond_pi: BeyondPi) -> Margin {
    Margin::ArcFace(ArcFace::new().with_margin(margin).with_beyond_pi(beyond_pi))
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
    device: &Device,
) -> Found {
    let plain = Plain {
        features: features.to_vec(),
        labels: classes.to_vec(),
        weights: None,
        centers: centers.to_vec(),
    };
    let found = Case::new(config.clone()).run(&plain, device);
    Found {
        loss: found.value[0],
        features: found.features.concat(),
        centers: found.of_centers.unwrap(),
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
                let is_class = if j == class { 1.0 } else { 0.0 };
                let by_score = (scores[j] - largest).exp() / total - is_class;
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
                device,
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
        for length in [1e-15, 1.0, 3.0, 1e15] {
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

/// Next to an exactly collinear pair the gradient of the target class is `s sin(m) / |x|`, and in the pair
/// itself none.
#[test]
fn the_gradient_jumps_to_zero_at_exact_collinearity_alone() {
    for device in autodiff_devices() {
        let config = MarginSoftmaxConfig::new(2, 3)
            .with_margin(arcface(0.5, BeyondPi::Reflect))
            .with_scale(10.0);
        // The other class is orthogonal to all, so that its gradient is along the third axis.
        let centers = [vec![1.0, 0.0, 0.0], vec![0.0, 0.0, 1.0]];
        let across = |off: f64| {
            let feature = vec![2.0, 2.0 * off, 0.0];
            let found = run(&config, &[feature], &[0], &centers, &device);
            let probability = 1.0 - (-found.loss).exp();
            found.features[1] / probability
        };
        assert_eq!(across(0.0), 0.0);
        for off in [1e-8, 1e-6, 1e-4] {
            let expected = 10.0 * (0.5_f64 + off).sin() / 2.0;
            assert!((across(off) / expected - 1.0).abs() < 1e-4, "{off}");
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
    let mut margins = vec![Margin::cosface(0.0)];
    for form in forms {
        margins.push(arcface(0.0, form));
        let combined = CombinedMargin::new(1.0, 0.0, 0.0);
        margins.push(Margin::Combined(combined.with_beyond_pi(form)));
    }
    let detached = ArcFace::new().with_margin(0.0);
    margins.push(Margin::ArcFace(
        detached.with_gradient(MarginGradient::Detached),
    ));
    for device in autodiff_devices() {
        let centers = vec![at(0.0, 1.0), at(1.0, 0.3), at(-2.5, 2.0)];
        let mut features: Vec<Vec<f64>> = (0..24).map(|i| at(f64::from(i) * 0.3, 1.5)).collect();
        features.extend([vec![-1.0, 0.0], vec![1.0, 0.0], vec![0.0, 0.0]]);
        let classes: Vec<i64> = (0..features.len() as i64).map(|i| i % 3).collect();
        let bits = |margin: &Margin| {
            let config = MarginSoftmaxConfig::normalized_softmax(3, 2).with_margin(margin.clone());
            let found = run(&config, &features, &classes, &centers, &device);
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
fn target_scores(margin: Margin, angles: usize, device: &Device) -> Vec<f64> {
    let config = MarginSoftmaxConfig::new(2, 3)
        .with_margin(margin)
        .with_scale(1.0)
        .with_dtype(CenterDType::F64);
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
fn the_target_score_falls_with_the_angle() {
    const ANGLES: usize = 10_000;
    for device in f64_devices() {
        let falls = |margin: Margin| {
            let scores = target_scores(margin.clone(), ANGLES, &device);
            let rise = scores.windows(2).position(|pair| pair[1] >= pair[0]);
            assert_eq!(rise, None, "{margin:?}");
        };
        falls(Margin::None);
        falls(Margin::cosface(0.35));
        falls(Margin::sphereface(4));
        falls(Margin::sphereface(3));
        for m in [0.1, 0.5, 1.0, 2.0, 2.33] {
            falls(arcface(m, BeyondPi::Linear));
        }
        for m in [0.1, 0.5, 1.0, 2.0, 2.33, 2.34, 3.0] {
            falls(arcface(m, BeyondPi::Continuous));
            falls(Margin::Combined(CombinedMargin::new(1.4, m, 0.2)));
        }

        // The forms that are excepted rise once, where their docs say.
        let rises = |margin: Margin| -> Vec<usize> {
            let scores = target_scores(margin, ANGLES, &device);
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
            let scores = target_scores(Margin::AdaFace(AdaFace::new().with_h(h)), ANGLES, &device);
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
        let found = run(&config, &[at(angle, 2.0)], &[0], &centers, &device);
        // s (p - y) J by hand: J turns the feature, at a rate of one over its length.
        let (own, other) = (5.0 * (angle + 0.5).cos(), 5.0 * angle.sin());
        let p = own.exp() / (own.exp() + other.exp());
        let rate = 5.0 * ((p - 1.0) * -angle.sin() + (1.0 - p) * angle.cos()) / 2.0;
        let expected = [-angle.sin() * rate, angle.cos() * rate];
        assert_close("features", &found.features, &expected, 1e-5);
    }
}

/// A zero vector has cosine 0 with everything, and passes no gradient.
#[test]
fn zero_vectors() {
    for device in autodiff_devices() {
        for margin in [
            Margin::None,
            Margin::cosface(0.35),
            Margin::AdaFace(AdaFace::new()),
        ] {
            let config = MarginSoftmaxConfig::new(2, 2).with_margin(margin.clone());
            let centers = [vec![0.0, 0.0], vec![0.0, 1.0]];
            let features = [vec![0.0, 0.0], vec![3.0, 0.0]];
            let found = run(&config, &features, &[0, 0], &centers, &device);
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
    for (checking, dtype, class, expected) in [
        (Checking::Strict, CenterDType::F64, LAST, 0.0),
        (Checking::Deferred, CenterDType::F64, LAST - 1, 250.0),
        (Checking::Strict, CenterDType::F32, LAST, 0.0),
    ] {
        let config = MarginSoftmaxConfig::new(LAST as usize + 1, 1)
            .with_margin(Margin::cosface(0.5))
            .with_scale(100.0)
            .with_dtype(dtype)
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
