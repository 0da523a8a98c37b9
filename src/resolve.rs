//! A declaration becomes a model, or a list of everything that is wrong with it.

use std::collections::BTreeMap;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest, Sha256};

use crate::declaration::{self, Declaration, OneOrMany, Scalar, TimeSpan};
use crate::diagnostic::Diagnostics;
use crate::directive::{self, Section};
use crate::document::{Error, Node, Path, Problem};
use crate::model::{
    Check, Command, Deploy, Directive, Health, Hooks, Passthrough, Process, Route, Sandbox, Service, User,
};
use crate::path;
use crate::sources::Declared;
use crate::timespan;

/// More deployments than this on one machine is a mistake of typing.
const MAX_SLOTS: u32 = 512;
/// What execve(2) takes as one argument or variable; escaped, it is still far from the longest line
/// that systemd reads.
const MAX_TEXT: usize = 128 << 10;
/// A unit's name is at most 255 characters long, and so is its directory `NAME.wants`.
const MAX_UNIT_NAME: usize = 255 - ".wants".len();
/// Timeouts are added up and multiplied, and systemd counts microseconds in 64 bits.
const MAX_SPAN: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Resolves one declaration for a host whose systemd has the given version, where it is known.
///
/// # Errors
/// Every error of the declaration, not only the first; but a document that does not fit its type
/// has only the one that stopped the reading.
pub fn resolve(declared: &Declared, systemd: Option<u16>) -> Result<Service, Diagnostics> {
    let document = &declared.document;
    let declaration: Declaration = document.read().map_err(|error| misfit(document, error))?;
    let mut resolver = Resolver { document, declared, systemd, errors: Diagnostics::default() };
    let service = resolver.service(declaration);
    resolver.errors.sort();
    resolver.errors.into_result()?;
    Ok(service)
}

/// Says what does not fit in the words of somebody who writes a declaration.
fn misfit(document: &Node, error: Error) -> Diagnostics {
    let path = error.path;
    match error.problem {
        Problem::UnknownKey { key, expected } => {
            let full = path.join(key.as_str());
            if is_later(&full) {
                let remedy = "take it out; this version of conductor has [exec] services with socket activation";
                document.key_error(&full, "not supported yet", remedy).into()
            } else {
                document.key_error(&full, "there is no such key here", did_you_mean(&key, expected)).into()
            }
        }
        Problem::MissingKey(key) => {
            let message = format!("{key} is missing");
            document.error(&path, message, example(&path.join(key))).into()
        }
        Problem::UnknownWord { word, expected } => {
            let keys = dotted(&path);
            let later = declaration::LATER_WORDS.iter().any(|(key, words)| *key == keys && words.contains(&&*word));
            let message = if later { "not supported yet".to_owned() } else { format!("{word:?} is not a choice") };
            document.error(&path, message, choices(expected)).into()
        }
        Problem::WrongType { found, expected } => {
            document.error(&path, format!("{expected} is expected here, not {found}"), example(&path)).into()
        }
        Problem::Other(message) => document.error(&path, message, example(&path)).into(),
    }
}

/// The path without indices: `route.keepalive`.
fn dotted(path: &Path) -> String {
    let keys = path.0.iter().filter_map(|step| match step {
        crate::document::Step::Key(key) => Some(key.as_str()),
        crate::document::Step::Index(_) => None,
    });
    keys.collect::<Vec<_>>().join(".")
}

fn is_later(path: &Path) -> bool {
    declaration::LATER.contains(&dotted(path).as_str())
}

fn choices(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("{word:?}")).collect();
    format!("write {}", quoted.join(" or "))
}

fn did_you_mean(key: &str, expected: &[&str]) -> String {
    match directive::closest(key, expected.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if expected.len() == 1 => format!("the only key here is `{}`", expected[0]),
        None => format!("the keys here are {}", expected.join(", ")),
    }
}

/// What a key looks like when it is right.
fn example(path: &Path) -> String {
    let keys = dotted(path);
    let last = keys.rsplit('.').next().unwrap_or("");
    match last {
        _ if SECTIONS.contains(&keys.as_str()) => format!("write a section: [{keys}]"),
        "command" | "exec" | "pre_start" | "post_start" | "pre_stop" | "drain" | "post_stop" => {
            format!("write the words one by one: {last} = [\"./program\", \"--flag\"]")
        }
        "host" => "write host = [\"www.example.com\"]".to_owned(),
        "wanted_by" => "write wanted_by = [\"multi-user.target\"]".to_owned(),
        "status" => "write status = [200, 204]".to_owned(),
        "interval" | "timeout" | "drain_timeout" | "health_timeout" => {
            format!("write a time span in quotes: {last} = \"30s\"")
        }
        "route" => "write a section in double brackets: [[route]]".to_owned(),
        "concurrency" | "slots" | "max_surge" => format!("write a number without quotes: {last} = 3"),
        "config" | "environment" => format!("write {last} = {{ NAME = \"value\" }}"),
        "credentials" | "credentials_encrypted" => {
            format!("write {last} = {{ name = \"/path/of/secret\" }}")
        }
        "" => "write keys and [sections] as in service.toml's description".to_owned(),
        "tcp" => "write tcp = true".to_owned(),
        _ => format!("write {last} = \"…\""),
    }
}

/// Tables that people write as sections.
const SECTIONS: &[&str] = &[
    "exec",
    "listen",
    "health",
    "deploy",
    "hooks",
    "resources",
    "install",
    "systemd",
    "systemd.unit",
    "systemd.service",
    "systemd.socket",
    "systemd.slice",
];

/// Why a text cannot stand in a unit, wherever it stands.
fn unfit(text: &str) -> Option<(&'static str, &'static str)> {
    // Unicode's noncharacters: systemd takes a line that has one for broken UTF-8.
    let noncharacter = |c| matches!(u32::from(c), 0xfdd0..=0xfdef) || u32::from(c) & 0xfffe == 0xfffe;
    if text.chars().any(noncharacter) {
        Some(("a character in it is none to systemd (U+FDD0 to U+FDEF, U+…FFFE, U+…FFFF)", "take it out"))
    } else if text.len() > MAX_TEXT {
        Some(("longer than 128 KiB", "put it into a file of the declaration"))
    } else {
        None
    }
}

/// The dynamic user's name, the same for every generation; useradd's limit is 31 characters.
fn dynamic_user(name: &str) -> String {
    let plain: String = name.chars().map(|c| if c == '.' { '_' } else { c }).collect();
    let user = format!("conductor-{plain}");
    // A dot that became an underscore could meet another service's name, as could a cut one.
    if user.len() <= 31 && plain == name {
        return user;
    }
    let digest = crate::generation::hex(&Sha256::digest(name.as_bytes()));
    let room = 31 - "conductor--".len() - 8;
    format!("conductor-{}-{}", &plain[..plain.len().min(room)], &digest[..8])
}

struct Resolver<'a> {
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

    fn service(&mut self, declaration: Declaration) -> Service {
        let Declaration {
            description,
            concurrency,
            slots,
            config,
            exec,
            listen,
            health,
            route,
            deploy,
            hooks,
            resources,
            install,
            systemd,
        } = declaration;
        let name = self.declared.name.clone();
        let slots = self.number(&path!["slots"], slots, 12, 1, MAX_SLOTS);
        let concurrency = self.number(&path!["concurrency"], concurrency, 1, 1, slots);
        let declaration::Listen { kind: declaration::ListenKind::Activation } = listen;
        let mut slice = self.resources(resources);
        let passthrough = Passthrough {
            unit: self.directives(Section::Unit, "unit", systemd.unit),
            service: self.directives(Section::Service, "service", systemd.service),
            socket: self.directives(Section::Socket, "socket", systemd.socket),
        };
        slice.extend(self.directives(Section::Slice, "slice", systemd.slice));
        Service {
            description: match description {
                Some(text) => self.line(&path!["description"], &text),
                None => name.to_string(),
            },
            concurrency,
            slots,
            process: self.process(config, exec),
            health: self.health(health),
            routes: self.routes(route),
            deploy: self.deploy(deploy),
            hooks: self.hooks(hooks),
            slice,
            wanted_by: self.wanted_by(install.wanted_by),
            passthrough,
            drop_ins: self.declared.drop_ins.clone(),
            files: self.declared.files.clone(),
            source: self.declared.source.clone(),
            name,
        }
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

    fn process(&mut self, config: BTreeMap<String, Scalar>, exec: Option<declaration::Exec>) -> Process {
        let Some(exec) = exec else {
            self.error(&path![], "nothing to run: [exec] is missing", "add [exec] with command = [\"./server\"]");
            return Process {
                command: Command(Vec::new()),
                environment: BTreeMap::new(),
                user: User::Static(String::new()),
                credentials: BTreeMap::new(),
                credentials_encrypted: BTreeMap::new(),
                sandbox: Sandbox::Strict,
            };
        };
        let declaration::Exec { command, environment, user, credentials, credentials_encrypted, sandbox } = exec;
        let mut variables = self.variables(&path!["config"], config);
        variables.extend(self.variables(&path!["exec", "environment"], environment));
        if command.is_empty() {
            self.error(&path!["exec", "command"], "the command is empty", example(&path!["exec", "command"]));
        }
        Process {
            command: self.command(&path!["exec", "command"], command).unwrap_or(Command(Vec::new())),
            environment: variables,
            user: match user {
                Some(user) => User::Static(self.user(user)),
                None => User::Dynamic(dynamic_user(self.declared.name.as_str())),
            },
            credentials: self.credentials(&path!["exec", "credentials"], credentials),
            credentials_encrypted: self.credentials(&path!["exec", "credentials_encrypted"], credentials_encrypted),
            sandbox,
        }
    }

    /// One line of text: nothing in it can end a line of a unit.
    fn line(&mut self, at: &Path, text: &str) -> String {
        let text = text.trim();
        if let Some((message, remedy)) = unfit(text) {
            self.error(at, message, remedy);
        } else if text.chars().any(char::is_control) {
            self.error(at, "a line break or control character is in the text", "write it on one line");
        } else if text.ends_with('\\') {
            self.error(at, "a backslash at the end would join the next line", "take the last backslash out");
        }
        text.to_owned()
    }

    fn variables(&mut self, at: &Path, given: BTreeMap<String, Scalar>) -> BTreeMap<String, String> {
        let mut variables = BTreeMap::new();
        for (name, Scalar(value)) in given {
            let here = at.join(name.as_str());
            let ok = |(index, c): (usize, char)| c == '_' || c.is_ascii_alphabetic() || index > 0 && c.is_ascii_digit();
            if name.is_empty() || !name.chars().enumerate().all(ok) {
                self.key_error(&here, "not a name of a variable", "use letters, digits and _, no digit first");
            } else if name.starts_with("CONDUCTOR_") || name.starts_with("LISTEN_") {
                self.key_error(&here, "this variable is set by conductor and systemd", "give it another name");
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

    /// None for an empty command.
    fn command(&mut self, at: &Path, words: Vec<String>) -> Option<Command> {
        for (index, word) in words.iter().enumerate() {
            if word.contains('\0') {
                self.error(&at.join(index), "a NUL character cannot be in a command", "take it out");
            } else if let Some((message, remedy)) = unfit(word) {
                self.error(&at.join(index), message, remedy);
            }
        }
        let lengths = || words.iter().map(String::len);
        if lengths().all(|length| length <= MAX_TEXT) && lengths().sum::<usize>() > MAX_TEXT {
            self.error(at, "longer than 128 KiB", "put what it says into a file of the declaration");
        }
        let program = words.first()?;
        let here = at.join(0);
        if program.contains('$') {
            self.error(&here, "systemd expands nothing in a program's path", "write the path out");
        } else if program.chars().any(|c| c.is_control() || "\"'\\".contains(c)) {
            let remedy = "rename the program, or run it through a script of the declaration";
            self.error(&here, "systemd takes no quotes, backslashes or control characters in a program's path", remedy);
        } else if let Some(relative) = program.strip_prefix("./") {
            self.declared_program(&here, Utf8Path::new(relative));
        } else if program.starts_with('/') {
            if program.ends_with('/') || program.split('/').any(|part| part == "..") {
                self.error(&here, "not a normalized path of a program", "write the path without .. and a last /");
            } else if program.len() > 4000 {
                self.error(&here, "too long for a path", "write at most 4000 bytes");
            }
        } else if program.starts_with(|c| "@-:+!|".contains(c)) {
            let remedy = "write the program's name or path alone; systemd's prefixes are not for declarations";
            self.error(&here, format!("{program:?} is not a name of a program"), remedy);
        } else if program.contains('/') {
            let remedy = format!("write \"./{program}\" for one of the declaration's files, or an absolute path");
            self.error(&here, "a relative path of a program starts with ./", remedy);
        } else if matches!(program.as_str(), "" | "." | "..") || program.len() > 255 {
            let remedy = "write a program's name such as \"gunicorn\", or its path";
            self.error(&here, format!("{program:?} is not a name of a program"), remedy);
        }
        Some(Command(words))
    }

    fn declared_program(&mut self, at: &Path, relative: &Utf8Path) {
        use crate::model::FileKind;
        if relative.as_str().split('/').any(|part| matches!(part, "" | "." | "..")) {
            let remedy = "write the program's path below the declaration's directory, without //, . and ..";
            return self.error(at, "not a normalized path of a program", remedy);
        }
        let found = self.declared.files.iter().find(|file| file.path == relative).map(|file| file.kind.clone());
        match found {
            Some(FileKind::Regular { executable: true, .. } | FileKind::Symlink { .. }) => {}
            Some(FileKind::Regular { executable: false, .. }) => {
                let remedy = format!("chmod +x {}", self.declared.dir.join(relative));
                self.error(at, format!("{relative} is not executable"), remedy);
            }
            Some(FileKind::Directory) => {
                self.error(at, format!("{relative} is a directory"), "name a program in it");
            }
            None => {
                let remedy = self.missing_program(relative);
                self.error(at, format!("{relative} is not among the declaration's files"), remedy);
            }
        }
    }

    fn missing_program(&self, relative: &Utf8Path) -> String {
        let files = || self.declared.files.iter().map(|file| file.path.as_str());
        let mut words = relative.as_str().split_whitespace();
        let first = words.next().unwrap_or("");
        if first != relative && files().any(|file| file == first) {
            let rest: String = words.map(|word| format!(", {word:?}")).collect();
            return format!("write the words one by one: [\"./{first}\"{rest}]");
        }
        match directive::closest(relative.as_str(), files()) {
            Some(near) => format!("did you mean \"./{near}\"?"),
            None => format!("put the program at {}", self.declared.dir.join(relative)),
        }
    }

    fn user(&mut self, user: String) -> String {
        let ok = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if user.is_empty() || user.len() > 255 || !user.chars().all(ok) || user.starts_with(['-', '.']) {
            let remedy = "write a user's name or number, as in /etc/passwd";
            self.error(&path!["exec", "user"], format!("{user:?} is not a name of a user"), remedy);
        }
        user
    }

    fn credentials(&mut self, at: &Path, given: BTreeMap<String, String>) -> BTreeMap<String, Utf8PathBuf> {
        let mut credentials = BTreeMap::new();
        for (name, file) in given {
            let here = at.join(name.as_str());
            let ok = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            let normalized = !file.split('/').skip(1).any(|part| matches!(part, "" | "." | ".."));
            // At its end, one would join the next line and the other would be cut off.
            let ends = file.ends_with('\\') || file.trim() != file;
            if name.is_empty() || name.len() > 255 || !name.chars().all(ok) || name.starts_with('.') {
                self.key_error(&here, "not a name of a credential", "use letters, digits, '-', '_' and '.'");
            } else if !file.starts_with('/') {
                let remedy = "write an absolute path, and keep the secret out of the declaration";
                self.error(&here, "a credential is loaded from an absolute path", remedy);
            } else if !normalized || file.len() > 4000 {
                self.error(&here, "not a normalized path of a file", "take out //, . and .. and a last /");
            } else if ends || file.contains(':') || file.chars().any(char::is_control) {
                let remedy = "take out colons, control characters, and spaces and backslashes at the end";
                self.error(&here, "systemd cannot be told such a path", remedy);
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
                self.error(at, "a time span of nothing", "write a time above zero, for instance \"1s\"");
                default
            }
            Some(span) if span > MAX_SPAN => {
                self.error(at, format!("{text:?} is longer than a year"), example(at));
                default
            }
            Some(span) => span,
            None => {
                self.error(at, format!("{text:?} is not a time span"), example(at));
                default
            }
        }
    }

    fn health(&mut self, health: declaration::Health) -> Health {
        let declaration::Health { http, tcp, exec, status, interval, timeout } = health;
        let at = path!["health"];
        if [http.is_some(), tcp.is_some(), exec.is_some()].into_iter().filter(|given| *given).count() > 1 {
            self.key_error(&at, "more than one check", "keep one of http, tcp and exec");
        }
        if tcp == Some(false) {
            self.error(&at.join("tcp"), "a check cannot be switched off", "take it out, or use http or exec");
        }
        if status.is_some() && http.is_none() {
            self.key_error(&at.join("status"), "status belongs to an http check", "add http = \"/healthz\"");
        }
        let status = status.unwrap_or_default();
        for (index, code) in status.iter().enumerate() {
            if !(100..=599).contains(code) {
                let here = at.join("status").join(index);
                self.error(&here, format!("{code} is not an HTTP status"), "write numbers from 100 to 599");
            }
        }
        let check = match (http, exec) {
            (Some(path), _) => Check::Http { path: self.request_path(&at.join("http"), path), status },
            (_, Some(words)) => {
                if words.is_empty() {
                    self.error(&at.join("exec"), "the command is empty", example(&at.join("exec")));
                }
                let command = self.command(&at.join("exec"), words).unwrap_or(Command(Vec::new()));
                Check::Exec { command }
            }
            (None, None) => Check::Tcp,
        };
        Health {
            check,
            interval: self.span(&at.join("interval"), interval, Duration::from_millis(200)),
            timeout: self.span(&at.join("timeout"), timeout, Duration::from_secs(30)),
        }
    }

    /// A path as it stands in a request line, RFC 3986.
    fn request_path(&mut self, at: &Path, path: String) -> String {
        let ok = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@/%?".contains(c);
        if path.contains("://") {
            self.error(at, "a check has no scheme and host", "write the path alone, such as \"/healthz\"");
        } else if !path.starts_with('/') {
            self.error(at, format!("{path:?} does not start with /"), format!("write \"/{path}\""));
        } else if let Some(bad) = path.chars().find(|c| !ok(*c)) {
            let encoded: String = bad.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
            self.error(at, format!("{bad:?} cannot be in a URL's path"), format!("write {encoded} for it"));
        }
        path
    }

    fn routes(&mut self, given: Vec<declaration::Route>) -> Vec<Route> {
        let mut routes: Vec<Route> = Vec::new();
        for (index, declaration::Route { host, path, tls }) in given.into_iter().enumerate() {
            let at = path!["route", index];
            let path = match path {
                Some(path) => self.route_path(&at.join("path"), path),
                None => "/".to_owned(),
            };
            let hosts = if host.is_empty() { vec![None] } else { host.into_iter().map(Some).collect() };
            for (number, host) in hosts.into_iter().enumerate() {
                let here = at.join("host").join(number);
                let host = host.map(|host| self.host(&here, host));
                if host.is_none() && tls == declaration::Tls::Auto && self.document_has(&at.join("tls")) {
                    let remedy = "name the hosts: host = [\"www.example.com\"]";
                    self.error(&at.join("tls"), "certificates are for named hosts", remedy);
                }
                // Every host over plain HTTP: there is no name to have a certificate for.
                let tls = if host.is_none() { declaration::Tls::Off } else { tls };
                let route = Route { host, path: path.clone(), tls };
                let same_host = |other: &&Route| other.host == route.host;
                let taken = |other: &Route| other.path.eq_ignore_ascii_case(&route.path);
                if routes.iter().filter(same_host).any(|other| other.tls != route.tls) {
                    let remedy = "write the same tls for all routes of a host";
                    self.key_error(&at, "another route of this host has another tls", remedy);
                } else if routes.iter().filter(same_host).any(taken) {
                    self.key_error(&at, "this host and path are routed twice", "take one of the two routes out");
                } else {
                    routes.push(route);
                }
            }
        }
        routes
    }

    fn document_has(&self, at: &Path) -> bool {
        let mut above = at.clone();
        above.0.pop();
        !std::ptr::eq(self.document.find(at), self.document.find(&above))
    }

    /// A DNS name, lower case, perhaps with `*` as its first label.
    fn host(&mut self, at: &Path, host: String) -> String {
        let lower = host.to_ascii_lowercase();
        let labels = lower.strip_prefix("*.").unwrap_or(&lower);
        let ok = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let label_ok = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label.chars().all(ok)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if lower.contains("://") {
            let remedy = "write the host's name alone, and tls = \"off\" for plain HTTP";
            self.error(at, "a host has no scheme", remedy);
        } else if lower.contains(':') {
            self.error(at, "a host has no port here", "write the host's name alone");
        } else if let Some((name, path)) = lower.split_once('/') {
            self.error(at, "a host has no path", format!("write {name:?}, and path = \"/{path}\" beside it"));
        } else if lower == "*" {
            self.error(at, "every host has no name", "leave host out: the route is then for every host");
        } else if !lower.is_ascii() {
            let remedy = "write it in ASCII, as idn2(1) prints it: \"xn--…\"";
            self.error(at, format!("{host:?} is not a host's name in ASCII"), remedy);
        } else if lower.len() > 253 || !labels.split('.').all(label_ok) {
            let remedy = "write a DNS name such as \"www.example.com\", or \"*.example.com\"";
            self.error(at, format!("{host:?} is not a host's name"), remedy);
        }
        lower
    }

    fn route_path(&mut self, at: &Path, path: String) -> String {
        let ok = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
        if !path.starts_with('/') {
            self.error(at, format!("{path:?} does not start with /"), format!("write \"/{path}\""));
        } else if path.contains('*') {
            self.error(at, "a path is a prefix already", "take the * out: \"/api\" is /api and all below it");
        } else if let Some(bad) = path.chars().find(|c| !ok(*c)) {
            let remedy = "use letters, digits, '-', '.', '_', '~' and '/'";
            self.error(at, format!("{bad:?} cannot be in a route's path"), remedy);
        } else if path.contains("//") || path.split('/').any(|part| part == "." || part == "..") {
            self.error(at, "not a normalized path", "take out //, . and ..");
        }
        let trimmed = path.trim_end_matches('/');
        if trimmed.is_empty() { "/".to_owned() } else { trimmed.to_owned() }
    }

    fn deploy(&mut self, deploy: declaration::Deploy) -> Deploy {
        let declaration::Deploy { strategy, max_surge, drain_timeout, health_timeout } = deploy;
        let declaration::Strategy::Rolling = strategy;
        let at = path!["deploy"];
        Deploy {
            max_surge: self.number(&at.join("max_surge"), max_surge, 1, 1, MAX_SLOTS),
            drain_timeout: self.span(&at.join("drain_timeout"), drain_timeout, Duration::from_secs(30)),
            health_timeout: self.span(&at.join("health_timeout"), health_timeout, Duration::from_secs(60)),
        }
    }

    fn hooks(&mut self, hooks: declaration::Hooks) -> Hooks {
        let declaration::Hooks { pre_start, post_start, pre_stop, drain, post_stop } = hooks;
        let mut hook = |name: &str, words| self.command(&path!["hooks", name], words);
        Hooks {
            pre_start: hook("pre_start", pre_start),
            post_start: hook("post_start", post_start),
            pre_stop: hook("pre_stop", pre_stop),
            drain: hook("drain", drain),
            post_stop: hook("post_stop", post_stop),
        }
    }

    fn wanted_by(&mut self, units: Option<Vec<String>>) -> Vec<String> {
        let units = units.unwrap_or_else(|| vec!["multi-user.target".to_owned()]);
        let ok = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
        for (index, unit) in units.iter().enumerate() {
            let suffix = unit.rsplit_once('.').map(|(stem, suffix)| (!stem.is_empty(), suffix));
            if unit.len() > MAX_UNIT_NAME
                || !unit.chars().all(ok)
                || !matches!(suffix, Some((true, "target" | "service" | "socket" | "path" | "timer")))
            {
                let at = path!["install", "wanted_by", index];
                let remedy = "write a unit with its suffix, such as \"multi-user.target\"";
                self.error(&at, format!("{unit:?} is not a name of a unit"), remedy);
            }
        }
        units
    }

    fn resources(&mut self, given: BTreeMap<String, Scalar>) -> Vec<Directive> {
        let mut lines = Vec::new();
        for (key, Scalar(value)) in given {
            let at = path!["resources", key.as_str()];
            match directive::lookup_snake(Section::Slice, &key) {
                Some(known) => lines.extend(self.value(&at, known, value)),
                None => {
                    let known = Section::Slice.directives().iter();
                    let names: Vec<_> = known.map(|known| directive::snake(known.name)).collect();
                    let remedy = match directive::closest(&key, names.iter().map(String::as_str)) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => "see systemd.resource-control(5); MemoryMax= is memory_max here".to_owned(),
                    };
                    self.key_error(&at, "there is no such limit", remedy);
                }
            }
        }
        lines
    }

    fn directives(&mut self, section: Section, name: &str, given: BTreeMap<String, OneOrMany>) -> Vec<Directive> {
        let mut lines = Vec::new();
        for (key, values) in given {
            let at = path!["systemd", name, key.as_str()];
            if let Some((_, instead)) = OWNED.iter().find(|(owned, _)| *owned == key) {
                self.key_error(&at, format!("{key}= is written by conductor"), *instead);
                continue;
            }
            let Some(known) = directive::lookup(section, &key) else {
                let message = format!("systemd has no {}= in this section", key.escape_debug());
                self.key_error(&at, message, unknown_directive(section, &key));
                continue;
            };
            match values {
                OneOrMany::One(Scalar(value)) => lines.extend(self.value(&at, known, value)),
                OneOrMany::Many(values) => {
                    for (index, Scalar(value)) in values.into_iter().enumerate() {
                        lines.extend(self.value(&at.join(index), known, value));
                    }
                }
            }
        }
        lines
    }

    fn value(&mut self, at: &Path, known: &directive::Directive, value: String) -> Option<Directive> {
        let value = value.trim().to_owned();
        if let Some((message, remedy)) = unfit(&value) {
            self.error(at, message, remedy);
            return None;
        }
        if value.chars().any(char::is_control) {
            self.error(at, "a line break or control character is in the value", "write it on one line");
            return None;
        }
        if value.ends_with('\\') {
            self.error(at, "a backslash at the end would join the next line", "take the last backslash out");
            return None;
        }
        if let Some(host) = self.systemd.filter(|host| *host < known.since) {
            let message = format!("{}= needs systemd {}, this host runs {host}", known.name, known.since);
            self.key_error(at, message, "take it out, or render for a newer host with --target-systemd");
            return None;
        }
        if let Err(accepted) = directive::check(known.kind, &value) {
            self.error(at, format!("systemd would refuse {}={value}", known.name), format!("write {accepted}"));
            return None;
        }
        Some(Directive { name: known.name.to_owned(), value })
    }
}

fn unknown_directive(section: Section, key: &str) -> String {
    let near = directive::lookup_snake(section, key).map(|known| known.name);
    if let Some(near) = near.or_else(|| directive::nearest(section, key)) {
        return format!("did you mean `{near}`?");
    }
    match directive::section_of(key) {
        Some(other) => format!("{key}= belongs into [systemd.{}]", other.name().to_lowercase()),
        None => "see systemd.directives(7) for the names".to_owned(),
    }
}

/// Directives that would break what conductor builds on, and what to write instead.
const OWNED: &[(&str, &str)] = &[
    ("Description", "write description = \"…\" at the top of the file"),
    ("SourcePath", "take it out"),
    ("PartOf", "take it out"),
    ("IgnoreOnIsolate", "take it out"),
    ("StopWhenUnneeded", "take it out"),
    ("RefuseManualStart", "take it out"),
    ("RefuseManualStop", "take it out"),
    ("CollectMode", "take it out"),
    ("StartLimitIntervalSec", "take it out: deployments are restarted without limit, with a growing delay"),
    ("StartLimitInterval", "take it out: deployments are restarted without limit, with a growing delay"),
    ("StartLimitBurst", "take it out: deployments are restarted without limit, with a growing delay"),
    ("StartLimitAction", "take it out: deployments are restarted without limit, with a growing delay"),
    ("Type", "take it out: [health] says when a deployment is ready"),
    ("ExecStart", "write command = […] in [exec]"),
    ("ExecStartPre", "write pre_start = […] in [hooks]"),
    ("ExecStartPost", "write post_start = […] in [hooks]"),
    ("ExecCondition", "take it out"),
    ("ExecReload", "take it out: a reload of the service rolls its deployments"),
    ("ExecStop", "write pre_stop or drain = […] in [hooks]"),
    ("ExecStopPost", "write post_stop = […] in [hooks]"),
    ("RemainAfterExit", "take it out"),
    ("GuessMainPID", "take it out"),
    ("PIDFile", "run the program in the foreground"),
    ("BusName", "take it out"),
    ("Sockets", "take it out: each deployment has its own socket"),
    ("TimeoutStartSec", "write health_timeout = \"…\" in [deploy]"),
    ("TimeoutStopSec", "write drain_timeout = \"…\" in [deploy]"),
    ("TimeoutSec", "write health_timeout and drain_timeout in [deploy]"),
    ("User", "write user = \"…\" in [exec]"),
    ("DynamicUser", "take it out: it is on unless [exec] has a user"),
    ("Slice", "take it out: the service has a slice of its own, [resources] sets its limits"),
    ("WorkingDirectory", "take it out: processes start in the directory of their files"),
    ("RootDirectory", "take it out: the files are on the host"),
    ("RootImage", "take it out: the files are on the host"),
    ("Environment", "write environment = { … } in [exec]"),
    ("LoadCredential", "write credentials = { … } in [exec]"),
    ("LoadCredentialEncrypted", "write credentials_encrypted = { … } in [exec]"),
    ("ListenStream", "take it out: [[route]] says what reaches the service"),
    ("ListenDatagram", "take it out"),
    ("ListenSequentialPacket", "take it out"),
    ("ListenFIFO", "take it out"),
    ("ListenSpecial", "take it out"),
    ("ListenNetlink", "take it out"),
    ("ListenMessageQueue", "take it out"),
    ("ListenUSBFunction", "take it out"),
    ("Accept", "take it out: the process accepts"),
    ("Service", "take it out"),
    ("SocketUser", "take it out: the proxy's group has access"),
    ("SocketGroup", "take it out: the proxy's group has access"),
    ("SocketMode", "take it out: the proxy's group has access"),
    ("DirectoryMode", "take it out"),
    ("RemoveOnStop", "take it out"),
    ("Symlinks", "take it out: slots are the symlinks"),
    ("ExecStopPre", "write pre_stop = […] in [hooks]"),
];
