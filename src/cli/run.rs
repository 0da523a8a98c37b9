//! `conductor run`

use std::io;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::outln;
use crate::cli::table::{self, print_json};
use crate::directive;
use crate::model::{CommandScope, RunCommand, Service};
use crate::service::job::by_hand;
use crate::service::run::Generation;

#[derive(Args)]
pub(crate) struct Arguments {
    /// List the commands as JSON
    #[arg(long)]
    json: bool,
    /// Service, or one of its deployments
    #[arg(value_name = "SERVICE|DEPLOYMENT")]
    of: String,
    /// Command and further arguments for it [default: list the commands]
    #[arg(id = "command", value_name = "COMMAND] [ARG", trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let machine = context.machine();
    let generation = Generation::find(&machine, &arguments.of)?;
    let service = &generation.service;
    let [name, given @ ..] = arguments.words.as_slice() else { return list(service, arguments.json) };
    let command = service.commands.get(name).ok_or_else(|| unknown(service, name))?;
    let code = match (&command.job, given) {
        (None, _) => generation.run(&machine, name, command, given)?,
        (Some(_), []) => by_hand::start(&machine, &service.name, name, &mut io::stdout())?,
        (Some(_), _) => {
            let why = format!("{name} is a job, which runs by hand as by its schedule: it takes no arguments");
            return Err(Failure::Usage(why));
        }
    };
    match code {
        0 => Ok(()),
        code => Err(Failure::Exit(code)),
    }
}

fn unknown(service: &Service, name: &str) -> Failure {
    let names = || service.commands.keys().map(String::as_str);
    let remedy = match directive::closest(name, names()) {
        Some(near) => format!("did you mean {near}?"),
        None if service.commands.is_empty() => "[commands.NAME] in its service.toml declares one".to_owned(),
        None => format!("it has {}", names().collect::<Vec<_>>().join(", ")),
    };
    Failure::Failed(format!("{} has no command {name:?}: {remedy}", service.name))
}

fn list(service: &Service, json: bool) -> Outcome {
    if json {
        return print_json(&service.commands);
    }
    if service.commands.is_empty() {
        outln!("{} has no commands; [commands.NAME] in its service.toml declares one", service.name);
        return Ok(());
    }
    let has_jobs = service.jobs().next().is_some();
    let rows = service.commands.iter().map(|(name, RunCommand { description, exec, scope, inside, job })| {
        let scope = match scope {
            _ if *inside => "container",
            CommandScope::Deployment => "deployment",
            CommandScope::Service => "service",
        };
        let schedule = job.as_ref().map_or_else(|| "-".to_owned(), |job| job.schedule.join(", "));
        let mut row = vec![name.clone(), scope.to_owned()];
        row.extend(has_jobs.then_some(schedule));
        row.extend([description.clone().unwrap_or_default(), exec.to_string().replace('\n', "\\n")]);
        row
    });
    let mut headers = vec!["COMMAND", "SCOPE"];
    headers.extend(has_jobs.then_some("SCHEDULE"));
    headers.extend(["DESCRIPTION", "RUNS"]);
    table::print(&headers, rows.collect());
    Ok(())
}
