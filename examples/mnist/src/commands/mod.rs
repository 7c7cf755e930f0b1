//! The commands of the program.

pub mod compare;
pub mod evaluate;
pub mod train;
