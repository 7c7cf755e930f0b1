//! Center loss for Burn.
#![cfg_attr(not(feature = "std"), no_std)]
#![deny(missing_docs, unsafe_code)]

extern crate alloc;

mod loss;

pub use loss::{
    CenterDistance, CenterLoss, CenterLossConfig, CenterLossError, CenterUpdate, Checking,
    ClassBalance, Precision, Reduction, Schedule, UpdateRule, UpdateTiming,
};
