//! A training step of center loss, as a whole and in parts. All uses of the loss by the benches are in this file.

use std::fmt;

use burn::module::{Module, ModuleDisplay, Param};
use burn::nn::Initializer;
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Distribution, IndexingUpdateOp, Int, Tensor, Tolerance};
use burn_center_loss::{
    CenterLoss, CenterLossConfig, CenterUpdate, Checking, ContrastiveCenterLoss,
    ContrastiveCenterLossConfig, UpdateRule,
};

use super::devices::sync;

/// The rate of the centers, and the optimizer's.
const ALPHA: f64 = 0.5;

/// The numbers of samples, classes and columns.
#[derive(Clone, Copy)]
pub struct Shape {
    pub batch_size: usize,
    pub num_classes: usize,
    pub feature_dim: usize,
}

impl Shape {
    pub const fn new(batch_size: usize, num_classes: usize, feature_dim: usize) -> Self {
        Self {
            batch_size,
            num_classes,
            feature_dim,
        }
    }

    /// The bytes of the labels and of `matrices` matrices as large as the features.
    fn bytes(self, matrices: usize) -> u64 {
        let values = size_of::<f32>() * matrices * self.batch_size * self.feature_dim;
        (values + size_of::<i64>() * self.batch_size) as u64
    }

    /// The least bytes of the loss alone: it reads the features and the centers of their classes.
    pub fn bytes_of_evaluate(self) -> u64 {
        self.bytes(2)
    }

    /// The least bytes of loss and gradient: they read features and centers, and write the gradient.
    pub fn bytes_of_forward_backward(self) -> u64 {
        self.bytes(3)
    }

    /// The least bytes of an update: it reads features and centers, and writes the centers.
    pub fn bytes_of_update(self) -> u64 {
        self.bytes(3)
    }

    /// The least bytes of a whole step: it reads features and centers, and writes gradient and centers.
    pub fn bytes_of_step(self) -> u64 {
        self.bytes(4)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            batch_size,
            num_classes,
            feature_dim,
        } = self;
        write!(f, "B{batch_size}_C{num_classes}_D{feature_dim}")
    }
}

/// Features that receive gradients, as a network's output does, and labels.
struct Batch {
    features: Tensor<2>,
    labels: Tensor<1, Int>,
}

impl Batch {
    fn new(shape: Shape, device: &Device) -> Self {
        let classes = Distribution::Uniform(0.0, shape.num_classes as f64);
        let size = [shape.batch_size, shape.feature_dim];
        Self {
            features: Tensor::random(size, Distribution::Default, device).require_grad(),
            labels: Tensor::random([shape.batch_size], classes, device),
        }
    }
}

/// The model that the optimizer steps: center loss and a parameter in place of a network.
///
/// A network's parameters would take the same time for every contestant and hide the loss. So there is one parameter of
/// `[feature_dim]`, whose sum is added to the loss, as the loss of a classifier would be.
#[derive(Module, Debug)]
struct Model<L: Module> {
    loss: L,
    network: Param<Tensor<1>>,
}

/// A model in training, always on the same batch.
struct Training<L: Module> {
    /// Empty only while a step runs.
    model: Option<Model<L>>,
    optimizer: ModuleOptimizer,
    batch: Batch,
    device: Device,
}

impl<L: Module + ModuleDisplay> Training<L> {
    /// A loss on an autodiff device, and the network and the batch on the same one.
    fn new(loss: L, shape: Shape, device: &Device) -> Self {
        let autodiff = device.clone().autodiff();
        let network = Tensor::random([shape.feature_dim], Distribution::Default, &autodiff);
        let network = Param::from_tensor(network);
        let training = Self {
            model: Some(Model { loss, network }),
            optimizer: SgdConfig::new().init(),
            batch: Batch::new(shape, &autodiff),
            device: device.clone(),
        };
        sync(device);
        training
    }

    fn loss(&self) -> &L {
        &self
            .model
            .as_ref()
            .expect("every step puts the model back")
            .loss
    }

    /// Forward, backward and the optimizer's step on the whole model. Gives the gradient of the features, which a
    /// network would take from here.
    fn step(&mut self, forward: impl FnOnce(L, &Batch) -> (L, Tensor<1>)) -> Tensor<2> {
        let Model { loss, network } = self.model.take().expect("every step puts the model back");
        let (loss, value) = forward(loss, &self.batch);
        let model = Model { loss, network };
        let mut gradients = (value + model.network.val().sum()).backward();
        let gradient = self
            .batch
            .features
            .grad_remove(&mut gradients)
            .expect("the features receive gradients");
        let gradients = GradientsParams::from_grads(gradients, &model);
        self.model = Some(self.optimizer.step(ALPHA, model, gradients));
        sync(&self.device);
        gradient
    }
}

/// The library's center loss in a model that an optimizer steps, on one batch. Every method waits for the device.
pub struct CenterLossCase {
    training: Training<CenterLoss>,
}

impl CenterLossCase {
    /// The paper's rule with strict checking, on a plain device.
    pub fn strict(shape: Shape, device: &Device) -> Self {
        Self::new(shape, device, |config| config)
    }

    /// The paper's rule with deferred checking, on a plain device.
    pub fn deferred(shape: Shape, device: &Device) -> Self {
        Self::new(shape, device, |config| {
            config.with_checking(Checking::Deferred)
        })
    }

    /// Centers as a parameter that the optimizer moves, on a plain device.
    pub fn gradient_rule(shape: Shape, device: &Device) -> Self {
        Self::with_rule(shape, device, UpdateRule::Gradient)
    }

    /// Every rule by its name, on a plain device.
    pub fn rules(
        shape: Shape,
        device: &Device,
    ) -> impl Iterator<Item = (&'static str, Self)> + use<> {
        let device = device.clone();
        [
            ("Paper", UpdateRule::paper()),
            ("Mean", UpdateRule::mean()),
            ("Sum", UpdateRule::sum()),
            ("Gradient", UpdateRule::Gradient),
            ("Frozen", UpdateRule::Frozen),
        ]
        .into_iter()
        .map(move |(name, rule)| (name, Self::with_rule(shape, &device, rule)))
    }

    fn with_rule(shape: Shape, device: &Device, rule: UpdateRule) -> Self {
        Self::new(shape, device, |config| config.with_update_rule(rule))
    }

    fn new(
        shape: Shape,
        device: &Device,
        configure: impl FnOnce(CenterLossConfig) -> CenterLossConfig,
    ) -> Self {
        device.seed(1);
        let config = CenterLossConfig::new(shape.num_classes, shape.feature_dim)
            .with_update_rule(UpdateRule::paper().with_alpha(ALPHA))
            .with_initializer(Initializer::Uniform { min: 0.0, max: 1.0 });
        let loss = configure(config).init(&device.clone().autodiff());
        // Centers are drawn at their first use.
        drop(loss.centers());
        let training = Training::new(loss, shape, device);
        Self { training }
    }

    /// The loss without gradients.
    pub fn evaluate(&self) -> Tensor<1> {
        let Batch { features, labels } = &self.training.batch;
        let loss = self
            .training
            .loss()
            .evaluate(features.clone().inner(), labels.clone().inner());
        sync(&self.training.device);
        loss
    }

    /// The loss and the gradient of the features alone: the centers rest, and no optimizer steps.
    pub fn forward_backward(&self) -> Tensor<2> {
        let Batch { features, labels } = &self.training.batch;
        let loss = self
            .training
            .loss()
            .evaluate(features.clone(), labels.clone());
        let gradient = features
            .grad_remove(&mut loss.backward())
            .expect("the features receive gradients");
        sync(&self.training.device);
        gradient
    }

    /// The update of the centers by the batch, which is not applied.
    pub fn measure(&self) -> CenterUpdate {
        let Batch { features, labels } = &self.training.batch;
        let (_, update) = self
            .training
            .loss()
            .measure((features.clone().inner(), labels.clone().inner()))
            .expect("the batch is valid");
        sync(&self.training.device);
        update
    }

    /// The update of the centers, as [`measure`](Self::measure) gave it.
    pub fn apply(&self, update: CenterUpdate) {
        self.training
            .loss()
            .apply(update)
            .expect("the update is finite");
        sync(&self.training.device);
    }

    /// A training step: forward, backward, the update of the centers by the rule, and the optimizer's step on the model.
    pub fn step(&mut self) -> Tensor<2> {
        self.training.step(|loss, batch| {
            let value = loss.forward(batch.features.clone(), batch.labels.clone());
            (loss, value)
        })
    }

    /// The same step with the centers at rest.
    pub fn step_at_rest(&mut self) -> Tensor<2> {
        self.training.step(|loss, batch| {
            let value = loss.evaluate(batch.features.clone(), batch.labels.clone());
            (loss, value)
        })
    }

    /// The same step with the sum of the features in place of center loss: the share of autodiff and optimizer.
    pub fn sum_step(&mut self) -> Tensor<2> {
        self.training
            .step(|loss, batch| (loss, batch.features.clone().sum()))
    }
}

/// Contrastive-center loss in a model that an optimizer steps, with the data of [`CenterLossCase`].
pub struct ContrastiveCenterCase {
    training: Training<ContrastiveCenterLoss>,
}

impl ContrastiveCenterCase {
    pub fn new(shape: Shape, device: &Device) -> Self {
        device.seed(1);
        let loss = ContrastiveCenterLossConfig::new(shape.num_classes, shape.feature_dim)
            .with_lambda(1.0)
            .with_initializer(Initializer::Uniform { min: 0.0, max: 1.0 })
            .init(&device.clone().autodiff());
        drop(loss.centers());
        Self {
            training: Training::new(loss, shape, device),
        }
    }

    /// A training step: forward, backward, and the optimizer's step on the model with the centers.
    pub fn step(&mut self) -> Tensor<2> {
        self.training.step(|loss, batch| {
            let value = loss.forward(batch.features.clone(), batch.labels.clone());
            (loss, value)
        })
    }
}

/// The paper's step by plain tensor operations: gather, difference, squares, mean, backward; then, for each class, the
/// sum of the differences over one more than their number. Nothing is checked. The centers are a parameter of the model
/// that receives no gradient.
pub struct PlainCenterLoss {
    training: Training<Param<Tensor<2>>>,
    num_classes: usize,
}

impl PlainCenterLoss {
    /// On a plain device, with the data of [`CenterLossCase`].
    pub fn new(shape: Shape, device: &Device) -> Self {
        let Training {
            model,
            optimizer,
            batch,
            device,
        } = CenterLossCase::strict(shape, device).training;
        let model = model.map(|Model { loss, network }| {
            let centers = Param::from_tensor(Tensor::from_inner(loss.centers()));
            Model {
                loss: centers.set_require_grad(false),
                network,
            }
        });
        Self {
            training: Training {
                model,
                optimizer,
                batch,
                device,
            },
            num_classes: shape.num_classes,
        }
    }

    /// A training step, as [`CenterLossCase::step`].
    pub fn step(&mut self) -> Tensor<2> {
        let num_classes = self.num_classes;
        self.training.step(|centers, batch| {
            let labels = batch.labels.clone().inner();
            let targets = centers.val().inner().select(0, labels.clone());
            let differences = batch.features.clone() - Tensor::from_inner(targets);
            let loss = differences.clone().square().sum_dim(1).mean() * 0.5;

            let [batch_size] = labels.dims();
            let device = labels.device();
            let counts = Tensor::<1>::zeros([num_classes], &device).select_assign(
                0,
                labels.clone(),
                Tensor::ones([batch_size], &device),
                IndexingUpdateOp::Add,
            );
            let divisors = counts.select(0, labels.clone()) + 1.0;
            let rows = differences.inner() * ALPHA / divisors.unsqueeze_dim(1);
            // The parameter holds the only handle, so that the centers are changed in place.
            let centers = centers.map(|centers| {
                let centers = centers.inner();
                let centers = centers.select_assign(0, labels, rows, IndexingUpdateOp::Add);
                Tensor::from_inner(centers)
            });
            (centers, loss)
        })
    }
}

/// A baseline that computes something else would say nothing.
pub fn assert_plain_step_is_the_same(shape: Shape, device: &Device) {
    let mut case = CenterLossCase::strict(shape, device);
    let mut plain = PlainCenterLoss::new(shape, device);
    let tolerance = Tolerance::<f32>::default();
    let same = |ours: Tensor<2>, plain: Tensor<2>| {
        ours.into_data()
            .assert_approx_eq(&plain.into_data(), tolerance)
    };
    same(case.step(), plain.step());
    same(
        case.training.loss().centers(),
        plain.training.loss().val().inner(),
    );
}
