//! Which inputs of a service differ from those that the running generation was compiled from, and what that requires.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::document::{Node, Path};
use crate::generation::FORMAT;
use crate::live::Target;
use crate::model::route::{Answer, AppProtocol, Handling, Matching, Security};
use crate::model::{
    Check, Dependency, Directive, DropIn, Engine, File, FileKind, Further, Group, Listen, Model, Port, Process,
    Protocol, Route, Service, Setting, Systemd, User,
};
use crate::service::action::Action;
use crate::{key, path, timespan};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A variable of `service declare`.
    Variable,
    /// A key of `service.toml` or of a drop-in over it.
    Key,
    /// One of the declaration's files.
    File,
    /// A drop-in for the deployments' units.
    DropIn,
    /// Where the declaration is.
    Declaration,
    /// The format of the units that this version of conductor renders.
    Renderer,
}

/// One input that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    pub input: Kind,
    /// A dotted key, a path, the name of a variable.
    pub name: String,
    /// The value that runs; a file's digest. None: it is new.
    pub(crate) old: Option<String>,
    /// The declared value. None: it was removed, or is the default again.
    pub(crate) new: Option<String>,
    /// `FILE:LINE` of the new value.
    pub(crate) place: Option<String>,
    pub(crate) actions: BTreeSet<Action>,
}

/// Returns what changed from the model that runs to the declared one. The document has the positions.
pub fn between(old: &Model, new: &Model, document: Option<&Node>) -> Vec<Change> {
    let (mut before, after) = (Inputs::of(old).0, Inputs::of(new).0);
    let mut changes = Vec::new();
    for (key, Input { path, action, value }) in after {
        let old = before.remove(&key).map(|input| input.value);
        if old.as_ref() != Some(&value) {
            changes.push(change(key, &path, action, (old, Some(value)), document));
        }
    }
    let gone =
        before.into_iter().map(|(key, input)| change(key, &input.path, input.action, (Some(input.value), None), None));
    changes.extend(gone);
    changes.sort_by(|one, other| (one.input, &one.name).cmp(&(other.input, &other.name)));
    changes
}

fn change(
    (input, mut name): (Kind, String),
    paths: &[Path],
    action: Action,
    (old, new): (Option<String>, Option<String>),
    document: Option<&Node>,
) -> Change {
    let found = paths.iter().find_map(|path| Some((path, document?.get(path)?)));
    let place = found.map(|(path, node)| {
        name = path.to_string();
        format!("{}:{}", node.key_position.source.path, node.key_position.position().0)
    });
    Change { input, name, old, new, place, actions: BTreeSet::from([action]) }
}

/// Adds what changed beside the model: variables that made other inputs change, and the format of the units.
pub(crate) fn beside(target: &Target, variables: &BTreeMap<String, String>, changes: &mut Vec<Change>) {
    let actions: BTreeSet<_> = changes.iter().flat_map(|change| change.actions.iter().copied()).collect();
    let names: BTreeSet<_> = target.variables.keys().chain(variables.keys()).collect();
    let changed = names.into_iter().filter(|name| target.variables.get(*name) != variables.get(*name));
    let mut all: Vec<_> = changed
        .filter(|_| !actions.is_empty())
        .map(|name| Change {
            input: Kind::Variable,
            name: name.clone(),
            old: target.variables.get(name).map(json),
            new: variables.get(name).map(json),
            place: None,
            actions: actions.clone(),
        })
        .collect();
    all.append(changes);
    if target.format != FORMAT {
        all.push(Change {
            input: Kind::Renderer,
            name: "format".to_owned(),
            old: Some(target.format.to_string()),
            new: Some(FORMAT.to_string()),
            place: None,
            actions: BTreeSet::from([Action::Roll]),
        });
    }
    *changes = all;
}

struct Input {
    /// Where it may be in the document, the likeliest first.
    path: Vec<Path>,
    action: Action,
    value: String,
}

/// Describes a port whose socket the processes take: `53 (datagrams, named dns)`.
fn passed(port: &Port) -> Option<String> {
    let name = port.passed.as_ref()?.name.as_ref().map(|name| format!(", named {name}")).unwrap_or_default();
    let kind = if port.protocol == Protocol::Datagram { "datagrams" } else { "streams" };
    Some(format!("{} ({kind}{name})", port.listen))
}

/// All inputs of a service. A new field of the service does not compile until it is placed here; fields of a section
/// are placed by the section's keys.
struct Inputs(BTreeMap<(Kind, String), Input>);

impl Inputs {
    fn of(model: &Model) -> Self {
        let Service {
            name: _,
            description,
            concurrency,
            slots,
            process,
            listen,
            health,
            routes,
            ports,
            deploy,
            hooks,
            resources,
            files,
            source,
            commands,
            dependencies,
            after,
            conditions,
            display,
            group,
        } = &model.service;
        let mut inputs = Self(BTreeMap::new());
        inputs.key(path!["description"], description);
        inputs.key(path!["concurrency"], concurrency);
        inputs.key(path!["slots"], slots);
        inputs.process(process);
        let Listen { kind, idle_timeout: _, further } = listen;
        inputs.key(path!["listen", "type"], kind);
        for (name, Further { kind, port }) in further {
            inputs.key(path!["listen", name.as_str(), "type"], kind);
            if let Some(port) = port {
                inputs.key(path!["listen", name.as_str(), "port"], port);
            }
        }
        inputs.section("listen", listen);
        inputs.check(&health.check);
        inputs.section("health", health);
        let routes: Vec<_> = routes.iter().map(route).collect();
        inputs.key(path!["route"], &routes);
        let listens: Vec<_> = ports.iter().map(|port| &port.listen).collect();
        let passed: Vec<_> = ports.iter().filter_map(passed).collect();
        inputs.key(path!["port"], &listens);
        if !passed.is_empty() {
            inputs.key(path!["port", "pass"], &passed);
        }
        let led: Vec<_> = ports.iter().filter_map(|port| Some((&port.listen, port.listener.as_ref()?))).collect();
        if !led.is_empty() {
            inputs.key(path!["port", "listener"], &led);
        }
        let announced: Vec<_> = ports.iter().filter(|port| port.proxy_protocol).map(|port| &port.listen).collect();
        if !announced.is_empty() {
            inputs.key(path!["port", "proxy_protocol"], &announced);
        }
        inputs.section("deploy", deploy);
        inputs.section("hooks", hooks);
        inputs.settings(&path![], "resources", resources);
        for File { path, kind } in files {
            inputs.other(Kind::File, path.as_str(), Action::Roll, file(kind));
        }
        inputs.other(Kind::Declaration, "service.toml", Action::Refresh, source.to_string());
        for (name, command) in commands {
            inputs.key(path!["commands", name.as_str()], command);
        }
        inputs.dependencies(&path![], dependencies);
        if !after.is_empty() {
            inputs.key(path!["part", "after"], after);
        }
        inputs.settings(&path![], "condition", conditions);
        inputs.key(path!["display"], display);
        if let Some(group) = group {
            inputs.group(group);
        }
        let group = group.as_ref().map(|group| path![group.name.as_str()]);
        inputs.systemd(&model.systemd, &group.unwrap_or_default());
        inputs
    }

    /// Places what is declared for systemd alone; what a group declares stands below `group`.
    fn systemd(&mut self, systemd: &Systemd, group: &Path) {
        let Systemd { unit, service, socket, slice, group_slice, wanted_by, drop_ins } = systemd;
        for (section, directives) in [("unit", unit), ("service", service), ("socket", socket), ("slice", slice)] {
            self.directives(&path![], section, directives);
        }
        self.directives(group, "slice", group_slice);
        self.insert(group, vec![path!["install", "wanted_by"]], json(wanted_by));
        for DropIn { name, content } in drop_ins {
            self.other(Kind::DropIn, name, Action::Roll, content.clone());
        }
    }

    /// Places what is declared beside the parts of a service, under its name: `shop.description` is that of the group.
    fn group(&mut self, group: &Group) {
        let Group { name, description, dependencies, conditions, resources } = group;
        let at = path![name.as_str()];
        self.insert(&at, vec![path!["description"]], json(description));
        self.settings(&at, "resources", resources);
        self.settings(&at, "condition", conditions);
        self.dependencies(&at, dependencies);
    }

    fn dependencies(&mut self, at: &Path, dependencies: &[Dependency]) {
        for dependency in dependencies {
            self.insert(at, vec![path!["service", dependency.name.as_str()]], json(dependency));
        }
    }

    fn settings(&mut self, at: &Path, section: &str, settings: &[Setting]) {
        let settings = by_name(settings.iter().map(|Setting { key, value }| (key.as_str(), value.as_str())));
        for (key, values) in settings {
            self.insert(at, vec![path![section, key]], line(&values));
        }
    }

    fn directives(&mut self, at: &Path, section: &str, directives: &[Directive]) {
        let directives = by_name(directives.iter().map(|Directive { name, value }| (name.as_str(), value.as_str())));
        for (name, values) in directives {
            self.insert(at, vec![path!["systemd", section, name]], line(&values));
        }
    }

    fn key(&mut self, path: Path, value: &impl Serialize) {
        self.insert(&path![], vec![path], json(value));
    }

    /// Places a key that may be at any of these paths, below `at`. The description of the key has the action of a
    /// change.
    fn insert(&mut self, at: &Path, paths: Vec<Path>, value: String) {
        let action = Action::from(paths.first().and_then(digest).expect("a key that is described"));
        let paths: Vec<_> = paths.into_iter().map(|path| Path([at.0.clone(), path.0].concat())).collect();
        let name = paths[0].to_string();
        self.0.insert((Kind::Key, name), Input { path: paths, action, value });
    }

    fn other(&mut self, kind: Kind, name: &str, action: Action, value: String) {
        self.0.insert((kind, name.to_owned()), Input { path: Vec::new(), action, value });
    }

    /// Places the fields that have the name of a key of a section; other methods place the other fields.
    fn section(&mut self, name: &str, model: &impl Serialize) {
        let Value::Object(fields) = value(model) else { return };
        for (field, value) in fields {
            if let Some(key) = key::File::Service.key(&[name, &field]) {
                self.field(path![name, field.as_str()], key.kind, value);
            }
        }
    }

    fn field(&mut self, path: Path, kind: key::Kind, value: Value) {
        match value {
            Value::Null | Value::Bool(false) => {}
            Value::Array(values) if values.is_empty() => {}
            Value::Object(entries) if matches!(kind, key::Kind::Table(_)) => {
                entries.into_iter().for_each(|(name, value)| self.key(path.join(name.as_str()), &value));
            }
            span if kind == key::Kind::TimeSpan => {
                let span: Duration = serde_json::from_value(span).expect("a duration as serde writes it");
                self.key(path, &timespan::format(span));
            }
            value => self.key(path, &value),
        }
    }

    fn process(&mut self, process: &Process) {
        let Process {
            engine,
            environment,
            environment_files,
            start_templates,
            variables,
            working_dir,
            parts,
            user,
            credentials,
            credentials_encrypted,
            sandbox,
        } = process;
        let section = match engine {
            Engine::Exec { command } if command.0.is_empty() => "exec",
            Engine::Exec { command } => {
                self.key(path!["exec", "command"], command);
                if let User::Static(user) = user {
                    self.key(path!["exec", "user"], user);
                }
                self.key(path!["exec", "sandbox"], sandbox);
                if let Some(dir) = working_dir {
                    self.key(path!["exec", "working_dir"], dir);
                }
                "exec"
            }
            Engine::Container(container) => {
                self.section("container", container);
                "container"
            }
            Engine::Pod(pod) => {
                self.section("pod", pod);
                // No key: the variables of `service declare`, which a pod's template is rendered with.
                self.other(Kind::Key, "pod.variables", Action::Roll, json(&pod.variables));
                "pod"
            }
        };
        for (name, value) in environment {
            let keys = vec![path![section, "environment", name.as_str()], path!["config", name.as_str()]];
            self.insert(&path![], keys, json(value));
        }
        if !environment_files.is_empty() {
            self.key(path![section, "environment_file"], environment_files);
        }
        if !parts.is_empty() {
            self.key(path!["part", "address"], parts);
        }
        if !start_templates.is_empty() {
            self.key(path![section, "start_templates"], start_templates);
        }
        if !variables.is_empty() {
            // No key, as of a pod.
            self.other(Kind::Key, "start_templates.variables", Action::Roll, json(variables));
        }
        for (key, loaded) in [("credentials", credentials), ("credentials_encrypted", credentials_encrypted)] {
            for (name, file) in loaded {
                self.key(path![section, key, name.as_str()], file);
            }
        }
    }

    fn check(&mut self, check: &Check) {
        match check {
            Check::Http { path, .. } => {
                self.key(path!["health", "http"], path);
                self.section("health", &value(check)["http"]);
            }
            Check::Notify => self.key(path!["health", "notify"], &true),
            Check::Tcp => self.key(path!["health", "tcp"], &true),
            Check::Start { time } => self.key(path!["health", "start"], &timespan::format(*time)),
            Check::Exec { command } | Check::Inside { command, .. } => self.key(path!["health", "exec"], command),
            Check::Probes => {}
        }
    }
}

impl From<key::Digest> for Action {
    fn from(digest: key::Digest) -> Self {
        match digest {
            key::Digest::Generation => Self::Roll,
            key::Digest::Routes => Self::Republish,
            key::Digest::Scale => Self::Rescale,
            key::Digest::Settings => Self::Refresh,
        }
    }
}

/// The digest that a key changes: that of its description, or of the key that it is an entry of.
fn digest(path: &Path) -> Option<key::Digest> {
    let keys = path.keys();
    (1..=keys.len()).rev().find_map(|length| key::File::Service.key(&keys[..length])?.digest)
}

fn value(model: &impl Serialize) -> Value {
    serde_json::to_value(model).expect("a model serializes")
}

fn json(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).expect("a model serializes")
}

fn route(route: &Route) -> String {
    let Route { host, security, matching, answer, handling } = route;
    let Matching { path, exact, suffixes, methods, headers } = matching;
    let mut words = vec![format!("{}{path}", host.as_deref().unwrap_or("*"))];
    words.extend(exact.then(|| "(exact)".to_owned()));
    words.extend(suffixes.iter().map(|suffix| format!("…{suffix}")));
    words.extend(methods.iter().cloned());
    words.extend(headers.iter().map(|(name, value)| format!("{name}={value}")));
    match security {
        Security::Off => words.push("(tls off)".to_owned()),
        Security::Auto => {}
        Security::With { .. } => words.push(format!("(tls {})", json(security))),
    }
    match answer {
        Answer::Service { listener, protocol } => {
            words.extend(listener.as_ref().map(|name| format!("(listener {name})")));
            words.extend((*protocol != AppProtocol::Http).then(|| format!("(protocol {})", json(protocol))));
        }
        Answer::Redirect { to, status } => words.push(format!("(redirect {status} {to})")),
        Answer::Respond { body, status } => words.push(format!("(respond {status} {})", json(body))),
        Answer::Files => words.push("(static)".to_owned()),
    }
    words.extend((*handling != Handling::default()).then(|| json(handling)));
    words.join(" ")
}

fn file(kind: &FileKind) -> String {
    match kind {
        FileKind::Regular { executable, size: _, sha256 } => {
            format!("{sha256}{}", if *executable { ", executable" } else { "" })
        }
        FileKind::Directory => "directory".to_owned(),
        FileKind::Symlink { target } => format!("link to {target}"),
    }
}

/// Groups the values of each name, in their order.
fn by_name<'a>(lines: impl Iterator<Item = (&'a str, &'a str)>) -> BTreeMap<&'a str, Vec<&'a str>> {
    let mut all: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    lines.for_each(|(name, value)| all.entry(name).or_default().push(value));
    all
}

fn line(values: &[&str]) -> String {
    match values {
        [one] => json(one),
        several => json(several),
    }
}
