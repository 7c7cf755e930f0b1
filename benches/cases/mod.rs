//! The cases of the benches: devices, data, the library's operations, and the same by plain tensor operations, as one
//! would write them in Burn without this crate.

pub mod center_loss;
pub mod devices;
pub mod distance;
pub mod evaluation;
pub mod margin;
pub mod neighbors;
