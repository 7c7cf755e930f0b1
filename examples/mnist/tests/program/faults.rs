//! What the program says when it cannot do its work.

use std::fs;

use crate::dataset::{self, TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS};
use crate::launch::Scene;

/// Asserts that the main job fails with a complaint that holds all of `parts`, and writes nothing.
fn assert_fault(scene: &Scene, arguments: &[&str], parts: &[&str]) {
    let fault = scene.launch(arguments).fault();
    for part in parts {
        assert!(fault.contains(part), "{part:?} is not in: {fault}");
    }
    assert!(!scene.out().exists(), "something was written");
}

#[test]
fn a_bad_option_is_named() {
    let scene = Scene::new();
    assert_fault(&scene, &["--no-such-option"], &["--no-such-option"]);
    assert_fault(&scene, &["--epochs", "many"], &["--epochs", "many"]);
    assert_fault(&scene, &["--lr", "-1"], &["--lr"]);
    assert_fault(
        &scene,
        &["--update-rule", "best"],
        &["--update-rule", "paper"],
    );
    assert_fault(&scene, &["train"], &["--loss"]);
    assert_fault(&scene, &["--device", "abacus"], &["--device", "abacus"]);
    // What sounds alike is of no help.
    let fault = scene.launch(&["--preset", "full"]).fault();
    assert!(fault.contains("unexpected argument '--preset'"), "{fault}");
    assert!(!fault.contains("tip:"), "{fault}");
}

#[test]
fn a_value_out_of_its_range_is_named_with_the_rule() {
    let scene = Scene::new();
    for (option, value, rule) in [
        ("--epochs", "0", "a whole number from 1 on"),
        ("--batch-size", "0", "a whole number from 1 on"),
        ("--lr", "2", "above 0 and at most 1"),
        ("--class-rate", "0", "a finite number above 0"),
        ("--clip", "0", "a finite number above 0"),
        ("--softmax-start", "2", "from 0 to 1"),
        ("--lambda", "-1", "a finite number from 0 on"),
        ("--lambda-warmup", "2", "from 0 to 1"),
        ("--alpha", "inf", "a finite number from 0 on"),
        ("--scale", "0", "a finite number above 0"),
        ("--margin", "-0.1", "a finite number from 0 on"),
        ("--margin-warmup", "NaN", "from 0 to 1"),
        ("--feature-dim", "0", "a whole number from 1 on"),
        ("--shift", "5", "a whole number from 0 to 4"),
        ("--shrink", "5", "a whole number from 1 to 4"),
        ("--train-size", "0", "a whole number from 1 on"),
        ("--validation-size", "0", "a whole number from 1 on"),
        ("--test-size", "0", "a whole number from 1 on"),
    ] {
        let parts = [option, &format!("'{value}'"), rule];
        let arguments = ["train", "--loss", "softmax", option, value];
        assert_fault(&scene, &arguments, &parts);
    }
}

#[test]
fn images_that_are_too_small_are_named() {
    let scene = Scene::new();
    let mut images = dataset::images(48);
    // Four times as many images of 4 x 4 pixels.
    images[7] = 192;
    (images[11], images[15]) = (4, 4);
    fs::write(scene.data().join(TRAIN_IMAGES), images).unwrap();
    dataset::write_gzipped(&scene.data(), TRAIN_LABELS, &dataset::labels(192));
    assert_fault(&scene, &[], &[TRAIN_IMAGES, "4x4", "at least 8x8"]);
}

#[test]
fn a_margin_that_the_loss_cannot_have_is_named() {
    let scene = Scene::new();
    for (loss, margin, rule) in [
        ("arcface", "28.6", "in radians"),
        ("sphereface", "1.5", "a whole number"),
        ("sphereface", "0", "at least 1"),
    ] {
        let arguments = ["train", "--loss", loss, "--margin", margin];
        assert_fault(&scene, &arguments, &["--margin", margin, rule]);
    }
}

#[test]
fn an_option_that_the_loss_does_not_have_is_named() {
    let scene = Scene::new();
    for (loss, option, value) in [
        ("softmax", "--lambda", "0.1"),
        ("softmax", "--class-balance", "histogram"),
        ("softmax", "--scale", "2"),
        ("joint", "--margin", "0.1"),
        ("center", "--alpha", "0.1"),
        ("center", "--update-rule", "mean"),
        ("arcface", "--lambda-warmup", "0.1"),
        ("normalized-softmax", "--margin", "0.1"),
        ("sphereface", "--margin-warmup", "0.1"),
        ("proxy-anchor", "--class-balance", "histogram"),
    ] {
        let arguments = ["train", "--loss", loss, option, value];
        let complaint = format!("{option}: has no effect with --loss {loss}");
        assert_fault(&scene, &arguments, &[&complaint]);
    }
    // A comparison refuses what none of its losses has.
    assert_fault(&scene, &["--margin", "0.1"], &["--margin: has no effect"]);
}

#[cfg(not(feature = "wgpu"))]
#[test]
fn a_device_that_was_not_built_is_an_error_with_a_way_out() {
    let parts = ["--device wgpu", "--features wgpu", "--device flex"];
    assert_fault(&Scene::new(), &["--device", "wgpu"], &parts);
}

#[test]
fn missing_data_is_named() {
    let scene = Scene::new();
    fs::remove_file(scene.data().join(format!("{TEST_LABELS}.gz"))).unwrap();
    assert_fault(&scene, &[], &[TEST_LABELS, "--data-dir"]);
}

#[test]
fn truncated_data_is_named() {
    let scene = Scene::new();
    let bytes = dataset::images(48);
    fs::write(scene.data().join(TRAIN_IMAGES), &bytes[..bytes.len() - 1]).unwrap();
    assert_fault(&scene, &[], &[TRAIN_IMAGES, "truncated"]);

    let scene = Scene::new();
    let zipped = scene.data().join(format!("{TEST_IMAGES}.gz"));
    let bytes = fs::read(&zipped).unwrap();
    fs::write(&zipped, &bytes[..bytes.len() / 2]).unwrap();
    assert_fault(&scene, &[], &[TEST_IMAGES, "truncated or corrupt gzip"]);
}

#[test]
fn wrong_data_is_named() {
    let scene = Scene::new();
    fs::write(scene.data().join(TRAIN_IMAGES), dataset::labels(48)).unwrap();
    assert_fault(&scene, &[], &[TRAIN_IMAGES, "not an image file"]);

    let scene = Scene::new();
    dataset::write_gzipped(&scene.data(), TEST_LABELS, &dataset::labels(11));
    assert_fault(&scene, &[], &[TEST_LABELS, "11 labels for 12 images"]);
}

#[test]
fn an_unusable_out_dir_is_named() {
    let scene = Scene::new();
    let file = scene.data().join(TRAIN_IMAGES);
    let fault = scene.launch_into(&file.join("below"), &[]).fault();
    assert!(fault.contains("--out-dir"), "{fault}");
    let fault = scene.launch_into(&scene.data(), &[]).fault();
    assert!(fault.contains("not empty"), "{fault}");
}

#[test]
fn a_training_that_diverges_says_so() {
    let scene = Scene::new();
    let arguments = ["train", "--loss", "joint", "--batch-size", "1"];
    let wild = ["--update-rule", "sum", "--alpha", "1e9"];
    let fault = scene.launch(&[&arguments[..], &wild].concat()).fault();
    assert!(fault.contains("finite"), "{fault}");
}
