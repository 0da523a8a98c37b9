//! Which inputs of a service differ from those that the running generation was compiled from, and what that requires.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use crate::document::{Node, Path};
use crate::generation::FORMAT;
use crate::live::Target;
use crate::model::{
    Check, Deploy, Directive, DropIn, Engine, File, FileKind, Group, Health, Hooks, Listen, Passthrough, Process,
    Route, Service, Tls, User,
};
use crate::service::action::Action;
use crate::service::condition;
use crate::{directive, path, timespan};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
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
pub(crate) struct Change {
    pub input: Kind,
    /// A dotted key, a path, the name of a variable.
    pub name: String,
    /// The value that runs; a file's digest. None: it is new.
    pub old: Option<String>,
    /// The declared value. None: it was removed, or is the default again.
    pub new: Option<String>,
    /// `FILE:LINE` of the new value.
    pub place: Option<String>,
    pub actions: BTreeSet<Action>,
}

/// Returns what changed from the model that runs to the declared one. The document has the positions.
pub(crate) fn between(old: &Service, new: &Service, document: Option<&Node>) -> Vec<Change> {
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

/// All inputs of a service. Every field of the model is placed here: this does not compile until a new one is.
struct Inputs(BTreeMap<(Kind, String), Input>);

impl Inputs {
    fn of(service: &Service) -> Self {
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
            slice,
            wanted_by,
            passthrough,
            drop_ins,
            files,
            source,
            commands,
            dependencies,
            conditions,
            display,
            group,
        } = service;
        let mut inputs = Self(BTreeMap::new());
        inputs.key(Action::Refresh, path!["description"], description);
        inputs.key(Action::Rescale, path!["concurrency"], concurrency);
        inputs.key(Action::Republish, path!["slots"], slots);
        inputs.process(process);
        inputs.listen(listen);
        inputs.health(health);
        let routes: Vec<_> = routes.iter().map(route).collect();
        inputs.key(Action::Republish, path!["route"], &routes);
        inputs.key(Action::Refresh, path!["port"], ports);
        inputs.deploy(deploy);
        inputs.hooks(hooks);
        inputs.slice(&path![], slice);
        inputs.key(Action::Refresh, path!["install", "wanted_by"], wanted_by);
        let Passthrough { unit, service, socket } = passthrough;
        for (section, directives) in [("unit", unit), ("service", service), ("socket", socket)] {
            for (name, values) in by_name(directives) {
                inputs.insert(Kind::Key, vec![path!["systemd", section, name]], Action::Roll, line(&values));
            }
        }
        for DropIn { name, content } in drop_ins {
            inputs.other(Kind::DropIn, name, Action::Roll, content.clone());
        }
        for File { path, kind } in files {
            inputs.other(Kind::File, path.as_str(), Action::Roll, file(kind));
        }
        inputs.other(Kind::Declaration, "service.toml", Action::Refresh, source.to_string());
        for (name, command) in commands {
            inputs.key(Action::Refresh, path!["commands", name.as_str()], command);
        }
        for dependency in dependencies {
            inputs.key(Action::Refresh, path!["service", dependency.name.as_str()], dependency);
        }
        inputs.conditions(&path![], conditions);
        inputs.key(Action::Refresh, path!["display"], display);
        if let Some(group) = group {
            inputs.group(group);
        }
        inputs
    }

    /// Places what is declared beside the parts of a service, under its name: `shop.description` is that of the group.
    fn group(&mut self, group: &Group) {
        let Group { name, description, dependencies, conditions, slice, wanted_by } = group;
        let at = path![name.as_str()];
        self.key(Action::Refresh, at.join("description"), description);
        self.slice(&at, slice);
        self.conditions(&at, conditions);
        self.key(Action::Refresh, at.join("install").join("wanted_by"), wanted_by);
        for dependency in dependencies {
            self.key(Action::Refresh, at.join("service").join(dependency.name.as_str()), dependency);
        }
    }

    fn slice(&mut self, at: &Path, slice: &[Directive]) {
        for (name, values) in by_name(slice) {
            let resource = at.join("resources").join(directive::snake(name).as_str());
            let keys = vec![resource, at.join("systemd").join("slice").join(name)];
            self.insert(Kind::Key, keys, Action::Refresh, line(&values));
        }
    }

    fn conditions(&mut self, at: &Path, conditions: &[Directive]) {
        for (name, values) in by_name(conditions) {
            let key = at.join("condition").join(condition::key(name).as_str());
            self.insert(Kind::Key, vec![key], Action::Refresh, line(&values));
        }
    }

    fn insert(&mut self, kind: Kind, path: Vec<Path>, action: Action, value: String) {
        let name = path.first().map_or_else(String::new, Path::to_string);
        self.0.insert((kind, name), Input { path, action, value });
    }

    fn key(&mut self, action: Action, path: Path, value: &impl Serialize) {
        self.insert(Kind::Key, vec![path], action, json(value));
    }

    fn optional(&mut self, action: Action, path: Path, value: Option<&impl Serialize>) {
        if let Some(value) = value {
            self.key(action, path, value);
        }
    }

    fn other(&mut self, kind: Kind, name: &str, action: Action, value: String) {
        self.0.insert((kind, name.to_owned()), Input { path: Vec::new(), action, value });
    }

    fn span(&mut self, action: Action, path: Path, span: Duration) {
        self.key(action, path, &timespan::format(span));
    }

    fn process(&mut self, process: &Process) {
        let Process { engine, environment, user, credentials, credentials_encrypted, sandbox } = process;
        let section = match engine {
            Engine::Exec { command } => {
                self.key(Action::Roll, path!["exec", "command"], command);
                if let User::Static(user) = user {
                    self.key(Action::Roll, path!["exec", "user"], user);
                }
                self.key(Action::Roll, path!["exec", "sandbox"], sandbox);
                "exec"
            }
            Engine::Container(container) => {
                self.engine("container", container);
                "container"
            }
            Engine::Pod(pod) => {
                self.engine("pod", pod);
                "pod"
            }
        };
        for (name, value) in environment {
            let keys = vec![path![section, "environment", name.as_str()], path!["config", name.as_str()]];
            self.insert(Kind::Key, keys, Action::Roll, json(value));
        }
        for (key, loaded) in [("credentials", credentials), ("credentials_encrypted", credentials_encrypted)] {
            for (name, file) in loaded {
                self.key(Action::Roll, path![section, key, name.as_str()], file);
            }
        }
    }

    /// Places keys of a section that have the same names in the model; keys without a value are left out.
    fn engine(&mut self, section: &str, engine: &impl Serialize) {
        let serde_json::Value::Object(keys) = serde_json::to_value(engine).expect("a model serializes") else { return };
        for (key, value) in keys {
            let is_unset = value.is_null() || value == false || value.as_array().is_some_and(Vec::is_empty);
            if !is_unset {
                self.key(Action::Roll, path![section, key.as_str()], &value);
            }
        }
    }

    fn listen(&mut self, listen: &Listen) {
        let Listen { kind, idle_timeout } = listen;
        self.key(Action::Roll, path!["listen", "type"], kind);
        if let Some(span) = idle_timeout {
            self.span(Action::Roll, path!["listen", "idle_timeout"], *span);
        }
    }

    fn health(&mut self, health: &Health) {
        let Health { check, interval, timeout, retries } = health;
        match check {
            Check::Http { path, status, headers, body } => {
                self.key(Action::Roll, path!["health", "http"], path);
                if !status.is_empty() {
                    self.key(Action::Roll, path!["health", "status"], status);
                }
                for (name, value) in headers {
                    self.key(Action::Roll, path!["health", "headers", name.as_str()], value);
                }
                self.optional(Action::Roll, path!["health", "body"], body.as_ref());
            }
            Check::Notify => self.key(Action::Roll, path!["health", "notify"], &true),
            Check::Tcp => self.key(Action::Roll, path!["health", "tcp"], &true),
            Check::Exec { command } => self.key(Action::Roll, path!["health", "exec"], command),
        }
        self.span(Action::Roll, path!["health", "interval"], *interval);
        self.span(Action::Roll, path!["health", "timeout"], *timeout);
        self.optional(Action::Roll, path!["health", "retries"], retries.as_ref());
    }

    fn deploy(&mut self, deploy: &Deploy) {
        let Deploy { strategy, max_surge, drain_timeout, health_timeout, restarted_at } = deploy;
        self.key(Action::Refresh, path!["deploy", "strategy"], strategy);
        self.key(Action::Refresh, path!["deploy", "max_surge"], max_surge);
        self.span(Action::Refresh, path!["deploy", "drain_timeout"], *drain_timeout);
        self.span(Action::Refresh, path!["deploy", "health_timeout"], *health_timeout);
        self.optional(Action::Roll, path!["deploy", "restarted_at"], restarted_at.as_ref());
    }

    fn hooks(&mut self, hooks: &Hooks) {
        let Hooks { pre_start, post_start, pre_stop, drain, post_stop } = hooks;
        let limited =
            [("pre_start", pre_start), ("post_start", post_start), ("pre_stop", pre_stop), ("post_stop", post_stop)];
        for (name, hook) in limited {
            self.optional(Action::Roll, path!["hooks", name], hook.as_ref());
        }
        self.optional(Action::Roll, path!["hooks", "drain"], drain.as_ref());
    }
}

fn json(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).expect("a model serializes")
}

fn route(route: &Route) -> String {
    let Route { host, path, tls } = route;
    let off = if *tls == Tls::Off { " (tls off)" } else { "" };
    format!("{}{path}{off}", host.as_deref().unwrap_or("*"))
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

/// Groups the values of each directive, in their order.
fn by_name(directives: &[Directive]) -> BTreeMap<&str, Vec<&str>> {
    let mut all: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for Directive { name, value } in directives {
        all.entry(name).or_default().push(value);
    }
    all
}

fn line(values: &[&str]) -> String {
    match values {
        [one] => json(one),
        several => json(several),
    }
}
