//! LeNet++ trained on MNIST with and without center loss, evaluated and shown.
#![deny(unsafe_code)]

mod cli;
mod compare;
mod data;
mod device;
mod evaluate;
mod model;
mod pictures;
mod plot;
mod presets;
mod progress;
mod recipe;
mod report;
mod results;
mod run;
mod train;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.command {
        Some(Command::Train(args)) => train::job::command(args),
        Some(Command::Evaluate(args)) => evaluate::job::command(args),
        Some(Command::Compare(args)) => compare::command(args),
        None => compare::main_job(&cli.place, &cli.recipe, cli.resume.as_deref()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
