//! A small model with center loss, trained over devices that other machines host.
//!
//! ```text
//! cargo run --example machines --features remote-server,remote-websocket -- serve --port 3000
//! cargo run --example machines --features remote-server,remote-websocket -- train ws://gpu-1:3000 ws://gpu-2:3000
//! ```
//!
//! `serve` hosts the default device of this build, without encryption and for everyone who reaches the port:
//! for a network that is trusted. `train` gives each host its share of every batch, and then trains on one device of
//! this machine with the same batches. It prints the losses of both side by side, and how far the centers are apart.

use std::error::Error;
use std::process::ExitCode;

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{GradientsAccumulator, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::remote::RemoteHost;
use burn::server::{RemoteServer, WebSocketTransport};
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_center_loss::{
    CenterLoss, CenterLossConfig, Checking, LossError, UpdateRule, UpdateTiming,
};

const USAGE: &str = "usage: machines serve --port PORT
       machines train ws://HOST:PORT...";

const CLASSES: usize = 4;
const SHARE: usize = 32;
const STEPS: usize = 40;
const RATE: f64 = 0.1;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["serve", "--port", port] => serve(port),
        ["train", hosts @ ..] if !hosts.is_empty() => train(hosts),
        _ => Err(USAGE.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(port: &str) -> Result<(), Box<dyn Error>> {
    let number: u16 = port
        .parse()
        .map_err(|_| format!("--port is {port}: it must be a number in 0..65536"))?;
    let device = Device::default();
    println!("serving {device:?} on port {number}, until Ctrl+C");
    RemoteServer::new([device]).serve(WebSocketTransport::new(number))?;
    Ok(())
}

#[derive(Module, Debug)]
struct Model {
    hidden: Linear,
    features: Linear,
    classes: Linear,
    center_loss: CenterLoss,
}

impl Model {
    /// The same model at every call: its parameters are drawn on this machine, whatever the device.
    fn new(device: &Device) -> Self {
        let here = Device::flex().autodiff();
        here.seed(7);
        let drawn = Self::undrawn(&here).into_record();
        Self::undrawn(device).load_record(drawn)
    }

    fn undrawn(device: &Device) -> Self {
        let rule = UpdateRule::paper().with_timing(UpdateTiming::OnStepShared);
        Self {
            hidden: LinearConfig::new(2, 16).init(device),
            features: LinearConfig::new(16, 2).init(device),
            classes: LinearConfig::new(2, CLASSES).init(device),
            center_loss: CenterLossConfig::new(CLASSES, 2)
                .with_lambda(0.1)
                .with_update_rule(rule)
                // Nothing is read back in a step, so that no step waits for a host.
                .with_checking(Checking::Deferred)
                .init(device),
        }
    }

    fn loss(&self, (points, labels): (Tensor<2>, Tensor<1, Int>)) -> Tensor<1> {
        let hidden = burn::tensor::activation::relu(self.hidden.forward(points));
        let features = self.features.forward(hidden);
        let logits = self.classes.forward(features.clone());
        let cross_entropy = CrossEntropyLossConfig::new().init(&logits.device());
        cross_entropy.forward(logits, labels.clone()) + self.center_loss.forward(features, labels)
    }
}

/// One host's share of a step: points around the middles of four classes.
fn share(step: usize, host: usize, device: &Device) -> (Tensor<2>, Tensor<1, Int>) {
    let mut state = (step * 64 + host) as u64 + 1;
    let mut noise = || {
        // Knuth's linear congruential generator.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let labels: Vec<i64> = (0..SHARE).map(|i| (i % CLASSES) as i64).collect();
    let points: Vec<f32> = labels
        .iter()
        .flat_map(|label| {
            let angle = *label as f32 * std::f32::consts::TAU / CLASSES as f32;
            [2.0 * angle.cos() + noise(), 2.0 * angle.sin() + noise()]
        })
        .collect();
    (
        Tensor::from_data(TensorData::new(points, [SHARE, 2]), device),
        Tensor::from_data(labels.as_slice(), device),
    )
}

/// Takes one step over all devices; the model is on the first one. Returns the model and the mean loss.
fn step(
    model: Model,
    optimizer: &mut ModuleOptimizer,
    number: usize,
    devices: &[Device],
) -> Result<(Model, Tensor<1>), LossError> {
    let first = &devices[0];
    let mut gradients = GradientsAccumulator::new();
    let mut losses = vec![];
    for (host, device) in devices.iter().enumerate() {
        // The whole model goes to the host, and the gradients come back.
        let replica = match host {
            0 => model.clone(),
            _ => model.clone().fork(device),
        };
        let loss = replica.loss(share(number, host, device));
        losses.push(loss.clone().without_autodiff().to_device(first));
        let of_host = GradientsParams::from_grads(loss.backward(), &replica);
        gradients.accumulate(&model, of_host.to_device(first, &model));
    }
    model.center_loss.apply_pending()?;
    let model = optimizer.step(RATE / devices.len() as f64, model, gradients.grads());
    Ok((model, Tensor::cat(losses, 0).mean()))
}

/// Trains over the devices. Returns the losses and the centers at the end.
fn trained(devices: &[Device]) -> Result<(Vec<f32>, Vec<f32>), Box<dyn Error>> {
    let mut model = Model::new(&devices[0]);
    let mut optimizer = SgdConfig::new().init();
    let mut losses = vec![];
    for number in 0..STEPS {
        let (next, loss) = step(model, &mut optimizer, number, devices)?;
        model = next;
        losses.push(loss);
    }
    // The first time that anything is read: here a host that has died is noticed.
    let skipped = model.center_loss.take_skipped()?;
    if skipped.total() > 0 {
        return Err(format!("skipped samples: {skipped}").into());
    }
    let losses = Tensor::cat(losses, 0).try_into_data()?.try_into_vec()?;
    let centers = model
        .center_loss
        .centers()
        .try_into_data()?
        .try_into_vec()?;
    Ok((losses, centers))
}

fn train(urls: &[&str]) -> Result<(), Box<dyn Error>> {
    let mut devices = vec![];
    for url in urls {
        let device = Device::remote_options(&RemoteHost::websocket(url)).init();
        let device = device.map_err(|error| format!("{url}: {error}"))?;
        devices.push(device.autodiff());
    }
    let (there, centers) = trained(&devices)?;
    let alone = vec![Device::flex().autodiff(); devices.len()];
    let (here, expected) = trained(&alone)?;

    println!("{:>4}  {:>9}  {:>9}", "step", "hosts", "here");
    for number in (0..STEPS).step_by(5).chain([STEPS - 1]) {
        println!("{number:>4}  {:>9.6}  {:>9.6}", there[number], here[number]);
    }
    let differences = centers.iter().zip(&expected).map(|(a, b)| (a - b).abs());
    let farthest = differences.fold(0.0_f32, f32::max);
    println!("centers differ by at most {farthest:e}");
    Ok(())
}
