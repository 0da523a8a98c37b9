//! Units of systemd: a service with its timer and its socket.

use std::collections::BTreeSet;

use camino::Utf8Path;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::expansion::is_name;
use crate::import::declaration::{Declaration, Section, Service, name_of};
use crate::import::input::Input;
use crate::import::note::Report;
use crate::import::shell;
use crate::import::text::Text;
use crate::import::units::{Unit, directive};
use crate::unitfile::{self, Line};

/// Options of programs whose value is a port or an address with one.
const PORT_OPTIONS: &[&str] = &[
    "-p",
    "--port",
    "--http-port",
    "--listen",
    "-l",
    "--bind",
    "-b",
    "--addr",
    "--address",
    "--listen-address",
    "--web.listen-address",
    "-listen",
    "-addr",
    "-port",
    "-http",
];

/// Variables whose value is a port.
const PORT_VARIABLES: &[&str] = &["PORT", "HTTP_PORT", "LISTEN_PORT", "SERVER_PORT"];

/// Directives that are translated here; others are passed through or noted.
const KNOWN: &[&str] = &[
    "ExecStart",
    "ExecStartPre",
    "ExecStartPost",
    "ExecStop",
    "ExecStopPost",
    "ExecReload",
    "ExecCondition",
    "Type",
    "User",
    "Group",
    "DynamicUser",
    "WorkingDirectory",
    "Environment",
    "EnvironmentFile",
    "LoadCredential",
    "LoadCredentialEncrypted",
    "RemainAfterExit",
    "PIDFile",
    "GuessMainPID",
    "NotifyAccess",
    "StandardOutput",
    "StandardError",
    "SyslogIdentifier",
    "Sockets",
];

/// Translates a unit of a service, beside which its timer and socket may be.
///
/// # Errors
/// If it starts nothing.
pub(crate) fn import(input: &Input, report: &mut Report) -> Result<Declaration, Diagnostics> {
    let stem = input.path().file_stem().unwrap_or("service").to_owned();
    let unit = Unit::new(input.source.clone(), &stem);
    let mut declaration = Declaration::new(stem.trim_end_matches('@').replace(['@', '.'], "-"));
    let mut service = Service::new(name_of(&stem));
    let mut one = Translation { unit: &unit, service: &mut service, report };
    let starts = unit.values("Service", "ExecStart");
    let Some(start) = starts.first() else {
        let remedy = "write ExecStart= with the program that serves";
        return Err(Diagnostic::of_file(input.path(), "the unit has no ExecStart=", remedy).into());
    };
    one.environment();
    let timer = beside(input, "timer");
    let is_job = timer.is_some() || unit.value("Service", "Type") == Some("oneshot");
    if is_job {
        one.job(&starts, timer.as_ref(), &name_of(&stem));
    } else {
        one.command(start);
        for other in starts.iter().skip(1) {
            let position = unit.position(other);
            one.report.omitted(&position, "Service.ExecStart", "a service runs one program");
        }
        one.kind();
        one.hooks();
    }
    one.user();
    one.others();
    one.install(timer.is_some());
    match beside(input, "socket") {
        Some(socket) if !is_job => one.socket(&socket),
        _ if !is_job => one.listen(),
        _ => one.service.set("listen", "type", "none"),
    }
    declaration.services.push(service);
    Ok(declaration)
}

/// Reads the unit of another kind and the same name.
fn beside(input: &Input, suffix: &str) -> Option<Unit> {
    let path = input.path().with_extension(suffix);
    let other = Input::read(&path).ok().filter(|_| path.is_file())?;
    Some(Unit::new(other.source, path.file_stem()?))
}

/// Returns whether a text looks like a unit of a service.
pub(crate) fn is_one(path: &Utf8Path) -> bool {
    path.extension() == Some("service")
}

struct Translation<'a> {
    unit: &'a Unit,
    service: &'a mut Service,
    report: &'a mut Report,
}

/// A command line of a unit.
pub(super) struct Start {
    pub(super) words: Vec<String>,
    /// Whether a failure is no failure: `-` in front.
    pub(super) may_fail: bool,
    /// The prefixes that conductor does not have.
    pub(super) prefixes: String,
    /// Words that systemd splits: `$NAME` alone.
    pub(super) splits: bool,
}

/// Reads a command line of a unit as words of a declaration, in which `${NAME}` is a variable, too.
///
/// # Errors
/// A specifier that only systemd knows, or no program.
pub(super) fn start(unit: &Unit, value: &str) -> Result<Start, String> {
    let mut words = unitfile::words(&unit.expand(value)?);
    let Some(program) = words.first_mut() else { return Err("the command is empty".to_owned()) };
    let end = program.find(|c| !"@-:+!|".contains(c)).unwrap_or(program.len());
    let prefixes = program[..end].to_owned();
    *program = program[end..].to_owned();
    if prefixes.contains('@') && words.len() > 1 {
        words.remove(1); // argv[0], which differs from the program then
    }
    if words.first().is_none_or(String::is_empty) {
        return Err("the command is empty".to_owned());
    }
    let is_split = |word: &String| word.strip_prefix('$').is_some_and(is_name);
    let splits = words.iter().any(is_split);
    let without_variables = prefixes.contains(':');
    if without_variables {
        words.iter_mut().for_each(|word| *word = word.replace("$$", "$$$$").replace("${", "$${"));
    }
    Ok(Start { words, may_fail: prefixes.contains('-'), prefixes: prefixes.replace(['-', ':', '@'], ""), splits })
}

/// Writes a command line for a shell, in which variables are the shell's.
pub(super) fn script(words: &[String]) -> String {
    let word = |word: &String| match word.strip_prefix('$').filter(|name| is_name(name)) {
        Some(_) => word.clone(),
        None if word.contains("${") => {
            format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"").replace('`', "\\`"))
        }
        None => shell::quoted(&word.replace("$$", "$")),
    };
    words.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// The words of `sh -c`, whose dollar signs are the shell's.
pub(super) fn shell_command(script: &str) -> Vec<Text> {
    vec!["/bin/sh".into(), "-c".into(), Text::from(script).into_word()]
}

impl Translation<'_> {
    fn see(&mut self, line: &Line) {
        self.report.see(&self.unit.position(line));
    }

    fn omit(&mut self, line: &Line, text: impl Into<String>) {
        let key = format!("{}.{}", line.section, line.key);
        self.report.omitted(&self.unit.position(line), key, text);
    }

    fn approximate(&mut self, line: &Line, text: impl Into<String>) {
        let key = format!("{}.{}", line.section, line.key);
        self.report.approximated(&self.unit.position(line), key, text);
    }

    /// The words of a command of a declaration.
    fn words(&mut self, line: &Line) -> Option<(Vec<Text>, bool)> {
        self.see(line);
        match start(self.unit, &line.value) {
            Ok(start) => {
                if !start.prefixes.is_empty() {
                    let text =
                        format!("the prefix {:?} is left out: the command runs as the service's user", start.prefixes);
                    self.approximate(line, text);
                }
                let program = &start.words[0];
                let is_path = program.starts_with('/') || !program.contains('/');
                if !is_path || program.contains(['$', '"', '\'', '\\']) {
                    return Some((shell_command(&format!("exec {}", script(&start.words))), start.may_fail));
                }
                if start.splits {
                    return Some((shell_command(&format!("exec {}", script(&start.words))), start.may_fail));
                }
                Some((start.words.into_iter().map(Text::from).collect(), start.may_fail))
            }
            Err(message) => {
                self.omit(line, message);
                None
            }
        }
    }

    fn command(&mut self, line: &Line) {
        match self.words(line) {
            Some((words, _)) => self.service.set("exec", "command", words),
            None => {
                self.service.set_with("exec", "command", vec!["false"], "the source's command could not be translated");
            }
        }
    }

    fn kind(&mut self) {
        let Some(line) = self.unit.values("Service", "Type").pop().cloned() else { return };
        self.see(&line);
        match line.value.as_str() {
            "notify" | "notify-reload" => self.service.set("health", "notify", true),
            "forking" => {
                let text = "the program has to stay in the foreground: most have an option for that";
                self.approximate(&line, text);
                self.service.comments.push(format!("{}: {text}", line.key));
            }
            "dbus" | "idle" => self.approximate(&line, "the service is ready by its [health]"),
            _ => {}
        }
    }

    fn hooks(&mut self) {
        for (key, hook) in [
            ("ExecStartPre", "pre_start"),
            ("ExecStartPost", "post_start"),
            ("ExecStop", "pre_stop"),
            ("ExecStopPost", "post_stop"),
        ] {
            let lines: Vec<Line> = self.unit.values("Service", key).into_iter().cloned().collect();
            let mut commands = Vec::new();
            for line in &lines {
                self.see(line);
                match start(self.unit, &line.value) {
                    Ok(start) => {
                        if !start.prefixes.is_empty() {
                            self.approximate(line, "the hook runs as the service's user, in its sandbox");
                        }
                        commands.push(start);
                    }
                    Err(message) => self.omit(line, message),
                }
                if line.value.contains("$MAINPID") || line.value.contains("${MAINPID}") {
                    commands.pop();
                    self.approximate(
                        line,
                        "systemd sends SIGTERM to the main process: KillSignal in [systemd.service] is another",
                    );
                }
            }
            let simple = |start: &Start| !start.may_fail && !start.splits && start.words[0].starts_with('/');
            match commands.as_slice() {
                [] => {}
                [one] if simple(one) => {
                    let words: Vec<Text> = one.words.iter().map(|word| word.as_str().into()).collect();
                    self.service.set("hooks", hook, words);
                }
                all => {
                    let script = |start: &Start| {
                        format!("{}{}", script(&start.words), if start.may_fail { " || true" } else { "" })
                    };
                    let script = all.iter().map(script).collect::<Vec<_>>().join("; ");
                    self.service.set("hooks", hook, shell_command(&format!("set -e; {script}")));
                }
            }
        }
        for line in self.unit.values("Service", "ExecReload").into_iter().cloned().collect::<Vec<_>>() {
            self.approximate(&line, "`conductor service reload` starts new deployments");
        }
    }

    fn user(&mut self) {
        let user = self.unit.values("Service", "User").pop().cloned();
        let is_dynamic =
            self.unit.value("Service", "DynamicUser").is_some_and(|value| matches!(value, "yes" | "true" | "1" | "on"));
        for key in ["DynamicUser", "Group"] {
            if let Some(line) = self.unit.values("Service", key).pop().cloned() {
                self.see(&line);
                let is_same = user.as_ref().is_none_or(|user| user.value == line.value) || is_dynamic;
                if key == "Group" && !is_same {
                    let text =
                        "the processes have the user's own groups: SupplementaryGroups in [systemd.service] adds some";
                    self.approximate(&line, text);
                    if line.value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
                        self.service.set("systemd.service", "Group", line.value.as_str());
                    }
                }
            }
        }
        match user {
            Some(line) => {
                self.see(&line);
                let is_user = |user: &str| {
                    !user.is_empty() && user.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
                };
                match self.unit.expand(&line.value).ok().filter(|user| is_user(user)) {
                    Some(_) if is_dynamic => {}
                    Some(user) => self.service.set("exec", "user", user),
                    None => self.omit(&line, "it is no name of a user"),
                }
            }
            None if is_dynamic => {}
            None => {
                let text = "it ran as root, and here as a user of its own: user = \"root\" with sandbox = \"none\" brings root back";
                if let Some(line) = self.unit.values("Service", "ExecStart").first().map(|line| (*line).clone()) {
                    self.report.approximated(&self.unit.position(&line), "Service.User", text);
                }
            }
        }
        self.service
            .comments
            .push("systemd confines the processes: sandbox = \"none\" in [exec] turns that off.".to_owned());
    }

    fn environment(&mut self) {
        for line in self.unit.values("Service", "Environment").into_iter().cloned().collect::<Vec<_>>() {
            self.see(&line);
            let Ok(value) = self.unit.expand(&line.value) else {
                self.omit(&line, "its specifier is known to systemd alone");
                continue;
            };
            for word in unitfile::words(&value) {
                match word.split_once('=').filter(|(name, _)| is_name(name) && !name.starts_with("CONDUCTOR_")) {
                    Some((name, value)) => {
                        self.service.insert("exec", "environment", name, Text::from(value).into_value());
                    }
                    None => self.omit(&line, format!("{word:?} is no variable")),
                }
            }
        }
        for line in self.unit.values("Service", "EnvironmentFile").into_iter().cloned().collect::<Vec<_>>() {
            self.see(&line);
            match self.unit.expand(&line.value) {
                Ok(path) if path.trim_start_matches('-').starts_with('/') && !path.contains(['*', '?', '[']) => {
                    self.service.push("exec", "environment_file", path);
                }
                _ => self.omit(&line, "environment_file takes absolute paths without patterns"),
            }
        }
        for (directive, key) in
            [("LoadCredential", "credentials"), ("LoadCredentialEncrypted", "credentials_encrypted")]
        {
            for line in self.unit.values("Service", directive).into_iter().cloned().collect::<Vec<_>>() {
                self.see(&line);
                match line.value.split_once(':').filter(|(_, path)| path.starts_with('/') && !path.contains([':', '%']))
                {
                    Some((name, path)) => self.service.insert("exec", key, name, path),
                    None => self.omit(&line, "a credential has an absolute path"),
                }
            }
        }
        let Some(line) = self.unit.values("Service", "WorkingDirectory").pop().cloned() else { return };
        self.see(&line);
        match self.unit.expand(line.value.trim_start_matches('-')) {
            Ok(dir) if dir.starts_with('/') && !dir.split('/').any(|step| step == "..") => {
                let dir = dir.trim_end_matches('/');
                self.service.set("exec", "working_dir", if dir.is_empty() { "/" } else { dir });
            }
            _ => self.omit(&line, "working_dir is an absolute path"),
        }
    }

    /// Writes a program that ends by itself as a job, beside a process that only waits.
    fn job(&mut self, starts: &[&Line], timer: Option<&Unit>, name: &str) {
        let first = starts[0].clone();
        let mut lines: Vec<Line> = self.unit.values("Service", "ExecStartPre").into_iter().cloned().collect();
        lines.extend(starts.iter().map(|line| (*line).clone()));
        lines.extend(self.unit.values("Service", "ExecStartPost").into_iter().cloned());
        let words = match lines.as_slice() {
            [one] => self.words(one).map(|(words, _)| words),
            all => {
                let mut scripts = Vec::new();
                for line in all {
                    self.see(line);
                    match start(self.unit, &line.value) {
                        Ok(start) => scripts.push(format!(
                            "{}{}",
                            script(&start.words),
                            if start.may_fail { " || true" } else { "" }
                        )),
                        Err(message) => self.omit(line, message),
                    }
                }
                (!scripts.is_empty()).then(|| shell_command(&format!("set -e; {}", scripts.join("; "))))
            }
        };
        let words = words.unwrap_or_else(|| vec!["false".into()]);
        let path = format!("commands.{}", name.replace([':', '.'], "-"));
        self.service.set(&path, "exec", words);
        self.service.set(&path, "scope", "service");
        self.service.set_with("exec", "command", vec!["sleep", "infinity"], "a service with jobs alone waits");
        for key in ["ExecStop", "ExecStopPost", "ExecReload"] {
            for line in self.unit.values("Service", key).into_iter().cloned().collect::<Vec<_>>() {
                self.omit(&line, "a job has no such hook");
            }
        }
        if let Some(line) = self.unit.values("Service", "Type").pop().cloned() {
            self.see(&line);
        }
        match timer {
            Some(timer) => self.timer(timer, &path),
            None => {
                let text = "it ends by itself: `conductor run` starts it, and so does a `schedule`";
                self.report.approximated(&self.unit.position(&first), "Service.Type", text);
            }
        }
    }

    fn timer(&mut self, timer: &Unit, path: &str) {
        let mut schedule = Vec::new();
        for line in timer.lines.iter().filter(|line| line.section == "Timer" && !line.value.is_empty()) {
            let position = timer.position(line);
            self.report.see(&position);
            let key = format!("Timer.{}", line.key);
            match line.key.as_str() {
                "OnCalendar" if crate::calendar::check(&line.value).is_ok() => schedule.push(line.value.clone()),
                "OnUnitActiveSec" | "OnUnitInactiveSec" => match every(&line.value) {
                    Some(calendar) => {
                        schedule.push(calendar.clone());
                        let text = format!("schedule = {calendar:?}: the clock counts, and not the last run");
                        self.report.approximated(&position, key, text);
                    }
                    None => self.report.omitted(&position, key, "write schedule with a calendar expression"),
                },
                "OnBootSec" | "OnStartupSec" | "OnActiveSec" => {
                    let text = "a job runs by the calendar: persistent = true makes up for what was missed";
                    self.report.omitted(&position, key, text);
                }
                "Persistent" => {
                    if matches!(line.value.as_str(), "true" | "yes" | "1" | "on") {
                        self.service.set(path, "persistent", true);
                    }
                }
                "RandomizedDelaySec" => match crate::timespan::parse(&line.value) {
                    Some(span) if !span.is_zero() => self.service.set(path, "randomized_delay", line.value.as_str()),
                    _ => {}
                },
                "Unit" => {}
                _ => self.report.omitted(&position, key, "a job has no such setting"),
            }
        }
        for line in timer.lines.iter().filter(|line| line.section != "Timer") {
            self.report.see(&timer.position(line));
        }
        schedule.dedup();
        match schedule.len() {
            0 => {}
            1 => self.service.set(path, "schedule", schedule.remove(0)),
            _ => self.service.set(path, "schedule", schedule),
        }
    }

    /// Passes on what has no key of its own.
    fn others(&mut self) {
        let mut seen = BTreeSet::new();
        for line in &self.unit.lines {
            self.unit.note_home(line, self.report);
            let of_service = line.section == "Service" && KNOWN.contains(&line.key.as_str());
            if of_service {
                if matches!(line.key.as_str(), "ExecCondition" | "PIDFile" | "Sockets") {
                    let text = match line.key.as_str() {
                        "ExecCondition" => "write a condition in [condition], or a pre_start hook that fails",
                        "PIDFile" => "the program stays in the foreground",
                        _ => "a socket of the same name is imported with the service",
                    };
                    self.omit(line, text);
                } else {
                    self.see(line);
                }
                continue;
            }
            if line.section == "Install" || line.key.is_empty() {
                continue;
            }
            // Without a value a directive is reset: the last values are those that hold.
            if line.value.is_empty() || line.key.starts_with("X-") || line.section.starts_with("X-") {
                self.see(line);
                continue;
            }
            let of_unit = line.section == "Unit";
            let of_boot = of_unit && matches!(line.value.as_str(), "network.target" | "syslog.target");
            if of_boot || !seen.insert((line.section.clone(), line.key.clone(), line.value.clone())) {
                self.see(line);
                continue;
            }
            directive(self.service, self.unit, line, &line.section.clone(), self.report);
        }
    }

    fn install(&mut self, has_timer: bool) {
        let mut wanted = Vec::new();
        let mut has_install = false;
        for line in self.unit.lines.iter().filter(|line| line.section == "Install") {
            has_install = true;
            self.see(line);
            match line.key.as_str() {
                "WantedBy" | "RequiredBy" | "UpheldBy" => {
                    wanted.extend(line.value.split_whitespace().map(str::to_owned));
                }
                "Alias" => self.omit(line, "a service has one name"),
                "Also" | "DefaultInstance" => {}
                _ => self.omit(line, "conductor has no such setting"),
            }
        }
        let suffixes = [".target", ".service", ".socket", ".path", ".timer"];
        wanted.retain(|unit| suffixes.iter().any(|suffix| unit.ends_with(suffix)) && !unit.contains('%'));
        wanted.dedup();
        let is_default = wanted == ["multi-user.target"];
        if !wanted.is_empty() && !is_default {
            self.service.set("install", "wanted_by", wanted);
        } else if wanted.is_empty() && !has_install && !has_timer {
            self.service.set_with("install", "wanted_by", Vec::<String>::new(), "the unit has no [Install]");
        }
    }

    fn socket(&mut self, socket: &Unit) {
        self.service.set("listen", "type", "none");
        for line in socket.lines.iter().filter(|line| !line.value.is_empty()) {
            let position = socket.position(line);
            self.report.see(&position);
            let key = format!("{}.{}", line.section, line.key);
            match (line.section.as_str(), line.key.as_str()) {
                ("Socket", "ListenStream" | "ListenDatagram") => {
                    let address = socket.expand(&line.value).unwrap_or_default();
                    let address =
                        address.strip_prefix("0.0.0.0:").or_else(|| address.strip_prefix("[::]:")).unwrap_or(&address);
                    let mut port = Section::default();
                    port.set("listen", address).set("pass", true);
                    if line.key == "ListenDatagram" {
                        port.set("datagram", true);
                    }
                    if let Some(name) = socket.value("Socket", "FileDescriptorName") {
                        port.set("name", name);
                    }
                    let is_address = address.starts_with('/')
                        || address.rsplit(':').next().is_some_and(|port| port.parse::<u16>().is_ok());
                    if is_address {
                        self.service.ports.push(port);
                    } else {
                        self.report.omitted(&position, key, "[[port]] listens at a port or a path");
                    }
                }
                ("Socket", "FileDescriptorName") => {}
                ("Socket", "Accept") if matches!(line.value.as_str(), "yes" | "true" | "1" | "on") => {
                    let text =
                        "each connection would start a process: a CGI function does that for HTTP, docs/how-to/cgi.md";
                    self.report.omitted(&position, key, text);
                }
                ("Socket", "Accept" | "Service") => {}
                ("Socket", "SocketMode" | "SocketUser" | "SocketGroup" | "DirectoryMode") => {
                    self.report.omitted(&position, key, "the proxy's group has access");
                }
                ("Socket", _) => directive(self.service, socket, line, "Socket", self.report),
                _ => {}
            }
        }
        if self.service.ports.is_empty() {
            self.service.set_with("deploy", "strategy", "recreate", "the socket could not be translated");
        }
    }

    /// Looks for the port at which the program listens, and lets conductor choose it.
    fn listen(&mut self) {
        let words = self.service.words("exec", "command");
        let found = words.iter().enumerate().find_map(|(index, word)| {
            let (option, value) =
                word.split_once('=').map_or((word.as_str(), None), |(option, value)| (option, Some(value)));
            if !PORT_OPTIONS.contains(&option) {
                return None;
            }
            match value {
                Some(value) => address(value).map(|found| (index, format!("{option}={}", found.0), found.1)),
                None => address(words.get(index + 1)?).map(|found| (index + 1, found.0, found.1)),
            }
        });
        let variable = PORT_VARIABLES.iter().find_map(|name| {
            let port = self.service.table_text("exec", "environment", name)?;
            port.parse::<u16>().ok().map(|port| (*name, port))
        });
        let listens = match (found, variable) {
            (Some((index, word, listens)), _) => {
                let mut words: Vec<Text> = words.into_iter().map(Text::from).collect();
                words[index] = Text::from(word);
                self.service.set("exec", "command", words);
                listens
            }
            (None, Some((name, port))) => {
                if name != "PORT" {
                    self.service.insert("exec", "environment", name, "${PORT}");
                } else {
                    self.service.remove_entry("exec", "environment", "PORT");
                }
                port.to_string()
            }
            (None, None) => {
                let comment = "the unit does not tell where it listens: docs/service-toml.md#listeners";
                self.service.set_with("listen", "type", "none", comment);
                let comment = "two processes cannot listen at one address";
                self.service.set_with("deploy", "strategy", "recreate", comment);
                return;
            }
        };
        let comment = "$PORT is chosen when a deployment starts";
        self.service.set_with("listen", "type", "tcp", comment);
        let mut port = Section::default();
        port.set_with("listen", listens.as_str(), "a [[route]] reaches it over the reverse proxy");
        self.service.ports.push(port);
        if let Some(line) = self.unit.values("Service", "ExecStart").first().map(|line| (*line).clone()) {
            let text = format!("the program listens at a port that conductor chooses, and [[port]] at {listens}");
            self.approximate(&line, text);
        }
    }
}

/// Reads a port, or an address with one: the text with `${PORT}` in its place, and where callers connect.
fn address(text: &str) -> Option<(String, String)> {
    let (host, port) = text.rsplit_once(':').map_or((None, text), |(host, port)| (Some(host), port));
    let number: u16 = port.parse().ok().filter(|port| *port > 0)?;
    let listens = match host {
        None | Some("" | "0.0.0.0" | "*" | "[::]" | "::") => number.to_string(),
        Some("localhost") => format!("127.0.0.1:{number}"),
        Some(host) if host.parse::<std::net::Ipv4Addr>().is_ok() || host.starts_with('[') => format!("{host}:{number}"),
        Some(_) => return None,
    };
    Some((
        match host {
            None => "${PORT}".to_owned(),
            Some(_) => "127.0.0.1:${PORT}".to_owned(),
        },
        listens,
    ))
}

/// A calendar expression for what runs each so often; None if none has such steps.
fn every(span: &str) -> Option<String> {
    let seconds = crate::timespan::parse(span)?.as_secs();
    Some(match seconds {
        60 => "minutely".to_owned(),
        3600 => "hourly".to_owned(),
        86_400 => "daily".to_owned(),
        604_800 => "weekly".to_owned(),
        2_592_000..=2_678_400 => "monthly".to_owned(),
        s if s > 0 && s < 60 && 60 % s == 0 => format!("*:*:0/{s}"),
        s if s > 60 && s < 3600 && s % 60 == 0 && 60 % (s / 60) == 0 => format!("*:0/{}", s / 60),
        s if s > 3600 && s < 86_400 && s % 3600 == 0 && 24 % (s / 3600) == 0 => format!("0/{}:00", s / 3600),
        _ => return None,
    })
}
