//! `conductor service declare`

use camino::Utf8PathBuf;
use clap::Args;

use crate::cli::context::Context;
use crate::cli::failure::Outcome;
use crate::cli::input::must_be_declaration;
use crate::cli::words::{name_of, variables};
use crate::service::declare::{Request, declare};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Directory with a service.toml and the files that belong to it
    dir: Utf8PathBuf,
    /// Set variables of its templates
    #[arg(value_name = "VAR=VAL")]
    variables: Vec<String>,
    /// Set the service's name [default: the directory's name]
    #[arg(long)]
    name: Option<String>,
    /// Only declare; start and roll nothing
    #[arg(long)]
    pub(crate) no_start: bool,
}

pub(crate) fn run(context: &Context, arguments: Arguments) -> Outcome {
    let variables = variables(&arguments.variables)?;
    must_be_declaration(&arguments.dir)?;
    let name = name_of(&arguments.dir, arguments.name.as_deref())?;
    let request = Request { dir: arguments.dir, name, variables, applies: !arguments.no_start };
    Ok(declare(&context.machine(), &request)?)
}
