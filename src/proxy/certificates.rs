//! Certificates whose private key is in another file, for a proxy that finds the key beside the certificate.
//!
//! Links lead to both: a certificate that is renewed needs no publication.

use fs_err as fs;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest, Sha256};

use crate::layout::Layout;
use crate::model::route::Certificate;
use crate::names::hex;

/// The file among a driver's with a line for each certificate: its link, its chain and its key.
pub(super) const LIST: &str = "certificates";
/// What follows the name of a certificate in the name of its key.
const KEY: &str = ".key";

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

/// Provides the links of a list.
///
/// # Errors
/// If a file is missing, or the file system refuses a link.
pub(super) fn provide(layout: &Layout, list: &str) -> io::Result<()> {
    for line in list.lines() {
        let [link, chain, key] = line.split(' ').collect::<Vec<_>>()[..] else { continue };
        for (link, target) in [(link.to_owned(), chain), (format!("{link}{KEY}"), key)] {
            let link = layout.at(Utf8Path::new(&link));
            // The proxy would name the link.
            fs::metadata(layout.at(Utf8Path::new(target)))?;
            if fs::read_link(&link).is_ok_and(|there| there == std::path::Path::new(target)) {
                continue;
            }
            fs::create_dir_all(link.parent().expect("it is in a directory"))?;
            std::os::unix::fs::symlink(target, &link)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_both_files() {
        let scratch = tempfile::tempdir().unwrap();
        let layout = Layout::system(Utf8Path::from_path(scratch.path()).unwrap());
        let own = Certificate { chain: "/etc/a.pem".into(), key: "/etc/a.pem".into() };
        assert!(place(&layout, &own) == "/etc/a.pem" && line(&layout, &own).is_none());
        let apart = Certificate { key: "/etc/a.key".into(), ..own };
        let list = line(&layout, &apart).unwrap();
        assert!(provide(&layout, &list).unwrap_err().to_string().contains("/etc/a.pem"));
        fs::create_dir_all(layout.at("/etc".into())).unwrap();
        fs::write(layout.at("/etc/a.pem".into()), "").unwrap();
        fs::write(layout.at("/etc/a.key".into()), "").unwrap();
        provide(&layout, &list).unwrap();
        provide(&layout, &list).unwrap();
        let link = layout.at(&place(&layout, &apart));
        assert_eq!(fs::read_link(&link).unwrap().to_str(), Some("/etc/a.pem"));
        assert_eq!(fs::read_link(format!("{link}.key")).unwrap().to_str(), Some("/etc/a.key"));
    }
}
