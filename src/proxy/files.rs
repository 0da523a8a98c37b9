//! The compiled proxy configuration among the generator's output, with its manifest.

use std::fmt::Write;

use camino::Utf8PathBuf;
use sha2::{Digest, Sha256};

use super::driver::Driver;
use super::routing::{FunctionRoutes, RoutingTable};
use crate::layout::Layout;
use crate::model::Footprint;
use crate::names::hex;
use crate::tree::Tree;

/// The directory below the generator's; systemd ignores directories there.
pub(crate) const OUTPUT: &str = "conductor";
/// The file below `conductor/` with digests of all others, in the format of sha256sum(1).
pub(crate) const MANIFEST: &str = "SHA256SUMS";

/// Returns the directory of a driver's files below `conductor/`.
pub(crate) fn directory(driver: Driver) -> Utf8PathBuf {
    Utf8PathBuf::from("proxy").join(driver.name())
}

/// Renders the proxy's configuration of services and, where there are some, of functions, with its manifest.
pub(crate) fn render(layout: &Layout, services: &[&Footprint], functions: Option<&FunctionRoutes>) -> Tree {
    let table = RoutingTable::new(layout, services, functions);
    let mut tree = Tree::default();
    let mut manifest = String::new();
    let driver = Driver::of_host();
    for (path, content) in driver.render(&table) {
        let path = directory(driver).join(path);
        writeln!(manifest, "{}  {path}", hex(&Sha256::digest(&content))).expect("a string takes any text");
        tree.file(Utf8PathBuf::from(OUTPUT).join(path), content);
    }
    tree.file(format!("{OUTPUT}/{MANIFEST}"), manifest);
    tree
}
