//! What the proxy includes, and what of it the proxy has loaded.
//!
//! The proxy's drop-in notes what is published before each start and reload, and confirms the note after it has
//! succeeded: a confirmed note tells more than the end of a job.

use fs_err as fs;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest, Sha256};

use super::driver::Driver;
use crate::atomic;
use crate::layout::Layout;
use crate::names::hex;

/// Files by their paths below a driver's directory.
pub(crate) type Files = BTreeMap<Utf8PathBuf, Vec<u8>>;

/// Suffix of the note of what the proxy is about to load, beside the driver's directory.
const LOADING: &str = "loading";
/// Suffix of the file with the variables of the proxy's commands, which its unit reads.
const ENVIRONMENT: &str = "environment";
/// Suffix of the confirmed note.
const LOADED: &str = "loaded";

/// Lists the texts of files.
pub(super) fn texts(files: &Files) -> impl Iterator<Item = &str> {
    files.values().filter_map(|content| std::str::from_utf8(content).ok())
}

/// Reads what is published; what begins with a dot is not in its place yet.
pub(super) fn read(place: &Utf8Path) -> io::Result<Files> {
    let entries = atomic::entries(place)?;
    let names = entries.iter().map(|entry| entry.file_name()).filter(|name| !name.starts_with('.'));
    names.map(|name| Ok((name.into(), fs::read(place.join(name))?))).collect()
}

/// Returns whether the proxy runs with another configuration than what is published; false if nothing is known, as of a
/// proxy that is stopped.
pub(crate) fn is_stale(layout: &Layout, driver: Driver) -> bool {
    let loaded = fs::read_to_string(note(layout, driver, LOADED));
    let published = read(&layout.at(&layout.published_proxy(driver.name())));
    matches!((loaded, published), (Ok(loaded), Ok(published)) if loaded.lines().next() != Some(digest(&published).as_str()))
}

/// Returns whether the proxy has confirmed what it loaded since it started.
pub(super) fn is_known(layout: &Layout, driver: Driver) -> bool {
    note(layout, driver, LOADED).is_file()
}

/// Notes what the proxy is about to load, and its workers. Before a start the proxy also gets the options that keep its
/// administration to itself, unless the administrator's own file has options.
///
/// # Errors
/// If a file cannot be read or written.
pub(crate) fn begin(layout: &Layout, driver: Driver, is_start: bool, workers: &BTreeSet<u32>) -> io::Result<()> {
    let place = layout.at(&layout.published_proxy(driver.name()));
    let own = fs::read_to_string(layout.at(driver.own_configuration())).unwrap_or_default();
    if let Some((name, text)) = driver.options(&own).filter(|_| is_start) {
        let options = place.with_file_name("options");
        fs::create_dir_all(&options)?;
        match text {
            Some(text) => atomic::write_public(&options.join(name), text.as_bytes())?,
            None => atomic::remove_file(&options.join(name))?,
        }
    }
    let files = read(&place)?;
    let variable = driver.environment(&own, texts(&files)).map(|(name, value)| format!("{name}={value}\n"));
    atomic::write_public(&note(layout, driver, ENVIRONMENT), variable.unwrap_or_default().as_bytes())?;
    let workers: Vec<_> = workers.iter().map(u32::to_string).collect();
    let text = format!("{}\n{}\n", digest(&files), workers.join(" "));
    atomic::write(&note(layout, driver, LOADING), text.as_bytes())
}

/// Returns the files that the proxy loads and its workers before, as they are noted; None if others are published by now.
///
/// # Errors
/// If the note or a file cannot be read.
pub(crate) fn loading(layout: &Layout, driver: Driver) -> io::Result<Option<(Files, BTreeSet<u32>)>> {
    let noted = fs::read_to_string(note(layout, driver, LOADING))?;
    let files = read(&layout.at(&layout.published_proxy(driver.name())))?;
    let (noted, workers) = noted.split_once('\n').unwrap_or((&noted, ""));
    let workers = workers.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
    Ok((noted == digest(&files)).then_some((files, workers)))
}

/// Confirms that the proxy has loaded what was noted.
///
/// # Errors
/// If the note is missing.
pub(crate) fn confirm(layout: &Layout, driver: Driver) -> io::Result<()> {
    fs::rename(note(layout, driver, LOADING), note(layout, driver, LOADED))
}

/// Removes the confirmed note of a proxy that has stopped.
///
/// # Errors
/// If the file system refuses it.
pub(crate) fn forget(layout: &Layout, driver: Driver) -> io::Result<()> {
    atomic::remove_file(&note(layout, driver, LOADED))
}

fn note(layout: &Layout, driver: Driver, suffix: &str) -> Utf8PathBuf {
    layout.at(&layout.published_proxy(driver.name())).with_extension(suffix)
}

fn digest(files: &Files) -> String {
    let mut digest = Sha256::new();
    for (path, content) in files {
        digest.update(format!("{path}\0{}\0", content.len()));
        digest.update(content);
    }
    hex(&digest.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_published_after_the_proxy_began_to_load_is_stale() {
        let scratch = tempfile::tempdir().unwrap();
        let layout = Layout::system(Utf8Path::from_path(scratch.path()).unwrap());
        let (driver, workers) = (Driver::Caddy, BTreeSet::from([1, 22]));
        let begin = |is_start| begin(&layout, driver, is_start, &workers).unwrap();
        let place = layout.at(&layout.published_proxy(driver.name()));
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("sites.caddy"), "one").unwrap();
        assert!(!is_stale(&layout, driver), "nothing is known");
        begin(true);
        assert_eq!(loading(&layout, driver).unwrap().map(|(_, workers)| workers), Some(workers.clone()));
        fs::write(place.join("sites.caddy"), "two").unwrap();
        assert!(loading(&layout, driver).unwrap().is_none());
        confirm(&layout, driver).unwrap();
        assert!(is_stale(&layout, driver));
        begin(false);
        assert!(is_stale(&layout, driver), "the proxy has not confirmed it");
        confirm(&layout, driver).unwrap();
        assert!(!is_stale(&layout, driver));
        fs::write(place.join("sites.caddy"), "three").unwrap();
        forget(&layout, driver).unwrap();
        assert!(!is_stale(&layout, driver));
    }
}
