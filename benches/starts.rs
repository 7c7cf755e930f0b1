//! The number of kernels that one step starts on a GPU, for this crate and for plain tensor operations without checks:
//! `cargo bench --features wgpu,burn/fusion,burn/autotune --bench starts`. A part of a shape's name limits it to that shape:
//! `-- B128`.
//!
//! A step of center loss is one of a model that an optimizer steps. A step of the other losses is the loss and both
//! gradients. For the classifiers, B is the number of queries, and C that of centers or references.
//! Without `burn/fusion` every tensor operation starts a kernel of its own. On software adapters
//! `CUBECL_AUTOTUNE_LEVEL=minimal` saves minutes.

#[allow(dead_code, reason = "every bench runs a part of the cases")]
mod cases;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use burn::tensor::{Device, DeviceKind};
use burn_center_loss::{Checking, SoftmaxDistance};

use cases::center_loss::{CenterLossCase, PlainCenterLoss, Shape};
use cases::distance::{DistanceCase, PlainDistanceSoftmax};
use cases::margin::{MarginCase, PlainArcFace};
use cases::neighbors::{
    CentersShape, KnnCase, KnnShape, NearestCenterCase, PlainKnn, PlainNearestCenter,
};

const SHAPES: [Shape; 2] = [Shape::new(128, 10, 2), Shape::new(512, 20_000, 128)];
const NEIGHBORS: usize = 5;

/// Steps before the counted ones. In these Burn tries kernels and decides what to fuse.
const WARM_UP: usize = 5;
const COUNTED: usize = 3;

/// The beginning of a line that CubeCL logs for each kernel it starts.
const START: &str = "Executing ";
/// CubeCL writes its log on another thread. A log that has not grown for so long is complete.
const QUIET: Duration = Duration::from_millis(300);

/// The log of all kernels that this process starts.
struct Log {
    path: PathBuf,
}

impl Log {
    /// Lets CubeCL log into a directory. CubeCL reads its settings from the working directory at the first use of a
    /// device.
    fn begin(directory: &Path) -> Result<Self, Box<dyn Error>> {
        let path = directory.join("kernels.log");
        let settings = format!(
            "[profiling.logger]\nlevel = \"minimal\"\nfile = {path:?}\n\n[environment]\npath = \"local\"\n"
        );
        fs::write(directory.join("cubecl.toml"), settings)?;
        std::env::set_current_dir(directory)?;
        Ok(Self { path })
    }

    /// The number of kernels so far. The caller has waited for its device.
    fn starts(&self) -> usize {
        let mut text = String::new();
        loop {
            sleep(QUIET);
            // Before the first kernel there is no file.
            let now = fs::read_to_string(&self.path).unwrap_or_default();
            if now.len() == text.len() {
                return now.lines().filter(|line| line.starts_with(START)).count();
            }
            text = now;
        }
    }

    /// The number of kernels that a step starts, which waits for its device: a range where steps differ.
    fn starts_of<T>(&self, mut step: impl FnMut() -> T) -> String {
        for _ in 0..WARM_UP {
            drop(step());
        }
        let mut before = self.starts();
        let mut counts = [0; COUNTED];
        for count in &mut counts {
            drop(step());
            let after = self.starts();
            *count = after - before;
            before = after;
        }
        counts.sort_unstable();
        let (least, most) = (counts[0], counts[COUNTED - 1]);
        match least == most {
            true => least.to_string(),
            false => format!("{least} to {most}"),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo test --benches` runs every bench without arguments.
    let mut arguments: Vec<_> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        return Ok(());
    }
    arguments.retain(|argument| argument != "--bench");
    let is_wanted = |shape: &Shape| {
        arguments
            .iter()
            .all(|part| shape.to_string().contains(part))
    };
    let shapes: Vec<_> = SHAPES.into_iter().filter(is_wanted).collect();
    let directory = tempfile::tempdir()?;
    let log = Log::begin(directory.path())?;
    let device = Device::wgpu(DeviceKind::DefaultDevice);

    let line = |cells: Vec<String>| println!("| {} |", cells.join(" | "));
    let names = shapes.iter().map(Shape::to_string);
    let head = ["what", "computed by"].map(String::from).into_iter();
    line(head.chain(names).collect());
    println!("|{}", "---|".repeat(2 + shapes.len()));
    let row = |what: &str, by: &str, starts: &dyn Fn(Shape) -> String| {
        let starts = shapes.iter().map(|shape| starts(*shape));
        line(
            [what, by]
                .map(String::from)
                .into_iter()
                .chain(starts)
                .collect(),
        );
    };
    let (plain, ours) = ("plain tensor operations", "this crate");
    let (strict, deferred) = ("this crate, strict", "this crate, deferred");

    let center_loss = |by, make: fn(Shape, &Device) -> CenterLossCase| {
        row("center loss", by, &|shape| {
            let mut case = make(shape, &device);
            log.starts_of(|| case.step())
        });
    };
    center_loss(strict, CenterLossCase::strict);
    center_loss(deferred, CenterLossCase::deferred);
    row("center loss", plain, &|shape| {
        let mut case = PlainCenterLoss::new(shape, &device);
        log.starts_of(|| case.step())
    });

    for (by, checking) in [(strict, Checking::Strict), (deferred, Checking::Deferred)] {
        row("ArcFace", by, &|shape| {
            let case = MarginCase::arcface(shape, &device, checking);
            log.starts_of(|| case.forward_backward())
        });
    }
    row("ArcFace", plain, &|shape| {
        let case = PlainArcFace::new(shape, &device);
        log.starts_of(|| case.forward_backward())
    });

    for (by, checking) in [(strict, Checking::Strict), (deferred, Checking::Deferred)] {
        row("softmax over distances", by, &|shape| {
            let distance = SoftmaxDistance::SquaredEuclidean;
            let case = DistanceCase::checked(shape, distance, &device, checking);
            log.starts_of(|| case.forward_backward())
        });
    }
    row("softmax over distances", plain, &|shape| {
        let case = PlainDistanceSoftmax::new(shape, &device);
        log.starts_of(|| case.forward_backward())
    });

    let centers =
        |shape: Shape| CentersShape::new(shape.num_classes, shape.batch_size, shape.feature_dim);
    row("nearest center", ours, &|shape| {
        let case = NearestCenterCase::new(centers(shape), &device);
        log.starts_of(|| case.predict())
    });
    row("nearest center", plain, &|shape| {
        let case = PlainNearestCenter::new(centers(shape), &device);
        log.starts_of(|| case.predict())
    });
    let references = |shape: Shape| {
        let Shape {
            batch_size,
            num_classes,
            feature_dim,
            ..
        } = shape;
        KnnShape::new(num_classes, batch_size, feature_dim, NEIGHBORS)
    };
    row("k-NN", ours, &|shape| {
        let case = KnnCase::new(references(shape), &device);
        log.starts_of(|| case.predict())
    });
    row("k-NN", plain, &|shape| {
        let case = PlainKnn::new(references(shape), &device);
        log.starts_of(|| case.predict())
    });

    // A directory that is gone may not be the working directory on all systems.
    std::env::set_current_dir(env!("CARGO_MANIFEST_DIR"))?;
    Ok(())
}
