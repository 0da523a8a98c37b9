//! The health check that sends an HTTP request.

use std::collections::BTreeMap;
use std::error::Error;
use std::ops::Range;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use regex_lite::Regex;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

use crate::deployment::announce;
use crate::deployment::endpoint::Endpoint;
use crate::deployment::health::answer::{Answer, excerpt, joined, reason};
use crate::deployment::health::stream::Stream;

/// The part of a response's body that is read, in bytes.
const BODY: usize = 64 * 1024;
/// The statuses that pass if `health.status` is not set.
pub const HEALTHY: Range<u16> = 200..400;

/// A request, and the response that passes.
pub(crate) struct Wanted<'a> {
    pub(crate) path: &'a str,
    /// The statuses that pass; [`HEALTHY`] if empty.
    pub(crate) status: &'a [u16],
    /// Fields of the request, which replace conductor's own.
    pub(crate) headers: &'a BTreeMap<String, String>,
    /// A regular expression that the first 64 KiB of the body must match.
    pub(crate) body: Option<&'a str>,
    /// Whether the server expects a line of the PROXY protocol before the request.
    pub(crate) announces: bool,
}

/// Sends a GET request over a new connection.
pub(crate) async fn get(endpoint: &Endpoint, wanted: Wanted<'_>) -> Answer {
    let Wanted { path, status, headers, body: pattern, announces } = wanted;
    let request = request(path, headers).map_err(|error| error.to_string())?;
    let mut stream = Stream::connect(endpoint).await.map_err(|error| reason(&error))?;
    if announces {
        stream.write_all(announce::UNKNOWN.as_bytes()).await.map_err(|error| reason(&error))?;
    }
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(with_sources)?;
    let mut background = JoinSet::new(); // ends the connection when dropped
    background.spawn(connection);

    let response = sender.send_request(request).await.map_err(with_sources)?;
    let code = response.status();
    let body = beginning(response).await.map_err(|error| format!("{code}: {}", with_sources(error)))?;
    let answer = joined(code.to_string(), &excerpt(&body));
    let passes = if status.is_empty() { HEALTHY.contains(&code.as_u16()) } else { status.contains(&code.as_u16()) };
    match pattern {
        _ if !passes => Err(answer),
        Some(pattern) if !matches(pattern, &body)? => Err(format!("{answer} (the body does not match {pattern:?})")),
        _ => Ok(answer),
    }
}

fn request(path: &str, headers: &BTreeMap<String, String>) -> hyper::http::Result<Request<Empty<Bytes>>> {
    let mut request = Request::get(path)
        .header(header::HOST, "localhost")
        .header(header::USER_AGENT, "conductor")
        .body(Empty::new())?;
    for (name, value) in headers {
        request.headers_mut().insert(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
    }
    Ok(request)
}

fn matches(pattern: &str, body: &[u8]) -> Result<bool, String> {
    let pattern = Regex::new(pattern).map_err(|error| error.to_string())?;
    Ok(pattern.is_match(&String::from_utf8_lossy(body)))
}

/// Reads the beginning of a response's body.
async fn beginning(mut response: Response<Incoming>) -> hyper::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(frame) = response.frame().await {
        body.extend_from_slice(frame?.data_ref().map_or(&[][..], |data| data));
        if body.len() >= BODY {
            break;
        }
    }
    Ok(body)
}

/// Joins an error of hyper with its sources: hyper names what failed, its sources the cause.
fn with_sources(error: hyper::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = joined(text, &cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::answer::EXCERPT;
    use super::super::tests::{READY, http, place, serving, soon, wait};
    use super::*;
    use crate::model::Check;

    #[test]
    fn a_ready_server_passes_at_the_first_attempt() {
        let place = place();
        let (passed, asked) = serving(&place.socket, &[READY], || {
            wait(&http("/healthz?full", &[]), &place.socket, Some(std::process::id()), soon(60_000)).unwrap()
        });
        assert_eq!((passed.attempts, passed.answer.as_str()), (1, "200 OK: ready"));
        assert!(asked.starts_with("GET /healthz?full HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("host: localhost\r\nuser-agent: conductor\r\n"), "{asked}");
    }

    #[test]
    fn only_the_declared_codes_pass() {
        let place = place();
        let teapot = "HTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\n\r\n";
        let (passed, _) = serving(&place.socket, &[READY, teapot], || {
            wait(&http("/", &[418]), &place.socket, None, soon(60_000)).unwrap()
        });
        assert_eq!((passed.attempts, passed.answer.as_str()), (2, "418 I'm a teapot"));
    }

    #[test]
    fn headers_are_sent_and_the_body_has_to_match() {
        let place = place();
        let asking = |pattern: &str| {
            let headers = [("Host", "shop.example.com"), ("X-Probe", "a b")];
            let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            let (path, status) = ("/".to_owned(), Vec::new());
            super::super::tests::health(Check::Http {
                path,
                status,
                headers,
                body: Some(pattern.to_owned()),
                announced: false,
            })
        };
        let (passed, asked) = serving(&place.socket, &[READY], || {
            wait(&asking("^rea(d|l)y$"), &place.socket, None, soon(300)).map(|passed| passed.attempts)
        });
        assert_eq!(passed.unwrap_err().last, "200 OK: ready (the body does not match \"^rea(d|l)y$\")");
        assert!(asked.contains("host: shop.example.com\r\nuser-agent: conductor\r\nx-probe: a b\r\n"), "{asked}");
        let other = place.socket.with_file_name("other");
        let (passed, _) =
            serving(&other, &[READY], || wait(&asking("(?m)^rea(d|l)y$"), &other, None, soon(60_000)).unwrap());
        assert_eq!(passed.answer, "200 OK: ready");
    }

    #[test]
    fn a_body_without_end_is_read_no_further_than_its_limit() {
        let place = place();
        let endless = format!("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n{}", "x".repeat(BODY));
        let (passed, _) =
            serving(&place.socket, &[&endless], || wait(&http("/", &[]), &place.socket, None, soon(60_000)).unwrap());
        assert_eq!(passed.answer, format!("200 OK: {}", "x".repeat(EXCERPT)));
        // Broken off before the limit, it is no answer.
        let short = place.socket.with_file_name("short");
        let cut = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx";
        let (failed, _) = serving(&short, &[cut], || wait(&http("/", &[]), &short, None, soon(100)).unwrap_err());
        assert!(failed.last.starts_with("200 OK: "), "{failed}");
    }

    #[test]
    fn what_is_not_http_fails() {
        let place = place();
        let (failed, _) = serving(&place.socket, &["SSH-2.0\r\n"], || {
            wait(&http("/", &[]), &place.socket, None, soon(100)).unwrap_err()
        });
        assert!(failed.last.contains("invalid HTTP"), "{failed}");
    }
}
