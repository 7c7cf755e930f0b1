//! The number of kernels that one step starts on a GPU, for this crate and for plain tensor operations without checks:
//! `cargo bench --features wgpu,burn/fusion,burn/autotune --bench starts`.
//!
//! A step of center loss is one of a model that an optimizer steps. A step of ArcFace is the loss and both gradients.
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
use burn_center_loss::Checking;

use cases::center_loss::{CenterLossCase, PlainCenterLoss, Shape};
use cases::margin::{MarginCase, PlainArcFace};

const SHAPES: [Shape; 2] = [Shape::new(128, 10, 2), Shape::new(512, 20_000, 128)];

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

fn row(loss: &str, way: &str, starts: [String; SHAPES.len()]) {
    println!("| {loss} | {way} | {} |", starts.join(" | "));
}

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo test --benches` runs every bench without arguments.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    let log = Log::begin(directory.path())?;
    let device = Device::wgpu(DeviceKind::DefaultDevice);

    println!("| loss | computed by | {} | {} |", SHAPES[0], SHAPES[1]);
    println!("|---|---|---|---|");
    let center_loss = |way, make: fn(Shape, &Device) -> CenterLossCase| {
        let starts = SHAPES.map(|shape| {
            let mut case = make(shape, &device);
            log.starts_of(|| case.step())
        });
        row("center loss", way, starts);
    };
    center_loss("this crate, strict", CenterLossCase::strict);
    center_loss("this crate, deferred", CenterLossCase::deferred);
    let starts = SHAPES.map(|shape| {
        let mut case = PlainCenterLoss::new(shape, &device);
        log.starts_of(|| case.step())
    });
    row("center loss", "plain tensor operations", starts);

    for (way, checking) in [
        ("this crate, strict", Checking::Strict),
        ("this crate, deferred", Checking::Deferred),
    ] {
        let starts = SHAPES.map(|shape| {
            let case = MarginCase::arcface(shape, &device, checking);
            log.starts_of(|| case.forward_backward())
        });
        row("ArcFace", way, starts);
    }
    let starts = SHAPES.map(|shape| {
        let case = PlainArcFace::new(shape, &device);
        log.starts_of(|| case.forward_backward())
    });
    row("ArcFace", "plain tensor operations", starts);

    // A directory that is gone may not be the working directory on all systems.
    std::env::set_current_dir(env!("CARGO_MANIFEST_DIR"))?;
    Ok(())
}
