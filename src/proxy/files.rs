//! The compiled proxy configuration among the generator's output, with its manifest.

use std::borrow::Cow;
use std::fmt::Write;

use camino::Utf8PathBuf;
use sha2::{Digest, Sha256};

use super::driver::Driver;
use super::passwords;
use super::routing::{FunctionRoutes, RoutingTable};
use crate::layout::Layout;
use crate::live;
use crate::model::route::{Answer, Handling, HeaderChanges};
use crate::model::{Footprint, Route};
use crate::names::hex;
use crate::source::settings;
use crate::tree::Tree;

/// The directory below the generator's; systemd ignores directories there.
pub(crate) const OUTPUT: &str = "conductor";
/// The file below `conductor/` with digests of all others, in the format of sha256sum(1).
pub(crate) const MANIFEST: &str = "SHA256SUMS";

/// The status of answers for a service that is stopped: 503 Service Unavailable, RFC 9110, section 15.6.4.
const UNAVAILABLE: u16 = 503;

/// Returns the directory of a driver's files below `conductor/`.
pub(crate) fn directory(driver: Driver) -> Utf8PathBuf {
    Utf8PathBuf::from("proxy").join(driver.name())
}

/// Renders the proxy's configuration of services and, where there are some, of functions, with its manifest. Without a
/// proxy that is the manifest alone.
pub(crate) fn render(
    layout: &Layout,
    driver: Option<Driver>,
    services: &[&Footprint],
    functions: Option<&FunctionRoutes>,
) -> Tree {
    let mut tree = Tree::default();
    let mut manifest = String::new();
    if let Some(driver) = driver {
        let services: Vec<_> = services.iter().map(|service| served(layout, servable(driver, service))).collect();
        let mut table = RoutingTable::new(layout, &services.iter().map(Cow::as_ref).collect::<Vec<_>>(), functions);
        // With a mistake in the file nobody is believed.
        table.trusted = settings::trusted_proxies(layout).unwrap_or_default();
        let users = table.password_files();
        let list: String = users.iter().map(|file| format!("{file}\n")).collect();
        let list = (!users.is_empty()).then(|| (passwords::LIST.into(), list.into_bytes()));
        for (path, content) in driver.render(layout, &table).into_iter().chain(list) {
            let path = directory(driver).join(path);
            writeln!(manifest, "{}  {path}", hex(&Sha256::digest(&content))).expect("a string takes any text");
            tree.file(Utf8PathBuf::from(OUTPUT).join(path), content);
        }
    }
    tree.file(format!("{OUTPUT}/{MANIFEST}"), manifest);
    tree
}

/// Takes the routes out of a service that the proxy cannot express: it runs with what another proxy served.
fn servable(driver: Driver, service: &Footprint) -> Cow<'_, Footprint> {
    let is_servable = |route: &Route| driver.unsupported(route).is_none();
    if service.routes.iter().all(is_servable) {
        return Cow::Borrowed(service);
    }
    let routes = service.routes.iter().filter(|route| is_servable(route)).cloned().collect();
    Cow::Owned(Footprint { routes, ..service.clone() })
}

/// Has the routes of a stopped service without a program answered by 503, as those of a service whose deployments stopped
/// are.
fn served<'a>(layout: &Layout, service: Cow<'a, Footprint>) -> Cow<'a, Footprint> {
    if service.has_program || !live::is_stopped(layout, &service.name) {
        return service;
    }
    let retry = HeaderChanges { set: [("Retry-After".to_owned(), "1".to_owned())].into(), ..HeaderChanges::default() };
    let closed = |route: &Route| Route {
        answer: Answer::Respond { body: "Service unavailable".to_owned(), status: UNAVAILABLE },
        handling: Handling {
            access_log: route.handling.access_log,
            response_headers: retry.clone(),
            ..Handling::default()
        },
        ..route.clone()
    };
    let routes = service.routes.iter().map(closed).collect();
    Cow::Owned(Footprint { routes, ..service.into_owned() })
}
