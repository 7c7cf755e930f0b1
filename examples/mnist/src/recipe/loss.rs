//! The losses by name, and which options each has.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What is minimized.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Softmax cross-entropy alone
    #[default]
    Softmax,
    /// Softmax cross-entropy and center loss
    Joint,
    /// Center loss alone, from a trained joint run on, with its centers at rest
    Center,
    /// Softmax over distances to centers, which are both class layer and centers; the margin is a part of the distance to
    /// the own center
    DistanceSoftmax,
    /// Softmax over cosines, without a margin
    NormalizedSoftmax,
    /// Softmax over cosines; the cosine of the target class is lowered by the margin
    Cosface,
    /// Softmax over cosines; the angle to the target class grows by the margin
    Arcface,
    /// Softmax over cosines times the length of the features; the angle to the target class is multiplied by the margin
    Sphereface,
    /// Softmax over cosines; the length of a feature decides between an angular and a cosine margin
    Adaface,
    /// A proxy per class, which all samples of a batch are compared with
    ProxyAnchor,
}

use Loss::*;

impl Loss {
    /// The loss in the words of the command line.
    pub fn name(self) -> String {
        let value = self.to_possible_value().expect("no loss is hidden");
        value.get_name().to_owned()
    }

    /// Whether the directions of the features are all that counts.
    pub fn is_angular(self) -> bool {
        self.has("scale") && self != DistanceSoftmax
    }

    /// Whether `option`, a field of [`Recipe`](super::Recipe), changes anything about this loss.
    pub fn has(self, option: &str) -> bool {
        match option {
            "lambda" => matches!(self, Joint | Center | DistanceSoftmax),
            "lambda_warmup" => matches!(self, Joint | DistanceSoftmax),
            "alpha" | "update_rule" => self == Joint,
            "class_balance" => !matches!(self, Softmax | ProxyAnchor),
            "scale" => !matches!(self, Softmax | Joint | Center),
            "margin" => !matches!(self, Softmax | Joint | Center | NormalizedSoftmax),
            "margin_warmup" => matches!(self, DistanceSoftmax | Cosface | Arcface | Adaface),
            "softmax_start" => self.is_angular() && self != ProxyAnchor,
            "class_rate" => self != Center,
            _ => true,
        }
    }
}

/// The losses without repetition, and joint before center, which goes on from it.
pub fn with_joint(asked: &[Loss]) -> Vec<Loss> {
    let mut losses = Vec::new();
    for &loss in asked {
        let before = if loss == Center { Joint } else { loss };
        for loss in [before, loss] {
            if !losses.contains(&loss) {
                losses.push(loss);
            }
        }
    }
    losses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_has_one_name_everywhere() {
        for &loss in Loss::value_variants() {
            assert_eq!(serde_json::to_value(loss).unwrap(), loss.name());
        }
    }

    #[test]
    fn joint_comes_before_center() {
        let trained = with_joint(&[Softmax, Center, Softmax, Joint, Arcface]);
        assert_eq!(trained, [Softmax, Joint, Center, Arcface]);
    }
}
