//! `conductor service set`

use clap::Args;
use toml::Table;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::outln;
use crate::cli::words;
use crate::service::modify::{self, Assignment};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Name of the service
    name: String,
    /// Key of service.toml and its value; KEY= removes the override
    #[arg(value_name = "KEY=VALUE", required = true)]
    assignments: Vec<String>,
    /// Only write the overrides; start and roll nothing
    #[arg(long)]
    pub(crate) no_start: bool,
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let name = words::service(&arguments.name)?;
    let assignments = arguments.assignments.iter().map(|word| parse(word)).collect::<Result<Vec<_>, _>>()?;
    let applies = !arguments.no_start;
    let report = |keys: &[String]| {
        for key in keys {
            outln!("{name}: {key} has no override to remove");
        }
    };
    let is_unchanged = modify::set(&context.machine(), &name, &assignments, applies, report)?;
    if !applies {
        outln!("{name}: {}", if is_unchanged { "already set" } else { "set, not applied" });
    }
    Ok(())
}

/// Parses `KEY=VALUE`.
fn parse(word: &str) -> Result<Assignment, Failure> {
    let usage = || Failure::Usage(format!("{word:?} is not KEY=VALUE; a key is written as in config.LOG_LEVEL=debug"));
    let (key, text) = word.split_once('=').ok_or_else(usage)?;
    // TOML's parser knows how dotted keys are quoted.
    let mut table: Table = format!("{key} = 0").parse().map_err(|_| usage())?;
    let mut keys = Vec::new();
    while let Some((key, value)) = std::mem::take(&mut table).into_iter().next() {
        keys.push(key);
        table = value.try_into().unwrap_or_default();
    }
    Ok(Assignment { keys, text: Some(text.to_owned()).filter(|text| !text.is_empty()) })
}
