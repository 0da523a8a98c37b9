//! Reading `conductor.toml`: the defaults of all services of a host, and what holds for its functions.

use camino::Utf8PathBuf;

use crate::declaration::host::{ProxyDriver, Settings};
use crate::diagnostic::Diagnostic;
use crate::document::Node;
use crate::key::File;
use crate::key::mismatch;
use crate::layout::Layout;
use crate::model::network;
use crate::path;
use crate::source::read;

/// Where the file is that counts: the first of the search path, as declarations are found.
fn place(layout: &Layout) -> Result<Option<Utf8PathBuf>, Diagnostic> {
    for path in layout.settings() {
        if read::exists(&layout.at(&path), &path)? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Reads the defaults of all services of a host, untyped; None without conductor.toml.
///
/// # Errors
/// If the file cannot be read, is not TOML, or has other keys and types than [`Settings`].
pub(crate) fn defaults(layout: &Layout) -> Result<Option<Node>, Diagnostic> {
    Ok(settings(layout)?.and_then(|(document, _)| document.get(&path!["service"]).cloned()))
}

/// Returns whether the proxy serves functions at `/cgi/ID` on this host.
///
/// # Errors
/// If the file cannot be read, is not TOML, or has other keys and types than [`Settings`].
pub(crate) fn has_function_addresses(layout: &Layout) -> Result<bool, Diagnostic> {
    Ok(settings(layout)?.and_then(|(_, settings)| settings.functions.address).unwrap_or(true))
}

/// Returns the driver that the host names for its proxy; None if it names none.
///
/// # Errors
/// If the file cannot be read, is not TOML, or has other keys and types than [`Settings`].
pub(crate) fn proxy_driver(layout: &Layout) -> Result<Option<ProxyDriver>, Diagnostic> {
    Ok(settings(layout)?.and_then(|(_, settings)| settings.proxy.driver))
}

/// Returns the addresses and networks of the proxies before the host's, which are believed.
///
/// # Errors
/// If the file cannot be read, is not TOML, or has other keys and types than [`Settings`]; if one is no address.
pub(crate) fn trusted_proxies(layout: &Layout) -> Result<Vec<String>, Diagnostic> {
    let Some((document, settings)) = settings(layout)? else { return Ok(Vec::new()) };
    let trusted = settings.proxy.trusted_proxies;
    match trusted.iter().position(|network| !network::is(network)) {
        None => Ok(trusted),
        Some(index) => {
            let message = format!("{:?} is neither an address nor a network", trusted[index]);
            Err(document.error(&path!["proxy", "trusted_proxies", index], message, "write such as \"10.0.0.0/8\""))
        }
    }
}

fn settings(layout: &Layout) -> Result<Option<(Node, Settings)>, Diagnostic> {
    let Some(path) = place(layout)? else { return Ok(None) };
    let Some(document) = read::drop_in(layout, &path)? else { return Ok(None) };
    let reading = mismatch::read::<Settings>(File::Host, &document);
    match (reading.errors.0.into_iter().next(), reading.value) {
        (None, Some(settings)) => Ok(Some((document, settings))),
        (Some(error), _) => Err(error),
        (None, None) => Ok(None),
    }
}
