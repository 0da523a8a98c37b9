//! Caddy's configuration: the upstreams of each service, and one site a host with all services'
//! routes in it.
//!
//! Sources: the Caddyfile manual's pages on `reverse_proxy`, `handle`, `route` and `handle_errors`.

use std::collections::BTreeMap;

use askama::Template;
use camino::Utf8PathBuf;

use crate::layout::Layout;
use crate::model::{Service, Tls};

/// Below the proxy's directory.
const SITES: &str = "caddy/sites.caddy";

#[derive(Template)]
#[template(path = "sites.caddy", escape = "none")]
struct Sites<'a> {
    services: Vec<Upstreams<'a>>,
    sites: Vec<Site<'a>>,
}

struct Upstreams<'a> {
    name: &'a str,
    slots: Vec<String>,
    /// With round robin, twice around finds a slot that is left.
    retries: u32,
}

struct Site<'a> {
    address: String,
    /// The longest path first: `handle` blocks are tried in order.
    routes: Vec<Route<'a>>,
    has_root: bool,
}

struct Route<'a> {
    service: &'a str,
    /// None: everything that is left. Models allow only characters that a Caddyfile takes literally.
    prefix: Option<&'a str>,
}

/// Renders the routes of all services. If two claim one, the first in the list has it.
pub fn render(layout: &Layout, services: &[&Service]) -> Vec<(Utf8PathBuf, Vec<u8>)> {
    let mut sites: BTreeMap<String, BTreeMap<&str, &Service>> = BTreeMap::new();
    for &service in services {
        for route in &service.routes {
            let address = address(route.host.as_deref(), route.tls);
            sites.entry(address).or_default().entry(&route.path).or_insert(service);
        }
    }
    let routed = services.iter().filter(|service| !service.routes.is_empty());
    let mut services: Vec<_> = routed.map(|&service| upstreams(layout, service)).collect();
    services.sort_by_key(|service| service.name);
    let sites = sites.into_iter().map(|(address, routes)| site(address, routes)).collect();
    let mut text = Sites { services, sites }.render().expect("the template takes any routes");
    text.push('\n');
    vec![(SITES.into(), text.into_bytes())]
}

/// A site's address: a scheme switches automatic HTTPS off. `http://` without a host would be
/// merged silently behind an admin's `:80`; two sites `:80` are an error that names them.
fn address(host: Option<&str>, tls: Tls) -> String {
    match (host, tls) {
        (None, _) => ":80".to_owned(),
        (Some(host), Tls::Off) => format!("http://{host}"),
        (Some(host), Tls::Auto) => host.to_owned(),
    }
}

fn upstreams<'a>(layout: &Layout, service: &'a Service) -> Upstreams<'a> {
    let slots = layout.slots(&service.name);
    Upstreams {
        name: service.name.as_str(),
        slots: (1..=service.slots).map(|slot| format!("unix/{slots}/{slot}")).collect(),
        retries: 2 * service.slots,
    }
}

fn site<'a>(address: String, routes: BTreeMap<&'a str, &'a Service>) -> Site<'a> {
    let has_root = routes.contains_key("/");
    let mut routes: Vec<_> = routes.into_iter().collect();
    routes.sort_by_key(|(path, _)| (std::cmp::Reverse(path.len()), *path));
    let routes = routes
        .into_iter()
        .map(|(path, service)| Route { service: service.name.as_str(), prefix: (path != "/").then_some(path) });
    Site { address, routes: routes.collect(), has_root }
}
