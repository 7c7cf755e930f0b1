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
            Self::Flex => None,
            choice => gpu(choice == Self::WgpuCpu),
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

/// The first adapter behind which there is a card, or the one that is software.
#[cfg(feature = "wgpu")]
fn gpu(software: bool) -> Option<Chosen> {
    let mut listed = Device::enumerate(DeviceType::Wgpu).into_vec();
    if software {
        listed.retain(|device| *device == Device::wgpu(DeviceKind::Cpu));
        let device = listed.pop()?;
        let name = "wgpu (software)".to_owned();
        return Some(Chosen { device, name });
    }
    listed.into_iter().find_map(|device| {
        let identity = device.identity()?;
        identity.physical.as_ref()?;
        let name = format!("wgpu ({})", identity.name);
        Some(Chosen { device, name })
    })
}

#[cfg(not(feature = "wgpu"))]
fn gpu(_software: bool) -> Option<Chosen> {
    None
}
