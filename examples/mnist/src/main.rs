//! LeNet++ trained on MNIST with and without center loss, evaluated and shown.
#![deny(unsafe_code)]

mod cli;
mod compare;
mod data;
mod device;
mod evaluate;
mod interrupt;
mod model;
mod pictures;
mod plot;
mod presets;
mod progress;
mod recipe;
mod report;
mod results;
mod run;
mod terminal;
mod train;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use interrupt::Interrupted;

fn main() -> ExitCode {
    // The places at which tests end the program.
    let _scenario = fail::has_failpoints().then(fail::FailScenario::setup);
    let cli = Cli::parse();
    interrupt::listen();
    let done = match &cli.command {
        Some(Command::Train(args)) => train::job::command(args),
        Some(Command::Evaluate(args)) => evaluate::job::command(args),
        Some(Command::Compare(args)) => compare::command(args),
        None => compare::main_job(&cli.place, &cli.recipe, cli.resume.as_deref()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<Interrupted>() => {
            terminal::note(error);
            ExitCode::from(interrupt::EXIT_CODE)
        }
        Err(error) => {
            terminal::note(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
