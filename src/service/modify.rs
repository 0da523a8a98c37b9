//! Commands that change a declaration by drop-ins: `restart`, `scale`, `enable`, `disable` and `set`.

use std::sync::Arc;
use std::time::SystemTime;

use toml::{Table, Value};

use crate::compile::host::Compiled;
use crate::declaration::Declaration;
use crate::diagnostic::Source;
use crate::document::{Node, Path, Step};
use crate::layout::Scope;
use crate::names::ServiceName;
use crate::service::failure::{Failure, Result};
use crate::service::lifecycle::apply_change;
use crate::service::machine::Machine;
use crate::service::overrides::{self, Changes, INSTALL, RESTART, SCALE, SET};
use crate::service::{lock, proposal};
use crate::source::search::{self, Location};

type Keys = &'static [&'static str];
const RESTARTED_AT: Keys = &["deploy", "restarted_at"];
const CONCURRENCY: Keys = &["concurrency"];
const WANTED_BY: Keys = &["install", "wanted_by"];

/// Rolls the same configuration: a new time makes a new generation.
///
/// # Errors
/// If the service is not declared, or the new generation does not serve.
pub(crate) fn restart(machine: &Machine, name: &ServiceName) -> Result<()> {
    let (_lock, location) = lock::declared(machine, name)?;
    // Microseconds: each of several restarts within a second has its own generation.
    let time = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
    let changes = Changes::of_key(machine.layout, name, RESTART, RESTARTED_AT, Some(Value::String(time)))?;
    check(machine, &changes, &location, &[(RESTART, RESTARTED_AT.into())])?;
    write_and_apply(machine, name, &changes)
}

/// Changes how many deployments of a service run.
///
/// # Errors
/// If the service is not declared, or cannot run as many.
pub(crate) fn scale(machine: &Machine, name: &ServiceName, concurrency: u32) -> Result<()> {
    let (_lock, location) = lock::declared(machine, name)?;
    let value = Value::Integer(concurrency.into());
    let changes = Changes::of_key(machine.layout, name, SCALE, CONCURRENCY, Some(value))?;
    check(machine, &changes, &location, &[(SCALE, CONCURRENCY.into())])?;
    write_and_apply(machine, name, &changes)
}

/// The result of `enable` or `disable`.
pub(crate) struct Installed {
    /// The units that start the service at boot.
    pub(crate) wanted_by: Vec<String>,
    /// Whether nothing changed.
    pub(crate) is_unchanged: bool,
}

/// Makes a service start at boot: by what it declares, or else by the default target.
///
/// # Errors
/// If the service is not declared.
pub(crate) fn enable(machine: &Machine, name: &ServiceName) -> Result<Installed> {
    let (_lock, location) = lock::declared(machine, name)?;
    let layout = machine.layout;
    let mut changes = Changes::of_key(layout, name, INSTALL, WANTED_BY, None)?;
    let mut wanted_by = wanted_by(&check(machine, &changes, &location, &[])?);
    if wanted_by.is_empty() {
        let default = match layout.scope {
            Scope::System => "multi-user.target",
            Scope::User => "default.target",
        };
        let value = Value::Array(vec![default.into()]);
        changes = Changes::of_key(layout, name, INSTALL, WANTED_BY, Some(value))?;
        wanted_by = self::wanted_by(&check(machine, &changes, &location, &[(INSTALL, WANTED_BY.into())])?);
    }
    install(machine, name, &changes)?;
    Ok(Installed { wanted_by, is_unchanged: changes.is_empty() })
}

/// Makes a service not start at boot.
///
/// # Errors
/// If the service is not declared.
pub(crate) fn disable(machine: &Machine, name: &ServiceName) -> Result<Installed> {
    let (_lock, location) = lock::declared(machine, name)?;
    let mut changes = Changes::default();
    if !wanted_by(&check(machine, &changes, &location, &[])?).is_empty() {
        changes = Changes::of_key(machine.layout, name, INSTALL, WANTED_BY, Some(Value::Array(Vec::new())))?;
        check(machine, &changes, &location, &[(INSTALL, WANTED_BY.into())])?;
    }
    install(machine, name, &changes)?;
    Ok(Installed { wanted_by: Vec::new(), is_unchanged: changes.is_empty() })
}

/// Returns what starts a declaration at boot: all its parts have the same.
fn wanted_by(services: &[Compiled]) -> Vec<String> {
    services.first().map(|compiled| compiled.systemd.wanted_by.clone()).unwrap_or_default()
}

fn install(machine: &Machine, name: &ServiceName, changes: &Changes) -> Result<()> {
    changes.write(machine.layout, name)?;
    if machine.is_running() && !changes.is_empty() {
        machine.manager.daemon_reload()?;
    }
    Ok(())
}

/// A key of `service.toml` and the text of its new value.
pub(crate) struct Assignment {
    pub(crate) keys: Vec<String>,
    /// None: the override is removed.
    pub(crate) text: Option<String>,
}

/// Overrides keys of a declaration. Calls `report` with keys that had no override to remove, before anything is
/// written. Returns whether nothing changed.
///
/// # Errors
/// If the service is not declared, a value is wrong, or what results does not serve.
pub(crate) fn set(
    machine: &Machine,
    name: &ServiceName,
    assignments: &[Assignment],
    applies: bool,
    report: impl FnOnce(&[String]),
) -> Result<bool> {
    let (_lock, location) = lock::declared(machine, name)?;
    let layout = machine.layout;
    let mut document = search::stored_document(layout, &location)?;
    let mut values = Vec::new();
    for Assignment { keys, text } in assignments {
        let value = text.as_ref().map(|text| value(&document, keys, text));
        if let Some(value) = &value {
            document.merge(as_document(keys, value)?);
        }
        values.push((keys, value));
    }
    let (mut changes, mut not_overridden) = (Changes::default(), Vec::new());
    changes.edit(layout, name, SET, |table| {
        for (keys, value) in &values {
            match value {
                Some(value) => overrides::insert(table, keys, value.clone()),
                None if overrides::remove(table, keys) => {}
                None => not_overridden.push(path_of(keys).to_string()),
            }
        }
    })?;
    let given = values.iter().filter(|(_, value)| value.is_some());
    check(machine, &changes, &location, &given.map(|(keys, _)| (SET, path_of(keys))).collect::<Vec<_>>())?;
    report(&not_overridden);
    if applies {
        write_and_apply(machine, name, &changes)?;
    } else {
        changes.write(layout, name)?;
        if machine.is_running() {
            machine.manager.daemon_reload()?;
        }
    }
    Ok(changes.is_empty())
}

/// Returns what a text means as the value of a key: TOML where that fits the key's type, else a string. A bare number
/// or word is a string where the key takes one: `1.10` is not `1.1`.
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

/// Returns a document of one value, to be merged into another.
fn as_document(keys: &[String], value: &Value) -> Result<Node> {
    let mut table = Table::new();
    overrides::insert(&mut table, keys, value.clone());
    let text = toml::to_string(&table).map_err(Failure::failed)?;
    Ok(Node::parse(&Arc::new(Source { path: SET.into(), text }))?)
}

impl From<Keys> for Path {
    fn from(keys: Keys) -> Self {
        Self(keys.iter().map(|key| Step::from(*key)).collect())
    }
}

fn path_of(keys: &[String]) -> Path {
    Path(keys.iter().map(|key| Step::Key(key.clone())).collect())
}

/// Compiles the declaration as it will be with the changes, before they are written. A value that another drop-in
/// overrides would have no effect and is refused.
fn check(machine: &Machine, changes: &Changes, location: &Location, given: &[(&str, Path)]) -> Result<Vec<Compiled>> {
    let layout = machine.layout;
    let location = changes.apply(layout, location.clone())?;
    let compiled = proposal::compile(machine, &location, &layout.at(&location.dir), &location.dir)?;
    let document = search::stored_document(layout, &location)?;
    for (file, path) in given {
        let own = overrides::dir(layout, &location.name).join(file);
        let winner = &document.find(path).position;
        let is_table = document.find(path).plain().is_table();
        if !is_table && winner.source.path != own {
            let (other, line) = (&winner.source.path, winner.position().0);
            let why = format!("{path} is set by {other}:{line}, which takes precedence over {own}: change it there");
            return Err(Failure::Failed(why));
        }
    }
    Ok(compiled)
}

fn write_and_apply(machine: &Machine, name: &ServiceName, changes: &Changes) -> Result<()> {
    let undo = changes.write(machine.layout, name)?;
    apply_change(machine, name, || Ok(undo.write(machine.layout, name).map(drop)?))
}
