//! Training on devices that other processes host.

mod example;
mod faults;
#[path = "../models/mod.rs"]
mod models;
mod proxy;
mod server;
mod training;
mod waits;
