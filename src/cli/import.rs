//! `conductor import`

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::outln;
use crate::cli::rendered;
use crate::import::{self, Fate, Imported, Kind};
use crate::log::note;
use crate::names::ServiceName;
use crate::tree::{Entry, Tree};
use crate::write;

#[derive(Args)]
pub(crate) struct Arguments {
    /// File to translate, or a directory with files of one kind
    #[arg(value_name = "FILE|DIR")]
    source: Utf8PathBuf,
    /// Write the declaration to this new directory, or show it with `-` [default: NAME]
    #[arg(short, long, value_name = "DIR")]
    output: Option<Utf8PathBuf>,
    /// Set the service's name [default: the one that the source has]
    #[arg(long)]
    name: Option<String>,
    /// Read the source as this kind of file [default: recognised]
    #[arg(long, value_name = "KIND", value_parser = kind())]
    from: Option<Kind>,
}

/// Returns the parser of a kind's name, which shells complete.
fn kind() -> impl TypedValueParser<Value = Kind> {
    let names = Kind::ALL.iter().map(|(name, _)| *name);
    PossibleValuesParser::new(names).try_map(|name| Kind::named(&name).ok_or("there is no such kind"))
}

/// Translates the source, writes the declaration and reports what became of each key.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let name = arguments.name.as_deref().map(ServiceName::new).transpose().map_err(Failure::Usage)?;
    let imported = import::import(&arguments.source, arguments.from, name.as_ref())?;
    match arguments.output.as_deref() {
        Some(dir) if dir == "-" => {
            rendered::show(&tree(&imported));
            report(&imported, &arguments.source, None);
        }
        dir => {
            let dir = dir.map_or_else(|| Utf8PathBuf::from(imported.name.as_str()), Utf8Path::to_owned);
            create(&imported, &dir)?;
            report(&imported, &arguments.source, Some(&dir));
        }
    }
    Ok(())
}

fn create(imported: &Imported, dir: &Utf8Path) -> Outcome {
    if dir.symlink_metadata().is_ok() {
        return Err(Failure::Failed(format!("{dir} already exists; name another directory with --output")));
    }
    Ok(write::create(dir, &tree(imported))?)
}

fn tree(imported: &Imported) -> Tree {
    let mut tree = Tree::default();
    for (path, file) in &imported.files {
        let mode = if file.executable { 0o755 } else { 0o644 };
        tree.insert(path.clone(), Entry::File { content: file.content.clone(), mode });
    }
    tree
}

/// Prints what became of the source: on standard error if the declaration itself is on standard output.
fn report(imported: &Imported, source: &Utf8Path, dir: Option<&Utf8Path>) {
    let mut lines = Vec::new();
    let approximated = imported.report.of(Fate::Approximated);
    let omitted = imported.report.of(Fate::Omitted);
    lines.push(format!(
        "{source}: {} translated, {} approximated, {} not translated",
        keys(imported.translated()),
        approximated.len(),
        omitted.len()
    ));
    for (title, notes) in [("approximated:", approximated), ("not translated:", omitted)] {
        if !notes.is_empty() {
            lines.push(title.to_owned());
            lines.extend(notes.iter().map(|note| format!("  {note}")));
        }
    }
    if !imported.report.hints.is_empty() {
        lines.push("before it is declared:".to_owned());
        lines.extend(imported.report.hints.iter().map(|hint| format!("  {hint}")));
    }
    if let Some(dir) = dir {
        let variables: String = imported.variables.iter().map(|name| format!(" {name}=…")).collect();
        let shown = if dir.as_str().contains('/') { dir.to_owned() } else { Utf8Path::new(".").join(dir) };
        let declare = if imported.is_function() { "cgi declare" } else { "service declare" };
        lines.push(format!("wrote {}", counted(imported.files.len(), dir)));
        lines.push(format!("\nconductor check {shown}{variables}\nconductor {declare} {shown}{variables}"));
    }
    for line in lines {
        if dir.is_some() { outln!("{line}") } else { note!("{line}") }
    }
}

fn keys(number: usize) -> String {
    format!("{number} {}", if number == 1 { "key" } else { "keys" })
}

fn counted(number: usize, dir: &Utf8Path) -> String {
    format!("{number} {} to {dir}", if number == 1 { "file" } else { "files" })
}
