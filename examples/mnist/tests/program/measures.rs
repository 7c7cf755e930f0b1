//! Retrieval, verification, open sets, and the gallery.

use std::fs;

use crate::dataset;
use crate::launch::{Scene, json};

const SHORT: [&str; 4] = ["--epochs", "1", "--batch-size", "8"];

/// Trains with `loss`, with more `arguments`, and returns the directory of the run.
fn trained(scene: &Scene, loss: &str, arguments: &[&str]) -> String {
    let run = scene.out().join(loss);
    let arguments = [&["train", "--loss", loss], &SHORT[..], arguments].concat();
    scene.launch_into(&run, &arguments).printed();
    run.display().to_string()
}

fn assert_parts(printed: &str, parts: &[&str]) {
    for part in parts {
        assert!(printed.contains(part), "{part:?} is not in: {printed}");
    }
}

#[test]
fn retrieval_compares_each_test_sample_with_the_others() {
    let scene = Scene::new();
    for (loss, metric) in [("joint", "by Euclidean"), ("arcface", "by cosine")] {
        let run = trained(&scene, loss, &[]);
        let evaluate = ["evaluate", "--run", &run, "--method", "retrieval"];
        let printed = scene.run(&evaluate).printed();
        let parts = [
            loss,
            "12 test samples",
            metric,
            "precision@5",
            "R-precision",
            "MAP@R",
        ];
        assert_parts(&printed, &parts);
        let printed = scene
            .run(&[&evaluate[..], &["--k", "3"]].concat())
            .printed();
        assert_parts(
            &printed,
            &["recall@3", "12 queries with a match\n0 without"],
        );
        let fault = scene.run(&[&evaluate[..], &["--k", "12"]].concat()).fault();
        assert_parts(&fault, &["--k 12"]);
    }
}

#[test]
fn verification_pairs_the_test_samples_and_draws_a_curve() {
    let scene = Scene::new();
    let run = trained(&scene, "cosface", &[]);
    let evaluate = ["evaluate", "--run", &run, "--method", "verification"];
    let printed = scene.run(&evaluate).printed();
    // Twelve samples of three classes: three times six pairs of one class, of 66 in all.
    let parts = [
        "18 of one class and 48 of different classes",
        "equal error rate",
        "minDCF",
        "Report: ",
    ];
    assert_parts(&printed, &parts);
    let curve = json(&scene.out().join("cosface/roc-verification.json"));
    let points = curve["series"][0]["points"].as_array().unwrap();
    assert_eq!(
        (&points[0], &points[points.len() - 1]),
        (
            &serde_json::json!([0.0, 0.0]),
            &serde_json::json!([1.0, 1.0])
        )
    );
    let report = fs::read_to_string(scene.out().join("cosface/report.html")).unwrap();
    assert_parts(&report, &["Verification: "]);
    let fault = scene.run(&[&evaluate[..], &["--k", "3"]].concat()).fault();
    assert_parts(&fault, &["--k: has no effect", "--method"]);
}

#[test]
fn classes_that_were_left_out_are_the_unknown() {
    let scene = Scene::new();
    let run = trained(&scene, "joint", &["--unknown-classes", "1"]);
    let metrics = fs::read_to_string(scene.out().join("joint/metrics.jsonl")).unwrap();
    // 32 training samples of two classes without the 16 of validation: two batches of eight.
    assert_parts(&metrics, &["\"step\":2"]);
    let evaluate = ["evaluate", "--run", &run, "--method", "open-set"];
    let printed = scene.run(&evaluate).printed();
    let parts = [
        "8 test samples of 2 known classes and 4 unknown samples",
        "AUROC",
        "class probability",
        "largest class score",
        "nearest center",
        "k-th neighbor",
    ];
    assert_parts(&printed, &parts);
    let curves = json(&scene.out().join("joint/roc-open-set.json"));
    assert_eq!(curves["series"].as_array().unwrap().len(), 4);
    let report = fs::read_to_string(scene.out().join("joint/report.html")).unwrap();
    assert_parts(&report, &["Open set: "]);
}

#[test]
fn the_test_files_of_another_data_set_are_the_unknown() {
    let scene = Scene::new();
    let run = trained(&scene, "softmax", &[]);
    let other = scene.out().join("other");
    dataset::write(&other);
    let other = other.display().to_string();
    let evaluate = ["evaluate", "--run", &run, "--method"];
    let open_set = [&evaluate[..], &["open-set"]].concat();
    let printed = scene
        .run(&[&open_set[..], &["--unknown-data", &other]].concat())
        .printed();
    assert_parts(
        &printed,
        &["12 test samples of 3 known classes and 12 unknown samples"],
    );
    // The unknown samples are the known ones, so that no score tells them apart.
    assert_parts(&printed, &["0.5000"]);
    assert!(!printed.contains("nearest center"), "{printed}");

    let fault = scene.run(&open_set).fault();
    assert_parts(
        &fault,
        &["--method open-set", "--unknown-data", "--unknown-classes"],
    );
    let fault = scene
        .run(&[&evaluate[..], &["knn", "--unknown-data", &other]].concat())
        .fault();
    assert_parts(&fault, &["--unknown-data: has no effect"]);
    // Those of EMNIST, which are stored column by column, in one of several splits, without training files.
    let letters = Scene::empty();
    for split in ["letters", "digits"] {
        let images = dataset::by_columns(&dataset::images(12));
        let name = format!("emnist-{split}-{{}}");
        dataset::write_gzipped(
            &letters.data(),
            &name.replace("{}", "test-images-idx3-ubyte"),
            &images,
        );
        let labels = dataset::labels(12);
        dataset::write_gzipped(
            &letters.data(),
            &name.replace("{}", "test-labels-idx1-ubyte"),
            &labels,
        );
    }
    let letters = letters.data().display().to_string();
    let unknown = [
        "--unknown-data",
        &letters,
        "--split",
        "letters",
        "--transpose",
    ];
    let printed = scene.run(&[&open_set[..], &unknown].concat()).printed();
    assert_parts(&printed, &["0.5000"]);
    let fault = scene.run(&[&open_set[..], &unknown[..2]].concat()).fault();
    assert_parts(&fault, &["--unknown-data", "digits, letters"]);

    let empty = scene.out().join("softmax/maps").display().to_string();
    let fault = scene
        .run(&[&open_set[..], &["--unknown-data", &empty]].concat())
        .fault();
    assert_parts(&fault, &["--unknown-data", "idx3-ubyte"]);
}

#[test]
fn impossible_unknown_classes_are_named() {
    let scene = Scene::new();
    let data = scene.data();
    dataset::write_gzipped(
        &data,
        dataset::TEST_LABELS,
        &dataset::relabelled(&dataset::labels(12), [0, 1, 1]),
    );
    for (classes, rule) in [
        ("7", "7 is no class of the data, whose labels are 0 1 2"),
        (
            "0,1",
            "leaves 1 of 3 classes, but a network needs at least two",
        ),
        ("300", "'300'"),
        ("2", "there are no test samples of [2]"),
    ] {
        let arguments = ["train", "--loss", "softmax", "--unknown-classes", classes];
        let fault = scene.launch(&arguments).fault();
        assert_parts(&fault, &["--unknown-classes", rule]);
        assert!(!scene.out().exists(), "something was written");
    }
}

#[test]
fn the_protocol_for_open_sets_is_a_mean_over_random_splits() {
    let scene = Scene::new();
    let protocol = [
        "open-set",
        "--known",
        "2",
        "--splits",
        "2",
        "--feature-dims",
        "2,3",
        "--losses",
        "center",
    ];
    let printed = scene.launch(&[&protocol[..], &SHORT].concat()).printed();
    assert_parts(&printed, &["joint", "center", "±", "over 2 random splits"]);
    let results = json(&scene.out().join("results.json"));
    let rows = results["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    assert!(
        rows.iter()
            .all(|row| row["runs"].as_array().unwrap().len() == 2)
    );

    let last = scene.out().join("center-3-features-seed-2");
    fs::remove_dir_all(&last).unwrap();
    let out = scene.out().display().to_string();
    let resumed = scene.run(&["open-set", "--resume", &out]).printed();
    assert_eq!(resumed, printed);
    assert!(last.join("metrics.jsonl").is_file());
}

#[test]
fn an_impossible_protocol_is_named() {
    let scene = Scene::new();
    for (arguments, parts) in [
        (
            &["--known", "3"][..],
            &["--known is 3", "below the number of classes, 3"][..],
        ),
        (&["--known", "1"], &["--known", "from 2 to 256"]),
        (
            &["--known", "2", "--feature-dim", "2"],
            &["--feature-dim: has no effect", "--feature-dims"],
        ),
        (
            &["--known", "2", "--unknown-classes", "1"],
            &["--unknown-classes: has no effect"],
        ),
        (
            &["--known", "2", "--losses", "softmax", "--lambda", "1"],
            &["--lambda: has no effect"],
        ),
        (&["--splits", "0"], &["--splits", "0"]),
        (&["--feature-dims", "0"], &["--feature-dims", "from 1 on"]),
    ] {
        let fault = scene.launch(&[&["open-set"], arguments].concat()).fault();
        assert_parts(&fault, parts);
        assert!(!scene.out().exists(), "something was written");
    }
}

#[test]
fn a_gallery_shows_the_losses_side_by_side() {
    let scene = Scene::new();
    let losses = ["compare", "--losses", "softmax,center,arcface"];
    let printed = scene.launch(&[&losses[..], &SHORT].concat()).printed();
    assert_parts(
        &printed,
        &["R-precision", "between / within", "arcface", "joint"],
    );
    let picture = fs::read(scene.out().join("gallery.png")).unwrap();
    assert!(picture.starts_with(b"\x89PNG"));
    let results = json(&scene.out().join("results.json"));
    let rows = results["rows"].as_array().unwrap();
    let names: Vec<&str> = rows
        .iter()
        .map(|row| row["loss"].as_str().unwrap())
        .collect();
    // Center goes on from joint, which is shown as well.
    assert_eq!(names, ["softmax", "joint", "center", "arcface"]);
    for row in rows {
        assert_eq!(row["runs"][0]["images"], 24);
        let precision = row["runs"][0]["separation"]["r_precision"]
            .as_f64()
            .unwrap();
        assert!((0.0..=1.0).contains(&precision));
    }
    let out = scene.out().display().to_string();
    let resumed = scene.run(&["compare", "--resume", &out]).printed();
    assert_eq!(resumed, printed);
}

#[test]
fn a_gallery_of_unknown_losses_is_refused() {
    let scene = Scene::new();
    let fault = scene
        .launch(&["compare", "--losses", "softmax,hinge"])
        .fault();
    assert_parts(&fault, &["--losses", "hinge"]);
    // A single test sample has no others to be compared with.
    let one = ["compare", "--losses", "softmax", "--test-size", "1"];
    let printed = scene
        .launch_into(&scene.data().join("one"), &[&one[..], &SHORT].concat())
        .printed();
    assert!(!printed.contains("NaN"), "{printed}");
    let fault = scene
        .launch(&["compare", "--losses", "softmax", "--margin", "0.1"])
        .fault();
    assert_parts(&fault, &["--margin: has no effect", "softmax"]);
    assert!(!scene.out().exists(), "something was written");
}
