//! Caddy's configuration: the upstreams of each service, and one site a host with the routes of all services.
//!
//! Sources: the Caddyfile manual's pages on `reverse_proxy`, `handle`, `route` and `handle_errors`.

use askama::Template;
use camino::Utf8PathBuf;

use super::routing::{self, Backend, Match, RoutingTable, Upstreams};
use crate::model::Tls;

/// The one file, below the driver's directory.
const SITES: &str = "sites.caddy";

#[derive(Template)]
#[template(path = "proxy/caddy/sites.caddy", escape = "none")]
struct Sites<'a> {
    services: Vec<Service<'a>>,
    sites: Vec<Site<'a>>,
}

struct Service<'a> {
    name: &'a str,
    /// The directory of its slots, which are named 1 to `slots`.
    dir: &'a str,
    slots: u32,
    /// With round robin, twice around finds a slot that is left.
    retries: u32,
}

struct Site<'a> {
    address: String,
    /// `handle` blocks are tried in order.
    matches: &'a [Match],
    has_root: bool,
    functions: Option<Functions>,
}

struct Functions {
    /// Upstreams of functions, before their IDs.
    sockets: String,
    /// A function's manifest, relative to the root, is one of these.
    manifests: Vec<String>,
}

/// Renders a routing table as a Caddyfile.
pub(super) fn render(table: &RoutingTable) -> Vec<(Utf8PathBuf, Vec<u8>)> {
    let services = table.upstreams.iter().map(service).collect();
    let mut sites: Vec<_> = table.sites.iter().map(site).collect();
    sites.sort_by(|one, other| one.address.cmp(&other.address));
    let mut text = Sites { services, sites }.render().expect("the template takes any routes");
    text.push('\n');
    vec![(SITES.into(), text.into_bytes())]
}

fn service(upstreams: &Upstreams) -> Service<'_> {
    Service {
        name: upstreams.service.as_str(),
        dir: upstreams.dir.as_str(),
        slots: upstreams.slots,
        retries: 2 * upstreams.slots,
    }
}

fn site(site: &routing::Site) -> Site<'_> {
    Site {
        address: address(site.host.as_deref(), site.tls),
        matches: &site.matches,
        has_root: site.matches.iter().any(|it| it.path == "/"),
        functions: site.functions.as_ref().map(functions),
    }
}

/// A site's address: a scheme switches automatic HTTPS off. `http://` without a host would be merged silently behind an
/// admin's `:80`; two sites `:80` are an error that names them.
fn address(host: Option<&str>, tls: Tls) -> String {
    match (host, tls) {
        (None, _) => EVERY_HOST.to_owned(),
        (Some(host), Tls::Off) => format!("http://{host}"),
        (Some(host), Tls::Auto) => host.to_owned(),
    }
}

fn functions(functions: &routing::Functions) -> Functions {
    let manifest = functions.manifest;
    let manifests = functions.dirs.iter().map(|dir| format!("{dir}/{{http.regexp.function.1}}/{manifest}"));
    Functions { sockets: format!("unix/{}", functions.sockets), manifests: manifests.collect() }
}

/// The site of routes and aliases without a host; Debian's own Caddyfile has it as well, as an example.
pub(super) const EVERY_HOST: &str = ":80";

/// Returns the remedy for a site that the administrator's Caddyfile has as well. Caddy's text is parsed, because `caddy
/// adapt` reports errors as text alone.
pub(super) fn explain(words: &str) -> Option<String> {
    let (_, site) = words.rsplit_once("ambiguous site definition: ")?;
    let site = site.split_whitespace().next()?;
    let example = if site == EVERY_HOST { " (Debian's Caddyfile has it as an example)" } else { "" };
    Some(format!("remove the site {site} from /etc/caddy/Caddyfile{example}, then run `conductor daemon-reload`"))
}

/// Returns whether a Caddyfile has the site of all hosts: a route or an alias without a host cannot be served beside
/// it.
pub(super) fn has_every_host(caddyfile: &str) -> bool {
    caddyfile.lines().any(|line| line.split_whitespace().next() == Some(EVERY_HOST))
}
