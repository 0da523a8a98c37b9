//! The meta-variables of RFC 3875 section 4.1: a request as a CGI program sees it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use camino::Utf8Path;
use hyper::header::{CONTENT_TYPE, COOKIE, HeaderMap, HeaderName};
use hyper::http::request::Parts;

use crate::gateway::header::is_hop_by_hop;
use crate::gateway::mount::{ScriptPath, host, without_port};
use crate::gateway::user;

/// SERVER_SOFTWARE, RFC 3875 section 4.1.17.
const SOFTWARE: &str = concat!("conductor/", env!("CARGO_PKG_VERSION"));

/// Returns the meta-variables of a request. `length` is that of its body in bytes, None without a body; `dir` is the
/// directory of the function's files.
pub(crate) fn variables(
    head: &Parts,
    path: &ScriptPath,
    length: Option<u64>,
    dir: &Utf8Path,
) -> Vec<(OsString, OsString)> {
    let headers = &head.headers;
    let forwarded = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_secure = forwarded("x-forwarded-proto").is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
    // The last address is the one that the proxy in front has seen itself; clients can send the others.
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
    set("SCRIPT_NAME", &path.script_name);
    set("QUERY_STRING", head.uri.query().unwrap_or("").as_bytes());
    set("REMOTE_ADDR", remote.as_bytes());
    set("REMOTE_HOST", remote.as_bytes());
    set("PATH_INFO", &path.path_info);
    if !path.path_info.is_empty() && !path.path_info.split(|byte| *byte == b'/').any(|part| part == b"..") {
        set("PATH_TRANSLATED", &[dir.as_str().as_bytes(), &path.path_info].concat());
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
    variables.extend(user::variables(headers));
    variables.extend(header_variables(headers));
    variables
}

fn protocol(version: hyper::Version) -> &'static str {
    if version == hyper::Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" }
}

/// Returns the `HTTP_…` variables, RFC 3875 section 4.1.18. The values of fields of the same name are joined.
///
/// Leaves out fields that have a variable of their own or belong to the connection, `Proxy`, which programs take for their own
/// setting (CVE-2016-5385), and names with an underscore, whose variable would be that of a name with a hyphen.
fn header_variables(headers: &HeaderMap) -> impl Iterator<Item = (OsString, OsString)> {
    let is_passed = |name: &HeaderName| {
        let is_of_user = user::is_of_user(name);
        let name = name.as_str();
        let has_own = matches!(name, "content-type" | "content-length" | "proxy" | "expect");
        !has_own && !is_of_user && !is_hop_by_hop(name) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
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
        let (head, ()) = request.body(()).expect("a request").into_parts();
        let path = ScriptPath { script_name: b"/t".to_vec(), path_info: b"/x".to_vec() };
        let all = variables(&head, &path, Some(3), Utf8Path::new("/f"));
        let get = |name: &str| all.iter().find(|(it, _)| it == name).map(|(_, value)| value.to_str().expect("UTF-8"));
        assert_eq!(get("HTTP_PROXY"), None);
        assert_eq!(get("HTTP_X_Y"), Some("b, c"));
        assert_eq!(get("HTTP_COOKIE"), Some("a=1; b=2"));
        assert_eq!((get("SERVER_NAME"), get("SERVER_PORT"), get("HTTPS")), (Some("h"), Some("81"), Some("on")));
        assert_eq!((get("REMOTE_ADDR"), get("QUERY_STRING")), (Some("10.0.0.9"), Some("q=1")));
        assert_eq!((get("PATH_TRANSLATED"), get("CONTENT_LENGTH")), (Some("/f/x"), Some("3")));
        let names: std::collections::BTreeSet<_> = all.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), all.len(), "each variable once");
    }
}
