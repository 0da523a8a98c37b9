//! The meta-variables of RFC 3875 section 4.1: a request as a CGI program sees it.

use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName};
use hyper::http::request::Parts;

use crate::gateway::header::{self, is_hop_by_hop};
use crate::gateway::mount::{ScriptPath, host, without_port};
use crate::gateway::user;
use crate::proxy::forwarded::{REMOTE_PORT, SERVER_ADDR, is_own};

/// SERVER_SOFTWARE, RFC 3875 section 4.1.17.
const SOFTWARE: &str = concat!("conductor/", env!("CARGO_PKG_VERSION"));

/// SERVER_NAME of a request that names no host. It is never empty, RFC 3875 section 4.1.14.
const NO_HOST: &str = "localhost";

/// Returns the meta-variables of a request. `length` is that of its body in bytes, None without a body; PATH_TRANSLATED begins
/// with `root`.
pub(crate) fn variables(
    head: &Parts,
    path: &ScriptPath,
    length: Option<u64>,
    root: &OsStr,
) -> Vec<(OsString, OsString)> {
    let headers = &head.headers;
    let forwarded = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_secure = forwarded("x-forwarded-proto").is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
    // The last address is the one that the proxy in front has seen itself; clients can send the others.
    let remote = forwarded("x-forwarded-for").and_then(|list| list.rsplit(',').next()).map_or("", str::trim);
    let host = host(head).unwrap_or("");
    let name = without_port(host);
    let port = host.strip_prefix(name).and_then(|rest| rest.strip_prefix(':')).filter(|port| !port.is_empty());
    let port = port.unwrap_or(if is_secure { "443" } else { "80" });
    let name = if name.is_empty() { NO_HOST } else { name };
    let mut variables = Vec::with_capacity(24 + headers.len());
    let mut set = |name: &str, value: &[u8]| variables.push((OsString::from(name), OsString::from_vec(value.to_vec())));
    set("GATEWAY_INTERFACE", b"CGI/1.1");
    set("SERVER_SOFTWARE", SOFTWARE.as_bytes());
    set("SERVER_PROTOCOL", protocol(head.version).as_bytes());
    set("SERVER_NAME", name.as_bytes());
    set("SERVER_PORT", port.as_bytes());
    set("REQUEST_METHOD", head.method.as_str().as_bytes());
    set("REQUEST_URI", head.uri.path_and_query().map_or("/", |it| it.as_str()).as_bytes());
    set("SCRIPT_NAME", &path.script_name);
    set("QUERY_STRING", head.uri.query().unwrap_or("").as_bytes());
    set("REMOTE_ADDR", remote.as_bytes());
    set("REMOTE_HOST", remote.as_bytes());
    set("PATH_INFO", &path.path_info);
    if !path.path_info.is_empty() {
        set("PATH_TRANSLATED", &[root.as_bytes(), &path.path_info].concat());
    }
    set("REQUEST_SCHEME", if is_secure { b"https" } else { b"http" });
    if is_secure {
        set("HTTPS", b"on");
    }
    // The proxy may not know them.
    if let Some(port) = forwarded(REMOTE_PORT).filter(|port| port.parse::<u16>().is_ok()) {
        set("REMOTE_PORT", port.as_bytes());
    }
    if let Some(address) = server_address(forwarded(SERVER_ADDR), name, remote) {
        set("SERVER_ADDR", address.to_string().as_bytes());
    }
    // Without a body it is empty, which RFC 3875 section 4.1 makes the same as unset: programs know that from nginx.
    let length = length.or_else(|| header::length(headers.get(CONTENT_LENGTH)?));
    set("CONTENT_LENGTH", length.map_or_else(String::new, |length| length.to_string()).as_bytes());
    if let Some(kind) = headers.get(CONTENT_TYPE) {
        set("CONTENT_TYPE", kind.as_bytes());
    }
    variables.extend(user::variables(headers));
    variables.extend(header_variables(headers));
    variables
}

/// Returns the address of this host that the client is connected to: the one that the proxy knows, else the one by which the
/// client has named the host, else the loopback address of a client on this host.
fn server_address(known: Option<&str>, name: &str, remote: &str) -> Option<IpAddr> {
    let literal = |text: &str| text.trim_matches(['[', ']']).parse().ok();
    let loopback = || literal(remote).filter(IpAddr::is_loopback);
    known.and_then(literal).or_else(|| literal(name)).or_else(loopback)
}

fn protocol(version: hyper::Version) -> &'static str {
    if version == hyper::Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" }
}

/// Returns the `HTTP_…` variables, RFC 3875 section 4.1.18. The values of fields of the same name are joined.
///
/// Leaves out fields that have a variable of their own, belong to the connection or are the proxy's for Conductor, `Proxy`, which programs take for their own
/// setting (CVE-2016-5385), and names with an underscore, whose variable would be that of a name with a hyphen.
fn header_variables(headers: &HeaderMap) -> impl Iterator<Item = (OsString, OsString)> {
    let is_passed = |name: &HeaderName| {
        let is_of_user = user::is_of_user(name);
        let name = name.as_str();
        let has_own = matches!(name, "content-type" | "content-length" | "proxy" | "expect");
        !has_own
            && !is_of_user
            && !is_hop_by_hop(name)
            && !is_own(name)
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    headers.keys().filter(move |name| is_passed(name)).map(|name| {
        let upper = name.as_str().to_ascii_uppercase().replace('-', "_");
        let separator: &[u8] = if name == COOKIE { b"; " } else { b", " };
        let values: Vec<_> = headers.get_all(name).iter().map(|value| value.as_bytes()).collect();
        (OsString::from(format!("HTTP_{upper}")), OsString::from_vec(values.join(separator)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxy_and_ambiguous_header_fields_are_left_out() {
        let request = hyper::Request::get("/t/x?q=1").header("Host", "h:81").header("Proxy", "evil").header("X_Y", "a");
        let request = request.header("X-Y", "b").header("X-Y", "c").header("Cookie", "a=1").header("Cookie", "b=2");
        let request = request.header("X-Forwarded-For", "6.6.6.6, 10.0.0.9").header("X-Forwarded-Proto", "https");
        let request = request.header(REMOTE_PORT, "4711").header(SERVER_ADDR, "10.0.0.1");
        let (head, ()) = request.body(()).expect("a request").into_parts();
        let path = ScriptPath { script_name: b"/t".to_vec(), path_info: b"/x".to_vec() };
        let all = variables(&head, &path, Some(3), "/f".as_ref());
        let get = |name: &str| all.iter().find(|(it, _)| it == name).map(|(_, value)| value.to_str().expect("UTF-8"));
        assert_eq!(get("HTTP_PROXY"), None);
        assert_eq!(get("HTTP_X_Y"), Some("b, c"));
        assert_eq!(get("HTTP_COOKIE"), Some("a=1; b=2"));
        assert_eq!((get("SERVER_NAME"), get("SERVER_PORT"), get("HTTPS")), (Some("h"), Some("81"), Some("on")));
        assert_eq!((get("REMOTE_ADDR"), get("QUERY_STRING")), (Some("10.0.0.9"), Some("q=1")));
        assert_eq!((get("PATH_TRANSLATED"), get("CONTENT_LENGTH")), (Some("/f/x"), Some("3")));
        let connection = (get("REMOTE_PORT"), get("SERVER_ADDR"), get("REQUEST_SCHEME"));
        assert_eq!(connection, (Some("4711"), Some("10.0.0.1"), Some("https")));
        assert!(
            all.iter().all(|(name, _)| !name.to_str().expect("ASCII").contains("CONDUCTOR")),
            "the proxy's own fields"
        );
        let names: std::collections::BTreeSet<_> = all.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), all.len(), "each variable once");
    }

    fn of(request: hyper::http::request::Builder, length: Option<u64>) -> impl Fn(&str) -> Option<String> {
        let (head, ()) = request.body(()).expect("a request").into_parts();
        let path = ScriptPath { script_name: b"/t".to_vec(), path_info: Vec::new() };
        let all = variables(&head, &path, length, "/f".as_ref());
        move |name| all.iter().find(|(it, _)| it == name).map(|(_, value)| value.to_str().expect("UTF-8").to_owned())
    }

    #[test]
    fn a_server_always_has_a_name_and_a_port() {
        for host in [None, Some(""), Some(":80"), Some("localhost:")] {
            let request = hyper::Request::get("/t").version(hyper::Version::HTTP_10);
            let request = if let Some(host) = host { request.header("Host", host) } else { request };
            let get = of(request, None);
            let pair = (get("SERVER_NAME").expect("a name"), get("SERVER_PORT").expect("a port"));
            assert_eq!(pair, ("localhost".to_owned(), "80".to_owned()), "{host:?}");
        }
    }

    #[test]
    fn an_address_is_the_proxys_the_hosts_or_loopback() {
        let of = |known: &str, host: &str, remote: &str| {
            let request = hyper::Request::get("/t").header("Host", host).header("X-Forwarded-For", remote);
            of(request.header(SERVER_ADDR, known), None)("SERVER_ADDR")
        };
        let unknown = "{http.request.local.host}";
        assert_eq!(of("10.0.0.1", "192.0.2.1", "127.0.0.1").as_deref(), Some("10.0.0.1"));
        assert_eq!(of(unknown, "192.0.2.1:80", "192.0.2.9").as_deref(), Some("192.0.2.1"));
        assert_eq!(of(unknown, "[2001:db8::1]:80", "192.0.2.9").as_deref(), Some("2001:db8::1"));
        assert_eq!(of(unknown, "h", "::1").as_deref(), Some("::1"));
        assert_eq!(of(unknown, "h", "192.0.2.9"), None);
    }

    #[test]
    fn a_length_is_that_of_the_body_or_what_the_client_says() {
        let length = |request: hyper::http::request::Builder, length| of(request, length)("CONTENT_LENGTH");
        assert_eq!(length(hyper::Request::get("/t"), None).as_deref(), Some(""));
        let zero = hyper::Request::post("/t").header("Content-Length", "0");
        assert_eq!(length(zero, None).as_deref(), Some("0"));
        assert_eq!(length(hyper::Request::post("/t"), Some(0)).as_deref(), Some("0"), "chunked");
    }
}
