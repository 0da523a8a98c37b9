//! Publication: the generator's proxy configuration becomes what the proxy includes.
//!
//! The generator's output may be read while systemd removes it, so that each file is compared with the manifest
//! first; a configuration that the proxy refuses is never published. Nothing here depends on which proxy it is.

use fs_err as fs;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use camino::Utf8Path;
use sha2::{Digest, Sha256};

use super::driver::{Driver, Validation};
use super::files::{MANIFEST, OUTPUT, directory};
use super::published::{self, Files, is_stale};
use crate::error::{Error, Result};
use crate::layout::{Layout, Scope};
use crate::names::{PROXY_UNIT, hex};
use crate::systemd::{self, Manager};
use crate::tree::{Entry, Tree};
use crate::{accounts, atomic};

/// A daemon-reload takes this long at the very most between wiping and writing.
const COMPILE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a reload of the proxy behind those of fifty other services, on a busy machine.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Time for the proxy's checker, which reads files and asks nobody.
const CHECK_TIMEOUT: &str = "30";
/// The exit status of timeout(1) after that time.
const TIMED_OUT: i32 = 124;
/// Lines of a unit's journal that an error quotes.
const QUOTED_LINES: u32 = 10;
/// Between two looks at the proxy, doubling up to the longer one: fifty services that start at once and asked all the
/// time would leave it no processor to reload on.
const PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The result of a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Published {
    Unchanged,
    Changed,
}

/// Publishes what is compiled. Asks the proxy to reload if its configuration changed, and does not wait for it: this
/// runs in a unit that the proxy is ordered after.
///
/// # Errors
/// The proxy's words if it refuses the configuration; what was published stays.
pub(crate) fn publish(layout: &Layout, manager: Manager) -> Result<Published> {
    let driver = Driver::of_host();
    let compiled = of_driver(driver, read_compiled(&layout.at(layout.generator()).join(OUTPUT))?);
    let place = layout.at(&layout.published_proxy(driver.name()));
    fs::create_dir_all(&place)?;
    atomic::sweep(&place)?;
    let published = published::read(&place)?;
    if published == compiled {
        // What the proxy could not load is loaded once its reason is gone; a reload that is under way is not repeated.
        if !is_stale(layout, driver) || has_job(manager, driver.unit())? {
            return Ok(Published::Unchanged);
        }
        manager.ask_reload(driver.unit())?;
        return Ok(Published::Changed);
    }
    validate(manager, driver, &place, &compiled)?;
    for (path, content) in compiled.iter().filter(|(path, content)| published.get(*path) != Some(content)) {
        atomic::write_public(&place.join(path), content)?;
    }
    for path in published.keys().filter(|path| !compiled.contains_key(*path)) {
        atomic::remove_file(&place.join(path))?;
    }
    manager.ask_reload(driver.unit())?;
    Ok(Published::Changed)
}

/// Returns whether what compiled is what is published already, and what the proxy has loaded as far as that is known.
pub(crate) fn is_published(layout: &Layout, tree: &Tree) -> bool {
    let driver = Driver::of_host();
    if layout.scope == Scope::User {
        // A user's services have no routes.
        return true;
    }
    let dir = format!("{OUTPUT}/{}/", directory(driver));
    let compiled = tree.iter().filter_map(|(path, entry)| match entry {
        Entry::File { content, .. } => Some((path.as_str().strip_prefix(&dir)?, &content[..])),
        Entry::Symlink { .. } => None,
    });
    let published = published::read(&layout.at(&layout.published_proxy(driver.name())));
    published.is_ok_and(|published| {
        let published = published.iter().map(|(path, content)| (path.as_str(), &content[..]));
        published.collect::<BTreeMap<_, _>>() == compiled.collect() && !is_stale(layout, driver)
    })
}

/// Returns whether what the generator wrote last is what is published.
fn is_as_compiled(layout: &Layout, driver: Driver) -> bool {
    let published = published::read(&layout.at(&layout.published_proxy(driver.name())));
    let compiled = read_once(&layout.at(layout.generator()).join(OUTPUT)).map(|files| of_driver(driver, files));
    matches!((published, compiled), (Ok(published), Ok(compiled)) if published == compiled)
}

/// Takes the files of one driver out of all that is compiled.
fn of_driver(driver: Driver, files: Files) -> Files {
    let dir = directory(driver);
    let own = files.into_iter().filter_map(|(path, content)| Some((path.strip_prefix(&dir).ok()?.to_owned(), content)));
    own.collect()
}

/// Reads the compiled files that the manifest lists, by their paths below `dir`.
fn read_compiled(dir: &Utf8Path) -> Result<Files> {
    let deadline = Instant::now() + COMPILE_TIMEOUT;
    loop {
        match read_once(dir) {
            Ok(files) => return Ok(files),
            Err(error) if Instant::now() > deadline => {
                return Err(Error(format!("{dir}: {error}; run `systemctl daemon-reload`")));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn read_once(dir: &Utf8Path) -> io::Result<Files> {
    let manifest = fs::read_to_string(dir.join(MANIFEST))?;
    let mut files = BTreeMap::new();
    for (digest, path) in manifest.lines().filter_map(|line| line.split_once("  ")) {
        let content = fs::read(dir.join(path))?;
        if hex(&Sha256::digest(&content)) != digest {
            return Err(io::Error::other(format!("{path} does not match the manifest")));
        }
        files.insert(path.into(), content);
    }
    Ok(files)
}

/// Validates a candidate with the proxy's own command, as the proxy's user, together with the administrator's files:
/// two sites of one name are an error.
fn validate(manager: Manager, driver: Driver, place: &Utf8Path, files: &Files) -> Result<()> {
    let properties = manager.show(driver.unit(), &["LoadState", "User"])?;
    let get = |key: &str| properties.get(key).map_or("", String::as_str);
    if get("LoadState") != "loaded" {
        return Ok(());
    }
    let candidate = atomic::staging(&place.join("candidate"))?;
    let dir = Utf8Path::from_path(candidate.path()).ok_or_else(|| Error(format!("{place} is not UTF-8")))?;
    for (path, content) in files {
        fs::write(dir.join(path), content)?;
    }
    let Validation { program, arguments, environment } = driver.validation(dir);
    let mut command = Command::new("timeout");
    command.args(["--kill-after=1", CHECK_TIMEOUT, program]).args(arguments).envs(environment).stdin(Stdio::null());
    if let Some(user) = accounts::user(get("User"))? {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw()).env("HOME", user.dir);
    }
    let output = command.output().map_err(|error| Error(format!("cannot run {program}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let title = driver.title();
    if output.status.code() == Some(TIMED_OUT) {
        return Err(Error(format!("`{program}` has not checked the configuration within {CHECK_TIMEOUT} s")));
    }
    let refusal = driver.explain(&String::from_utf8_lossy(&output.stderr));
    Err(Error(format!("{title} refuses the configuration; the published one stays:\n{}", refusal.words)))
}

/// Returns why requests in flight cannot be counted: the kernel shows accepted connections in the client's network
/// namespace alone, and drains look in that of PID 1. None without a proxy or without systemd.
pub(crate) fn uncountable(manager: Manager) -> Option<String> {
    let unit = Driver::of_host().unit();
    let properties = manager.show(unit, &["LoadState", "PrivateNetwork", "NetworkNamespacePath"]).ok()?;
    let is = |key: &str, empty: &str| {
        properties.get(key).filter(|value| !value.is_empty() && *value != empty).map(|value| format!("{key}={value}"))
    };
    is("LoadState", "not-found")?;
    let setting = is("PrivateNetwork", "no").or_else(|| is("NetworkNamespacePath", ""))?;
    Some(format!(
        "{unit} has {setting}: in a network namespace of its own its requests in flight cannot be counted, and \
         deployments would stop under them"
    ))
}

/// Publishes the configuration and waits until the proxy has loaded it. A proxy that does not run loads it when it
/// starts.
///
/// # Errors
/// If the proxy refuses the configuration, cannot load it, or does not reload in time.
pub(crate) fn republish(manager: Manager) -> Result<()> {
    let driver = Driver::of_host();
    if manager.scope() == Scope::User {
        // A user's services have no routes.
        return Ok(());
    }
    let layout = Layout::system("/".into());
    // Of services that start together, the first publishes the routes of all.
    if is_as_compiled(&layout, driver) {
        wait_until_idle(manager, driver, true)?;
        if !is_stale(&layout, driver) {
            return Ok(());
        }
    }
    if manager.reload_or_start(PROXY_UNIT).is_err() {
        let words = manager.journal(PROXY_UNIT, QUOTED_LINES);
        return Err(explained(driver, "the proxy's configuration is not published", &words, &words));
    }
    wait_until_idle(manager, driver, false)?;
    if has_failed_to_load(manager, &layout, driver)? {
        let words = manager.journal(driver.unit(), QUOTED_LINES);
        let own = driver.explain(&words).words;
        let problem = format!("{} has not loaded the published routes", driver.title());
        return Err(explained(driver, &problem, &own, &words));
    }
    Ok(())
}

fn explained(driver: Driver, problem: &str, shown: &str, words: &str) -> Error {
    let help = driver.explain(words).help.map(|help| format!("\n  help: {help}")).unwrap_or_default();
    Error(format!("{problem}:\n{shown}{help}"))
}

/// Returns whether a proxy that runs has not loaded what is published. Before it has confirmed anything, as with a unit
/// that was loaded before an upgrade, the result of its last reload counts.
fn has_failed_to_load(manager: Manager, layout: &Layout, driver: Driver) -> Result<bool> {
    if is_stale(layout, driver) {
        return Ok(true);
    }
    let unit = manager.show(driver.unit(), &["ActiveState", "ReloadResult"])?;
    let is = |key: &str, value: &str| unit.get(key).is_some_and(|it| it == value);
    Ok(is("ActiveState", "active") && !is("ReloadResult", "success") && !published::is_known(layout, driver))
}

/// Returns why no proxy serves what is published; None if one runs.
///
/// # Errors
/// If systemd does not answer.
pub(crate) fn absent(manager: Manager) -> Result<Option<String>> {
    let driver = Driver::of_host();
    let unit = manager.show(driver.unit(), &["LoadState", "ActiveState"])?;
    let get = |key: &str| unit.get(key).map_or("", String::as_str);
    Ok(match (get("LoadState"), get("ActiveState")) {
        ("loaded", "active" | "reloading") => None,
        ("loaded", "activating") if has_job(manager, driver.unit())? => None,
        ("loaded", state) => Some(format!("{} is {state}", driver.unit())),
        ("not-found", _) => Some(format!("{} is not installed", driver.title())),
        (state, _) => Some(format!("{} is {state}", driver.unit())),
    })
}

fn has_job(manager: Manager, unit: &str) -> Result<bool> {
    Ok(systemd::has_job(&manager.property(unit, "Job")?))
}

/// Waits until neither a publication nor a reload of the proxy is under way.
fn wait_until_idle(manager: Manager, driver: Driver, is_published: bool) -> Result<()> {
    let unit = driver.unit();
    let deadline = Instant::now() + RELOAD_TIMEOUT;
    let mut pause = PAUSE;
    while Instant::now() < deadline {
        // One that is still to be started, at boot after the network, reads what is published then.
        let proxy = manager.show(unit, &["Job", "MainPID"])?;
        let has = |key: &str| proxy.get(key).is_some_and(|value| !matches!(value.as_str(), "" | "0"));
        let is_reloading = has("Job") && has("MainPID");
        if !is_reloading && (!is_published || !has_job(manager, PROXY_UNIT).unwrap_or(false)) {
            return Ok(());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Err(Error(format!("{unit} has not reloaded within {RELOAD_TIMEOUT:?}; its old configuration serves")))
}
