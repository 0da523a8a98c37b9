//! Translating other tools' files into declarations.
//!
//! Each kind of source has a module that makes services of it, with a note for every key that is not the same here. Nothing
//! is started, and only the named files and those that they name beside them are read.

mod compose;
mod conductor_go;
mod container;
mod cron;
mod declaration;
mod input;
mod kamal;
mod kubernetes;
mod note;
mod order;
mod procfile;
mod quadlet;
mod shell;
mod text;
mod tree;
mod unit;
mod units;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

pub use self::declaration::File;
pub(crate) use self::note::{Fate, Report};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::import::declaration::{Declaration, Service, name_of};
use crate::import::input::Input;
use crate::names::ServiceName;
use crate::source::DECLARATION;
use crate::source::functions::MANIFEST;

/// The target that starts services at boot.
const AT_BOOT: &str = "multi-user.target";

/// A kind of source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Compose,
    Quadlet,
    Kubernetes,
    Systemd,
    Procfile,
    Kamal,
    ConductorGo,
}

impl Kind {
    /// All kinds, by the names that `--from` takes.
    pub const ALL: &[(&str, Self)] = &[
        ("compose", Self::Compose),
        ("quadlet", Self::Quadlet),
        ("kubernetes", Self::Kubernetes),
        ("systemd", Self::Systemd),
        ("procfile", Self::Procfile),
        ("kamal", Self::Kamal),
        ("conductor.go", Self::ConductorGo),
    ];

    /// Finds the kind that `--from` names.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }
}

/// The files that an import writes.
#[derive(Debug)]
pub struct Imported {
    /// The service's name.
    pub name: ServiceName,
    pub files: BTreeMap<Utf8PathBuf, File>,
    /// Variables that `conductor service declare` must be given.
    pub variables: BTreeSet<String>,
    pub(crate) report: Report,
}

impl Imported {
    /// Notes about keys, one a line, and what to do before the service is declared.
    pub fn notes(&self) -> Vec<String> {
        let of = |fate, mark: &str| -> Vec<String> {
            self.report.of(fate).iter().map(|note| format!("{mark} {note}")).collect()
        };
        let hints = self.report.hints.iter().map(|hint| format!("do {hint}"));
        [of(Fate::Approximated, "approximated"), of(Fate::Omitted, "not translated")]
            .concat()
            .into_iter()
            .chain(hints)
            .collect()
    }

    /// Whether it is a function and no service.
    pub fn is_function(&self) -> bool {
        self.files.contains_key(Utf8Path::new(MANIFEST))
    }

    /// The number of keys that are the same in the declaration.
    pub fn translated(&self) -> usize {
        self.report.translated()
    }
}

/// Translates a file, or the files of a directory, of the `kind` that is given or recognised.
///
/// # Errors
/// A file that cannot be read or is not of its kind, with the place; a path whose kind cannot be recognised.
pub fn import(path: &Utf8Path, kind: Option<Kind>, name: Option<&ServiceName>) -> Result<Imported, Diagnostics> {
    let sources = if path.is_dir() { of_directory(path, kind)? } else { of_file(path, kind)? };
    let mut report = Report::default();
    let declaration = translate(&sources, name.map(ServiceName::as_str), &mut report)?;
    finish(declaration, name, report)
}

/// Files of one kind.
struct Sources {
    kind: Kind,
    inputs: Vec<Input>,
    /// The name of the file or directory.
    name: String,
}

fn translate(sources: &Sources, given: Option<&str>, report: &mut Report) -> Result<Declaration, Diagnostics> {
    let Sources { kind, inputs, name } = sources;
    let Some(first) = inputs.first() else {
        return Err(Diagnostic::of_file(Utf8Path::new(name), "there is no file to import", kinds()).into());
    };
    match kind {
        Kind::Compose => compose::import(first, given, report),
        Kind::Quadlet => quadlet::import(inputs, name, report),
        Kind::Kubernetes => kubernetes::import_all(inputs, name, report),
        Kind::Procfile => procfile::import(first, given, report),
        Kind::Kamal => kamal::import(first, given, report),
        Kind::ConductorGo => conductor_go::import(first, given, report),
        Kind::Systemd => units(inputs, name, report),
    }
}

/// Units of several services are parts of one.
fn units(inputs: &[Input], name: &str, report: &mut Report) -> Result<Declaration, Diagnostics> {
    if let [one] = inputs {
        return unit::import(one, report);
    }
    let mut declaration = Declaration::new(name);
    let mut errors = Diagnostics::default();
    for input in inputs {
        match unit::import(input, report) {
            Ok(one) => declaration.services.extend(one.services),
            Err(wrong) => errors.0.extend(wrong.0),
        }
    }
    errors.into_result().map(|()| declaration)
}

/// Names the service, and writes its file.
fn finish(mut declaration: Declaration, name: Option<&ServiceName>, report: Report) -> Result<Imported, Diagnostics> {
    let parts = declaration.services.len();
    declaration.services.iter_mut().for_each(without_own_port);
    if parts > 1 {
        outside(&mut declaration);
    }
    let longest = declaration.services.iter().map(|part| part.name.len()).max().filter(|_| parts > 1);
    let name = match name {
        Some(name) => name.clone(),
        None => {
            let room = ServiceName::MAX - longest.map_or(0, |longest| longest + 1).min(ServiceName::MAX - 1);
            let mut own = name_of(&declaration.name);
            own.truncate(room);
            let own = own.trim_end_matches(['-', '_']);
            ServiceName::new(own)
                .or_else(|_| ServiceName::new(&format!("{own}-service")))
                .map_err(|why| Diagnostic::of_file(Utf8Path::new(own), why, "give it another name with --name"))?
        }
    };
    if longest.is_some_and(|longest| name.as_str().len() + 1 + longest > ServiceName::MAX) {
        let message = format!("{name} and the name of a part have more than {} characters", ServiceName::MAX);
        return Err(
            Diagnostic::of_file(Utf8Path::new(name.as_str()), message, "give it a shorter name with --name").into()
        );
    }
    let variables = declaration.required();
    let (file, toml) = match declaration.function.take() {
        Some(manifest) => (MANIFEST, manifest),
        None => (DECLARATION, declaration.to_toml()),
    };
    let mut files = declaration.files;
    files.insert(file.into(), File { content: toml.into_bytes(), executable: false });
    Ok(Imported { name, files, variables, report })
}

/// Removes the variable `PORT` where conductor sets it itself.
fn without_own_port(service: &mut Service) {
    for (engine, default) in [("exec", "activation"), ("container", "tcp"), ("pod", "tcp")] {
        let kind = service.words("listen", "type").pop().unwrap_or_else(|| default.to_owned());
        if service.has(engine) && kind == "tcp" {
            service.remove_entry(engine, "environment", "PORT");
        }
    }
}

/// Moves what belongs outside of parts there: what starts one of them starts all.
fn outside(declaration: &mut Declaration) {
    let parts = &mut declaration.services;
    if !parts.iter().any(|part| part.has("install")) {
        return;
    }
    let wanted: Vec<_> = parts
        .iter()
        .map(|part| if part.has("install") { part.words("install", "wanted_by") } else { vec![AT_BOOT.to_owned()] })
        .collect();
    parts.iter_mut().for_each(|part| part.drop_section("install"));
    if wanted.windows(2).any(|two| two[0] != two[1]) {
        declaration.comments.push("The sources differ in what starts them; a group has one answer.".to_owned());
    }
    let units: BTreeSet<String> = wanted.into_iter().flatten().collect();
    declaration.common.set("install", "wanted_by", units.into_iter().collect::<Vec<_>>());
}

/// Reads one file.
fn of_file(path: &Utf8Path, kind: Option<Kind>) -> Result<Sources, Diagnostic> {
    // The service is what a timer or a socket is for.
    let service = path.with_extension("service");
    let path = if matches!(path.extension(), Some("timer" | "socket")) && service.is_file() { &service } else { path };
    let input = Input::read(path)?;
    let kind = kind.map_or_else(|| recognise(&input), Ok)?;
    let name = path.file_stem().unwrap_or("service").to_owned();
    Ok(Sources { kind, inputs: vec![input], name })
}

/// Recognises the kind of a file by its name, or by what is in it.
fn recognise(input: &Input) -> Result<Kind, Diagnostic> {
    let path = input.path();
    if quadlet::is_one(path.extension().unwrap_or_default()) {
        return Ok(Kind::Quadlet);
    }
    if unit::is_one(path) {
        return Ok(Kind::Systemd);
    }
    if procfile::is_one(path) {
        return Ok(Kind::Procfile);
    }
    if path.file_name() == Some(conductor_go::NAME) {
        return Ok(Kind::ConductorGo);
    }
    if matches!(path.extension(), Some("yaml" | "yml" | "json"))
        && let Some(kind) = of_yaml(input)?
    {
        return Ok(kind);
    }
    Err(Diagnostic::of_file(path, "conductor does not recognise the kind of this file", kinds()))
}

/// Recognises the kind of a file of YAML.
///
/// # Errors
/// If it is not YAML.
fn of_yaml(input: &Input) -> Result<Option<Kind>, Diagnostic> {
    let ruby = kamal::without_ruby(&input.source.text);
    let source = std::sync::Arc::new(crate::diagnostic::Source { path: input.path().to_owned(), text: ruby });
    let documents = tree::documents(&source)?;
    Ok(documents.iter().find_map(|root| {
        if kubernetes::is_one(root) {
            Some(Kind::Kubernetes)
        } else if compose::is_one(root) {
            Some(Kind::Compose)
        } else if kamal::is_one(root) {
            Some(Kind::Kamal)
        } else {
            None
        }
    }))
}

fn kinds() -> String {
    let names: Vec<_> = Kind::ALL.iter().map(|(name, _)| *name).collect();
    format!("say what it is with --from: {}", names.join(", "))
}

/// Reads the files of a directory that are of one kind.
fn of_directory(dir: &Utf8Path, kind: Option<Kind>) -> Result<Sources, Diagnostic> {
    let absolute = std::path::absolute(dir).ok().and_then(|path| Utf8PathBuf::try_from(path).ok());
    let name = absolute.as_deref().and_then(Utf8Path::file_name).unwrap_or("service").to_owned();
    let unreadable = |error: std::io::Error| crate::source::read::unreadable(dir, &error);
    let entries = dir.read_dir_utf8().map_err(unreadable)?;
    let mut paths: Vec<_> =
        entries.filter_map(|entry| Some(entry.ok()?.into_path())).filter(|path| path.is_file()).collect();
    paths.sort();
    let config = dir.join("config/deploy.yml");
    if config.is_file() {
        paths.push(config);
    }
    let mut found: BTreeMap<Kind, Vec<Utf8PathBuf>> = BTreeMap::new();
    for path in paths {
        if let Some(kind) = of_name(&path).or_else(|| of_content(&path)) {
            found.entry(kind).or_default().push(path);
        }
    }
    // A .kube names its file of Kubernetes.
    if found.get(&Kind::Quadlet).is_some_and(|paths| paths.iter().any(|path| path.extension() == Some("kube"))) {
        found.remove(&Kind::Kubernetes);
    }
    let chosen = match (kind, found.len()) {
        (Some(kind), _) => found.remove_entry(&kind),
        (None, 1) => found.pop_first(),
        (None, 0) => None,
        (None, _) => {
            let files: Vec<_> = found.values().flatten().map(|path| path.to_string()).collect();
            let remedy = format!("name one file, or the kind with --from; there are {}", files.join(", "));
            return Err(Diagnostic::of_file(dir, "the directory has files of several kinds", remedy));
        }
    };
    let Some((kind, mut paths)) = chosen else {
        return Err(Diagnostic::of_file(dir, "the directory has no file that conductor recognises", kinds()));
    };
    if !matches!(kind, Kind::Quadlet | Kind::Kubernetes | Kind::Systemd) {
        prefer(&mut paths);
    }
    let inputs = paths.iter().map(|path| Input::read(path)).collect::<Result<_, _>>()?;
    Ok(Sources { kind, inputs, name })
}

/// Puts the file first that its tool would take.
fn prefer(paths: &mut [Utf8PathBuf]) {
    let order = ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml", "Procfile", "deploy.yml"];
    paths.sort_by_key(|path| order.iter().position(|name| path.file_name() == Some(name)).unwrap_or(usize::MAX));
}

fn of_name(path: &Utf8Path) -> Option<Kind> {
    let name = path.file_name().unwrap_or_default();
    match path.extension().unwrap_or_default() {
        suffix if quadlet::is_one(suffix) => Some(Kind::Quadlet),
        "service" => Some(Kind::Systemd),
        _ if name == "Procfile" => Some(Kind::Procfile),
        _ if name == conductor_go::NAME => Some(Kind::ConductorGo),
        "yml" | "yaml" if name.starts_with("compose.") || name.starts_with("docker-compose.") => Some(Kind::Compose),
        _ => None,
    }
}

fn of_content(path: &Utf8Path) -> Option<Kind> {
    let is_yaml = matches!(path.extension(), Some("yaml" | "yml"));
    let input = is_yaml.then(|| Input::read(path).ok())??;
    of_yaml(&input).ok()?
}
