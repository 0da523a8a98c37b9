//! `conductor doctor`: checks that this host is ready, with a remedy for each problem.

use fs_err as fs;
use std::path::Path;
use std::process::{Command, Stdio};

use camino::Utf8PathBuf;
use clap::Args;
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::{self, outln};
use crate::cli::{paint, table};
use crate::compile;
use crate::compile::host::Host;
use crate::deployment::{connections, slot, state};
use crate::engine::podman;
use crate::layout::{LIBRARY, RUNTIMES, Scope};
use crate::names::{BRIDGE_USER, PROXY_GROUP};
use crate::proxy::driver::Driver;
use crate::proxy::files::OUTPUT;
use crate::proxy::publish;
use crate::service::{notes, writable};
use crate::{accounts, atomic, live};

/// The oldest systemd that runs the compiled units.
const OLDEST: u16 = 252;
/// The control group controllers that services' limits need.
const CONTROLLERS: [&str; 4] = ["cpu", "io", "memory", "pids"];

#[derive(Args)]
pub(crate) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Good,
    /// Services work without it.
    Note,
    Bad,
}

/// The result of one check, and what to do about it.
#[derive(Serialize)]
struct Finding {
    verdict: Verdict,
    what: String,
    remedy: Option<String>,
}

fn good(what: impl Into<String>) -> Finding {
    Finding { verdict: Verdict::Good, what: what.into(), remedy: None }
}

fn note(what: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { verdict: Verdict::Note, what: what.into(), remedy: Some(remedy.into()) }
}

fn bad(what: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { verdict: Verdict::Bad, what: what.into(), remedy: Some(remedy.into()) }
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let host = compile::compile(&context.layout, &context.target());
    let mut findings = vec![systemd(context), control_groups(), generator(context)];
    if context.layout.scope == Scope::System {
        findings.extend([connections(), accounts()]);
        findings.extend(proxy(context, &host));
    }
    findings.extend(podman(context, &host));
    findings.extend(declarations(&host));
    findings.extend(writable::by_others(&context.layout).iter().map(|it| bad(it.headline(), it.remedy())));
    findings.extend(left_over(context, &host)?);
    let is_bad = findings.iter().any(|finding| finding.verdict == Verdict::Bad);
    if arguments.json {
        table::print_json(&findings)?;
    } else {
        findings.iter().for_each(print);
    }
    if is_bad { Err(Failure::Exit(1)) } else { Ok(()) }
}

fn print(finding: &Finding) {
    let word = match finding.verdict {
        Verdict::Good => "ok",
        Verdict::Note => "note",
        Verdict::Bad => "BAD",
    };
    let style = paint::of_state(word);
    output::write_coloured(format_args!("{style}{word:4}{style:#}  {}\n", finding.what));
    if let Some(remedy) = &finding.remedy {
        outln!("      {remedy}");
    }
}

fn systemd(context: &Context) -> Finding {
    if !Path::new("/run/systemd/system").exists() {
        return bad("systemd does not run this machine", "boot it with systemd; `conductor render` works without");
    }
    match context.systemd() {
        Some(version) if version >= OLDEST => good(format!("systemd {version}")),
        Some(version) => bad(format!("systemd {version}"), format!("{OLDEST} or newer is needed: Debian 12 has it")),
        None => note("the version of systemd is not known", "units are compiled for the oldest that is supported"),
    }
}

fn control_groups() -> Finding {
    let Ok(text) = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers") else {
        return bad("control groups are not those of version 2", "boot with systemd.unified_cgroup_hierarchy=1");
    };
    let missing: Vec<_> =
        CONTROLLERS.into_iter().filter(|name| !text.split_whitespace().any(|it| it == *name)).collect();
    if missing.is_empty() {
        return good(format!("control groups: {}", text.trim()));
    }
    note(
        format!("control groups without {}", missing.join(", ")),
        "[resources] of these are set and not enforced: a container's host has not delegated them",
    )
}

fn generator(context: &Context) -> Finding {
    let output = context.layout.at(context.layout.generator()).join(OUTPUT);
    let kind = if context.layout.scope == Scope::User { "user" } else { "system" };
    let places = ["/etc", "/usr/local/lib", "/usr/lib", "/lib"];
    let paths = places.map(|place| Utf8PathBuf::from(format!("{place}/systemd/{kind}-generators/conductor-generator")));
    match paths.iter().find(|path| path.symlink_metadata().is_ok()) {
        None => bad("the generator is not installed", "install the package again, or `make install`"),
        Some(path) if fs::canonicalize(path).is_ok_and(|target| target == Path::new("/dev/null")) => {
            bad(format!("the generator is masked by {path}"), format!("rm {path}"))
        }
        Some(_) if !output.exists() => bad("the generator has not run", "systemctl daemon-reload"),
        Some(path) => good(format!("the generator {path} has run")),
    }
}

/// Drains ask the kernel for connections.
fn connections() -> Finding {
    match connections::in_flight("/run/systemd/private".into()) {
        Ok(_) => good("the kernel lists connections of unix sockets"),
        Err(error) => bad(
            format!("the kernel does not list connections of unix sockets: {error}"),
            "modprobe unix_diag; without it the end of draining is unknown",
        ),
    }
}

fn accounts() -> Finding {
    let has_group = accounts::group(PROXY_GROUP).is_ok_and(|group| group.is_some());
    let has_user = accounts::user(BRIDGE_USER).is_ok_and(|user| user.is_some());
    if has_group && has_user {
        good(format!("the group {PROXY_GROUP} and the user {BRIDGE_USER} are there"))
    } else {
        bad(format!("the group {PROXY_GROUP} or the user {BRIDGE_USER} is missing"), "systemd-sysusers")
    }
}

/// The proxy, and whether it gets through to the deployments.
fn proxy(context: &Context, host: &Host) -> Vec<Finding> {
    let (manager, driver) = (context.manager, Driver::of_host());
    let (name, title) = (driver.name(), driver.title());
    let routed = host.services.values().any(|compiled| !compiled.service.routes.is_empty());
    let Ok(unit) = manager.show(driver.unit(), &["LoadState", "ActiveState", "MainPID", "DropInPaths"]) else {
        return vec![bad("systemd does not answer", "systemctl status")];
    };
    let get = |key: &str| unit.get(key).map_or("", String::as_str);
    if get("LoadState") != "loaded" {
        let remedy = format!("apt-get install {name}; services with [[route]] are not reached without it");
        let what = format!("{title} is not installed");
        return vec![if routed { bad(what, remedy) } else { note(what, remedy) }];
    }
    if !get("DropInPaths").contains("conductor.conf") {
        let remedy = format!("systemctl daemon-reload && systemctl restart {name}");
        return vec![bad(format!("{} lacks the conductor.conf drop-in", driver.unit()), remedy)];
    }
    if get("ActiveState") != "active" {
        let remedy = format!("systemctl start {name}; journalctl -u {name}");
        return vec![bad(format!("{title} is {}", get("ActiveState")), remedy)];
    }
    let mut findings = vec![good(format!("{title} runs, with the routes of services"))];
    let uncountable = publish::uncountable(manager);
    findings.extend(uncountable.map(|why| bad(why, format!("take that out of the unit: `systemctl cat {name}`"))));
    if !publish::is_published(&context.layout, &host.proxy) {
        findings.push(bad("the declared routes are not published", "conductor daemon-reload"));
    }
    // What cannot be read is not the driver's to judge.
    let own = fs::read_to_string(context.layout.at(driver.own_configuration())).unwrap_or_default();
    findings.extend(driver.note(&own).map(|it| note(it.finding, it.remedy)));
    let pid = get("MainPID").parse().unwrap_or(0);
    findings.extend(slots(context, driver, pid));
    findings
}

/// Returns whether the proxy's process may connect to what its slots lead to, asked with its own user and groups.
fn slots(context: &Context, driver: Driver, pid: u32) -> Option<Finding> {
    let layout = &context.layout;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap_or_default();
    let first = |name| field(name).split_whitespace().next().unwrap_or("0");
    let groups = field("Groups:").split_whitespace().collect::<Vec<_>>().join(",");
    let held = live::known(layout).into_keys().filter(|name| slot::count(layout, name).is_ok_and(|count| count > 0));
    let paths: Vec<_> = held.map(|name| layout.slots(&name).join("1").into_string()).collect();
    if paths.is_empty() {
        return None;
    }
    let refused = paths.iter().find(|path| {
        let mut test = Command::new("setpriv");
        let own = groups.is_empty();
        let groups = if own { "--clear-groups".to_owned() } else { format!("--groups={groups}") };
        test.args([format!("--reuid={}", first("Uid:")), format!("--regid={}", first("Gid:")), groups]);
        test.args(["test", "-w", path]).stdin(Stdio::null()).stderr(Stdio::null());
        !test.status().is_ok_and(|status| status.success())
    });
    Some(match refused {
        None => good(format!("{} may connect to the services' slots", driver.title())),
        Some(path) => bad(
            format!("{} may not connect to {path}", driver.title()),
            format!(
                "systemctl restart {}: it runs without the group {PROXY_GROUP}; else look at `namei -l {path}`",
                driver.name()
            ),
        ),
    })
}

fn podman(context: &Context, host: &Host) -> Option<Finding> {
    let needed = host.services.values().find(|compiled| compiled.service.process.engine.is_privileged())?;
    let name = &needed.service.name;
    let output = Command::new("podman").arg("--version").stdin(Stdio::null()).output();
    let Ok(output) = output else {
        return Some(bad(format!("there is no podman, which {name} needs"), "apt-get install podman"));
    };
    let links = Utf8PathBuf::from(LIBRARY).join(RUNTIMES);
    if podman::runtime::path(&context.layout).is_err() || !links.exists() {
        return Some(bad("podman has no runtime that conductor knows", "apt-get install crun, or runc"));
    }
    Some(good(String::from_utf8_lossy(&output.stdout).trim()))
}

fn declarations(host: &Host) -> Option<Finding> {
    let number = host.services.len();
    let broken: Vec<_> = host.errors.keys().map(|name| name.as_ref().map_or("a file", |name| name.as_str())).collect();
    if broken.is_empty() {
        return (number > 0).then(|| good(format!("{number} services are declared and compile")));
    }
    Some(bad(format!("declarations do not compile: {}", broken.join(", ")), "conductor check"))
}

/// Checks for leftovers of services that are gone and of commands that were killed.
fn left_over(context: &Context, host: &Host) -> Result<Vec<Finding>, Failure> {
    let layout = &context.layout;
    let mut findings = Vec::new();
    let mut gone: Vec<_> = live::all(layout)?.into_keys().filter(|name| !host.declares(name)).collect();
    gone.extend(notes::remembered(layout)?.into_iter().filter(|name| !host.declares(name)));
    gone.sort();
    gone.dedup();
    if !gone.is_empty() {
        let names: Vec<_> = gone.iter().map(|name| name.as_str()).collect();
        findings.push(bad(
            format!("leftovers of services that are not declared: {}", names.join(", ")),
            "conductor daemon-reload stops and removes them",
        ));
    }
    let (there, listing) = (state::all(layout)?, context.manager.listing().ok());
    for (name, compiled) in &host.services {
        if let Some(why) = notes::failure(layout, name) {
            let first = why.lines().next().unwrap_or_default().to_owned();
            findings.push(bad(
                format!("{name}: the last start or reload failed: {first}"),
                format!("conductor service status {name}"),
            ));
        }
        let ready = there.get(name).map_or(0, |there| state::count_ready(layout, there, listing.as_ref()));
        let wanted = compiled.service.concurrency as usize;
        if live::of(layout, name)?.is_some() && ready < wanted {
            findings.push(bad(
                format!("{name}: {ready} of {wanted} deployments are ready"),
                format!("conductor service status {name}; conductor daemon-reload starts what is missing"),
            ));
        }
    }
    let halves = [layout.live(), layout.histories()].into_iter().flat_map(|dir| {
        let services = atomic::entries(&layout.at(&dir)).unwrap_or_default();
        services.into_iter().flat_map(|service| unfinished(service.path())).collect::<Vec<_>>()
    });
    if let Some(path) = halves.into_iter().next() {
        findings.push(note(format!("a command that was killed left {path}"), "conductor daemon-reload removes it"));
    }
    if findings.is_empty() {
        findings.push(good("no leftovers, and no service failed"));
    }
    Ok(findings)
}

/// Lists half-written files, whose names begin with a dot.
fn unfinished(dir: &camino::Utf8Path) -> Vec<Utf8PathBuf> {
    let entries = dir.read_dir_utf8().into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().starts_with('.')).map(|entry| entry.path().to_owned()).collect()
}
