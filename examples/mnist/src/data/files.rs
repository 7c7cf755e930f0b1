//! Finding the four files of a data set by the names under which such files are distributed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// The prefix of EMNIST's files, whose images are stored column by column.
const EMNIST: &str = "emnist-";

/// What a file of a data set holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    TrainImages,
    TrainLabels,
    TestImages,
    TestLabels,
}

impl Part {
    const ALL: [Self; 4] = [
        Self::TrainImages,
        Self::TrainLabels,
        Self::TestImages,
        Self::TestLabels,
    ];

    /// The names of such a file behind the prefix, the most usual one first.
    fn names(self) -> Vec<String> {
        let (sets, kind, dimensions): (&[&str], _, _) = match self {
            Self::TrainImages => (&["train"], "images", 3),
            Self::TrainLabels => (&["train"], "labels", 1),
            Self::TestImages => (&["t10k", "test"], "images", 3),
            Self::TestLabels => (&["t10k", "test"], "labels", 1),
        };
        let mut names = Vec::new();
        for zipped in ["", ".gz"] {
            for set in sets {
                for dot in ["-", "."] {
                    names.push(format!("{set}-{kind}{dot}idx{dimensions}-ubyte{zipped}"));
                }
            }
        }
        names
    }
}

/// The files of one data set.
#[derive(Debug)]
pub struct Files {
    pub train_images: PathBuf,
    pub train_labels: PathBuf,
    pub test_images: PathBuf,
    pub test_labels: PathBuf,
    /// EMNIST's list of the characters that its labels stand for.
    pub mapping: Option<PathBuf>,
    /// Whether the names are those of EMNIST, whose images are stored column by column.
    pub by_columns: bool,
}

/// The files of one prefix by what they hold.
type Parts = BTreeMap<Part, Vec<String>>;

impl Files {
    /// The four files of `directory`; of several splits, those of the one called `split`.
    pub fn find(directory: &Path, split: Option<&str>) -> Result<Self> {
        let splits = splits(directory)?;
        let place = directory.display();
        let (prefix, parts) = match split {
            Some(split) => splits
                .iter()
                .find(|(prefix, _)| [split_name(prefix), trimmed(prefix)].contains(&split))
                .with_context(|| {
                    format!(
                        "--split {split}: not in {place}, which has {}",
                        listed(&splits)
                    )
                })?,
            None => only(&splits, directory)?,
        };
        let file = |part: Part| -> Result<PathBuf> {
            let names = part.names();
            let found = parts.get(&part).map_or(&[][..], Vec::as_slice);
            let name = names.iter().find(|name| found.contains(name));
            let name = name.with_context(|| {
                let (usual, zipped) = (&names[0], &names[names.len() / 2]);
                format!(
                    "no {prefix}{usual} or {prefix}{zipped} in {place}: --data-dir must name a directory with the four \
                     IDX files of MNIST, Fashion-MNIST, KMNIST or EMNIST"
                )
            })?;
            let both = ["t10k", "test"].map(|set| found.iter().find(|name| name.starts_with(set)));
            if let [Some(one), Some(other)] = both {
                bail!(
                    "two sets of test samples in {place}: {prefix}{one} and {prefix}{other}; leave one of them"
                );
            }
            Ok(directory.join(format!("{prefix}{name}")))
        };
        let mapping = directory.join(format!("{prefix}mapping.txt"));
        Ok(Self {
            train_images: file(Part::TrainImages)?,
            train_labels: file(Part::TrainLabels)?,
            test_images: file(Part::TestImages)?,
            test_labels: file(Part::TestLabels)?,
            mapping: mapping.is_file().then_some(mapping),
            by_columns: prefix.starts_with(EMNIST),
        })
    }
}

/// The splits of `directory` by the prefixes of their files.
fn splits(directory: &Path) -> Result<BTreeMap<String, Parts>> {
    let unreadable = || format!("--data-dir {}: cannot be read", directory.display());
    let mut splits: BTreeMap<String, Parts> = BTreeMap::new();
    for entry in fs::read_dir(directory).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        for part in Part::ALL {
            let names = part.names();
            let found = names
                .into_iter()
                .find_map(|end| Some((name.strip_suffix(&end)?.to_owned(), end)));
            if let (Some((prefix, end)), true) = (found, path.is_file()) {
                let parts = splits.entry(prefix).or_default();
                parts.entry(part).or_default().push(end);
            }
        }
    }
    Ok(splits)
}

/// The only split of `splits` that has all of its files, or the only one at all.
fn only<'a>(
    splits: &'a BTreeMap<String, Parts>,
    directory: &Path,
) -> Result<(&'a String, &'a Parts)> {
    static NONE: (String, Parts) = (String::new(), Parts::new());
    let whole: Vec<_> = splits
        .iter()
        .filter(|(_, parts)| parts.len() == Part::ALL.len())
        .collect();
    let candidates = match whole.is_empty() {
        true => splits.iter().collect(),
        false => whole,
    };
    ensure!(
        candidates.len() <= 1,
        "several splits in {}: {}; choose one with --split",
        directory.display(),
        listed(splits)
    );
    Ok(candidates.first().copied().unwrap_or((&NONE.0, &NONE.1)))
}

/// What `--split` calls the split whose files begin with `prefix`.
fn split_name(prefix: &str) -> &str {
    let name = trimmed(prefix);
    name.strip_prefix(EMNIST).unwrap_or(name)
}

fn trimmed(prefix: &str) -> &str {
    prefix.trim_end_matches(['-', '_', '.'])
}

fn listed(splits: &BTreeMap<String, Parts>) -> String {
    let names: BTreeSet<&str> = splits.keys().map(|prefix| split_name(prefix)).collect();
    let quoted = names.into_iter().map(|name| match name {
        "" => "\"\" (without a prefix)".to_owned(),
        name => name.to_owned(),
    });
    match quoted.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "none".to_owned(),
        some => some,
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

    /// The names of the four files that are found.
    fn found(names: &[&str], split: Option<&str>) -> Result<[String; 4], String> {
        let directory = directory(names);
        let files = Files::find(directory.path(), split).map_err(|error| format!("{error:#}"))?;
        let paths = [
            files.train_images,
            files.train_labels,
            files.test_images,
            files.test_labels,
        ];
        Ok(paths.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()))
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
    fn only_the_names_of_emnist_are_stored_by_columns_and_have_a_mapping() {
        let mapping = "emnist-letters-mapping.txt";
        let letters = directory(&[&LETTERS[..], &[mapping]].concat());
        let files = Files::find(letters.path(), None).unwrap();
        assert!(files.by_columns);
        assert!(files.mapping.unwrap().ends_with(mapping));
        let files = Files::find(directory(&MNIST).path(), None).unwrap();
        assert!(!files.by_columns && files.mapping.is_none());
    }
}
