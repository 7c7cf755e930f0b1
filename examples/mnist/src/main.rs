//! LeNet++ trained on MNIST with and without center loss, evaluated and shown.
//!
//! Where to begin: `network/lenet.rs` is the network, `network/objective.rs` what a loss is asked for, and
//! `train/training.rs` has the whole step. `commands/train.rs` is a single run from its options to its report.
#![deny(unsafe_code)]

mod cli;
mod commands;
mod data;
mod device;
mod evaluate;
mod interrupt;
mod network;
mod pictures;
mod plot;
mod recipe;
mod report;
mod results;
mod run;
mod terminal;
mod train;

use std::process::ExitCode;

use cli::Command;
use commands::{compare, evaluate as evaluation, train as training};

fn main() -> ExitCode {
    // The places at which tests end the program.
    let _scenario = fail::has_failpoints().then(fail::FailScenario::setup);
    let cli = cli::parse();
    interrupt::listen();
    let done = match &cli.command {
        Some(Command::Train(args)) => training::command(args),
        Some(Command::Evaluate(args)) => evaluation::command(args),
        Some(Command::OpenSet(args)) => compare::open_set(args),
        Some(Command::Compare(args)) => compare::compare(args),
        None => compare::main_job(&cli.job),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if interrupt::pressed() => {
            terminal::note(terminal::complaint(&error));
            ExitCode::from(interrupt::EXIT_CODE)
        }
        Err(error) => {
            terminal::note(format_args!("error: {}", terminal::complaint(&error)));
            ExitCode::FAILURE
        }
    }
}
