//! Aliases: `/path`, `host` or `host/path`, beside the address that is a function's digest.
//!
//! The owner of an alias is a link on disk, `functions/aliases/ALIAS → ../ID`. The proxy reaches the function through
//! that very link: an alias moves by one rename(2), and no proxy is reloaded.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A name of a function: a host, a path, or both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Alias {
    /// The host; None for all hosts without a site of their own.
    pub(crate) host: Option<String>,
    /// A path prefix, on path boundaries; `/` is everything.
    pub(crate) path: String,
}

impl Alias {
    /// With the directories above it an alias is a socket's path, which has 107 bytes in unix(7).
    pub(crate) const MAX: usize = 56;

    /// The name of its link: `/` becomes `+`, which no host or path of an alias has.
    pub(crate) fn file_name(&self) -> String {
        self.to_string().replace('/', "+")
    }

    /// Reads the name of a link; None if it is not that of an alias.
    pub(crate) fn from_file_name(name: &str) -> Option<Self> {
        let text = name.replace('+', "/");
        let (host, path) = match text.find('/') {
            Some(at) => text.split_at(at),
            None => (text.as_str(), "/"),
        };
        let host = (!host.is_empty()).then(|| host.to_owned());
        let alias = Self { host, path: path.to_owned() };
        (!text.is_empty() && alias.file_name() == name).then_some(alias)
    }

    /// Returns whether a request is for this alias: its host, without port, and its path.
    pub(crate) fn matches(&self, host: Option<&str>, path: &[u8]) -> bool {
        let is_host = self.host.as_deref().is_none_or(|own| host.is_some_and(|host| host.eq_ignore_ascii_case(own)));
        is_host && below(&self.path, path).is_some()
    }
}

/// Returns the rest of a decoded path below a prefix. As for the proxy, case does not count, nor does the number of slashes
/// before each segment of the prefix.
pub(crate) fn below<'a>(prefix: &str, path: &'a [u8]) -> Option<&'a [u8]> {
    let segments = prefix.split('/').filter(|segment| !segment.is_empty());
    let rest = segments.into_iter().try_fold(path, |rest, segment| {
        let (first, rest) = next_segment(rest)?;
        first.eq_ignore_ascii_case(segment.as_bytes()).then_some(rest)
    })?;
    (rest.is_empty() || rest.starts_with(b"/")).then_some(rest)
}

/// Splits a path after its first segment; None if it has none.
pub(crate) fn next_segment(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let begin = path.iter().position(|byte| *byte != b'/').filter(|slashes| *slashes > 0)?;
    let path = &path[begin..];
    Some(path.split_at(path.iter().position(|byte| *byte == b'/').unwrap_or(path.len())))
}

/// As it is written in a manifest.
impl fmt::Display for Alias {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, self.path.as_str()) {
            (Some(host), "/") => out.write_str(host),
            (Some(host), path) => write!(out, "{host}{path}"),
            (None, path) => out.write_str(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn links_are_named_after_one_alias(host in proptest::option::of("[a-z0-9][a-z0-9.-]{0,9}"), path in "(/[A-Za-z0-9._~-]{1,5}){1,3}|/") {
            let alias = Alias { host, path };
            prop_assert_eq!(Alias::from_file_name(&alias.file_name()), Some(alias));
        }

        #[test]
        fn any_name_is_read_or_refused(name in ".{0,20}") {
            if let Some(alias) = Alias::from_file_name(&name) {
                prop_assert_eq!(alias.file_name(), name);
            }
        }
    }

    #[test]
    fn prefixes_end_at_segments() {
        let below = |prefix, path: &'static str| {
            below(prefix, path.as_bytes()).map(|rest| std::str::from_utf8(rest).expect("UTF-8"))
        };
        assert_eq!(below("/a", "/a/b"), Some("/b"));
        assert_eq!(below("/a", "/A"), Some(""));
        assert_eq!(below("/a", "/ab"), None);
        assert_eq!(below("/", "/x"), Some("/x"));
        assert_eq!(below("/", "//x"), Some("//x"));
        assert_eq!(below("/a", "/ä"), None);
        assert_eq!(below("/a/b", "//a///b//c"), Some("//c"));
        assert_eq!((below("/a", ""), below("/a", "a"), below("/a/b", "/a/")), (None, None, None));
    }
}
