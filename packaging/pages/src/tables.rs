//! Tables of keys in docs/, out of the descriptions of keys. They stand between `<!-- keys SECTION -->`, without a name for the
//! top of a file, and `<!-- end -->`. What a target makes of keys stands between `<!-- dispositions -->` and `<!-- end -->`.

use std::error::Error;
use std::fs;
use std::path::Path;

use conductor::key::{File, Key, Section};
use conductor::service::action::Action;
use conductor::target::disposition::Disposition;
use conductor::target::{kubernetes, pacemaker};

/// The pages in docs/ that have tables, and the file that each is about.
const PAGES: [(&str, File); 3] =
    [("service-toml.md", File::Service), ("function-toml.md", File::Function), ("conductor-toml.md", File::Host)];

/// The pages in docs/ with what a target makes of each key.
const TARGETS: [(&str, &[(&str, Disposition)]); 2] =
    [("how-to/kubernetes.md", kubernetes::keys::KEYS), ("how-to/cluster.md", pacemaker::keys::KEYS)];

const DISPOSITIONS: &str = "<!-- dispositions -->";
const BEGIN: &str = "<!-- keys";
const END: &str = "<!-- end -->";

/// Writes the tables of all pages anew.
pub(crate) fn update(docs: &Path) -> Result<(), Box<dyn Error>> {
    for (page, file) in PAGES {
        let path = docs.join(page);
        let text = fs::read_to_string(&path).map_err(|error| format!("{page}: {error}"))?;
        fs::write(&path, with_tables(&text, file).map_err(|error| format!("{page}: {error}"))?)?;
    }
    for (page, keys) in TARGETS {
        let path = docs.join(page);
        let text = fs::read_to_string(&path).map_err(|error| format!("{page}: {error}"))?;
        fs::write(&path, with_dispositions(&text, keys).map_err(|error| format!("{page}: {error}"))?)?;
    }
    Ok(())
}

/// The page of a target with what it makes of each key.
fn with_dispositions(page: &str, keys: &[(&str, Disposition)]) -> Result<String, String> {
    let (before, rest) = page.split_once(DISPOSITIONS).ok_or_else(|| format!("no {DISPOSITIONS}"))?;
    let (_, after) = rest.split_once(END).ok_or_else(|| format!("no {END} behind {DISPOSITIONS}"))?;
    let row = |(key, disposition): &(&str, Disposition)| {
        format!("| `{key}` | {} | {} |\n", disposition.kind(), disposition.words())
    };
    let rows: String = keys.iter().map(row).collect();
    Ok(format!("{before}{DISPOSITIONS}\n| key | | what becomes of it |\n| --- | --- | --- |\n{rows}{END}{after}"))
}

/// The page with what is between its marks written anew.
fn with_tables(page: &str, file: File) -> Result<String, String> {
    let mut parts = page.split(BEGIN);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once(" -->").ok_or("a mark without an end")?;
        let (_, rest) = rest.split_once(END).ok_or_else(|| format!("no {END} behind {BEGIN}{name} -->"))?;
        let section = file.sections().iter().find(|section| section.path == name.trim());
        let section = section.ok_or_else(|| format!("no section{name}"))?;
        text += &format!("{BEGIN}{name} -->\n{}{END}{rest}", table(file, section));
    }
    Ok(text)
}

/// A column's heading, and what stands in it for a key.
type Column = (&'static str, fn(&Key) -> String);

/// A section's keys. Columns in which nothing stands are left out.
fn table(file: File, section: &Section) -> String {
    let columns: [Column; 6] = [
        ("key", |key| format!("`{}`", key.name)),
        ("type", |key| key.kind.words()),
        ("default", |key| key.default.words()),
        ("plan", plan),
        ("meaning", |key| key.meaning.to_owned()),
        ("systemd", |key| key.systemd.to_owned()),
    ];
    let columns = columns.into_iter().filter_map(|(name, cell)| {
        let cells: Vec<String> = section.keys.iter().map(cell).collect();
        // conductor.toml lies under services' declarations, which have the defaults.
        let is_needed = cells.iter().any(|cell| !cell.is_empty()) && (file, name) != (File::Host, "default");
        is_needed.then_some((name, cells))
    });
    let columns: Vec<_> = columns.collect();
    let row = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
    let mut text = row(columns.iter().map(|(name, _)| *name).collect());
    text += &row(vec!["---"; columns.len()]);
    for number in 0..section.keys.len() {
        text += &row(columns.iter().map(|(_, cells)| cells[number].as_str()).collect());
    }
    text.replace("|  |", "| |").replace("|  |", "| |")
}

/// What `conductor plan` calls a change of the key, and the key, if it names another.
fn plan(key: &Key) -> String {
    let Some(digest) = key.digest else { return String::new() };
    let action = Action::from(digest).name();
    match key.reported_as {
        "" => action.to_owned(),
        other => format!("{action} (`{}`)", other.replace('*', "NAME")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn docs() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs"))
    }

    #[test]
    fn pages_have_the_tables_that_keys_are_described_by() {
        for (page, file) in PAGES {
            let text = fs::read_to_string(docs().join(page)).unwrap();
            assert!(with_tables(&text, file).unwrap() == text, "{page} differs: run `make docs`");
        }
        for (page, keys) in TARGETS {
            let text = fs::read_to_string(docs().join(page)).unwrap();
            assert!(with_dispositions(&text, keys).unwrap() == text, "{page} differs: run `make docs`");
        }
    }

    #[test]
    fn every_section_of_a_service_is_on_its_page() {
        let text = fs::read_to_string(docs().join("service-toml.md")).unwrap();
        for section in File::Service.sections() {
            let mark = format!("{BEGIN} {} -->", section.path).replace("  ", " ");
            assert_eq!(text.matches(&mark).count(), 1, "{mark}");
        }
    }
}
