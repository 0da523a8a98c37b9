//! Resolving a declaration: to a model, or to the list of all its errors.

mod dependencies;
mod canary;
mod command;
mod commands;
mod condition;
pub(crate) mod directives;
mod engine;
pub(crate) mod function;
mod health;
mod live;
pub(crate) mod links;
mod listen;
mod paths;
mod ports;
pub(crate) mod request;
pub(crate) mod route;

use std::collections::BTreeMap;
use std::time::Duration;

use camino::Utf8PathBuf;

use crate::declaration::{self, Declaration, ListenKind, Scalar, TimeSpan};
use crate::diagnostic::Diagnostics;
use crate::directive::{self, Kind, Section};
use crate::document::{Node, Path, Value};
use crate::expansion::is_name;
use crate::key::File;
use crate::key::mismatch::{self, example};
use crate::layout::Scope;
use crate::model::deploy::abandoned_timeout as abandoned_default;
use crate::model::{Autoscale, Command, Deploy, Engine, Group, Hook, Hooks, Model, RunningHook, Service, Systemd};
use crate::names::ServiceName;
use crate::source::search::Declared;
use crate::variable;
pub use crate::variable::VARIABLES;
use crate::{path, timespan};

/// The largest number of slots and deployments of a service.
const MAX_SLOTS: u32 = 512;
/// The longest text, in bytes: the limit of execve(2) for one argument or variable. Escaped, it is still shorter than
/// the longest line that systemd reads.
const MAX_TEXT: usize = 128 << 10;
/// The longest name of a unit whose directory `NAME.wants` has at most 255 characters.
const MAX_UNIT_NAME: usize = 255 - ".wants".len();
/// The time limit of the hooks that run once for a generation: a migration takes longer than what starts a process.
const RELEASE_LIMIT: Duration = Duration::from_secs(10 * 60);
/// The longest time span: systemd counts microseconds in 64 bits, and timeouts are added and multiplied.
const MAX_SPAN: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The variables that tell a process of its passed sockets, sd_listen_fds(3).
pub(crate) const OF_PASSED_SOCKETS: &[&str] = &["LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", "LISTEN_PIDFDID"];

/// Resolves one declaration for a host's version of systemd, if that is known.
///
/// # Errors
/// All errors of the declaration.
pub(crate) fn resolve(declared: &Declared, systemd: Option<u16>) -> Result<Model, Diagnostics> {
    let document = &declared.document;
    let mut reading = mismatch::read::<Declaration>(File::Service, document);
    let Some(declaration) = reading.value.take() else { return Err(reading.errors) };
    let mut resolver = Resolver { file: File::Service, document, declared, systemd, errors: Diagnostics::default() };
    let mut model = resolver.model(declaration);
    let mut errors = reading.with(resolver.errors);
    if let Some(group) = &declared.group {
        let document = &group.document;
        let mut reading = mismatch::read(File::Service, document);
        let mut resolver =
            Resolver { file: File::Service, document, declared, systemd, errors: Diagnostics::default() };
        if let Some(typed) = reading.value.take() {
            resolver.group(group.name.clone(), typed, &mut model);
        }
        errors.0.extend(reading.with(resolver.errors).0);
    }
    errors.sort();
    errors.into_result()?;
    model.service.after = declared.group.as_ref().map(|group| group.after.clone()).unwrap_or_default();
    Ok(model)
}

/// Returns the message and the remedy for a text that no unit can contain.
fn unfit(text: &str) -> Option<(&'static str, &'static str)> {
    // systemd treats a line with one of Unicode's noncharacters as invalid UTF-8.
    let noncharacter = |c| matches!(u32::from(c), 0xfdd0..=0xfdef) || u32::from(c) & 0xfffe == 0xfffe;
    if text.chars().any(noncharacter) {
        Some(("systemd refuses the characters U+FDD0 to U+FDEF, U+…FFFE and U+…FFFF", "remove it"))
    } else if text.len() > MAX_TEXT {
        Some(("longer than 128 KiB", "put it into a file of the declaration"))
    } else {
        None
    }
}

/// A declaration that is being resolved, and the errors found so far.
struct Resolver<'a> {
    file: File,
    document: &'a Node,
    declared: &'a Declared,
    systemd: Option<u16>,
    errors: Diagnostics,
}

impl Resolver<'_> {
    fn error(&mut self, path: &Path, message: impl Into<String>, remedy: impl Into<String>) {
        self.errors.0.push(self.document.error(path, message, remedy));
    }

    fn key_error(&mut self, path: &Path, message: impl Into<String>, remedy: impl Into<String>) {
        self.errors.0.push(self.document.key_error(path, message, remedy));
    }

    /// Returns a remedy with the described example of the key at a path.
    fn example(&self, at: &Path) -> String {
        example(self.file, at)
    }

    fn model(&mut self, declaration: Declaration) -> Model {
        self.check_engine(&declaration);
        let has_engine = declaration.has_engine();
        let declaration = if has_engine { declaration } else { declaration.without_program() };
        let Declaration {
            description,
            concurrency,
            slots,
            config,
            exec,
            container,
            pod,
            listen,
            health,
            route,
            port,
            deploy,
            hooks,
            resources,
            commands,
            service,
            condition,
            display,
            install,
            systemd,
        } = declaration;
        let name = self.declared.name.clone();
        let systemd = self.systemd(systemd, install);
        let process = self.process(config, exec, container, pod);
        self.links(&process, &systemd);
        let protocols = self.protocols(&listen);
        let listen = self.listen(listen, &process);
        if has_engine {
            self.no_callers(&listen, slots.is_some(), &route, &port);
        }
        self.no_rest(&listen, &port);
        let announced = self.announced(&port, &route);
        let slots = self.number(&path!["slots"], slots, 12, 1, MAX_SLOTS);
        let most = if listen.has_callers() { slots } else { MAX_SLOTS };
        let concurrency = if has_engine { self.number(&path!["concurrency"], concurrency, 1, 1, most) } else { 0 };
        let deploy = self.deploy(deploy, slots);
        let commands = self.commands(commands, &process.engine);
        let service = Service {
            description: self.description(description, &name),
            concurrency,
            slots: if listen.has_callers() { slots } else { 0 },
            display: self.display(display, &process.environment),
            health: self.health(health, &listen, &process.engine, deploy.health_timeout, &announced),
            routes: self.routes(route, &listen, &protocols),
            ports: self.ports(port, &process.engine, &listen),
            deploy,
            hooks: self.hooks(hooks, &process.engine),
            listen,
            process,
            commands,
            dependencies: self.dependencies(service),
            conditions: self.conditions(condition),
            resources: self.resources(resources),
            files: self.declared.files.clone(),
            source: self.declared.source.clone(),
            name,
            after: Vec::new(),
            group: None,
        };
        self.canary(&service);
        self.runtime_directory(&service, &systemd);
        self.start_limit(&systemd);
        self.references(&service, &systemd);
        Model { service, systemd }
    }

    /// Refuses a `RuntimeDirectory=` beside a socket that the process binds. The directory is kept when a deployment
    /// stops, and the socket's own, which is another, with it: the next process could not bind.
    fn runtime_directory(&mut self, service: &Service, systemd: &Systemd) {
        let binds = service.listen.has(ListenKind::Unix) && !service.process.engine.is_privileged();
        if binds && systemd.has_runtime_directory() {
            let remedy = "use $CONDUCTOR_DEPLOYMENT_DIR or StateDirectory, or another type of [listen]";
            let message = "RuntimeDirectory= cannot stand beside a socket of type = \"unix\"";
            self.key_error(&path!["systemd", "service", "RuntimeDirectory"], message, remedy);
        }
    }

    /// Refuses values that refer to variables which the service's processes do not have when they start.
    fn references(&mut self, service: &Service, systemd: &Systemd) {
        let environment = &service.process.environment;
        let references = environment.iter().flat_map(|(name, value)| {
            variable::names_in(value).into_iter().map(move |variable| (name.as_str(), variable))
        });
        for (name, variable) in references {
            let is_declared = environment.contains_key(variable) && variable != name;
            if is_declared || variable::meaning(service, systemd, self.declared.scope, variable).is_some() {
                continue;
            }
            let declared = path![service.process.engine.section(), "environment", name];
            let at = if self.document.get(&declared).is_some() { declared } else { path!["config", name] };
            let remedy = variable::remedy(variable).unwrap_or_default();
            let remedy = format!("{remedy}; or write $${{{variable}}} for the text itself");
            self.error(&at, format!("processes have no ${{{variable}}} when they start"), remedy);
        }
    }

    fn systemd(&mut self, systemd: declaration::Systemd, install: declaration::Install) -> Systemd {
        let declaration::Systemd { unit, service, socket, slice } = systemd;
        Systemd {
            unit: self.directives(Section::Unit, "unit", unit),
            service: self.directives(Section::Service, "service", service),
            socket: self.directives(Section::Socket, "socket", socket),
            slice: self.directives(Section::Slice, "slice", slice),
            group_slice: Vec::new(),
            wanted_by: self.wanted_by(install.wanted_by),
            drop_ins: self.declared.drop_ins.clone(),
        }
    }

    /// Resolves what a group declares for all its parts into the model of one of them.
    fn group(&mut self, name: ServiceName, group: declaration::Group, part: &mut Model) {
        let declaration::Group { description, service, install, condition, resources, systemd } = group;
        part.systemd.group_slice = self.directives(Section::Slice, "slice", systemd.slice);
        part.systemd.wanted_by = self.wanted_by(install.wanted_by);
        part.service.group = Some(Group {
            description: self.description(description, &name),
            dependencies: self.dependencies(service),
            conditions: self.conditions(condition),
            resources: self.resources(resources),
            name,
        });
    }

    fn description(&mut self, description: Option<String>, name: &ServiceName) -> String {
        description.map_or_else(|| name.to_string(), |text| self.line(&path!["description"], &text))
    }

    fn number(&mut self, at: &Path, value: Option<u32>, default: u32, least: u32, most: u32) -> u32 {
        let Some(value) = value else { return default.clamp(least, most) };
        if value < least {
            self.error(at, format!("{value} is too small"), format!("write {least} or more"));
        } else if value > most {
            let more = if at == &path!["concurrency"] { ", or raise slots" } else { "" };
            self.error(at, format!("{value} is too large"), format!("write {most} or less{more}"));
        }
        value.clamp(least, most)
    }

    /// Checks that a text is one line that cannot end or continue a line of a unit.
    fn line(&mut self, at: &Path, text: &str) -> String {
        let text = text.trim();
        if let Some((message, remedy)) = unfit(text) {
            self.error(at, message, remedy);
        } else if text.chars().any(char::is_control) {
            self.error(at, "a line break or control character is in the text", "write it on one line");
        } else if text.ends_with('\\') {
            self.error(at, "a backslash at the end would join the next line", "remove the last backslash");
        }
        text.to_owned()
    }

    fn variables(&mut self, at: &Path, given: BTreeMap<String, Scalar>) -> BTreeMap<String, String> {
        let mut variables = BTreeMap::new();
        for (name, Scalar(value)) in given {
            let here = at.join(name.as_str());
            if !is_name(&name) {
                self.key_error(&here, "not the name of a variable", "use letters, digits and _, no digit first");
            } else if name.starts_with("CONDUCTOR_") || OF_PASSED_SOCKETS.contains(&name.as_str()) {
                self.key_error(&here, "conductor and systemd set this variable", "give it another name");
            } else if value.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
                self.error(&here, "systemd takes no control characters in variables", "pass a file instead");
            } else if let Some((message, remedy)) = unfit(&value) {
                self.error(&here, message, remedy);
            } else {
                variables.insert(name, value);
            }
        }
        variables
    }

    fn user(&mut self, user: String) -> String {
        let ok = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if user.is_empty() || user.len() > 255 || !user.chars().all(ok) || user.starts_with(['-', '.']) {
            let remedy = "write a user's name or number, as in /etc/passwd";
            self.error(&path!["exec", "user"], format!("{user:?} is not the name of a user"), remedy);
        }
        user
    }

    fn credentials(&mut self, at: &Path, given: BTreeMap<String, String>) -> BTreeMap<String, Utf8PathBuf> {
        let mut credentials = BTreeMap::new();
        for (name, file) in given {
            let here = at.join(name.as_str());
            let ok = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            let normalized = !file.split('/').skip(1).any(|part| matches!(part, "" | "." | ".."));
            // systemd joins the next line to a backslash at the end, and removes spaces there.
            let ends = file.ends_with('\\') || file.trim() != file;
            if name.is_empty() || name.len() > 255 || !name.chars().all(ok) || name.starts_with('.') {
                self.key_error(&here, "not the name of a credential", "use letters, digits, '-', '_' and '.'");
            } else if !file.starts_with('/') {
                let remedy = "write an absolute path, and keep the secret out of the declaration";
                self.error(&here, "a credential is loaded from an absolute path", remedy);
            } else if !normalized || file.len() > 4000 {
                self.error(&here, "not a normalized path of a file", "remove //, . and .. and a last /");
            } else if ends || file.contains(':') || file.chars().any(char::is_control) {
                let remedy = "remove colons, control characters, and spaces and backslashes at the end";
                self.error(&here, "systemd refuses such a path", remedy);
            } else if let Some((message, remedy)) = unfit(&file) {
                self.error(&here, message, remedy);
            }
            credentials.insert(name, Utf8PathBuf::from(file));
        }
        credentials
    }

    fn span(&mut self, at: &Path, span: Option<TimeSpan>, default: Duration) -> Duration {
        let Some(TimeSpan(text)) = span else { return default };
        match timespan::parse(&text) {
            Some(span) if span.is_zero() => {
                self.error(at, "time span must be greater than zero", "write a longer time, for instance \"1s\"");
                default
            }
            Some(span) if span > MAX_SPAN => {
                self.error(at, format!("{text:?} is longer than a year"), self.example(at));
                default
            }
            Some(span) => span,
            None => {
                self.error(at, format!("{text:?} is not a time span"), self.example(at));
                default
            }
        }
    }

    fn deploy(&mut self, deploy: declaration::Deploy, slots: u32) -> Deploy {
        let declaration::Deploy {
            strategy,
            steps,
            max_surge,
            drain_timeout,
            abandoned_timeout,
            drain_signal,
            health_timeout,
            restarted_at,
            autoscale,
        } = deploy;
        let at = path!["deploy"];
        Deploy {
            strategy,
            steps: self.steps(strategy, steps, slots),
            max_surge: self.number(&at.join("max_surge"), max_surge, 1, 1, MAX_SLOTS),
            drain_timeout: self.span(&at.join("drain_timeout"), drain_timeout, Duration::from_secs(30)),
            abandoned_timeout: self.span(&at.join("abandoned_timeout"), abandoned_timeout, abandoned_default()),
            drain_signal: drain_signal.map(|signal| self.signal(&at.join("drain_signal"), signal)),
            health_timeout: self.span(&at.join("health_timeout"), health_timeout, Duration::from_secs(60)),
            restarted_at: restarted_at.map(|time| self.timestamp(&at.join("restarted_at"), time)),
            autoscale: autoscale.map(|autoscale| self.autoscale(&at.join("autoscale"), &autoscale)),
        }
    }

    fn autoscale(&mut self, at: &Path, autoscale: &declaration::Autoscale) -> Autoscale {
        let declaration::Autoscale { max, cpu } = autoscale;
        let least = match self.document.get(&path!["concurrency"]).map(|node| &node.value) {
            Some(Value::Integer(number)) => u32::try_from(*number).unwrap_or(1),
            _ => 1,
        };
        Autoscale {
            max: self.number(&at.join("max"), Some(*max), *max, least, MAX_SLOTS),
            cpu: self.number(&at.join("cpu"), Some(*cpu), *cpu, 1, 100),
        }
    }

    /// Resolves a signal that a process can handle.
    fn signal(&mut self, at: &Path, signal: String) -> String {
        // A directive may have a specifier of systemd's in its place; this is a word of conductor's own command.
        let is_word = signal.chars().all(|c| c.is_ascii_alphanumeric() || "+-".contains(c));
        if !is_word || directive::check(Kind::Signal, &signal).is_err() {
            self.error(at, format!("{signal:?} is not a signal"), self.example(at));
        } else if matches!(signal.trim_start_matches("SIG"), "KILL" | "9" | "STOP" | "19") {
            self.error(at, format!("no process can handle {signal}: it would not drain"), self.example(at));
        }
        signal
    }

    fn timestamp(&mut self, at: &Path, time: String) -> String {
        if humantime::parse_rfc3339(&time).is_err() {
            self.error(at, format!("{time:?} is not a time in UTC as RFC 3339 has it"), self.example(at));
        }
        time
    }

    fn hooks(&mut self, hooks: declaration::Hooks, engine: &Engine) -> Hooks {
        let declaration::Hooks {
            release,
            post_release,
            verify,
            pre_start,
            post_start,
            pre_stop,
            pre_drain,
            drain,
            post_stop,
            inside,
            timeout,
        } = hooks;
        let limit = self.span(&path!["hooks", "timeout"], timeout, Duration::from_secs(30));
        let release = self.hook(&path!["hooks", "release"], release, RELEASE_LIMIT, false);
        let post_release = self.hook(&path!["hooks", "post_release"], post_release, RELEASE_LIMIT, false);
        let verify = self.hook(&path!["hooks", "verify"], verify, RELEASE_LIMIT, false);
        let is_inside = |name: &str| engine.is_privileged() && inside.iter().any(|inside| inside == name);
        let mut hook = |name: &str, hook| self.hook(&path!["hooks", name], hook, limit, is_inside(name));
        Hooks {
            release,
            post_release,
            verify,
            pre_start: hook("pre_start", pre_start),
            post_start: hook("post_start", post_start),
            pre_stop: hook("pre_stop", pre_stop),
            pre_drain: hook("pre_drain", pre_drain),
            post_stop: hook("post_stop", post_stop),
            drain: self.command_at(&path!["hooks", "drain"], drain, is_inside("drain")),
            inside: self.inside(&path!["hooks", "inside"], &inside),
        }
    }

    /// Resolves the names of hooks that run in a container: while there is one.
    fn inside(&mut self, at: &Path, names: &[String]) -> Vec<RunningHook> {
        let mut hooks = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let at = at.join(index);
            match RunningHook::ALL.iter().find(|(known, _)| known == name) {
                Some((_, hook)) if self.document.get(&path!["hooks", name.as_str()]).is_some() => hooks.push(*hook),
                Some(_) => {
                    let remedy = format!("write {name} = [\"COMMAND\"] in [hooks]");
                    self.error(&at, format!("there is no hook {name}"), remedy);
                }
                None => {
                    let remedy = "write one of \"post_start\", \"pre_stop\", \"pre_drain\" and \"drain\"";
                    self.error(&at, format!("no container runs at the time of {name:?}"), remedy);
                }
            }
        }
        hooks
    }

    fn hook(&mut self, at: &Path, hook: declaration::Hook, limit: Duration, is_inside: bool) -> Option<Hook> {
        let declaration::Hook { command, timeout } = hook;
        let timeout = self.span(&at.join("timeout"), timeout, limit);
        // The words of a table are below its key `command`.
        let is_list = !self.document.find(at).items().is_empty();
        let words = if is_list { at.clone() } else { at.join("command") };
        Some(Hook { command: self.command_at(&words, command, is_inside)?, timeout })
    }

    /// Resolves a command that runs in a container or on the host.
    pub(crate) fn command_at(&mut self, at: &Path, words: Vec<String>, is_inside: bool) -> Option<Command> {
        if is_inside { self.command_inside(at, words) } else { self.command(at, words) }
    }

    /// Resolves the names of variables that listings show.
    fn display(&mut self, names: Vec<String>, environment: &BTreeMap<String, String>) -> Vec<String> {
        let known = || environment.keys().map(String::as_str).chain(VARIABLES.iter().copied());
        for (index, name) in names.iter().enumerate() {
            if !known().any(|known| known == name) {
                let remedy = match directive::closest(name, known()) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => "name a variable of config or environment, or one of CONDUCTOR_…".to_owned(),
                };
                self.error(&path!["display", index], format!("there is no variable {name:?}"), remedy);
            }
        }
        names
    }

    /// Resolves `install.wanted_by`; the default is the target that systemd starts at boot or at login.
    fn wanted_by(&mut self, units: Option<Vec<String>>) -> Vec<String> {
        let default = match self.declared.scope {
            Scope::System => "multi-user.target",
            Scope::User => "default.target",
        };
        let units = units.unwrap_or_else(|| vec![default.to_owned()]);
        const KINDS: &[&str] = &["target", "service", "socket", "path", "timer"];
        for (index, unit) in units.iter().enumerate() {
            self.unit_name(&path!["install", "wanted_by", index], unit, KINDS, "multi-user.target");
        }
        units
    }

    /// Checks that a text is the name of a unit of one of these kinds, systemd.unit(5).
    fn unit_name(&mut self, at: &Path, unit: &str, kinds: &[&str], example: &str) {
        let ok = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
        let suffix = unit.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map(|(_, suffix)| suffix);
        let is_one = unit.len() <= MAX_UNIT_NAME && unit.chars().all(ok);
        if !is_one || !suffix.is_some_and(|suffix| kinds.contains(&suffix)) {
            let remedy = format!("write a unit with its suffix, such as {example:?}");
            self.error(at, format!("{unit:?} is not the name of a unit"), remedy);
        }
    }
}
