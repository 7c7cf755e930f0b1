//! The choice of the device to compute on.

use std::fmt;

use anyhow::{Result, bail};
use burn::tensor::Device;
#[cfg(feature = "wgpu")]
use burn::tensor::{DeviceKind, DeviceType};
use clap::ValueEnum;

/// What `--device` can be set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeviceChoice {
    /// A GPU if the program was built for it and there is one, else the CPU
    Auto,
    /// The CPU
    Flex,
    /// A GPU through wgpu; needs a build with `--features wgpu`
    Wgpu,
    /// A software adapter of wgpu, which `auto` never takes; needs a build with `--features wgpu`
    WgpuCpu,
}

/// A device and its name for people.
#[derive(Clone)]
pub struct Chosen {
    pub device: Device,
    pub name: String,
}

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl DeviceChoice {
    /// What `--device` is set to for this choice.
    pub fn option(self) -> String {
        let value = self.to_possible_value().expect("no choice is hidden");
        value.get_name().to_owned()
    }

    /// The device, not in autodiff mode.
    pub fn open(self) -> Result<Chosen> {
        let (found, help) = match self {
            Self::Auto => (gpu(), ""),
            Self::Flex => (None, ""),
            Self::Wgpu => (
                gpu(),
                "no GPU found; check its Vulkan, Metal or DirectX driver, or use --device flex (the CPU) or --device \
                 wgpu-cpu (a software adapter, slow)",
            ),
            Self::WgpuCpu => (
                software_gpu(),
                "no software adapter found; install one, such as Mesa's lavapipe, or use --device flex (the CPU)",
            ),
        };
        match found {
            Some(found) => Ok(found),
            None if help.is_empty() => flex(),
            None if cfg!(feature = "wgpu") => bail!("--device {}: {help}", self.option()),
            None => bail!(
                "--device {}: this program was built without wgpu; build it with --features wgpu, or use --device flex",
                self.option()
            ),
        }
    }
}

#[cfg(feature = "flex")]
fn flex() -> Result<Chosen> {
    Ok(Chosen {
        device: Device::flex(),
        name: "flex (CPU)".to_owned(),
    })
}

#[cfg(not(feature = "flex"))]
fn flex() -> Result<Chosen> {
    bail!(
        "no GPU found, and this program was built without the CPU backend: build it with --features flex"
    )
}

/// The first adapter behind which there is a card.
#[cfg(feature = "wgpu")]
fn gpu() -> Option<Chosen> {
    Device::enumerate(DeviceType::Wgpu)
        .into_vec()
        .into_iter()
        .find_map(|device| {
            let identity = device.identity()?;
            identity.physical.as_ref()?;
            let name = format!("wgpu ({})", identity.name);
            Some(Chosen { device, name })
        })
}

#[cfg(feature = "wgpu")]
fn software_gpu() -> Option<Chosen> {
    let listed = Device::enumerate(DeviceType::Wgpu).into_vec();
    let device = Device::wgpu(DeviceKind::Cpu);
    listed.contains(&device).then(|| Chosen {
        name: match device.identity() {
            Some(identity) => format!("wgpu ({}, software)", identity.name),
            None => "wgpu (software)".to_owned(),
        },
        device,
    })
}

#[cfg(not(feature = "wgpu"))]
fn gpu() -> Option<Chosen> {
    None
}

#[cfg(not(feature = "wgpu"))]
fn software_gpu() -> Option<Chosen> {
    None
}
