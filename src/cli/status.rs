//! `conductor status`: all services and functions on one page.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::cli::cgi::list;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::outln;
use crate::cli::service::jobs;
use crate::cli::{asked, table, words};
use crate::compile;
use crate::compile::host::Host;
use crate::deployment::{slot, state};
use crate::diagnostic::Diagnostic;
use crate::error::cause;
use crate::live::{self, Target};
use crate::model::{Check, Service};
use crate::names::{Deployment, ServiceName};
use crate::proxy::chosen::Chosen;
use crate::proxy::driver::Driver;
use crate::proxy::publish;
use crate::service::condition::held_back;
use crate::service::job::timetable::{self, Entry};
use crate::service::notes;
use crate::service::record::{self, Record};
use crate::service::share::Share;
use crate::systemd::Listing;

/// The largest number of inputs of a rollout that are named.
const NAMED: usize = 2;
/// systemd's value for what it does not count.
const UNKNOWN: u64 = u64::MAX;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Names of services [default: all]
    names: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// All that there is to see of a host.
#[derive(Serialize)]
pub(super) struct Page {
    systemd: Option<u16>,
    /// `ActiveState=` of the proxy; null for a user's manager.
    pub(super) proxy: Option<String>,
    /// The name of the proxy.
    #[serde(skip)]
    title: Option<&'static str>,
    /// Whether the proxy has the declared routes.
    pub(super) published: bool,
    pub(super) services: Vec<Row>,
    pub(super) jobs: Vec<Entry>,
    /// None of them where services are named.
    pub(super) functions: Vec<list::Row>,
    /// Whether everything that is declared could be listed.
    #[serde(skip)]
    is_complete: bool,
}

/// A service.
#[derive(Serialize)]
pub(super) struct Row {
    pub(super) name: ServiceName,
    pub(super) state: String,
    pub(super) generation: Option<String>,
    /// The health check.
    health: String,
    pub(super) ready: usize,
    pub(super) concurrency: u32,
    /// Number of slots that deployments hold.
    pub(super) held: usize,
    pub(super) slots: u32,
    /// As declared or, if that does not compile, as it runs.
    #[serde(skip)]
    service: Option<Service>,
    /// Memory of its slice, in bytes; null where systemd does not count it.
    pub(super) memory: Option<u64>,
    /// CPU time of its slice, in nanoseconds; null where systemd does not count it.
    pub(super) cpu: Option<u64>,
    pub(super) last: Option<Record>,
    /// The share of its canary; null if it has none.
    pub(super) canary: Option<Share>,
    /// Why the declaration does not compile, or the last start or reload failed.
    pub(super) failure: Option<String>,
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let (page, host) = page(context, &arguments.names)?;
    if arguments.json {
        table::print_json(&page)?;
    } else {
        print(&page);
    }
    Ok(host.must_be_complete()?)
}

/// Collects what there is to see of services, or of all.
///
/// # Errors
/// Services that are not declared; what systemd or the file system refuses.
pub(super) fn page(context: &Context, names: &[String]) -> Result<(Page, Host), Failure> {
    let Context { layout, manager } = context;
    let host = compile::compile(layout, &context.target());
    let is_all = names.is_empty();
    let names = asked::services(context, &host, names)?;
    let (listing, there) = (manager.listing()?, state::all(layout)?);
    let services = names.into_iter().map(|name| row(context, &host, &there, &listing, name));
    let mut services = services.collect::<Result<Vec<_>, Failure>>()?;
    add_usage(context, &mut services);
    let jobs = timetable::of_services(*manager, services.iter().filter_map(|row| row.service.as_ref()))?;
    let driver = Chosen::of_host(layout).driver;
    let page = Page {
        systemd: context.systemd(),
        proxy: driver.map(|driver| manager.property(driver.unit(), "ActiveState")).transpose()?,
        title: driver.map(Driver::title),
        published: publish::is_published(layout, &host.proxy),
        services,
        jobs,
        functions: if is_all { list::rows(context)? } else { Vec::new() },
        is_complete: host.is_complete,
    };
    Ok((page, host))
}

/// Adds what systemd counts for the services that run.
fn add_usage(context: &Context, rows: &mut [Row]) {
    let mut running: Vec<_> = rows.iter_mut().filter(|row| row.generation.is_some() && row.service.is_some()).collect();
    let services = running.iter().filter_map(|row| row.service.as_ref());
    let slices: Vec<_> = services.map(|service| service.name.slice(service.declared_as())).collect();
    let shown = context.manager.show_each(&slices, &["MemoryCurrent", "CPUUsageNSec"]).unwrap_or_default();
    for (row, properties) in running.iter_mut().zip(shown) {
        let number = |key: &str| properties.get(key)?.parse().ok().filter(|number| *number != UNKNOWN);
        (row.memory, row.cpu) = (number("MemoryCurrent"), number("CPUUsageNSec"));
    }
}

fn row(
    context: &Context,
    host: &Host,
    there: &BTreeMap<ServiceName, Vec<Deployment>>,
    listing: &Listing,
    name: ServiceName,
) -> Result<Row, Failure> {
    let layout = &context.layout;
    let state = listing.state(&name);
    let target = Target::read(layout, &name)?;
    let live = live::of(layout, &name)?;
    let live = || live.and_then(|live| live.service(layout, live.current(layout)).ok());
    let service = host.services.get(&name).map(|compiled| compiled.service.clone()).or_else(live);
    let held_back = service.as_ref().and_then(|service| held_back(layout.scope, service, state));
    let broken = host.errors.get(&Some(name.clone())).and_then(|errors| errors.0.first()).or(host.lost.get(&name));
    let broken = broken.map(Diagnostic::headline);
    let ready = state::count_ready(layout, there.get(&name).map_or(&[][..], Vec::as_slice), Some(listing));
    let declared = service.as_ref().map_or(0, |service| service.concurrency);
    let concurrency = target.as_ref().map_or(declared, Target::deployments);
    let failure = || notes::failure(layout, &name).map(|why| cause(&why).to_owned());
    Ok(Row {
        state: held_back.unwrap_or_else(|| words::state(state, ready, concurrency).to_owned()),
        generation: target.as_ref().map(|target| target.generation.to_string()),
        health: service.as_ref().map_or_else(|| "-".to_owned(), health),
        ready,
        concurrency,
        held: slot::count(layout, &name)?,
        slots: service.as_ref().map_or(0, |service| service.slots),
        memory: None,
        cpu: None,
        last: record::read(layout, &name),
        canary: target.as_ref().and_then(|target| Share::of(layout, &name, target)),
        failure: broken.or_else(failure),
        name,
        service,
    })
}

fn health(service: &Service) -> String {
    if service.process.is_none() {
        return "-".to_owned();
    }
    match &service.health.check {
        Check::Http { path, .. } => format!("GET {path}"),
        Check::Tcp => "connects".to_owned(),
        Check::Probes => "probes".to_owned(),
        Check::Exec { command } | Check::Inside { command, .. } => command.0.first().cloned().unwrap_or_default(),
        Check::Notify => "notifies".to_owned(),
        Check::Start { .. } => "runs".to_owned(),
    }
}

fn print(page: &Page) {
    let systemd = page.systemd.map_or_else(|| "systemd".to_owned(), |version| format!("systemd {version}"));
    let proxy = page.proxy.as_ref().map_or_else(String::new, |state| {
        let published = if page.published { "published" } else { "not published yet" };
        format!(", {} {state}, routes {published}", page.title.unwrap_or_default())
    });
    outln!("conductor {}, {systemd}{proxy}", env!("CARGO_PKG_VERSION"));
    if !page.services.is_empty() {
        print_services(page);
    } else if page.is_complete && page.functions.is_empty() {
        outln!("no service is declared; `conductor new NAME` creates a starter declaration");
    }
    if !page.functions.is_empty() {
        outln!();
        list::print(&page.functions);
    }
}

fn print_services(page: &Page) {
    outln!();
    let headers = ["NAME", "STATE", "GENERATION", "READY", "SLOTS", "HEALTH", "MEMORY", "CPU", "LAST ROLLOUT"];
    let rows = page.services.iter().map(|row| {
        vec![
            row.name.to_string(),
            row.state.clone(),
            row.generation.clone().unwrap_or_else(|| "-".to_owned()),
            words::ready(row.ready, row.concurrency),
            if row.slots == 0 { "-".to_owned() } else { format!("{}/{}", row.held, row.slots) },
            row.health.clone(),
            row.memory.map_or_else(|| "-".to_owned(), bytes),
            row.cpu.map_or_else(|| "-".to_owned(), |nanoseconds| words::duration(Duration::from_nanos(nanoseconds))),
            row.last.as_ref().map_or_else(|| "-".to_owned(), last_rollout),
        ]
    });
    table::print(&headers, rows.collect());
    if !page.jobs.is_empty() {
        outln!();
        jobs::print(&page.jobs);
    }
    for row in &page.services {
        if let Some(share) = &row.canary {
            outln!("\n{}: canary of generation {}: {share}", row.name, share.generation);
        }
        if let Some(failure) = &row.failure {
            outln!("\n{}: {failure}\n  conductor service status {}", row.name, row.name);
        }
    }
    page.jobs.iter().for_each(jobs::print_failure);
}

/// Describes a rollout: `2 min ago, 1.4 s: config.LOG_LEVEL, file app`.
fn last_rollout(last: &Record) -> String {
    let ago = words::ago(words::now(), last.at);
    let why = match (last.why.as_slice(), &last.from) {
        ([], None) => "started".to_owned(),
        ([], Some(_)) => last.actions.iter().map(|action| action.name()).collect::<Vec<_>>().join(", "),
        (why, _) if why.len() > NAMED => format!("{} and {} more", why[..NAMED].join(", "), why.len() - NAMED),
        (why, _) => why.join(", "),
    };
    let failed = if last.failure.is_some() { ", FAILED" } else { "" };
    let gap = last.gap.map_or_else(String::new, |gap| format!(" (gap {})", words::duration(gap)));
    format!("{ago}, {}{gap}{failed}: {why}", words::duration(last.took))
}

/// Writes a size as systemd does: `34.5M`.
fn bytes(bytes: u64) -> String {
    let units = ["B", "K", "M", "G", "T"];
    let power = (0..units.len()).rev().find(|power| bytes >> (10 * power) > 0).unwrap_or(0);
    let value = bytes as f64 / f64::powi(1024.0, power as i32);
    if power == 0 { format!("{bytes}B") } else { format!("{value:.1}{}", units[power]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        assert_eq!([0, 1023, 1024, 36_175_872, 3 << 40].map(bytes), ["0B", "1023B", "1.0K", "34.5M", "3.0T"]);
    }
}
