//! Calibration against golden numbers, plain loops, its properties and each of its errors.

use crate::evaluation_verification::{flags, scored_pairs};
use crate::fixtures::{Named, assert_close, assert_named, cases};
use crate::messages::assert_messages;
use burn_center_loss::evaluation::{
    DetectionCost, IsotonicCalibration, LogisticCalibration, RocCurve, cllr, min_cllr,
};
use proptest::prelude::*;
use serde::Deserialize;
use std::collections::HashMap;

const TOLERANCE: f64 = 1e-9;

/// For slopes, offsets and what follows from them.
const FIT_TOLERANCE: f64 = 1e-6;

#[derive(Deserialize)]
struct Case {
    name: String,
    scores: Vec<f32>,
    same: Vec<u8>,
    prior: f64,
    logistic: Option<Named>,
    platt: Option<Named>,
    cllr: f64,
    min_cllr: f64,
    pav_blocks: Vec<HashMap<String, Option<f64>>>,
    queries: Vec<f32>,
    query_posterior: Vec<f64>,
    hull_eer: f64,
    detection_costs: Vec<HashMap<String, Option<f64>>>,
}

fn line(calibration: &LogisticCalibration) -> [(&'static str, f64); 2] {
    [("slope", calibration.slope), ("offset", calibration.offset)]
}

#[test]
fn golden_costs_and_blocks() {
    for case in cases::<Case>("calibration.json") {
        let (name, scores, same) = (&case.name, &case.scores, flags(&case.same));
        let curve = RocCurve::new(scores, &same).unwrap();
        let found = [
            cllr(scores, &same).unwrap(),
            min_cllr(scores, &same).unwrap(),
            curve.hull_equal_error_rate(),
        ];
        // One by one: a Cllr may be far above its minimum.
        for (found, expected) in found
            .into_iter()
            .zip([case.cllr, case.min_cllr, case.hull_eer])
        {
            assert_close(name, &[found], &[expected], TOLERANCE);
        }

        let isotonic = IsotonicCalibration::fit(scores, &same).unwrap();
        assert_eq!(isotonic.blocks().len(), case.pav_blocks.len(), "{name}");
        for (block, expected) in isotonic.blocks().iter().zip(&case.pav_blocks) {
            let found = [block.low, block.high].map(|score| score as f32);
            let ends = ["low", "high"].map(|end| expected[end].unwrap() as f32);
            assert_eq!(found, ends, "{name}");
            let found = [block.genuine, block.impostors].map(|pairs| Some(pairs as f64));
            assert_eq!(
                found,
                ["genuine", "impostors"].map(|kind| expected[kind]),
                "{name}"
            );
            match expected["llr"] {
                Some(llr) => assert_close(name, &[block.llr], &[llr], TOLERANCE),
                None => assert!(block.llr.is_infinite(), "{name}"),
            }
        }
        let posteriors = isotonic.posteriors(&case.queries).unwrap();
        assert_close(name, &posteriors, &case.query_posterior, TOLERANCE);
    }
}

#[test]
fn golden_logistic_and_platt() {
    for case in cases::<Case>("calibration.json") {
        let (name, scores, same) = (&case.name, &case.scores, flags(&case.same));
        let fitted = LogisticCalibration::fit(scores, &same, case.prior);
        assert_eq!(fitted.is_ok(), case.logistic.is_some(), "{name}");
        if let (Ok(fitted), Some(expected)) = (fitted, &case.logistic) {
            let llrs = fitted.llrs(scores).unwrap();
            let cllr = cllr(&llrs, &same).unwrap();
            let found = [&line(&fitted)[..], &[("cllr", cllr)]].concat();
            for found in found {
                assert_named(name, &[found], expected, FIT_TOLERANCE);
            }
        }
        let platt = LogisticCalibration::fit_platt(scores, &same).unwrap();
        match &case.platt {
            Some(expected) => {
                for found in line(&platt) {
                    assert_named(name, &[found], expected, FIT_TOLERANCE);
                }
            }
            // All scores are equal, and say nothing.
            None => assert_eq!(platt.slope, 0.0, "{name}"),
        }
    }
}

#[test]
fn golden_detection_costs() {
    for case in cases::<Case>("calibration.json") {
        let (name, scores, same) = (&case.name, &case.scores, flags(&case.same));
        let curve = RocCurve::new(scores, &same).unwrap();
        let fitted = LogisticCalibration::fit(scores, &same, case.prior);
        let calibrated =
            fitted.map(|fitted| RocCurve::new(&fitted.llrs(scores).unwrap(), &same).unwrap());
        for expected in &case.detection_costs {
            let [prior, miss, false_accept] = ["target_prior", "miss_cost", "false_accept_cost"]
                .map(|name| expected[name].unwrap());
            let cost = DetectionCost::new()
                .with_target_prior(prior)
                .with_miss_cost(miss)
                .with_false_accept_cost(false_accept);
            let (actual, least) = (
                curve.actual_detection_cost(&cost).unwrap(),
                curve.min_detection_cost(&cost).unwrap(),
            );
            assert_eq!(
                least.threshold.map(|t| t as f32),
                expected["min_threshold"].map(|t| t as f32)
            );
            let mut found = vec![
                ("bayes_threshold", cost.bayes_threshold().unwrap()),
                ("actual_raw", actual.raw),
                ("actual_normalized", actual.normalized),
                ("min_raw", least.raw),
                ("min_normalized", least.normalized),
            ];
            if let Ok(calibrated) = &calibrated {
                let actual = calibrated.actual_detection_cost(&cost).unwrap();
                found.push(("calibrated_actual_raw", actual.raw));
                found.push(("calibrated_actual_normalized", actual.normalized));
            }
            for (value, found) in found {
                let name = format!("{name}, {value} at {prior}");
                assert_close(&name, &[found], &[expected[value].unwrap()], TOLERANCE);
            }
        }
    }
}

/// The share of genuine pairs with equal weight of both kinds by the formula of isotonic regression: the largest over
/// the starts of the least over the ends of the shares of runs that hold the score.
fn naive_posterior(scores: &[f64], same: &[bool], score: f64) -> f64 {
    let kind = |same: &[bool]| same.iter().filter(|same| **same).count() as f64;
    let (n, m) = (kind(same), same.len() as f64 - kind(same));
    let share = |low: f64, high: f64| {
        let run = scores
            .iter()
            .zip(same)
            .filter(|(at, _)| (low..=high).contains(*at));
        let run: Vec<bool> = run.map(|(_, same)| *same).collect();
        let (genuine, impostors) = (kind(&run) / n, (run.len() as f64 - kind(&run)) / m);
        genuine / (genuine + impostors)
    };
    let ends = scores.iter().filter(|end| **end >= score);
    let starts = scores.iter().filter(|start| **start <= score);
    let least = |start: f64| {
        ends.clone()
            .map(|end| share(start, *end))
            .fold(f64::INFINITY, f64::min)
    };
    starts.map(|start| least(*start)).fold(0.0, f64::max)
}

proptest! {
    #[test]
    fn isotonic_against_plain_loops((scores, same) in scored_pairs()) {
        let isotonic = IsotonicCalibration::fit(&scores, &same).unwrap();
        let expected: Vec<f64> =
            scores.iter().map(|score| naive_posterior(&scores, &same, *score)).collect();
        let found = isotonic.posteriors(&scores).unwrap();
        assert_close("posteriors", &found, &expected, TOLERANCE);
        let blocks = isotonic.blocks();
        prop_assert!(blocks.is_sorted_by(|a, b| a.high < b.low && a.posterior < b.posterior));

        // Cllr of the calibrated scores themselves, and of any other ratios in their order.
        let least = min_cllr(&scores, &same).unwrap();
        let of_llrs = cllr(&isotonic.llrs(&scores).unwrap(), &same).unwrap();
        prop_assert!((of_llrs - least).abs() < TOLERANCE);
        prop_assert!(least <= cllr(&scores, &same).unwrap() + TOLERANCE && least <= 1.0 + TOLERANCE);

        let curve = RocCurve::new(&scores, &same).unwrap();
        let hull = curve.hull_equal_error_rate();
        prop_assert!(hull <= curve.equal_error_rate() + TOLERANCE);
        // The largest minimum of the cost over all priors, here over a grid of them.
        let at_prior = |prior| {
            let cost = DetectionCost::new().with_target_prior(prior);
            curve.min_detection_cost(&cost).unwrap().raw
        };
        let largest = (1..200).map(|step| at_prior(f64::from(step) / 200.0)).fold(0.0, f64::max);
        prop_assert!((hull - largest).abs() < 1.0 / 200.0, "{hull} {largest}");
    }

    /// No line near the fitted one has a lower objective.
    #[test]
    fn logistic_is_a_minimum((scores, same) in scored_pairs(), prior in 0.01..0.99_f64) {
        let odds = (prior / (1.0 - prior)).ln();
        let softplus = |value: f64| value.max(0.0) + (-value.abs()).exp().ln_1p();
        let objective = |slope: f64, offset: f64| {
            let mean = |kind: bool, sign: f64| {
                let of_kind = scores.iter().zip(&same).filter(|(_, same)| **same == kind);
                let costs = of_kind.map(|(score, _)| softplus(sign * (slope * score + offset + odds)));
                let costs: Vec<f64> = costs.collect();
                costs.iter().sum::<f64>() / costs.len() as f64
            };
            prior * mean(true, -1.0) + (1.0 - prior) * mean(false, 1.0)
        };
        let Ok(fitted) = LogisticCalibration::fit(&scores, &same, prior) else {
            return Ok(());
        };
        let least = objective(fitted.slope, fitted.offset);
        for (turn, lift) in [(1e-3, 0.0), (-1e-3, 0.0), (0.0, 1e-3), (0.0, -1e-3), (1e-3, -1e-3)] {
            prop_assert!(least <= objective(fitted.slope + turn, fitted.offset + lift) + 1e-15);
        }
    }

    /// Scores in another unit, or of more pairs of each kind, have the same ratios.
    #[test]
    fn logistic_follows_scale_and_weights((scores, same) in scored_pairs()) {
        let Ok(fitted) = LogisticCalibration::fit(&scores, &same, 0.5) else {
            return Ok(());
        };
        let llrs = fitted.llrs(&scores).unwrap();
        // A ratio of 0 has no relative error.
        let are_close = |found: &[f64]| {
            let mut pairs = found.iter().zip(&llrs);
            pairs.all(|(a, b)| (a - b).abs() <= FIT_TOLERANCE * b.abs().max(1.0))
        };
        let moved: Vec<f64> = scores.iter().map(|score| 1e3 - 1e-2 * score).collect();
        let of_moved = LogisticCalibration::fit(&moved, &same, 0.5).unwrap();
        prop_assert!(are_close(&of_moved.llrs(&moved).unwrap()));

        let genuine = scores.iter().zip(&same).filter(|(_, same)| **same);
        let again: Vec<f64> = genuine.map(|(score, _)| *score).collect();
        let repeated = [&scores[..], &again].concat();
        let of_repeated = [&same[..], &vec![true; again.len()]].concat();
        let repeated = LogisticCalibration::fit(&repeated, &of_repeated, 0.5).unwrap();
        prop_assert!(are_close(&repeated.llrs(&scores).unwrap()));
    }
}

/// The scores of an issue of DCA-PLDA: a minimum of 0 has a threshold of its own.
#[test]
fn separable_scores_have_a_threshold_but_no_logistic_calibration() {
    let (scores, same) = ([1.0, 2.0, 3.0], [false, false, true]);
    let curve = RocCurve::new(&scores, &same).unwrap();
    let least = curve.min_detection_cost(&DetectionCost::new()).unwrap();
    assert_eq!((least.raw, least.threshold), (0.0, Some(3.0)));
    let rule =
        "they must overlap for a logistic calibration, or use LogisticCalibration::fit_platt";
    let fit = |same: &[bool]| LogisticCalibration::fit(&scores, same, 0.5);
    assert_messages! {
        fit(&same) => format!("genuine scores are in 3..=3 and impostor scores in 1..=2; {rule}");
        fit(&[true, true, false]) => format!("genuine scores are in 1..=2 and impostor scores in 3..=3; {rule}");
        LogisticCalibration::fit(&[1.0; 3], &same, 0.5) =>
            format!("genuine scores are in 1..=1 and impostor scores in 1..=1; {rule}");
    }
    // One overlap of a billionth is enough.
    let scores = [-1.0, 0.5 + 1e-9, 0.5, 1.0];
    let fitted = LogisticCalibration::fit(&scores, &[false, false, true, true], 0.5).unwrap();
    assert!((41.0..42.0).contains(&fitted.slope), "{fitted:?}");
}

#[test]
fn large_and_infinite_scores() {
    let same = [true, true, false, false];
    let scores = [2000.0, -2000.0, 2000.0, -2000.0];
    let bits = 2000.0 / (2.0 * std::f64::consts::LN_2);
    assert_close("cllr", &[cllr(&scores, &same).unwrap()], &[bits], 1e-12);
    assert_eq!(min_cllr(&scores, &same).unwrap(), 1.0);

    let infinite = f64::INFINITY;
    let right = [infinite, infinite, -infinite, -infinite];
    assert_eq!(cllr(&right, &same).unwrap(), 0.0);
    assert_eq!(
        cllr(&right, &[true, false, false, false]).unwrap(),
        infinite
    );
    assert_eq!(min_cllr(&right, &same).unwrap(), 0.0);
    let isotonic = IsotonicCalibration::fit(&right, &same).unwrap();
    // Finite scores are as far from the one end as from the other.
    assert_eq!(
        isotonic.posteriors(&[-infinite, 3.0, infinite]).unwrap(),
        [0.0, 0.5, 1.0]
    );
    assert_eq!(
        isotonic.llrs(&[-infinite, 3.0, infinite]).unwrap(),
        [-infinite, 0.0, infinite]
    );
    let isotonic = IsotonicCalibration::fit(&[infinite, 1.0, 0.0, -1.0], &same).unwrap();
    assert_eq!(
        isotonic.posteriors(&[0.5, 1e300, infinite]).unwrap(),
        [0.5, 1.0, 1.0]
    );
    let isotonic =
        IsotonicCalibration::fit(&[f64::MAX, f64::MAX, f64::MIN, f64::MIN], &same).unwrap();
    let found = isotonic.posteriors(&[0.0, f64::MAX / 2.0]).unwrap();
    assert_close("largest numbers", &found, &[0.5, 0.75], 1e-12);

    let flat = LogisticCalibration {
        slope: 0.0,
        offset: 0.25,
    };
    assert_eq!(flat.llrs(&[infinite, 1.0]).unwrap(), [0.25, 0.25]);
    let steep = LogisticCalibration {
        slope: 2.0,
        offset: 0.25,
    };
    assert_eq!(steep.llrs(&[-infinite, 1.0]).unwrap(), [-infinite, 2.25]);
}

#[test]
fn bad_scores_and_priors_are_named() {
    let same = [true, false];
    let fit = |scores: &[f64], prior| LogisticCalibration::fit(scores, &same, prior);
    let isotonic = IsotonicCalibration::fit(&[1.0, 0.0], &same).unwrap();
    let logistic = LogisticCalibration {
        slope: 1.0,
        offset: 0.0,
    };
    let cost = DetectionCost::new().with_target_prior(1.0);
    let curve = RocCurve::new(&[1.0, 0.0], &same).unwrap();
    assert_messages! {
        cllr::<f64>(&[], &[]) => "llrs is empty; it must hold at least 1 value";
        cllr(&[1.0, 2.0], &[true]) => "llrs has 2 entries and same has 1; the numbers must be equal";
        min_cllr(&[1.0, f64::NAN], &same) => "scores holds NaN at index 1; every value must be a number";
        min_cllr(&[1.0, 2.0], &[true, true]) => "same holds 2 times true and 0 times false; each must occur";
        fit(&[1.0, 2.0], 0.0) => "target_prior is 0; it must be above 0 and below 1";
        fit(&[1.0, f64::INFINITY], 0.5) => "scores holds inf at index 1; every score must be finite";
        LogisticCalibration::fit_platt(&[f64::NEG_INFINITY, 1.0], &same) =>
            "scores holds -inf at index 0; every score must be finite";
        isotonic.posteriors(&[f64::NAN]) => "scores holds NaN at index 0; every value must be a number";
        isotonic.llrs::<f64>(&[]) => "scores is empty; it must hold at least 1 value";
        logistic.llrs(&[0.0, f64::NAN]) => "scores holds NaN at index 1; every value must be a number";
        cost.bayes_threshold() => "target_prior is 1; it must be above 0 and below 1";
        curve.actual_detection_cost(&cost.with_target_prior(0.5).with_miss_cost(-1.0)) =>
            "miss_cost is -1; it must be finite and above 0";
    }
}
