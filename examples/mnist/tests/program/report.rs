//! The report: read as a file, and used in a real browser.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::launch::Scene;

/// Works the page's controls as a person would, and leaves what was then to be seen in the document.
const VISITOR: &str = include_str!("visitor.html");

/// The browser, by the name it has on this system.
fn browser() -> Option<&'static str> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    names.into_iter().find(|name| {
        let version = Command::new(name).arg("--version").output();
        version.is_ok_and(|output| output.status.success())
    })
}

/// What a visitor of the page sees, or `None` without a browser.
fn visit(page: &Path) -> Option<Vec<String>> {
    let Some(browser) = browser() else {
        eprintln!("SKIPPED: no Chromium in PATH, the report was not opened in a browser");
        return None;
    };
    let html = fs::read_to_string(page).unwrap();
    let visited = page.with_file_name("visited.html");
    fs::write(
        &visited,
        html.replace("</body>", &format!("{VISITOR}</body>")),
    )
    .unwrap();
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ])
        .args([
            "--virtual-time-budget=20000",
            "--host-resolver-rules=MAP * ~NOTFOUND",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg("--dump-dom")
        .arg(format!("file://{}", visited.display()))
        .output()
        .unwrap();
    let document = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    let (_, rest) = document
        .split_once(r#"<pre id="visitor">"#)
        .unwrap_or_else(|| panic!("the visitor was stopped: {complaint}\n{document:.2000}"));
    let (seen, _) = rest.split_once("</pre>").unwrap();
    Some(seen.lines().map(str::to_owned).collect())
}

#[test]
fn the_report_loads_nothing() {
    let scene = Scene::new();
    scene.launch(&["--epochs", "1"]).printed();
    let html = fs::read_to_string(scene.out().join("report.html")).unwrap();
    for link in ["http:", "https:", "src=\"", "href=", "@import", "url("] {
        assert!(!html.contains(link), "{link}");
    }
}

#[test]
fn the_report_of_a_comparison_can_be_used() {
    let scene = Scene::new();
    let printed = scene
        .launch(&["--epochs", "2", "--batch-size", "8"])
        .printed();
    let page = scene.out().join("report.html");
    assert!(printed.contains(&page.display().to_string()), "{printed}");
    let Some(seen) = visit(&page) else {
        return;
    };
    assert_eq!(
        seen[..6],
        [
            "Features of the test samples, joint, seed 1, epoch 2|640|2 of 2",
            "Features of the test samples, joint, seed 1, epoch 1|640|1 of 2",
            "Features of the train samples, joint, seed 1, epoch 1|640|1 of 2",
            "Features of the train samples, softmax, seed 1, epoch 2|640|2 of 2",
            "curves|960",
            // The head and three losses, by the loss, its images and three methods.
            "cells|20",
        ]
    );
    assert!(!seen[6].ends_with("|0"), "no settings");
}

#[test]
fn the_report_of_a_single_run_can_be_used() {
    let scene = Scene::new();
    let arguments = ["train", "--loss", "softmax", "--epochs", "3"];
    scene.launch(&arguments).printed();
    let Some(seen) = visit(&scene.out().join("report.html")) else {
        return;
    };
    let last = "Features of the train samples, softmax, seed 1, epoch 3|640|3 of 3";
    assert_eq!(seen[3], last);
    assert_eq!(seen[5], "cells|0");
}
