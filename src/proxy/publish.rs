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

use super::chosen::{Chosen, Reason};
use super::driver::{Driver, Validation};
use super::files::{MANIFEST, OUTPUT, directory};
use super::published::{self, Files, is_stale};
use super::verdict::Refusal;
use super::{certificates, links, passwords, users};
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

/// Publishes what is compiled for one proxy, and withdraws what others have. Asks each proxy to reload whose configuration
/// changed, and does not wait for it: this runs in a unit that the proxies are ordered after.
///
/// # Errors
/// The proxy's words if it refuses the configuration; what was published stays.
pub(crate) fn publish(layout: &Layout, manager: Manager) -> Result<Published> {
    let compiled = read_compiled(&layout.at(layout.generator()).join(OUTPUT))?;
    let mut outcome = Published::Unchanged;
    for driver in Driver::ALL {
        if publish_for(layout, manager, driver, of_driver(driver, &compiled))? == Published::Changed {
            manager.ask_reload(driver.unit())?;
            outcome = Published::Changed;
        }
    }
    Ok(outcome)
}

/// Publishes what is compiled for a proxy that is about to start: it may have been installed after that was compiled first.
///
/// # Errors
/// The proxy's words if it refuses the configuration; what was published stays.
pub(crate) fn publish_before_start(layout: &Layout, manager: Manager, driver: Driver) -> Result<()> {
    let compiled = read_compiled(&layout.at(layout.generator()).join(OUTPUT))?;
    publish_for(layout, manager, driver, of_driver(driver, &compiled)).map(drop)
}

/// Publishes the files of a proxy. They are changed as well if the proxy has not loaded what is published.
fn publish_for(layout: &Layout, manager: Manager, driver: Driver, compiled: Files) -> Result<Published> {
    let place = layout.at(&layout.published_proxy(driver.name()));
    if let Some(list) = compiled.get(Utf8Path::new(certificates::LIST)) {
        links::provide(layout, &String::from_utf8_lossy(list))?;
    }
    let has_other_users = provide_users(layout, manager, driver, &compiled)?;
    if published_for(layout, driver)? == compiled {
        // What the proxy could not load is loaded once its reason is gone; a reload that is under way is not repeated.
        let is_loaded = !has_other_users && (!is_stale(layout, driver) || has_job(manager, driver.unit())?);
        return Ok(if is_loaded { Published::Unchanged } else { Published::Changed });
    }
    fs::create_dir_all(&place)?;
    place.parent().map_or(Ok(()), atomic::sweep)?;
    // One directory takes the place of another: no proxy reads files of both.
    let candidate = atomic::staging(&place)?;
    let dir = Utf8Path::from_path(candidate.path()).ok_or_else(|| Error(format!("{place} is not UTF-8")))?;
    for (path, content) in &compiled {
        atomic::write_public(&dir.join(path), content)?;
    }
    if !compiled.is_empty() {
        validate(layout, manager, driver, dir, &compiled)?;
    }
    atomic::replace_dir(candidate, &place)?;
    Ok(Published::Changed)
}

/// Provides the users that routes name; returns whether they are others than before.
fn provide_users(layout: &Layout, manager: Manager, driver: Driver, compiled: &Files) -> Result<bool> {
    let Some(list) = compiled.get(Utf8Path::new(passwords::LIST)) else { return Ok(false) };
    let name = match driver.user(layout) {
        Some(name) => name,
        None => manager.property(driver.unit(), "User")?,
    };
    let group = accounts::user(&name)?.map_or(0, |user| user.gid.as_raw());
    users::provide(layout, driver, &String::from_utf8_lossy(list), group)
}

/// Returns whether what compiled is what is published already, and what the proxy has loaded as far as that is known.
pub(crate) fn is_published(layout: &Layout, tree: &Tree) -> bool {
    // A user's services have no routes.
    layout.scope == Scope::User || Driver::ALL.into_iter().all(|driver| is_published_for(layout, tree, driver))
}

fn is_published_for(layout: &Layout, tree: &Tree, driver: Driver) -> bool {
    let dir = format!("{OUTPUT}/{}/", directory(driver));
    let compiled = tree.iter().filter_map(|(path, entry)| match entry {
        Entry::File { content, .. } => Some((path.as_str().strip_prefix(&dir)?, &content[..])),
        Entry::Symlink { .. } => None,
    });
    let published = published_for(layout, driver);
    published.is_ok_and(|published| {
        let published = published.iter().map(|(path, content)| (path.as_str(), &content[..]));
        published.collect::<BTreeMap<_, _>>() == compiled.collect() && !is_stale(layout, driver)
    })
}

/// Reads what is published for a proxy; nothing where its directory is missing.
fn published_for(layout: &Layout, driver: Driver) -> io::Result<Files> {
    let place = layout.at(&layout.published_proxy(driver.name()));
    if place.is_dir() { published::read(&place) } else { Ok(Files::new()) }
}

/// Returns whether what the generator wrote last is what is published.
fn is_as_compiled(layout: &Layout) -> bool {
    let Ok(compiled) = read_once(&layout.at(layout.generator()).join(OUTPUT)) else { return false };
    let is_same = |driver| published_for(layout, driver).is_ok_and(|files| files == of_driver(driver, &compiled));
    Driver::ALL.into_iter().all(is_same)
}

/// Takes the files of one driver out of all that is compiled.
fn of_driver(driver: Driver, files: &Files) -> Files {
    let dir = directory(driver);
    let own =
        files.iter().filter_map(|(path, content)| Some((path.strip_prefix(&dir).ok()?.to_owned(), content.clone())));
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

/// Validates a candidate with the proxy's own command, together with the administrator's files: two sites of one name are
/// an error.
fn validate(layout: &Layout, manager: Manager, driver: Driver, dir: &Utf8Path, files: &Files) -> Result<()> {
    let properties = manager.show(driver.unit(), &["LoadState", "User"])?;
    let get = |key: &str| properties.get(key).map_or("", String::as_str);
    if get("LoadState") != "loaded" {
        return Ok(());
    }
    let refusal = match driver.conflict(layout, published::texts(files)) {
        Some(refusal) => Some(refusal),
        None => check(
            driver,
            validation(layout, driver, dir, files),
            get("User"),
            dir,
            &layout.published_proxy(driver.name()),
        )?,
    };
    let Some(Refusal { words, help: _ }) = refusal else { return Ok(()) };
    Err(Error(format!("{} refuses the configuration; the published one stays:\n{words}", driver.title())))
}

fn validation(layout: &Layout, driver: Driver, dir: &Utf8Path, files: &Files) -> Validation {
    let own = fs::read_to_string(layout.at(driver.own_configuration())).unwrap_or_default();
    let mut validation = driver.validation(dir);
    let variable = driver.environment(&own, published::texts(files));
    validation.environment.extend(variable.map(|(name, value)| (name, value.to_owned())));
    validation
}

/// Runs the proxy's own command over a candidate; None if it accepts it.
fn check(
    driver: Driver,
    validation: Validation,
    user: &str,
    dir: &Utf8Path,
    place: &Utf8Path,
) -> Result<Option<Refusal>> {
    let Validation { program, arguments, environment, is_in_place } = validation;
    let mut command = Command::new("timeout");
    command.args(["--kill-after=1", CHECK_TIMEOUT]).envs(environment).stdin(Stdio::null());
    if is_in_place {
        // What this service may not, the proxy does: to bind ports, and to open its logs and certificates.
        command.args(["systemd-run", "--quiet", "--wait", "--pipe", "--collect", "--property=RuntimeMaxSec=30"]);
        command.arg(format!("--property=BindReadOnlyPaths={dir}:{place}")).arg("--");
    } else if let Some(user) = accounts::user(user)? {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw()).env("HOME", user.dir);
    }
    let output = command.arg(program).args(arguments).output();
    let output = output.map_err(|error| Error(format!("cannot run {program}: {error}")))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return Ok(driver.warning(&said));
    }
    if output.status.code() == Some(TIMED_OUT) {
        return Err(Error(format!("`{program}` has not checked the configuration within {CHECK_TIMEOUT} s")));
    }
    Ok(Some(driver.explain(&said)))
}

/// Returns why requests in flight cannot be counted: the kernel shows accepted connections in the client's network
/// namespace alone, and drains look in that of PID 1. None without a proxy or without systemd.
pub(crate) fn uncountable(layout: &Layout, manager: Manager) -> Option<String> {
    let unit = Chosen::of_host(layout).driver?.unit();
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
    if manager.scope() == Scope::User {
        // A user's services have no routes.
        return Ok(());
    }
    let layout = Layout::system("/".into());
    let driver = Chosen::of_host(&layout).driver;
    // Of services that start together, the first publishes the routes of all.
    if is_as_compiled(&layout) {
        let Some(driver) = driver else { return Ok(()) };
        wait_until_idle(manager, driver, true)?;
        if !is_stale(&layout, driver) {
            return Ok(());
        }
    }
    if manager.reload_or_start(PROXY_UNIT).is_err() {
        let words = manager.journal(PROXY_UNIT, QUOTED_LINES);
        let problem = "the proxy's configuration is not published";
        return Err(driver.map_or_else(
            || Error(format!("{problem}:\n{words}")),
            |driver| explained(driver, problem, &words, &words),
        ));
    }
    let Some(driver) = driver else { return Ok(()) };
    wait_until_idle(manager, driver, false)?;
    if has_failed_to_load(manager, &layout, driver)? {
        let words = driver.log().and_then(last_errors).unwrap_or_else(|| manager.journal(driver.unit(), QUOTED_LINES));
        let own = driver.explain(&words).words;
        let problem = format!("{} has not loaded the published routes", driver.title());
        return Err(explained(driver, &problem, &own, &words));
    }
    Ok(())
}

/// Returns the last lines of a proxy's own log that tell of errors.
fn last_errors(log: &Utf8Path) -> Option<String> {
    let text = String::from_utf8_lossy(&fs::read(log).ok()?).into_owned();
    let lines: Vec<_> = text.lines().filter(|line| line.contains("[emerg]")).collect();
    let last = &lines[lines.len().saturating_sub(3)..];
    (!last.is_empty()).then(|| last.join("\n"))
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
pub(crate) fn absent(layout: &Layout, manager: Manager) -> Result<Option<String>> {
    let Chosen { driver, reason } = Chosen::of_host(layout);
    let Some(driver) = driver else {
        return Ok(Some("there is no proxy: conductor.toml has [proxy] driver = \"none\"".to_owned()));
    };
    if reason == Reason::Default {
        return Ok(Some("no proxy is installed: `apt-get install caddy`, nginx or haproxy".to_owned()));
    }
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
