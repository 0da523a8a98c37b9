//! The compiled proxy configuration among the generator's output, with its manifest.

use camino::Utf8PathBuf;
use sha2::{Digest, Sha256};

use super::caddy;
use crate::layout::Layout;
use crate::model::Service;
use crate::names::hex;
use crate::tree::Tree;

/// Below the generator's directory; systemd ignores directories there.
pub const OUTPUT: &str = "conductor";

/// Below `conductor/`: digests of the proxy's files in the format of sha256sum(1).
pub const MANIFEST: &str = "SHA256SUMS";

/// The proxy's configuration for these services, and its manifest.
pub fn proxy(layout: &Layout, services: &[&Service]) -> Tree {
    proxy_with(layout, services, None)
}

/// The same where there are functions, with their aliases.
pub fn proxy_with(layout: &Layout, services: &[&Service], aliases: Option<&[caddy::Aliased]>) -> Tree {
    let mut tree = Tree::default();
    let mut manifest = String::new();
    for (path, content) in caddy::render(layout, services, aliases) {
        let path = Utf8PathBuf::from(OUTPUT).join("proxy").join(path);
        let relative = path.strip_prefix(OUTPUT).unwrap_or(&path);
        manifest.push_str(&format!("{}  {relative}\n", hex(&Sha256::digest(&content))));
        tree.file(path, content);
    }
    tree.file(format!("{OUTPUT}/{MANIFEST}"), manifest);
    tree
}
