//! What the proxy does with the requests of a route and their answers on their way.

use std::collections::BTreeMap;
use std::time::Duration;

use camino::Utf8PathBuf;

use crate::declaration;
use crate::document::Path;
use crate::model::network;
use crate::model::route::{Answer, ForwardAuth, Handling, HeaderChanges, Matching, Timeouts};
use crate::resolve::Resolver;

/// The drivers that a snippet may be for.
const DRIVERS: [&str; 3] = ["caddy", "nginx", "haproxy"];

/// Fields that belong to one connection or to the framing of a message, RFC 9110, section 7.6.1: no proxy lets them be
/// changed well.
const FRAMING: [&str; 5] = ["connection", "content-length", "te", "transfer-encoding", "upgrade"];

impl Resolver<'_> {
    /// Resolves the keys of a route that say neither for what it is nor what answers.
    pub(super) fn handling(
        &mut self,
        at: &Path,
        route: declaration::Route,
        matchings: &[Matching],
        answer: &Answer,
    ) -> Handling {
        let strip_prefix = self.strips(at, &route, matchings);
        self.of_service_alone(at, &route, answer);
        let has_files = route.files.is_some();
        let declaration::Route {
            set_request_headers,
            add_request_headers,
            remove_request_headers,
            set_response_headers,
            add_response_headers,
            remove_response_headers,
            ..
        } = route;
        let span = |this: &mut Self, key: &str, span| {
            let span: Option<declaration::TimeSpan> = span;
            span.map(|span| this.span(&at.join(key), Some(span), Duration::from_secs(1)))
        };
        Handling {
            strip_prefix,
            request_headers: self.changes(
                at,
                "request",
                (remove_request_headers, set_request_headers, add_request_headers),
            ),
            response_headers: self.changes(
                at,
                "response",
                (remove_response_headers, set_response_headers, add_response_headers),
            ),
            max_body: route.max_body.map(|size| self.size(&at.join("max_body"), &size)),
            timeouts: Timeouts {
                read: span(self, "read_timeout", route.read_timeout),
                write: span(self, "write_timeout", route.write_timeout),
            },
            affinity: route.affinity,
            compress: route.compress,
            files: route.files.map(|dir| self.static_dir(&at.join("static"), &dir)),
            fallback: self.fallback(&at.join("fallback"), route.fallback, has_files),
            clients: self.clients(&at.join("clients"), route.clients),
            basic_auth: route.basic_auth.map(|file| {
                self.host_file(&at.join("basic_auth"), &file);
                file.into()
            }),
            forward_auth: self.forward_auth(at, route.forward_auth, route.forward_auth_headers),
            access_log: route.access_log,
            error_pages: self.error_pages(&at.join("error_pages"), route.error_pages),
            keepalive: route.keepalive,
            snippets: self.snippets(&at.join("snippet"), route.snippet),
        }
    }

    fn strips(&mut self, at: &Path, route: &declaration::Route, matchings: &[Matching]) -> bool {
        if route.strip_prefix && matchings.iter().any(|matching| matching.path == "/") {
            let remedy = "remove it, or add path = \"/…\"";
            self.key_error(&at.join("strip_prefix"), "there is no prefix to take off", remedy);
        }
        route.strip_prefix
    }

    /// Refuses what concerns the connection to a deployment where none is asked.
    fn of_service_alone(&mut self, at: &Path, route: &declaration::Route, answer: &Answer) {
        if matches!(answer, Answer::Service { .. }) {
            return;
        }
        let keys = [
            ("strip_prefix", route.strip_prefix && route.files.is_none()),
            ("read_timeout", route.read_timeout.is_some()),
            ("write_timeout", route.write_timeout.is_some()),
            ("affinity", route.affinity.is_some()),
            ("error_pages", !route.error_pages.is_empty()),
            ("keepalive", route.keepalive),
        ];
        for (key, _) in keys.iter().filter(|(_, is_there)| *is_there) {
            self.key_error(&at.join(*key), "the route does not lead to the service", "remove it");
        }
    }

    fn changes(
        &mut self,
        at: &Path,
        of: &str,
        (remove, set, add): (Vec<String>, BTreeMap<String, String>, BTreeMap<String, String>),
    ) -> HeaderChanges {
        let removed = at.join(format!("remove_{of}_headers").as_str());
        for (index, name) in remove.iter().enumerate() {
            self.field_name(&removed.join(index), name);
        }
        for (verb, fields) in [("set", &set), ("add", &add)] {
            let here = at.join(format!("{verb}_{of}_headers").as_str());
            for (name, value) in fields {
                let here = here.join(name.as_str());
                self.field_name(&here, name);
                self.text(&here, value);
                if value.contains('\n') {
                    self.error(&here, "a field has one line", "write it in one line");
                }
            }
        }
        HeaderChanges { remove, set, add }
    }

    fn field_name(&mut self, at: &Path, name: &str) {
        let lower = name.to_ascii_lowercase();
        let is_token = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        if name.is_empty() || !name.chars().all(is_token) {
            self.key_error(at, format!("{name:?} is not the name of a field"), "use letters, digits and '-'");
        } else if FRAMING.contains(&lower.as_str()) || lower.starts_with("conductor-") {
            self.key_error(at, format!("the proxy itself writes {name}"), "remove it");
        }
    }

    /// Resolves the directory of `static`: absolute, or below the declaration's files.
    fn static_dir(&mut self, at: &Path, dir: &str) -> Utf8PathBuf {
        if dir.starts_with('/') {
            self.host_file(at, dir);
            return dir.into();
        }
        self.declared_dir(at, dir)
    }

    /// Resolves the path of the file that stands in for what is no file.
    fn fallback(&mut self, at: &Path, path: Option<String>, has_files: bool) -> Option<String> {
        let path = self.route_path(at, path?);
        if !has_files {
            self.key_error(at, "there are no files beside it", "add static = \"./public\"");
        } else if path == "/" {
            self.error(at, "a directory is no file", "write such as \"/index.html\"");
        }
        Some(path)
    }

    fn clients(&mut self, at: &Path, clients: Vec<String>) -> Vec<String> {
        if clients.is_empty() && self.document_has(at) {
            self.error(at, "nobody may call", "name addresses, or remove it");
        }
        for (index, client) in clients.iter().enumerate().filter(|(_, client)| !network::is(client)) {
            let message = format!("{client:?} is neither an address nor a network");
            self.error(&at.join(index), message, "write such as \"10.0.0.0/8\"");
        }
        clients
    }

    fn forward_auth(&mut self, at: &Path, url: Option<String>, copied: Vec<String>) -> Option<ForwardAuth> {
        for (index, name) in copied.iter().enumerate() {
            self.field_name(&at.join("forward_auth_headers").join(index), name);
        }
        let here = at.join("forward_auth");
        let Some(url) = url else {
            if !copied.is_empty() {
                let remedy = "add forward_auth = \"http://127.0.0.1:9091/api/verify\"";
                self.key_error(&at.join("forward_auth_headers"), "there is no server that is asked", remedy);
            }
            return None;
        };
        let ok = |c: char| c.is_ascii_alphanumeric() || "-._~:/[]?=&%".contains(c);
        let parts = url.strip_prefix("http://").filter(|rest| rest.chars().all(ok)).map(|rest| match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, "/"),
        });
        let Some((server, path)) = parts.filter(|(server, _)| has_port(server)) else {
            let remedy = "write such as \"http://127.0.0.1:9091/api/verify\", with the port";
            self.error(&here, format!("{url:?} is not the address of a server that is asked"), remedy);
            return None;
        };
        Some(ForwardAuth { server: server.to_owned(), path: path.to_owned(), copied })
    }

    fn error_pages(&mut self, at: &Path, pages: BTreeMap<String, String>) -> BTreeMap<u16, Utf8PathBuf> {
        let mut resolved = BTreeMap::new();
        for (status, file) in pages {
            let here = at.join(status.as_str());
            self.host_file(&here, &file);
            match status.parse::<u16>() {
                Ok(status @ 400..=599) => drop(resolved.insert(status, file.into())),
                Ok(_) | Err(_) => {
                    let message = format!("{status:?} is not the status of an error");
                    self.key_error(&here, message, "write a number from 400 to 599");
                }
            }
        }
        resolved
    }

    fn snippets(&mut self, at: &Path, snippets: BTreeMap<String, String>) -> BTreeMap<String, String> {
        for (driver, text) in &snippets {
            let here = at.join(driver.as_str());
            if !DRIVERS.contains(&driver.as_str()) {
                let remedy = format!("write one of {}", DRIVERS.join(", "));
                self.key_error(&here, format!("there is no driver {driver:?}"), remedy);
            } else if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
                self.error(&here, "control characters cannot be in it", "remove them");
            }
        }
        snippets
    }
}

/// Returns whether a server is named with its port.
fn has_port(server: &str) -> bool {
    let port = server.rsplit_once(':').map(|(host, port)| (!host.is_empty(), port.parse::<u16>()));
    matches!(port, Some((true, Ok(1..))))
}
