//! systemd.generator(7) of conductor: a pure function of the files it reads. It spawns nothing,
//! opens no socket, looks up no name, and writes only below the directories it is given.

mod log;
mod output;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use camino::{Utf8Path, Utf8PathBuf};
use conductor::compile;
use conductor::compile::canary;
use conductor::compile::host::Host;
use conductor::directive;
use conductor::layout::Layout;
use conductor::live;
use conductor::model::Footprint;
use conductor::parallel::in_parallel;
use conductor::target::Target;
use conductor::target::systemd::Units;
use log::{Level, Log};
use output::{Laid, Output};

fn main() -> ExitCode {
    let mut log = Log::open();
    // A panic is isolated to its declaration; its message belongs into the log like any other.
    std::panic::set_hook(Box::new(|panic| Log::open().write(Level::Error, &panic.to_string())));
    match run(&mut log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            log.write(Level::Error, &message);
            ExitCode::FAILURE
        }
    }
}

fn run(log: &mut Log) -> Result<(), String> {
    let arguments: Vec<Utf8PathBuf> = std::env::args_os().skip(1).map(directory).collect::<Result<_, _>>()?;
    // Normal, early and late directory; one argument stands for all three.
    let (normal, early) = match arguments.as_slice() {
        [normal] => (normal, None),
        [normal, early] | [normal, early, _] => (normal, Some(early)),
        _ => return Err("usage: conductor-generator NORMAL-DIR [EARLY-DIR [LATE-DIR]]".to_owned()),
    };
    if env("SYSTEMD_IN_INITRD").is_some_and(|value| value == "1") {
        log.write(Level::Debug, "in the initrd nothing is declared");
        return Ok(());
    }
    let layout = layout(normal)?;
    let target = Units(directive::systemd_version(layout.root().as_std_path()));
    let failed = |error| format!("cannot write units: {error}");
    // What runs comes first: should anything below go wrong, it keeps its units.
    let directories = (normal.as_path(), early.map(Utf8PathBuf::as_path));
    let live = live::known(&layout);
    let output = Output::restore(&layout, &target, directories, &live).map_err(failed)?;
    let (mut host, laid) = compile::survey(&layout, &target, &live, |services| output.lay(services));
    for (name, errors) in output.unreadable() {
        host.fail(Some(name), errors);
    }
    report(log, &host);
    let timers = output.add(&canary::timers(&layout, &live));
    let written = finish(&layout, &target, &output, &host, laid).and(timers).map_err(failed);
    // systemd waits for the end of this process, which frees everything at once.
    std::mem::forget((output, host));
    written
}

/// Writes what is not of single declarations. One that could not be written does not keep the others from that.
fn finish(
    layout: &Layout,
    target: &Units,
    output: &Output,
    host: &Host<Footprint>,
    laid: Vec<io::Result<Vec<Laid>>>,
) -> io::Result<()> {
    let (laid, failed): (Vec<_>, Vec<_>) = laid.into_iter().partition(Result::is_ok);
    output.settle(host, laid.into_iter().flatten().flatten().collect())?;
    let functions: Vec<_> = host.functions.values().collect();
    in_parallel(&functions, |function| output.add(&target.function(layout, function)))
        .into_iter()
        .collect::<io::Result<()>>()?;
    output.add(&host.proxy)?;
    failed.into_iter().find_map(Result::err).map_or(Ok(()), Err)
}

fn directory(argument: OsString) -> Result<Utf8PathBuf, String> {
    argument.into_string().map(Utf8PathBuf::from).map_err(|other| format!("{other:?} is not UTF-8"))
}

/// The scope of the manager, which systemd passes since version 251, systemd.generator(7).
fn layout(normal: &Utf8Path) -> Result<Layout, String> {
    // A root other than / is for tests: systemd never sets it.
    let root = Utf8PathBuf::from(env("CONDUCTOR_ROOT").unwrap_or_else(|| "/".to_owned()));
    let user = match env("SYSTEMD_SCOPE").as_deref() {
        Some("user") => true,
        Some(_) => false,
        None => normal.starts_with("/run/user"),
    };
    if user { Layout::user(&root, env) } else { Ok(Layout::system(&root)) }
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn report(log: &mut Log, host: &Host<Footprint>) {
    for (name, errors) in &host.errors {
        for error in &errors.0 {
            log.write(Level::Error, &format!("{}; {}", error.headline(), error.remedy()));
        }
        if let Some(name) = name {
            log.write(Level::Warning, &format!("{name}: not compiled; if it is running, it keeps what it has"));
        }
    }
    for lost in host.lost.values() {
        log.write(Level::Warning, &format!("{}; {}", lost.headline(), lost.remedy()));
    }
    log.write(Level::Debug, &format!("{} services compiled", host.services.len()));
}
