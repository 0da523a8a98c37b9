//! nginx's configuration: the upstreams of each service, and one server a host with the routes of all services.
//!
//! Sources: the manual's pages on the core, proxy, upstream, rewrite, headers and ssl modules, and its page "How nginx
//! processes a request".

mod choice;
mod fastcgi;
mod field;
mod location;
mod login;
mod own;
mod page;
mod snippet;
mod text;

use std::collections::BTreeSet;

use askama::Template;
use camino::{Utf8Path, Utf8PathBuf};

use self::choice::{Choice, Choices};
use self::field::FIELDS;
use self::location::{Location, is_client, locations};
use self::own::Own;
use self::page::Page;
use super::routing::{self, RoutingTable};
use super::variant::{Variant, variants};
use super::verdict::{Note, Refusal};
use crate::declaration::Affinity;
use crate::layout::Layout;
use crate::model::route::{Answer, AppProtocol, Certificate, Route, Security};
use crate::names::{FUNCTION_UNITS, FunctionId, USER_FIELD};

/// The file with the servers, below the driver's directory; `*.conf` is included.
const SITES: &str = "sites.conf";
/// The file with what all servers have, which they include.
const COMMON: &str = "server.inc";
/// The longest name that nginx's table of names takes by default, of which a bucket has 64 bytes.
const LONGEST_NAME: usize = 46;

#[derive(Template)]
#[template(path = "proxy/nginx/sites.conf", escape = "none")]
struct Sites<'a> {
    upstreams: Vec<Variant<'a>>,
    /// Whether clients are told apart by a cookie.
    has_cookies: bool,
    /// Lists of clients that routes are for, each with the variable that says whether a client is one of them.
    clients: Vec<(String, &'a Vec<String>)>,
    servers: Vec<Server<'a>>,
    /// Whether a server answers 404 for hosts that nobody names.
    is_closed: bool,
    /// Whether a server refuses certificates for such hosts.
    refuses_tls: bool,
    has_ipv6: bool,
    /// The path of `COMMON`.
    common: Utf8PathBuf,
    trusted: &'a [String],
}

struct Server<'a> {
    names: String,
    /// The certificate's lines; None for plain HTTP.
    tls: Option<Vec<String>>,
    /// Whether clients may speak HTTP/2, as those of gRPC do.
    has_http2: bool,
    /// Whether functions are served here, whose requests may name no user.
    has_functions: bool,
    functions: Option<Functions>,
    locations: Vec<Location<'a>>,
    choices: Vec<Choice>,
    /// The files that are served for errors.
    pages: BTreeSet<Page>,
    has_logins: bool,
    has_root: bool,
}

struct Functions {
    /// The directory of the functions' sockets.
    sockets: Utf8PathBuf,
    /// The unit of a declared function's socket.
    unit: String,
    /// A pattern of the paths of functions that are not served by their IDs; None if all are.
    withdrawn: Option<String>,
}

#[derive(Template)]
#[template(path = "proxy/nginx/server.inc", escape = "none")]
struct Common<'a> {
    trusted: &'a [String],
}

/// Renders a routing table as servers, beside the administrator's own.
pub(super) fn render(layout: &Layout, table: &RoutingTable) -> Vec<(Utf8PathBuf, Vec<u8>)> {
    let own = Own::read(layout);
    let clients = clients(table);
    let mut choices = 0;
    let mut servers: Vec<_> = table
        .sites
        .iter()
        .map(|site| {
            let server = server(site, &clients, choices);
            choices += server.choices.len();
            server
        })
        .collect();
    // Patterns are tried in the order of the file, and a name that is none comes before all of them.
    servers.sort_by(|one, other| (one.is_last(), &one.names).cmp(&(other.is_last(), &other.names)));
    let has_tls = servers.iter().any(|server| server.tls.is_some());
    let has_every_host = table.sites.iter().any(|site| site.host.is_none());
    let upstreams = variants(table);
    let sites = Sites {
        has_cookies: upstreams.iter().any(|upstream| upstream.affinity == Some(Affinity::Cookie)),
        upstreams,
        clients: clients.iter().enumerate().map(|(index, list)| (is_client(index), *list)).collect(),
        is_closed: !servers.is_empty() && !has_every_host && own.default_server(80).is_none(),
        refuses_tls: has_tls && own.default_server(443).is_none(),
        has_ipv6: own.has_ipv6,
        common: layout.published_proxy("nginx").join(COMMON),
        trusted: &table.trusted,
        servers,
    };
    let mut text = sites.render().expect("the template takes any routes");
    text.push('\n');
    let mut common = Common { trusted: &table.trusted }.render().expect("the template has no values that fail");
    common.push('\n');
    vec![(SITES.into(), text.into_bytes()), (COMMON.into(), common.into_bytes())]
}

/// Returns the key of a route that nginx cannot express, and why.
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
    let is_fastcgi = matches!(answer, Answer::Service { protocol: AppProtocol::FastCgi { .. }, .. });
    if is_fastcgi && handling.files.is_some() {
        return wrong("static", "programs by FastCGI have their files beside them");
    }
    if handling.forward_auth.is_some() && handling.basic_auth.is_some() {
        return wrong("basic_auth", "a route has one way to log in: remove forward_auth, or this");
    }
    if !handling.request_headers.add.is_empty() {
        return wrong("add_request_headers", "a field of a request has one value: write set_request_headers");
    }
    super::snippet::mistake(route, "nginx")
}

/// Lists the clients that routes are for.
fn clients(table: &RoutingTable) -> Vec<&Vec<String>> {
    let matches = table.sites.iter().flat_map(|site| &site.matches);
    let lists = matches.map(|it| &it.handling.clients).filter(|clients| !clients.is_empty());
    lists.collect::<BTreeSet<_>>().into_iter().collect()
}

fn server<'a>(site: &'a routing::Site, clients: &[&Vec<String>], first: usize) -> Server<'a> {
    let matches = &site.matches;
    let choices = Choices::of(matches, first);
    let locations = locations(matches, &choices, clients);
    let has_path = |path: &str| locations.iter().flat_map(|location| &location.paths).any(|(there, _)| there == path);
    let Choices { locations: chosen, .. } = choices;
    Server {
        names: names(site.host.as_deref()),
        tls: tls(site),
        has_http2: matches.iter().any(|it| matches!(it.backend, routing::Backend::Service(_, AppProtocol::H2c))),
        has_functions: site.functions.is_some() || matches.iter().any(routing::Match::is_of_function),
        functions: site.functions.as_ref().map(functions),
        has_root: has_path("/") || chosen.iter().any(|choice| choice.path == "/"),
        has_logins: locations.iter().any(|location| location.login.is_some()),
        pages: locations.iter().flat_map(|location| &location.pages).cloned().collect(),
        choices: chosen,
        locations,
    }
}

impl Server<'_> {
    /// The rank among servers: names, patterns, every host.
    fn is_last(&self) -> u8 {
        match self.names.as_str() {
            EVERY_HOST => 2,
            names => u8::from(names.starts_with("\"~")),
        }
    }
}

/// Every host, and requests without a host, of HTTP/1.0. A pattern is before any `default_server`: Debian's example is one.
const EVERY_HOST: &str = "\"\" \"~^\"";

/// Returns a server's names. `*` is one label; nginx's own `*.` is any number of them.
fn names(host: Option<&str>) -> String {
    let pattern = |text: &str| text.replace('.', r"\.");
    match host {
        None => EVERY_HOST.to_owned(),
        Some(host) => match host.strip_prefix("*.") {
            Some(domain) => format!(r#""~^[^.]+\.{}$""#, pattern(domain)),
            None if host.len() > LONGEST_NAME => format!(r#""~^{}$""#, pattern(host)),
            None => host.to_owned(),
        },
    }
}

fn tls(site: &routing::Site) -> Option<Vec<String>> {
    let Security::With { certificate, client_ca } = &site.security else { return None };
    let Certificate { chain, key } = certificate.as_ref()?;
    let mut lines = vec![format!("ssl_certificate {chain};"), format!("ssl_certificate_key {key};")];
    if let Some(authorities) = client_ca {
        lines.extend([format!("ssl_client_certificate {authorities};"), "ssl_verify_client on;".to_owned()]);
    }
    Some(lines)
}

fn functions(functions: &routing::Functions) -> Functions {
    let routing::Functions { sockets, units, withdrawn, .. } = functions;
    let ids: Vec<_> = withdrawn.iter().map(FunctionId::as_str).collect();
    Functions {
        sockets: sockets.clone(),
        unit: format!("{units}/{FUNCTION_UNITS}$conductor_function.socket"),
        withdrawn: (!ids.is_empty()).then(|| format!("^/cgi/({})(/|$)", ids.join("|"))),
    }
}

/// Returns the user of nginx's workers.
pub(super) fn user(layout: &Layout) -> String {
    Own::read(layout).user
}

/// Returns why routes for every host cannot be served: the administrator's own server answers for hosts without a server.
pub(super) fn conflict<'a>(layout: &Layout, mut texts: impl Iterator<Item = &'a str>) -> Option<Refusal> {
    let own = Own::read(layout);
    let file = own.default_server(80)?;
    let line = format!("server_name {EVERY_HOST};");
    texts.any(|text| text.contains(&line)).then(|| Refusal {
        words: format!("{file} has the default_server of port 80, where routes without a host, and functions, are"),
        help: Some(format!(
            "remove default_server from {file}, or give the routes hosts and write [functions] address = false"
        )),
    })
}

/// Returns what nginx only warns of: of two servers with one name it takes the first, whosever it is.
pub(super) fn warning(output: &str) -> Option<Refusal> {
    let line = output.lines().find(|line| line.contains("conflicting server name"))?;
    Some(Refusal { words: line.to_owned(), help: explain(line) })
}

/// Returns the remedy for what nginx refuses or cannot do. Its text is parsed, because nginx reports errors as text alone.
pub(super) fn explain(words: &str) -> Option<String> {
    if let Some((_, rest)) = words.rsplit_once("conflicting server name \"") {
        let name = rest.split('"').next().unwrap_or_default();
        return Some(format!("remove the server {name} from /etc/nginx, then run `conductor daemon-reload`"));
    }
    if words.contains("Address already in use") {
        let remedy = "end the process that has the port (`ss -ltnp`), then run `conductor daemon-reload`";
        return Some(remedy.to_owned());
    }
    words
        .contains("server_names_hash")
        .then(|| "write `server_names_hash_max_size 4096;` into the block http of /etc/nginx/nginx.conf".to_owned())
}

/// Returns what keeps nginx from serving routes, in its own configuration.
pub(super) fn note(layout: &Layout, main: &str) -> Option<Note> {
    if !main.is_empty() && !own::includes(main, Utf8Path::new("/etc/nginx/conf.d/conductor.conf")) {
        return Some(Note {
            finding: "/etc/nginx/nginx.conf does not include /etc/nginx/conf.d/conductor.conf".to_owned(),
            remedy: "write `include /etc/nginx/conf.d/*.conf;` into its block http",
        });
    }
    Own::read(layout).default_server(80).map(|file| Note {
        finding: format!("{file} has the default_server of port 80"),
        remedy: "remove default_server there: functions, and routes without a host, need it",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_as_the_model_means_them() {
        assert_eq!(names(Some("a.example.com")), "a.example.com");
        assert_eq!(names(Some("*.example.com")), r#""~^[^.]+\.example\.com$""#);
        let long = format!("{}.example.com", "a".repeat(50));
        assert_eq!(names(Some(&long)), format!(r#""~^{}\.example\.com$""#, "a".repeat(50)));
    }
}
