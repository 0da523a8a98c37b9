//! A request as a CGI program sees it: the meta-variables of RFC 3875 section 4.1, and where a function is mounted.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use camino::Utf8Path;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName};
use hyper::http::request::Parts;

use crate::gateway::header::is_hop_by_hop;
use crate::model::alias::below;
use crate::model::function::Function;
use crate::names::FunctionId;

/// What a program is told about who serves it.
const SOFTWARE: &str = concat!("conductor/", env!("CARGO_PKG_VERSION"));

/// A request's path, split between the function and what is its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Decoded; empty where the function is called by its socket alone.
    pub script_name: Vec<u8>,
    /// Decoded; empty or with a slash in front.
    pub path_info: Vec<u8>,
}

impl Place {
    /// Where a function is found by a request: at `/cgi/ID`, else at the longest alias that fits, else at the root. So many
    /// segments of the rest belong to the function, too.
    ///
    /// None for a path that no program can be given: it is not percent-encoded as RFC 3986 has it, or has a NUL.
    pub fn of(function: &Function, id: &FunctionId, host: Option<&str>, path: &str) -> Option<Self> {
        let host = host.map(without_port);
        let by_id = format!("/cgi/{id}");
        let aliases = function.aliases.iter().filter(|alias| alias.matches(host, path));
        let longest = aliases.map(|alias| alias.path.trim_end_matches('/')).max_by_key(|path| path.len());
        let mount = if below(&by_id, path).is_some() { by_id.len() } else { longest.map_or(0, str::len) };
        let mut at = mount;
        for _ in 0..function.path_info_strip {
            let rest = &path[at..];
            let Some(segment) = rest.strip_prefix('/').filter(|segment| !segment.is_empty()) else { break };
            at += 1 + segment.find('/').unwrap_or(segment.len());
        }
        Some(Self { script_name: decode(&path[..at])?, path_info: decode(&path[at..])? })
    }
}

/// Undoes percent-encoding; None where it is broken or a NUL.
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

/// A host without its port; an IPv6 address keeps its brackets.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.is_empty() => name,
        _ => host,
    }
}

/// The host that a request is for, with its port.
pub fn host(head: &Parts) -> Option<&str> {
    head.uri.authority().map(|it| it.as_str()).or_else(|| head.headers.get(HOST)?.to_str().ok())
}

/// The meta-variables of a request. `length` is its body's, where it has one; `dir` is where the function's files are.
pub fn variables(head: &Parts, place: &Place, length: Option<u64>, dir: &Utf8Path) -> Vec<(OsString, OsString)> {
    let headers = &head.headers;
    let forwarded = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_secure = forwarded("x-forwarded-proto").is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
    // The proxy in front says who its client is; last is whom it saw itself.
    let remote = forwarded("x-forwarded-for").and_then(|list| list.rsplit(',').next()).map_or("", str::trim);
    let host = host(head).unwrap_or("localhost");
    let name = without_port(host);
    let port = host.strip_prefix(name).and_then(|rest| rest.strip_prefix(':')).filter(|port| !port.is_empty());
    let port = port.unwrap_or(if is_secure { "443" } else { "80" });
    let mut variables = Vec::with_capacity(24 + headers.len());
    let mut set = |name: &str, value: &[u8]| variables.push((OsString::from(name), OsString::from_vec(value.to_vec())));
    set("GATEWAY_INTERFACE", b"CGI/1.1");
    set("SERVER_SOFTWARE", SOFTWARE.as_bytes());
    set("SERVER_PROTOCOL", protocol(head.version).as_bytes());
    set("SERVER_NAME", name.as_bytes());
    set("SERVER_PORT", port.as_bytes());
    set("REQUEST_METHOD", head.method.as_str().as_bytes());
    set("REQUEST_URI", head.uri.path_and_query().map_or("/", |it| it.as_str()).as_bytes());
    set("SCRIPT_NAME", &place.script_name);
    set("QUERY_STRING", head.uri.query().unwrap_or("").as_bytes());
    set("REMOTE_ADDR", remote.as_bytes());
    set("REMOTE_HOST", remote.as_bytes());
    set("PATH_INFO", &place.path_info);
    if !place.path_info.is_empty() && !place.path_info.split(|byte| *byte == b'/').any(|part| part == b"..") {
        set("PATH_TRANSLATED", &[dir.as_str().as_bytes(), &place.path_info].concat());
    }
    if is_secure {
        set("HTTPS", b"on");
    }
    if let Some(length) = length {
        set("CONTENT_LENGTH", length.to_string().as_bytes());
    }
    if let Some(kind) = headers.get(CONTENT_TYPE) {
        set("CONTENT_TYPE", kind.as_bytes());
    }
    variables.extend(of_headers(headers));
    variables
}

fn protocol(version: hyper::Version) -> &'static str {
    if version == hyper::Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" }
}

/// `HTTP_…`, section 4.1.18; fields of one name are joined. Not passed are those that have a variable of their own or
/// belong to the connection, `Proxy`, which programs would take for their own setting (CVE-2016-5385), and names with an
/// underscore, which would be taken for another field.
fn of_headers(headers: &HeaderMap) -> impl Iterator<Item = (OsString, OsString)> {
    let passed = |name: &HeaderName| {
        let name = name.as_str();
        let own = matches!(name, "content-type" | "content-length" | "proxy" | "expect");
        !own && !is_hop_by_hop(name) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    headers.keys().filter(move |name| passed(name)).map(|name| {
        let upper = name.as_str().to_ascii_uppercase().replace('-', "_");
        let separator: &[u8] = if name == hyper::header::COOKIE { b"; " } else { b", " };
        let values: Vec<_> = headers.get_all(name).iter().map(|value| value.as_bytes()).collect();
        (OsString::from(format!("HTTP_{upper}")), OsString::from_vec(values.join(separator)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::alias::Alias;
    use proptest::prelude::*;

    fn function(aliases: &[&str], strip: u32) -> Function {
        let text = r#"{ "name": "x", "aliases": [], "tls": "auto", "interface": "cgi", "listen": "stdio", "mode": "pooled",
            "preload": 0, "max_requests": 1, "max_concurrency": 1, "max_queue": 1, "timeout": { "secs": 1, "nanos": 0 },
            "idle_timeout": { "secs": 1, "nanos": 0 }, "path_info_strip": 0, "network": false, "resources": [], "files": [],
            "process": { "engine": { "exec": { "command": [] } }, "environment": {}, "user": { "dynamic": "" },
            "credentials": {}, "credentials_encrypted": {}, "sandbox": "strict" } }"#;
        let function: Function = serde_json::from_str(text).expect("a function");
        let alias = |text: &&str| Alias::from_file_name(&text.replace('/', "+")).expect("an alias");
        Function { aliases: aliases.iter().map(alias).collect(), path_info_strip: strip, ..function }
    }

    fn place(function: &Function, host: &str, path: &str) -> (String, String) {
        let id = FunctionId::new(&"ab".repeat(32)).expect("an ID");
        let Place { script_name, path_info } = Place::of(function, &id, Some(host), path).expect("a path");
        (String::from_utf8(script_name).expect("UTF-8"), String::from_utf8(path_info).expect("UTF-8"))
    }

    fn pair(one: &str, other: &str) -> (String, String) {
        (one.to_owned(), other.to_owned())
    }

    #[test]
    fn paths_are_split_where_the_function_is_mounted() {
        let plain = function(&["/t", "/t/deep", "img.example.com", "img.example.com/t"], 0);
        let id = format!("/cgi/{}", "ab".repeat(32));
        assert_eq!(place(&plain, "x", &format!("{id}/a%20b")), pair(&id, "/a b"));
        assert_eq!(place(&plain, "x", &id), pair(&id, ""));
        assert_eq!(place(&plain, "x", "/t/y"), pair("/t", "/y"));
        assert_eq!(place(&plain, "x", "/t/deep/y"), pair("/t/deep", "/y"));
        assert_eq!(place(&plain, "x", "/T/y"), pair("/T", "/y"));
        assert_eq!(place(&plain, "img.example.com:8080", "/z/y"), pair("", "/z/y"));
        assert_eq!(place(&plain, "IMG.example.com", "/t/y"), pair("/t", "/y"));
        assert_eq!(place(&plain, "x", "/elsewhere"), pair("", "/elsewhere"));
        let strips = function(&["/t"], 2);
        assert_eq!(place(&strips, "x", "/t/a/b/c"), pair("/t/a/b", "/c"));
        assert_eq!(place(&strips, "x", "/t/a/"), pair("/t/a", "/"));
        assert_eq!(place(&strips, "x", "/t"), pair("/t", ""));
    }

    #[test]
    fn httpoxy_and_lookalikes_are_not_passed() {
        let request = hyper::Request::get("/t/x?q=1").header("Host", "h:81").header("Proxy", "evil").header("X_Y", "a");
        let request = request.header("X-Y", "b").header("X-Y", "c").header("Cookie", "a=1").header("Cookie", "b=2");
        let request = request.header("X-Forwarded-For", "6.6.6.6, 10.0.0.9").header("X-Forwarded-Proto", "https");
        let (head, ()) = request.body(()).expect("a request").into_parts();
        let place = Place { script_name: b"/t".to_vec(), path_info: b"/x".to_vec() };
        let all = variables(&head, &place, Some(3), Utf8Path::new("/f"));
        let get = |name: &str| all.iter().find(|(it, _)| it == name).map(|(_, value)| value.to_str().expect("UTF-8"));
        assert_eq!(get("HTTP_PROXY"), None);
        assert_eq!(get("HTTP_X_Y"), Some("b, c"));
        assert_eq!(get("HTTP_COOKIE"), Some("a=1; b=2"));
        assert_eq!((get("SERVER_NAME"), get("SERVER_PORT"), get("HTTPS")), (Some("h"), Some("81"), Some("on")));
        assert_eq!((get("REMOTE_ADDR"), get("QUERY_STRING")), (Some("10.0.0.9"), Some("q=1")));
        assert_eq!((get("PATH_TRANSLATED"), get("CONTENT_LENGTH")), (Some("/f/x"), Some("3")));
        let names: std::collections::BTreeSet<_> = all.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), all.len(), "each once");
    }

    proptest! {
        #[test]
        fn a_path_is_split_and_nothing_is_lost(path in "(/[a-z.]{0,4}){1,5}", strip in 0u32..4) {
            let (script, info) = place(&function(&["/a", "/b/c"], strip), "x", &path);
            prop_assert_eq!(format!("{script}{info}"), path);
            prop_assert!(info.is_empty() || info.starts_with('/'));
        }

        #[test]
        fn encoded_bytes_arrive(bytes in proptest::collection::vec(1u8.., 0..20)) {
            let text: String = bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
            prop_assert_eq!(decode(&text), Some(bytes));
        }
    }

    #[test]
    fn what_no_program_can_be_given_is_refused() {
        for bad in ["%00", "%", "%4", "%zz"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
