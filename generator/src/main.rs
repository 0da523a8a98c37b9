//! systemd.generator(7) of conductor: a pure function of the files it reads. It spawns nothing,
//! opens no socket, looks up no name, and writes only below the directories it is given.

mod log;

use std::ffi::OsString;
use std::process::ExitCode;

use camino::{Utf8Path, Utf8PathBuf};
use conductor::compile;
use conductor::compile::host::Host;
use conductor::directive;
use conductor::layout::Layout;
use conductor::live;
use conductor::target::systemd::Units;
use conductor::write;
use log::{Level, Log};

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
    let systemd = directive::systemd_version(layout.root().as_std_path());
    let failed = |error| format!("cannot write units: {error}");
    // What runs comes first: should anything below go wrong, it keeps its units.
    let live = live::tree(&layout);
    write::create(normal, &live).map_err(failed)?;
    let host = compile::compile(&layout, &Units(systemd));
    report(log, &host);
    write::update(normal, &live, &host.tree).map_err(failed)?;
    if let Some(early) = early {
        write::create(early, &live::shadowed(&live, &host.tree)).map_err(failed)?;
    }
    // systemd waits for the end of this process, which frees everything at once.
    std::mem::forget((live, host));
    Ok(())
}

fn directory(argument: OsString) -> Result<Utf8PathBuf, String> {
    argument.into_string().map(Utf8PathBuf::from).map_err(|other| format!("{other:?} is not UTF-8"))
}

/// The system's or a user's: systemd says which since version 251.
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

fn report(log: &mut Log, host: &Host) {
    for (name, errors) in &host.errors {
        for error in &errors.0 {
            log.write(Level::Error, &format!("{}; {}", error.headline(), error.remedy()));
        }
        if let Some(name) = name {
            log.write(Level::Warning, &format!("{name}: not compiled; if it is running, it keeps what it has"));
        }
    }
    log.write(Level::Debug, &format!("{} services compiled", host.services.len()));
}
