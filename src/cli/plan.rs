//! `conductor plan`

mod cluster;

use std::collections::BTreeSet;

use camino::Utf8PathBuf;
use clap::Args;
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::hosts::Hosts;
use crate::cli::output::outln;
use crate::cli::{export, table, words};
use crate::compile;
use crate::compile::host::{Compiled, Host};
use crate::deployment::state;
use crate::live::{self, Target};
use crate::model::Strategy;
use crate::names::{Deployment, ServiceName};
use crate::proxy::publish;
use crate::service::action::Action;
use crate::service::change::{self, Change, Kind};
use crate::service::parts::members;
use crate::service::plan::{self, Job, Plan};
use crate::service::provenance;
use crate::source::search;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Names of services; for another target also a directory [default: all]
    #[arg(value_name = "NAME|DIR] [VAR=VAL")]
    names: Vec<String>,
    /// Exit with code 4 if something would change
    #[arg(long)]
    exit_code: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    hosts: Hosts,
    /// Compare with objects in this file or directory, `kubectl get -o yaml` [default: standard input]
    #[arg(long, value_name = "FILE|DIR")]
    against: Option<Utf8PathBuf>,
    #[command(flatten)]
    export: export::Arguments,
}

impl Arguments {
    /// Returns whether the plan is one of this host, whose systemd has to run.
    pub(crate) fn is_of_this_host(&self) -> bool {
        !self.export.is_given()
    }
}

#[derive(Serialize)]
struct Output {
    services: Vec<Row>,
    proxy: Proxy,
    /// Errors of declarations that do not compile; what runs of these stays.
    errors: Vec<String>,
}

#[derive(Serialize)]
struct Proxy {
    /// Whether its configuration will be published.
    republish: bool,
}

/// The plan of one service.
#[derive(Serialize)]
struct Row {
    name: ServiceName,
    /// Empty if nothing changes.
    actions: BTreeSet<Action>,
    start: Vec<String>,
    stop: Vec<String>,
    changes: Vec<Change>,
    note: Option<String>,
    /// The slots of a new generation after the plan; null unless it is a canary.
    canary: Option<Planned>,
    /// How long nothing serves, with the recreate strategy.
    gap: Option<Gap>,
}

#[derive(Serialize)]
struct Planned {
    slots: u32,
    of: u32,
}

#[derive(Serialize)]
struct Gap {
    /// The time from the start of the running deployments' processes until they were ready; null if unknown.
    start_seconds: Option<f64>,
    /// The time that requests in flight may take before, at most.
    drain_seconds: f64,
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> Outcome {
    if let Some(target) = arguments.export.kubernetes()? {
        return cluster::run(context, arguments, &target);
    }
    if arguments.export.is_given() {
        let why = "plan compares with systemd or Kubernetes; `crm_simulate --live-check` shows what Pacemaker would do";
        return Err(Failure::Usage(why.to_owned()));
    }
    if arguments.against.is_some() {
        return Err(Failure::Usage("--against is for --target kubernetes".to_owned()));
    }
    let Context { layout, manager } = context;
    let names = words::services(&arguments.names)?;
    if !arguments.hosts.is_empty() {
        return on_hosts(context, arguments);
    }
    let mut host = compile::compile(layout, &context.target());
    let plans = plan::all(layout, &host, &manager.listing()?)?;
    for name in &names {
        if !plans.contains_key(name) && !host.declares(name) {
            context.location(name.as_str())?;
        }
    }
    let mut all: BTreeSet<_> = names.iter().cloned().collect();
    for name in &names {
        all.extend(members(layout, name)?);
    }
    let asked = |name: &ServiceName| names.is_empty() || all.contains(name);
    host.errors.retain(|name, _| name.as_ref().is_none_or(asked));
    let rows = plans.values().filter(|plan| asked(&plan.name)).map(|plan| row(context, &host, plan));
    let services = rows.collect::<Result<Vec<_>, Failure>>()?;
    let republish = !publish::is_published(layout, &host.proxy);
    let errors = host.into_errors();
    let headlines = errors.0.iter().map(|error| error.headline()).collect();
    let output = Output { services, proxy: Proxy { republish }, errors: headlines };
    let changes = republish || output.services.iter().any(|row| !row.actions.is_empty());
    if arguments.json {
        table::print_json(&output)?;
    } else {
        print(&output, !names.is_empty());
    }
    errors.into_result()?;
    if changes && arguments.exit_code { Err(Failure::Exit(4)) } else { Ok(()) }
}

/// Plans on each host. One with changes has not failed, and is no reason to stop before the others.
fn on_hosts(context: &Context, arguments: &Arguments) -> Outcome {
    if arguments.json || arguments.exit_code {
        return Err(Failure::Usage("--host prints the plans of hosts, without --json and --exit-code".to_owned()));
    }
    let words: Vec<_> = ["plan".to_owned()].into_iter().chain(arguments.names.iter().cloned()).collect();
    arguments.hosts.run(context, &words, |_| Ok(()))
}

fn row(context: &Context, host: &Host, plan: &Plan) -> Result<Row, Failure> {
    let units = |deployments: &[Deployment]| deployments.iter().map(Deployment::unit).collect();
    let mut row = Row {
        name: plan.name.clone(),
        actions: plan.actions.clone(),
        start: units(&plan.start),
        stop: units(&plan.stop),
        changes: Vec::new(),
        note: plan.note.clone(),
        canary: None,
        gap: None,
    };
    let target = Target::read(&context.layout, &plan.name)?;
    row.canary = plan.canary.as_ref().zip(host.services.get(&plan.name)).map(|(course, compiled)| Planned {
        slots: course.slots(compiled, target.as_ref()),
        of: compiled.service.slots,
    });
    if let (Job::Reload, Some(compiled), Some(target)) = (plan.job, host.services.get(&plan.name), target) {
        row.changes = changes(context, compiled, &target)?;
        if plan.rolls() && compiled.service.deploy.strategy == Strategy::Recreate {
            row.gap = Some(gap(context, compiled, plan));
        }
    }
    Ok(row)
}

/// Returns what changed since the generation that serves.
fn changes(context: &Context, compiled: &Compiled, target: &Target) -> Result<Vec<Change>, Failure> {
    let Context { layout, .. } = context;
    let name = &compiled.service.name;
    if target.digests == compiled.digests {
        return Ok(Vec::new());
    }
    let location = search::find_one(layout, name).ok().flatten();
    let document = location.and_then(|location| search::stored_document(layout, &location).ok());
    // A snapshot of an older conductor may not be readable: its format then is the change.
    let live = live::model(layout, name, &target.generation);
    let mut changes =
        live.map_or_else(|_| Vec::new(), |live| change::between(&live, &compiled.model(), document.as_ref()));
    change::beside(target, &provenance::variables(layout, name)?, &mut changes);
    Ok(changes)
}

fn gap(context: &Context, compiled: &Compiled, plan: &Plan) -> Gap {
    let took = plan.stop.iter().filter_map(|old| state::read(&context.layout, old)?.took);
    Gap {
        start_seconds: took.max().map(|took| took.as_secs_f64()),
        drain_seconds: compiled.service.deploy.drain_timeout.as_secs_f64(),
    }
}

/// Prints what changes, service by service, and how many services do not change. If services were named, prints these, too.
fn print(output: &Output, named: bool) {
    let (stay, change): (Vec<_>, Vec<_>) = output.services.iter().partition(|row| row.actions.is_empty());
    for row in change {
        print_row(row);
    }
    if named {
        for row in &stay {
            print_row(row);
        }
    } else if !stay.is_empty() {
        let services = if stay.len() == 1 { "service" } else { "services" };
        outln!("no changes ({} {services})", stay.len());
        for row in stay {
            if let Some(note) = &row.note {
                outln!("  {}: {note}", row.name);
            }
        }
    } else if output.services.is_empty() && output.errors.is_empty() {
        outln!("no service is declared; `conductor service declare DIR` declares one");
    }
    if output.proxy.republish {
        outln!("the proxy's configuration will be published");
    }
}

fn print_row(row: &Row) {
    let actions: Vec<_> = row.actions.iter().map(|action| action.name()).collect();
    outln!("{}: {}", row.name, if actions.is_empty() { "no changes".to_owned() } else { actions.join(", ") });
    if let Some(note) = &row.note {
        outln!("  {note}");
    }
    for change in &row.changes {
        outln!("  {}", line(change));
    }
    for (verb, units) in [("starts", &row.start), ("stops", &row.stop)] {
        if !units.is_empty() {
            outln!("  {verb} {}", units.join(" "));
        }
    }
    if let Some(Gap { start_seconds, drain_seconds }) = &row.gap {
        let start = start_seconds.map_or_else(
            || "unknown, no running deployment recorded how long it took to start".to_owned(),
            |seconds| format!("about {seconds:.1} s, as long as the running ones took to start"),
        );
        outln!("  gap: {start}; before that at most {drain_seconds} s for requests in flight");
    }
}

/// Describes one change.
fn line(change: &Change) -> String {
    let Change { input, name, old, new, place, actions: _ } = change;
    let what = match input {
        Kind::Variable => format!("variable {name}"),
        Kind::Key | Kind::Declaration => name.clone(),
        Kind::File => format!("file {name}"),
        Kind::DropIn => format!("drop-in {name}"),
        Kind::Renderer => "renderer version".to_owned(),
    };
    let values = matches!(input, Kind::Variable | Kind::Key | Kind::Declaration | Kind::Renderer);
    let how = match (old, new) {
        (Some(old), Some(new)) if values => {
            let (old, new) = shortened(old, new);
            format!("{old} -> {new}")
        }
        (None, Some(new)) if values => format!("{} (new)", shortened("", new).1),
        (Some(old), None) if values => format!("{} (removed)", shortened(old, "").0),
        (Some(_), Some(_)) => "changed".to_owned(),
        (None, _) => "added".to_owned(),
        (Some(_), None) => "removed".to_owned(),
    };
    let place = place.as_ref().map_or_else(String::new, |place| format!("  ({place})"));
    format!("{what}: {how}{place}")
}

/// The longest value on a line, in characters.
const WIDTH: usize = 48;

/// Cuts long values to where they begin to differ.
fn shortened(old: &str, new: &str) -> (String, String) {
    let common = old.chars().zip(new.chars()).take_while(|(one, other)| one == other).count();
    let long = |text: &str| text.chars().count() > WIDTH;
    let skip = if long(old) || long(new) { common.saturating_sub(WIDTH / 4) } else { 0 };
    let cut = |text: &str| {
        let rest: Vec<_> = text.chars().skip(skip).collect();
        let before = if skip > 0 { "…" } else { "" };
        let after = if rest.len() > WIDTH { "…" } else { "" };
        format!("{before}{}{after}", rest.iter().take(WIDTH).collect::<String>())
    };
    (cut(old), cut(new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_to_what_differs() {
        assert_eq!(shortened("1", "2"), ("1".to_owned(), "2".to_owned()));
        let long = |end: &str| format!("{}{end}", "0123456789".repeat(10));
        let (old, new) = shortened(&long(&"a".repeat(99)), &long("b"));
        assert_eq!(old, format!("…890123456789{}…", "a".repeat(36)));
        assert_eq!(new, "…890123456789b");
    }
}
