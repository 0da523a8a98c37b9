//! `conductor service declare`

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::hosts::Hosts;
use crate::cli::input::{must_be_declaration, with_rendered};
use crate::cli::words::{name_of, service, variables};
use crate::compile;
use crate::names::ServiceName;
use crate::service::declare::{Request, declare};
use crate::service::stream::{self, Sent};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Directory with a service.toml and the files that belong to it; `-` for one that standard input has as tar(5)
    dir: Utf8PathBuf,
    /// Set variables of its templates
    #[arg(value_name = "VAR=VAL")]
    variables: Vec<String>,
    /// Set the service's name [default: the directory's name]
    #[arg(long)]
    name: Option<String>,
    /// Take the declaration from this directory of standard input [default: its top]
    #[arg(long, value_name = "PATH")]
    directory: Option<Utf8PathBuf>,
    /// Only declare; start and roll nothing
    #[arg(long)]
    pub(crate) no_start: bool,
    #[command(flatten)]
    hosts: Hosts,
}

pub(crate) fn run(context: &Context, arguments: Arguments) -> Outcome {
    let variables = variables(&arguments.variables)?;
    let applies = !arguments.no_start;
    if arguments.dir == "-" {
        let Some(name) = &arguments.name else {
            return Err(Failure::Usage("a declaration from standard input needs a name: --name NAME".to_owned()));
        };
        if !arguments.hosts.is_empty() {
            return Err(Failure::Usage("--host sends a directory, and not standard input".to_owned()));
        }
        let name = service(name)?;
        let received = stream::receive(&context.layout, &name, std::io::stdin().lock())?;
        let dir = received.dir().join(arguments.directory.unwrap_or_default());
        must_be_declaration(&dir)?;
        return Ok(declare(&context.machine(), &Request { dir, name, variables, applies })?);
    }
    if arguments.directory.is_some() {
        return Err(Failure::Usage("--directory is for a declaration from standard input: `-`".to_owned()));
    }
    must_be_declaration(&arguments.dir)?;
    let name = name_of(&arguments.dir, arguments.name.as_deref())?;
    if !arguments.hosts.is_empty() {
        return send(context, &arguments, &name);
    }
    let request = Request { dir: arguments.dir, name, variables, applies };
    Ok(declare(&context.machine(), &request)?)
}

/// Declares on each host what compiles here.
fn send(context: &Context, arguments: &Arguments, name: &ServiceName) -> Outcome {
    let Arguments { dir, variables, no_start, hosts, .. } = arguments;
    let mut dirs = Vec::new();
    collect(context, dir, name, variables, &mut dirs)?;
    let sent = Sent::new(dirs);
    let mut words: Vec<_> = ["service", "declare", "-", "--name", name.as_str()].map(str::to_owned).into();
    if !sent.place().as_str().is_empty() {
        words.extend(["--directory".to_owned(), sent.place().to_string()]);
    }
    words.extend(no_start.then(|| "--no-start".to_owned()));
    words.extend(variables.iter().cloned());
    hosts.run(context, &words, |output| Ok(sent.write(output)?))
}

/// Adds the directory of a declaration and those of its dependencies, each once.
fn collect(
    context: &Context,
    dir: &Utf8Path,
    name: &ServiceName,
    variables: &[String],
    dirs: &mut Vec<Utf8PathBuf>,
) -> Outcome {
    let full = camino::absolute_utf8(dir)?;
    if dirs.contains(&full) {
        return Ok(());
    }
    dirs.push(full);
    let services = with_rendered(context, dir, Some(name.as_str()), variables, |location, rendered| {
        Ok(compile::compile_all(&context.layout, location, rendered, dir, &context.target())?)
    })?;
    // The parts of a service have the same dependencies.
    let dependencies = services.first().map(|compiled| compiled.service.dependencies()).unwrap_or_default();
    dependencies.iter().try_for_each(|dependency| {
        let variables: Vec<_> = dependency.vars.iter().map(|(name, value)| format!("{name}={value}")).collect();
        collect(context, &dir.join(&dependency.dir), &dependency.name, &variables, dirs)
    })
}
