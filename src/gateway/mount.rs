//! Where a function is mounted: which part of a request's path is the function's, and which part its program's.

use hyper::Uri;
use hyper::header::HOST;
use hyper::http::request::Parts;

use crate::model::alias::{Alias, below};
use crate::model::function::Compiled;
use crate::names::FunctionId;

/// The paths that lead to a function.
pub(crate) struct Mount {
    id: FunctionId,
    aliases: Vec<Alias>,
    /// Segments after the function's own path that belong to SCRIPT_NAME, too.
    path_info_strip: u32,
}

/// A request's path, split and percent-decoded: RFC 3875 sections 4.1.13 and 4.1.5.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScriptPath {
    /// Empty if the request came to the function's socket, by none of its paths.
    pub(crate) script_name: Vec<u8>,
    /// Empty, or begins with a slash.
    pub(crate) path_info: Vec<u8>,
}

impl Mount {
    pub(crate) fn new(compiled: &Compiled) -> Self {
        let function = &compiled.function;
        Self { id: compiled.id.clone(), aliases: function.aliases.clone(), path_info_strip: function.path_info_strip }
    }

    /// Splits the path of a request after `/cgi/ID`, else after the longest alias that matches, else before its first slash.
    ///
    /// None if no program can get the path: its percent-encoding is not that of RFC 3986, or it has a NUL.
    pub(crate) fn split(&self, host: Option<&str>, path: &str) -> Option<ScriptPath> {
        self.split_after(host, path, self.path_info_strip)
    }

    fn split_after(&self, host: Option<&str>, path: &str, segments: u32) -> Option<ScriptPath> {
        let host = host.map(without_port);
        let by_id = format!("/cgi/{}", self.id);
        let aliases = self.aliases.iter().filter(|alias| alias.matches(host, path));
        let longest = aliases.map(|alias| alias.path.trim_end_matches('/').len()).max();
        let mut end = if below(&by_id, path).is_some() { by_id.len() } else { longest.unwrap_or(0) };
        for _ in 0..segments {
            let rest = &path[end..];
            let Some(segment) = rest.strip_prefix('/').filter(|segment| !segment.is_empty()) else { break };
            end += 1 + segment.find('/').unwrap_or(segment.len());
        }
        Some(ScriptPath { script_name: decode(&path[..end])?, path_info: decode(&path[end..])? })
    }

    /// Returns whether `uri`, to which the function redirects the request `head`, leads to the function as well.
    pub(crate) fn contains(&self, head: &Parts, uri: &Uri) -> bool {
        let host = host(head);
        let script_name = |uri: &Uri| self.split_after(host, uri.path(), 0).map(|path| path.script_name);
        script_name(uri).is_some_and(|name| !name.is_empty() || script_name(&head.uri) == Some(name))
    }
}

/// Decodes percent-encoding, RFC 3986 section 2.1. None if it is malformed or encodes a NUL.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            byte => byte,
        };
        if byte == 0 {
            return None;
        }
        decoded.push(byte);
    }
    Some(decoded)
}

/// Returns the host that a request is for, with its port.
pub(crate) fn host(head: &Parts) -> Option<&str> {
    head.uri.authority().map(|it| it.as_str()).or_else(|| head.headers.get(HOST)?.to_str().ok())
}

/// Returns a host without its port. An IPv6 address keeps its brackets.
pub(crate) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.is_empty() => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;
    use proptest::prelude::*;

    fn mount(aliases: &[&str], path_info_strip: u32) -> Mount {
        let alias = |text: &&str| Alias::from_file_name(&text.replace('/', "+")).expect("an alias");
        let id = FunctionId::new(&"ab".repeat(32)).expect("an ID");
        Mount { id, aliases: aliases.iter().map(alias).collect(), path_info_strip }
    }

    fn split(mount: &Mount, host: &str, path: &str) -> (String, String) {
        let ScriptPath { script_name, path_info } = mount.split(Some(host), path).expect("a path");
        (String::from_utf8(script_name).expect("UTF-8"), String::from_utf8(path_info).expect("UTF-8"))
    }

    fn pair(one: &str, other: &str) -> (String, String) {
        (one.to_owned(), other.to_owned())
    }

    #[test]
    fn a_path_is_split_where_the_function_is_mounted() {
        let plain = mount(&["/t", "/t/deep", "img.example.com", "img.example.com/t"], 0);
        let id = format!("/cgi/{}", "ab".repeat(32));
        assert_eq!(split(&plain, "x", &format!("{id}/a%20b")), pair(&id, "/a b"));
        assert_eq!(split(&plain, "x", &id), pair(&id, ""));
        assert_eq!(split(&plain, "x", "/t/y"), pair("/t", "/y"));
        assert_eq!(split(&plain, "x", "/t/deep/y"), pair("/t/deep", "/y"));
        assert_eq!(split(&plain, "x", "/T/y"), pair("/T", "/y"));
        assert_eq!(split(&plain, "img.example.com:8080", "/z/y"), pair("", "/z/y"));
        assert_eq!(split(&plain, "IMG.example.com", "/t/y"), pair("/t", "/y"));
        assert_eq!(split(&plain, "x", "/elsewhere"), pair("", "/elsewhere"));
        let strips = mount(&["/t"], 2);
        assert_eq!(split(&strips, "x", "/t/a/b/c"), pair("/t/a/b", "/c"));
        assert_eq!(split(&strips, "x", "/t/a/"), pair("/t/a", "/"));
        assert_eq!(split(&strips, "x", "/t"), pair("/t", ""));
    }

    #[test]
    fn a_redirect_stays_within_the_paths_of_the_function() {
        let mount = mount(&["/t", "/u"], 1);
        let contains = |from: &str, to: &str| {
            let (head, ()) = Request::get(from).header("Host", "x").body(()).expect("a request").into_parts();
            mount.contains(&head, &to.parse().expect("a URI"))
        };
        assert!(contains("/t/a", "/t/b") && contains("/t/a", "/u"), "either alias");
        assert!(contains("/a", "/b"), "at the socket every path is the function's");
        assert!(!contains("/t/a", "/b") && !contains("/t/a", "/tb") && !contains("/t/a", "/t/%00"));
    }

    proptest! {
        #[test]
        fn a_path_is_split_and_nothing_is_lost(path in "(/[a-z.]{0,4}){1,5}", strip in 0u32..4) {
            let (script, info) = split(&mount(&["/a", "/b/c"], strip), "x", &path);
            prop_assert_eq!(format!("{script}{info}"), path);
            prop_assert!(info.is_empty() || info.starts_with('/'));
        }

        #[test]
        fn encoded_bytes_are_decoded(bytes in proptest::collection::vec(1u8.., 0..20)) {
            let text: String = bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
            prop_assert_eq!(decode(&text), Some(bytes));
        }
    }

    #[test]
    fn malformed_encoding_and_nul_are_refused() {
        for bad in ["%00", "%", "%4", "%zz"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
