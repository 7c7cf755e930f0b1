//! Which classes are taken for which others.

use crate::data::Classes;
use crate::terminal::{columns, mean_and_error};

/// At most how many pairs of classes that are mixed up are listed.
const LISTED_PAIRS: usize = 10;

/// How many samples of each class (row) were taken for each class (column).
pub struct Confusion<'a> {
    counts: Vec<Vec<usize>>,
    classes: &'a Classes,
}

impl<'a> Confusion<'a> {
    /// `labels` and `predictions` are the numbers of the samples' classes.
    pub fn of(labels: &[u8], predictions: &[usize], classes: &'a Classes) -> Self {
        let mut counts = vec![vec![0; classes.len()]; classes.len()];
        for (&label, &prediction) in labels.iter().zip(predictions) {
            counts[usize::from(label)][prediction] += 1;
        }
        Self { counts, classes }
    }

    pub fn counts(&self) -> &[Vec<usize>] {
        &self.counts
    }

    /// The matrix if it fits a terminal of `width` columns, else the accuracy of each class and the most frequent
    /// mistakes.
    pub fn text(&self, width: usize) -> String {
        let names = || self.classes.names().map(str::to_owned);
        let head = std::iter::once("predicted:".to_owned()).chain(names());
        let mut cells = vec![head.collect()];
        cells.extend(names().zip(&self.counts).map(|(name, row)| {
            let counts = row.iter().map(usize::to_string);
            std::iter::once(format!("label {name}"))
                .chain(counts)
                .collect()
        }));
        let matrix = columns(&cells);
        match matrix.lines().any(|line| line.chars().count() > width) {
            true => format!("{}\n\n{}", self.accuracies(width), self.mistakes()),
            false => matrix,
        }
    }

    /// The part of each class's samples that is right, in as many columns as fit.
    fn accuracies(&self, width: usize) -> String {
        let rows = self.counts.iter().enumerate().zip(self.classes.names());
        let cells = rows.map(|((class, row), name)| {
            let samples: usize = row.iter().sum();
            let accuracy = (samples > 0).then(|| row[class] as f64 / samples as f64);
            vec![
                name.to_owned(),
                mean_and_error([accuracy].into_iter(), 4),
                format!("of {samples}"),
            ]
        });
        let cells = columns(&Vec::from_iter(cells));
        let cells: Vec<&str> = cells.lines().collect();
        let longest = cells
            .iter()
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0);
        let lines = cells
            .chunks((width / (longest + 4)).max(1))
            .map(|line| line.join("    "));
        format!(
            "Accuracy of each class:\n{}",
            Vec::from_iter(lines).join("\n")
        )
    }

    fn mistakes(&self) -> String {
        let names: Vec<&str> = self.classes.names().collect();
        let mut mistakes = Vec::new();
        for (label, row) in self.counts.iter().enumerate() {
            for (prediction, &count) in row.iter().enumerate() {
                if count > 0 && prediction != label {
                    mistakes.push((count, names[label], names[prediction]));
                }
            }
        }
        mistakes.sort_by_key(|&(count, ..)| std::cmp::Reverse(count));
        let listed = mistakes
            .iter()
            .take(LISTED_PAIRS)
            .map(|(count, label, prediction)| {
                format!("\n  {label} taken for {prediction}: {count} times")
            });
        match mistakes.is_empty() {
            true => "No mistakes.".to_owned(),
            false => format!("Most frequent mistakes:{}", listed.collect::<String>()),
        }
    }

    /// The matrix with a head and a first column of the classes' names, as comma-separated values.
    pub fn csv(&self) -> String {
        let names: Vec<String> = self.classes.names().map(quoted).collect();
        let mut text = format!("label,{}\n", names.join(","));
        for (name, row) in names.iter().zip(&self.counts) {
            let counts: Vec<String> = row.iter().map(usize::to_string).collect();
            text += &format!("{name},{}\n", counts.join(","));
        }
        text
    }
}

/// `name` as a field of comma-separated values.
fn quoted(name: &str) -> String {
    match name.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", name.replace('"', "\"\"")),
        false => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of three samples of 0 was taken for 1, and both of 2 for 0.
    fn confusion(classes: &Classes) -> Confusion<'_> {
        Confusion::of(&[0, 0, 0, 1, 2, 2], &[0, 0, 1, 1, 0, 0], classes)
    }

    #[test]
    fn a_matrix_that_fits_is_shown_whole() {
        let classes = Classes::counted(3, None).unwrap();
        let expected = "\
predicted:   0   1   2
label 0      2   1   0
label 1      0   1   0
label 2      2   0   0";
        assert_eq!(confusion(&classes).text(22), expected);
    }

    #[test]
    fn beyond_the_terminal_accuracies_and_mistakes_are_shown() {
        let classes = Classes::counted(4, None).unwrap();
        let expected = "\
Accuracy of each class:
0   0.6667   of 3
1   1.0000   of 1
2   0.0000   of 2
3        -   of 0

Most frequent mistakes:
  2 taken for 0: 2 times
  0 taken for 1: 1 times";
        assert_eq!(confusion(&classes).text(20), expected);
    }

    #[test]
    fn at_most_ten_mistakes_are_listed() {
        let classes = Classes::counted(5, None).unwrap();
        let labels = Vec::from_iter((0..25).map(|index| index / 5));
        let predictions = Vec::from_iter((0..25).map(|index| index % 5));
        let confusion = Confusion::of(&labels, &predictions, &classes);
        let mistakes = confusion.mistakes();
        assert_eq!(mistakes.lines().count(), 1 + LISTED_PAIRS);
        assert_eq!(mistakes.lines().nth(1), Some("  0 taken for 1: 1 times"));
    }

    #[test]
    fn the_file_has_the_names_and_the_counts() {
        let classes = Classes::counted(3, None).unwrap();
        let expected = "label,0,1,2\n0,2,1,0\n1,0,1,0\n2,2,0,0\n";
        assert_eq!(confusion(&classes).csv(), expected);
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
