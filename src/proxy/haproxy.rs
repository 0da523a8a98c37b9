//! HAProxy's configuration: one frontend that looks up hosts and paths in maps, and the backends of services.
//!
//! Sources: the configuration manual's chapters on proxies, `http-request`, maps, `http-error` and crt-list.

mod backend;

use std::collections::BTreeSet;
use std::fmt::Write;

use askama::Template;
use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest, Sha256};

use self::backend::{Backend, EVERY_HOST, Way, backends};
use super::routing::RoutingTable;
use super::verdict::{Note, Refusal};
use super::{certificates, ipv6};
use crate::layout::Layout;
use crate::model::route::{Answer, Route, Security};
use crate::names::hex;
use crate::source::read;

/// The administrator's own configuration.
pub(super) const OWN: &str = "/etc/haproxy/haproxy.cfg";
/// The file below the driver's directory that HAProxy reads, as all `*.cfg` there.
const MAIN: &str = "conductor.cfg";
/// Hosts that have routes.
const HOSTS: &str = "hosts.map";
/// Hosts whose callers must come by TLS.
const SECURE: &str = "secure.map";
/// Backends by host and prefix of a path, and by host and path.
const PREFIXES: &str = "prefixes.map";
const PATHS: &str = "paths.map";
/// Certificates with the hosts that they are for.
const CERTIFICATES: &str = "certificates.list";
/// The host by which the frontend tells which configuration is loaded; RFC 6761 gives the name to nobody.
const MARKED: &str = "conductor.invalid";

#[derive(Template)]
#[template(path = "proxy/haproxy/conductor.cfg", escape = "none")]
struct Main<'a> {
    mark: String,
    /// The driver's directory.
    dir: Utf8PathBuf,
    is_empty: bool,
    has_ipv6: bool,
    has_tls: bool,
    has_paths: bool,
    has_log: bool,
    backends: &'a [Backend],
    has_clients: bool,
    trusted: &'a [String],
    /// Backends with the conditions for them, where paths alone do not decide.
    rules: Vec<(&'a str, &'a str)>,
}

/// Texts of the files beside the main one, by what they are looked up by.
#[derive(Default)]
struct Maps {
    hosts: String,
    secure: String,
    prefixes: String,
    paths: String,
    certificates: String,
    /// The files of certificates whose key is apart.
    links: String,
}

impl Maps {
    fn new(layout: &Layout, table: &RoutingTable, backends: &[Backend]) -> Self {
        let mut maps = Self::default();
        let mut certificates = BTreeSet::new();
        let mut links = BTreeSet::new();
        for site in &table.sites {
            let host = site.host.as_deref().unwrap_or(EVERY_HOST);
            add(&mut maps.hosts, host, host);
            if let Some((line, link)) = certificate(layout, host, &site.security) {
                add(&mut maps.secure, host, host);
                certificates.insert(line);
                links.extend(link);
            }
        }
        maps.certificates = certificates.into_iter().collect();
        maps.links = links.into_iter().collect();
        let by_path = backends.iter().flat_map(|backend| &backend.routes).filter(|way| way.rule.is_none());
        for Way { host, path, is_exact, backend, rule: _ } in by_path {
            let host = host.as_deref().unwrap_or(EVERY_HOST);
            if *is_exact {
                add(&mut maps.paths, &format!("{host}{path}"), backend);
            } else {
                // The looked up text ends with a slash, too: a prefix is one of whole segments.
                add(&mut maps.prefixes, &format!("{host}{}/", path.trim_end_matches('/')), backend);
            }
        }
        maps
    }

    /// Returns the files that the main one names.
    fn files(self) -> impl Iterator<Item = (&'static str, String)> {
        let has_hosts = !self.hosts.is_empty();
        let Self { hosts, secure, prefixes, paths, certificates, links } = self;
        let others = [(SECURE, secure), (PATHS, paths), (CERTIFICATES, certificates), (certificates::LIST, links)];
        let others = others.into_iter().filter(|(_, text)| !text.is_empty());
        [(HOSTS, hosts), (PREFIXES, prefixes)].into_iter().filter(move |_| has_hosts).chain(others)
    }
}

/// Renders a routing table as a frontend, beside the administrator's own.
pub(super) fn render(layout: &Layout, table: &RoutingTable) -> Vec<(Utf8PathBuf, Vec<u8>)> {
    let backends = backends(table);
    let maps = Maps::new(layout, table, &backends);
    let mut main = Main {
        mark: String::new(),
        dir: layout.published_proxy("haproxy"),
        is_empty: table.sites.is_empty(),
        has_ipv6: ipv6::is_there(layout),
        has_tls: !maps.certificates.is_empty(),
        has_paths: !maps.paths.is_empty(),
        has_log: backends.iter().any(|backend| backend.is_logged),
        has_clients: table.sites.iter().flat_map(|site| &site.matches).any(|it| !it.handling.clients.is_empty()),
        backends: &backends,
        trusted: &table.trusted,
        rules: rules(&backends),
    };
    let files: Vec<_> = maps.files().collect();
    let mut mark = Sha256::new();
    mark.update(text(&main));
    files.iter().for_each(|(_, text)| mark.update(text));
    main.mark = hex(&mark.finalize());
    let main = (MAIN, text(&main));
    [main].into_iter().chain(files).map(|(path, text)| (path.into(), text.into_bytes())).collect()
}

fn rules(backends: &[Backend]) -> Vec<(&str, &str)> {
    let ways = backends.iter().flat_map(|backend| &backend.routes);
    let mut rules: Vec<_> = ways.filter_map(|way| Some((way.rule.as_ref()?, way.backend.as_str()))).collect();
    rules.sort_by_key(|(rule, _)| rule.place);
    rules.into_iter().map(|(rule, backend)| (backend, rule.conditions.as_str())).collect()
}

fn text(main: &Main) -> String {
    main.render().expect("the template takes any routes") + "\n"
}

fn add(map: &mut String, key: &str, value: &str) {
    writeln!(map, "{key} {value}").expect("a string takes any text");
}

/// Returns a site's line among the certificates, and that of its links if the private key is in another file; None without
/// a certificate.
fn certificate(layout: &Layout, host: &str, security: &Security) -> Option<(String, Option<String>)> {
    let Security::With { certificate, client_ca } = security else { return None };
    let certificate = certificate.as_ref()?;
    let file = certificates::place(layout, certificate);
    let authorities = client_ca.as_ref().map(|file| format!(" ca-file {file} verify required")).unwrap_or_default();
    let line = format!("{file} [alpn h2,http/1.1{authorities}] {host}\n");
    Some((line, certificates::line(layout, certificate)))
}

/// Returns the key of a route that HAProxy cannot express, and why.
pub(super) fn unsupported(route: &Route) -> Option<(&'static str, String)> {
    let Route { host: _, security, matching: _, answer, handling } = route;
    let wrong = |key, why: &str| Some((key, why.to_owned()));
    match security {
        Security::Off | Security::With { certificate: Some(_), .. } => {}
        Security::Auto | Security::With { certificate: None, .. } => {
            return wrong(
                "tls",
                "certificates are files: name them by `certificate` and `certificate_key`, or write tls = \"off\"",
            );
        }
    }
    match answer {
        Answer::Redirect { status, .. } if !matches!(status, 301 | 302 | 303 | 307 | 308) => {
            return wrong("status", "redirects are 301, 302, 303, 307 or 308");
        }
        Answer::Files => return wrong("static", "no files are served"),
        Answer::Service { .. } | Answer::Redirect { .. } | Answer::Respond { .. } => {}
    }
    if handling.files.is_some() {
        return wrong("static", "no files are served");
    }
    if handling.forward_auth.is_some() {
        return wrong("forward_auth", "no other server can be asked");
    }
    if handling.timeouts.write.is_some_and(|write| handling.timeouts.read != Some(write)) {
        return wrong("write_timeout", "there is one timeout of a service: write the same as read_timeout");
    }
    let snippet = handling.snippets.get("haproxy")?;
    let begins_section = |line: &str| SECTIONS.contains(&line.split_whitespace().next().unwrap_or_default());
    snippet.lines().any(begins_section).then(|| ("snippet", "it begins another section".to_owned()))
}

/// Words that begin a section.
const SECTIONS: [&str; 17] = [
    "backend",
    "cache",
    "crt-store",
    "defaults",
    "fcgi-app",
    "frontend",
    "global",
    "http-errors",
    "listen",
    "log-forward",
    "log-profile",
    "mailers",
    "peers",
    "program",
    "resolvers",
    "ring",
    "userlist",
];

fn own(layout: &Layout) -> String {
    read::text(&layout.at(Utf8Path::new(OWN)), Utf8Path::new(OWN)).unwrap_or_default()
}

/// Lists the lines of a configuration as words, without comments.
fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split('#').next().unwrap_or_default().split_whitespace().collect())
}

/// Returns the user of HAProxy's workers; None: root.
pub(super) fn user(layout: &Layout) -> Option<String> {
    let own = own(layout);
    let user = lines(&own).find_map(|words| (words.first() == Some(&"user")).then(|| words.get(1).copied()).flatten());
    user.map(str::to_owned)
}

/// Returns the line that binds port 80 for all addresses.
fn binds_http(own: &str) -> Option<String> {
    let is_http = |address: &&str| matches!(*address, ":80" | "*:80" | "0.0.0.0:80" | ":::80" | "[::]:80" | "::80");
    let binds = lines(own).filter(|words| words.first() == Some(&"bind"));
    binds
        .into_iter()
        .find(|words| words.get(1).is_some_and(|it| it.split(',').any(|one| is_http(&one))))
        .map(|words| words.join(" "))
}

/// Returns why the frontend cannot be beside the administrator's: both would get some of the connections.
pub(super) fn conflict<'a>(layout: &Layout, mut texts: impl Iterator<Item = &'a str>) -> Option<Refusal> {
    let line = binds_http(&own(layout))?;
    texts.any(|text| text.contains("\nfrontend conductor ")).then(|| Refusal {
        words: format!("{OWN} has `{line}`, and routes of services are on that port"),
        help: Some(format!("remove that line from {OWN}, or write [proxy] driver = \"none\"")),
    })
}

/// Returns the remedy for what HAProxy refuses or cannot do.
pub(super) fn explain(words: &str) -> Option<String> {
    let is_in_use = words.contains("Address already in use") || words.contains("cannot bind socket");
    is_in_use.then(|| "end the process that has the port (`ss -ltnp`), then run `conductor daemon-reload`".to_owned())
}

/// Returns the host by which the frontend answers with its mark, and the mark of a published text.
pub(super) fn mark(published: &str) -> Option<(&'static str, &str)> {
    let mark = published.lines().find_map(|line| line.strip_prefix("# Mark: "))?;
    Some((MARKED, mark))
}

/// Returns what keeps HAProxy from serving routes, in its own configuration.
pub(super) fn note(own: &str) -> Option<Note> {
    binds_http(own).map(|line| Note {
        finding: format!("{OWN} has `{line}`"),
        remedy: "remove it: the routes of services are on that port",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_binds_port_80_is_found() {
        for bind in ["*:80", ":80", "0.0.0.0:80", "[::]:80 v6only", "127.0.0.1:8080,*:80"] {
            assert!(binds_http(&format!("frontend a\n\tbind {bind}\n")).is_some(), "{bind}");
        }
        for bind in ["*:8080", "127.0.0.1:80", ":443 ssl crt /a"] {
            assert!(binds_http(&format!("frontend a\n\tbind {bind}\n# bind :80\n")).is_none(), "{bind}");
        }
    }
}
