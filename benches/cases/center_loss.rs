//! A training step of center loss, as a whole and in parts.

use std::fmt;

use burn::nn::Initializer;
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Distribution, IndexingUpdateOp, Int, Tensor, Tolerance};
use burn_center_loss::{CenterLoss, CenterLossConfig, CenterUpdate, UpdateRule};

use super::devices::sync;

const ALPHA: f64 = 0.5;

/// How many samples, classes and columns.
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

    /// What the loss alone moves at least: features and the centers of the labels are read.
    pub fn bytes_of_evaluate(self) -> u64 {
        self.bytes(2)
    }

    /// What loss and gradient move at least: features and centers are read, the gradient is written.
    pub fn bytes_of_forward_backward(self) -> u64 {
        self.bytes(3)
    }

    /// What an update moves at least: pulls and centers are read, centers are written.
    pub fn bytes_of_update(self) -> u64 {
        self.bytes(3)
    }

    /// What a whole step moves at least: features and centers are read, gradient and centers are written.
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

    /// The gradient of the features under a loss of them.
    fn gradient(&self, loss: Tensor<1>) -> Tensor<2> {
        self.features
            .grad_remove(&mut loss.backward())
            .expect("the features receive gradients")
    }
}

/// The library's center loss on one batch. Every method waits for the device.
pub struct CenterLossCase {
    loss: CenterLoss,
    batch: Batch,
    device: Device,
}

impl CenterLossCase {
    /// On a plain device.
    pub fn new(
        shape: Shape,
        device: &Device,
        configure: impl FnOnce(CenterLossConfig) -> CenterLossConfig,
    ) -> Self {
        device.seed(1);
        let config = CenterLossConfig::new(shape.num_classes, shape.feature_dim)
            .with_alpha(ALPHA)
            .with_initializer(Initializer::Uniform { min: 0.0, max: 1.0 });
        let autodiff = device.clone().autodiff();
        let case = Self {
            loss: configure(config).init(&autodiff),
            batch: Batch::new(shape, &autodiff),
            device: device.clone(),
        };
        // Centers are drawn at their first use.
        drop(case.loss.centers());
        sync(device);
        case
    }

    /// The loss without gradients.
    pub fn evaluate(&self) -> Tensor<1> {
        let features = self.batch.features.clone().inner();
        let loss = self
            .loss
            .evaluate(features, self.batch.labels.clone().inner());
        sync(&self.device);
        loss
    }

    /// The sum of the features and its gradient: what autodiff takes for the least that can be done.
    pub fn sum_backward(&self) -> Tensor<2> {
        let gradient = self.batch.gradient(self.batch.features.clone().sum());
        sync(&self.device);
        gradient
    }

    /// The loss and the gradient of the features; the centers rest.
    pub fn forward_backward(&self) -> Tensor<2> {
        let loss = self
            .loss
            .evaluate(self.batch.features.clone(), self.batch.labels.clone());
        let gradient = self.batch.gradient(loss);
        sync(&self.device);
        gradient
    }

    /// What the batch would do to the centers.
    pub fn measure(&self) -> CenterUpdate {
        let features = self.batch.features.clone().inner();
        let (_, update) = self
            .loss
            .measure(features, self.batch.labels.clone().inner(), None)
            .expect("the batch is valid");
        sync(&self.device);
        update
    }

    /// The update of the centers, as [`measure`](Self::measure) gave it.
    pub fn apply(&self, update: CenterUpdate) {
        self.loss.apply(update).expect("the update is finite");
        sync(&self.device);
    }

    /// Forward, backward, and the update of the centers where the loss has one.
    pub fn step(&self) -> Tensor<2> {
        let loss = self
            .loss
            .forward(self.batch.features.clone(), self.batch.labels.clone());
        let gradient = self.batch.gradient(loss);
        sync(&self.device);
        gradient
    }
}

/// The gradient rule with its optimizer, plain SGD.
pub struct GradientRuleCase {
    loss: Option<CenterLoss>,
    batch: Batch,
    optimizer: ModuleOptimizer,
    device: Device,
}

impl GradientRuleCase {
    /// On a plain device.
    pub fn new(shape: Shape, device: &Device) -> Self {
        let CenterLossCase {
            loss,
            batch,
            device,
        } = CenterLossCase::new(shape, device, |config| {
            config.with_update_rule(UpdateRule::Gradient)
        });
        Self {
            loss: Some(loss),
            batch,
            optimizer: SgdConfig::new().init(),
            device,
        }
    }

    /// Forward, backward, and the optimizer's step on the centers.
    pub fn step(&mut self) -> Tensor<2> {
        let loss = self.loss.take().expect("every step puts the loss back");
        let value = loss.forward(self.batch.features.clone(), self.batch.labels.clone());
        let mut gradients = value.backward();
        let gradient = self
            .batch
            .features
            .grad_remove(&mut gradients)
            .expect("the features receive gradients");
        let gradients = GradientsParams::from_grads(gradients, &loss);
        self.loss = Some(self.optimizer.step(ALPHA, loss, gradients));
        sync(&self.device);
        gradient
    }
}

/// The paper's step by plain tensor operations: gather, difference, squares, mean, backward; then, for each class, the
/// sum of the differences over one more than their number. Nothing is checked.
pub struct PlainCenterLoss {
    centers: Tensor<2>,
    batch: Batch,
    num_classes: usize,
    device: Device,
}

impl PlainCenterLoss {
    /// On a plain device, with the data of [`CenterLossCase`].
    pub fn new(shape: Shape, device: &Device) -> Self {
        let CenterLossCase {
            loss,
            batch,
            device,
        } = CenterLossCase::new(shape, device, |config| config);
        Self {
            // Its only handle once the loss is gone, so that they are updated in place.
            centers: loss.centers(),
            batch,
            num_classes: shape.num_classes,
            device,
        }
    }

    /// Forward, backward, and the update of the centers.
    pub fn step(&mut self) -> Tensor<2> {
        let labels = self.batch.labels.clone().inner();
        let own = self.centers.clone().select(0, labels.clone());
        let differences = self.batch.features.clone() - Tensor::from_inner(own);
        let loss = differences.clone().square().sum_dim(1).mean() * 0.5;
        let gradient = self.batch.gradient(loss);

        let [batch_size] = labels.dims();
        let counts = Tensor::<1>::zeros([self.num_classes], &self.device).select_assign(
            0,
            labels.clone(),
            Tensor::ones([batch_size], &self.device),
            IndexingUpdateOp::Add,
        );
        let divisors = counts.select(0, labels.clone()) + 1.0;
        let rows = differences.inner() * ALPHA / divisors.unsqueeze_dim(1);
        self.centers
            .inplace(|centers| centers.select_assign(0, labels, rows, IndexingUpdateOp::Add));
        sync(&self.device);
        gradient
    }
}

/// A baseline that computes something else would say nothing.
pub fn assert_plain_step_is_the_same(shape: Shape, device: &Device) {
    let case = CenterLossCase::new(shape, device, |config| config);
    let mut plain = PlainCenterLoss::new(shape, device);
    let tolerance = Tolerance::<f32>::default();
    let same = |ours: Tensor<2>, plain: Tensor<2>| {
        ours.into_data()
            .assert_approx_eq(&plain.into_data(), tolerance)
    };
    same(case.step(), plain.step());
    same(case.loss.centers(), plain.centers);
}
