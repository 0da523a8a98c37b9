//! HAProxy's backends: one for each listener of a service, and one for each route that is more than that.

use std::collections::BTreeSet;
use std::time::Duration;

use camino::Utf8PathBuf;

use crate::declaration::Affinity;
use crate::model::route::{AppProtocol, Handling, HeaderChanges, Matching, Timeouts};
use crate::model::text::{Piece, Variable, pieces};
use crate::names::USER_FIELD;
use crate::proxy::forwarded;
use crate::proxy::passwords::userlist;
use crate::proxy::routing::{self, Functions, Match, Reached, RoutingTable};

/// The host that stands for all others in maps.
pub(super) const EVERY_HOST: &str = "*";

/// A backend.
#[derive(Debug, Default)]
pub(super) struct Backend {
    pub(super) name: String,
    pub(super) lines: Vec<String>,
    pub(super) is_logged: bool,
    /// A section that the backend names, by its lines.
    pub(super) section: Vec<String>,
    /// What leads to it.
    pub(super) routes: Vec<Way>,
}

/// A host and path that lead to a backend.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) host: Option<String>,
    pub(super) path: String,
    pub(super) is_exact: bool,
    pub(super) backend: String,
    /// The conditions for it, where a host has routes by more than their paths: the first that holds counts.
    pub(super) rule: Option<Rule>,
}

/// Conditions, and the place among all rules.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) place: usize,
    pub(super) conditions: String,
}

/// Lists the backends of all routes: those of listeners first.
pub(super) fn backends(table: &RoutingTable) -> Vec<Backend> {
    let mut plain: Vec<_> =
        table.upstreams.iter().map(|upstreams| listener(&upstreams.reached, &upstreams.slots)).collect();
    let mut others = Vec::new();
    let mut place = 0;
    for site in &table.sites {
        others.extend(site.functions.iter().flat_map(by_id));
        let is_by_path = site.matches.iter().all(|it| it.matching.is_by_path());
        for it in &site.matches {
            let name = match &it.backend {
                routing::Backend::Service(reached, AppProtocol::Http) if it.handling == Handling::default() => {
                    name(reached)
                }
                _ => format!("conductor:{}", others.len() + 1),
            };
            let way = Way {
                host: site.host.clone(),
                path: it.matching.path.clone(),
                is_exact: it.matching.exact,
                backend: name.clone(),
                rule: (!is_by_path).then(|| Rule { place, conditions: conditions(site.host.as_deref(), &it.matching) }),
            };
            place += 1;
            match plain.iter_mut().find(|backend| backend.name == name) {
                Some(backend) => backend.routes.push(way),
                None => others.push(Backend { routes: vec![way], ..particular(table, name, it) }),
            }
        }
    }
    plain.retain(|backend| !backend.routes.is_empty());
    plain.into_iter().chain(others).collect()
}

/// Returns the conditions for a route of a host.
fn conditions(host: Option<&str>, matching: &Matching) -> String {
    let Matching { path, exact, suffixes, methods, headers } = matching;
    let mut conditions = vec![format!("{{ var(txn.conductor_site) -m str {} }}", host.unwrap_or(EVERY_HOST))];
    match (path.as_str(), exact) {
        ("/", false) => {}
        (path, true) => conditions.push(format!("{{ var(txn.conductor_path) -m str {path} }}")),
        (path, false) => conditions.push(format!("{{ var(txn.conductor_path),concat(/) -m beg {path}/ }}")),
    }
    if !suffixes.is_empty() {
        let suffixes: Vec<_> = suffixes.iter().map(String::as_str).collect();
        conditions.push(format!("{{ var(txn.conductor_path) -m end {} }}", suffixes.join(" ")));
    }
    if !methods.is_empty() {
        let methods: Vec<_> = methods.iter().map(String::as_str).collect();
        conditions.push(format!("{{ method {} }}", methods.join(" ")));
    }
    conditions.extend(headers.iter().map(|(name, value)| format!("{{ req.fhdr({name}) -m str {} }}", word(value))));
    conditions.join(" ")
}

/// Writes a text as one word in which nothing is special.
fn word(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Returns the name of a listener's backend: a name has no `@`.
fn name(reached: &Reached) -> String {
    format!("conductor-{}", reached.to_string().replace('@', ":"))
}

fn listener(reached: &Reached, slots: &[Utf8PathBuf]) -> Backend {
    Backend { name: name(reached), lines: servers(slots, ""), ..Backend::default() }
}

/// Returns the lines of a backend's servers. One that refuses a connection is none for this request: a next one is tried,
/// with round robin each of them within two turns.
fn servers(slots: &[Utf8PathBuf], options: &str) -> Vec<String> {
    let retries = if slots.len() == 1 { 0 } else { 2 * slots.len() };
    let server = |(index, slot): (usize, &Utf8PathBuf)| {
        let number = index + 1;
        format!("server s{number} unix@{slot}{}", options.replace('#', &format!("s{number}")))
    };
    [format!("retries {retries}")].into_iter().chain(slots.iter().enumerate().map(server)).collect()
}

/// Returns the backends of functions by their IDs: a server's address is none of the request.
fn by_id(functions: &Functions) -> impl Iterator<Item = Backend> {
    let Functions { sockets, declared, .. } = functions;
    declared.iter().map(move |id| {
        let (name, path) = (format!("conductor-cgi-{id}"), format!("/cgi/{id}"));
        let lines = function(&sockets.join(id.as_str()), &path);
        let way = Way { host: None, path, is_exact: false, backend: name.clone(), rule: None };
        Backend { name, lines, routes: vec![way], ..Backend::default() }
    })
}

/// Returns the lines that lead to the gateway of a function.
fn function(socket: &Utf8PathBuf, mount: &str) -> Vec<String> {
    let mut lines = vec![
        // Only a site of the administrator's own, with a login, may name the user of a request.
        format!("http-request deny deny_status 403 if {{ req.hdr({USER_FIELD}) -m found }}"),
        "http-request del-header conductor- -m beg".to_owned(),
        format!("http-request set-header {} {mount}", forwarded::MOUNT),
        format!("http-request set-header {} %[src_port]", forwarded::REMOTE_PORT),
        format!("http-request set-header {} %[dst]", forwarded::SERVER_ADDR),
    ];
    lines.extend(servers(std::slice::from_ref(socket), ""));
    lines
}

/// Returns the backend of a route that is more than a listener's.
fn particular(table: &RoutingTable, name: String, it: &Match) -> Backend {
    let Handling { access_log, snippets, compress, response_headers, clients, .. } = &it.handling;
    let mut lines = variables(it);
    if let Some(service) = it.service.as_ref().filter(|_| *access_log) {
        lines.push(format!("http-request set-var(txn.conductor_service) str({service})"));
        lines.push("http-request set-log-level info".to_owned());
    }
    if !clients.is_empty() {
        let client = if table.trusted.is_empty() { "src" } else { "var(txn.conductor_from) -m ip" };
        lines.push(format!("http-request deny deny_status 403 unless {{ {client} {} }}", clients.join(" ")));
    }
    if let Some(users) = it.users.as_ref().map(|place| userlist(place)) {
        lines.push(format!("http-request auth realm restricted unless {{ http_auth({users}) }}"));
        lines.push(format!("http-request set-header {} %[http_auth_user]", forwarded::REMOTE_USER));
    }
    lines.extend(snippets.get("haproxy").into_iter().flat_map(|text| text.lines()).map(str::to_owned));
    lines.extend(changes("http-after-response", response_headers));
    if *compress {
        lines.push("compression algo gzip".to_owned());
        lines.push("compression type text/html text/plain text/css text/javascript application/javascript application/json image/svg+xml".to_owned());
    }
    let mut section = Vec::new();
    lines.extend(match &it.backend {
        routing::Backend::Service(reached, protocol) => {
            if let AppProtocol::FastCgi { root } = protocol {
                section = programs(&name, root);
            }
            service(table, (&name, it), reached, protocol)
        }
        routing::Backend::Function(socket, mount) => function(socket, mount),
        routing::Backend::Redirect { to, status } => {
            vec![format!("http-request redirect location {} code {status}", quoted(to))]
        }
        routing::Backend::Respond { body, status } => {
            vec![format!("http-request return status {status} content-type text/plain lf-string {}", quoted(body))]
        }
        routing::Backend::Nothing => vec!["http-request return status 404".to_owned()],
    });
    Backend { name, lines, is_logged: *access_log, section, routes: Vec::new() }
}

/// Returns the section for programs that speak FastCGI below a root.
fn programs(name: &str, root: &Utf8PathBuf) -> Vec<String> {
    vec![
        format!("fcgi-app {name}"),
        format!("docroot {root}"),
        // HAProxy would take the program from this one, and not from the path that the route's rules have made.
        "set-param REQUEST_URI %[var(txn.conductor_uri)]".to_owned(),
        "set-param SCRIPT_NAME %[var(txn.conductor_script)]".to_owned(),
        format!("set-param SCRIPT_FILENAME {root}%[var(txn.conductor_script)]"),
        "set-param PATH_INFO %[var(txn.conductor_rest)]".to_owned(),
        "set-param REDIRECT_STATUS 200".to_owned(),
        "set-param REQUEST_SCHEME %[ssl_fc,iif(https,http)]".to_owned(),
    ]
}

/// Returns the rules that find the program of a path. HAProxy looks for no files: a path that names no program is for the root's
/// `index.php`.
fn program(name: &str) -> [String; 6] {
    let is_named = "if { path_reg [.]php(/|$) }";
    [
        format!("use-fcgi-app {name}"),
        // Programs would take it for a variable of the environment.
        "http-request del-header proxy".to_owned(),
        "http-request return status 404 if { path_reg /[.] }".to_owned(),
        "http-request set-var(txn.conductor_script) str(/index.php)".to_owned(),
        format!("http-request set-var(txn.conductor_script) path,regsub([.]php/.*,.php) {is_named}"),
        format!("http-request set-var(txn.conductor_rest) path,regsub(^.*?[.]php,) {is_named}"),
    ]
}

fn service(table: &RoutingTable, (name, it): (&str, &Match), reached: &Reached, protocol: &AppProtocol) -> Vec<String> {
    let Handling { strip_prefix, request_headers, max_body, timeouts, affinity, error_pages, keepalive, .. } =
        &it.handling;
    let mut lines = Vec::new();
    if let Some(size) = max_body {
        lines.push(format!("http-request return status 413 if {{ req.hdr_val(content-length) gt {size} }}"));
        // The size of what comes in chunks is unknown before it has come.
        lines.push("http-request return status 411 if { req.hdr(transfer-encoding) -m found }".to_owned());
    }
    lines.extend(changes("http-request", request_headers));
    if *strip_prefix && it.matching.path != "/" {
        lines.push(format!(r"http-request replace-path ^{}/?(.*) /\1", it.matching.path.replace('.', r"\.")));
    }
    if matches!(protocol, AppProtocol::FastCgi { .. }) {
        lines.extend(program(name));
    }
    for (status, file) in error_pages {
        if matches!(status, 502..=504) {
            // Of HAProxy's own answers.
            let retry = if *status == 503 { " hdr Retry-After 1" } else { "" };
            lines.push(format!("http-error status {status} content-type text/html{retry} file {file}"));
        }
        lines.push(format!(
            "http-response return status {status} content-type text/html file {file} if {{ status {status} }}"
        ));
    }
    if let Timeouts { read: Some(time), .. } = timeouts {
        lines.push(format!("timeout server {}", milliseconds(*time)));
    }
    if *keepalive {
        lines.extend(["option http-keep-alive".to_owned(), "http-reuse safe".to_owned()]);
    }
    let mut options = String::new();
    match affinity {
        None => {}
        Some(Affinity::Source) => lines.extend(["balance source".to_owned(), "hash-type consistent".to_owned()]),
        Some(Affinity::Cookie) => {
            lines.push(format!("cookie {} insert indirect nocache httponly", self::name(reached).replace(':', "-")));
            options.push_str(" cookie #");
        }
    }
    if *keepalive || *protocol == AppProtocol::H2c {
        // A deployment that is replaced gets rid of its callers.
        options.push_str(" max-reuse 1000 pool-purge-delay 2s");
    }
    match protocol {
        AppProtocol::Http => {}
        AppProtocol::H2c => options.push_str(" proto h2"),
        AppProtocol::FastCgi { .. } => options.push_str(" proto fcgi"),
    }
    let upstreams = table.upstreams.iter().find(|upstreams| upstreams.reached == *reached);
    lines.extend(upstreams.map(|upstreams| servers(&upstreams.slots, &options)).unwrap_or_default());
    lines
}

fn milliseconds(time: Duration) -> String {
    format!("{}ms", time.as_millis())
}

/// Returns the lines that change the fields of a message.
fn changes(rule: &str, changes: &HeaderChanges) -> Vec<String> {
    let HeaderChanges { remove, set, add } = changes;
    let removed = remove.iter().map(|name| format!("{rule} del-header {name}"));
    let set = set.iter().map(|(name, value)| format!("{rule} set-header {name} {}", quoted(value)));
    let added = add.iter().map(|(name, value)| format!("{rule} add-header {name} {}", quoted(value)));
    removed.chain(set).chain(added).collect()
}

/// Returns the lines that keep what texts name of a request: an answer knows nothing of it any more.
fn variables(it: &Match) -> Vec<String> {
    let HeaderChanges { set, add, .. } = &it.handling.request_headers;
    let of_answer = &it.handling.response_headers;
    let values = [set, add, &of_answer.set, &of_answer.add].into_iter().flat_map(|values| values.values());
    let text = match &it.backend {
        routing::Backend::Redirect { to, .. } => Some(to),
        routing::Backend::Respond { body, .. } => Some(body),
        _ => None,
    };
    let pieces = values.chain(text).flat_map(|text| pieces(text.as_str()));
    let named = pieces.filter_map(|piece| match piece {
        Piece::Variable(variable) => sample(variable),
        Piece::Literal(_) => None,
    });
    let is_fastcgi = matches!(it.backend, routing::Backend::Service(_, AppProtocol::FastCgi { .. }));
    let lines = named.chain(sample(Variable::Uri).filter(|_| is_fastcgi));
    let line = |(name, expression)| format!("http-request set-var(txn.conductor_{name}) {expression}");
    lines.collect::<BTreeSet<_>>().into_iter().map(line).collect()
}

/// Returns the name of the variable that keeps a part of a request, and how it is taken; None if all requests have it.
fn sample(variable: Variable) -> Option<(&'static str, &'static str)> {
    match variable {
        Variable::Client => Some(("client", "src")),
        Variable::Host => None,
        Variable::Method => Some(("method", "method")),
        Variable::Path => Some(("raw_path", "path")),
        Variable::Query => Some(("query", "query")),
        Variable::Scheme => Some(("scheme", "ssl_fc,iif(https,http)")),
        Variable::Uri => Some(("uri", "pathq")),
    }
}

/// Writes a text as one word of a log format.
fn quoted(text: &str) -> String {
    let mut written = String::from("\"");
    for piece in pieces(text) {
        match piece {
            Piece::Literal(literal) => {
                let literal = literal.replace('%', "%%").replace('\\', r"\\").replace('"', "\\\"").replace('$', r"\$");
                written.push_str(&literal.replace('\n', r"\n"));
            }
            Piece::Variable(variable) => {
                let name = sample(variable).map_or("host", |(name, _)| name);
                written.push_str(&format!("%[var(txn.conductor_{name})]"));
            }
        }
    }
    written.push('"');
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_one_word_of_a_log_format() {
        assert_eq!(quoted("https://{host}{uri}"), r#""https://%[var(txn.conductor_host)]%[var(txn.conductor_uri)]""#);
        assert_eq!(quoted("100 % \"x\" $y \\"), r#""100 %% \"x\" \$y \\""#);
    }
}
