//! Finding the files of a data set by the names under which such files are distributed.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use super::source::Source;

/// The prefix of EMNIST's files, whose images are stored column by column.
const EMNIST: &str = "emnist-";

/// Training or test files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    Train,
    Test,
}

/// Images or labels, with the number of their dimensions.
pub const IMAGES: (&str, usize) = ("images", 3);
pub const LABELS: (&str, usize) = ("labels", 1);

/// The files of one split.
#[derive(Debug)]
pub struct Files {
    source: Source,
    prefix: String,
}

/// The names of such a file behind the prefix, the most usual one first.
fn endings(set: Set, (kind, dimensions): (&str, usize)) -> Vec<String> {
    let words: &[&str] = match set {
        Set::Train => &["train"],
        Set::Test => &["t10k", "test"],
    };
    let mut names = Vec::new();
    for zipped in ["", ".gz"] {
        for word in words {
            names.extend(
                ["-", "."].map(|dot| format!("{word}-{kind}{dot}idx{dimensions}-ubyte{zipped}")),
            );
        }
    }
    names
}

fn prefix_of(name: &str) -> Option<String> {
    let sets = [Set::Train, Set::Test].into_iter();
    let mut endings = sets.flat_map(|set| [IMAGES, LABELS].map(|kind| endings(set, kind)).concat());
    endings.find_map(|ending| Some(name.strip_suffix(&ending)?.to_owned()))
}

impl Files {
    /// The split of `source` that it names, or the only one that has the files of all `sets`.
    pub fn find(source: &Source, sets: &[Set]) -> Result<Self> {
        let place = source.directory.display();
        let entries = fs::read_dir(&source.directory);
        let entries = entries.with_context(|| format!("{place}: cannot be read"))?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let prefixes: BTreeSet<String> = names.filter_map(|name| prefix_of(&name)).collect();
        let split = |prefix: &String| Self {
            source: source.clone(),
            prefix: prefix.clone(),
        };
        let mut candidates: Vec<Self> = prefixes.iter().map(split).collect();
        let is_whole = |files: &Self| {
            let has = |&set| [IMAGES, LABELS].map(|kind| !files.named(set, kind).is_empty());
            sets.iter().all(|set| has(set) == [true; 2])
        };
        let name = |prefix| match split_name(prefix) {
            "" => "\"\" (without a prefix)",
            name => name,
        };
        let listed = Vec::from_iter(prefixes.iter().map(|prefix| name(prefix))).join(", ");
        match &source.split {
            Some(split) => {
                candidates.retain(|Self { prefix, .. }| {
                    [split_name(prefix), trimmed(prefix)].contains(&split.as_str())
                });
                ensure!(
                    !candidates.is_empty(),
                    "--split {split}: not among the splits in {place}: {listed}"
                );
            }
            None if candidates.iter().any(is_whole) => candidates.retain(is_whole),
            None => {}
        }
        ensure!(
            candidates.len() <= 1,
            "several splits in {place}: {listed}; choose one with --split"
        );
        Ok(candidates.pop().unwrap_or_else(|| split(&String::new())))
    }

    /// The names of this kind of file that are there.
    fn named(&self, set: Set, kind: (&str, usize)) -> Vec<String> {
        let endings = endings(set, kind).into_iter();
        let mut names = Vec::from_iter(endings.map(|ending| self.prefix.clone() + &ending));
        names.retain(|name| self.source.directory.join(name).is_file());
        names
    }

    /// Where the file of this kind is.
    pub fn path(&self, set: Set, kind: (&str, usize)) -> Result<PathBuf> {
        let (prefix, place) = (&self.prefix, self.source.directory.display());
        let found = self.named(set, kind);
        let name = found.first().with_context(|| {
            let usual = &endings(set, kind)[0];
            format!(
                "no {prefix}{usual} or {prefix}{usual}.gz in {place}: it must be a directory with the IDX files of MNIST, \
                 Fashion-MNIST, KMNIST or EMNIST"
            )
        })?;
        let word = |name: &String| name[prefix.len()..].split('-').next().map(str::to_owned);
        match found.iter().find(|other| word(other) != word(name)) {
            Some(other) => {
                bail!("two sets of test samples in {place}: {name} and {other}; leave one of them")
            }
            None => Ok(self.source.directory.join(name)),
        }
    }

    /// EMNIST's list of the characters that its labels stand for.
    pub fn mapping(&self) -> Option<PathBuf> {
        let name = format!("{}mapping.txt", self.prefix);
        Some(self.source.directory.join(name)).filter(|path| path.is_file())
    }

    /// Whether rows and columns of the images have to be exchanged.
    pub fn transpose(&self) -> bool {
        let by_columns = self.prefix.starts_with(EMNIST);
        self.source.transpose.unwrap_or(by_columns)
    }
}

/// What `--split` calls the split whose files begin with `prefix`.
fn split_name(prefix: &str) -> &str {
    let name = trimmed(prefix);
    name.strip_prefix(EMNIST).unwrap_or(name)
}

fn trimmed(prefix: &str) -> &str {
    prefix.trim_end_matches(['-', '_', '.'])
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
            let files = files(&directory, split, &[Set::Train, Set::Test])?;
            let mut names = Vec::new();
            for set in [Set::Train, Set::Test] {
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
        let files = files(&letters, None, &[Set::Test]).unwrap();
        assert!(files.path(Set::Test, IMAGES).is_ok());
        assert!(files.path(Set::Train, IMAGES).is_err());
    }

    #[test]
    fn only_the_names_of_emnist_are_stored_by_columns_and_have_a_mapping() {
        let mapping = "emnist-letters-mapping.txt";
        let letters = directory(&[&LETTERS[..], &[mapping]].concat());
        let found = files(&letters, None, &[Set::Test]).unwrap();
        assert!(found.transpose());
        assert!(found.mapping().unwrap().ends_with(mapping));
        let found = files(&directory(&MNIST), None, &[Set::Test]).unwrap();
        assert!(!found.transpose() && found.mapping().is_none());
    }
}
