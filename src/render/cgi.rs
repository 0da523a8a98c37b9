//! A function's units: its socket, and what is started by a connection to it.

use std::time::Duration;

use askama::Template;
use camino::Utf8PathBuf;

use super::bridge::polls_without_limit;
use super::units::{Line, finish, lines, program_path, user_lines};
use crate::cgi::function::{Compiled, Function, Interface, Mode};
use crate::escape::{Assignment, CommandLine, Text};
use crate::layout::{Layout, PROXY_GROUP, Scope};
use crate::model::{Command, Engine, Sandbox, User};
use crate::timespan;
use crate::tree::Tree;

/// The slice of all functions.
pub const SLICE: &str = "conductor-cgi.slice";
/// What the processes of a request need beside its own time.
const MARGIN: Duration = Duration::from_secs(5);

/// `conductor-cgi-ID`, what a function's units are called without their suffixes.
pub fn unit_name(id: &impl std::fmt::Display) -> String {
    format!("conductor-cgi-{id}")
}

/// What all units of a function say.
struct Of<'a> {
    source: Text<'a>,
    description: Text<'a>,
    id: &'a str,
    dir: Text<'a>,
    socket: Text<'a>,
    slice: String,
    log_name: Assignment<'a>,
    /// In front of what it logs.
    identifier: String,
    system: bool,
    group: &'static str,
}

#[derive(Template)]
#[template(path = "cgi.socket", escape = "none")]
struct Socket<'a> {
    of: Of<'a>,
    isolated: bool,
    max_connections: u32,
    polls_without_limit: bool,
}

#[derive(Template)]
#[template(path = "cgi.service", escape = "none")]
struct Service<'a> {
    of: Of<'a>,
    kind: &'static str,
    exec: String,
    lines: Vec<Line<'a>>,
    environment: Vec<Assignment<'a>>,
    user: Vec<Line<'a>>,
    strict: bool,
    network: bool,
    has_own_network: bool,
    families: &'static str,
}

#[derive(Template)]
#[template(path = "cgi.slice", escape = "none")]
struct Slice<'a> {
    of: Of<'a>,
    lines: Vec<Line<'a>>,
}

/// Renders all units of a function. `systemd` is the host's version; unknown means the oldest supported.
pub fn render(layout: &Layout, compiled: &Compiled, systemd: Option<u16>) -> Tree {
    let mut tree = Tree::default();
    let name = unit_name(&compiled.id);
    let function = &compiled.function;
    let source = compiled.dir.join(crate::cgi::source::MANIFEST);
    let socket = layout.function_sockets().join(compiled.id.as_str());
    let of = || Of {
        source: Text(source.as_str()),
        description: Text(&function.name),
        id: compiled.id.as_str(),
        dir: Text(compiled.dir.as_str()),
        socket: Text(socket.as_str()),
        slice: if function.resources.is_empty() { SLICE.to_owned() } else { format!("{name}.slice") },
        log_name: Assignment { name: "CONDUCTOR_FUNCTION_NAME", value: &function.name },
        identifier: format!("cgi-{}", compiled.id.short()),
        system: layout.scope == Scope::System,
        group: PROXY_GROUP,
    };
    let isolated = function.mode == Mode::Isolated;
    let unit = finish(&Socket {
        of: of(),
        isolated,
        max_connections: function.max_concurrency,
        polls_without_limit: polls_without_limit(systemd),
    });
    tree.file(format!("{name}.socket"), unit);
    let template = if isolated { "@" } else { "" };
    tree.file(format!("{name}{template}.service"), service(layout, compiled, of()));
    if !function.resources.is_empty() {
        let unit = finish(&Slice { of: of(), lines: lines(&function.resources) });
        tree.file(format!("{name}.slice"), unit);
    }
    tree.symlink(format!("sockets.target.wants/{name}.socket"), format!("../{name}.socket"));
    tree
}

fn service(layout: &Layout, compiled: &Compiled, of: Of) -> String {
    let Compiled { id, function, dir } = compiled;
    let process = &function.process;
    let user = match &process.user {
        User::Dynamic(_) => User::Dynamic(id.user()),
        User::Static(name) => User::Static(name.clone()),
    };
    let mut user = user_lines(layout.scope, &user);
    let credential = |(name, path): (&String, &Utf8PathBuf)| format!("{name}:{}", Text(path.as_str()));
    user.extend(process.credentials.iter().map(|it| Line::new("LoadCredential", credential(it))));
    user.extend(process.credentials_encrypted.iter().map(|it| Line::new("LoadCredentialEncrypted", credential(it))));
    let program = layout.program();
    let exec = match (function.mode, function.interface, &process.engine) {
        (Mode::Pooled, ..) => format!("{program} cgi serve {id}"),
        (Mode::Isolated, Interface::Http, Engine::Exec { command: Command(words) }) => {
            let arguments: Vec<_> = words.iter().skip(1).map(|word| word.replace('$', "$$")).collect();
            let program = program_path(dir, words.first().map_or("", String::as_str));
            CommandLine { program: program.as_str(), arguments: &arguments }.to_string()
        }
        (Mode::Isolated, ..) => format!("{program} cgi _request {id}"),
    };
    finish(&Service {
        of,
        // A connection's unit is started for it alone: nobody waits for it to be up.
        kind: if function.mode == Mode::Isolated { "simple" } else { "exec" },
        exec,
        lines: mode_lines(function),
        environment: process.environment.iter().map(|(name, value)| Assignment { name, value }).collect(),
        user,
        strict: layout.scope == Scope::System && process.sandbox == Sandbox::Strict,
        network: function.network,
        // An isolated process has its connection and makes no other; a network namespace for each would cost more than
        // it keeps out then.
        has_own_network: function.mode == Mode::Pooled,
        families: match (function.network, function.mode) {
            (true, _) => "AF_UNIX AF_INET AF_INET6",
            (false, Mode::Pooled) => "AF_UNIX",
            (false, Mode::Isolated) => "none",
        },
    })
}

fn mode_lines(function: &Function) -> Vec<Line<'_>> {
    let span = |span: Duration| timespan::format(span);
    let mut lines = Vec::new();
    match function.mode {
        Mode::Pooled => {
            lines.push(Line::new("StandardInput", "socket"));
            lines.push(Line::new("StandardOutput", "journal"));
            lines.push(Line::new("StandardError", "journal"));
            // It lets requests in flight finish, and what they have started goes with it.
            lines.push(Line::new("KillMode", "mixed"));
            lines.push(Line::new("TimeoutStopSec", span(function.timeout + MARGIN)));
            lines.push(Line::new("LimitNOFILE", "65536"));
            // What many connections needed at once goes back to the kernel, mallopt(3).
            lines.push(Line::new("Environment", "MALLOC_ARENA_MAX=1 MALLOC_TRIM_THRESHOLD_=1048576"));
        }
        Mode::Isolated => {
            lines.push(Line::new("StandardInput", "socket"));
            lines.push(Line::new("StandardOutput", "socket"));
            lines.push(Line::new("StandardError", "journal"));
            // RFC 3875 has no word for it: the program is ended, and the proxy says 502.
            let limit = if function.interface == Interface::Cgi { function.timeout + MARGIN } else { function.timeout };
            lines.push(Line::new("RuntimeMaxSec", span(limit)));
            lines.push(Line::new("TimeoutStopSec", span(MARGIN)));
        }
    }
    lines
}
