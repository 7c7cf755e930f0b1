//! What is asked of the features: a loss, and the scores of the classes that belong to it.

use anyhow::Result;
use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::Linear;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::{Int, Tensor};
use burn_center_loss::{
    CenterLoss, DistanceSoftmax, KnnMetric, MarginSoftmax, NearestCenter, ProxyAnchor,
};

/// A loss with all of its parameters.
// There is one at a time, so that a few hundred bytes more do not matter.
#[allow(clippy::large_enum_variant)]
#[derive(Module, Debug)]
pub enum Objective {
    Softmax(Softmax),
    Distance(DistanceSoftmax),
    Margin(MarginSoftmax),
    ProxyAnchor(ProxyAnchor),
}

/// Softmax cross-entropy over a class layer, with center loss beside it or in its place.
#[derive(Module, Debug)]
pub struct Softmax {
    pub class: Linear,
    pub center_loss: Option<CenterLoss>,
    /// Whether the center loss is all that is minimized.
    pub alone: bool,
}

impl Objective {
    /// The loss of a batch, `[1]`, and the scores of the classes without a margin, `[batch_size, num_classes]`, of the
    /// same pass. Moves centers, statistics and schedules, where there are any. With `plain_softmax`, a loss over
    /// angles is softmax over products with its class vectors instead.
    pub fn forward(
        &self,
        features: Tensor<2>,
        labels: Tensor<1, Int>,
        plain_softmax: bool,
    ) -> Result<(Tensor<1>, Tensor<2>)> {
        Ok(match self {
            Self::Margin(loss) if plain_softmax => {
                let logits = features.matmul(class_vectors(loss).transpose());
                (cross_entropy(&logits, labels), logits)
            }
            Self::Softmax(softmax) => {
                let logits = softmax.class.forward(features.clone());
                let Some(center_loss) = &softmax.center_loss else {
                    return Ok((cross_entropy(&logits, labels), logits));
                };
                let mut loss = center_loss.try_forward((features, labels.clone()))?;
                if !softmax.alone {
                    loss = cross_entropy(&logits, labels) + loss;
                }
                (loss, logits)
            }
            Self::Distance(loss) => loss.try_forward_with_logits((features, labels))?,
            Self::Margin(loss) => loss.try_forward_with_logits((features, labels))?,
            Self::ProxyAnchor(loss) => {
                let logits = loss.logits(features.clone())?;
                (loss.try_forward((features, labels))?, logits)
            }
        })
    }

    /// The scores of the classes without a margin.
    pub fn logits(&self, features: Tensor<2>) -> Result<Tensor<2>> {
        Ok(match self {
            Self::Softmax(softmax) => softmax.class.forward(features),
            Self::Distance(loss) => loss.logits(features)?,
            Self::Margin(loss) => loss.logits(features)?,
            Self::ProxyAnchor(loss) => loss.logits(features)?,
        })
    }

    /// A classifier of the vectors of the classes: by position for centers, by direction for the others.
    pub fn nearest_center(&self) -> Result<Option<NearestCenter>> {
        let classifier = match self {
            Self::Softmax(softmax) => softmax.center_loss.as_ref().map(CenterLoss::nearest_center),
            Self::Distance(loss) => Some(loss.nearest_center()),
            Self::Margin(loss) => Some(loss.nearest_center()),
            Self::ProxyAnchor(loss) => Some(loss.nearest_center()),
        };
        Ok(classifier.transpose()?)
    }

    /// How its features are compared: by position, or by direction if the loss knows nothing but directions.
    pub fn metric(&self) -> KnnMetric {
        match self {
            Self::Softmax(_) | Self::Distance(_) => KnnMetric::Euclidean,
            Self::Margin(_) | Self::ProxyAnchor(_) => KnnMetric::Cosine,
        }
    }

    /// The center loss, if there is one.
    pub fn center_loss(&self) -> Option<&CenterLoss> {
        match self {
            Self::Softmax(softmax) => softmax.center_loss.as_ref(),
            Self::Distance(_) | Self::Margin(_) | Self::ProxyAnchor(_) => None,
        }
    }
}

fn cross_entropy(logits: &Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
    let loss = CrossEntropyLossConfig::new().init(&logits.device());
    loss.forward(logits.clone(), labels)
}

/// The class vectors of a loss, on the graph: the first matrix of its parameters.
fn class_vectors(loss: &MarginSoftmax) -> Tensor<2> {
    struct First(Option<Tensor<2>>);

    impl ModuleVisitor for First {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let ([rows, columns], None) = (param.dims().as_slice(), &self.0) {
                self.0 = Some(param.val().reshape([*rows, *columns]));
            }
        }
    }

    let mut first = First(None);
    loss.visit(&mut first);
    first.0.expect("a loss over angles has class vectors")
}
