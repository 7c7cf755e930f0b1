//! Finding the files of a data set by the names under which such files are distributed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::source::Source;

/// The prefix of EMNIST's files, whose images are stored column by column.
const EMNIST: &str = "emnist-";

/// Training or test files: the words for them in names, the most usual one first.
pub type Set = &'static [&'static str];
pub const TRAIN: Set = &["train"];
pub const TEST: Set = &["t10k", "test"];

/// The words for the kind of a file.
pub const IMAGES: &str = "images-idx3";
pub const LABELS: &str = "labels-idx1";
const KINDS: [&str; 2] = [IMAGES, LABELS];

/// The files of one split.
#[derive(Debug)]
pub struct Files {
    directory: PathBuf,
    prefix: String,
    /// Whether rows and columns of the images have to be exchanged.
    pub transpose: bool,
}

/// The names of such a file behind the prefix, the most usual one first.
fn endings(set: Set, kind: &str) -> Vec<String> {
    let mut names = Vec::new();
    for zipped in ["", ".gz"] {
        for word in set {
            let name = format!("{word}-{kind}-ubyte{zipped}");
            names.extend([name.clone(), name.replace("-idx", ".idx")]);
        }
    }
    names
}

/// The names of such a file that are there, the most usual one first.
fn named(directory: &Path, prefix: &str, set: Set, kind: &str) -> Vec<String> {
    let mut names = endings(set, kind);
    names.iter_mut().for_each(|name| name.insert_str(0, prefix));
    names.retain(|name| directory.join(name).is_file());
    names
}

/// What `--split` calls the split whose files begin with `prefix`: with the prefix of EMNIST, and without it.
fn split_names(prefix: &str) -> [&str; 2] {
    let name = prefix.trim_end_matches(['-', '_', '.']);
    [name, name.strip_prefix(EMNIST).unwrap_or(name)]
}

impl Files {
    /// The split of `source` that it names, or the only one that has the files of all `sets`.
    pub fn find(source: &Source, sets: &[Set]) -> Result<Self> {
        let (directory, place) = (&source.directory, source.directory.display());
        let entries =
            fs::read_dir(directory).with_context(|| format!("{place}: cannot be read"))?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let endings = [TRAIN, TEST]
            .map(|set| KINDS.map(|kind| endings(set, kind)).concat())
            .concat();
        let mut all = BTreeSet::new();
        for name in names {
            let prefixes = endings
                .iter()
                .filter_map(|ending| name.strip_suffix(ending));
            all.extend(prefixes.map(str::to_owned));
        }
        let listed = all.iter().map(|prefix| match split_names(prefix)[1] {
            "" => "\"\" (without a prefix)",
            name => name,
        });
        let listed = Vec::from_iter(listed).join(", ");

        let mut prefixes = Vec::from_iter(&all);
        if let Some(split) = &source.split {
            prefixes.retain(|prefix| split_names(prefix).contains(&split.as_str()));
            ensure!(
                !prefixes.is_empty(),
                "--split {split}: not among the splits in {place}: {listed}"
            );
        } else {
            let is_whole = |prefix: &&String| {
                let has = |set, kind| !named(directory, prefix, set, kind).is_empty();
                sets.iter()
                    .all(|set| KINDS.iter().all(|kind| has(set, kind)))
            };
            if prefixes.iter().any(is_whole) {
                prefixes.retain(is_whole);
            }
        }
        ensure!(
            prefixes.len() <= 1,
            "several splits in {place}: {listed}; choose one with --split"
        );
        let prefix = prefixes.pop().cloned().unwrap_or_default();
        Ok(Self {
            directory: directory.clone(),
            transpose: (source.transpose).unwrap_or(prefix.starts_with(EMNIST)),
            prefix,
        })
    }

    /// Where the file of this kind is.
    pub fn path(&self, set: Set, kind: &str) -> Result<PathBuf> {
        let (prefix, place) = (&self.prefix, self.directory.display());
        let found = named(&self.directory, prefix, set, kind);
        let Some(name) = found.first() else {
            let usual = format!("{prefix}{}-{kind}-ubyte", set[0]);
            bail!(
                "no {usual} or {usual}.gz in {place}: it must be a directory with the IDX files of MNIST, Fashion-MNIST, \
                 KMNIST or EMNIST"
            );
        };
        let word = |name: &String| name[prefix.len()..].split('-').next().map(str::to_owned);
        if let Some(other) = found.iter().find(|other| word(other) != word(name)) {
            bail!("two sets of test samples in {place}: {name} and {other}; leave one of them");
        }
        Ok(self.directory.join(name))
    }

    /// EMNIST's list of the characters that its labels stand for.
    pub fn mapping(&self) -> Option<PathBuf> {
        let path = self.directory.join(format!("{}mapping.txt", self.prefix));
        path.is_file().then_some(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with empty files of these names.
    fn directory(names: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(directory.path().join(name), b"").unwrap();
        }
        directory
    }

    fn files(directory: &tempfile::TempDir, split: Option<&str>, sets: &[Set]) -> Result<Files> {
        let source = Source {
            directory: directory.path().to_owned(),
            split: split.map(str::to_owned),
            transpose: None,
        };
        Files::find(&source, sets)
    }

    /// The names of the four files that are found.
    fn found(names: &[&str], split: Option<&str>) -> Result<Vec<String>, String> {
        let directory = directory(names);
        let paths = || -> Result<Vec<String>> {
            let files = files(&directory, split, &[TRAIN, TEST])?;
            let mut names = Vec::new();
            for set in [TRAIN, TEST] {
                for kind in [IMAGES, LABELS] {
                    let path = files.path(set, kind)?;
                    names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
                }
            }
            Ok(names)
        };
        paths().map_err(|error| format!("{error:#}"))
    }

    const MNIST: [&str; 4] = [
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
    ];
    const DOTTED: [&str; 4] = [
        "train-images.idx3-ubyte",
        "train-labels.idx1-ubyte",
        "t10k-images.idx3-ubyte",
        "t10k-labels.idx1-ubyte",
    ];
    const LETTERS: [&str; 4] = [
        "emnist-letters-train-images-idx3-ubyte.gz",
        "emnist-letters-train-labels-idx1-ubyte.gz",
        "emnist-letters-test-images-idx3-ubyte.gz",
        "emnist-letters-test-labels-idx1-ubyte.gz",
    ];
    const DIGITS: [&str; 4] = [
        "emnist-digits-train-images-idx3-ubyte",
        "emnist-digits-train-labels-idx1-ubyte",
        "emnist-digits-test-images-idx3-ubyte",
        "emnist-digits-test-labels-idx1-ubyte",
    ];

    #[test]
    fn files_are_found_by_every_distributed_name() {
        for names in [MNIST, DOTTED, LETTERS, DIGITS] {
            assert_eq!(found(&names, None).unwrap(), names);
        }
    }

    #[test]
    fn a_file_that_was_unpacked_goes_before_the_packed_one() {
        assert_eq!(found(&[MNIST, DOTTED].concat(), None).unwrap(), DOTTED);
    }

    #[test]
    fn of_several_splits_the_option_chooses_one() {
        let all = [MNIST, LETTERS, DIGITS].concat();
        assert_eq!(found(&all, Some("letters")).unwrap(), LETTERS);
        assert_eq!(found(&all, Some("emnist-digits")).unwrap(), DIGITS);
        assert_eq!(found(&all, Some("")).unwrap(), MNIST);
        let fault = found(&all, None).unwrap_err();
        for part in ["\"\" (without a prefix), digits, letters", "--split"] {
            assert!(fault.contains(part), "{part}: {fault}");
        }
        let fault = found(&all, Some("byclass")).unwrap_err();
        for part in ["--split byclass", "digits, letters"] {
            assert!(fault.contains(part), "{part}: {fault}");
        }
    }

    #[test]
    fn a_split_that_is_not_whole_is_no_choice() {
        let names = [&LETTERS[..], &DIGITS[..3]].concat();
        assert_eq!(found(&names, None).unwrap(), LETTERS);
        let fault = found(&names, Some("digits")).unwrap_err();
        assert!(fault.contains("emnist-digits-t10k-labels"), "{fault}");
    }

    #[test]
    fn two_sets_of_test_samples_are_an_error() {
        let names = [&MNIST[..], &["test-images-idx3-ubyte"]].concat();
        let fault = found(&names, None).unwrap_err();
        assert!(fault.contains("two sets of test samples"), "{fault}");
    }

    #[test]
    fn unknown_samples_need_no_training_files() {
        let letters = directory(&LETTERS[2..]);
        let files = files(&letters, None, &[TEST]).unwrap();
        assert!(files.path(TEST, IMAGES).is_ok());
        assert!(files.path(TRAIN, IMAGES).is_err());
    }

    #[test]
    fn only_the_names_of_emnist_are_stored_by_columns_and_have_a_mapping() {
        let mapping = "emnist-letters-mapping.txt";
        let letters = directory(&[&LETTERS[..], &[mapping]].concat());
        let found = files(&letters, None, &[TEST]).unwrap();
        assert!(found.transpose);
        assert!(found.mapping().unwrap().ends_with(mapping));
        let found = files(&directory(&MNIST), None, &[TEST]).unwrap();
        assert!(!found.transpose && found.mapping().is_none());
    }
}
