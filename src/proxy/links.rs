//! The links to certificates and their keys.

use fs_err as fs;
use std::io;

use camino::Utf8Path;

use crate::layout::Layout;

/// What follows the name of a certificate in the name of its key.
const KEY: &str = ".key";

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
    use crate::model::route::Certificate;
    use crate::proxy::certificates::{line, place};

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
