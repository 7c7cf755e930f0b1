//! The classes of a data set: its labels as they are in the files, numbered from 0 on, and their names.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fmt, fs};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// A class: the label that its samples have in the files, and what people call it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Class {
    pub label: u8,
    pub name: String,
}

/// The classes by the number that the network knows them by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Classes(Vec<Class>);

impl Classes {
    /// A class for each label that occurs in `labels`. `mapping` is EMNIST's file of names, if there is one.
    pub fn of(labels: &[u8], mapping: Option<&Path>) -> Result<Self> {
        let mut names = mapping.map(read_mapping).transpose()?.unwrap_or_default();
        let class = |label: u8| Class {
            name: names.remove(&label).unwrap_or_else(|| label.to_string()),
            label,
        };
        let labels = (0..=u8::MAX).filter(|label| labels.contains(label));
        Ok(Self(labels.map(class).collect()))
    }

    /// The classes but those with the labels `unknown`.
    pub fn without(&self, unknown: &[u8]) -> Result<Self> {
        for &label in unknown {
            ensure!(
                self.number(label).is_some(),
                "--unknown-classes: {label} is no class of the data, whose labels are {self}"
            );
        }
        let is_known = |class: &&Class| !unknown.contains(&class.label);
        let known = Self(self.0.iter().filter(is_known).cloned().collect());
        ensure!(
            known.len() > 1,
            "--unknown-classes: leaves {} of {} classes, but a network needs at least two",
            known.len(),
            self.len()
        );
        Ok(known)
    }

    /// The labels in the files, by the numbers of the classes.
    pub fn labels(&self) -> impl ExactSizeIterator<Item = u8> {
        self.0.iter().map(|class| class.label)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The number of the class whose samples have `label`.
    pub fn number(&self, label: u8) -> Option<usize> {
        self.0.iter().position(|class| class.label == label)
    }

    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(|class| class.name.as_str())
    }
}

/// The labels, as a message lists them.
impl fmt::Display for Classes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Vec::from_iter(self.labels().map(|label| label.to_string())).join(" "))
    }
}

/// The characters that each label stands for: every line of `path` is a label and the numbers of characters, as in
/// "1 65 97" for the letter that is A or a.
fn read_mapping(path: &Path) -> Result<BTreeMap<u8, String>> {
    let place = path.display();
    let text = fs::read_to_string(path).with_context(|| place.to_string())?;
    let entry = |line: &str| {
        let (label, characters) = line.split_once(char::is_whitespace)?;
        let numbers = characters.split_whitespace();
        let name = numbers.map(|number| char::from_u32(number.parse().ok()?));
        Some((label.parse().ok()?, name.collect::<Option<String>>()?))
    };
    let lines = text.split(['\n', '\r']).map(str::trim);
    let entries = lines.filter(|line| !line.is_empty()).map(|line| {
        entry(line).with_context(|| format!("{place}: not a label and characters: {line:?}"))
    });
    entries.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(classes: &Classes) -> Vec<&str> {
        classes.names().collect()
    }

    #[test]
    fn a_label_without_samples_is_no_class() {
        let classes = Classes::of(&[7, 0, 3, 7], None).unwrap();
        assert_eq!(names(&classes), ["0", "3", "7"]);
        assert_eq!(
            [0, 1, 7].map(|label| classes.number(label)),
            [Some(0), None, Some(2)]
        );
        let letters = Vec::from_iter(1..=26);
        assert_eq!(Classes::of(&letters, None).unwrap().len(), 26);
    }

    #[test]
    fn names_come_from_the_mapping() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("emnist-letters-mapping.txt");
        fs::write(&path, "1 65 97\n2 66 98 \n\n").unwrap();
        let classes = Classes::of(&[1, 2, 3], Some(&path)).unwrap();
        assert_eq!(names(&classes), ["Aa", "Bb", "3"]);
        fs::write(&path, "1 65 97\r2 66 98\r").unwrap();
        assert_eq!(Classes::of(&[1, 2, 3], Some(&path)).unwrap(), classes);
        for (line, part) in [
            ("1 x", "1 x"),
            ("300 65", "300 65"),
            ("4", "not a label and characters"),
        ] {
            fs::write(&path, line).unwrap();
            let fault = Classes::of(&[1], Some(&path)).unwrap_err().to_string();
            assert!(fault.contains(part), "{fault}");
        }
    }
}
