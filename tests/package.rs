//! The published package holds what its README links to, and nothing that does not belong there.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// The files of the package, as cargo lists them.
fn packaged() -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["package", "--list", "--allow-dirty", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let list = String::from_utf8(output.stdout).expect("paths are UTF-8");
    list.lines().map(|line| line.replace('\\', "/")).collect()
}

/// The targets of the Markdown links and pictures in a text, without what follows `#`.
fn links(text: &str) -> Vec<&str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter_map(|target| target.split('#').next())
        .filter(|target| !target.is_empty() && !target.contains("://"))
        .collect()
}

#[test]
fn readme_and_documents_link_to_files_of_the_package() {
    let packaged = packaged();
    let documents = packaged.iter().filter(|path| path.ends_with(".md"));
    for document in documents {
        let folder = Path::new(document).parent().expect("a file is in a folder");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
        let text = std::fs::read_to_string(&path).expect("a packaged document can be read");
        for link in links(&text) {
            let mut target: Vec<&str> = folder.iter().filter_map(|part| part.to_str()).collect();
            for part in link.split('/') {
                match part {
                    "." => {}
                    ".." => {
                        target.pop();
                    }
                    part => target.push(part),
                }
            }
            let target = target.join("/");
            assert!(packaged.contains(&target), "{document} links to {link}");
        }
    }
}

#[test]
fn the_package_holds_the_crate_and_its_documents() {
    let packaged = packaged();
    for needed in [
        "README.md",
        "CHANGELOG.md",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "docs/architecture.md",
        "docs/training.md",
        "src/lib.rs",
    ] {
        assert!(packaged.contains(needed), "{needed} is missing");
    }
    for path in &packaged {
        let belongs = ["src/", "tests/", "benches/", "docs/", "examples/"]
            .iter()
            .any(|folder| path.starts_with(folder))
            || !path.contains('/');
        assert!(belongs, "{path} does not belong into the package");
    }
}
