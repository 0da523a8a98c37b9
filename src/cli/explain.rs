//! `conductor explain`: the unit and proxy lines that each declared key produced.
//!
//! There is no table of these: the declaration is compiled again without each of its keys, or with another value where
//! a key is required, and the lines that are missing then are those that the key produced.

use std::collections::BTreeMap;
use std::slice;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::export;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::input::{is_directory, is_function, with_function, with_rendered};
use crate::cli::output::outln;
use crate::cli::{rendered, table, words};
use crate::compile;
use crate::compile::export::{Exported, export_written};
use crate::compile::functions::compile_function;
use crate::compile::host::Compiled;
use crate::diagnostic::Diagnostics;
use crate::document::{Node, Path, Step, Value};
use crate::function::render::render;
use crate::model::function;
use crate::proxy::files::MANIFEST;
use crate::source::functions;
use crate::source::search::{self, Location, Written};
use crate::target::Export;
use crate::target::kubernetes::fields;
use crate::tree::{Entry, Tree};

/// The largest number of lines of a file that are shown for a key.
const SHOWN: usize = 6;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Directory or manifest, service, or function
    #[arg(value_name = "DIR|NAME|ID] [VAR=VAL", required = true)]
    words: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    export: export::Arguments,
}

/// The compiled lines, by file.
type Lines = BTreeMap<Utf8PathBuf, Vec<String>>;

/// A key and the lines that it produced.
#[derive(Serialize)]
struct Explanation {
    /// Name of the service or function.
    name: String,
    key: String,
    value: String,
    /// The file that declares it.
    file: Utf8PathBuf,
    line: usize,
    /// Lines by file, below the generator's directory. None: nothing compiles without the key or with another value.
    became: Option<Lines>,
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let (things, assignments) = words::split(&arguments.words);
    let [thing] = things.as_slice() else {
        return Err(Failure::Usage("one service or function at a time; variables are VAR=VAL".to_owned()));
    };
    let path = Utf8Path::new(thing);
    let target = arguments.export.target()?;
    let compiler = Compiler { context, target: target.as_deref() };
    let explanations = if is_function(context, thing) {
        if target.is_some() {
            return Err(Failure::Usage("functions run on this host alone".to_owned()));
        }
        explain_function(context, thing, &assignments)?
    } else if is_directory(thing) {
        with_rendered(context, path, None, &assignments, |location, dir| explain(&compiler, location, dir, path))?
    } else {
        let location = context.location(thing)?;
        explain(&compiler, &location, &context.layout.at(&location.dir), &location.dir)?
    };
    if arguments.json {
        return table::print_json(&explanations);
    }
    let mut name = None;
    for one in &explanations {
        if name.is_some_and(|before| before != &one.name) {
            outln!("\n# {}\n", one.name);
        }
        name = Some(&one.name);
        print(one, target.is_some());
    }
    Ok(())
}

fn print(one: &Explanation, is_exported: bool) {
    outln!("{} = {}  ({}:{})", one.key, one.value, one.file, one.line);
    let Some(became) = &one.became else {
        return outln!("    lines unknown: nothing compiles without this key or with another value");
    };
    if became.is_empty() {
        outln!(
            "    {}",
            match is_exported {
                true => "no line: default, or of no effect there",
                false => "no unit line: default, or used by conductor itself",
            }
        );
    }
    for (file, lines) in became {
        outln!("    {file}");
        for line in lines.iter().take(SHOWN) {
            outln!("        {line}");
        }
        if lines.len() > SHOWN {
            outln!("        … and {} more lines", lines.len() - SHOWN);
        }
    }
}

/// What compiles variants of a declaration: for this host, or for a target beyond it.
struct Compiler<'a> {
    context: &'a Context,
    target: Option<&'a dyn Export>,
}

impl Compiler<'_> {
    /// Compiles what is written for a service.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    fn lines(&self, written: Written, dir: &Utf8Path, shown: &Utf8Path) -> Result<Lines, Diagnostics> {
        let layout = &self.context.layout;
        match self.target {
            None => {
                let compiled = compile::compile_written(layout, written, dir, shown, &self.context.target())?;
                Ok(lines_of_service(self.context, &compiled))
            }
            Some(target) => {
                let exported = export_written(layout, written, dir, shown, target)?;
                Ok(lines_of_objects(&exported))
            }
        }
    }
}

fn explain(
    compiler: &Compiler,
    location: &Location,
    dir: &Utf8Path,
    shown: &Utf8Path,
) -> Result<Vec<Explanation>, Failure> {
    let mut explanations = Vec::new();
    for (name, written) in search::written(&compiler.context.layout, location, dir, shown)? {
        let written = written?;
        let compiled = |document: Node| {
            let mut written = written.clone();
            written.document = document;
            compiler.lines(written, dir, shown)
        };
        let lines = compiled(written.document.clone())?;
        let variant = |document| compiled(document).ok();
        explanations.extend(explain_keys(name.as_str(), &written.document, &lines, variant));
    }
    Ok(explanations)
}

fn explain_function(context: &Context, word: &str, assignments: &[String]) -> Result<Vec<Explanation>, Failure> {
    let systemd = context.systemd();
    with_function(context, word, assignments, |base, dir| {
        let document = functions::document(dir, &base.dir.join(functions::MANIFEST))?;
        let variant = |document| {
            let variant = compile_function(&context.layout, document, dir, &base.dir, systemd).ok()?;
            Some(lines_of_function(context, &variant))
        };
        Ok(explain_keys(&base.function.name, &document, &lines_of_function(context, base), variant))
    })
}

/// Explains each key of a document by the lines that are missing without it.
fn explain_keys(
    name: &str,
    document: &Node,
    lines: &Lines,
    variant: impl Fn(Node) -> Option<Lines>,
) -> Vec<Explanation> {
    let explanation = |key: Path| {
        let node = document.find(&key);
        let variant = others(document, &key).into_iter().find_map(&variant);
        Explanation {
            name: name.to_owned(),
            key: key.to_string(),
            value: node.plain().to_string(),
            file: node.position.source.path.clone(),
            line: node.position.position().0,
            became: variant.map(|variant| gone(lines, &variant)),
        }
    };
    keys(document).into_iter().map(explanation).collect()
}

/// Lists the keys of values that are not tables, also those in arrays of tables.
fn keys(document: &Node) -> Vec<Path> {
    let mut keys = Vec::new();
    collect(document, &Path::default(), &mut keys);
    keys.sort_by_key(|key| {
        let place = &document.find(key).position;
        (place.source.path.clone(), place.span.start)
    });
    keys
}

fn collect(node: &Node, here: &Path, keys: &mut Vec<Path>) {
    let has_tables = node.items().iter().any(|item| matches!(item.value, Value::Table(_)));
    match &node.value {
        Value::Table(entries) => entries.iter().for_each(|(key, node)| collect(node, &here.join(key.as_str()), keys)),
        Value::Array(items) if has_tables => {
            items.iter().enumerate().for_each(|(index, node)| collect(node, &here.join(index), keys));
        }
        _ => keys.push(here.clone()),
    }
}

/// Returns the document without a key, and with other values of a key that is required.
fn others(document: &Node, key: &Path) -> Vec<Node> {
    let value = &document.find(key).value;
    let replacements = match value {
        Value::Boolean(truth) => vec![Value::Boolean(!truth)],
        Value::Integer(number) => vec![Value::Integer(number + 1), Value::Integer(number - 1)],
        Value::String(text) => vec![Value::String(format!("{text}x")), Value::String("/bin/true".to_owned())],
        Value::Array(items) => {
            let word =
                |text: &str| items.first().map(|item| Node { value: Value::String(text.to_owned()), ..item.clone() });
            vec![Value::Array(word("/bin/true").into_iter().collect())]
        }
        Value::Float(_) | Value::Datetime(_) | Value::Table(_) => Vec::new(),
    };
    let changed = |value: Option<Value>| {
        let mut document = document.clone();
        change(&mut document, &key.0, value);
        document
    };
    std::iter::once(None).chain(replacements.into_iter().map(Some)).map(changed).collect()
}

/// Sets the value at the end of a path, or removes it.
fn change(node: &mut Node, path: &[Step], value: Option<Value>) {
    let Some((step, rest)) = path.split_first() else { return };
    match (&mut node.value, step) {
        (Value::Table(entries), Step::Key(key)) if rest.is_empty() => match value {
            Some(value) => drop(entries.get_mut(key).map(|node| node.value = value)),
            None => drop(entries.remove(key)),
        },
        (Value::Table(entries), Step::Key(key)) => {
            if let Some(inner) = entries.get_mut(key) {
                change(inner, rest, value);
            }
        }
        (Value::Array(items), Step::Index(index)) => {
            if let Some(inner) = items.get_mut(*index) {
                change(inner, rest, value);
            }
        }
        _ => {}
    }
}

/// Returns the compiled lines of a service, without the generation's ID, which every change changes.
fn lines_of_service(context: &Context, compiled: &Compiled) -> Lines {
    let tree = rendered::tree(context, slice::from_ref(compiled), &context.target());
    lines(&tree, |text| text.replace(compiled.id.as_str(), "GENERATION"))
}

/// Returns the fields of a service's objects, without the generation's ID.
fn lines_of_objects(exported: &Exported) -> Lines {
    let id = exported.id.as_str();
    let files = exported.tree.iter().filter_map(|(path, entry)| match entry {
        Entry::File { content, .. } if path.extension() == Some("yaml") => {
            let text = String::from_utf8_lossy(content).replace(id, "GENERATION");
            Some((path.to_owned(), fields::lines(&text)))
        }
        _ => None,
    });
    files.collect()
}

/// Returns the compiled lines of a function, without its ID, which every change changes.
fn lines_of_function(context: &Context, compiled: &function::Compiled) -> Lines {
    let (id, tree) = (&compiled.id, render(&context.layout, compiled, &context.target()));
    lines(&tree, |text| {
        text.replace(id.as_str(), "ID").replace(&id.user(), "conductor-cgi-ID").replace(id.short(), "ID")
    })
}

/// Returns the lines of each file, without the IDs in them.
fn lines(tree: &Tree, anonymous: impl Fn(&str) -> String) -> Lines {
    let files = tree.iter().filter(|(path, _)| !path.as_str().ends_with(MANIFEST));
    files
        .map(|(path, entry)| {
            let lines = match entry {
                Entry::File { content, .. } => {
                    String::from_utf8_lossy(content).lines().map(|line| anonymous(line.trim())).collect()
                }
                Entry::Symlink { target } => vec![format!("-> {}", anonymous(target.as_str()))],
            };
            (Utf8PathBuf::from(anonymous(path.as_str())), lines)
        })
        .collect()
}

/// Returns the lines of one compilation that another does not have.
fn gone(one: &Lines, other: &Lines) -> Lines {
    let mut gone = BTreeMap::new();
    for (path, lines) in one {
        let mut there = other.get(path).cloned().unwrap_or_default();
        let mut missing = lines.clone();
        missing.retain(|line| match there.iter().position(|same| same == line) {
            Some(position) => {
                there.remove(position);
                false
            }
            // Section titles and comments follow from the lines below them.
            None => !line.is_empty() && !line.starts_with(['#', '[']),
        });
        if !missing.is_empty() {
            gone.insert(path.clone(), missing);
        }
    }
    gone
}
