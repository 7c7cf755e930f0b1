//! The report: read as a file, and used in a real browser.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::launch::Scene;

/// Looks at the page in windows of several widths.
const WIDTHS: &str = include_str!("widths.html");

/// Collects the errors of the page, to be put in front of its own scripts.
const FAULTS: &str = "<script>window.faults = []; addEventListener('error', (event) => faults.push(event.message), true);</script>";

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

/// The report with what collects its errors.
fn watched(page: &Path) -> String {
    let html = fs::read_to_string(page).unwrap();
    html.replace("<head>", &format!("<head>{FAULTS}"))
}

/// What a visitor of the page sees, or `None` without a browser.
fn visit(page: &Path) -> Option<Vec<String>> {
    let html = watched(page).replace("</body>", &format!("{VISITOR}</body>"));
    browse(page, &html, &[])
}

/// What a visitor sees in windows of several widths, or `None` without a browser.
fn visit_with_widths(page: &Path, options: &[&str]) -> Option<Vec<String>> {
    let report = serde_json::to_string(&watched(page)).unwrap();
    let html = WIDTHS.replace("{{report}}", &report.replace('<', "\\u003c"));
    browse(page, &html, options)
}

/// What the script in `html`, put beside `page`, leaves in the document, or `None` without a browser.
fn browse(page: &Path, html: &str, options: &[&str]) -> Option<Vec<String>> {
    let Some(browser) = browser() else {
        eprintln!("SKIPPED: no Chromium in PATH, the report was not opened in a browser");
        return None;
    };
    let visited = page.with_file_name("visited.html");
    fs::write(&visited, html).unwrap();
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
        .args(options)
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

/// Asserts that the page loads nothing, and shows the last epoch of every run without its script.
fn assert_whole(page: &Path) {
    let html = fs::read_to_string(page).unwrap();
    for link in ["http:", "https:", "src=\"h", "href=", "@import", "url("] {
        assert!(!html.contains(link), "{link}");
    }
    assert_eq!(html.matches("class=\"shown\" data-set=\"test\"").count(), 3);
    assert_eq!(html.matches("class=\"shown\"").count(), 3);
    assert_eq!(html.matches("<p class=\"notes\">Epoch 2: loss").count(), 3);
}

/// Asserts that a visitor finds what there is in three runs of two epochs.
fn assert_usable(page: &Path) {
    let Some(seen) = visit(page) else {
        return;
    };
    let shown = |set: &str, epoch: usize, run: &str| {
        format!("Features of the {set} samples, {run}, seed 1, epoch {epoch}")
    };
    let all = |set: &str, epoch: usize| {
        let maps = ["softmax", "joint", "center"].map(|run| shown(set, epoch, run));
        format!("{}|647|{epoch} of 2", maps.join(";"))
    };
    // The lines in the legend and in the picture.
    let curves = "curves|loss 1/1, accuracy 3/3, loss 1/1, accuracy 4/4, loss 1/1, accuracy 4/4";
    // The head and three losses, by the loss, its images, three methods and two measures.
    let cells = "cells|28";
    assert_eq!(seen[..3], [all("test", 2), all("test", 1), all("train", 1)]);
    assert_eq!(seen[3..5], [curves, cells]);
    assert!(!seen[5].ends_with("|0"), "no settings");
    assert_eq!(seen[6], "faults|");
}

fn assert_fits_every_window(page: &Path) {
    for (scheme, paper) in [(1, "255, 255, 255"), (0, "0, 0, 0")] {
        let option = format!("--blink-settings=preferredColorScheme={scheme}");
        let Some(seen) = visit_with_widths(page, &[&option]) else {
            return;
        };
        let fits = |width: u32| {
            format!("{width}|beyond the window 0|cut |legible|unreachable |rgb({paper})|faults ")
        };
        assert_eq!(seen, [320, 420, 780, 1440].map(fits));
    }
}

#[test]
fn the_report_of_a_comparison_can_be_used_in_every_window_by_day_and_by_night() {
    let scene = Scene::new();
    let printed = scene
        .launch(&["--epochs", "2", "--batch-size", "8"])
        .printed();
    let page = scene.out().join("report.html");
    assert!(printed.contains(&page.display().to_string()), "{printed}");
    assert_whole(&page);
    assert_usable(&page);
    assert_fits_every_window(&page);
}

#[test]
fn the_report_of_a_single_run_can_be_used() {
    let scene = Scene::new();
    let arguments = ["train", "--loss", "softmax", "--epochs", "2"];
    scene.launch(&arguments).printed();
    let run = scene.out().display().to_string();
    let evaluate = ["evaluate", "--run", &run, "--method", "verification"];
    scene.run(&evaluate).printed();
    let Some(seen) = visit(&scene.out().join("report.html")) else {
        return;
    };
    let first = "Features of the test samples, softmax, seed 1, epoch 2|647|2 of 2";
    assert_eq!(seen[0], first);
    let verification = "Verification: are two test samples of one class? 1/1";
    assert_eq!(
        seen[3],
        format!("curves|loss 1/1, accuracy 3/3, {verification}")
    );
    assert_eq!(seen[4], "cells|0");
    assert_eq!(seen[6], "faults|");
}
