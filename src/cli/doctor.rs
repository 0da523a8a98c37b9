//! `conductor doctor`: checks that this host is ready, with a remedy for each problem.

mod finding;
mod proxy;

use fs_err as fs;
use std::path::Path;
use std::process::{Command, Stdio};

use camino::Utf8PathBuf;
use clap::Args;

use self::finding::{Finding, Verdict, bad, good, note};
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::{self, outln};
use crate::cli::{paint, table};
use crate::compile;
use crate::compile::host::Host;
use crate::deployment::{connections, state};
use crate::engine::podman;
use crate::error::cause;
use crate::layout::{LIBRARY, RUNTIMES, Scope};
use crate::names::{BRIDGE_USER, PROXY_GROUP};
use crate::proxy::files::OUTPUT;
use crate::service::{access, notes};
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

pub(crate) fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let host = compile::compile(&context.layout, &context.target());
    let mut findings = vec![systemd(context), control_groups(), generator(context)];
    if context.layout.scope == Scope::System {
        findings.extend([connections(), accounts()]);
        findings.extend(proxy::proxy(context, &host));
    }
    findings.extend(podman(context, &host));
    findings.extend(declarations(&host));
    findings.extend(access::of_others(&context.layout).iter().map(|it| bad(it.headline(), it.remedy())));
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
            findings.push(bad(
                format!("{name}: the last start or reload failed: {}", cause(&why)),
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
