//! LeNet++ trained on MNIST with and without center loss, evaluated and shown.
#![deny(unsafe_code)]

mod cli;
mod commands;
mod data;
mod device;
mod evaluate;
mod interrupt;
mod job;
mod mean;
mod network;
mod open_set_table;
mod pictures;
mod plot;
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
        Some(Command::Train(args)) => commands::train::command(args),
        Some(Command::Evaluate(args)) => commands::evaluate::command(args),
        Some(Command::OpenSet(args)) => commands::open_set::command(args),
        Some(Command::Compare(args)) => commands::compare::command(args),
        None => commands::compare::main_job(&cli.place, &cli.recipe, cli.resume.as_deref()),
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
