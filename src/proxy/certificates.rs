//! Certificates whose private key is in another file, for a proxy that finds the key beside the certificate.
//!
//! Links lead to both: a certificate that is renewed needs no publication.

use camino::Utf8PathBuf;
use sha2::{Digest, Sha256};

use crate::layout::Layout;
use crate::model::route::Certificate;
use crate::names::hex;

/// The file among a driver's with a line for each certificate: its link, its chain and its key.
pub(super) const LIST: &str = "certificates";

/// Returns where the proxy finds a certificate: itself if it has its key in the same file.
pub(super) fn place(layout: &Layout, Certificate { chain, key }: &Certificate) -> Utf8PathBuf {
    if chain == key {
        return chain.clone();
    }
    let digest = hex(&Sha256::digest(format!("{chain}\0{key}")));
    layout.published_proxy("certificates").join(format!("{}.pem", &digest[..16]))
}

/// Returns the line of a certificate in the list; None if it needs no links.
pub(super) fn line(layout: &Layout, certificate: &Certificate) -> Option<String> {
    let Certificate { chain, key } = certificate;
    (chain != key).then(|| format!("{} {chain} {key}\n", place(layout, certificate)))
}
