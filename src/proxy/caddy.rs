//! Caddy's configuration: the upstreams of each service, and one site a host with all services'
//! routes in it.
//!
//! Sources: the Caddyfile manual's pages on `reverse_proxy`, `handle`, `route` and `handle_errors`.

use std::collections::BTreeMap;

use askama::Template;
use camino::Utf8PathBuf;

use crate::layout::Layout;
use crate::model::alias::Alias;
use crate::model::{Service, Tls};
use crate::source::functions::{MANIFEST, SOCKET};

/// Below the proxy's directory.
const SITES: &str = "caddy/sites.caddy";

#[derive(Template)]
#[template(path = "proxy/caddy/sites.caddy", escape = "none")]
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
    /// Where functions are found by their IDs.
    functions: Option<Functions>,
}

/// All functions that are declared, whichever: another one changes nothing here.
pub struct Functions {
    sockets: String,
    /// A function's manifest, relative to the root, one of these.
    manifests: Vec<String>,
}

/// A function's alias, and the link through which it is reached.
pub struct Aliased {
    pub alias: Alias,
    pub tls: Tls,
    pub link: Utf8PathBuf,
}

/// Who answers below a path.
enum Target<'a> {
    Service(&'a str),
    /// The socket's path.
    Function(String),
}

struct Route<'a> {
    target: Target<'a>,
    /// None: everything that is left. Models allow only characters that a Caddyfile takes literally.
    prefix: Option<&'a str>,
}

/// Renders the routes of all services and, where there are functions, theirs: their aliases are not None then. If
/// two claim one, the first in the list has it, and services come first.
pub fn render(layout: &Layout, services: &[&Service], aliases: Option<&[Aliased]>) -> Vec<(Utf8PathBuf, Vec<u8>)> {
    let mut sites: BTreeMap<String, BTreeMap<&str, Target>> = BTreeMap::new();
    for &service in services {
        for route in &service.routes {
            let address = address(route.host.as_deref(), route.tls);
            sites.entry(address).or_default().entry(&route.path).or_insert(Target::Service(service.name.as_str()));
        }
    }
    for Aliased { alias, tls, link } in aliases.unwrap_or_default() {
        let tls = if alias.host.is_none() { Tls::Off } else { *tls };
        let routes = sites.entry(address(alias.host.as_deref(), tls)).or_default();
        routes.entry(&alias.path).or_insert_with(|| Target::Function(link.join(SOCKET).into_string()));
    }
    if aliases.is_some() {
        sites.entry(address(None, Tls::Off)).or_default();
    }
    let routed = services.iter().filter(|service| !service.routes.is_empty());
    let mut services: Vec<_> = routed.map(|&service| upstreams(layout, service)).collect();
    services.sort_by_key(|service| service.name);
    let every_host = address(None, Tls::Off);
    let functions = |address: &str| (aliases.is_some() && address == every_host).then(|| functions(layout));
    let sites =
        sites.into_iter().map(|(address, routes)| Site { functions: functions(&address), ..site(address, routes) });
    let sites = sites.collect();
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

fn functions(layout: &Layout) -> Functions {
    let dirs = layout.function_dirs().iter();
    Functions {
        sockets: format!("unix/{}", layout.function_sockets()),
        manifests: dirs.map(|dir| format!("{dir}/{{http.regexp.function.1}}/{MANIFEST}")).collect(),
    }
}

fn site<'a>(address: String, routes: BTreeMap<&'a str, Target<'a>>) -> Site<'a> {
    let has_root = routes.contains_key("/");
    let mut routes: Vec<_> = routes.into_iter().collect();
    routes.sort_by_key(|(path, _)| (std::cmp::Reverse(path.len()), *path));
    let routes = routes.into_iter().map(|(path, target)| Route { target, prefix: (path != "/").then_some(path) });
    Site { address, routes: routes.collect(), has_root, functions: None }
}
