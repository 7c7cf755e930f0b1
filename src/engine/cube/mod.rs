//! Loss and steps in this crate's own kernels, on the backends that CubeCL runs: GPUs and its CPU.
//!
//! Under deferred checking the host must not read classes or weights, so the kernels themselves decide
//! which samples count.

mod address;
mod angles;
mod angles_kernel;
mod apply_kernel;
#[cfg(all(test, any(feature = "wgpu", feature = "cuda")))]
mod devices;
mod extension;
mod grid;
mod in_place;
mod known_labels;
mod measure;
mod measure_kernel;
#[cfg(all(test, any(feature = "wgpu", feature = "cuda")))]
mod tests;
mod together;
mod totals;
mod totals_kernel;

pub(super) use angles::own_angles;
#[cfg(all(test, feature = "flex", any(feature = "wgpu", feature = "cuda")))]
pub(super) use devices::devices;
pub(crate) use in_place::InPlace;
pub(super) use measure::measure;
pub(super) use totals::class_totals;
