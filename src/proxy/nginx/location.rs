//! nginx's locations for the requests that one route matches.

use std::collections::BTreeSet;
use std::time::Duration;

use camino::Utf8PathBuf;

use super::field::FIELDS;
use crate::model::route::{Handling, HeaderChanges};
use crate::model::text::{Piece, Variable, pieces};
use crate::proxy::forwarded;
use crate::proxy::routing::{Backend, Files, Match};
use crate::proxy::variant::Variant;

/// The locations of one route.
pub(super) struct Location<'a> {
    pub(super) number: usize,
    /// The paths: `= /api` and `/api/`.
    pub(super) paths: Vec<String>,
    /// Directives that hold whatever answers.
    pub(super) steps: Vec<String>,
    /// Directives that answer.
    pub(super) answer: Vec<String>,
    pub(super) files: Option<Directory<'a>>,
}

/// Files before the answer.
pub(super) struct Directory<'a> {
    path: &'a Utf8PathBuf,
    pub(super) has_index: bool,
    /// A pattern of paths whose text is not served: files that are hidden below the route's path, and those that a
    /// function runs.
    pub(super) unserved: String,
}

impl<'a> Directory<'a> {
    fn new(files: &'a Files, path: &str) -> Self {
        let programs: String = files.programs.iter().map(|suffix| format!(r"|\.{suffix}(/|$)")).collect();
        Self {
            path: &files.path,
            has_index: files.has_index,
            unserved: format!(r"^{}.*(/\.{programs})", pattern(path)),
        }
    }

    /// Returns the value of `alias` in a location: it ends like the location's path.
    pub(super) fn alias(&self, path: &str) -> String {
        if path.ends_with('/') { format!("{}/", self.path) } else { self.path.to_string() }
    }
}

/// Returns the locations of a site. A path itself that has a route of its own is none of the route for what is below it.
pub(super) fn locations(matches: &[Match]) -> Vec<Location<'_>> {
    let exact: BTreeSet<_> = matches.iter().filter(|it| it.matching.exact).map(|it| &it.matching.path).collect();
    let location = |(index, it)| Location {
        number: index + 1,
        paths: paths(it, exact.contains(&it.matching.path)),
        steps: steps(it),
        answer: answer(it),
        files: it.files.as_ref().map(|files| Directory::new(files, &it.matching.path)),
    };
    matches.iter().enumerate().map(location).collect()
}

/// Returns a pattern for a path of a route, in which only the dot is special.
fn pattern(path: &str) -> String {
    if path == "/" { String::new() } else { path.replace('.', r"\.") }
}

fn paths(it: &Match, has_exact: bool) -> Vec<String> {
    let path = &it.matching.path;
    if it.matching.exact {
        return vec![format!("= {path}")];
    }
    if path == "/" {
        return vec!["/".to_owned()];
    }
    let itself = (!has_exact).then(|| format!("= {path}"));
    itself.into_iter().chain([format!("{path}/")]).collect()
}

fn steps(it: &Match) -> Vec<String> {
    let Handling { response_headers, max_body, compress, access_log, snippets, .. } = &it.handling;
    let mut steps = Vec::new();
    if let Some(service) = it.service.as_ref().filter(|_| *access_log) {
        steps.push(format!("set $conductor_service {service};"));
        steps.push("access_log /var/log/nginx/access.log conductor;".to_owned());
    }
    if let Some(users) = &it.users {
        steps.extend(["auth_basic restricted;".to_owned(), format!("auth_basic_user_file {users};")]);
    }
    steps.extend(max_body.map(|size| format!("client_max_body_size {size};")));
    if *compress {
        steps.push("gzip on;".to_owned());
    }
    let HeaderChanges { remove, set, add } = response_headers;
    steps.extend(remove.iter().chain(set.keys()).map(|name| format!("proxy_hide_header {name};")));
    // A text's type is nginx's own field.
    let is_own = |name: &str| content_type(it).is_some() && name.eq_ignore_ascii_case("Content-Type");
    let fields = set.iter().filter(|(name, _)| !is_own(name)).chain(add);
    steps.extend(fields.map(|(name, value)| format!("add_header {name} {} always;", quoted(value))));
    steps.extend(snippets.get("nginx").into_iter().flat_map(|text| text.lines()).map(str::to_owned));
    steps
}

/// Returns the declared type of a text that nginx answers with.
fn content_type(it: &Match) -> Option<&str> {
    let mut set = it.handling.response_headers.set.iter();
    let (_, value) = set.find(|(name, _)| name.eq_ignore_ascii_case("Content-Type"))?;
    matches!(it.backend, Backend::Respond { .. }).then_some(value)
}

fn answer(it: &Match) -> Vec<String> {
    match &it.backend {
        Backend::Service(..) => service(it),
        Backend::Function(socket, mount) => vec![
            format!("set $conductor_mount {mount};"),
            "set $conductor_remote_port $remote_port;".to_owned(),
            "set $conductor_server_addr $server_addr;".to_owned(),
            // The link leads to the function that owns the alias now.
            format!("proxy_pass http://unix:{socket}:;"),
        ],
        Backend::Redirect { to, status } => vec![format!("return {status} {};", quoted(to))],
        Backend::Respond { body, status } => {
            let mime = content_type(it).map_or_else(|| "text/plain".to_owned(), quoted);
            vec![format!("default_type {mime};"), format!("return {status} {};", quoted(body))]
        }
        Backend::Nothing => vec!["return 404;".to_owned()],
    }
}

fn service(it: &Match) -> Vec<String> {
    let Handling { strip_prefix, request_headers, timeouts, .. } = &it.handling;
    let variant = Variant::of(it).expect("it leads to a service");
    let mut lines = Vec::new();
    if *strip_prefix && it.matching.path != "/" {
        lines.push(format!("rewrite ^{}/?(.*)$ /$1 break;", pattern(&it.matching.path)));
    }
    if variant.keepalive {
        lines.push("set $conductor_close \"\";".to_owned());
    }
    let limit = |name: &str, time: Option<Duration>| time.map(|time| format!("{name} {}ms;", time.as_millis()));
    lines.extend(limit("proxy_read_timeout", timeouts.read));
    lines.extend(limit("proxy_send_timeout", timeouts.write));
    lines.extend(request_fields(request_headers, it.users.is_some()));
    lines.push(format!("proxy_pass http://{variant};"));
    lines
}

/// Returns the fields of a request that are changed. A location that has one has none of its server's.
fn request_fields(changes: &HeaderChanges, has_users: bool) -> Vec<String> {
    if changes.is_empty() && !has_users {
        return Vec::new();
    }
    let HeaderChanges { remove, set, add: _ } = changes;
    let is_changed = |name: &str| remove.iter().chain(set.keys()).any(|other| other.eq_ignore_ascii_case(name));
    let kept = FIELDS.iter().filter(|(name, _)| !is_changed(name));
    let kept = kept.map(|(name, value)| format!("proxy_set_header {name} {value};"));
    let removed = remove.iter().map(|name| format!("proxy_set_header {name} \"\";"));
    let set = set.iter().map(|(name, value)| format!("proxy_set_header {name} {};", quoted(value)));
    let user = has_users.then(|| format!("proxy_set_header {} $remote_user;", forwarded::REMOTE_USER));
    kept.chain(removed).chain(set).chain(user).collect()
}

/// Writes a text as one word, with nginx's variables in it.
fn quoted(text: &str) -> String {
    let mut written = String::from("\"");
    for piece in pieces(text) {
        match piece {
            Piece::Literal(literal) => {
                let literal = literal.replace('\\', r"\\").replace('"', "\\\"");
                written.push_str(&literal.replace('$', "${conductor_dollar}"));
            }
            Piece::Variable(variable) => written.push_str(match variable {
                Variable::Client => "${remote_addr}",
                Variable::Host => "${host}",
                Variable::Method => "${request_method}",
                Variable::Path => "${conductor_path}",
                Variable::Query => "${args}",
                Variable::Scheme => "${scheme}",
                Variable::Uri => "${request_uri}",
            }),
        }
    }
    written.push('"');
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_one_word_without_variables_of_their_own() {
        assert_eq!(quoted("https://{host}{uri}"), r#""https://${host}${request_uri}""#);
        assert_eq!(quoted(r#"a "b" \ $c; }"#), r#""a \"b\" \\ ${conductor_dollar}c; }""#);
    }
}
