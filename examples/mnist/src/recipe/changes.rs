//! The options of a recipe that the command line gives.

use anyhow::{Result, ensure};
use clap::{Arg, ArgMatches, Args, Command, Error, FromArgMatches, Id, ValueEnum};
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
            match defaults(arg.get_id().as_str()) {
                Some(defaults) => {
                    let help = arg.get_help().cloned().unwrap_or_default();
                    arg.help(format!("{help} [{defaults}]"))
                }
                None => arg,
            }
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
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
        let (loss, scale, margin) = (recipe.loss, recipe.scale, recipe.margin);
        let (warmup, start) = (recipe.margin_warmup, recipe.softmax_start);
        recipe.update_from_arg_matches(&self.0)?;
        let kept = |option, given, before| if loss.has(option) { given } else { before };
        recipe.scale = kept("scale", recipe.scale, scale);
        recipe.margin = kept("margin", recipe.margin, margin);
        recipe.margin_warmup = kept("margin_warmup", recipe.margin_warmup, warmup);
        if !loss.has("softmax_start") {
            recipe.softmax_start = start;
        }
        ensure!(
            recipe.lr_step.is_some() || !self.is_given("lr_factor"),
            "--lr-factor: has no effect without --lr-step"
        );
        Ok(())
    }

    /// Refuses every option but `allowed`, where a run `goes_on` with its recipe.
    pub fn refuse(&self, allowed: &str, goes_on: &str) -> Result<()> {
        for (option, _) in Self::described() {
            ensure!(
                option == allowed || !self.is_given(&option),
                "--{}: a run that is resumed goes on with the recipe that it has{goes_on}",
                option.replace('_', "-")
            );
        }
        Ok(())
    }

    /// The options of a recipe, by its fields, and what each is.
    pub fn described() -> Vec<(String, String)> {
        let command = Recipe::augment_args_for_update(Command::new("recipe"));
        let described = |arg: &Arg| {
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
    let losses = [Loss::Joint]
        .into_iter()
        .chain(Loss::value_variants().iter().copied());
    let loss = losses.into_iter().find(|loss| loss.has(option))?;
    let presets = Preset::value_variants().iter();
    let shown = presets.filter_map(|preset| {
        let name = preset.to_possible_value()?;
        Some((
            name.get_name().to_owned(),
            value(&preset.recipe(loss), option)?,
        ))
    });
    let shown = Vec::from_iter(shown);
    let (_, first) = shown.first()?;
    if shown.iter().all(|(_, value)| value == first) {
        return Some(format!("default for {}: {first}", loss.name()));
    }
    let shown = Vec::from_iter(shown.iter().map(|(name, value)| format!("{name}: {value}")));
    Some(format!("presets for {}: {}", loss.name(), shown.join(", ")))
}
