//! Publication: the generator's proxy configuration becomes what the proxy includes.
//!
//! What the generator writes may be read while systemd wipes it, so that every file is compared
//! with the manifest first; a configuration that the proxy refuses is never published.

use fs_err as fs;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use camino::Utf8Path;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::layout::{LIBRARY, Layout, Scope};
use crate::names::{PROXY_UNIT, hex};
use crate::proxy::files::{MANIFEST, OUTPUT};
use crate::systemd::Manager;
use crate::tree::Tree;
use crate::{atomic, compile};

const CADDY: &str = "caddy.service";
/// Among the compiled files.
const SITES: &str = "proxy/caddy/sites.caddy";
/// A daemon-reload takes this long at the very most between wiping and writing.
const PATIENCE: Duration = Duration::from_secs(10);
/// The site of Debian's own Caddyfile, and that of routes and aliases without a host.
const EXAMPLE: &str = ":80";
/// A reload of Caddy behind those of fifty other services, on a busy machine.
const CADDY_PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at Caddy, doubling up to the longer one: fifty services that start at once and asked all the
/// time would leave it no processor to reload on.
const PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What a publication did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    Unchanged,
    Changed,
}

/// Publishes what is compiled. Asks Caddy to reload if its configuration changed, and does not
/// wait for it: this runs in a unit that Caddy is ordered after.
///
/// # Errors
/// If Caddy refuses the configuration, with its words; what was published stays.
pub fn publish(layout: &Layout, manager: Manager) -> Result<Published> {
    let compiled = read_compiled(&layout.at(layout.generator()).join(OUTPUT))?;
    let place = layout.at(&layout.published_proxy("caddy"));
    fs::create_dir_all(&place)?;
    atomic::sweep(&place)?;
    let sites = compiled.get(SITES).cloned().unwrap_or_default();
    let published = place.join("sites.caddy");
    if fs::read(&published).is_ok_and(|there| there == sites) {
        return Ok(Published::Unchanged);
    }
    validate(manager, &place, &sites)?;
    atomic::write(&published, &sites)?;
    manager.ask_reload(CADDY)?;
    Ok(Published::Changed)
}

/// Whether what compiled is what is published already.
pub fn is_published(layout: &Layout, tree: &Tree) -> bool {
    if layout.scope == Scope::User {
        // A user's services have no routes.
        return true;
    }
    let sites = compile::text(tree, Utf8Path::new(OUTPUT).join(SITES).as_path());
    let published = fs::read(layout.at(&layout.published_proxy("caddy")).join("sites.caddy"));
    published.is_ok_and(|published| Some(published.as_slice()) == sites.map(str::as_bytes))
}

/// The same for what the generator wrote last.
fn is_as_compiled(layout: &Layout) -> bool {
    let published = fs::read(layout.at(&layout.published_proxy("caddy")).join("sites.caddy"));
    let compiled = read_once(&layout.at(layout.generator()).join(OUTPUT));
    let compiled = compiled.map(|files| files.get(SITES).cloned().unwrap_or_default());
    matches!((published, compiled), (Ok(published), Ok(compiled)) if published == compiled)
}

/// Reads the compiled files, each as the manifest says, by their path below `dir`.
fn read_compiled(dir: &Utf8Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let deadline = Instant::now() + PATIENCE;
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

fn read_once(dir: &Utf8Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let manifest = fs::read_to_string(dir.join(MANIFEST))?;
    let mut files = BTreeMap::new();
    for (digest, path) in manifest.lines().filter_map(|line| line.split_once("  ")) {
        let content = fs::read(dir.join(path))?;
        if hex(&Sha256::digest(&content)) != digest {
            return Err(io::Error::other(format!("{path} is not what the manifest says")));
        }
        files.insert(path.to_owned(), content);
    }
    Ok(files)
}

/// Asks Caddy itself, as its own user.
fn validate(manager: Manager, place: &Utf8Path, sites: &[u8]) -> Result<()> {
    let properties = manager.show(CADDY, &["LoadState", "User"])?;
    let get = |key: &str| properties.get(key).map_or("", String::as_str);
    if get("LoadState") != "loaded" {
        return Ok(());
    }
    let candidate = atomic::staging(&place.join("candidate"))?;
    fs::write(candidate.path().join("sites.caddy"), sites)?;
    let mut command = Command::new("caddy");
    // The admin's sites are part of what has to be valid: two sites of one name are not.
    // `adapt` rather than `validate`: that one would also open log files and make certificates.
    command.args(["adapt", "--adapter", "caddyfile", "--config"]).arg(format!("{LIBRARY}/Caddyfile"));
    command.env("CONDUCTOR_PROXY_DIR", candidate.path());
    command.stdin(Stdio::null());
    if let Some((uid, gid, home)) = user(get("User")) {
        command.uid(uid).gid(gid).env("HOME", home);
    }
    let output = command.output().map_err(|error| Error(format!("caddy cannot be run: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<_> = words.lines().filter(|line| !line.trim_start().starts_with('{')).collect();
    Err(Error(format!("Caddy refuses the configuration; the published one stays:\n{}", errors.join("\n"))))
}

/// Why requests in flight cannot be counted: the kernel tells a deployment's accepted connections only in the
/// network namespace of whoever connected, and drains look in PID 1's. None without a Caddy, or a systemd to ask.
pub fn uncountable(manager: Manager) -> Option<String> {
    let properties = manager.show(CADDY, &["LoadState", "PrivateNetwork", "NetworkNamespacePath"]).ok()?;
    let is = |key: &str, empty: &str| {
        properties.get(key).filter(|value| !value.is_empty() && *value != empty).map(|value| format!("{key}={value}"))
    };
    is("LoadState", "not-found")?;
    let setting = is("PrivateNetwork", "no").or_else(|| is("NetworkNamespacePath", ""))?;
    Some(format!(
        "{CADDY} has {setting}: in a network namespace of its own its requests in flight cannot be counted, and \
         deployments would stop under them"
    ))
}

/// Number, group and home of a local user, from passwd(5).
fn user(name: &str) -> Option<(u32, u32, String)> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name) && !name.is_empty())?;
    let fields: Vec<_> = line.split(':').collect();
    Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?, (*fields.get(5)?).to_owned()))
}

/// Has the configuration published, and waits until Caddy serves by it.
///
/// # Errors
/// Why it was not published.
pub fn republish(manager: Manager) -> Result<()> {
    if manager.scope() == Scope::User {
        // A user's services have no routes.
        return Ok(());
    }
    // Of services that start together, the first publishes the routes of all.
    let published = is_as_compiled(&Layout::system("/".into()));
    if !published && manager.reload_or_start(PROXY_UNIT).is_err() {
        let words = manager.journal(PROXY_UNIT, 10);
        let help = in_the_way(&words).map(|help| format!("\n  help: {help}")).unwrap_or_default();
        return Err(Error(format!("the proxy's configuration is not published:\n{words}{help}")));
    }
    let deadline = Instant::now() + CADDY_PATIENCE;
    let mut pause = PAUSE;
    while Instant::now() < deadline {
        // One that is still to be started, at boot after the network, reads what is published then.
        let caddy = manager.show(CADDY, &["Job", "MainPID"])?;
        let has = |key: &str| caddy.get(key).is_some_and(|value| !matches!(value.as_str(), "" | "0"));
        let publishing = || manager.property(PROXY_UNIT, "Job").is_ok_and(|job| !matches!(job.as_str(), "" | "0"));
        let reloading = has("Job") && has("MainPID");
        if !reloading && (!published || !publishing()) {
            return Ok(());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Err(Error(format!("{CADDY} has not reloaded within {CADDY_PATIENCE:?}")))
}

/// What to do about a site that the administrator's Caddyfile has as well, going by Caddy's words.
fn in_the_way(words: &str) -> Option<String> {
    let (_, site) = words.rsplit_once("ambiguous site definition: ")?;
    let site = site.split_whitespace().next()?;
    let example = if site == EXAMPLE { " (it is the example that Debian's has)" } else { "" };
    Some(format!("take the site {site} out of /etc/caddy/Caddyfile{example}, then `conductor daemon-reload`"))
}

/// Whether the administrator's Caddyfile has the site of all hosts without another: a route or an alias without a host
/// cannot be served beside it.
pub fn has_example(layout: &Layout) -> bool {
    let text = std::fs::read_to_string(layout.at("/etc/caddy/Caddyfile".into())).unwrap_or_default();
    text.lines().any(|line| line.split_whitespace().next() == Some(EXAMPLE))
}
