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
    #[value(name = "cosface")]
    #[serde(rename = "cosface")]
    CosFace,
    /// Softmax over cosines; the angle to the target class grows by the margin
    #[value(name = "arcface")]
    #[serde(rename = "arcface")]
    ArcFace,
    /// Softmax over cosines times the length of the features; the angle to the target class is multiplied by the margin
    #[value(name = "sphereface")]
    #[serde(rename = "sphereface")]
    SphereFace,
    /// Softmax over cosines; the length of a feature decides between an angular and a cosine margin
    #[value(name = "adaface")]
    #[serde(rename = "adaface")]
    AdaFace,
    /// A proxy per class, which all samples of a batch are compared with
    ProxyAnchor,
}

impl Loss {
    /// The losses that the published figures are about, in the order in which they build on each other.
    pub const PUBLISHED: [Self; 3] = [Self::Softmax, Self::Joint, Self::Center];

    pub fn name(self) -> &'static str {
        match self {
            Self::Softmax => "softmax",
            Self::Joint => "joint",
            Self::Center => "center",
            Self::DistanceSoftmax => "distance-softmax",
            Self::NormalizedSoftmax => "normalized-softmax",
            Self::CosFace => "cosface",
            Self::ArcFace => "arcface",
            Self::SphereFace => "sphereface",
            Self::AdaFace => "adaface",
            Self::ProxyAnchor => "proxy-anchor",
        }
    }

    /// Whether the directions of the features are all that counts.
    pub fn is_angular(self) -> bool {
        !Self::PUBLISHED.contains(&self) && self != Self::DistanceSoftmax
    }

    /// Whether `option`, a field of [`Recipe`](super::Recipe), changes anything about this loss.
    pub fn has(self, option: &str) -> bool {
        let has_centers = matches!(self, Self::Joint | Self::Center);
        let softens = matches!(
            self,
            Self::DistanceSoftmax | Self::CosFace | Self::ArcFace | Self::AdaFace
        );
        match option {
            "lambda" => has_centers || self == Self::DistanceSoftmax,
            "lambda_warmup" => matches!(self, Self::Joint | Self::DistanceSoftmax),
            "alpha" | "update_rule" => self == Self::Joint,
            "class_balance" => self != Self::Softmax && self != Self::ProxyAnchor,
            "scale" => self.is_angular() || self == Self::DistanceSoftmax,
            "margin" => softens || matches!(self, Self::SphereFace | Self::ProxyAnchor),
            "margin_warmup" => softens,
            "softmax_start" => self.is_angular() && self != Self::ProxyAnchor,
            "class_rate" => self != Self::Center,
            _ => true,
        }
    }
}

/// The losses without repetition, and joint before center, which goes on from it.
pub fn with_joint(asked: &[Loss]) -> Vec<Loss> {
    let mut losses = Vec::new();
    for &loss in asked {
        if loss == Loss::Center {
            losses.push(Loss::Joint);
        }
        losses.push(loss);
    }
    let mut seen = Vec::new();
    losses.retain(|loss| {
        let is_new = !seen.contains(loss);
        seen.push(*loss);
        is_new
    });
    losses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_has_one_name_everywhere() {
        for &loss in Loss::value_variants() {
            let value = loss.to_possible_value().unwrap();
            assert_eq!(value.get_name(), loss.name());
            assert_eq!(serde_json::to_value(loss).unwrap(), loss.name());
        }
    }

    #[test]
    fn joint_comes_before_center() {
        use Loss::{ArcFace, Center, Joint, Softmax};
        let trained = with_joint(&[Softmax, Center, Softmax, Joint, ArcFace]);
        assert_eq!(trained, [Softmax, Joint, Center, ArcFace]);
    }
}
