//! The options of a recipe that the command line gives.

use anyhow::{Result, ensure};
use clap::{ArgMatches, Args, Command, Error, FromArgMatches, Id};

use super::loss::Loss;
use super::options::Recipe;

/// Departures from a recipe.
#[derive(Debug, Clone)]
pub struct Changes(ArgMatches);

impl Args for Changes {
    fn augment_args(command: Command) -> Command {
        Recipe::augment_args_for_update(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Recipe::augment_args_for_update(command)
    }

    fn group_id() -> Option<Id> {
        Recipe::group_id()
    }
}

impl FromArgMatches for Changes {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Ok(Self(matches.clone()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0 = matches.clone();
        Ok(())
    }
}

impl Changes {
    /// Puts what was given in place of what `recipe` says; what its loss does not have is left as it is.
    pub fn apply(&self, recipe: &mut Recipe) -> Result<()> {
        let before = recipe.clone();
        recipe.update_from_arg_matches(&self.0)?;
        if !recipe.loss.has("scale") {
            recipe.scale = before.scale;
        }
        if !recipe.loss.has("margin") {
            recipe.margin = before.margin;
        }
        if !recipe.loss.has("margin_warmup") {
            recipe.margin_warmup = before.margin_warmup;
        }
        if !recipe.loss.has("softmax_start") {
            recipe.softmax_start = before.softmax_start;
        }
        ensure!(
            recipe.lr_step.is_some() || !self.is_given("lr_factor"),
            "--lr-factor: has no effect without --lr-step"
        );
        Ok(())
    }

    /// Whether `option`, a field of [`Recipe`], was given.
    pub fn is_given(&self, option: &str) -> bool {
        self.0.contains_id(option)
    }

    /// Refuses an option that none of `losses` has.
    pub fn check(&self, losses: &[Loss]) -> Result<()> {
        for id in self.0.ids() {
            let names: Vec<&str> = losses.iter().map(|loss| loss.name()).collect();
            ensure!(
                losses.iter().any(|loss| loss.has(id.as_str())),
                "--{}: has no effect with --loss {}",
                id.as_str().replace('_', "-"),
                names.join(" or ")
            );
        }
        Ok(())
    }
}
