//! Caddy's configuration: the upstreams of each service, and one site a host with the routes of all services.
//!
//! Sources: the Caddyfile manual's pages on `reverse_proxy`, `handle`, `route`, `handle_errors` and `tls`.

mod directive;

use askama::Template;
use camino::Utf8PathBuf;

use self::directive::{Handle, OwnErrors};
use super::forwarded;
use super::routing::{self, Reached, RoutingTable, Upstreams};
use crate::model::route::{Certificate, Security};
use crate::names::{FUNCTION_UNITS, FunctionId, USER_FIELD};

/// The one file, below the driver's directory.
const SITES: &str = "sites.caddy";

#[derive(Template)]
#[template(path = "proxy/caddy/sites.caddy", escape = "none")]
struct Sites<'a> {
    services: Vec<Service<'a>>,
    sites: Vec<Site<'a>>,
    has_functions: bool,
    /// Whether requests without a site of their own need an answer.
    is_open: bool,
}

struct Service<'a> {
    name: &'a Reached,
    slots: &'a [Utf8PathBuf],
    /// With round robin, twice around finds a slot that is left.
    retries: usize,
}

struct Site<'a> {
    address: String,
    /// The lines of `tls`.
    tls: Vec<String>,
    /// The address whose callers are sent to this one. Caddy 2.6 does that by itself only beside certificates that it gets.
    plain: Option<String>,
    has_log: bool,
    /// `handle` blocks are tried in order.
    handles: Vec<Handle<'a>>,
    /// Pages for what Caddy itself answers.
    own_errors: Vec<OwnErrors<'a>>,
    has_root: bool,
    /// Whether functions are served here, whose requests may name no user.
    has_functions: bool,
    functions: Option<Functions>,
}

struct Functions {
    /// Upstreams of functions, before their IDs.
    sockets: String,
    /// The unit of a declared function's socket.
    unit: String,
    /// A pattern of the paths of functions that are not served by their IDs; None if all are.
    withdrawn: Option<String>,
}

/// Renders a routing table as a Caddyfile.
pub(super) fn render(table: &RoutingTable) -> Vec<(Utf8PathBuf, Vec<u8>)> {
    let services = table.upstreams.iter().map(service).collect();
    let mut sites: Vec<_> = table.sites.iter().map(|it| site(it, &table.trusted)).collect();
    sites.sort_by(|one, other| one.address.cmp(&other.address));
    let has_functions = sites.iter().any(|site| site.has_functions);
    let is_open = !sites.is_empty() && !table.sites.iter().any(|site| site.host.is_none());
    let mut text = Sites { services, sites, has_functions, is_open }.render().expect("the template takes any routes");
    text.push('\n');
    vec![(SITES.into(), text.into_bytes())]
}

fn service(upstreams: &Upstreams) -> Service<'_> {
    let Upstreams { reached, slots } = upstreams;
    Service { name: reached, slots, retries: 2 * slots.len() }
}

fn site<'a>(site: &'a routing::Site, trusted: &[String]) -> Site<'a> {
    let has_log = site.matches.iter().any(|it| it.handling.access_log);
    let handle = |(index, it)| Handle::new(index + 1, it, has_log, trusted);
    let pages = |(index, it)| OwnErrors::of(index + 1, it);
    let own_errors = site.matches.iter().enumerate().filter_map(pages).collect();
    let handles = site.matches.iter().enumerate().map(handle).collect();
    Site {
        address: address(site.host.as_deref(), &site.security),
        tls: tls(&site.security),
        plain: plain(site.host.as_deref(), &site.security),
        has_log,
        handles,
        own_errors,
        has_root: site.matches.iter().any(|it| it.matching.is_everything()),
        has_functions: site.functions.is_some() || site.matches.iter().any(routing::Match::is_of_function),
        functions: site.functions.as_ref().map(functions),
    }
}

/// A site's address: a scheme switches automatic HTTPS off. `http://` without a host would be merged silently behind an
/// admin's `:80`; two sites `:80` are an error that names them.
fn address(host: Option<&str>, security: &Security) -> String {
    match (host, security) {
        (None, _) => EVERY_HOST.to_owned(),
        (Some(host), Security::Off) => format!("http://{host}"),
        (Some(host), Security::Auto | Security::With { .. }) => host.to_owned(),
    }
}

fn plain(host: Option<&str>, security: &Security) -> Option<String> {
    let has_file = matches!(security, Security::With { certificate: Some(_), .. });
    host.filter(|_| has_file).map(|host| format!("http://{host}"))
}

/// Returns the lines of `tls`, none for plain HTTP and for a certificate that Caddy gets by itself.
fn tls(security: &Security) -> Vec<String> {
    let Security::With { certificate, client_ca } = security else { return Vec::new() };
    let files = certificate.as_ref().map(|Certificate { chain, key }| format!(" {chain} {key}")).unwrap_or_default();
    match client_ca {
        None => vec![format!("tls{files}")],
        Some(authorities) => vec![
            format!("tls{files} {{"),
            "\tclient_auth {".to_owned(),
            "\t\tmode require_and_verify".to_owned(),
            format!("\t\ttrusted_ca_cert_file {authorities}"),
            "\t}".to_owned(),
            "}".to_owned(),
        ],
    }
}

fn functions(functions: &routing::Functions) -> Functions {
    let unit = format!("{}/{FUNCTION_UNITS}{{http.regexp.function.1}}.socket", functions.units);
    let ids: Vec<_> = functions.withdrawn.iter().map(FunctionId::as_str).collect();
    let withdrawn = (!ids.is_empty()).then(|| format!("^/cgi/({})(/|$)", ids.join("|")));
    Functions { sockets: format!("unix/{}", functions.sockets), unit, withdrawn }
}

/// The site of routes and aliases without a host; Debian's own Caddyfile has it as well, as an example.
pub(super) const EVERY_HOST: &str = ":80";

/// The first line of that site.
const EVERY_HOST_SITE: &str = ":80 {";

/// Global options that put Caddy's administration on a socket in a directory of its own. On its port 2019 every local
/// user can reconfigure it.
pub(super) const PRIVATE_ADMINISTRATION: &str = "{\n\tadmin unix//run/caddy/admin.sock\n}\n";

/// Returns whether a Caddyfile may have global options: it has a block without a name, or includes other files.
pub(super) fn may_have_options(caddyfile: &str) -> bool {
    caddyfile
        .lines()
        .any(|line| line.starts_with('{') || line.split_whitespace().next() == Some("{") || line.starts_with("import"))
}

/// Returns whether an answer to `GET /config/` is Caddy's configuration, or its refusal of a foreign origin.
pub(super) fn is_configuration(answer: &str) -> bool {
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    body.contains("\"apps\":{\"http\"") || body.contains("\"error\":\"host not allowed")
}

/// Returns the remedy for what Caddy refuses or cannot do. Its text is parsed, because Caddy reports errors as text
/// alone.
pub(super) fn explain(words: &str) -> Option<String> {
    let site = words.rsplit_once("ambiguous site definition: ").and_then(|(_, site)| site.split_whitespace().next());
    if let Some(site) = site {
        let example = if site == EVERY_HOST { " (Debian's Caddyfile has it as an example)" } else { "" };
        let remedy = "from /etc/caddy/Caddyfile";
        return Some(format!("remove the site {site} {remedy}{example}, then run `conductor daemon-reload`"));
    }
    let remedy = if words.contains("global configuration, and if used, it must be first") {
        "global options are new in /etc/caddy/Caddyfile: `systemctl restart caddy` takes them instead of conductor's"
    } else if words.contains("sending configuration to instance: performing request") {
        "Caddy reloads through its admin endpoint: take `admin off` out of /etc/caddy/Caddyfile, then `systemctl restart \
         caddy`"
    } else if words.contains("bind: address already in use") {
        "end the process that has the port (`ss -ltnp`), or change the site, then run `conductor daemon-reload`"
    } else {
        return None;
    };
    Some(remedy.to_owned())
}

/// Debian's Caddyfile without comments: an example with one site, of all hosts.
const EXAMPLE: [&str; 4] = [":80 {", "root * /usr/share/caddy", "file_server", "}"];
/// The variable with the administrator's Caddyfile, and a pattern for no file.
pub(super) const OWN: &str = "CONDUCTOR_CADDYFILE";
const NO_FILE: &str = "/run/conductor/proxy/none/*.caddy";

/// Returns the variable by which Caddy leaves Debian's example out: sites of services take its place.
pub(super) fn environment<'a>(
    own: &str,
    mut sites: impl Iterator<Item = &'a str>,
) -> Option<(&'static str, &'static str)> {
    let lines = own.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let has_http =
        |text: &str| text.lines().any(|line| line.starts_with(EVERY_HOST_SITE) || line.starts_with("http://"));
    (lines.eq(EXAMPLE) && sites.any(has_http)).then_some((OWN, NO_FILE))
}

/// Returns whether a Caddyfile has the site of all hosts: a route or an alias without a host cannot be served beside
/// it.
pub(super) fn has_every_host(caddyfile: &str) -> bool {
    let is_example = environment(caddyfile, [EVERY_HOST_SITE].into_iter()).is_some();
    !is_example && caddyfile.lines().any(|line| line.split_whitespace().next() == Some(EVERY_HOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debians_example_gives_way_to_sites() {
        let example =
            "# The Caddyfile is\n\n:80 {\n\t# Set this path\n\troot * /usr/share/caddy\n\n\tfile_server\n\t# x\n}\n";
        let sites = |text: &'static str| environment(example, [text].into_iter());
        assert!(sites("# none\n(conductor) {\n}\n").is_none());
        assert!(sites("\nhttp://a.localhost {\n}\n").is_some() && sites("\n:80 {\n}\n").is_some());
        let edited = example.replace("/usr/share/caddy", "/srv");
        assert!(environment(&edited, ["\n:80 {\n"].into_iter()).is_none() && has_every_host(&edited));
        assert!(!has_every_host(example));
    }

    #[test]
    fn options_of_the_administrator_are_found() {
        for own in
            ["{\n\temail a@b.c\n}\n", "# x\n\n{ # y\n}\n", "import options\n", "(a) {\n}\n  {\n}\n", "{$OPTIONS}\n"]
        {
            assert!(may_have_options(own), "{own}");
        }
        for own in ["", "# {\n:80 {\n\trespond {host}\n}\n", "a.localhost {\n\timport b\n}\n"] {
            assert!(!may_have_options(own), "{own}");
        }
    }
}
