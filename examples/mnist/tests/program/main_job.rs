//! The main job.

use std::fs;

use crate::launch::{Scene, json, json_lines};

#[test]
fn the_main_job_compares_the_losses_and_leaves_pictures_and_metrics() {
    let scene = Scene::new();
    let arguments = ["--epochs", "2", "--batch-size", "8"];
    let printed = scene.launch(&arguments).printed();
    for word in ["softmax", "joint", "center", "nearest center", "k-NN"] {
        assert!(printed.contains(word), "{printed}");
    }
    let out = scene.out();
    assert!(printed.contains(&out.display().to_string()), "{printed}");

    let results = json(&out.join("results.json"));
    assert_eq!(results["rows"].as_array().unwrap().len(), 3);
    assert_eq!(results["test_samples"], 12);
    assert_eq!(results["rows"][1]["runs"][0]["images"], 48);
    for loss in ["softmax", "joint", "center"] {
        let part = out.join(format!("{loss}-seed-1"));
        let metrics = json_lines(&part.join("metrics.jsonl"));
        assert_eq!(metrics.len(), 2);
        assert_eq!(metrics[1]["epoch"], 2);
        // 48 training samples without the 24 of validation: three batches of eight.
        assert_eq!(metrics[1]["step"], 6);
        let has_centers = !metrics[1]["test"]["nearest_center"].is_null();
        assert_eq!(has_centers, loss != "softmax");
        let picture = fs::read(part.join("maps/test-002.png")).unwrap();
        assert!(picture.starts_with(b"\x89PNG"));
        let animation = fs::read(part.join("features.gif")).unwrap();
        assert!(animation.starts_with(b"GIF89a"));
        let job = json(&part.join("run.json"));
        assert_eq!(job["provenance"]["device"], "flex (CPU)");
        assert_eq!(job["recipe"]["loss"], loss);
        assert_eq!(job["image_size"], serde_json::json!([8, 8]));
    }
}

#[test]
fn an_interrupted_main_job_goes_on() {
    let scene = Scene::new();
    scene.launch(&["--epochs", "1"]).printed();
    let center = scene.out().join("center-seed-1");
    fs::remove_dir_all(&center).unwrap();
    let joint = fs::read(scene.out().join("joint-seed-1/metrics.jsonl")).unwrap();

    let out = scene.out().display().to_string();
    let fault = scene.run(&["open-set", "--resume", &out]).fault();
    assert!(
        fault.contains("a run of `mnist`, not of `mnist open-set`"),
        "{fault}"
    );
    let fault = scene.run(&["--resume", &out, "--epochs", "3"]).fault();
    assert!(fault.contains("--epochs: only a single run"), "{fault}");
    let printed = scene.run(&["--resume", &out]).printed();
    assert!(printed.contains("center"), "{printed}");
    assert!(center.join("metrics.jsonl").is_file());
    let kept = fs::read(scene.out().join("joint-seed-1/metrics.jsonl")).unwrap();
    assert_eq!(joint, kept, "joint was trained again");
}
