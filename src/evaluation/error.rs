//! Errors of metrics.

use crate::neighbors::KnnError;
use thiserror::Error;

/// Error of a metric that could not be computed.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum EvaluationError {
    /// An argument without values.
    #[error("{name} is empty; it must hold at least 1 value")]
    Empty {
        /// The argument.
        name: &'static str,
    },
    /// Two arguments that belong together entry by entry and differ in length.
    #[error(
        "{name} has {length} entries and {other} has {other_length}; the numbers must be equal"
    )]
    Lengths {
        /// The first argument.
        name: &'static str,
        /// Its length.
        length: usize,
        /// The second argument.
        other: &'static str,
        /// Its length.
        other_length: usize,
    },
    /// A score or a distance that is NaN.
    #[error("{name} holds NaN at index {index}; every value must be a number")]
    NotANumber {
        /// The argument.
        name: &'static str,
        /// The first index with such a value.
        index: usize,
    },
    /// Only genuine or only impostor pairs. Both are needed.
    #[error("{name} holds {genuine} times true and {impostors} times false; each must occur")]
    OneKind {
        /// The argument.
        name: &'static str,
        /// How often it is true.
        genuine: usize,
        /// How often it is false.
        impostors: usize,
    },
    /// A rate that is no share.
    #[error("{name} is {value}; it must be in 0..=1")]
    Rate {
        /// The argument.
        name: &'static str,
        /// The value.
        value: f64,
    },
    /// A prior probability under which one kind of error cannot happen.
    #[error("target_prior is {value}; it must be above 0 and below 1")]
    Prior {
        /// The value.
        value: f64,
    },
    /// A cost that is not positive.
    #[error("{name} is {value}; it must be finite and above 0")]
    Cost {
        /// The argument.
        name: &'static str,
        /// The value.
        value: f64,
    },
    /// Folds that cannot each hold a pair.
    #[error("folds is {folds}; it must be at least 2 and at most {pairs}, the number of pairs")]
    Folds {
        /// The number of folds asked for.
        folds: usize,
        /// The number of pairs.
        pairs: usize,
    },
    /// A squared distance that no two rows of unit length have.
    #[error(
        "{name} holds {value} at index {index}; squared distances of rows of unit length are in 0..=4"
    )]
    UnitDistance {
        /// The argument.
        name: &'static str,
        /// The value.
        value: f64,
        /// The first index with such a value.
        index: usize,
    },
    /// Pairs whose two matrices differ in shape.
    #[error("left has shape {left:?} and right has shape {right:?}; the shapes must be equal")]
    PairShapes {
        /// Shape of the left rows.
        left: [usize; 2],
        /// Shape of the right rows.
        right: [usize; 2],
    },
    /// A batch of another width than the batches before.
    #[error(
        "features has {columns} columns and those of the batches before have {expected}; the numbers must be equal"
    )]
    BatchWidth {
        /// The width of the batch.
        columns: usize,
        /// The width of the batches before.
        expected: usize,
    },
    /// Ranks that are not those of relevant references.
    #[error(
        "relevant_ranks holds {rank} at index {index}; ranks must ascend from 1 to at most {references}, the number of references"
    )]
    Ranks {
        /// The first index with a wrong rank.
        index: usize,
        /// The rank.
        rank: usize,
        /// The number of references.
        references: usize,
    },
    /// Keys that have nothing to be compared with.
    #[error("{with} has keys and {without} has none; either both or neither must have them")]
    KeysOfOneSide {
        /// The set with keys.
        with: &'static str,
        /// The set without.
        without: &'static str,
    },
    /// A depth that shows nothing.
    #[error("k is 0; it must be at least 1")]
    KZero,
    /// A rank below the first.
    #[error("{name} holds rank 0 at index {index}; ranks start at 1")]
    RankZero {
        /// The argument.
        name: &'static str,
        /// The first index with such a rank.
        index: usize,
    },
    /// A depth that no reference has.
    #[error(
        "k is {k}; it must be at least 1 and at most {references}, the number of references of a query"
    )]
    K {
        /// The depth asked for.
        k: usize,
        /// How many references a query is compared with.
        references: usize,
    },
    /// A mean over queries none of which has a relevant reference.
    #[error("none of {queries} queries has a reference with its label; at least 1 must have one")]
    NoMatch {
        /// The number of queries.
        queries: usize,
    },
    /// A value that breaks the rule of its argument.
    #[error("{name} holds {value} at index {index}; {rule}")]
    Value {
        /// The argument.
        name: &'static str,
        /// The value.
        value: f64,
        /// The first index with such a value.
        index: usize,
        /// The rule.
        rule: &'static str,
    },
    /// Scores that a threshold tells apart without an error, for which no slope of a logistic calibration is steep enough.
    #[error(
        "genuine scores are in {}..={} and impostor scores in {}..={}; they must overlap for a logistic calibration, or use LogisticCalibration::fit_platt",
        genuine[0], genuine[1], impostors[0], impostors[1]
    )]
    Separable {
        /// The least and the largest genuine score.
        genuine: [f64; 2],
        /// The least and the largest impostor score.
        impostors: [f64; 2],
    },
    /// Fewer cohort scores of a row than have a deviation.
    #[error("each row is compared with {count} rows of the cohort; there must be at least 2")]
    CohortSize {
        /// The number of cohort scores of a row.
        count: usize,
    },
    /// A row that scores cannot be normalized for.
    #[error("row {row} of {name} {fault}")]
    Row {
        /// The matrix.
        name: &'static str,
        /// The first such row.
        row: usize,
        /// The fault, and the rule.
        fault: &'static str,
    },
    /// Features that cannot be compared.
    #[error(transparent)]
    Features(#[from] KnnError),
}
