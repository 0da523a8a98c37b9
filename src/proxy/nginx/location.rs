//! nginx's locations for the requests that one route matches.

use std::borrow::Cow;
use std::time::Duration;

use camino::Utf8PathBuf;

use super::choice::{self, Choices};
use super::field::{self, FIELDS};
use super::login::{self, Login};
use super::page::{self, Page};
use super::text::quoted;
use super::{fastcgi, snippet};
use crate::declaration::Affinity;
use crate::model::route::{AppProtocol, Handling, HeaderChanges};
use crate::proxy::forwarded;
use crate::proxy::routing::{Backend, Files, Match};
use crate::proxy::variant::Variant;

/// The locations of one route.
pub(super) struct Location<'a> {
    pub(super) number: usize,
    /// The paths, `= /api` and `/api/`, each with whether only a choice leads to it.
    pub(super) paths: Vec<(String, bool)>,
    /// Directives that hold whatever answers.
    pub(super) steps: Vec<String>,
    /// Directives for answers that are errors.
    pub(super) errors: Vec<String>,
    /// Directives that answer.
    pub(super) answer: Vec<String>,
    pub(super) files: Option<Directory<'a>>,
    pub(super) login: Option<Login>,
    /// Whether who calls is asked in a location of its own: nginx gives answers of its own before it asks, and a service may
    /// refuse callers, too.
    pub(super) is_guarded: bool,
    /// Directives of a location for what nginx answers when the service is stopped; none if it is that of all.
    pub(super) stopped: Vec<String>,
    pub(super) pages: Vec<Page>,
}

/// Files before the answer.
pub(super) struct Directory<'a> {
    path: Cow<'a, Utf8PathBuf>,
    pub(super) has_index: bool,
    pub(super) fallback: Option<&'a str>,
    /// A pattern of paths whose text is not served: files that are hidden below the route's path, and those that a
    /// program runs.
    pub(super) unserved: String,
}

impl<'a> Directory<'a> {
    fn of(it: &'a Match, before: &str) -> Option<Self> {
        let path = it.matching.path.trim_end_matches('/');
        let unserved = |programs: &str| format!(r"^{before}{}.*(/\.{programs})", choice::pattern(path));
        let program = |suffix: &str| format!(r"|\.{suffix}(/|$)");
        if let Some(Files { path, programs, has_index, fallback }) = &it.files {
            let programs: String = programs.iter().map(|suffix| program(suffix)).collect();
            let (path, fallback) = (Cow::Borrowed(path), fallback.as_deref());
            return Some(Self { path, has_index: *has_index, fallback, unserved: unserved(&programs) });
        }
        let Backend::Service(_, AppProtocol::FastCgi { root }) = &it.backend else { return None };
        let below = if it.handling.strip_prefix { "" } else { path };
        let path = Cow::Owned(Utf8PathBuf::from(format!("{root}{below}")));
        Some(Self { path, has_index: false, fallback: None, unserved: unserved(&program("php")) })
    }

    /// Returns the value of `alias` in a location: it ends like the location's path.
    pub(super) fn alias(&self, path: &str) -> String {
        if path.ends_with('/') { format!("{}/", self.path) } else { self.path.to_string() }
    }
}

/// Returns the locations of a site.
pub(super) fn locations<'a>(matches: &'a [Match], choices: &Choices, clients: &[&Vec<String>]) -> Vec<Location<'a>> {
    let location = |(index, it): (usize, &'a Match)| {
        Writer {
            number: index + 1,
            it,
            before: choices.is_chosen(index).then(|| choice::prefix(index)),
            clients: clients.iter().position(|known| **known == it.handling.clients),
        }
        .location(choices.paths_of(index, &it.matching))
    };
    matches.iter().enumerate().map(location).collect()
}

/// Returns the variable that says whether a client is one of a list.
pub(super) fn is_client(index: usize) -> String {
    format!("$conductor_clients_{}", index + 1)
}

/// Writes the directives of one route.
struct Writer<'a> {
    number: usize,
    it: &'a Match,
    /// What internal locations have before the route's path.
    before: Option<String>,
    /// The index of its list of clients.
    clients: Option<usize>,
}

impl<'a> Writer<'a> {
    fn location(&self, paths: Vec<(String, bool)>) -> Location<'a> {
        let handling = &self.it.handling;
        let is_own_answer = matches!(self.it.backend, Backend::Redirect { .. } | Backend::Respond { .. });
        Location {
            number: self.number,
            paths,
            steps: self.steps(),
            errors: self.errors(),
            answer: self.answer(),
            files: Directory::of(self.it, &self.before()),
            login: self.login(),
            is_guarded: handling.forward_auth.is_some() || is_own_answer && self.it.users.is_some(),
            stopped: if page::has_stopped(&handling.error_pages) {
                page::of_stopped(&handling.error_pages)
            } else {
                Vec::new()
            },
            pages: page::pages(&handling.error_pages).collect(),
        }
    }

    /// Returns a pattern of what the path may have before the route's.
    fn before(&self) -> String {
        self.before.as_ref().map(|before| format!("(?:{before})?")).unwrap_or_default()
    }

    fn login(&self) -> Option<Login> {
        let auth = self.it.handling.forward_auth.as_ref()?;
        Some(Login::of(auth, &choice::prefix(self.number - 1)))
    }

    /// Returns the module that passes requests, as its directives begin.
    fn module(&self) -> &'static str {
        match self.it.backend {
            Backend::Service(_, AppProtocol::H2c) => "grpc",
            Backend::Service(_, AppProtocol::FastCgi { .. }) => "fastcgi",
            _ => "proxy",
        }
    }

    fn snippet(&self) -> Option<&'a String> {
        self.it.handling.snippets.get("nginx")
    }

    fn steps(&self) -> Vec<String> {
        let Handling { response_headers, max_body, compress, access_log, affinity, .. } = &self.it.handling;
        let mut steps = Vec::new();
        if let Some(index) = self.clients {
            steps.push(format!("if ({} = 0) {{ return 403; }}", is_client(index)));
        }
        if let Some(service) = self.it.service.as_ref().filter(|_| *access_log) {
            steps.push(format!("set $conductor_service {service};"));
            steps.push("access_log /var/log/nginx/access.log conductor;".to_owned());
        }
        if let Some(users) = &self.it.users {
            steps.extend(["auth_basic restricted;".to_owned(), format!("auth_basic_user_file {users};")]);
        }
        steps.extend(max_body.map(|size| format!("client_max_body_size {size};")));
        if *compress {
            steps.push("gzip on;".to_owned());
        }
        let HeaderChanges { remove, set, add } = response_headers;
        let module = self.module();
        steps.extend(remove.iter().chain(set.keys()).map(|name| format!("{module}_hide_header {name};")));
        // A text's type is nginx's own field.
        let is_own = |name: &str| content_type(self.it).is_some() && name.eq_ignore_ascii_case("Content-Type");
        let fields = set.iter().filter(|(name, _)| !is_own(name)).chain(add);
        steps.extend(fields.map(|(name, value)| format!("add_header {name} {} always;", quoted(value))));
        if *affinity == Some(Affinity::Cookie) {
            steps.push("add_header Set-Cookie $conductor_new_client always;".to_owned());
        }
        steps.extend(self.snippet().into_iter().flat_map(|text| text.lines()).map(str::to_owned));
        steps
    }

    /// Returns the directives for errors; a location that has one has none of its server's.
    fn errors(&self) -> Vec<String> {
        let pages = &self.it.handling.error_pages;
        let has_own = self.snippet().is_some_and(|text| snippet::has_error_pages(text));
        if pages.is_empty() && !has_own {
            return Vec::new();
        }
        let stopped = if page::has_stopped(pages) {
            format!("@conductor-stopped-{}", self.number)
        } else {
            "@conductor-stopped".to_owned()
        };
        page::lines(pages, &stopped, self.module())
    }

    fn answer(&self) -> Vec<String> {
        match &self.it.backend {
            Backend::Service(_, protocol) => self.service(protocol),
            Backend::Function(socket, mount) => vec![
                format!("set $conductor_mount {mount};"),
                "set $conductor_remote_port $remote_port;".to_owned(),
                "set $conductor_server_addr $server_addr;".to_owned(),
                // The link leads to the function that owns the alias now.
                format!("proxy_pass http://unix:{socket}:{};", self.own_uri()),
            ],
            Backend::Redirect { to, status } => vec![format!("return {status} {};", quoted(to))],
            Backend::Respond { body, status } => {
                let mime = content_type(self.it).map_or_else(|| "text/plain".to_owned(), quoted);
                vec![format!("default_type {mime};"), format!("return {status} {};", quoted(body))]
            }
            Backend::Nothing => vec!["return 404;".to_owned()],
        }
    }

    /// Returns what `proxy_pass` ends with: in an internal location the path is not the client's.
    fn own_uri(&self) -> &'static str {
        if self.before.is_some() && !self.it.handling.strip_prefix { "$request_uri" } else { "" }
    }

    fn service(&self, protocol: &AppProtocol) -> Vec<String> {
        let Handling { strip_prefix, timeouts, .. } = &self.it.handling;
        let variant = Variant::of(self.it).expect("it leads to a service");
        let module = self.module();
        let path = self.it.matching.path.trim_end_matches('/');
        let mut lines = Vec::new();
        match protocol {
            AppProtocol::Http | AppProtocol::H2c if *strip_prefix => {
                lines.push(format!("rewrite \"^{}{}/?(.*)$\" /$1 break;", self.before(), choice::pattern(path)));
            }
            AppProtocol::H2c => {
                // This module takes no path of another variable's: of an encoded one it passes the decoded form.
                lines.extend(self.before.as_ref().map(|before| format!("rewrite \"^{before}(/.*)$\" $1 break;")));
            }
            AppProtocol::Http | AppProtocol::FastCgi { .. } => {}
        }
        if variant.keepalive {
            lines.push(match protocol {
                AppProtocol::FastCgi { .. } => "fastcgi_keep_conn on;".to_owned(),
                AppProtocol::Http | AppProtocol::H2c => "set $conductor_close \"\";".to_owned(),
            });
        }
        if *protocol != AppProtocol::Http {
            lines.extend(as_of_all(module));
        }
        let longest = (*protocol != AppProtocol::Http).then_some(LONGEST);
        let limit = |name: &str, time: Option<Duration>| {
            let time = time.or(longest)?;
            Some(format!("{module}_{name} {}ms;", time.as_millis()))
        };
        lines.extend(limit("read_timeout", timeouts.read));
        lines.extend(limit("send_timeout", timeouts.write));
        lines.extend(self.fields(protocol));
        lines.push(match protocol {
            AppProtocol::Http => format!("proxy_pass http://{variant}{};", self.own_uri()),
            AppProtocol::H2c => format!("grpc_pass grpc://{variant};"),
            AppProtocol::FastCgi { .. } => format!("fastcgi_pass {variant};"),
        });
        lines
    }

    /// Returns the fields of a request. A location that has one has none of its server's.
    fn fields(&self, protocol: &AppProtocol) -> Vec<String> {
        let changes = &self.it.handling.request_headers;
        let user = self.it.users.iter().map(|_| (forwarded::REMOTE_USER.to_owned(), "$remote_user".to_owned()));
        let copied = self.it.handling.forward_auth.iter().flat_map(login::copied);
        let others: Vec<_> = user.chain(copied).collect();
        let of_snippet = self.snippet().map(|text| snippet::fields(text)).unwrap_or_default();
        let is_own = |name: &str| of_snippet.iter().any(|own| own.eq_ignore_ascii_case(name));
        match protocol {
            AppProtocol::Http if changes.is_empty() && others.is_empty() && of_snippet.is_empty() => Vec::new(),
            AppProtocol::Http => written("proxy", field::changed(FIELDS.iter().copied(), changes, &others, is_own)),
            AppProtocol::H2c => written("grpc", field::changed(field::of_message(), changes, &others, is_own)),
            AppProtocol::FastCgi { root } => {
                let path = self.it.matching.path.trim_end_matches('/');
                let stripped = if self.it.handling.strip_prefix { choice::pattern(path) } else { String::new() };
                let mut lines = fastcgi::program(root, &format!("{}{stripped}", self.before()));
                lines.extend(fastcgi::parameters(root, changes, &others, is_own));
                lines
            }
        }
    }
}

/// The time limit of a service that has none.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Returns what a module has that only that of HTTP/1.1 has by its server.
fn as_of_all(module: &str) -> Vec<String> {
    let mut lines = vec![format!("{module}_next_upstream error;"), format!("{module}_buffer_size 16k;")];
    if module == "fastcgi" {
        lines.extend(
            ["fastcgi_buffers 8 16k;", "fastcgi_buffering off;", "fastcgi_request_buffering off;"].map(str::to_owned),
        );
    }
    lines.push(format!("{module}_ignore_headers X-Accel-Redirect X-Accel-Charset;"));
    lines
}

fn written(module: &str, fields: Vec<(String, String)>) -> Vec<String> {
    fields.into_iter().map(|(name, value)| format!("{module}_set_header {name} {value};")).collect()
}

/// Returns the declared type of a text that nginx answers with.
fn content_type(it: &Match) -> Option<&str> {
    let mut set = it.handling.response_headers.set.iter();
    let (_, value) = set.find(|(name, _)| name.eq_ignore_ascii_case("Content-Type"))?;
    matches!(it.backend, Backend::Respond { .. }).then_some(value)
}
