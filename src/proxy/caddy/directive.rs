//! Caddy's directives for the requests that one route matches.

use std::time::Duration;

use askama::Template;
use camino::Utf8PathBuf;

use crate::declaration::Affinity;
use crate::model::route::{AppProtocol, Handling, HeaderChanges, Matching};
use crate::model::text::{Piece, Variable, pieces};
use crate::proxy::forwarded;
use crate::proxy::routing::{Backend, Files, Match};

/// A `handle` block with its matcher.
#[derive(Template)]
#[template(path = "proxy/caddy/handle.caddy", escape = "none")]
pub(super) struct Handle<'a> {
    number: usize,
    /// The matcher's lines: one condition each; none if everything matches.
    conditions: Vec<String>,
    /// Directives before the answer, in order.
    steps: Vec<String>,
    files: Option<&'a Files>,
    /// The prefix of the matched paths; None at the root.
    prefix: Option<&'a str>,
    strips: bool,
    backend: &'a Backend,
    /// Lines in `reverse_proxy`.
    passing: Vec<String>,
    /// The transport's name and options.
    transport: (&'static str, Vec<String>),
    error_pages: Vec<(u16, &'a Utf8PathBuf)>,
}

impl<'a> Handle<'a> {
    pub(super) fn new(number: usize, it: &'a Match, is_logged: bool, trusted: &[String]) -> Self {
        Self {
            number,
            conditions: conditions(&it.matching),
            steps: steps(number, it, is_logged),
            files: it.files.as_ref(),
            prefix: (it.matching.path != "/").then_some(it.matching.path.as_str()),
            strips: it.handling.strip_prefix,
            backend: &it.backend,
            passing: passing(it, trusted),
            transport: transport(&it.backend, &it.handling),
            error_pages: it.handling.error_pages.iter().map(|(status, file)| (*status, file)).collect(),
        }
    }

    /// Returns the directory of FastCGI's programs.
    fn root(&self) -> Option<&Utf8PathBuf> {
        match self.backend {
            Backend::Service(_, AppProtocol::FastCgi { root }) => Some(root),
            _ => None,
        }
    }
}

/// The pages of one route for what Caddy itself answers when the service does not.
pub(super) struct OwnErrors<'a> {
    pub(super) number: usize,
    /// Each with its status, and the condition of Caddy's error.
    pub(super) pages: Vec<(u16, &'static str, &'a Utf8PathBuf)>,
}

impl<'a> OwnErrors<'a> {
    /// Returns the pages of a route; None if it has none of these.
    pub(super) fn of(number: usize, it: &'a Match) -> Option<Self> {
        let page = |(status, condition): &(u16, &'static str)| {
            Some((*status, *condition, it.handling.error_pages.get(status)?))
        };
        let pages: Vec<_> = OWN.iter().filter_map(page).collect();
        (!pages.is_empty()).then_some(Self { number, pages })
    }
}

/// The errors of Caddy's own, in the order in which they are told apart: a service without slots is no bad gateway.
const OWN: [(u16, &str); 3] = [
    (
        503,
        "{http.error.status_code} == 502 && ({http.error.message}.startsWith(\"dial \") || {http.error.message}.contains(\"invalid Read on closed Body\"))",
    ),
    (
        502,
        "{http.error.status_code} == 502 && !({http.error.message}.startsWith(\"dial \") || {http.error.message}.contains(\"invalid Read on closed Body\"))",
    ),
    (504, "{http.error.status_code} == 504"),
];

/// Returns the conditions of a matcher: paths are compared without regard to case.
fn conditions(matching: &Matching) -> Vec<String> {
    let Matching { path, exact, suffixes, methods, headers } = matching;
    let mut lines = Vec::new();
    match (path.as_str(), exact) {
        ("/", false) => {}
        (path, true) => lines.push(format!("path {path}")),
        (path, false) => lines.push(format!("path {path} {path}/*")),
    }
    if !suffixes.is_empty() {
        let suffixes: Vec<_> = suffixes.iter().map(|suffix| suffix.replace('.', r"\.")).collect();
        lines.push(format!("path_regexp (?i)({})$", suffixes.join("|")));
    }
    if !methods.is_empty() {
        lines.push(format!("method {}", methods.iter().map(String::as_str).collect::<Vec<_>>().join(" ")));
    }
    lines.extend(headers.iter().map(|(name, value)| format!("header {name} {}", literal(value))));
    lines
}

fn steps(number: usize, it: &Match, is_logged: bool) -> Vec<String> {
    let Handling { response_headers, max_body, compress, forward_auth, access_log, snippets, clients, .. } =
        &it.handling;
    let mut steps = Vec::new();
    if !clients.is_empty() {
        steps.push(format!("@strangers{number} not remote_ip {}", clients.join(" ")));
        steps.push(format!("respond @strangers{number} 403"));
    }
    if OwnErrors::of(number, it).is_some() {
        steps.push(format!("vars conductor_pages {number}"));
    }
    match &it.service {
        // Of what a route can set, Caddy 2.6 logs the fields of the answer alone.
        Some(service) if *access_log => steps.push(format!("header {} {service}", forwarded::SERVICE)),
        _ if is_logged => steps.push("skip_log".to_owned()),
        _ => {}
    }
    steps.extend(snippets.get("caddy").into_iter().flat_map(|text| text.lines()).map(str::to_owned));
    if let Some(users) = &it.users {
        steps.extend(["basicauth {".to_owned(), format!("\timport {users}"), "}".to_owned()]);
        steps.push(format!("request_header {} {{http.auth.user.id}}", forwarded::REMOTE_USER));
    }
    if let Some(auth) = forward_auth {
        // What it does not answer must not come from callers.
        steps.extend(auth.copied.iter().map(|name| format!("request_header -{name}")));
        steps.push(format!("forward_auth {} {{", auth.server));
        steps.push(format!("\turi {}", auth.path));
        steps.extend(auth.copied.iter().map(|name| format!("\tcopy_headers {name}")));
        steps.push("}".to_owned());
    }
    if let Some(size) = max_body {
        steps.extend(["request_body {".to_owned(), format!("\tmax_size {size}"), "}".to_owned()]);
    }
    if !response_headers.is_empty() {
        // What the application answers is changed, too.
        steps.extend(["header {".to_owned(), "\tdefer".to_owned()]);
        steps.extend(changes(response_headers).map(|line| format!("\t{line}")));
        steps.push("}".to_owned());
    }
    if *compress {
        steps.push("encode zstd gzip".to_owned());
    }
    steps
}

/// Returns the lines of `header`, or of `reverse_proxy` behind `header_up`, that change fields.
fn changes(changes: &HeaderChanges) -> impl Iterator<Item = String> {
    let removed = changes.remove.iter().map(|name| format!("-{name}"));
    let set = changes.set.iter().map(|(name, value)| format!("{name} {}", quoted(value)));
    let added = changes.add.iter().map(|(name, value)| format!("+{name} {}", quoted(value)));
    removed.chain(set).chain(added)
}

/// Returns the lines of `reverse_proxy` that say how requests are passed.
fn passing(it: &Match, trusted: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    if !trusted.is_empty() {
        lines.push(format!("trusted_proxies {}", trusted.join(" ")));
    }
    match &it.backend {
        Backend::Service(reached, _) => {
            lines.push(format!("import conductor-{reached}"));
            lines.push(match it.handling.affinity {
                None => "lb_policy round_robin".to_owned(),
                Some(Affinity::Cookie) => format!("lb_policy cookie conductor-{reached}"),
                Some(Affinity::Source) => "lb_policy ip_hash".to_owned(),
            });
        }
        Backend::Function(socket, mount) => {
            lines.push(format!("to unix/{socket}"));
            lines.push(format!("header_up {} {mount}", forwarded::MOUNT));
            lines.push("import conductor-request".to_owned());
        }
        Backend::Redirect { .. } | Backend::Respond { .. } | Backend::Nothing => {}
    }
    lines.extend(changes(&it.handling.request_headers).map(|line| format!("header_up {line}")));
    lines
}

fn transport(backend: &Backend, handling: &Handling) -> (&'static str, Vec<String>) {
    let protocol = match backend {
        Backend::Service(_, protocol) => protocol,
        _ => &AppProtocol::Http,
    };
    let mut options = Vec::new();
    let name = match protocol {
        AppProtocol::Http => "http",
        AppProtocol::H2c => {
            options.push("versions h2c".to_owned());
            "http"
        }
        AppProtocol::FastCgi { root } => {
            options.extend([format!("root {root}"), "split .php".to_owned()]);
            "fastcgi"
        }
    };
    if name == "http" {
        // What is connected to a deployment's socket is its requests in flight.
        options.push(if handling.keepalive { "keepalive 5s" } else { "keepalive off" }.to_owned());
    }
    if matches!(backend, Backend::Function(..)) {
        // Programs see which encodings the client accepts.
        options.push("compression off".to_owned());
    }
    // Caddy 2.6 does not count the wait for the answer's head as reading.
    let head = handling.timeouts.read.filter(|_| name == "http");
    let limits = [
        ("response_header_timeout", head),
        ("read_timeout", handling.timeouts.read),
        ("write_timeout", handling.timeouts.write),
    ];
    options.extend(limits.iter().filter_map(|(key, limit)| Some(format!("{key} {}", span(*limit.as_ref()?)))));
    (name, options)
}

fn span(span: Duration) -> String {
    format!("{}ms", span.as_millis())
}

/// Writes a text with its variables as one word.
pub(super) fn quoted(text: &str) -> String {
    let mut written = String::new();
    for piece in pieces(text) {
        match piece {
            // A brace would begin a placeholder.
            Piece::Literal(literal) => written.push_str(&literal.replace('{', r"\{")),
            Piece::Variable(variable) => written.push_str(placeholder(variable)),
        }
    }
    word(&written)
}

/// Writes a text without variables as one word.
fn literal(text: &str) -> String {
    word(&text.replace('{', r"\{"))
}

/// Writes one word of a Caddyfile: between backticks nothing is special, and between quotes only `\"`.
fn word(text: &str) -> String {
    if text.contains('`') { format!("\"{}\"", text.replace('"', "\\\"")) } else { format!("`{text}`") }
}

fn placeholder(variable: Variable) -> &'static str {
    match variable {
        Variable::Client => "{http.request.remote.host}",
        Variable::Host => "{http.request.host}",
        Variable::Method => "{http.request.method}",
        Variable::Path => "{http.request.orig_uri.path}",
        Variable::Query => "{http.request.orig_uri.query}",
        Variable::Scheme => "{http.request.scheme}",
        Variable::Uri => "{http.request.orig_uri}",
    }
}

/// Returns a pattern of paths whose text is not served: files that are hidden below the route's path, and those that a
/// function runs.
fn unserved(files: &Files, prefix: Option<&str>) -> String {
    let programs: String = files.programs.iter().map(|suffix| format!(r"|\.{suffix}(/|$)")).collect();
    let prefix = prefix.unwrap_or_default().replace('.', r"\.");
    format!(r"(?i)^{prefix}.*(/\.{programs})")
}
