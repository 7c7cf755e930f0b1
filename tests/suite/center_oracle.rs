//! Loss, gradients and update of a batch by the formulas of the docs, in a loop over numbers that never overflow.

use burn::nn::loss::Reduction;
use burn::tensor::DType;
use burn_center_loss::{CenterDistance, CenterLossConfig, ClassBalance, Normalization, UpdateRule};

use crate::numbers::Number;

/// A batch, and the configuration and centers that it is given to.
#[derive(Clone, Copy)]
pub struct Oracle<'a> {
    pub config: &'a CenterLossConfig,
    /// Whether there is no reduction.
    pub per_sample: bool,
    /// `[batch_size][feature_dim]`
    pub features: &'a [Vec<f64>],
    /// The class of each sample; `None` for a sample that does not count.
    pub classes: &'a [Option<usize>],
    pub weights: &'a [f64],
    /// `[num_classes][feature_dim]`
    pub centers: &'a [Vec<f64>],
}

/// An expected value, and the size of what it was added up from: a sum is as exact as its terms.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    pub value: Number,
    pub scale: Number,
}

impl Expected {
    const ZERO: Self = Self {
        value: Number::ZERO,
        scale: Number::ZERO,
    };

    fn add(&mut self, value: Number, scale: Number) {
        self.value = self.value + value;
        self.scale = self.scale + scale;
    }

    /// Whether neither the value nor what it is computed from is beyond the type.
    pub fn is_within(&self, dtype: DType) -> bool {
        let largest = self.value.abs().max(self.scale * Number::from(8.0));
        largest < normal(dtype).1
    }

    /// Whether the value is also in the normal range of the type, or 0.
    pub fn is_normal(&self, dtype: DType) -> bool {
        let value = self.value.abs();
        self.is_within(dtype) && (value.is_zero() || value > normal(dtype).0)
    }

    /// Asserts that the value is right within `tolerance`, of the smallest normal number at least.
    pub fn assert_is(&self, actual: f64, tolerance: f64, dtype: DType, name: &str) {
        assert!(actual.is_finite(), "{name}: {actual} is not {self:?}");
        let error = (Number::from(actual) - self.value).abs();
        let floor = normal(dtype).0;
        assert!(
            error <= Number::from(tolerance) * self.scale.max(self.value.abs()).max(floor),
            "{name}: {actual:e} is not {:e}, a sum of {:e}",
            self.value.to_f64(),
            self.scale.to_f64()
        );
    }
}

/// The smallest normal and the largest number of a float type.
pub fn normal(dtype: DType) -> (Number, Number) {
    let (least, most) = match dtype {
        DType::F64 => (f64::MIN_POSITIVE, f64::MAX),
        _ => (f32::MIN_POSITIVE.into(), f32::MAX.into()),
    };
    (least.into(), most.into())
}

/// How a sample lies to its center.
struct Sample {
    class: usize,
    weight: Number,
    coefficient: Number,
    /// What the loss measures.
    offset: Vec<Number>,
    distance: Number,
    /// The part of the distance beyond the radius.
    beyond: Number,
    /// What the distance was computed from.
    slack: Number,
    feature: Direction,
    center: Direction,
}

/// The pull of a sample that counts on its center.
struct Pull {
    class: usize,
    weight: Number,
    row: Vec<Expected>,
}

/// A row and its direction.
struct Direction {
    row: Vec<Number>,
    norm: Number,
}

impl Direction {
    fn new(row: &[f64]) -> Self {
        let row: Vec<Number> = row.iter().map(|value| Number::from(*value)).collect();
        Self {
            norm: norm(&row),
            row,
        }
    }

    fn unit(&self) -> Vec<Number> {
        if self.norm.is_zero() {
            self.row.clone()
        } else {
            self.row.iter().map(|value| *value / self.norm).collect()
        }
    }

    /// The slope by the row of something whose slope by the direction is given.
    fn slope(&self, slope: &[Number]) -> Vec<Number> {
        let unit = self.unit();
        let along: Number = unit.iter().zip(slope).map(|(u, s)| *u * *s).sum();
        let across = unit.iter().zip(slope).map(|(u, s)| *s - *u * along);
        across.map(|value| value / self.norm).collect()
    }
}

fn norm(row: &[Number]) -> Number {
    row.iter()
        .map(|value| *value * *value)
        .sum::<Number>()
        .sqrt()
}

impl Oracle<'_> {
    fn total(&self, class: usize) -> Number {
        let of_class = (0..self.classes.len()).filter(|i| self.classes[*i] == Some(class));
        of_class.map(|i| Number::from(self.weights[i])).sum()
    }

    fn class_weight(&self, class: usize) -> Number {
        let weights = self.config.class_weights.as_ref();
        Number::from(weights.map_or(1.0, |weights| weights[class]))
    }

    /// What the losses are divided by.
    fn divisor(&self) -> Number {
        match &self.config.reduction {
            _ if self.per_sample => Number::from(1.0),
            Reduction::Sum => Number::from(1.0),
            Reduction::BatchMean => Number::from(self.classes.len() as f64),
            Reduction::Mean | Reduction::Auto => (0..self.centers.len())
                .map(|class| self.total(class) * self.class_weight(class))
                .sum(),
        }
    }

    fn coefficient(&self, i: usize, class: usize) -> Number {
        let weight = Number::from(self.weights[i]) * self.class_weight(class);
        if weight.is_zero() {
            return Number::ZERO;
        }
        let coefficient = Number::from(self.config.lambda) * weight / self.divisor();
        match self.config.class_balance {
            ClassBalance::None => coefficient,
            ClassBalance::Histogram => coefficient / self.total(class),
        }
    }

    /// Whether the number that a half squared distance is multiplied by is beyond `f64`. Such a batch is
    /// refused even where a small distance would bring the loss back into range.
    pub fn is_coefficient_beyond(&self) -> bool {
        let limit = Number::from(f64::MAX) * Number::from(1.0 - 1e-12);
        let mut samples = self.classes.iter().enumerate();
        samples.any(|(i, class)| class.is_some_and(|class| self.coefficient(i, class) > limit))
    }

    fn sample(&self, i: usize) -> Option<Sample> {
        let class = self.classes[i]?;
        let feature = Direction::new(&self.features[i]);
        let center = Direction::new(&self.centers[class]);
        let is_cosine = self.config.distance == CenterDistance::Cosine;
        let (x, c) = if is_cosine {
            (feature.unit(), center.unit())
        } else {
            (feature.row.clone(), center.row.clone())
        };
        let offset: Vec<Number> = x.iter().zip(c).map(|(x, c)| *x - c).collect();
        let distance = norm(&offset);
        let radius = Number::from(self.config.radius);
        Some(Sample {
            class,
            weight: Number::from(self.weights[i]),
            coefficient: self.coefficient(i, class),
            offset,
            distance,
            beyond: (distance - radius).max(Number::ZERO),
            slack: radius
                + if is_cosine {
                    Number::from(2.0)
                } else {
                    distance
                },
            feature,
            center,
        })
    }

    /// The loss, or one value per sample.
    pub fn value(&self) -> Vec<Expected> {
        let half = Number::from(0.5);
        let each = (0..self.classes.len()).map(|i| match self.sample(i) {
            None => Expected::ZERO,
            Some(sample) => Expected {
                value: sample.coefficient * half * sample.beyond * sample.beyond,
                scale: sample.coefficient * sample.slack * sample.slack,
            },
        });
        if self.per_sample {
            return each.collect();
        }
        let mut sum = Expected::ZERO;
        each.for_each(|loss| sum.add(loss.value, loss.scale));
        vec![sum]
    }

    /// The slope of a sample's loss by its offset, and the size of what it is computed from.
    fn slope(sample: &Sample) -> (Vec<Number>, Number) {
        let scale = sample.coefficient * sample.slack;
        let slope = |offset: &Number| {
            if sample.distance.is_zero() {
                Number::ZERO
            } else {
                sample.coefficient * sample.beyond * *offset / sample.distance
            }
        };
        (sample.offset.iter().map(slope).collect(), scale)
    }

    /// The gradient of all values together, `[batch_size][feature_dim]`.
    pub fn gradient(&self) -> Vec<Vec<Expected>> {
        let row = |i: usize| {
            let Some(sample) = self.sample(i) else {
                return vec![Expected::ZERO; self.features[i].len()];
            };
            let (slope, scale) = Self::slope(&sample);
            let (slope, scale) = match self.config.distance {
                // A difference is as exact as its result.
                CenterDistance::Euclidean if self.config.radius == 0.0 => (slope, Number::ZERO),
                CenterDistance::Euclidean => (slope, scale),
                CenterDistance::Cosine => {
                    (sample.feature.slope(&slope), scale / sample.feature.norm)
                }
            };
            let expected = |value| Expected { value, scale };
            slope.into_iter().map(expected).collect()
        };
        (0..self.classes.len()).map(row).collect()
    }

    /// The gradient of the centers under the gradient rule, `[num_classes][feature_dim]`.
    pub fn center_gradient(&self) -> Vec<Vec<Expected>> {
        let empty = vec![Expected::ZERO; self.centers[0].len()];
        let mut gradient = vec![empty; self.centers.len()];
        for sample in (0..self.classes.len()).filter_map(|i| self.sample(i)) {
            let (slope, scale) = Self::slope(&sample);
            let (slope, scale) = match self.config.distance {
                CenterDistance::Euclidean => (slope, scale),
                CenterDistance::Cosine => (sample.center.slope(&slope), scale / sample.center.norm),
            };
            for (sum, slope) in gradient[sample.class].iter_mut().zip(slope) {
                sum.add(-slope, scale);
            }
        }
        gradient
    }

    fn pulls(&self) -> Vec<Pull> {
        let pull = |sample: Sample| {
            let is_cosine = self.config.distance == CenterDistance::Cosine;
            let x = if is_cosine {
                sample.feature.unit()
            } else {
                sample.feature.row
            };
            let one = Number::from(1.0);
            let (share, exactness) = match (self.config.radius == 0.0, sample.distance.is_zero()) {
                (true, _) => (one, one),
                (false, true) => (Number::ZERO, Number::ZERO),
                (false, false) => (
                    sample.beyond / sample.distance,
                    sample.slack / sample.distance,
                ),
            };
            let row = x.iter().zip(&sample.center.row).map(|(x, c)| Expected {
                value: (*x - *c) * share,
                scale: if is_cosine {
                    (x.abs() + c.abs()) * exactness
                } else {
                    (*x - *c).abs() * exactness
                },
            });
            Pull {
                class: sample.class,
                weight: sample.weight,
                row: row.collect(),
            }
        };
        (0..self.classes.len())
            .filter_map(|i| self.sample(i))
            .map(pull)
            .collect()
    }

    /// The length of the longest pull, before the radius shortens it.
    pub fn reach(&self) -> Number {
        let free = self.config.clone().with_radius(0.0);
        let free = Oracle {
            config: &free,
            ..*self
        };
        let length = |pull: Pull| norm(&pull.row.iter().map(|x| x.value).collect::<Vec<_>>());
        let lengths = free.pulls().into_iter().map(length);
        lengths.fold(Number::ZERO, Number::max)
    }

    /// What the rule multiplies the mean pull of a class by, alpha included.
    pub fn factor(&self, class: usize) -> Number {
        let UpdateRule::Direct(rule) = &self.config.update_rule else {
            return Number::ZERO;
        };
        let total = self.total(class);
        let one = Number::from(1.0);
        let factor = match rule.normalization {
            _ if total.is_zero() => Number::ZERO,
            Normalization::Paper => total / (one + total),
            Normalization::Mean => one,
            Normalization::Sum => total,
        };
        factor * Number::from(rule.alpha)
    }

    /// The centers after one update, `[num_classes][feature_dim]`.
    pub fn updated(&self) -> Vec<Vec<Expected>> {
        let centers = self.centers.iter().map(|center| {
            let value = |value: &f64| Expected {
                value: Number::from(*value),
                scale: Number::from(*value).abs(),
            };
            center.iter().map(value).collect()
        });
        let mut centers: Vec<Vec<Expected>> = centers.collect();
        for Pull { class, weight, row } in self.pulls() {
            if weight.is_zero() {
                continue;
            }
            let factor = self.factor(class) * weight / self.total(class);
            // A mean pull, which is then multiplied by the total weight of its class, holds nothing
            // below the smallest number.
            let least = self.factor(class) * Number::from(f64::MIN_POSITIVE);
            for (center, pull) in centers[class].iter_mut().zip(row) {
                center.add(factor * pull.value, factor.max(least) * pull.scale);
            }
        }
        centers
    }
}

/// Asserts that each value is right, see [`Expected::assert_is`].
pub fn assert_all(name: &str, actual: &[f64], expected: &[Expected], tolerance: f64, dtype: DType) {
    assert_eq!(actual.len(), expected.len(), "{name}: length");
    for (i, (actual, expected)) in actual.iter().zip(expected).enumerate() {
        expected.assert_is(*actual, tolerance, dtype, &format!("{name}[{i}]"));
    }
}
