//! `conductor cgi …`

mod declare;
mod list;
mod remove;

use std::thread;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Subcommand;

use crate::cli::output::outln;
use crate::cli::{Context, Failure, Outcome, variables};
use crate::compile::functions::{load_function, load_stored_function};
use crate::compile::host::Host;
use crate::function::store;
use crate::gateway::exec::{Stdin, exec};
use crate::gateway::{all, container, listener, serve};
use crate::layout::Layout;
use crate::model::Service;
use crate::model::alias::Alias;
use crate::model::function::Compiled;
use crate::names::{FunctionId, is_hex};
use crate::proxy::files;
use crate::proxy::routing::{FunctionRoute, RouteConflict};
use crate::source::functions::{self, MANIFEST};
use crate::target::systemd;
use crate::tree::Tree;

/// Between two starts of a gateway that fails; systemd's own limits would stop its socket for good.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Subcommand)]
pub enum Verb {
    /// Declare a function: store it under its digest and serve it at /cgi/ID and its aliases
    Declare(declare::Arguments),
    /// Print the digest that a function would have, and do nothing
    Identify {
        /// A function.toml, or the directory that it is in
        manifest: Utf8PathBuf,
        /// Variables for it
        #[arg(value_name = "VAR=VAL")]
        variables: Vec<String>,
    },
    /// List the declared functions
    List {
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Serve one function, as a pooled one's unit does, or every pooled one that systemd does not serve
    Serve {
        #[arg(value_name = "ID")]
        function: Option<String>,
    },
    /// What an isolated function's unit runs: one request on the connection that is stdin
    #[command(name = "_request", hide = true)]
    Request { function: String },
    /// What the unit of a function's container runs: it becomes podman's
    #[command(name = "_container", hide = true)]
    Container { function: String, instance: Option<String> },
    /// What that unit runs when the container has ended
    #[command(name = "_remove", hide = true)]
    Remove { function: String, instance: Option<String> },
    /// The first process in a function's container
    #[command(name = "_inside", hide = true)]
    Inside {
        function: String,
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Give a program the listening socket that is stdin
    #[command(name = "_listen", hide = true)]
    Listen {
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Remove a function: no request reaches it any more, and those in flight are finished first
    Rm {
        /// Its ID, the first digits of it (4 or more), or one of its aliases
        #[arg(value_name = "ID|ALIAS")]
        function: String,
    },
}

pub fn run(context: &Context, verb: Verb) -> Outcome {
    match verb {
        Verb::Declare(arguments) => declare::run(context, &arguments),
        Verb::Identify { manifest, variables } => {
            outln!("{}", with_gathered(context, &manifest, &variables, |compiled, _| Ok(compiled.id.clone()))?);
            Ok(())
        }
        Verb::List { json } => list::run(context, json),
        Verb::Serve { function: Some(function) } => {
            let served =
                find(context, &function).and_then(|(id, _)| serve::run(&context.layout, &id).map_err(Failure::Failed));
            // Whoever waits in systemd's socket would have it start again at once.
            if served.is_err() && listener::inherited().is_some() {
                thread::sleep(PAUSE);
            }
            served
        }
        Verb::Serve { function: None } => {
            let (manager, is_here) = (context.manager, context.layout.root() == "/");
            let listens = move |ids: &[FunctionId]| {
                let sockets: Vec<_> = ids.iter().map(|id| format!("{}.socket", id.unit())).collect();
                let states = if is_here { manager.states(&sockets).ok() } else { None };
                states.map_or_else(|| vec![false; ids.len()], |all| all.iter().map(|state| state == "active").collect())
            };
            all::run(&context.layout, listens).map_err(Failure::Failed)
        }
        Verb::Request { function } => {
            serve::run_request(&context.layout, &find(context, &function)?.0).map_err(Failure::Failed)
        }
        Verb::Container { function, instance } => {
            container::start(&context.layout, &id(&function)?, instance.as_deref()).map_err(Failure::Failed)
        }
        Verb::Remove { function, instance } => {
            container::remove(&id(&function)?, instance.as_deref()).map_err(Failure::Failed)
        }
        Verb::Inside { function, command } => {
            serve::run_in_container(&context.layout, &id(&function)?, command).map_err(Failure::Failed)
        }
        Verb::Listen { command } => Err(exec(&command, Stdin::Listener).into()),
        Verb::Rm { function } => remove::run(context, &function),
    }
}

fn id(word: &str) -> Result<FunctionId, Failure> {
    FunctionId::new(word).ok_or_else(|| Failure::Usage(format!("{word} is not the ID of a function")))
}

/// A manifest's path, from it or its directory.
pub fn manifest(path: &Utf8Path) -> Utf8PathBuf {
    if path.is_dir() { path.join(MANIFEST) } else { path.to_owned() }
}

/// Gathers a function in a scratch directory and works on that.
pub fn with_gathered<T>(
    context: &Context,
    path: &Utf8Path,
    assignments: &[String],
    work: impl FnOnce(&Compiled, &Utf8Path) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let scratch = tempfile::tempdir()?;
    let dir = Utf8Path::from_path(scratch.path()).ok_or_else(|| Failure::Failed("TMPDIR is not UTF-8".to_owned()))?;
    let manifest = manifest(path);
    store::gather(&manifest, &variables(assignments)?, dir)?;
    let compiled = load_function(&context.layout, dir, parent(&manifest), context.systemd())?;
    work(&compiled, dir)
}

fn parent(manifest: &Utf8Path) -> &Utf8Path {
    manifest.parent().filter(|dir| !dir.as_str().is_empty()).unwrap_or(Utf8Path::new("."))
}

/// The one function that somebody means: by its ID, the beginning of one, or an alias.
pub fn find(context: &Context, word: &str) -> Result<(FunctionId, Utf8PathBuf), Failure> {
    let layout = &context.layout;
    if let Some(id) = FunctionId::new(word) {
        let dir = functions::find_one(layout, &id);
        return dir.map(|dir| (id, dir)).ok_or_else(|| Failure::Failed(format!("no function has the ID {word}")));
    }
    let all = functions::find(layout);
    let aliases = functions::aliases(layout);
    let alias = Alias::from_file_name(&word.replace('/', "+"));
    if let Some(owned) = alias.and_then(|alias| aliases.get(&alias))
        && let Some(dir) = all.get(&owned.id)
    {
        return Ok((owned.id.clone(), dir.clone()));
    }
    if !is_hex(word) || word.is_empty() {
        return Err(Failure::Failed(format!("no function has the alias {word}; `conductor cgi list` shows all")));
    }
    if word.len() < 4 {
        return Err(Failure::Usage(format!("{word}: write at least 4 digits of the ID")));
    }
    let mut candidates = all.iter().filter(|(id, _)| id.as_str().starts_with(word));
    match (candidates.next(), candidates.next()) {
        (Some((id, dir)), None) => Ok((id.clone(), dir.clone())),
        (None, _) => Err(Failure::Failed(format!("no function's ID begins with {word}"))),
        (Some(_), Some(_)) => {
            let all = all.keys().filter(|id| id.as_str().starts_with(word));
            let lines: Vec<_> = all.map(|id| format!("  {id} {}", name(context, id))).collect();
            Err(Failure::Failed(format!("{word} is the beginning of several IDs:\n{}", lines.join("\n"))))
        }
    }
}

/// Whether a word is a function for commands that also know services: a manifest, its directory, or a declared one.
pub fn is_function(context: &Context, word: &str) -> bool {
    let path = Utf8Path::new(word);
    let is_id = || word.len() >= 4 && functions::find(&context.layout).keys().any(|id| id.as_str().starts_with(word));
    let is_service = || path.join(crate::source::DECLARATION).exists();
    path.file_name() == Some(MANIFEST) || path.join(MANIFEST).exists() && !is_service() || is_hex(word) && is_id()
}

/// Works on such a function, where its files are.
pub fn with_function<T>(
    context: &Context,
    word: &str,
    assignments: &[String],
    work: impl FnOnce(&Compiled, &Utf8Path) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let layout = &context.layout;
    if Utf8Path::new(word).exists() {
        return with_gathered(context, Utf8Path::new(word), assignments, work);
    }
    let (id, dir) = find(context, word)?;
    work(&load_stored_function(layout, &id, &dir, context.systemd())?, &layout.at(&dir))
}

/// What such a function compiles to, as it would be stored.
pub fn rendered(context: &Context, word: &str, assignments: &[String], systemd: Option<u16>) -> Result<Tree, Failure> {
    with_function(context, word, assignments, |compiled, _| Ok(render_one(&context.layout, compiled, systemd)))
}

/// A function's units and the proxy's configuration of it, as if it were stored.
pub fn render_one(layout: &Layout, compiled: &Compiled, systemd: Option<u16>) -> Tree {
    let dir = store::base(layout).join(compiled.id.as_str());
    let mut tree = systemd::function::render(layout, &Compiled { dir, ..compiled.clone() }, systemd);
    let function = &compiled.function;
    let aliases = function.aliases.iter().map(|alias| FunctionRoute {
        link: store::base(layout).join(functions::ALIASES).join(alias.file_name()),
        tls: function.tls,
        alias: alias.clone(),
    });
    tree.extend(files::render(layout, &[], Some(&aliases.collect::<Vec<_>>())));
    tree
}

/// What a service is told whose route is a function's alias; the number is the route's.
pub fn alias_conflict(context: &Context, host: &Host, service: &Service) -> Option<(usize, String)> {
    functions::aliases(&context.layout).into_iter().find_map(|(alias, owned)| {
        let function = &host.functions.get(&owned.id)?.function;
        let (_, route) = RouteConflict::of_alias(&alias, function.tls, std::iter::once(service))?;
        Some((route, format!("{alias} belongs to the function {:?}, {}", function.name, owned.id)))
    })
}

/// Starts what waits for requests, and stops what is not declared any more.
pub fn converge(context: &Context, host: &Host) -> Outcome {
    let manager = context.manager;
    let wanted: Vec<_> = host.functions.keys().map(|id| format!("{}.socket", id.unit())).collect();
    let declared =
        |unit: &str| FunctionId::from_unit(unit).is_some_and(|id| functions::find_one(&context.layout, &id).is_some());
    let active = manager.active("conductor-cgi-*")?;
    let is_unit = |unit: &&String| unit.ends_with(".socket") || unit.ends_with(".service");
    let stale: Vec<_> = active.iter().filter(is_unit).filter(|unit| !declared(unit)).cloned().collect();
    manager.stop(&stale)?;
    let missing: Vec<_> = wanted.into_iter().filter(|unit| !active.contains(unit)).collect();
    Ok(manager.start(&missing)?)
}

/// What a declared function is called.
pub fn name(context: &Context, id: &FunctionId) -> String {
    let dir = functions::find_one(&context.layout, id);
    let loaded = dir.and_then(|dir| load_function(&context.layout, &context.layout.at(&dir), &dir, None).ok());
    loaded.map_or_else(|| "?".to_owned(), |compiled| compiled.function.name)
}
