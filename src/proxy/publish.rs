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

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest, Sha256};

use super::driver::{Driver, Validation};
use super::files::{MANIFEST, OUTPUT, directory};
use crate::error::{Error, Result};
use crate::layout::{Layout, Scope};
use crate::names::{PROXY_UNIT, hex};
use crate::systemd::Manager;
use crate::tree::{Entry, Tree};
use crate::{accounts, atomic};

/// A daemon-reload takes this long at the very most between wiping and writing.
const COMPILE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a reload of the proxy behind those of fifty other services, on a busy machine.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two looks at the proxy, doubling up to the longer one: fifty services that start at once and asked all the
/// time would leave it no processor to reload on.
const PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Files by their paths below a driver's directory.
type Files = BTreeMap<Utf8PathBuf, Vec<u8>>;

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
    let published = read_published(&place)?;
    if published == compiled {
        return Ok(Published::Unchanged);
    }
    validate(manager, driver, &place, &compiled)?;
    for (path, content) in compiled.iter().filter(|(path, content)| published.get(*path) != Some(content)) {
        atomic::write(&place.join(path), content)?;
    }
    for path in published.keys().filter(|path| !compiled.contains_key(*path)) {
        atomic::remove_file(&place.join(path))?;
    }
    manager.ask_reload(driver.unit())?;
    Ok(Published::Changed)
}

/// Returns whether what compiled is what is published already.
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
    let published = read_published(&layout.at(&layout.published_proxy(driver.name())));
    published.is_ok_and(|published| {
        let published = published.iter().map(|(path, content)| (path.as_str(), &content[..]));
        published.collect::<BTreeMap<_, _>>() == compiled.collect()
    })
}

/// Returns whether what the generator wrote last is what is published.
fn is_as_compiled(layout: &Layout, driver: Driver) -> bool {
    let published = read_published(&layout.at(&layout.published_proxy(driver.name())));
    let compiled = read_once(&layout.at(layout.generator()).join(OUTPUT)).map(|files| of_driver(driver, files));
    matches!((published, compiled), (Ok(published), Ok(compiled)) if published == compiled)
}

/// Reads what is published; what begins with a dot is not in its place yet.
fn read_published(place: &Utf8Path) -> io::Result<Files> {
    let entries = atomic::entries(place)?;
    let names = entries.iter().map(|entry| entry.file_name()).filter(|name| !name.starts_with('.'));
    names.map(|name| Ok((name.into(), fs::read(place.join(name))?))).collect()
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
    let mut command = Command::new(program);
    command.args(arguments).envs(environment).stdin(Stdio::null());
    if let Some(user) = accounts::user(get("User"))? {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw()).env("HOME", user.dir);
    }
    let output = command.output().map_err(|error| Error(format!("cannot run {program}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let refusal = driver.explain(&String::from_utf8_lossy(&output.stderr));
    let title = driver.title();
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

/// Publishes the configuration and waits until the proxy has loaded it.
///
/// # Errors
/// If the proxy refuses the configuration, or does not reload in time.
pub(crate) fn republish(manager: Manager) -> Result<()> {
    let driver = Driver::of_host();
    if manager.scope() == Scope::User {
        // A user's services have no routes.
        return Ok(());
    }
    // Of services that start together, the first publishes the routes of all.
    let published = is_as_compiled(&Layout::system("/".into()), driver);
    if !published && manager.reload_or_start(PROXY_UNIT).is_err() {
        let words = manager.journal(PROXY_UNIT, 10);
        let help = driver.explain(&words).help.map(|help| format!("\n  help: {help}")).unwrap_or_default();
        return Err(Error(format!("the proxy's configuration is not published:\n{words}{help}")));
    }
    wait_until_loaded(manager, driver, published)
}

/// Waits until neither a publication nor a reload of the proxy is under way.
fn wait_until_loaded(manager: Manager, driver: Driver, published: bool) -> Result<()> {
    let unit = driver.unit();
    let deadline = Instant::now() + RELOAD_TIMEOUT;
    let mut pause = PAUSE;
    while Instant::now() < deadline {
        // One that is still to be started, at boot after the network, reads what is published then.
        let proxy = manager.show(unit, &["Job", "MainPID"])?;
        let has = |key: &str| proxy.get(key).is_some_and(|value| !matches!(value.as_str(), "" | "0"));
        let publishing = || manager.property(PROXY_UNIT, "Job").is_ok_and(|job| !matches!(job.as_str(), "" | "0"));
        let reloading = has("Job") && has("MainPID");
        if !reloading && (!published || !publishing()) {
            return Ok(());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Err(Error(format!("{unit} has not reloaded within {RELOAD_TIMEOUT:?}")))
}
