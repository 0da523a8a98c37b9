//! Where a function is mounted: which part of a request's path is the function's, and which part its program's.

use hyper::header::HOST;
use hyper::http::request::Parts;
use hyper::{StatusCode, Uri};

use crate::gateway::fault::Fault;
use crate::model::alias::{Alias, below, next_segment};
use crate::model::function::Compiled;
use crate::names::FunctionId;
use crate::proxy::forwarded::MOUNT;

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

    /// Splits the path of a request after the path by which the proxy found the function. Of requests that Conductor's proxy
    /// has not passed on: after `/cgi/ID`, else after the longest alias that matches, else before its first slash.
    ///
    /// # Errors
    /// 404 if the path is not below the one that the proxy found. 400 if no program can get the path: its percent-encoding is
    /// not that of RFC 3986, or it has a NUL.
    pub(crate) fn split(&self, head: &Parts) -> Result<ScriptPath, Fault> {
        let malformed = || Fault::client("the path has malformed percent-encoding or a NUL");
        let path = normal(head.uri.path()).ok_or_else(malformed)?;
        let mut rest = self.rest(head, &path).ok_or_else(|| {
            Fault::new(StatusCode::NOT_FOUND, "the path is not below the one by which the proxy found the function")
        })?;
        for _ in 0..self.path_info_strip {
            let Some((_, after)) = next_segment(rest) else { break };
            rest = after;
        }
        Ok(ScriptPath { script_name: without_more_slashes(&path[..path.len() - rest.len()]), path_info: rest.to_vec() })
    }

    /// Returns the rest of the request's path after the one by which the proxy found the function, if it is below that.
    fn rest<'a>(&self, head: &Parts, path: &'a [u8]) -> Option<&'a [u8]> {
        match head.headers.get(MOUNT) {
            Some(mount) => below(mount.to_str().ok()?, path),
            None => Some(self.own_rest(host(head), path)),
        }
    }

    /// Returns the rest of a path after `/cgi/ID` or the longest alias; all of it if it is by neither.
    fn own_rest<'a>(&self, host: Option<&str>, path: &'a [u8]) -> &'a [u8] {
        let host = host.map(without_port);
        let aliases = self.aliases.iter().filter(|alias| alias.matches(host, path));
        let rests = aliases.filter_map(|alias| below(&alias.path, path));
        let by_id = below(&format!("/cgi/{}", self.id), path);
        by_id.or_else(|| rests.min_by_key(|rest| rest.len())).unwrap_or(path)
    }

    /// Returns whether `uri`, to which the function redirects the request `head`, leads to the function as well.
    pub(crate) fn contains(&self, head: &Parts, uri: &Uri) -> bool {
        let is_whole = |path: &[u8], rest: &[u8]| rest.len() == path.len();
        // It has every path of the request's host, or the request came to its socket by none of its paths.
        let has_all = || {
            let path = normal(head.uri.path())?;
            Some(is_whole(&path, self.rest(head, &path)?))
        };
        normal(uri.path()).is_some_and(|to| !is_whole(&to, self.own_rest(host(head), &to)) || has_all() == Some(true))
    }
}

/// Decodes a path, and resolves `.` and `..` in it as the proxy does, which merges all slashes then. None if its
/// percent-encoding is malformed, or it has a NUL.
fn normal(path: &str) -> Option<Vec<u8>> {
    let path = decode(path)?;
    let segments = || path.split(|byte| *byte == b'/');
    if !segments().any(|segment| matches!(segment, b"." | b"..")) {
        return Some(path);
    }
    let mut kept = Vec::new();
    for segment in segments() {
        match segment {
            b"" | b"." => {}
            b".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    let mut normal: Vec<u8> = kept.into_iter().flat_map(|segment| [b"/", segment].concat()).collect();
    if normal.is_empty() || path.ends_with(b"/") {
        normal.push(b'/');
    }
    Some(normal)
}

fn without_more_slashes(path: &[u8]) -> Vec<u8> {
    let mut path = path.to_vec();
    path.dedup_by(|one, other| (*one, *other) == (b'/', b'/'));
    path
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
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
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

    /// A request through Conductor's proxy names its mount; others do not.
    fn request(found: Option<&str>, host: &str, path: &str) -> Parts {
        let request = Request::get(path).header(HOST, host);
        let request = found.map_or_else(|| Request::get(path).header(HOST, host), |found| request.header(MOUNT, found));
        request.body(()).expect("a request").into_parts().0
    }

    fn text(path: ScriptPath) -> (String, String) {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (text(path.script_name), text(path.path_info))
    }

    fn split(mount: &Mount, host: &str, path: &str) -> (String, String) {
        text(mount.split(&request(None, host, path)).expect("a path"))
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
        assert_eq!(split(&strips, "x", "/t//a//b//c"), pair("/t/a/b", "//c"));
        assert_eq!(split(&strips, "x", "/t"), pair("/t", ""));
    }

    /// The variants are those that Caddy 2.6 matches for `/t/env`.
    #[test]
    fn a_path_is_split_where_the_proxy_found_the_function() {
        let mount = mount(&["/t", "/t/env"], 0);
        let split = |path: &str| match mount.split(&request(Some("/t/env"), "x", path)) {
            Ok(path) => Ok(text(path)),
            Err(fault) => Err(fault.status.as_u16()),
        };
        for path in [
            "/t/env/x",
            "/t/%65nv/x",
            "//t/env/x",
            "/t/./env/x",
            "/t/env%2Fx",
            "/t//env/x",
            "/t/y/../env/x",
            "/%74%2fenv/x",
        ] {
            assert_eq!(split(path), Ok(pair("/t/env", "/x")), "{path}");
        }
        assert_eq!(split("/t/env//x/"), Ok(pair("/t/env", "//x/")), "slashes of the program are its own");
        assert_eq!(split("/T/Env/X"), Ok(pair("/T/Env", "/X")));
        assert_eq!(split("/t/env/%2e/a/..//b/"), Ok(pair("/t/env", "/b/")));
        assert_eq!(split("/t/env/."), Ok(pair("/t/env", "")));
        for path in ["/t/env.", "/t/env%20", "/t/env/..", "/t/envx", "/t", "/", "/t/env/../../x"] {
            assert_eq!(split(path), Err(404), "{path}");
        }
        assert_eq!((split("/t/env/%00"), split("/t/env/%zz")), (Err(400), Err(400)));
        let id = format!("/cgi/{}/x", "ab".repeat(32));
        let of_host = mount.split(&request(Some("/"), "img.example.com", &id)).map(text);
        assert_eq!(
            of_host.ok(),
            Some(pair("", &id)),
            "an alias of a host has every path, also one that looks like an ID's"
        );
    }

    #[test]
    fn a_redirect_stays_within_the_paths_of_the_function() {
        let mount = mount(&["/t", "/u", "img.example.com"], 1);
        let contains =
            |host: &str, from: &str, to: &str| mount.contains(&request(None, host, from), &to.parse().expect("a URI"));
        assert!(contains("x", "/t/a", "/t/b") && contains("x", "/t/a", "/u"), "either alias");
        assert!(contains("x", "/a", "/b"), "at the socket every path is the function's");
        assert!(contains("img.example.com", "/a", "/b"), "the alias of a host has all its paths");
        assert!(!contains("x", "/t/a", "/b") && !contains("x", "/t/a", "/tb") && !contains("x", "/t/a", "/t/%00"));
        assert!(!contains("x", "/t/a", "/t/../b"));
    }

    proptest! {
        #[test]
        fn a_path_is_split_and_nothing_is_lost(path in "(/[a-z]{0,4}){1,5}", strip in 0u32..4) {
            let (script, info) = split(&mount(&["/a", "/b/c"], strip), "x", &path);
            let segments = |path: &str| path.split('/').filter(|it| !it.is_empty()).map(str::to_owned).collect::<Vec<_>>();
            prop_assert_eq!(segments(&format!("{script}{info}")), segments(&path));
            prop_assert!(path.ends_with(&info) && !script.contains("//"));
            prop_assert!(info.is_empty() || info.starts_with('/'));
        }

        #[test]
        fn no_path_leaves_the_root(path in "(/(\\.|\\.\\.|%2e|[a-z]{0,2})){1,6}") {
            let normal = normal(&path).expect("a path");
            prop_assert!(normal.starts_with(b"/"));
            prop_assert!(!normal.split(|byte| *byte == b'/').any(|it| matches!(it, b"." | b"..")));
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
