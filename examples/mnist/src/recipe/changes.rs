//! The options of a recipe that the command line gives.

use anyhow::{Result, ensure};
use clap::{ArgMatches, Args, Command, Error, FromArgMatches, ValueEnum};
use serde_json::Value;

use super::loss::Loss;
use super::options::Recipe;
use super::presets::Preset;

/// Departures from a recipe.
#[derive(Debug, Clone)]
pub struct Changes(ArgMatches);

impl Args for Changes {
    fn augment_args(command: Command) -> Command {
        Recipe::augment_args_for_update(command).mut_args(|arg| {
            let help = arg.get_help().cloned().unwrap_or_default();
            match defaults(arg.get_id().as_str()) {
                Some(defaults) => arg.help(format!("{help} [{defaults}]")),
                None => arg,
            }
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
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
    /// Puts what was given in place of what `recipe` says.
    pub fn apply(&self, recipe: &mut Recipe) -> Result<()> {
        Ok(recipe.update_from_arg_matches(&self.0)?)
    }

    /// The options of a recipe, by its fields, and what each is.
    pub fn described() -> Vec<(String, String)> {
        let command = Recipe::augment_args_for_update(Command::new("recipe"));
        let described = |arg: &clap::Arg| {
            let help = arg.get_help().map_or(String::new(), ToString::to_string);
            (arg.get_id().to_string(), help)
        };
        command.get_arguments().map(described).collect()
    }

    /// Whether `option`, a field of [`Recipe`], was given.
    pub fn is_given(&self, option: &str) -> bool {
        self.0.contains_id(option)
    }

    /// Refuses an option that none of `losses` has.
    pub fn check(&self, losses: &[Loss]) -> Result<()> {
        for id in self.0.ids() {
            let names = Vec::from_iter(losses.iter().map(|loss| loss.name()));
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

/// What `recipe` has for `option`, for people; `None` if it has nothing.
pub fn value(recipe: &Recipe, option: &str) -> Option<String> {
    match serde_json::to_value(recipe).ok()?.get(option)? {
        Value::Null => None,
        Value::String(text) => Some(text.to_lowercase()),
        Value::Array(labels) if labels.is_empty() => None,
        other => Some(other.to_string()),
    }
}

/// What the presets have for `option`: for joint, or for the first loss that has it.
fn defaults(option: &str) -> Option<String> {
    let losses = [&[Loss::Joint], Loss::value_variants()].concat();
    let loss = losses.into_iter().find(|loss| loss.has(option))?;
    let shown = |preset: Preset| value(&preset.recipe(loss), option);
    let name = loss.name();
    Some(match (shown(Preset::Quick), shown(Preset::Full)) {
        (None, None) => return None,
        (quick, full) if quick == full => format!("default for {name}: {}", quick?),
        (quick, full) => {
            let [quick, full] = [quick, full].map(|value| value.unwrap_or("all".to_owned()));
            format!("presets for {name}: quick: {quick}, full: {full}")
        }
    })
}
