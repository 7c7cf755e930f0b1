//! The choice of the device to compute on.

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

impl DeviceChoice {
    /// What `--device` is set to for this choice.
    pub fn option(self) -> String {
        let value = self.to_possible_value().expect("no choice is hidden");
        value.get_name().to_owned()
    }

    /// The device, not in autodiff mode.
    pub fn open(self) -> Result<Chosen> {
        let found = match self {
            Self::Auto | Self::Wgpu => gpu(),
            Self::Flex => None,
            Self::WgpuCpu => software_gpu(),
        };
        let option = self.option();
        match found {
            Some(found) => Ok(found),
            #[cfg(feature = "flex")]
            None if matches!(self, Self::Auto | Self::Flex) => Ok(Chosen {
                device: Device::flex(),
                name: "flex (CPU)".to_owned(),
            }),
            None if cfg!(feature = "wgpu") => bail!(
                "--device {option}: nothing of this kind found; check the Vulkan, Metal or DirectX driver (Mesa's lavapipe \
                 is a software adapter), or use --device flex (the CPU) in a build with --features flex"
            ),
            None => bail!(
                "--device {option}: this program was built without wgpu; build it with --features wgpu, or use --device flex"
            ),
        }
    }
}

/// The first adapter behind which there is a card.
#[cfg(feature = "wgpu")]
fn gpu() -> Option<Chosen> {
    let devices = Device::enumerate(DeviceType::Wgpu).into_vec();
    devices.into_iter().find_map(|device| {
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
        name: "wgpu (software)".to_owned(),
        device,
    })
}

#[cfg(not(feature = "wgpu"))]
fn gpu() -> Option<Chosen> {
    None
}

#[cfg(not(feature = "wgpu"))]
use gpu as software_gpu;
