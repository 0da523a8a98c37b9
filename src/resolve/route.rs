//! `[[route]]`: which requests come to the service, each kind once, and what is done with them.

mod handling;
mod host;

use std::collections::{BTreeMap, BTreeSet};

use crate::declaration::{self, Tls};
use crate::document::{Node, Path};
use crate::model::route::{Answer, AppProtocol, Certificate, Matching, Route, Security};
use crate::model::{Listen, text};
use crate::path;
use crate::resolve::Resolver;

/// The status of a redirect that keeps method and body, RFC 9110.
const PERMANENT_REDIRECT: u16 = 308;

/// How the hosts of routes are served.
#[derive(Default)]
struct Securities {
    /// Whether a route says it itself, and how; by default otherwise.
    of_routes: Vec<(bool, Security)>,
    /// By the first route of a host that says it.
    of_hosts: BTreeMap<String, Security>,
}

impl Securities {
    /// Returns how a route's host is served: as the route says, or else another one of the same host.
    fn of(&self, route: usize, host: Option<&str>) -> Security {
        let (says, own) = &self.of_routes[route];
        let of_host = host.filter(|_| !says).and_then(|host| self.of_hosts.get(host));
        of_host.unwrap_or(own).clone()
    }
}

/// What each listener speaks, by its name; None is that of `[listen]` itself.
pub(super) type Protocols = BTreeMap<Option<String>, AppProtocol>;

/// Returns the path of the section from which a service's nth route comes: a section has a route for each path of each of its
/// hosts.
pub(crate) fn section(document: &Node, number: usize) -> Path {
    let routes = document.find(&path!["route"]).items();
    let count = |route: &Node, key: &str| route.find(&path![key]).items().len().max(1);
    let sections =
        routes.iter().enumerate().flat_map(|(index, route)| vec![index; count(route, "host") * count(route, "path")]);
    sections.into_iter().nth(number).map_or_else(|| path!["route"], |index| path!["route", index])
}

impl Resolver<'_> {
    /// Resolves `[[route]]`.
    pub(crate) fn routes(
        &mut self,
        given: Vec<declaration::Route>,
        listen: &Listen,
        protocols: &Protocols,
    ) -> Vec<Route> {
        let mut routes: Vec<Route> = Vec::new();
        let securities = self.securities(&given);
        for (index, mut route) in given.into_iter().enumerate() {
            let at = path!["route", index];
            let hosts = std::mem::take(&mut route.host);
            let hosts: Vec<_> = if hosts.is_empty() { vec![None] } else { hosts.into_iter().map(Some).collect() };
            let hosts: Vec<_> = hosts
                .into_iter()
                .enumerate()
                .map(|(number, host)| host.map(|host| self.host(&at.join("host").join(number), host)))
                .collect();
            let matchings = self.matchings(&at, &mut route);
            let answer = self.answer(&at, &mut route, listen, protocols);
            let handling = self.handling(&at, route, &matchings, &answer);
            for (host, matching) in hosts.iter().flat_map(|host| matchings.iter().map(move |matching| (host, matching)))
            {
                let security = securities.of(index, host.as_deref());
                let (host, matching) = (host.clone(), matching.clone());
                let route = Route { host, security, matching, answer: answer.clone(), handling: handling.clone() };
                if self.is_alone(&at, &route, &routes) {
                    routes.push(route);
                }
            }
        }
        routes
    }

    /// Returns whether a route may stand beside those before it.
    fn is_alone(&mut self, at: &Path, route: &Route, before: &[Route]) -> bool {
        let same_host = || before.iter().filter(|other| other.host == route.host);
        if same_host().any(|other| other.security != route.security) {
            let remedy = "write the same tls and certificates for all routes of a host";
            self.key_error(at, "another route of this host uses a different `tls` setting", remedy);
        } else if same_host().any(|other| other.matching.without_case() == route.matching.without_case()) {
            self.key_error(at, "this host and path are routed twice", "remove one of the two routes");
        } else {
            return true;
        }
        false
    }

    /// Resolves how hosts are served.
    fn securities(&mut self, given: &[declaration::Route]) -> Securities {
        let mut securities = Securities::default();
        for (index, route) in given.iter().enumerate() {
            let at = path!["route", index];
            let security = self.security(&at, route, route.host.is_empty());
            if ["tls", "certificate", "certificate_key", "client_ca"]
                .iter()
                .any(|key| self.document_has(&at.join(*key)))
            {
                for host in &route.host {
                    securities.of_hosts.entry(host.to_ascii_lowercase()).or_insert_with(|| security.clone());
                }
                securities.of_routes.push((true, security));
            } else {
                securities.of_routes.push((false, security));
            }
        }
        securities
    }

    fn security(&mut self, at: &Path, route: &declaration::Route, is_for_every_host: bool) -> Security {
        let declaration::Route { tls, certificate, certificate_key, client_ca, .. } = route;
        let files = [
            ("certificate", certificate.as_ref()),
            ("certificate_key", certificate_key.as_ref()),
            ("client_ca", client_ca.as_ref()),
        ];
        for (key, file) in files {
            let here = at.join(key);
            let Some(file) = file else { continue };
            self.host_file(&here, file);
            if *tls == Tls::Off {
                self.key_error(&here, "with tls = \"off\" there are no certificates", "remove it, or tls");
            } else if is_for_every_host {
                self.key_error(
                    &here,
                    "certificates are for named hosts",
                    "name the hosts: host = [\"www.example.com\"]",
                );
            }
        }
        if is_for_every_host {
            if *tls == Tls::Auto && self.document_has(&at.join("tls")) {
                let remedy = "name the hosts: host = [\"www.example.com\"]";
                self.error(&at.join("tls"), "certificates are for named hosts", remedy);
            }
            // A route for all hosts has no name for a certificate.
            return Security::Off;
        }
        let certificate = match (certificate, certificate_key) {
            (Some(chain), Some(key)) => Some(Certificate { chain: chain.into(), key: key.into() }),
            (None, None) => None,
            (Some(_), None) => {
                let remedy = "add certificate_key = \"/etc/ssl/private/….key\"";
                self.key_error(&at.join("certificate"), "a certificate needs its private key", remedy);
                None
            }
            (None, Some(_)) => {
                let remedy = "add certificate = \"/etc/ssl/certs/….pem\"";
                self.key_error(&at.join("certificate_key"), "a key needs its certificate", remedy);
                None
            }
        };
        match tls {
            Tls::Off => Security::Off,
            Tls::Auto if certificate.is_none() && client_ca.is_none() => Security::Auto,
            Tls::Auto => Security::With { certificate, client_ca: client_ca.as_ref().map(Into::into) },
        }
    }

    /// Resolves what a section matches: once for each of its paths.
    fn matchings(&mut self, at: &Path, route: &mut declaration::Route) -> Vec<Matching> {
        let here = at.join("path");
        let paths = self.texts(&here, std::mem::take(&mut route.path));
        let mut paths: Vec<_> = paths.into_iter().map(|(at, path)| self.route_path(&at, path)).collect();
        if paths.is_empty() {
            paths.push("/".to_owned());
        }
        let suffixes = self.texts(&at.join("suffix"), std::mem::take(&mut route.suffix));
        let suffixes: BTreeSet<_> = suffixes.into_iter().map(|(at, suffix)| self.suffix(&at, suffix)).collect();
        if route.exact && !suffixes.is_empty() {
            self.key_error(&at.join("suffix"), "an exact path has one end", "remove suffix or exact");
        }
        let mut methods = BTreeSet::new();
        for (index, method) in std::mem::take(&mut route.methods).into_iter().enumerate() {
            let here = at.join("methods").join(index);
            if method.is_empty() || !method.chars().all(|c| c.is_ascii_uppercase() || c == '-') {
                self.error(&here, format!("{method:?} is no method"), "write methods such as \"GET\", in capitals");
            } else if !methods.insert(method) {
                self.error(&here, "this method is written twice", "remove one of the two");
            }
        }
        let headers = self.headers(&at.join("headers"), std::mem::take(&mut route.headers));
        for (name, value) in &headers {
            if value.contains(['*', '{']) || value.trim() != value || value.is_empty() {
                let message = format!("{value:?} is not a value that a field can be compared with");
                self.error(&at.join("headers").join(name.as_str()), message, "write the whole value, without * and {");
            }
        }
        let headers: BTreeMap<_, _> =
            headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        let exact = route.exact;
        let of = |path| Matching {
            path,
            exact,
            suffixes: suffixes.clone(),
            methods: methods.clone(),
            headers: headers.clone(),
        };
        paths.into_iter().map(of).collect()
    }

    /// Returns the texts of a key with their places.
    fn texts(&self, at: &Path, texts: declaration::Texts) -> Vec<(Path, String)> {
        let is_list = !self.document.find(at).items().is_empty();
        let place = |index: usize| if is_list { at.join(index) } else { at.clone() };
        texts.0.into_iter().enumerate().map(|(index, text)| (place(index), text)).collect()
    }

    fn answer(&mut self, at: &Path, route: &mut declaration::Route, listen: &Listen, protocols: &Protocols) -> Answer {
        let of_service = route.listener.is_some();
        let (redirect, respond, status) = (route.redirect.take(), route.respond.take(), route.status.take());
        let named = [("listener", of_service), ("redirect", redirect.is_some()), ("respond", respond.is_some())];
        let named: Vec<_> = named.iter().filter(|(_, is_there)| *is_there).map(|(key, _)| *key).collect();
        if let [first, second, ..] = named[..] {
            let remedy = format!("remove {first} or {second}, or make two routes of it");
            self.key_error(&at.join(second), "a route has one answer", remedy);
        }
        if status.is_some() && redirect.is_none() && respond.is_none() {
            let remedy = "remove it, or add respond = \"…\" or redirect = \"…\"";
            self.key_error(&at.join("status"), "the service itself chooses the status", remedy);
        }
        if let Some(to) = redirect {
            let status = status.unwrap_or(PERMANENT_REDIRECT);
            self.redirect(at, &to, status);
            return Answer::Redirect { to, status };
        }
        if let Some(body) = respond {
            let status = status.unwrap_or(200);
            self.text(&at.join("respond"), &body);
            if !(200..=599).contains(&status) {
                self.error(&at.join("status"), format!("{status} is not a status"), "write a number from 200 to 599");
            }
            return Answer::Respond { body, status };
        }
        let name = route.listener.take();
        let protocol = protocols.get(&name).cloned().unwrap_or(AppProtocol::Http);
        let listener = self.listener(&at.join("listener"), name, listen);
        if route.files.is_some() && listener.is_none() && listen.main().is_none() {
            return Answer::Files;
        }
        Answer::Service { listener, protocol }
    }

    fn redirect(&mut self, at: &Path, to: &str, status: u16) {
        let here = at.join("redirect");
        let is_address = to.starts_with('/') || to.starts_with("https://") || to.starts_with("http://");
        self.text(&here, to);
        if !(is_address || to.starts_with("{scheme}://")) || to.contains(|c: char| c.is_whitespace() || c == '"') {
            let remedy = "write such as \"https://www.example.com{uri}\", or \"/path\"";
            self.error(&here, format!("{to:?} is not an address"), remedy);
        }
        if !matches!(status, 301 | 302 | 303 | 307 | 308) {
            let remedy = "write 301, 302, 303, 307 or 308";
            self.error(&at.join("status"), format!("{status} is not the status of a redirect"), remedy);
        }
    }

    /// Checks a text with variables of the request.
    fn text(&mut self, at: &Path, text: &str) {
        if let Some((message, remedy)) = text::mistake(text) {
            self.error(at, message, remedy);
        }
    }

    /// Checks the path of a file of the host's, which the proxy reads.
    pub(super) fn host_file(&mut self, at: &Path, file: &str) {
        if !file.starts_with('/') {
            self.error(at, format!("{file:?} is not an absolute path"), "write such as \"/etc/ssl/example.pem\"");
        } else if file.contains(['*', '{', '"', '\\']) || file.contains(char::is_whitespace) {
            let remedy = "rename the file";
            self.error(at, "a path for the proxy has no spaces, quotes, backslashes, * and {", remedy);
        } else {
            self.absolute(at, file);
        }
    }

    /// Returns whether the document has a key itself, not only the section above it.
    fn document_has(&self, at: &Path) -> bool {
        let mut above = at.clone();
        above.0.pop();
        !std::ptr::eq(self.document.find(at), self.document.find(&above))
    }
}
