//! LeNet++ trained on MNIST with and without center loss, evaluated and shown.
#![deny(unsafe_code)]

mod cli;
mod data;
mod device;
mod evaluate;
mod model;
mod pictures;
mod plot;
mod progress;
mod quick;
mod recipe;
mod run;
mod train;

use std::process::ExitCode;

use clap::Parser;

use cli::Cli;

fn main() -> ExitCode {
    match quick::run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
