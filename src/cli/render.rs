//! `conductor render`

use std::collections::BTreeSet;
use std::mem;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use crate::cli::output::{out, outln};
use crate::cli::{Context, Failure, Outcome, cgi, name_of, split_words, variables};
use crate::compile::host::Compiled;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::names::ServiceName;
use crate::proxy::files;
use crate::service::provenance::{self, Provenance};
use crate::source::{self, search};
use crate::tree::{Entry, Tree};
use crate::{compile, template, write};

#[derive(Args)]
pub struct Arguments {
    /// A declared directory, the name of a service, or a function (its manifest or ID); everything that is declared when left out
    #[arg(value_name = "DIR|NAME|FUNCTION] [VAR=VAL")]
    words: Vec<String>,
    /// Write the files below DIR, which must not have them yet, instead of showing them
    #[arg(long, value_name = "DIR")]
    output: Option<Utf8PathBuf>,
    /// The service's name, if it is not the directory's
    #[arg(long)]
    name: Option<String>,
    /// Render for a host with this version of systemd instead of this one
    #[arg(long, value_name = "VERSION")]
    target_systemd: Option<u16>,
}

pub fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let systemd = arguments.target_systemd.or_else(|| context.systemd());
    let (things, assignments) = split_words(&arguments.words);
    let (tree, errors) = match things.as_slice() {
        [] => {
            let mut host = compile::compile(&context.layout, systemd);
            (mem::take(&mut host.tree), host.into_errors())
        }
        [thing] if cgi::is_function(context, thing) => {
            (cgi::rendered(context, thing, &assignments, systemd)?, Diagnostics::default())
        }
        [thing] => {
            let services = one(context, thing, arguments.name.as_deref(), &assignments, systemd)?;
            let mut tree = Tree::default();
            services.iter().for_each(|compiled| tree.extend(compiled.units.clone()));
            tree.extend(files::render(
                &context.layout,
                &services.iter().map(|it| &it.service).collect::<Vec<_>>(),
                None,
            ));
            (tree, Diagnostics::default())
        }
        _ => return Err(Failure::Usage("one directory or service at a time; variables are VAR=VAL".to_owned())),
    };
    match &arguments.output {
        Some(dir) => write::create(dir, &tree)?,
        None => show(&tree),
    }
    Ok(errors.into_result()?)
}

fn one(
    context: &Context,
    thing: &str,
    name: Option<&str>,
    assignments: &[String],
    systemd: Option<u16>,
) -> Result<Vec<Compiled>, Failure> {
    let path = Utf8Path::new(thing);
    if is_directory(thing) {
        return with_rendered(context, path, name, assignments, |location, dir| {
            Ok(compile::compile_all(&context.layout, location, dir, path, systemd)?)
        });
    }
    if !assignments.is_empty() {
        let why = format!("{thing} is a declared service: its variables were given when it was declared");
        return Err(Failure::Usage(why));
    }
    let location = context.location(thing)?;
    Ok(compile::compile_all(&context.layout, &location, &context.layout.at(&location.dir), &location.dir, systemd)?)
}

/// Whether a word is the path of a directory to declare from, and not the name of a service.
pub fn is_directory(thing: &str) -> bool {
    let has_declaration = || Utf8Path::new(thing).join(source::DECLARATION).exists();
    thing.contains('/') || ServiceName::new(thing).is_err() || has_declaration()
}

/// Renders a directory's templates into a scratch directory and works on that.
pub fn with_rendered<T>(
    context: &Context,
    path: &Utf8Path,
    name: Option<&str>,
    assignments: &[String],
    work: impl FnOnce(&search::Location, &Utf8Path) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let variables = variables(assignments)?;
    must_be_declaration(path)?;
    let name = name_of(path, name)?;
    let scratch = tempfile::tempdir()?;
    let dir = Utf8Path::from_path(scratch.path()).ok_or_else(|| Failure::Failed("TMPDIR is not UTF-8".to_owned()))?;
    template::render_dir(path, dir, &variables)?;
    let declared = Provenance { dir: path.to_owned(), variables, by_itself: true, brought_by: BTreeSet::new() };
    provenance::write(dir, &declared)?;
    work(&search::new_location(&context.layout, &name), dir)
}

/// # Errors
/// If there is no `service.toml` in the directory.
pub fn must_be_declaration(dir: &Utf8Path) -> Outcome {
    if dir.join(source::DECLARATION).is_file() {
        return Ok(());
    }
    let remedy = "name a directory that has a service.toml";
    let message = if dir.is_dir() { "there is no service.toml in it" } else { "there is no such directory" };
    Err(Failure::Declaration(Diagnostic::of_file(dir, message, remedy).into()))
}

fn show(tree: &Tree) {
    for (index, (path, entry)) in tree.iter().enumerate() {
        let gap = if index == 0 { "" } else { "\n" };
        match entry {
            Entry::File { content, .. } => out!("{gap}## {path}\n{}", String::from_utf8_lossy(content)),
            Entry::Symlink { target } => outln!("{gap}## {path} -> {target}"),
        }
    }
}
