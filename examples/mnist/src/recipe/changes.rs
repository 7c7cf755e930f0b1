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

    /// Refuses every option but `--epochs` where a run `goes on`; that one, too, if it says so.
    pub fn refuse_all(&self, goes_on: &str) -> Result<()> {
        for (option, _) in Self::described() {
            ensure!(
                !self.is_given(&option) || (option == "epochs" && goes_on.contains("--epochs")),
                "--{}: a run that is resumed {goes_on}",
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

/// What the presets have for `option`: for all losses alike, or for one that has it.
fn defaults(option: &str) -> Option<String> {
    let value = |preset: Preset, loss: Loss| {
        let recipe = serde_json::to_value(preset.recipe(loss)).unwrap_or_default();
        match recipe.get(option)? {
            Value::Null => None,
            Value::Array(_) => None,
            Value::String(text) => Some(text.to_lowercase()),
            other => Some(other.to_string()),
        }
    };
    let losses = || {
        Loss::value_variants()
            .iter()
            .filter(|loss| loss.has(option))
    };
    let loss = *losses()
        .find(|&&loss| loss == Loss::Joint)
        .or(losses().next())?;
    let of_presets = |loss| {
        Preset::value_variants()
            .iter()
            .map(move |&preset| (preset, value(preset, loss)))
    };
    let values: Vec<(Preset, String)> = of_presets(loss)
        .filter_map(|(preset, value)| Some((preset, value?)))
        .collect();
    let (_, first) = values.first()?;
    let whose = match losses().all(|&other| of_presets(other).eq(of_presets(loss))) {
        true => String::new(),
        false => format!(" for {}", loss.name()),
    };
    let is_one = values.len() == Preset::value_variants().len()
        && values.iter().all(|(_, value)| value == first);
    if is_one {
        return Some(format!("default{whose}: {first}"));
    }
    let name = |preset: Preset| {
        preset
            .to_possible_value()
            .map(|value| value.get_name().to_owned())
    };
    let parts: Vec<String> = values
        .iter()
        .filter_map(|(preset, value)| Some(format!("{}: {value}", name(*preset)?)))
        .collect();
    Some(format!("presets{whose}: {}", parts.join(", ")))
}
