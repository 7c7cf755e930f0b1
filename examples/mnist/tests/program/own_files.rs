//! Files that users downloaded themselves, under the names that they are distributed by.

use std::fs;

use crate::dataset::{self, TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS};
use crate::launch::{Scene, json, loss_by_epoch};

const SHORT: [&str; 5] = ["train", "--loss", "joint", "--epochs", "1"];

/// The labels in EMNIST's letters that the classes of the small data set get here.
const LETTERS: [u8; 3] = [1, 2, 26];

/// A scene whose data is that of EMNIST's `split`, by its names and stored as it is.
fn emnist(split: &str) -> Scene {
    let scene = Scene::empty();
    add_emnist(&scene, split);
    scene
}

fn add_emnist(scene: &Scene, split: &str) {
    let data = scene.data();
    let write = |part: &str, bytes: &[u8]| {
        dataset::write_gzipped(&data, &format!("emnist-{split}-{part}"), bytes);
    };
    for (set, count) in [("train", 48), ("test", 12)] {
        let images = dataset::by_columns(&dataset::images(count));
        write(&format!("{set}-images-idx3-ubyte"), &images);
        let labels = dataset::relabelled(&dataset::labels(count), LETTERS);
        write(&format!("{set}-labels-idx1-ubyte"), &labels);
    }
    let mapping = data.join(format!("emnist-{split}-mapping.txt"));
    fs::write(mapping, "1 65 97\n2 66 98\n26 90 122\n").unwrap();
}

#[test]
fn the_letters_of_emnist_are_the_classes_that_occur_with_their_names() {
    let scene = emnist("letters");
    scene.launch(&["--epochs", "1"]).printed();
    let classes = serde_json::json!([
        {"label": 1, "name": "Aa"},
        {"label": 2, "name": "Bb"},
        {"label": 26, "name": "Zz"},
    ]);
    assert_eq!(json(&scene.out().join("results.json"))["classes"], classes);
    let joint = scene.out().join("joint-seed-1");
    let state = json(&joint.join("checkpoints/epoch-0001/state.json"));
    assert_eq!(state["classes"], classes);

    let arguments = ["evaluate", "--run", &joint.display().to_string()];
    let printed = scene.run(&arguments).printed();
    for name in ["Aa", "Bb", "Zz", "12 test samples"] {
        assert!(printed.contains(name), "{name}: {printed}");
    }
}

#[test]
fn images_of_emnist_are_read_upright() {
    let upright = Scene::new();
    upright.launch(&SHORT).printed();
    let expected = loss_by_epoch(&upright.out());

    let scene = emnist("letters");
    let losses = |name: &str, transpose: &[&str]| {
        let out = scene.out().join(name);
        scene
            .launch_into(&out, &[&SHORT[..], transpose].concat())
            .printed();
        loss_by_epoch(&out)
    };
    assert_eq!(losses("by-name", &[]), expected);
    assert_eq!(losses("told", &["--transpose"]), expected);
    assert_ne!(losses("told-not", &["--transpose=false"]), expected);

    let other_names = Scene::new();
    for (name, count) in [(TRAIN_IMAGES, 48), (TEST_IMAGES, 12)] {
        let images = dataset::by_columns(&dataset::images(count));
        fs::write(other_names.data().join(name), images).unwrap();
    }
    other_names
        .launch(&[&SHORT[..], &["--transpose"]].concat())
        .printed();
    assert_eq!(loss_by_epoch(&other_names.out()), expected);
}

#[test]
fn copies_with_a_dot_in_their_names_are_read() {
    let scene = Scene::empty();
    for (name, bytes) in [
        (TRAIN_IMAGES, dataset::images(48)),
        (TRAIN_LABELS, dataset::labels(48)),
        (TEST_IMAGES, dataset::images(12)),
        (TEST_LABELS, dataset::labels(12)),
    ] {
        let dotted = name.replace("-idx", ".idx");
        fs::write(scene.data().join(dotted), bytes).unwrap();
    }
    scene.launch(&SHORT).printed();
}

#[test]
fn of_several_splits_one_is_chosen_and_remembered() {
    let scene = emnist("letters");
    add_emnist(&scene, "balanced");
    let fault = scene.launch(&SHORT).fault();
    for part in ["balanced, letters", "--split"] {
        assert!(fault.contains(part), "{part}: {fault}");
    }
    assert!(!scene.out().exists(), "something was written");

    scene
        .launch(&[&SHORT[..], &["--split", "balanced"]].concat())
        .printed();
    let run = scene.out().display().to_string();
    scene.run(&["evaluate", "--run", &run]).printed();
    scene.run(&["train", "--resume", &run]).printed();
    let arguments = ["evaluate", "--run", &run, "--split", "digits"];
    let fault = scene.run(&arguments).fault();
    assert!(fault.contains("--split digits"), "{fault}");
}

#[test]
fn a_run_is_not_evaluated_on_data_with_other_labels() {
    let scene = emnist("letters");
    scene.launch(&SHORT).printed();
    let run = scene.out().display().to_string();
    let digits = Scene::new();
    let data = digits.data().display().to_string();
    let arguments = ["evaluate", "--run", &run, "--data-dir", &data];
    let fault = scene.run(&arguments).fault();
    for part in ["labels 1 2 26", "labels 0 1 2"] {
        assert!(fault.contains(part), "{part}: {fault}");
    }
}

#[test]
fn the_data_of_a_run_is_found_from_everywhere_and_has_its_size() {
    let scene = Scene::new();
    let out = scene.out().display().to_string();
    let mut command =
        scene.command(&[&SHORT[..], &["--data-dir", "data", "--out-dir", &out]].concat());
    assert!(command.output().unwrap().status.success());
    let elsewhere = tempfile::tempdir().unwrap();
    let mut command = scene.command(&["evaluate", "--run", &out]);
    assert!(
        command
            .current_dir(&elsewhere)
            .output()
            .unwrap()
            .status
            .success()
    );
    let report = fs::read_to_string(scene.out().join("report.html")).unwrap();
    assert!(
        report.contains("LeNet++ on data"),
        "the title is of other data"
    );

    // Of twice the size, and once shrunk again of the same.
    let large = Scene::new();
    for (name, count) in [(TRAIN_IMAGES, 48), (TEST_IMAGES, 12)] {
        fs::write(
            large.data().join(name),
            dataset::doubled(&dataset::images(count)),
        )
        .unwrap();
    }
    let data = large.data().display().to_string();
    let fault = scene
        .run(&["evaluate", "--run", &out, "--data-dir", &data])
        .fault();
    assert!(
        fault.contains("images of 16x16, but the run was trained on images of 8x8"),
        "{fault}"
    );
    let center = ["train", "--loss", "center", "--from", &out];
    let fault = large.launch(&center).fault();
    assert!(fault.contains("does not fit"), "{fault}");
}

#[test]
fn a_label_that_was_not_trained_is_named() {
    let scene = Scene::new();
    let labels = dataset::relabelled(&dataset::labels(12), [0, 1, 9]);
    dataset::write_gzipped(&scene.data(), TEST_LABELS, &labels);
    let fault = scene.launch(&SHORT).fault();
    for part in [TEST_LABELS, "label 9 at index 2", "labels 0 1 2"] {
        assert!(fault.contains(part), "{part}: {fault}");
    }
}

#[test]
fn the_data_sets_are_named_in_help() {
    let help = Scene::empty().run(&["--help"]).printed();
    for name in [
        "Fashion-MNIST",
        "KMNIST",
        "EMNIST",
        "--split",
        "--transpose",
    ] {
        assert!(help.contains(name), "{name}: {help}");
    }
    let words = Vec::from_iter(help.split_whitespace()).join(" ");
    for part in [
        "Examples:",
        "presets for joint: quick: 32, full: 64",
        "presets for joint: quick: 16000, full: all",
        "[default",
    ] {
        assert!(words.contains(part), "{part}: {help}");
    }
    let longest = help.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(longest <= 100, "{longest} columns: {help}");
}
