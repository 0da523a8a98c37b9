//! A function's units: its socket and its gateway, which is started by a connection to it; and the units of an isolated
//! function's requests, which the gateway has systemd start by connecting to a socket of theirs.

use std::time::Duration;

use askama::Template;
use camino::Utf8Path;

use crate::escape::{Assignment, CommandLine, Text, Word};
use crate::layout::{Layout, Scope};
use crate::model::function::{Compiled, Function, Interface, MARGIN, Mode, STAND_BY};
use crate::model::writable::Writable;
use crate::model::{Command, Engine, Sandbox, User, program_path};
use crate::names::{FUNCTIONS_SLICE, PROXY_GROUP};
use crate::target::systemd::engine;
use crate::target::systemd::unit::{
    Line, credential_lines, finish, limits, lines as lines_of, own_files_lines, polls_without_limit, user_lines,
};
use crate::timespan;
use crate::tree::Tree;

/// Of an isolated function's units: the gateway says how many there are. Those count that are not quite gone.
const MAX_CONNECTIONS: u32 = 65_536;

/// Starts of a gateway that are tried within `START_LIMIT`, or within as many idle times: a gateway that rests and is called
/// again needs no more.
const STARTS: u32 = 10;
const START_LIMIT: Duration = Duration::from_secs(10);

/// The fields that all units of a function share.
struct Common<'a> {
    source: Text<'a>,
    description: Text<'a>,
    id: &'a str,
    dir: Text<'a>,
    socket: Text<'a>,
    slice: String,
    log_name: Assignment<'a>,
    /// The prefix of its log lines.
    identifier: String,
    system: bool,
    group: &'static str,
}

#[derive(Template)]
#[template(path = "systemd/cgi.socket", escape = "none")]
struct Socket<'a> {
    common: Common<'a>,
    /// Of the units of requests: only the gateway knows it.
    accepts: Option<u32>,
    polls_without_limit: bool,
    /// The unit that answers the callers of a function that cannot start.
    refuser: String,
}

#[derive(Template)]
#[template(path = "systemd/cgi.service", escape = "none")]
struct Service<'a> {
    common: Common<'a>,
    /// The unit that it requires.
    requires: Option<String>,
    /// Whether there is one for each request.
    is_instance: bool,
    /// The time in which `STARTS` are tried.
    start_limit: String,
    kind: &'static str,
    exec: String,
    lines: Vec<Line<'a>>,
    environment: Vec<Assignment<'a>>,
    user: Vec<Line<'a>>,
    /// What the manifest passes on; it overrides the lines above.
    directives: Vec<Line<'a>>,
    strict: bool,
    network: bool,
    has_own_network: bool,
    families: &'static str,
}

#[derive(Template)]
#[template(path = "systemd/cgi.slice", escape = "none")]
struct Slice<'a> {
    common: Common<'a>,
    lines: Vec<Line<'a>>,
}

/// Renders all units of a function. `systemd` is the host's version; unknown means the oldest supported.
pub(super) fn render(layout: &Layout, compiled: &Compiled, systemd: Option<u16>) -> Tree {
    let mut tree = Tree::default();
    let name = compiled.id.unit();
    let function = &compiled.function;
    let source = compiled.dir.join(crate::source::functions::MANIFEST);
    let socket = layout.function_socket(&compiled.id, function.address);
    let requests = layout.function_requests(&compiled.id);
    let of = || Common {
        source: Text(source.as_str()),
        description: Text(&function.name),
        id: compiled.id.as_str(),
        dir: Text(compiled.dir.as_str()),
        socket: Text(socket.as_str()),
        slice: if function.resources.is_empty() { FUNCTIONS_SLICE.to_owned() } else { format!("{name}.slice") },
        log_name: Assignment { name: "CONDUCTOR_FUNCTION_NAME", value: &function.name },
        identifier: format!("cgi-{}", compiled.id.short()),
        system: layout.scope == Scope::System,
        group: PROXY_GROUP,
    };
    let polls_without_limit = polls_without_limit(systemd);
    let mut sockets = |name: &str, common, accepts| {
        let refuser = compiled.id.refuser();
        tree.file(format!("{name}.socket"), finish(&Socket { common, accepts, polls_without_limit, refuser }));
    };
    sockets(&name, of(), None);
    if function.mode == Mode::Isolated {
        let of = || Common { socket: Text(requests.as_str()), ..of() };
        let name = compiled.id.request_unit();
        sockets(&name, of(), Some(MAX_CONNECTIONS));
        tree.file(format!("{name}@.service"), service(layout, compiled, of(), Role::Request));
    }
    tree.file(format!("{name}.service"), service(layout, compiled, of(), Role::Gateway));
    if !function.resources.is_empty() {
        let unit = finish(&Slice { common: of(), lines: limits(&function.resources).collect() });
        tree.file(format!("{name}.slice"), unit);
    }
    tree.symlink(format!("sockets.target.wants/{name}.socket"), format!("../{name}.socket"));
    tree
}

/// The role of a unit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Takes all requests; of a pooled function it runs the programs, too.
    Gateway,
    /// Answers one of an isolated function.
    Request,
}

impl Role {
    /// Returns the last argument of a unit's commands: the instance, where each request has one.
    fn instance(self) -> &'static str {
        if self == Self::Request { " %i" } else { "" }
    }
}

fn service(layout: &Layout, compiled: &Compiled, common: Common, role: Role) -> String {
    let Compiled { id, function, dir: _ } = compiled;
    let process = &function.process;
    let user = match &process.user {
        User::Dynamic(_) => User::Dynamic(function.user(id)),
        User::Static(name) => User::Static(name.clone()),
    };
    let asks_units = role == Role::Gateway && function.mode == Mode::Isolated;
    // podman is root; the sandbox is its container.
    let is_contained = process.engine.is_privileged() && !asks_units;
    let mut user = if is_contained { Vec::new() } else { user_lines(layout.scope, &user) };
    if !is_contained {
        let base = &layout.function_dirs()[0];
        let own = compiled.dir.starts_with(base).then_some(compiled.dir.as_path());
        user.extend(own_files_lines(layout.scope, process, base, own));
    }
    // What only asks others needs neither secrets nor variables, and writes nothing.
    if !asks_units {
        user.extend(credential_lines(process));
        user.extend(writable_lines(&function.writable));
    } else if layout.scope == Scope::System {
        user.push(Line::new("SupplementaryGroups", PROXY_GROUP));
    }
    let variables = if asks_units { None } else { Some(&process.environment) };
    let network = function.network && !asks_units;
    let mut lines = role_lines(function, role, is_contained);
    if is_contained {
        lines.extend(engine::unit_lines(&process.engine, Utf8Path::new("")));
        lines.push(Line::new("ExecStopPost", format!("{} cgi _remove {id}{}", layout.program(), role.instance())));
    }
    finish(&Service {
        common,
        is_instance: role == Role::Request,
        start_limit: timespan::format(START_LIMIT.min(function.idle_timeout.saturating_mul(STARTS))),
        requires: asks_units.then(|| format!("{}.socket", id.request_unit())),
        // A connection's unit is started for it alone: nobody waits for it to be up.
        kind: match role {
            _ if is_contained => "notify",
            Role::Request => "simple",
            Role::Gateway => "exec",
        },
        exec: exec(layout, compiled, role, is_contained),
        lines,
        environment: variables.into_iter().flatten().map(|(name, value)| Assignment { name, value }).collect(),
        user,
        directives: if asks_units { Vec::new() } else { lines_of(&function.directives) },
        strict: layout.scope == Scope::System && !is_contained && (process.sandbox == Sandbox::Strict || asks_units),
        network,
        // An isolated process has its connection and makes no other; a network namespace for each would cost more than
        // it keeps out then.
        has_own_network: role == Role::Gateway,
        families: match (network, role) {
            (true, _) => "AF_UNIX AF_INET AF_INET6",
            (false, Role::Gateway) => "AF_UNIX",
            (false, Role::Request) => "none",
        },
    })
}

/// Writes what the processes may write in their sandbox.
fn writable_lines(writable: &Writable) -> Vec<Line<'_>> {
    let mut lines: Vec<_> = writable.directories().map(|(directive, name)| Line::new(directive, Text(name))).collect();
    lines.extend(writable.paths.iter().map(|path| Line::new("ReadWritePaths", Word(path.as_str()))));
    lines.extend(writable.groups.iter().map(|group| Line::new("SupplementaryGroups", Text(group))));
    lines
}

fn exec(layout: &Layout, compiled: &Compiled, role: Role, is_contained: bool) -> String {
    let Compiled { id, function, dir } = compiled;
    let program = layout.program();
    match (role, function.interface, &function.process.engine) {
        // Not StandardInput=socket: what cleans up would need it, too, when the socket may be gone.
        _ if is_contained => format!("/bin/sh -c 'exec {program} cgi _container {id}{} <&3 3<&-'", role.instance()),
        (Role::Gateway, ..) => format!("{program} cgi serve {id}"),
        (Role::Request, Interface::Http, Engine::Exec { command: Command(words) }) => {
            let program = program_path(dir, words.first().map_or("", String::as_str));
            CommandLine { program: program.as_str(), arguments: words.get(1..).unwrap_or_default() }.to_string()
        }
        (Role::Request, ..) => format!("{program} cgi _request {id}"),
    }
}

fn role_lines(function: &Function, role: Role, is_contained: bool) -> Vec<Line<'_>> {
    let span = |span: Duration| timespan::format(span);
    let mut lines = Vec::new();
    match role {
        Role::Gateway => {
            if !is_contained {
                lines.push(Line::new("StandardInput", "socket"));
            }
            lines.push(Line::new("StandardOutput", "journal"));
            lines.push(Line::new("StandardError", "journal"));
            // It lets requests in flight finish, and what they have started goes with it.
            if !is_contained {
                lines.push(Line::new("KillMode", "mixed"));
            }
            lines.push(Line::new("TimeoutStopSec", span(function.timeout + MARGIN)));
            lines.push(Line::new("LimitNOFILE", "65536"));
            // A program of the function can stop the gateway with a signal. Callers wait, and the next gateway serves them.
            if !is_contained {
                lines.push(Line::new("WatchdogSec", "1min"));
                lines.push(Line::new("WatchdogSignal", "SIGKILL"));
            }
            // What many connections needed at once goes back to the kernel, mallopt(3).
            lines.push(Line::new("Environment", "MALLOC_ARENA_MAX=1 MALLOC_TRIM_THRESHOLD_=1048576"));
        }
        Role::Request => {
            if !is_contained {
                lines.push(Line::new("StandardInput", "socket"));
            }
            lines.push(Line::new("StandardOutput", if is_contained { "journal" } else { "socket" }));
            lines.push(Line::new("StandardError", "journal"));
            // For whom the gateway cannot end.
            let margin = if function.interface == Interface::Cgi { MARGIN } else { Duration::ZERO };
            let wait = if function.preload > 0 { STAND_BY + MARGIN } else { Duration::ZERO };
            let limit = wait + function.timeout + margin;
            lines.push(Line::new("RuntimeMaxSec", span(limit)));
            lines.push(Line::new("TimeoutStopSec", span(MARGIN)));
        }
    }
    lines
}
