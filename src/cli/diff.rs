//! `conductor diff`: what changes between two generations of a service, or from one to the declaration.

use std::slice;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use similar::TextDiff;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::{out, outln};
use crate::cli::{rendered, words};
use crate::compile;
use crate::compile::host::Compiled;
use crate::live::Target;
use crate::model::FileKind;
use crate::names::ServiceName;
use crate::service::history::{self, PastGeneration};
use crate::tree::{Entry, Tree};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Name of the service
    name: String,
    /// ID of the generation to begin with, or its beginning [default: the one that serves]
    from: Option<String>,
    /// ID of the generation to end with, or its beginning [default: the declaration]
    to: Option<String>,
}

/// One of the two that are compared.
struct Side {
    title: String,
    compiled: Compiled,
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let name = words::service(&arguments.name)?;
    let past = history::all(&context.layout, &name)?;
    let from = match &arguments.from {
        Some(prefix) => generation(context, &name, &past, prefix)?,
        None => serving(context, &name, &past)?,
    };
    let to = match &arguments.to {
        Some(prefix) => generation(context, &name, &past, prefix)?,
        None => declared(context, &name)?,
    };
    let trees = [tree(context, &from), tree(context, &to)];
    let paths: std::collections::BTreeSet<_> = trees.iter().flat_map(Tree::iter).map(|(path, _)| path).collect();
    let mut is_same = true;
    for path in paths {
        let [before, after] = [&trees[0], &trees[1]].map(|tree| tree.get(path).map(text).unwrap_or_default());
        if before != after {
            is_same = false;
            let diff = TextDiff::from_lines(&before, &after);
            let headers = (format!("{path} ({})", from.title), format!("{path} ({})", to.title));
            out!("{}", diff.unified_diff().context_radius(2).header(&headers.0, &headers.1));
        }
    }
    if is_same {
        outln!("{name}: no difference between {} and {}", from.title, to.title);
    }
    Ok(())
}

fn serving(context: &Context, name: &ServiceName, past: &[PastGeneration]) -> Result<Side, Failure> {
    let Some(target) = Target::read(&context.layout, name)? else {
        context.location(name.as_str())?;
        return Err(Failure::Failed(format!(
            "{name}: no generation serves; name one, `conductor service history {name}`"
        )));
    };
    generation(context, name, past, target.generation.as_str())
}

/// Compiles a stored generation as it was declared.
fn generation(context: &Context, name: &ServiceName, past: &[PastGeneration], prefix: &str) -> Result<Side, Failure> {
    let found: Vec<_> = past.iter().filter(|one| one.id.as_str().starts_with(prefix)).collect();
    let [one] = found[..] else {
        let how_many = if found.is_empty() { "no stored generation begins" } else { "several generations begin" };
        let help = format!("`conductor service history {name}` lists them");
        return Err(Failure::Failed(format!("{name}: {how_many} with {prefix:?}; {help}")));
    };
    let compiled = one.compile(&context.layout, name, &context.target())?;
    Ok(Side { title: format!("generation {}", one.id), compiled })
}

fn declared(context: &Context, name: &ServiceName) -> Result<Side, Failure> {
    let location = context.location(name.as_str())?;
    let compiled = compile::compile_located(&context.layout, &location, &context.target())?;
    Ok(Side { title: "declared".to_owned(), compiled })
}

/// Returns the units, the routes and the files of a side. What is named after a generation has the same name in both.
fn tree(context: &Context, side: &Side) -> Tree {
    let compiled = &side.compiled;
    let tree = rendered::tree(context, slice::from_ref(compiled), &context.target());
    let id = compiled.id.as_str();
    let mut alike = Tree::default();
    for (path, entry) in tree.iter() {
        let path = Utf8PathBuf::from(path.as_str().replace(id, "GENERATION"));
        match entry {
            Entry::File { content, .. } => alike.file(path, String::from_utf8_lossy(content).replace(id, "GENERATION")),
            Entry::Symlink { target } => alike.symlink(path, target.as_str().replace(id, "GENERATION")),
        }
    }
    alike.file(Utf8Path::new("files").to_owned(), list(compiled));
    alike
}

/// Lists the declared files, a line for each.
fn list(compiled: &Compiled) -> String {
    let line = |file: &crate::model::File| match &file.kind {
        FileKind::Directory => format!("{}/\n", file.path),
        FileKind::Symlink { target } => format!("{} -> {target}\n", file.path),
        FileKind::Regular { sha256, executable, .. } => {
            let mark = if *executable { " (executable)" } else { "" };
            format!("{}{mark} sha256:{sha256}\n", file.path)
        }
    };
    compiled.service.files.iter().map(line).collect()
}

fn text(entry: &Entry) -> String {
    match entry {
        Entry::File { content, .. } => String::from_utf8_lossy(content).into_owned(),
        Entry::Symlink { target } => format!("-> {target}\n"),
    }
}
