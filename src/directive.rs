//! The directives that systemd accepts in a unit file: section, name, type of value, and the version that added each.
//!
//! Sources: `systemd --dump-configuration-items` and the man pages of systemd 252 and `table::NEWEST`, from which
//! `src/directive/update` makes `table.rs`; `src/directive/cases.tsv` holds values that were put to
//! `systemd-analyze verify` of both. What is refused here is refused by both; of the rest, the kinds that are
//! not modelled (`Kind::Any`) let everything through. A systemd newer than `table::NEWEST` may know more.

mod check;
mod kind;
mod table;

use std::path::Path;

pub(crate) use check::check;
pub(crate) use kind::{Directive, Kind, Section};

/// What the names of conditions start with, in snake case.
const CONDITION: &str = "condition_";

impl Section {
    /// Returns everything that the section takes, sorted by name.
    pub(crate) fn directives(self) -> &'static [Directive] {
        match self {
            Section::Unit => table::UNIT,
            Section::Service => table::SERVICE,
            Section::Socket => table::SOCKET,
            Section::Slice => table::SLICE,
        }
    }
}

/// Finds the directive of exactly this name.
pub(crate) fn lookup(section: Section, name: &str) -> Option<&'static Directive> {
    let all = section.directives();
    all.binary_search_by(|directive| directive.name.cmp(name)).ok().map(|index| &all[index])
}

/// Finds the directive that a name in snake case means: `memory_max`, `cpu_weight`, `io_read_iops_max`, `allowed_cpus`.
pub(crate) fn lookup_snake(section: Section, key: &str) -> Option<&'static Directive> {
    section.directives().iter().find(|directive| is_snake(key, directive.name))
}

/// Underscores belong where a word starts after a small letter, and are allowed before any other capital.
fn is_snake(key: &str, name: &str) -> bool {
    let mut key = key.chars().peekable();
    let mut previous = None;
    for c in name.chars() {
        let underscore = previous.is_some() && c.is_ascii_uppercase() && key.next_if_eq(&'_').is_some();
        let boundary = c.is_ascii_uppercase() && previous.is_some_and(|p: char| !p.is_ascii_uppercase());
        if boundary && !underscore || key.next() != Some(c.to_ascii_lowercase()) {
            return false;
        }
        previous = Some(c);
    }
    key.next().is_none()
}

/// Finds the condition that a key of `[condition]` means: `host` is `ConditionHost=`. `path` is the one that most
/// people mean, `ConditionPathExists=`.
pub(crate) fn lookup_condition(key: &str) -> Option<&'static Directive> {
    let key = if key == "path" { "path_exists" } else { key };
    lookup_snake(Section::Unit, &format!("{CONDITION}{key}"))
}

/// Writes the key of `[condition]` that means a `Condition…=` directive; None for other directives.
pub(crate) fn condition_key(name: &str) -> Option<String> {
    match snake(name).strip_prefix(CONDITION)? {
        "path_exists" => Some("path".to_owned()),
        key => Some(key.to_owned()),
    }
}

/// Finds the first section that takes the name, for messages: `belongs to [Service]`.
pub(crate) fn section_of(name: &str) -> Option<Section> {
    Section::ALL.into_iter().find(|&section| lookup(section, name).is_some())
}

/// Finds the directive that was probably meant: another case, or few letters away.
pub(crate) fn nearest(section: Section, name: &str) -> Option<&'static str> {
    closest(name, section.directives().iter().map(|directive| directive.name))
}

/// Finds the candidate that was probably meant: another case, or few letters away.
pub(crate) fn closest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let furthest = 3.min(name.chars().count() / 2); // "Foo" is not a misspelt "Nice"
    let lower = name.to_ascii_lowercase();
    // Two letters in each other's place are one mistake.
    let distance = |known: &str| strsim::damerau_levenshtein(&known.to_ascii_lowercase(), &lower);
    candidates
        .filter(|known| known.len().abs_diff(name.len()) <= 3)
        .map(|known| (distance(known), known))
        .filter(|&(distance, _)| distance <= furthest)
        .min()
        .map(|(_, known)| known)
}

/// Writes a directive's name in snake case, so that `lookup_snake` finds it: `memory_max`, `allowed_cpus`.
pub(crate) fn snake(name: &str) -> String {
    let mut snake = String::new();
    let letters: Vec<char> = name.chars().collect();
    for (index, letter) in letters.iter().enumerate() {
        let after_small = index > 0 && !letters[index - 1].is_ascii_uppercase();
        // The s of a plural at the end of a name, as in `AllowedCPUs`, belongs to the capitals before it.
        let before_small = index > 0
            && matches!(letters[index + 1..], [next, ..] if next.is_ascii_lowercase() && (next != 's' || index + 2 < letters.len()));
        if letter.is_ascii_uppercase() && (after_small || before_small) {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// Returns the version of the systemd that is installed below `root`, from the name of its shared library, so that no
/// process runs; the highest, where an upgrade left several. None where there is none or the directory cannot be read.
pub fn systemd_version(root: &Path) -> Option<u16> {
    ["usr/lib", "usr/lib64", "lib", "lib64"]
        .into_iter()
        .flat_map(|lib| {
            let lib = root.join(lib);
            entries(&lib).into_iter().map(|triplet| lib.join(triplet)).chain([lib.clone()]).collect::<Vec<_>>()
        })
        .flat_map(|lib| entries(&lib.join("systemd")))
        .filter_map(|name| library_version(&name))
        .max()
}

/// Names of files in a directory, none if it cannot be read.
fn entries(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

/// 257 of `libsystemd-shared-257.so` (Debian), `libsystemd-shared-257.7-1.fc42.so` (Fedora, Arch).
fn library_version(name: &str) -> Option<u16> {
    let version = name.strip_prefix("libsystemd-shared-")?.strip_suffix(".so")?;
    let end = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
    version[..end].parse().ok()
}

#[cfg(test)]
mod tests;
