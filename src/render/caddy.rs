//! Caddy's configuration: one site a host, all services' routes in it.
//!
//! Sources: the Caddyfile manual's pages on `reverse_proxy`, `handle` and `handle_errors`.

use std::collections::BTreeMap;

use askama::Template;
use camino::Utf8PathBuf;

use crate::escape::CaddyToken;
use crate::layout::Layout;
use crate::model::{Service, Tls};

/// Below the proxy's directory.
const SITES: &str = "caddy/sites.caddy";

#[derive(Template)]
#[template(path = "sites.caddy", escape = "none")]
struct Sites<'a> {
    sites: Vec<Site<'a>>,
}

struct Site<'a> {
    address: String,
    /// The most specific path first, as Caddy's `handle` blocks are tried in order.
    handlers: Vec<Handler<'a>>,
}

struct Handler<'a> {
    service: &'a str,
    /// None: everything that is left.
    path: Option<CaddyToken<'a>>,
    below: String,
    slots: Vec<String>,
}

/// Renders the routes of all services. If two claim one, the first in the list has it.
pub fn render(layout: &Layout, services: &[Service]) -> Vec<(Utf8PathBuf, Vec<u8>)> {
    let mut sites: BTreeMap<String, BTreeMap<&str, &Service>> = BTreeMap::new();
    for service in services {
        for route in &service.routes {
            let address = address(route.host.as_deref(), route.tls);
            sites.entry(address).or_default().entry(&route.path).or_insert(service);
        }
    }
    let sites = sites.into_iter().map(|(address, routes)| {
        let mut handlers: Vec<_> = routes.into_iter().map(|(path, service)| handler(layout, path, service)).collect();
        handlers.sort_by_key(|handler| std::cmp::Reverse(handler.below.len()));
        Site { address, handlers }
    });
    let text = Sites { sites: sites.collect() }.render().expect("the template takes any routes");
    vec![(SITES.into(), text.into_bytes())]
}

/// A site's address: a scheme switches automatic HTTPS off.
fn address(host: Option<&str>, tls: Tls) -> String {
    match (host, tls) {
        (None, _) => "http://".to_owned(),
        (Some(host), Tls::Off) => format!("http://{host}"),
        (Some(host), Tls::Auto) => host.to_owned(),
    }
}

fn handler<'a>(layout: &Layout, path: &'a str, service: &'a Service) -> Handler<'a> {
    let slots = layout.slots(&service.name);
    Handler {
        service: service.name.as_str(),
        path: (path != "/").then_some(CaddyToken(path)),
        below: CaddyToken(&format!("{}/*", path.trim_end_matches('/'))).to_string(),
        slots: (1..=service.slots).map(|slot| CaddyToken(&format!("unix/{slots}/{slot}")).to_string()).collect(),
    }
}
