//! `conductor service restart|scale|enable|disable|set`: drop-ins over the declaration.

use std::time::SystemTime;

use clap::Args;
use toml::{Table, Value};

use crate::cli::declare::{compile_proposed, lock_declared};
use crate::cli::output::outln;
use crate::cli::service::lifecycle::follow;
use crate::cli::{Context, Failure, Outcome};
use crate::compile::host::Compiled;
use crate::declaration::Declaration;
use crate::diagnostic::Diagnostics;
use crate::document::{Node, Path, Step};
use crate::layout::Scope;
use crate::names::ServiceName;
use crate::service::overrides::{self, Changes, INSTALL, RESTART, SCALE, SET};
use crate::source::search::{self, Location};

#[derive(Args)]
pub struct SetArguments {
    name: String,
    /// A dotted key of service.toml and its value, as TOML or a plain string; KEY= takes it back
    #[arg(value_name = "KEY=VALUE", required = true)]
    assignments: Vec<String>,
    /// Only write: start and roll nothing
    #[arg(long)]
    pub no_start: bool,
}

/// Another time is another generation of the same configuration.
pub fn restart(context: &Context, name: &ServiceName) -> Outcome {
    let (_lock, location) = lock_declared(context, name)?;
    // Microseconds: asked for thrice in a second, it rolls thrice.
    let time = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
    let changes = of_key(context, name, RESTART, RESTARTED_AT, Some(Value::String(time)))?;
    check(context, &changes, &location, &[(RESTART, RESTARTED_AT.into())])?;
    write_and_follow(context, name, &changes)
}

pub fn scale(context: &Context, name: &ServiceName, concurrency: u32) -> Outcome {
    let (_lock, location) = lock_declared(context, name)?;
    let changes = of_key(context, name, SCALE, CONCURRENCY, Some(Value::Integer(concurrency.into())))?;
    check(context, &changes, &location, &[(SCALE, CONCURRENCY.into())])?;
    write_and_follow(context, name, &changes)
}

pub fn enable(context: &Context, name: &ServiceName) -> Outcome {
    let (_lock, location) = lock_declared(context, name)?;
    let mut changes = of_key(context, name, INSTALL, WANTED_BY, None)?;
    let mut wanted_by = wanted_by_of(&check(context, &changes, &location, &[])?);
    if wanted_by.is_empty() {
        let default = match context.layout.scope {
            Scope::System => "multi-user.target",
            Scope::User => "default.target",
        };
        changes = of_key(context, name, INSTALL, WANTED_BY, Some(Value::Array(vec![default.into()])))?;
        wanted_by = wanted_by_of(&check(context, &changes, &location, &[(INSTALL, WANTED_BY.into())])?);
    }
    write_installation(context, name, &changes)?;
    let already = if changes.is_empty() { " already" } else { "" };
    outln!("{name}: enabled{already}: {} starts it; nothing was started now", wanted_by.join(", "));
    Ok(())
}

pub fn disable(context: &Context, name: &ServiceName) -> Outcome {
    let (_lock, location) = lock_declared(context, name)?;
    let mut changes = Changes::default();
    if !wanted_by_of(&check(context, &changes, &location, &[])?).is_empty() {
        changes = of_key(context, name, INSTALL, WANTED_BY, Some(Value::Array(Vec::new())))?;
        check(context, &changes, &location, &[(INSTALL, WANTED_BY.into())])?;
    }
    write_installation(context, name, &changes)?;
    let already = if changes.is_empty() { " already" } else { "" };
    outln!("{name}: disabled{already}: nothing starts it at boot; nothing was stopped now");
    Ok(())
}

/// What starts a declaration at boot: all its parts say the same.
fn wanted_by_of(services: &[Compiled]) -> Vec<String> {
    services.first().map(|compiled| compiled.service.wanted_by().to_vec()).unwrap_or_default()
}

/// systemd is told, as by `systemctl enable`; nothing else happens.
fn write_installation(context: &Context, name: &ServiceName, changes: &Changes) -> Outcome {
    changes.write(&context.layout, name)?;
    if context.layout.root() == "/" && !changes.is_empty() {
        context.manager.daemon_reload()?;
    }
    Ok(())
}

pub fn set(context: &Context, arguments: &SetArguments) -> Outcome {
    let name = &ServiceName::new(&arguments.name).map_err(Failure::Usage)?;
    let (_lock, location) = lock_declared(context, name)?;
    let mut declared = document(context, &location)?;
    let mut assignments = Vec::new();
    for word in &arguments.assignments {
        let Assignment { keys, text } = Assignment::parse(word)?;
        let value = text.map(|text| value(&declared, &keys, &text));
        if let Some(value) = &value {
            declared.merge(as_document(&keys, value)?);
        }
        assignments.push((keys, value));
    }
    let mut changes = Changes::default();
    let mut unknown = Vec::new();
    changes
        .edit(&context.layout, name, SET, |table| {
            for (keys, value) in &assignments {
                match value {
                    Some(value) => overrides::insert(table, keys, value.clone()),
                    None if overrides::remove(table, keys) => {}
                    None => unknown.push(path_of(keys).to_string()),
                }
            }
        })
        .map_err(Diagnostics::from)?;
    let given = assignments.iter().filter(|(_, value)| value.is_some());
    check(context, &changes, &location, &given.map(|(keys, _)| (SET, path_of(keys))).collect::<Vec<_>>())?;
    for key in unknown {
        outln!("{name}: {key} was not set by `conductor service set`");
    }
    if !arguments.no_start {
        return write_and_follow(context, name, &changes);
    }
    changes.write(&context.layout, name)?;
    if context.layout.root() == "/" {
        context.manager.daemon_reload()?;
    }
    outln!("{name}: {}", if changes.is_empty() { "set already" } else { "set; nothing was rolled" });
    Ok(())
}

/// One word of `set`.
struct Assignment {
    keys: Vec<String>,
    /// None: it is to be taken out.
    text: Option<String>,
}

impl Assignment {
    fn parse(word: &str) -> Result<Self, Failure> {
        let usage =
            || Failure::Usage(format!("{word:?} is not KEY=VALUE; a key is written as in config.LOG_LEVEL=debug"));
        let (key, text) = word.split_once('=').ok_or_else(usage)?;
        // TOML knows how dotted keys are quoted.
        let mut table: Table = format!("{key} = 0").parse().map_err(|_| usage())?;
        let mut keys = Vec::new();
        while let Some((key, value)) = std::mem::take(&mut table).into_iter().next() {
            keys.push(key);
            table = value.try_into().unwrap_or_default();
        }
        Ok(Self { keys, text: Some(text.to_owned()).filter(|text| !text.is_empty()) })
    }
}

/// What a text means as the value of a key: TOML where that fits the key's type, else a string. A bare
/// number or word is a string where the key takes one: `1.10` is no `1.1`.
fn value(declared: &Node, keys: &[String], text: &str) -> Value {
    let string = Value::String(text.to_owned());
    let toml = format!("value = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
    let Some(toml) = toml else { return string };
    let fits = |value: &Value| {
        let mut document = declared.clone();
        as_document(keys, value).is_ok_and(|over| {
            document.merge(over);
            document.read::<Declaration>().is_ok()
        })
    };
    let is_bare = !matches!(toml, Value::String(_) | Value::Array(_) | Value::Table(_));
    if is_bare && fits(&string) || !is_bare && !fits(&toml) && fits(&string) { string } else { toml }
}

/// A document of one value, to be laid over another.
fn as_document(keys: &[String], value: &Value) -> Result<Node, Failure> {
    let mut table = Table::new();
    overrides::insert(&mut table, keys, value.clone());
    let text = toml::to_string(&table).map_err(|error| Failure::Failed(error.to_string()))?;
    let source = crate::diagnostic::Source { path: SET.into(), text };
    Ok(Node::parse(&std::sync::Arc::new(source)).map_err(Diagnostics::from)?)
}

type Keys = &'static [&'static str];
const RESTARTED_AT: Keys = &["deploy", "restarted_at"];
const CONCURRENCY: Keys = &["concurrency"];
const WANTED_BY: Keys = &["install", "wanted_by"];

impl From<Keys> for Path {
    fn from(keys: Keys) -> Self {
        Self(keys.iter().map(|key| Step::from(*key)).collect())
    }
}

fn path_of(keys: &[String]) -> Path {
    Path(keys.iter().map(|key| Step::Key(key.clone())).collect())
}

fn document(context: &Context, location: &Location) -> Result<Node, Failure> {
    let layout = &context.layout;
    Ok(search::stored_document(layout, location).map_err(Diagnostics::from)?)
}

fn of_key(
    context: &Context,
    name: &ServiceName,
    file: &str,
    keys: Keys,
    value: Option<Value>,
) -> Result<Changes, Failure> {
    Ok(Changes::of_key(&context.layout, name, file, keys, value).map_err(Diagnostics::from)?)
}

/// What the declaration will compile to, before anything is written. Values that another drop-in
/// overrides are refused: they would do nothing.
fn check(
    context: &Context,
    changes: &Changes,
    location: &Location,
    given: &[(&str, Path)],
) -> Result<Vec<Compiled>, Failure> {
    let layout = &context.layout;
    let location = changes.lay(layout, location.clone());
    let compiled = compile_proposed(context, &location, &layout.at(&location.dir), &location.dir)?;
    let document = document(context, &location)?;
    for (file, path) in given {
        let mine = overrides::dir(layout, &location.name).join(file);
        let winner = &document.find(path).position;
        let is_table = document.find(path).plain().is_table();
        if !is_table && winner.source.path != mine {
            let line = winner.position().0;
            let why =
                format!("{path} is set by {}:{line}, which lies over {mine}: change it there", winner.source.path);
            return Err(Failure::Failed(why));
        }
    }
    Ok(compiled)
}

fn write_and_follow(context: &Context, name: &ServiceName, changes: &Changes) -> Outcome {
    let undo = changes.write(&context.layout, name)?;
    follow(context, name, || Ok(undo.write(&context.layout, name).map(drop)?))
}
