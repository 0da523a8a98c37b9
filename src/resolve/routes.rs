//! `[[route]]`: the hosts and paths of a service, each pair once.

use crate::document::{Node, Path};
use crate::model::{Listen, Route};
use crate::resolve::Resolver;
use crate::{declaration, path};

/// Returns the path of the section from which a service's nth route comes: a section has a route for each of its hosts.
pub(crate) fn section(document: &Node, number: usize) -> Path {
    let routes = document.find(&path!["route"]).items();
    let hosts = |route: &Node| route.find(&path!["host"]).items().len().max(1);
    let sections = routes.iter().enumerate().flat_map(|(index, route)| vec![index; hosts(route)]);
    sections.into_iter().nth(number).map_or_else(|| path!["route"], |index| path!["route", index])
}

impl Resolver<'_> {
    /// Resolves `[[route]]`.
    pub(crate) fn routes(&mut self, given: Vec<declaration::Route>, listen: &Listen) -> Vec<Route> {
        let mut routes: Vec<Route> = Vec::new();
        for (index, declaration::Route { host, path, tls, listener }) in given.into_iter().enumerate() {
            let at = path!["route", index];
            let path = match path {
                Some(path) => self.route_path(&at.join("path"), path),
                None => "/".to_owned(),
            };
            let listener = self.listener(&at.join("listener"), listener, listen);
            let hosts = if host.is_empty() { vec![None] } else { host.into_iter().map(Some).collect() };
            for (number, host) in hosts.into_iter().enumerate() {
                let here = at.join("host").join(number);
                let host = host.map(|host| self.host(&here, host));
                if host.is_none() && tls == declaration::Tls::Auto && self.document_has(&at.join("tls")) {
                    let remedy = "name the hosts: host = [\"www.example.com\"]";
                    self.error(&at.join("tls"), "certificates are for named hosts", remedy);
                }
                // A route for all hosts has no name for a certificate.
                let tls = if host.is_none() { declaration::Tls::Off } else { tls };
                let route = Route { host, path: path.clone(), tls, listener: listener.clone() };
                let same_host = |other: &&Route| other.host == route.host;
                let taken = |other: &Route| other.path.eq_ignore_ascii_case(&route.path);
                if routes.iter().filter(same_host).any(|other| other.tls != route.tls) {
                    let remedy = "write the same tls for all routes of a host";
                    self.key_error(&at, "another route of this host uses a different `tls` setting", remedy);
                } else if routes.iter().filter(same_host).any(taken) {
                    self.key_error(&at, "this host and path are routed twice", "remove one of the two routes");
                } else {
                    routes.push(route);
                }
            }
        }
        routes
    }

    /// Returns whether the document has a key itself, not only the section above it.
    fn document_has(&self, at: &Path) -> bool {
        let mut above = at.clone();
        above.0.pop();
        !std::ptr::eq(self.document.find(at), self.document.find(&above))
    }

    /// Checks that a host is a DNS name, which may have `*` as its first label; returns it in lower case.
    pub(super) fn host(&mut self, at: &Path, host: String) -> String {
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
            self.error(at, "`*` is not the name of a host", "leave host out: the route is then for every host");
        } else if !lower.is_ascii() {
            let remedy = "write it in ASCII, as idn2(1) prints it: \"xn--…\"";
            self.error(at, format!("{host:?} is not a host's name in ASCII"), remedy);
        } else if lower.len() > 253 || !labels.split('.').all(label_ok) {
            let remedy = "write a DNS name such as \"www.example.com\", or \"*.example.com\"";
            self.error(at, format!("{host:?} is not a host's name"), remedy);
        }
        lower
    }

    /// Checks that a path is normalized and has no characters to escape; returns it without a last `/`.
    pub(super) fn route_path(&mut self, at: &Path, path: String) -> String {
        let ok = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
        if !path.starts_with('/') {
            self.error(at, format!("{path:?} does not start with /"), format!("write \"/{path}\""));
        } else if path.contains('*') {
            self.error(at, "a path is a prefix already", "remove the *: \"/api\" is /api and all below it");
        } else if let Some(bad) = path.chars().find(|c| !ok(*c)) {
            let remedy = "use letters, digits, '-', '.', '_', '~' and '/'";
            self.error(at, format!("{bad:?} cannot be in a route's path"), remedy);
        } else if path.contains("//") || path.split('/').any(|part| part == "." || part == "..") {
            self.error(at, "not a normalized path", "remove //, . and ..");
        }
        let trimmed = path.trim_end_matches('/');
        if trimmed.is_empty() { "/".to_owned() } else { trimmed.to_owned() }
    }
}
