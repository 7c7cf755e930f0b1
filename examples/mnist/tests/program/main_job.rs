//! The main job.

use std::fs;

use crate::launch::Scene;

#[test]
fn the_main_job_trains_and_leaves_pictures_and_metrics() {
    let scene = Scene::new();
    let printed = scene
        .launch(&["--epochs", "2", "--batch-size", "8"])
        .printed();
    assert!(printed.contains("softmax: test accuracy"), "{printed}");
    assert!(
        printed.contains(&scene.out().display().to_string()),
        "{printed}"
    );

    let metrics = fs::read_to_string(scene.out().join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), 2);
    let last: serde_json::Value = serde_json::from_str(metrics.lines().last().unwrap()).unwrap();
    assert_eq!(last["epoch"], 2);
    // 48 training samples without the 24 of validation: three batches of eight.
    assert_eq!(last["step"], 6);
    let picture = fs::read(scene.out().join("maps/test-002.png")).unwrap();
    assert!(picture.starts_with(b"\x89PNG"));
    assert!(scene.out().join("curves.png").is_file());
}

#[test]
fn the_same_seed_gives_the_same_result_and_another_seed_another() {
    let scene = Scene::new();
    let losses = |name: &str, seed: &str| {
        let out = scene.out().join(name);
        let arguments = ["--epochs", "2", "--batch-size", "8", "--seed", seed];
        scene.launch_into(&out, &arguments).printed();
        let metrics = fs::read_to_string(out.join("metrics.jsonl")).unwrap();
        let loss = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["train_loss"].clone()
        };
        metrics.lines().map(loss).collect::<Vec<_>>()
    };
    let first = losses("first", "5");
    assert_eq!(first, losses("second", "5"));
    assert_ne!(first, losses("third", "6"));
}

#[test]
fn features_of_any_dimension_are_drawn() {
    let scene = Scene::new();
    for dimension in ["1", "3"] {
        let out = scene.out().join(dimension);
        let arguments = ["--epochs", "1", "--feature-dim", dimension];
        scene.launch_into(&out, &arguments).printed();
        assert!(out.join("maps/train-001.png").is_file());
    }
}
