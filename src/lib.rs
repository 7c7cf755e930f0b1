//! Center loss for [Burn](https://burn.dev), other losses with a vector per class, and classification by distance and
//! evaluation on the same features.
//!
//! Center loss keeps one center per class in feature space. It pulls every feature towards the center of its class and
//! moves the centers after the features. Beside a softmax loss it gives features that cluster by class. They serve k-NN
//! and nearest-center classification, retrieval, and telling known classes from unknown ones.
//!
//! # Which one when
//!
//! | you want | use |
//! |---|---|
//! | compact classes beside cross-entropy | [`CenterLoss`] with [`UpdateRule::paper`], the default |
//! | centers that go a fixed part of the way to the class means of each batch | [`UpdateRule::mean`] |
//! | numbers that compare with facenet | [`UpdateRule::sum`] |
//! | numbers that compare with an MXNet or PyTorch port | [`CenterLossConfig::mxnet`], [`UpdateRule::Gradient`] |
//! | center loss alone, on a trained network | [`CenterLoss::init_from_data`], then `freeze` |
//! | gradient accumulation | [`UpdateTiming::OnStep`] and [`CenterLoss::apply_pending`] |
//! | several devices | [`UpdateTiming::OnStepShared`] and [`CenterLoss::apply_pending`] |
//! | devices of other machines | the features `remote` and `remote-websocket`, and [`Checking::Deferred`] |
//! | sample weights, or errors as values | [`CenterLoss::try_forward`] with a [`LabelledBatch`] |
//! | no waiting for a GPU at each step | [`Checking::Deferred`] and [`CenterLoss::take_skipped`] |
//! | embeddings for faces, speakers or products | [`MarginSoftmax`]: see [below](#which-margin-when) |
//! | a classifier whose classes are centers: GCPL, L-GM, CAC for open sets | [`DistanceSoftmax`] |
//! | embeddings for retrieval, by proxies | [`ProxyAnchor`], [`ProxyNca`], [`SoftTriple`] |
//! | the class of the nearest center | [`CenterLoss::nearest_center`], [`MarginSoftmax::nearest_center`], [`NearestCenter`] |
//! | the class of most of the nearest samples | [`KnnClassifier`] |
//! | how good the features are: retrieval, verification, open set, clustering | [`evaluation`] |
//!
//! # Which margin when
//!
//! A [`MarginSoftmax`] takes the place of the last layer and of cross-entropy. It compares directions, and lowers the score
//! of the target class by a margin.
//!
//! | you want | use | used by default in |
//! |---|---|---|
//! | a baseline | [`MarginSoftmaxConfig::normalized_softmax`], at several scales | |
//! | the loss of most published speaker and face models | [`Margin::arcface`], the default | wespeaker, SpeechBrain, pyannote, OpenMetricLearning |
//! | the same with fewer surprises at obtuse angles | [`Margin::cosface`] | most configurations of insightface |
//! | numbers that compare with another program | [`MarginSoftmaxConfig::insightface`], [`pytorch_metric_learning`](MarginSoftmaxConfig::pytorch_metric_learning), [`speechbrain`](MarginSoftmaxConfig::speechbrain), [`wespeaker`](MarginSoftmaxConfig::wespeaker) | |
//! | classes of several clusters, or with wrong labels | [`sub_centers`](MarginSoftmaxConfig::sub_centers), then [`outliers`](MarginSoftmax::outliers) | mmpretrain, wespeaker |
//! | classes of very different sizes | [`margin::class_margins_from_counts`] | winners of landmark recognition contests |
//! | images of very different quality | [`Margin::adaface`] | its authors' face models |
//! | parity with older models | [`Margin::sphereface`] | |
//!
//! Evidence that one margin is better than another is thin. In recent measurements with equal scales a margin was not always
//! distinguishable from none, while the scale made a difference of several points: choose the scale first. Published
//! comparisons of ArcFace and CosFace differ by less than a point either way.
//!
//! # Example
//!
//! A training step, written by hand. [`training`] has the same for Burn's `Learner`, the gradient rule, gradient
//! accumulation, several devices and machines, weights, schedules, checkpoints, strict and deferred checking, and half precision.
//!
//! ```
//! use burn::module::Module;
//! use burn::nn::loss::CrossEntropyLossConfig;
//! use burn::nn::{Linear, LinearConfig};
//! use burn::optim::{AdamConfig, GradientsParams};
//! use burn::tensor::{Device, Tensor};
//! use burn_center_loss::{CenterLoss, CenterLossConfig};
//!
//! #[derive(Module, Debug)]
//! struct Model {
//!     features: Linear,
//!     classes: Linear,
//!     center_loss: CenterLoss,
//! }
//!
//! let device = Device::flex().autodiff();
//! let mut model = Model {
//!     features: LinearConfig::new(4, 2).init(&device),
//!     classes: LinearConfig::new(2, 3).init(&device),
//!     center_loss: CenterLossConfig::new(3, 2).with_lambda(0.1).init(&device),
//! };
//! let mut optimizer = AdamConfig::new().init();
//! let inputs = Tensor::<2>::from_data([[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0]], &device);
//! let labels = Tensor::from_data([0, 1, 2], &device);
//!
//! for _ in 0..100 {
//!     let features = model.features.forward(inputs.clone());
//!     let logits = model.classes.forward(features.clone());
//!     let softmax = CrossEntropyLossConfig::new().init(&device).forward(logits, labels.clone());
//!     let loss = softmax + model.center_loss.forward(features, labels.clone());
//!     let gradients = GradientsParams::from_grads(loss.backward(), &model);
//!     model = optimizer.step(0.1, model, gradients);
//! }
//!
//! let classifier = model.center_loss.nearest_center()?;
//! let features = model.features.forward(inputs).inner();
//! assert_eq!(classifier.score(features, labels.inner())?, 1.0);
//! # Ok::<(), burn_center_loss::KnnError>(())
//! ```
//!
//! # Features
//!
//! `flex`, `simd`, `rayon` and `x86-v4` are on by default and give a fast CPU backend, which chooses the vector instructions of
//! the processor at run time. `wgpu` and `ndarray` (deprecated by Burn in favour of `flex`) turn on Burn's backends of these
//! names. Every other backend is a feature of `burn` alone. `train` adds `CenterMetric`, `AngleMetric` and `EvaluationMetric` for Burn's
//! `Learner`. `remote`, `remote-websocket` and `remote-server` are Burn's, for devices of other machines.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(missing_docs, unsafe_code)]

#[cfg(feature = "flex")]
mod backward;
mod batch;
mod centers;
mod device;
mod distance;
mod error;
pub mod evaluation;
#[cfg(feature = "flex")]
mod host;
mod loops;
mod loss;
#[cfg(feature = "train")]
mod metric;
mod neighbors;
mod reads;
mod reduce;
mod schedule;
mod softmax;

pub use batch::{Checking, ClassBalance, LabelledBatch, SkippedSamples};
pub use centers::{CenterDType, CenterUpdate};
pub use distance::{CenterDistance, SoftmaxDistance};
pub use error::{LossError, SettingError};
pub use loss::center::{CenterLoss, CenterLossConfig, UpdateRule, UpdateTiming};
pub use loss::distance_softmax::{DistanceSoftmax, DistanceSoftmaxConfig};
pub use loss::margin::{Margin, MarginSoftmax, MarginSoftmaxConfig};
pub use loss::proxy::{
    ProxyAnchor, ProxyAnchorConfig, ProxyNca, ProxyNcaConfig, SoftTriple, SoftTripleConfig,
};
pub use loss::statistics::CenterStatistics;
#[cfg(feature = "train")]
pub use metric::{AngleMetric, CenterMetric, EvaluationInput, EvaluationMetric, StatisticsMetric};
pub use neighbors::{
    KnnClassifier, KnnClassifierConfig, KnnClassifierData, KnnError, KnnMetric, KnnWeights,
    NearestCenter, NearestCenterData, Neighbors,
};
pub use schedule::Schedule;

/// Settings of the rules that move the centers of a [`CenterLoss`].
pub mod center {
    pub use crate::centers::Normalization;
    pub use crate::loss::center::DirectRule;
}

/// The margins of a [`MarginSoftmax`], and what belongs to them.
pub mod margin {
    pub use crate::loss::margin::{
        AdaFace, AngleStatistics, AngleSummary, ArcFace, BeyondPi, ClosestClasses, CombinedMargin,
        CosFace, MarginGradient, NormStatistics, Outliers, ScaleSchedule, SphereFace,
        SuggestedScale, class_margins_from_counts, largest_angle, normface_bound,
    };
}

/// Settings of the proxy losses.
pub mod proxy {
    pub use crate::loss::proxy::Denominator;
}

#[doc = include_str!("../docs/training.md")]
pub mod training {}

/// The code blocks of the README, run as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
