//! The convolutions of LeNet++, by whatever code they are computed.

/// The rows and columns of a kernel.
pub const SIDE: usize = 5;
/// How far a kernel reaches from its middle. So many zeros around an image keep its size.
pub const REACH: usize = SIDE / 2;
/// The slope of leaky ReLU below zero.
pub const NEGATIVE_SLOPE: f32 = 0.01;
