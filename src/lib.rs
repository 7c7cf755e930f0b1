//! Center loss for [Burn](https://burn.dev), its relatives, and classification and evaluation on the same features.
//!
//! Center loss keeps one center per class in feature space. It pulls every feature towards the center of its class, and
//! moves the centers after the features. Beside a softmax loss it gives features that cluster by class. They serve k-NN
//! and nearest-center classification, retrieval, and telling known classes from unknown ones.
//!
//! # Which loss when
//!
//! | you want | use |
//! |---|---|
//! | compact classes beside cross-entropy | [`CenterLoss`]; [its page](center) says which update rule when |
//! | the same, and other classes pushed away | [`ContrastiveCenterLoss`], [`TripletCenterLoss`], [`IslandLoss`] |
//! | embeddings for faces, speakers or products | [`MarginSoftmax`]; [its page](margin) says which margin when |
//! | a classifier without a class layer, also for open sets | [`DistanceSoftmax`] |
//! | embeddings for retrieval, by proxies | [`ProxyAnchor`], [`ProxyNca`], [`SoftTriple`] |
//!
//! # What else when
//!
//! | you have, or want | use |
//! |---|---|
//! | the class of the nearest center | `nearest_center` of every loss, or [`NearestCenter`] |
//! | the class of most of the nearest samples | [`KnnClassifierConfig::fit`], [`fit_weighted`](KnnClassifierConfig::fit_weighted) |
//! | how good features are: retrieval, verification, open sets, clustering | [`evaluation`] |
//! | Burn's `Learner`, schedules, values to log | [`guide::training`] |
//! | gradient accumulation | [`UpdateTiming::OnStep`] and [`guide::accumulation`] |
//! | several devices, or devices of other machines | [`UpdateTiming::OnStepShared`] and [`guide::devices`] |
//! | sample weights, or errors as values | [`LabelledBatch`] and [`guide::batches`] |
//! | few samples of some classes | [`PkBatches`] and [`guide::batches`] |
//! | no waiting for a GPU at each step | [`Checking::Deferred`] and [`guide::checking`] |
//! | checkpoints, also of PyTorch; more classes later | [`guide::checkpoints`] |
//! | a word that is not clear | [`guide::glossary`] |
//!
//! The root has the names that most programs import. The other losses, classifiers and their settings are on the pages of
//! their modules, and can be imported from the root as well.
//!
//! # Example
//!
//! The loss is a field of the model, and each step of training calls its `forward`. [`guide::training`] has the same with Burn's
//! `Learner`.
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
//! names. Every other backend is a feature of `burn` alone. `train` adds `CenterMetric`, `AngleMetric`, `EvaluationMetric` and
//! `PkDataLoader` for Burn's `Learner`. `remote`, `remote-websocket` and `remote-server` are Burn's, for devices of other machines.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(missing_docs, unsafe_code)]

#[cfg(feature = "flex")]
mod backward;
pub mod batch;
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
pub mod metric;
pub mod neighbors;
mod reads;
mod reduce;
pub mod sampling;
mod schedule;
mod softmax;

pub use centers::CenterDType;
pub use distance::{CenterDistance, SoftmaxDistance};
pub use error::{LossError, SettingError};
pub use schedule::Schedule;

// The names that most programs import. Each has its page in its module.
#[doc(no_inline)]
pub use batch::{Checking, LabelledBatch};
#[doc(no_inline)]
pub use center::{CenterLoss, CenterLossConfig, UpdateRule};
#[doc(no_inline)]
pub use margin::{Margin, MarginSoftmax, MarginSoftmaxConfig};
#[doc(no_inline)]
pub use neighbors::{KnnClassifierConfig, NearestCenter};

// The other names, for short imports.
#[doc(hidden)]
pub use crate::{
    batch::{ClassBalance, SkippedSamples},
    center::{CenterStatistics, CenterUpdate, UpdateTiming},
    neighbors::{
        KnnClassifier, KnnClassifierData, KnnError, KnnMetric, KnnWeights, NearestCenterData,
        Neighbors,
    },
    proxy::{
        ProxyAnchor, ProxyAnchorConfig, ProxyNca, ProxyNcaConfig, SoftTriple, SoftTripleConfig,
    },
    relatives::{
        ContrastiveCenterLoss, ContrastiveCenterLossConfig, DistanceSoftmax, DistanceSoftmaxConfig,
        IslandLoss, IslandLossConfig, TripletCenterLoss, TripletCenterLossConfig,
    },
    sampling::{PkBatches, SamplingError},
};
#[cfg(feature = "train")]
#[doc(hidden)]
pub use crate::{
    metric::{AngleMetric, CenterMetric, EvaluationInput, EvaluationMetric, StatisticsMetric},
    sampling::PkDataLoader,
};

pub mod center {
    //! Center loss: one center per class, which moves after the features of its class.
    //!
    //! # Which rule when
    //!
    //! | you want | use |
    //! |---|---|
    //! | the method of the paper | [`UpdateRule::paper`], the default |
    //! | centers that go the part alpha of the way to the class means of each batch | [`UpdateRule::mean`] |
    //! | numbers that compare with facenet | [`UpdateRule::sum`] |
    //! | numbers that compare with an MXNet or PyTorch port | [`CenterLossConfig::mxnet`], [`UpdateRule::Gradient`] |
    //! | center loss alone, on a trained network | [`CenterLoss::init_from_data`], then `freeze` |
    //!
    //! [`guide::rules`](crate::guide::rules) has the formulas of all rules beside each other.

    pub use crate::centers::{CenterUpdate, Normalization};
    pub use crate::loss::center::{
        CenterLoss, CenterLossConfig, DirectRule, UpdateRule, UpdateTiming,
    };
    pub use crate::loss::statistics::CenterStatistics;
}

pub mod relatives {
    //! Relatives of center loss: their centers are parameters, which the optimizer of the model trains.
    //!
    //! | you want | use |
    //! |---|---|
    //! | centers that also push other classes away, beside cross-entropy | [`ContrastiveCenterLoss`] |
    //! | features nearer to their center than to any other by a margin | [`TripletCenterLoss`] |
    //! | centers in different directions, for few classes | [`IslandLoss`] |
    //! | a classifier whose classes are centers: GCPL, L-GM, CAC for open sets | [`DistanceSoftmax`] |

    pub use crate::loss::distance_softmax::{DistanceSoftmax, DistanceSoftmaxConfig};
    pub use crate::loss::relatives::{
        ContrastiveCenterLoss, ContrastiveCenterLossConfig, IslandLoss, IslandLossConfig,
        TripletCenterLoss, TripletCenterLossConfig, TripletDistance,
    };
}

pub mod margin {
    //! Softmax over cosines with a margin for the target class.
    //!
    //! A [`MarginSoftmax`] takes the place of the last layer and of cross-entropy. It compares directions, and lowers the score
    //! of the target class by a margin.
    //!
    //! # Which margin when
    //!
    //! | you want | use | used by default in |
    //! |---|---|---|
    //! | a baseline | [`MarginSoftmaxConfig::normalized_softmax`], at several scales | |
    //! | the loss of most published speaker and face models | [`Margin::arcface`], the default | wespeaker, SpeechBrain, pyannote, OpenMetricLearning |
    //! | the same with fewer surprises at obtuse angles | [`Margin::cosface`] | most configurations of insightface |
    //! | numbers that compare with another program | [`MarginSoftmaxConfig::insightface`], [`pytorch_metric_learning`](MarginSoftmaxConfig::pytorch_metric_learning), [`speechbrain`](MarginSoftmaxConfig::speechbrain), [`wespeaker`](MarginSoftmaxConfig::wespeaker) | |
    //! | classes of several clusters, or with wrong labels | [`sub_centers`](MarginSoftmaxConfig::sub_centers), then [`outliers`](MarginSoftmax::outliers) | mmpretrain, wespeaker |
    //! | classes of very different sizes | [`class_margins_from_counts`] | winners of landmark recognition contests |
    //! | images of very different quality | [`Margin::adaface`] | its authors' face models |
    //! | parity with older models | [`Margin::sphereface`] | |
    //!
    //! Evidence that one margin is better than another is thin. In recent measurements with equal scales a margin was not always
    //! distinguishable from none, while the scale made a difference of several points: choose the scale first. Published
    //! comparisons of ArcFace and CosFace differ by less than a point either way.
    //!
    //! # If it does not converge
    //!
    //! Log [`MarginSoftmax::angle_statistics`]:
    //!
    //! | the loss | cause | remedy |
    //! |---|---|---|
    //! | stays above 0, and no sample violates the margin | the scale is too small for so many classes | [`SuggestedScale`], or [`MarginSoftmaxConfig::adacos`] |
    //! | stays high, and most samples violate the margin | the margin is larger than features of this width can meet | [`Margin::largest`] |
    //! | does not fall from its start | the margin is too large for untrained features | start without it ([`margin_schedule`](MarginSoftmaxConfig::margin_schedule)), with a small scale ([`ScaleSchedule`]), or from a model trained with cross-entropy |

    pub use crate::loss::margin::{
        AdaFace, AngleStatistics, AngleSummary, ArcFace, BeyondPi, ClosestClasses, CombinedMargin,
        CosFace, Margin, MarginGradient, MarginSoftmax, MarginSoftmaxConfig, NormStatistics,
        Outliers, ScaleSchedule, SphereFace, SuggestedScale, class_margins_from_counts,
        largest_angle, normface_bound,
    };
}

pub mod proxy {
    //! Losses over proxies: class vectors that stand in for the samples of their class, so that no pairs or triplets of samples
    //! are needed.
    //!
    //! | you want | use |
    //! |---|---|
    //! | few proxies and many samples: each proxy is an anchor | [`ProxyAnchor`] |
    //! | the softmax over proxies of the paper, or of its successors | [`ProxyNca`] |
    //! | classes of several clusters | [`SoftTriple`] |
    //!
    //! [`PkBatches`](crate::sampling::PkBatches) gives batches in which each class has several samples.

    pub use crate::loss::proxy::{
        Denominator, ProxyAnchor, ProxyAnchorConfig, ProxyNca, ProxyNcaConfig, SoftTriple,
        SoftTripleConfig,
    };
}

/// Pages by task. The tests run every block of code on them.
pub mod guide {
    #[doc = "[rules]: crate::guide::rules\n[accumulation]: crate::guide::accumulation"]
    #[doc = "[devices]: crate::guide::devices\n"]
    #[doc = include_str!("../docs/training.md")]
    pub mod training {}

    #[doc = include_str!("../docs/rules.md")]
    pub mod rules {}

    #[doc = include_str!("../docs/accumulation.md")]
    pub mod accumulation {}

    #[doc = "[accumulation]: crate::guide::accumulation\n"]
    #[doc = include_str!("../docs/devices.md")]
    pub mod devices {}

    #[doc = include_str!("../docs/batches.md")]
    pub mod batches {}

    #[doc = include_str!("../docs/checking.md")]
    pub mod checking {}

    #[doc = "[accumulation]: crate::guide::accumulation\n"]
    #[doc = include_str!("../docs/checkpoints.md")]
    pub mod checkpoints {}

    #[doc = "[evaluation]: crate::evaluation\n"]
    #[doc = include_str!("../docs/glossary.md")]
    pub mod glossary {}
}

/// The code blocks of the README, run as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
