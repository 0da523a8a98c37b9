//! The hosts and paths of routes and aliases.

use crate::document::Path;
use crate::resolve::Resolver;

impl Resolver<'_> {
    /// Checks that a host is a DNS name, which may have `*` as its first label; returns it in lower case.
    pub(in crate::resolve) fn host(&mut self, at: &Path, host: String) -> String {
        let lower = host.to_ascii_lowercase();
        let labels = lower.strip_prefix("*.").unwrap_or(&lower);
        let ok = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let label_ok = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label.chars().all(ok)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if lower.contains("://") {
            let remedy = "write the host's name alone, and tls = \"off\" for plain HTTP";
            self.error(at, "a host has no scheme", remedy);
        } else if lower.contains(':') {
            self.error(at, "a host has no port here", "write the host's name alone");
        } else if let Some((name, path)) = lower.split_once('/') {
            self.error(at, "a host has no path", format!("write {name:?}, and path = \"/{path}\" beside it"));
        } else if lower == "*" {
            self.error(at, "`*` is not the name of a host", "leave host out: the route is then for every host");
        } else if !lower.is_ascii() {
            let remedy = "write it in ASCII, as idn2(1) prints it: \"xn--…\"";
            self.error(at, format!("{host:?} is not a host's name in ASCII"), remedy);
        } else if lower.len() > 253 || !labels.split('.').all(label_ok) {
            let remedy = "write a DNS name such as \"www.example.com\", or \"*.example.com\"";
            self.error(at, format!("{host:?} is not a host's name"), remedy);
        }
        lower
    }

    /// Checks that a path is normalized and has no characters to escape; returns it without a last `/`.
    pub(in crate::resolve) fn route_path(&mut self, at: &Path, path: String) -> String {
        let ok = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
        if !path.starts_with('/') {
            self.error(at, format!("{path:?} does not start with /"), format!("write \"/{path}\""));
        } else if path.contains('*') {
            self.error(at, "a path is a prefix already", "remove the *: \"/api\" is /api and all below it");
        } else if let Some(bad) = path.chars().find(|c| !ok(*c)) {
            let remedy = "use letters, digits, '-', '.', '_', '~' and '/'";
            self.error(at, format!("{bad:?} cannot be in a route's path"), remedy);
        } else if path.contains("//") || path.split('/').any(|part| part == "." || part == "..") {
            self.error(at, "not a normalized path", "remove //, . and ..");
        }
        let trimmed = path.trim_end_matches('/');
        if trimmed.is_empty() { "/".to_owned() } else { trimmed.to_owned() }
    }

    /// Checks the end of a path, of the same characters.
    pub(super) fn suffix(&mut self, at: &Path, suffix: String) -> String {
        let ok = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
        if suffix.is_empty() || suffix.contains("//") {
            self.error(at, format!("{suffix:?} is not the end of a path"), "write such as \".png\"");
        } else if let Some(bad) = suffix.chars().find(|c| !ok(*c)) {
            let remedy = "write the end alone, such as \".png\": letters, digits, '-', '.', '_', '~' and '/'";
            self.error(at, format!("{bad:?} cannot be in the end of a route's path"), remedy);
        }
        suffix
    }
}
