//! Softmax with a margin at the angles, lengths and types where implementations fail.
//!
//! `margin_golden` and `margin_plain` have the gradients of a margin that is a constant to them, acceptance case 5:
//! insightface #2309 and #2255, unicom #11.

use std::f64::consts::{FRAC_PI_2, PI};

use burn::tensor::{DType, Device, Int, Tensor};
use burn_center_loss::margin::{AdaFace, ArcFace, BeyondPi, CombinedMargin, MarginGradient};
use burn_center_loss::{CenterDType, Checking, Margin, MarginSoftmaxConfig};

use crate::contract::Case;
use crate::devices::{autodiff_devices, devices, f64_devices, values};
use crate::plain::{Plain, dot, log_sum_exp, norm};
use crate::tensors::{labels, typed_matrix};

fn arcface(margin: f64, beyond_pi: BeyondPi) -> Margin {
    Margin::ArcFace(ArcFace::new().with_margin(margin).with_beyond_pi(beyond_pi))
}

/// The loss, and the gradients of features and class vectors.
type Numbers = (f64, [Vec<f64>; 2]);

fn run(config: &MarginSoftmaxConfig, plain: &Plain, device: &Device) -> Numbers {
    let found = Case::new(config.clone()).run(plain, device);
    let gradients = [found.features.concat(), found.of_centers.unwrap()];
    (found.value[0], gradients)
}

/// A batch and class vectors, as they are after rounding to `f32`.
fn rounded(features: Vec<Vec<f64>>, labels: Vec<i64>, centers: Vec<Vec<f64>>) -> Plain {
    let [features, centers] = [features, centers].map(|mut rows| {
        for value in rows.iter_mut().flatten() {
            *value = f64::from(*value as f32);
        }
        rows
    });
    Plain {
        features,
        labels,
        weights: None,
        centers,
    }
}

/// A point of the plane at an angle.
fn at(angle: f64, length: f64) -> Vec<f64> {
    vec![length * angle.cos(), length * angle.sin()]
}

/// From one vector to the other, counterclockwise.
fn turn(from: &[f64], to: &[f64]) -> f64 {
    let cross = from[0] * to[1] - from[1] * to[0];
    cross.atan2(dot(from, to))
}

/// Mean loss and gradients of ArcFace before pi, in the plane: every cosine changes with the angle between two
/// vectors, and that with their positions at a rate of one over their length.
fn expected(plain: &Plain, scale: f64, margin: f64) -> Numbers {
    let mut loss = 0.0;
    let [mut of_features, mut of_centers] =
        [&plain.features, &plain.centers].map(|rows| vec![0.0; 2 * rows.len()]);
    let share = 1.0 / plain.features.len() as f64;
    for (i, x) in plain.features.iter().enumerate() {
        let class = plain.labels[i] as usize;
        let turns: Vec<f64> = plain.centers.iter().map(|w| turn(w, x)).collect();
        let angle = |j: usize| turns[j].abs() + if j == class { margin } else { 0.0 };
        let scores: Vec<f64> = (0..turns.len()).map(|j| scale * angle(j).cos()).collect();
        let log_sum = log_sum_exp(scores.iter().copied());
        loss += share * (log_sum - scores[class]);
        for (j, w) in plain.centers.iter().enumerate() {
            let is_class = if j == class { 1.0 } else { 0.0 };
            let by_score = (scores[j] - log_sum).exp() - is_class;
            let by_angle = -scale * angle(j).sin();
            // The angle is the absolute value of the turn; on the kink its slope is taken for zero.
            let sign = match turns[j] {
                turn if turn == 0.0 || turn.abs() == PI => 0.0,
                turn => turn.signum(),
            };
            let rate = share * by_score * by_angle * sign;
            for (gradient, row, rate) in [
                (&mut of_features[2 * i..], x, rate),
                (&mut of_centers[2 * j..], w, -rate),
            ] {
                let squared = dot(row, row);
                gradient[0] -= row[1] / squared * rate;
                gradient[1] += row[0] / squared * rate;
            }
        }
    }
    (loss, [of_features, of_centers])
}

/// With budgets that keep all scores and none.
fn check(plain: &Plain, name: &str, margin: f64, device: &Device) {
    let scale = 64.0;
    let (expected_loss, expected) = expected(plain, scale, margin);
    for budget in [usize::MAX, 0] {
        let config = MarginSoftmaxConfig::new(plain.centers.len(), 2)
            .with_margin(arcface(margin, BeyondPi::Reflect))
            .with_scale(scale)
            .with_score_budget(budget);
        let (loss, gradients) = run(&config, plain, device);
        let error = (loss - expected_loss).abs() / expected_loss.max(1.0);
        assert!(error <= 1e-5, "{name}: loss {loss} is not {expected_loss}");
        let rows = [&plain.features, &plain.centers];
        for ((rows, found), expected) in rows.into_iter().zip(gradients).zip(&expected) {
            for (d, (found, expected)) in found.iter().zip(expected).enumerate() {
                let bound = scale / norm(&rows[d / 2]);
                let is_close = (found - expected).abs() / bound <= 1e-5;
                assert!(is_close, "{name}[{d}]: {found}, {expected}, bound {bound}");
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
            for off in [0.0, 1e-8, 1e-6, 1e-4] {
                for direction in [1.0, -1.0] {
                    // On an axis, so that a direction rounds to itself.
                    let feature = vec![direction * length, off * length];
                    let centers = vec![vec![0.5, 0.0], at(2.0, 1.0), at(-1.2, 2.0)];
                    let plain = rounded(vec![feature], vec![0], centers);
                    let name = format!("length {length}, {off} off, direction {direction}");
                    for margin in [0.0, 0.5] {
                        check(&plain, &name, margin, &device);
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
        let centers = vec![vec![1.0, 0.0, 0.0], vec![0.0, 0.0, 1.0]];
        let across = |off: f64| {
            let feature = vec![2.0, 2.0 * off, 0.0];
            let plain = rounded(vec![feature], vec![0], centers.clone());
            let (loss, [of_features, _]) = run(&config, &plain, &device);
            of_features[1] / (1.0 - (-loss).exp())
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
    use BeyondPi::{Continuous, Easy, Linear, Reflect};
    let mut margins = vec![Margin::cosface(0.0)];
    for form in [Linear, Continuous, Reflect, Easy] {
        margins.push(arcface(0.0, form));
        let combined = CombinedMargin::new(1.0, 0.0, 0.0);
        margins.push(Margin::Combined(combined.with_beyond_pi(form)));
    }
    let detached = ArcFace::new().with_gradient(MarginGradient::Detached);
    margins.push(Margin::ArcFace(detached.with_margin(0.0)));
    for device in autodiff_devices() {
        let centers = vec![at(0.0, 1.0), at(1.0, 0.3), at(-2.5, 2.0)];
        let mut features: Vec<Vec<f64>> = (0..24).map(|i| at(f64::from(i) * 0.3, 1.5)).collect();
        features.extend([vec![-1.0, 0.0], vec![1.0, 0.0], vec![0.0, 0.0]]);
        let classes: Vec<i64> = (0..features.len() as i64).map(|i| i % 3).collect();
        let plain = rounded(features, classes, centers);
        let bits = |margin: &Margin| {
            let config = MarginSoftmaxConfig::normalized_softmax(3, 2).with_margin(margin.clone());
            let (loss, gradients) = run(&config, &plain, &device);
            let all = [vec![loss], gradients.concat()].concat();
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
        let features = (0..180).map(|i| at(f64::from(i) * PI / 90.0, 2.0));
        let features: Vec<Vec<f64>> = features.collect();
        for class in 0..4 {
            let plain = rounded(features.clone(), vec![class; 180], centers.clone());
            for margin in [0.0, 0.5, 1.0] {
                let name = format!("class {class}, margin {margin}");
                check(&plain, &name, margin, &device);
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
    let centers = typed_matrix(&centers, DType::F64, device);
    let loss = config.init_with_centers(centers).unwrap();
    let angle = |i: usize| PI * i as f64 / angles as f64;
    let feature = |i: usize| vec![angle(i).cos(), angle(i).sin(), 0.0];
    let features: Vec<Vec<f64>> = (0..=angles).map(feature).collect();
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
        let rises = |margin: Margin| -> Vec<usize> {
            let scores = target_scores(margin, ANGLES, &device);
            let rise = |i: &usize| scores[i + 1] >= scores[*i];
            (0..ANGLES).filter(rise).collect()
        };
        let mut falling = vec![Margin::None, Margin::cosface(0.35)];
        falling.extend([3, 4].map(Margin::sphereface));
        falling.extend([0.1, 0.5, 1.0, 2.0, 2.33].map(|m| arcface(m, BeyondPi::Linear)));
        for m in [0.1, 0.5, 1.0, 2.0, 2.33, 2.34, 3.0] {
            falling.push(arcface(m, BeyondPi::Continuous));
            falling.push(Margin::Combined(CombinedMargin::new(1.4, m, 0.2)));
        }
        for margin in falling {
            assert_eq!(rises(margin.clone()), [0; 0], "{margin:?}");
        }

        // The forms that are excepted rise once, where their docs say.
        let place = |angle: f64| (angle / PI * ANGLES as f64) as usize;
        for (m, form, angle) in [
            (2.34, BeyondPi::Linear, PI - 2.34),
            (0.5, BeyondPi::Easy, FRAC_PI_2),
        ] {
            let jump = rises(arcface(m, form));
            assert!(jump.len() == 1 && jump[0].abs_diff(place(angle)) <= 1);
        }
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

/// A zero vector has cosine 0 with everything, and passes no gradient.
#[test]
fn zero_vectors() {
    let centers = vec![vec![0.0, 0.0], vec![0.0, 1.0]];
    let plain = rounded(vec![vec![0.0, 0.0], vec![3.0, 0.0]], vec![0, 0], centers);
    for device in autodiff_devices() {
        let adaface = Margin::AdaFace(AdaFace::new());
        for margin in [Margin::None, Margin::cosface(0.35), adaface] {
            let config = MarginSoftmaxConfig::new(2, 2).with_margin(margin.clone());
            let (loss, gradients) = run(&config, &plain, &device);
            assert!(loss.is_finite(), "{margin:?}");
            for gradient in gradients {
                assert_eq!(gradient[..2], [0.0, 0.0], "{margin:?}");
            }
            if margin == Margin::None {
                assert!((loss - 2_f64.ln()).abs() < 1e-6);
            }
        }
        let centers = typed_matrix(&plain.centers, DType::F32, &device);
        let config = MarginSoftmaxConfig::new(2, 2);
        let loss = config.init_with_centers(centers).unwrap();
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
