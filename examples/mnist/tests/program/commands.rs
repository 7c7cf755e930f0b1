//! The commands.

use std::fs;

use crate::launch::{Scene, json, json_lines, loss_by_epoch};

const SHORT: [&str; 4] = ["--epochs", "1", "--batch-size", "8"];

/// The losses beside those of the main job.
pub const RELATIVES: [&str; 7] = [
    "distance-softmax",
    "normalized-softmax",
    "cosface",
    "arcface",
    "sphereface",
    "adaface",
    "proxy-anchor",
];

/// Trains with `loss` into `out`, with more `arguments`.
fn train(scene: &Scene, loss: &str, name: &str, arguments: &[&str]) -> String {
    let start = [&["train", "--loss", loss], &SHORT[..], arguments].concat();
    scene.launch_into(&scene.out().join(name), &start).printed()
}

#[test]
fn each_loss_can_be_trained_and_evaluated_by_each_method() {
    let scene = Scene::new();
    let joint = scene.out().join("joint").display().to_string();
    train(&scene, "softmax", "softmax", &[]);
    train(&scene, "joint", "joint", &[]);
    train(&scene, "center", "center", &["--from", &joint]);
    for loss in RELATIVES {
        train(&scene, loss, loss, &[]);
    }
    for loss in ["softmax", "joint", "center"].into_iter().chain(RELATIVES) {
        let run = scene.out().join(loss).display().to_string();
        for method in ["class", "nearest-center", "knn"] {
            let launched = scene.run(&["evaluate", "--run", &run, "--method", method]);
            if (loss, method) == ("softmax", "nearest-center") {
                let fault = launched.fault();
                assert!(fault.contains("no centers"), "{fault}");
                continue;
            }
            let printed = launched.printed();
            assert!(printed.contains(loss), "{printed}");
            assert!(printed.contains("on 12 test samples"), "{printed}");
            assert!(printed.contains("label 2"), "{printed}");
            let matrix = format!("{loss}/confusion-{method}.csv");
            let text = fs::read_to_string(scene.out().join(matrix)).unwrap();
            assert!(text.starts_with("label,0,1,2\n0,"), "{text}");
        }
    }
    let arguments = ["evaluate", "--run", &joint, "--method", "knn", "--k", "25"];
    let fault = scene.run(&arguments).fault();
    assert!(fault.contains("--k 25"), "{fault}");
    let fault = scene
        .run(&["evaluate", "--run", &joint, "--k", "3"])
        .fault();
    assert!(fault.contains("--method knn"), "{fault}");

    // Evaluation finds what training found.
    let metrics = json_lines(&scene.out().join("joint/metrics.jsonl"));
    let trained = metrics[0]["test"]["nearest_center"].as_f64();
    let arguments = ["evaluate", "--run", &joint, "--method", "nearest-center"];
    let printed = scene.run(&arguments).printed();
    let accuracy = format!("accuracy {:.4}", trained.unwrap());
    assert!(printed.contains(&accuracy), "{accuracy}: {printed}");
}

#[test]
fn center_loss_alone_leaves_the_centers_where_they_were() {
    let scene = Scene::new();
    let joint = scene.out().join("joint").display().to_string();
    train(&scene, "joint", "joint", &[]);
    train(&scene, "center", "center", &["--from", &joint]);
    let centers = |run: &str| {
        let snapshot = scene.out().join(run).join("snapshots/epoch-0001.json");
        json(&snapshot)["centers"].clone()
    };
    assert!(centers("joint").is_array());
    assert_eq!(centers("joint"), centers("center"));
}

#[test]
fn the_same_seed_gives_the_same_result_and_another_seed_another() {
    let scene = Scene::new();
    let losses = |name: &str, seed: &str| {
        train(&scene, "joint", name, &["--seed", seed]);
        loss_by_epoch(&scene.out().join(name))
    };
    let first = losses("first", "5");
    assert_eq!(first, losses("second", "5"));
    assert_ne!(first, losses("third", "6"));
}

#[test]
fn features_of_any_dimension_are_drawn() {
    let scene = Scene::new();
    for dimension in ["1", "3"] {
        train(&scene, "joint", dimension, &["--feature-dim", dimension]);
        let map = scene.out().join(dimension).join("maps/train-001.png");
        assert!(map.is_file());
    }
}

#[test]
fn every_choice_of_the_recipe_can_be_trained() {
    let scene = Scene::new();
    for (index, arguments) in [
        &["--update-rule", "gradient", "--bias"][..],
        &["--preset", "quick", "--update-rule", "mean", "--bias"],
        &["--update-rule", "sum", "--alpha", "0.1"],
        &["--update-rule", "frozen", "--lambda-warmup", "0"],
        &["--class-balance", "histogram", "--lambda", "0.001"],
        &["--lr", "0.001", "--class-rate", "3", "--clip", "0.5"],
        &["--train-size", "9", "--shift", "1", "--bias=false"],
    ]
    .into_iter()
    .enumerate()
    {
        train(&scene, "joint", &index.to_string(), arguments);
    }
    let recipe = &json(&scene.out().join("0/run.json"))["recipe"];
    assert_eq!(recipe["update_rule"], "Gradient");
    assert_eq!(recipe["bias"], true);
}

#[test]
fn every_choice_of_a_margin_can_be_trained() {
    let scene = Scene::new();
    for (index, (loss, arguments)) in [
        ("arcface", &["--scale", "20", "--margin", "0.3"][..]),
        ("cosface", &["--margin-warmup", "0", "--bias=true"]),
        (
            "adaface",
            &["--class-balance", "histogram", "--feature-dim", "3"],
        ),
        ("sphereface", &["--margin", "3", "--scale", "0.5"]),
        ("normalized-softmax", &["--preset", "quick", "--bias"]),
        (
            "proxy-anchor",
            &["--preset", "quick", "--feature-norm=false"],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        train(&scene, loss, &index.to_string(), arguments);
    }
    let recipe = |run: &str| json(&scene.out().join(run).join("run.json"))["recipe"].clone();
    assert_eq!(
        (
            recipe("0")["scale"].as_f64(),
            recipe("0")["margin"].as_f64()
        ),
        (Some(20.0), Some(0.3))
    );
    assert_eq!(recipe("4")["bias"], true);
}

#[test]
fn under_the_gradient_rule_alpha_is_the_rate_of_the_centers() {
    let scene = Scene::new();
    let centers = |run: &str, alpha: &str| {
        let arguments = [
            "--update-rule",
            "gradient",
            "--alpha",
            alpha,
            "--epochs",
            "2",
        ];
        let start = [
            &["train", "--loss", "joint", "--batch-size", "8"],
            &arguments[..],
        ]
        .concat();
        scene.launch_into(&scene.out().join(run), &start).printed();
        let snapshots = scene.out().join(run).join("snapshots");
        ["epoch-0001.json", "epoch-0002.json"]
            .map(|epoch| json(&snapshots.join(epoch))["centers"].clone())
    };
    let [first, second] = centers("rest", "0");
    assert_eq!(first, second);
    let [first, second] = centers("move", "0.5");
    assert_ne!(first, second);
}

#[test]
fn compare_shows_the_spread_over_seeds() {
    let scene = Scene::new();
    let arguments = [&["compare", "--seeds", "2"], &SHORT[..]].concat();
    let printed = scene.launch(&arguments).printed();
    for part in ["±", "over 2 seeds", "k-NN of 24"] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    assert!(scene.out().join("center-seed-2/maps").is_dir());
}

#[test]
fn a_run_of_another_kind_is_refused() {
    let scene = Scene::new();
    train(&scene, "softmax", "softmax", &[]);
    let softmax = scene.out().join("softmax").display().to_string();
    let center = scene.out().join("center");
    let arguments = ["train", "--loss", "center", "--from", &softmax];
    let fault = scene.launch_into(&center, &arguments).fault();
    assert!(fault.contains("--loss joint"), "{fault}");
    let fault = scene
        .launch_into(&center, &["train", "--loss", "center"])
        .fault();
    assert!(fault.contains("--from DIR"), "{fault}");
    let fault = scene.run(&["compare", "--resume", &softmax]).fault();
    assert!(fault.contains("train --resume"), "{fault}");
    let data = scene.data().display().to_string();
    let fault = scene.run(&["evaluate", "--run", &data]).fault();
    assert!(fault.contains("no run.json"), "{fault}");
    assert!(!center.exists());
}

#[test]
fn center_takes_the_network_of_the_run_that_it_starts_from() {
    let scene = Scene::new();
    train(&scene, "joint", "joint", &["--bias", "--feature-dim", "3"]);
    let joint = scene.out().join("joint").display().to_string();
    train(&scene, "center", "center", &["--from", &joint]);
    let recipe = &json(&scene.out().join("center/run.json"))["recipe"];
    assert_eq!(
        (&recipe["bias"], &recipe["feature_dim"]),
        (&true.into(), &3.into())
    );

    let other = scene.out().join("other");
    let start = ["train", "--loss", "center", "--from", &joint];
    for misfit in [["--feature-dim", "2"], ["--unknown-classes", "1"]] {
        let fault = scene
            .launch_into(&other, &[&start[..], &misfit].concat())
            .fault();
        assert!(fault.contains("does not fit"), "{fault}");
    }
    assert!(!other.exists());
}

#[test]
fn a_flipped_byte_of_a_checkpoint_is_noticed() {
    let scene = Scene::new();
    train(&scene, "joint", "joint", &[]);
    let joint = scene.out().join("joint");
    let path = joint.display().to_string();
    for (file, arguments) in [
        ("model.bpk", ["evaluate", "--run", &path]),
        ("state.json", ["evaluate", "--run", &path]),
        ("optimizer.bpk", ["train", "--resume", &path]),
    ] {
        let file = joint.join("checkpoints/epoch-0001").join(file);
        let whole = fs::read(&file).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() - 9] ^= 1;
        fs::write(&file, flipped).unwrap();
        let fault = scene.run(&arguments).fault();
        for part in ["checksum", "without the directory", "begins anew"] {
            assert!(fault.contains(part), "{part}: {fault}");
        }
        fs::write(&file, whole).unwrap();
    }
}
