//! What is asked of the features: a loss, and the scores of the classes that belong to it.

use anyhow::Result;
use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::{Int, Tensor};
use burn_center_loss::{
    CenterLoss, DistanceSoftmax, KnnMetric, MarginSoftmax, NearestCenter, ProxyAnchor,
};

use super::softmax::Softmax;

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

impl Objective {
    /// The loss of a batch, `[1]`, and the scores of the classes without a margin, `[batch_size, num_classes]`, of the same
    /// pass. Moves centers, statistics and schedules, where there are any. With `plain_softmax`, a loss over angles is
    /// softmax over products with its class vectors instead.
    pub fn forward(
        &self,
        features: Tensor<2>,
        labels: Tensor<1, Int>,
        plain_softmax: bool,
    ) -> Result<(Tensor<1>, Tensor<2>)> {
        Ok(match self {
            Self::Margin(loss) if plain_softmax => {
                let logits = features.matmul(class_vectors(loss).transpose());
                let cross_entropy = CrossEntropyLossConfig::new().init(&logits.device());
                (cross_entropy.forward(logits.clone(), labels), logits)
            }
            Self::Softmax(softmax) => softmax.forward(features, labels)?,
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
            Self::Softmax(softmax) => softmax.logits(features),
            Self::Distance(loss) => loss.logits(features)?,
            Self::Margin(loss) => loss.logits(features)?,
            Self::ProxyAnchor(loss) => loss.logits(features)?,
        })
    }

    /// A classifier of the vectors of the classes: by position for centers, by direction for the others.
    pub fn nearest_center(&self) -> Result<Option<NearestCenter>> {
        Ok(match self {
            Self::Softmax(softmax) => match &softmax.center_loss {
                Some(center_loss) => Some(center_loss.nearest_center()?),
                None => None,
            },
            Self::Distance(loss) => Some(loss.nearest_center()?),
            Self::Margin(loss) => Some(loss.nearest_center()?),
            Self::ProxyAnchor(loss) => Some(loss.nearest_center()?),
        })
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

/// The class vectors of a loss, on the graph.
fn class_vectors(loss: &MarginSoftmax) -> Tensor<2> {
    struct Rows(Option<Tensor<2>>);

    impl ModuleVisitor for Rows {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let ([rows, columns], None) = (param.dims().as_slice(), &self.0) {
                self.0 = Some(param.val().reshape([*rows, *columns]));
            }
        }
    }

    let mut rows = Rows(None);
    loss.visit(&mut rows);
    rows.0
        .expect("the class vectors are the first matrix of the loss")
}
