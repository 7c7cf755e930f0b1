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
    let inline = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let definitions = text
        .lines()
        .filter(|line| line.starts_with('['))
        .filter_map(|line| line.split_once("]: "))
        .map(|(_, target)| target);
    inline
        .chain(definitions)
        .filter_map(|target| target.split('#').next())
        .filter(|target| !target.is_empty() && !target.contains("://"))
        .collect()
}

/// A document that is packaged beside this crate.
fn document(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).expect("a document can be read")
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

#[test]
fn the_program_of_the_readme_is_whole_and_the_readme_is_short() {
    let readme = document("README.md");
    assert!(readme.lines().count() <= 120, "README is one page");
    let (_, program) = readme.split_once("```rust\n").expect("a program");
    let (program, _) = program.split_once("```").expect("its end");
    assert!(program.contains("fn main()"));
    // Lines that rustdoc hides are seen by all other readers.
    assert!(
        !program
            .lines()
            .any(|line| line == "#" || line.starts_with("# "))
    );
}

#[test]
fn documents_give_one_time_for_one_case() {
    let performance = document("docs/performance.md");
    let readme = document("README.md");
    let (_, table) = readme
        .split_once("<!-- peers.py --write, short: from here -->")
        .expect("the mark of the short table");
    let rows: Vec<&str> = table
        .lines()
        .skip_while(|line| !line.starts_with("| ---"))
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert!(rows.len() >= 3, "{rows:?}");
    for row in rows {
        // The long table has one column more.
        let is_there = performance.lines().any(|line| line.starts_with(row));
        assert!(is_there, "docs/performance.md has not: {row}");
    }
}

/// A page on its own, as on the web, shows the lines that rustdoc hides.
#[test]
fn code_of_documents_has_no_hidden_lines() {
    for path in packaged()
        .iter()
        .filter(|path| path.starts_with("docs/") && path.ends_with(".md"))
    {
        let text = document(path);
        let hidden = text
            .split("```rust\n")
            .skip(1)
            .filter_map(|block| block.split("```").next())
            .flat_map(str::lines)
            .find(|line| line.starts_with("# "));
        assert_eq!(hidden, None, "{path}");
    }
}
