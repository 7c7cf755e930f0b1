//! Which classes are taken for which others.

use crate::data::Classes;

/// At most how many pairs of classes that are mixed up are listed.
const LISTED_PAIRS: usize = 10;

/// How many samples of each class (row) were taken for each class (column).
pub struct Confusion<'a> {
    counts: Vec<Vec<usize>>,
    classes: &'a Classes,
}

/// Samples of one class that were taken for another.
#[derive(Debug, PartialEq, Eq)]
struct Mistake {
    label: usize,
    prediction: usize,
    count: usize,
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

    /// The matrix if it fits a terminal of `columns` columns, else the accuracy of each class and the most frequent
    /// mistakes.
    pub fn text(&self, columns: usize) -> String {
        let matrix = self.matrix();
        let widest = matrix.lines().map(|line| line.chars().count()).max();
        match widest {
            Some(widest) if widest > columns => {
                format!("{}\n\n{}", self.accuracies(columns), self.mistakes())
            }
            _ => matrix,
        }
    }

    fn matrix(&self) -> String {
        let largest = self.counts.iter().flatten().max().copied().unwrap_or(0);
        let longest = self.longest_name();
        let width = largest.to_string().len().max(3).max(longest) + 1;
        let head = "predicted:".len().max("label ".len() + longest);
        let mut table = format!("{:>head$}", "predicted:");
        for name in self.classes.names() {
            table += &format!("{name:>width$}");
        }
        for (name, row) in self.classes.names().zip(&self.counts) {
            table += &format!("\n{:>head$}", format!("label {name}"));
            for count in row {
                table += &format!("{count:>width$}");
            }
        }
        table
    }

    /// The part of each class's samples that is right, in as many columns as fit.
    fn accuracies(&self, columns: usize) -> String {
        let name_width = self.longest_name();
        let cells: Vec<String> = self
            .classes
            .names()
            .zip(self.counts.iter().enumerate())
            .map(|(name, (class, row))| {
                let samples: usize = row.iter().sum();
                let accuracy = match samples {
                    0 => "-".to_owned(),
                    samples => format!("{:.4}", row[class] as f64 / samples as f64),
                };
                format!("  {name:>name_width$} {accuracy:>6} of {samples:<5}")
            })
            .collect();
        let cell_width = cells.first().map_or(1, |cell| cell.chars().count());
        let lines: Vec<String> = cells
            .chunks((columns / cell_width).max(1))
            .map(|line| line.concat().trim_end().to_owned())
            .collect();
        format!("Accuracy of each class:\n{}", lines.join("\n"))
    }

    fn mistakes(&self) -> String {
        let names: Vec<&str> = self.classes.names().collect();
        let lines: Vec<String> = self
            .most_frequent_mistakes()
            .iter()
            .map(|mistake| {
                format!(
                    "  {} taken for {}: {} times",
                    names[mistake.label], names[mistake.prediction], mistake.count
                )
            })
            .collect();
        match lines.is_empty() {
            true => "No mistakes.".to_owned(),
            false => format!("Most frequent mistakes:\n{}", lines.join("\n")),
        }
    }

    /// The most frequent ones first, equals by their classes.
    fn most_frequent_mistakes(&self) -> Vec<Mistake> {
        let mut mistakes: Vec<Mistake> = self
            .counts
            .iter()
            .enumerate()
            .flat_map(|(label, row)| {
                row.iter()
                    .enumerate()
                    .map(move |(prediction, &count)| Mistake {
                        label,
                        prediction,
                        count,
                    })
            })
            .filter(|mistake| mistake.count > 0 && mistake.label != mistake.prediction)
            .collect();
        mistakes.sort_by_key(|mistake| std::cmp::Reverse(mistake.count));
        mistakes.truncate(LISTED_PAIRS);
        mistakes
    }

    fn longest_name(&self) -> usize {
        let lengths = self.classes.names().map(|name| name.chars().count());
        lengths.max().unwrap_or(0)
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
   label 0   2   1   0
   label 1   0   1   0
   label 2   2   0   0";
        assert_eq!(confusion(&classes).text(22), expected);
    }

    #[test]
    fn beyond_the_terminal_accuracies_and_mistakes_are_shown() {
        let classes = Classes::counted(4, None).unwrap();
        let expected = "\
Accuracy of each class:
  0 0.6667 of 3
  1 1.0000 of 1
  2 0.0000 of 2
  3      - of 0

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
        let mistakes = confusion.most_frequent_mistakes();
        assert_eq!(mistakes.len(), LISTED_PAIRS);
        let first = Mistake {
            label: 0,
            prediction: 1,
            count: 1,
        };
        assert_eq!(mistakes[0], first);
    }

    #[test]
    fn the_file_has_the_names_and_the_counts() {
        let classes = Classes::counted(3, None).unwrap();
        let expected = "label,0,1,2\n0,2,1,0\n1,0,1,0\n2,2,0,0\n";
        assert_eq!(confusion(&classes).csv(), expected);
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
