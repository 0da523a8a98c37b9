//! The least declaration that has a key, out of the descriptions of keys.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use camino::Utf8Path;
use conductor::compile;
use conductor::key::{Default, File, Key, Kind, Section};
use conductor::layout::Layout;
use conductor::target::systemd::Units;
use toml::{Table, Value};

/// A key at its place in a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) file: File,
    pub(crate) section: Section,
    pub(crate) key: &'static Key,
}

/// All keys that this host's target takes.
pub(crate) fn places() -> Vec<Place> {
    all_places().filter(|place| place.section.path != "deploy.autoscale").collect()
}

/// All keys that have an example, in services' and functions' files. Parts are read before anything has a type.
pub(crate) fn all_places() -> impl Iterator<Item = Place> {
    let files = [File::Service, File::Function];
    let sections = files.into_iter().flat_map(|file| file.sections().iter().map(move |section| (file, *section)));
    let sections = sections.filter(|(_, section)| section.path != "part");
    let keys = sections.flat_map(|(file, section)| section.keys.iter().map(move |key| Place { file, section, key }));
    keys.filter(|place| !place.key.example.is_empty() && place.suits_the_file())
}

/// The path of a section, with a name for `*`.
pub(crate) fn section_path(section: &Section) -> String {
    section.path.replace("hooks.*", "hooks.pre_start").replace("listen.*", "listen.metrics").replace('*', "NAME")
}

impl Place {
    /// A function starts in the directory of its files and has no environment files or start templates; its container has no port, gives up
    /// all capabilities anyway, and has no credentials. A directory of programs stands in place of a command, which the least
    /// declaration has.
    fn suits_the_file(&self) -> bool {
        let others: &[_] = match self.section.path {
            "" => &["directory", "interpreter", "index"],
            "exec" => &["working_dir", "environment_file", "start_templates"],
            "container" => {
                &["port", "drop_capability", "credentials", "credentials_encrypted", "pull", "environment_file"]
            }
            _ => &[],
        };
        self.file != File::Function || !others.contains(&self.key.name)
    }

    pub(crate) fn path(&self) -> String {
        let section = section_path(&self.section);
        if section.is_empty() { self.key.name.to_owned() } else { format!("{section}.{}", self.key.name) }
    }

    /// The declaration without the key, but with everything that it needs.
    pub(crate) fn without(&self) -> Table {
        let mut table = least(self.file, &self.section);
        merge(&mut table, needs(self.file, &self.section, self.key));
        let section = enter(&mut table, self.file, &section_path(&self.section));
        section.remove(self.key.name);
        table
    }

    /// The declaration with this value of the key, in TOML.
    pub(crate) fn with(&self, value: &str) -> Table {
        let mut table = self.without();
        enter(&mut table, self.file, &section_path(&self.section)).insert(self.key.name.to_owned(), parse(value));
        table
    }
}

/// The least declaration that has the section.
pub(crate) fn least(file: File, section: &Section) -> Table {
    let engines = ["exec", "container", "pod"];
    let mut table = Table::new();
    // These have a key that only containers take.
    let default = if ["listen.*", "commands.*"].contains(&section.path) { "container" } else { "exec" };
    let engine = engines.into_iter().find(|engine| *engine == section.path).unwrap_or(default);
    let needed = ["", engine].into_iter().chain((!engines.contains(&section.path)).then_some(section.path));
    for path in needed {
        let section = file.sections().iter().find(|section| section.path == path).expect("a section");
        for key in section.keys.iter().filter(|key| key.default == Default::Required) {
            merge(&mut table, needs(file, section, key));
            enter(&mut table, file, &section_path(section)).insert(key.name.to_owned(), parse(key.example));
        }
        enter(&mut table, file, &section_path(section));
    }
    table
}

fn needs(file: File, section: &Section, key: &Key) -> Table {
    // A function's container listens nowhere, and has networks only if the function has.
    let of_function = file == File::Function && section.path == "container";
    let needs = if of_function { "network = true" } else { key.needs };
    needs.parse().expect("needs are TOML")
}

/// The section at a path, which is made if it is not there; of an array of them the first.
pub(crate) fn enter<'a>(table: &'a mut Table, file: File, path: &str) -> &'a mut Table {
    let steps: Vec<_> = path.split('.').filter(|step| !step.is_empty()).collect();
    steps.iter().enumerate().fold(table, |table, (number, step)| {
        let is_array = file.key(&steps[..=number]).is_some_and(|key| key.kind == Kind::Sections);
        let empty = Value::Table(Table::new());
        let empty = if is_array { Value::Array(vec![empty]) } else { empty };
        match table.entry(step.to_string()).or_insert(empty) {
            Value::Table(table) => table,
            Value::Array(tables) => tables[0].as_table_mut().expect("an array of tables"),
            value => panic!("{path} is {value}"),
        }
    })
}

fn merge(table: &mut Table, over: Table) {
    for (key, value) in over {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(table)), Value::Table(over)) => merge(table, over),
            (_, value) => drop(table.insert(key, value)),
        }
    }
}

pub(crate) fn parse(value: &str) -> Value {
    format!("value = {value}").parse::<Table>().unwrap_or_else(|error| panic!("{value}: {error}"))["value"].clone()
}

/// Puts the files that a declaration names with `./` into a directory.
pub(crate) fn write_files(dir: &Utf8Path, value: &Value) {
    match value {
        Value::String(text) => {
            let name = text.strip_prefix("./").and_then(|name| name.split(':').next());
            let name = name
                .filter(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c)));
            if let Some(name) = name.filter(|name| !name.starts_with('.') && *name != "service.toml") {
                fs::write(dir.join(name), "").expect("a file");
                fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o755)).expect("its mode");
            }
        }
        Value::Array(values) => values.iter().for_each(|value| write_files(dir, value)),
        Value::Table(table) => table.values().for_each(|value| write_files(dir, value)),
        _ => {}
    }
}

/// Compiles a service that is called `web`, and conductor.toml with it.
pub(crate) fn compile_service(declaration: &Table, host: &Table) -> Result<conductor::compile::host::Compiled, String> {
    let root = tempfile::tempdir().expect("a scratch directory");
    let root = Utf8Path::from_path(root.path()).expect("a UTF-8 path");
    let dir = root.join("etc/conductor/services/web");
    fs::create_dir_all(&dir).expect("a directory");
    fs::write(dir.join("service.toml"), declaration.to_string()).expect("a declaration");
    fs::write(root.join("etc/conductor/conductor.toml"), host.to_string()).expect("settings");
    write_files(&dir, &Value::Table(declaration.clone()));
    let host = compile::compile(&Layout::system(root), &Units(Some(257)));
    let error = host.errors.values().next().map(ToString::to_string);
    host.services.into_values().next().ok_or_else(|| error.expect("a reason"))
}
