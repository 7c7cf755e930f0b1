//! Score normalisation: scores of a trial relative to the scores of its sides with a cohort.

use super::error::EvaluationError;
use super::input::{check_lengths, check_values, read_labels_of};
use crate::neighbors::{
    Comparison, DEFAULT_MAX_PAIRS, KnnError, KnnMetric, Rows, Search, class_means,
};
use burn::config::Config;
use burn::tensor::{Device, Int, Tensor};
use std::fmt;

/// Rows are compared with the whole cohort if more than one in this many of its scores is needed: a search would compare
/// the largest ones twice, and so slowly that it would take longer.
const SEARCHED_SHARE: usize = 64;

/// The metric whose distance of two rows of unit length is their cosine.
const METRIC: KnnMetric = KnnMetric::InnerProduct;

/// Cohort scores that are held at one time by a search.
const SCORES_AT_ONCE: usize = 1 << 20;

/// The least deviation of cohort scores that is told from the rounding of cosines.
const LEAST_DEVIATION: f64 = 1e-14;

/// The divisor of the squared differences from the mean of k values.
#[derive(Config, Copy, Debug, PartialEq, Eq)]
pub enum Deviation {
    /// k, as numpy's `std`.
    Population,
    /// k - 1, as torch's `std`.
    Sample,
}

/// Configuration of a [`ScoreNorm`].
///
/// | | [`wespeaker`](Self::wespeaker) | [`speechbrain`](Self::speechbrain) |
/// |---|---|---|
/// | deviation | population | sample |
/// | cohort scores of a row | the 300 largest | the 20 000 largest |
/// | cohort | class means: [`init_from_classes`](Self::init_from_classes) | samples: [`init`](Self::init) |
/// | subtracted from all rows | a mean | nothing |
#[derive(Config, Debug)]
pub struct ScoreNormConfig {
    /// The number of cohort scores of a row that are used, the largest ones; all if `None` or if the cohort has fewer.
    /// Default: `None`.
    #[config(default = "None")]
    pub top_k: Option<usize>,
    /// Default: `Population`.
    #[config(default = "Deviation::Population")]
    pub deviation: Deviation,
    /// A row that is subtracted from all rows, those of the cohort too, before they are brought to unit length.
    /// Default: `None`.
    #[config(default = "None")]
    pub mean: Option<Vec<f64>>,
}

impl ScoreNormConfig {
    /// The settings of wespeaker's recipes, `mean` being that of all features of the training set.
    pub fn wespeaker(mean: Vec<f64>) -> Self {
        Self::new().with_top_k(Some(300)).with_mean(Some(mean))
    }

    /// The settings of SpeechBrain's recipe for speaker verification.
    pub fn speechbrain() -> Self {
        Self::new()
            .with_top_k(Some(20_000))
            .with_deviation(Deviation::Sample)
    }

    /// Score normalisation by a cohort of samples. Reads the cohort back from its device once.
    ///
    /// # Shapes
    ///
    /// - cohort: `[cohort_size, feature_dim]`
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] if the cohort has no rows or columns, a value is not finite, the mean is not as wide, a row is
    /// zero after the mean is subtracted, or a row is compared with fewer than 2 rows of the cohort.
    pub fn init(&self, cohort: Tensor<2>) -> Result<ScoreNorm, EvaluationError> {
        let device = cohort.device().without_autodiff();
        self.prepare(Rows::read(cohort, "cohort")?, &device)
    }

    /// Score normalisation by a cohort whose rows are the means of classes, in ascending order of the labels. The means
    /// are those of the features as they come, of any length.
    ///
    /// # Shapes
    ///
    /// - features: `[num_samples, feature_dim]`
    /// - labels: `[num_samples]`, any integers of any integer type
    ///
    /// # Errors
    ///
    /// As [`init`](Self::init), and if the labels are not one per row or not on the features' device.
    pub fn init_from_classes(
        &self,
        features: Tensor<2>,
        labels: Tensor<1, Int>,
    ) -> Result<ScoreNorm, EvaluationError> {
        let device = features.device().without_autodiff();
        let labels = read_labels_of(&features, "features", labels, "labels")?;
        let rows = Rows::read(features, "features")?;
        let mut names = labels.clone();
        names.sort_unstable();
        names.dedup();
        let class_of = |label: &i128| names.partition_point(|name| name < label);
        let classes: Vec<usize> = labels.iter().map(class_of).collect();
        let shape = [names.len(), rows.columns()];
        let means = class_means(&rows, &classes, names.len());
        self.prepare(Rows::new(means, shape, "cohort")?, &device)
    }

    fn prepare(&self, cohort: Rows, device: &Device) -> Result<ScoreNorm, EvaluationError> {
        if let Some(mean) = &self.mean {
            check_lengths("mean", mean.len(), "a row of cohort", cohort.columns())?;
            check_values("mean", mean, f64::is_finite, "every value must be finite")?;
        }
        let count = self.top_k.unwrap_or(cohort.len()).min(cohort.len());
        if count < 2 {
            return Err(EvaluationError::CohortSize { count });
        }
        let cohort = directions(cohort, "cohort", self.mean.as_deref())?;
        let cohort = if count > cohort.len() / SEARCHED_SHARE {
            Cohort::Compared(cohort)
        } else {
            let order = (0..cohort.len()).collect();
            let search = Search::new(cohort, order, METRIC, count, DEFAULT_MAX_PAIRS, device);
            Cohort::Searched(Box::new(search))
        };
        Ok(ScoreNorm {
            cohort,
            count,
            deviation: self.deviation,
            mean: self.mean.clone(),
        })
    }
}

/// Score normalisation: the score of a trial is measured by the scores that both its rows have with a cohort.
///
/// ```text
/// s        cosine of the enrolment row and the test row
/// mean_e, std_e   of the k largest cosines of the enrolment row with the cohort; mean_t, std_t of the test row
/// z-norm   (s - mean_e) / std_e
/// t-norm   (s - mean_t) / std_t
/// s-norm   (z-norm + t-norm) / 2
/// ```
///
/// If k is below the size of the cohort these are the adaptive norms; the s-norm is then also called AS-norm1. Of
/// equally large cosines at the k-th place it makes no difference which are taken. Rows may be of any length: a mean is
/// subtracted from them, if one is given, and they are brought to unit length. The cohort shall hold none of the classes of
/// the trials.
///
/// Cosines are exact, in `f64`. Memory beyond the rows does not grow with their number: cosines of a few rows are held at
/// one time.
///
/// # Shapes
///
/// - enroll: `[num_enrolled, feature_dim]`
/// - test: `[num_tests, feature_dim]`
/// - trials: pairs of a row of `enroll` and a row of `test`
///
/// # Differences from the references
///
/// The deviation, wespeaker's by k and SpeechBrain's by k - 1, changes all scores of one k by one factor, and so
/// thresholds but no error rate. wespeaker rounds to 5 decimals.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_center_loss::evaluation::{EvaluationError, ScoreNormConfig};
///
/// # fn main() -> Result<(), EvaluationError> {
/// let device = Device::flex();
/// let cohort = Tensor::<2>::from_floats([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]], &device);
/// let enroll = Tensor::<2>::from_floats([[0.0, 5.0]], &device);
/// let test = Tensor::<2>::from_floats([[0.0, 1.0], [3.0, 4.0]], &device);
/// let norm = ScoreNormConfig::new().with_top_k(Some(2)).init(cohort)?;
/// let trials = [(0, 0), (0, 1)];
///
/// let scores = norm.scores(enroll.clone(), test.clone(), &trials)?;
/// assert_eq!(scores, [1.0, 0.8]);
/// // The two largest cosines of the enrolled row with the cohort are 1 and 0.
/// assert_eq!(norm.z_norm(enroll.clone(), test.clone(), &trials)?[0], 1.0);
/// // Those of the second test row are 0.8 and 0.6.
/// let t_norm = norm.t_norm(enroll.clone(), test.clone(), &trials)?;
/// assert!((t_norm[1] - 1.0).abs() < 1e-12);
/// let s_norm = norm.s_norm(enroll, test, &trials)?;
/// assert!((s_norm[1] - 0.8).abs() < 1e-12);
/// # Ok(())
/// # }
/// ```
///
/// # References
///
/// P. Matějka et al., *Analysis of score normalization in multilingual speaker recognition*, Interspeech, 2017.
pub struct ScoreNorm {
    cohort: Cohort,
    /// Cohort scores that are used for a row, at least 2.
    count: usize,
    deviation: Deviation,
    mean: Option<Vec<f64>>,
}

/// Rows of unit length.
enum Cohort {
    Compared(Rows),
    Searched(Box<Search>),
}

/// Mean and deviation of the largest cosines of a row with the cohort.
#[derive(Clone, Copy, Default)]
struct CohortScores {
    mean: f64,
    deviation: f64,
}

/// The sides of trials.
struct Trials<'a> {
    enroll: Rows,
    test: Rows,
    pairs: &'a [(usize, usize)],
}

impl ScoreNorm {
    /// The cosine of each trial, without normalisation.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] if there are no trials, a side has no rows, is not as wide as the cohort or has a value that is
    /// not finite, a row is zero after the mean is subtracted, or a trial names a row that is not there.
    pub fn scores(
        &self,
        enroll: Tensor<2>,
        test: Tensor<2>,
        trials: &[(usize, usize)],
    ) -> Result<Vec<f64>, EvaluationError> {
        let trials = self.read(enroll, test, trials)?;
        Ok(trials.map(|_, _, score| score))
    }

    /// The z-norm of each trial.
    ///
    /// # Errors
    ///
    /// As [`scores`](Self::scores), and if the cohort scores of a row of `enroll` are all equal.
    pub fn z_norm(
        &self,
        enroll: Tensor<2>,
        test: Tensor<2>,
        trials: &[(usize, usize)],
    ) -> Result<Vec<f64>, EvaluationError> {
        let trials = self.read(enroll, test, trials)?;
        let found = self.cohort_scores(&trials.enroll, "enroll")?;
        Ok(trials.map(|enroll, _, score| found[enroll].normalize(score)))
    }

    /// The t-norm of each trial.
    ///
    /// # Errors
    ///
    /// As [`scores`](Self::scores), and if the cohort scores of a row of `test` are all equal.
    pub fn t_norm(
        &self,
        enroll: Tensor<2>,
        test: Tensor<2>,
        trials: &[(usize, usize)],
    ) -> Result<Vec<f64>, EvaluationError> {
        let trials = self.read(enroll, test, trials)?;
        let found = self.cohort_scores(&trials.test, "test")?;
        Ok(trials.map(|_, test, score| found[test].normalize(score)))
    }

    /// The s-norm of each trial.
    ///
    /// # Errors
    ///
    /// As [`scores`](Self::scores), and if the cohort scores of a row of either side are all equal.
    pub fn s_norm(
        &self,
        enroll: Tensor<2>,
        test: Tensor<2>,
        trials: &[(usize, usize)],
    ) -> Result<Vec<f64>, EvaluationError> {
        let trials = self.read(enroll, test, trials)?;
        let of_enroll = self.cohort_scores(&trials.enroll, "enroll")?;
        let of_test = self.cohort_scores(&trials.test, "test")?;
        Ok(trials.map(|enroll, test, score| {
            (of_enroll[enroll].normalize(score) + of_test[test].normalize(score)) / 2.0
        }))
    }

    fn read<'a>(
        &self,
        enroll: Tensor<2>,
        test: Tensor<2>,
        pairs: &'a [(usize, usize)],
    ) -> Result<Trials<'a>, EvaluationError> {
        if pairs.is_empty() {
            return Err(EvaluationError::Empty { name: "trials" });
        }
        let read = |features: Tensor<2>, name| {
            let (queries, fitted) = (features.dims(), self.cohort().shape());
            if queries[1] != fitted[1] {
                let name = "cohort";
                return Err(KnnError::FeatureDim {
                    queries,
                    name,
                    fitted,
                }
                .into());
            }
            directions(Rows::read(features, name)?, name, self.mean.as_deref())
        };
        let (enroll, test) = (read(enroll, "enroll")?, read(test, "test")?);
        let outside =
            |(first, second): &(usize, usize)| *first >= enroll.len() || *second >= test.len();
        if let Some(index) = pairs.iter().position(outside) {
            let (first, second) = pairs[index];
            let (value, rule) = if first >= enroll.len() {
                (first, "the first number of a trial must be a row of enroll")
            } else {
                (second, "the second number of a trial must be a row of test")
            };
            return Err(EvaluationError::Value {
                name: "trials",
                value: value as f64,
                index,
                rule,
            });
        }
        Ok(Trials {
            enroll,
            test,
            pairs,
        })
    }

    fn cohort(&self) -> &Rows {
        match &self.cohort {
            Cohort::Compared(cohort) => cohort,
            Cohort::Searched(search) => search.references(),
        }
    }

    /// What each row has in common with the cohort.
    fn cohort_scores(
        &self,
        rows: &Rows,
        name: &'static str,
    ) -> Result<Vec<CohortScores>, EvaluationError> {
        let mut found = vec![CohortScores::default(); rows.len()];
        let numbers: Vec<usize> = (0..rows.len()).collect();
        match &self.cohort {
            Cohort::Compared(cohort) => Comparison::new(cohort, METRIC).for_each_query(
                rows,
                &numbers,
                &mut found,
                Vec::new,
                |nearest: &mut Vec<f64>, _, ranks, found| {
                    nearest.clear();
                    nearest.extend_from_slice(ranks);
                    if self.count < nearest.len() {
                        nearest.select_nth_unstable_by(self.count - 1, f64::total_cmp);
                        nearest.truncate(self.count);
                    }
                    found[0] = CohortScores::new(nearest, self.deviation);
                },
                &mut |_| (),
            ),
            Cohort::Searched(search) => {
                let at_once = (SCORES_AT_ONCE / self.count).max(1);
                for (numbers, found) in numbers.chunks(at_once).zip(found.chunks_mut(at_once)) {
                    let nearest = search.nearest(&rows.select(numbers), self.count);
                    for (nearest, found) in nearest.chunks_exact(self.count).zip(found) {
                        let ranks: Vec<f64> =
                            nearest.iter().map(|neighbor| neighbor.rank).collect();
                        *found = CohortScores::new(&ranks, self.deviation);
                    }
                }
            }
        }
        match found
            .iter()
            .position(|found| found.deviation < LEAST_DEVIATION)
        {
            Some(row) => Err(EvaluationError::Row {
                name,
                row,
                fault: "has equal cohort scores; their deviation must be above 0",
            }),
            None => Ok(found),
        }
    }
}

impl fmt::Debug for ScoreNorm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScoreNorm")
            .field("cohort", &self.cohort().shape())
            .field("count", &self.count)
            .field("deviation", &self.deviation)
            .finish_non_exhaustive()
    }
}

impl CohortScores {
    /// Takes at least two ranks, the negatives of cosines. Differences from the first one are exactly 0 where all are equal.
    fn new(ranks: &[f64], deviation: Deviation) -> Self {
        let count = ranks.len() as f64;
        let differences = || ranks.iter().map(|rank| rank - ranks[0]);
        let shift = differences().sum::<f64>() / count;
        let squares: f64 = differences().map(|value| (value - shift).powi(2)).sum();
        let divisor = match deviation {
            Deviation::Population => count,
            Deviation::Sample => count - 1.0,
        };
        Self {
            mean: METRIC.distance(ranks[0] + shift),
            deviation: (squares / divisor).sqrt(),
        }
    }

    fn normalize(&self, score: f64) -> f64 {
        (score - self.mean) / self.deviation
    }
}

impl Trials<'_> {
    /// A score for each trial, of its two rows and of their cosine.
    fn map(&self, score: impl Fn(usize, usize, f64) -> f64) -> Vec<f64> {
        let pairs = self.pairs.iter().map(|(enroll, test)| {
            let rows = [self.enroll.row(*enroll), self.test.row(*test)];
            score(
                *enroll,
                *test,
                METRIC.distance(METRIC.rank(rows[0], rows[1])),
            )
        });
        pairs.collect()
    }
}

/// The rows without the mean, of unit length. A row of zeros is refused.
fn directions(
    mut rows: Rows,
    name: &'static str,
    mean: Option<&[f64]>,
) -> Result<Rows, EvaluationError> {
    for row in rows.iter_mut() {
        let means = mean.unwrap_or_default();
        row.iter_mut()
            .zip(means)
            .for_each(|(value, mean)| *value -= mean);
    }
    let zero = rows
        .iter()
        .position(|row| row.iter().all(|value| *value == 0.0));
    match zero {
        Some(row) => Err(EvaluationError::Row {
            name,
            row,
            fault: "is zero; it must have a direction",
        }),
        None => Ok(KnnMetric::Cosine.prepare(rows)),
    }
}
