//! Which classes are taken for which others.

use crate::data::Classes;
use crate::terminal::{columns, mean_and_error};

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

    /// The matrix if it fits a terminal of `width` columns, else the accuracy and the most frequent mistake of each class.
    pub fn text(&self, width: usize) -> String {
        let names: Vec<&str> = self.classes.names().collect();
        let head = [&["predicted:"], &names[..]].concat();
        let mut cells = vec![head.into_iter().map(str::to_owned).collect()];
        for (name, row) in names.iter().zip(&self.counts) {
            let counts = row.iter().map(usize::to_string);
            let label = std::iter::once(format!("label {name}"));
            cells.push(label.chain(counts).collect());
        }
        let matrix = columns(&cells);
        if matrix.lines().all(|line| line.chars().count() <= width) {
            return matrix;
        }
        let head = ["class", "accuracy", "samples", "taken for", "times"];
        let mut cells = vec![head.map(str::to_owned).to_vec()];
        for (class, row) in self.counts.iter().enumerate() {
            let samples: usize = row.iter().sum();
            let accuracy = (samples > 0).then(|| row[class] as f64 / samples as f64);
            let accuracy = mean_and_error([accuracy].into_iter(), 4);
            let mut line = vec![names[class].to_owned(), accuracy, samples.to_string()];
            let wrong = (0..row.len()).filter(|&other| other != class && row[other] > 0);
            if let Some(other) = wrong.max_by_key(|&other| row[other]) {
                line.extend([names[other].to_owned(), row[other].to_string()]);
            }
            cells.push(line);
        }
        columns(&cells)
    }

    /// The matrix with a head and a first column of the classes' names, as comma-separated values.
    pub fn csv(&self) -> String {
        let names: Vec<String> = self.classes.names().map(quoted).collect();
        let mut text = format!("label,{}\n", names.join(","));
        for (name, row) in names.iter().zip(&self.counts) {
            let counts = Vec::from_iter(row.iter().map(usize::to_string));
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
        let classes = Classes::of(&[0, 1, 2], None).unwrap();
        let expected = "\
predicted:   0   1   2
label 0      2   1   0
label 1      0   1   0
label 2      2   0   0";
        assert_eq!(confusion(&classes).text(22), expected);
    }

    #[test]
    fn beyond_the_terminal_accuracies_and_mistakes_are_shown() {
        let classes = Classes::of(&[0, 1, 2, 3], None).unwrap();
        let expected = "\
class   accuracy   samples   taken for   times
0         0.6667         3           1       1
1         1.0000         1
2         0.0000         2           0       2
3              -         0";
        assert_eq!(confusion(&classes).text(20), expected);
    }

    #[test]
    fn the_file_has_the_names_and_the_counts() {
        let classes = Classes::of(&[0, 1, 2], None).unwrap();
        let expected = "label,0,1,2\n0,2,1,0\n1,0,1,0\n2,2,0,0\n";
        assert_eq!(confusion(&classes).csv(), expected);
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
