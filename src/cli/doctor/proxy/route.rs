//! A real route, asked through the proxy and at its slot.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::cli::context::Context;
use crate::cli::doctor::finding::{Finding, bad, good};
use crate::compile::host::Host;
use crate::deployment::slot;
use crate::model::route::{Answer, AppProtocol, Handling, Route, Security};
use crate::names::ServiceName;
use crate::proxy::driver::Driver;

/// The time limit of one request.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The part of an answer that is read.
const MOST: u64 = 64 << 10;
/// How often an application whose answers differ from each other is asked.
const REPEATS: u32 = 3;
/// The port of routes without TLS.
const HTTP: u16 = 80;

/// Checks that the proxy answers on a route as the service does: with the same status, and with or without a body.
pub(super) fn check(context: &Context, host: &Host, driver: Driver) -> Option<Finding> {
    let serving = host.services.values().filter(|it| !slot::held(&context.layout, &it.service.name).is_empty());
    // A certificate's host is not asked: that would need its name to be resolved and its certificate to be trusted.
    let is_plain = |route: &&Route| {
        route.security == Security::Off
            && route.matching.is_by_path()
            && route.handling == Handling::default()
            && matches!(route.answer, Answer::Service { protocol: AppProtocol::Http, .. })
            && route.host.as_ref().is_some_and(|host| !host.starts_with('*'))
    };
    let (name, route) =
        serving.filter_map(|it| Some((&it.service.name, it.service.routes.iter().find(is_plain)?))).next()?;
    let shown = format!("http://{}{}", route.host.as_deref().unwrap_or_default(), route.matching.path);
    let mut seen = None;
    for _ in 0..REPEATS {
        let direct = ask_slot(context, name, route).ok()?;
        let proxied = ask_tcp(
            (Ipv4Addr::LOCALHOST, HTTP).into(),
            route.host.as_deref().unwrap_or_default(),
            &route.matching.path,
        );
        let proxied = proxied.map_err(|error| error.to_string());
        if proxied.as_ref().is_ok_and(|proxied| summary(proxied) == summary(&direct)) {
            return Some(good(format!("{} serves {shown}", driver.title())));
        }
        seen = Some((direct, proxied));
    }
    let (direct, proxied) = seen?;
    let proxied = proxied.map_or_else(|error| error, |answer| first_line(&answer));
    let what = format!("{} answers {proxied:?} at {shown}, {name} itself {:?}", driver.title(), first_line(&direct));
    Some(bad(what, format!("conductor daemon-reload; journalctl -u {}", driver.unit())))
}

fn ask_slot(context: &Context, name: &ServiceName, route: &Route) -> io::Result<String> {
    let Answer::Service { listener, .. } = &route.answer else { return Err(io::ErrorKind::Unsupported.into()) };
    let stream = UnixStream::connect(context.layout.at(&context.layout.slot(name, 1, listener.as_ref())))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    ask(stream, route.host.as_deref().unwrap_or_default(), &route.matching.path)
}

/// Sends a request to an address and returns the answer's beginning.
///
/// # Errors
/// If there is no answer in time.
pub(super) fn ask_tcp(address: SocketAddr, host: &str, path: &str) -> io::Result<String> {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    ask(stream, host, path)
}

fn ask(mut stream: impl Read + Write, host: &str, path: &str) -> io::Result<String> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: conductor-doctor\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(MOST).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn first_line(answer: &str) -> String {
    answer.lines().next().unwrap_or_default().to_owned()
}

/// Returns the status of an answer, and whether it has a body.
fn summary(answer: &str) -> (Option<&str>, bool) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    // The last chunk of a body in chunks is empty.
    (head.split_whitespace().nth(1), !body.is_empty() && !body.starts_with("0\r\n"))
}

#[cfg(test)]
mod tests {
    use super::summary;

    #[test]
    fn answers_are_compared_by_status_and_body() {
        let own = summary("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na");
        assert_eq!(summary("HTTP/1.0 200 Fine\r\n\r\n1\r\nb\r\n0\r\n\r\n"), own);
        assert_ne!(summary("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), own);
        assert_ne!(summary("HTTP/1.1 404 Not Found\r\n\r\na"), own);
        assert_eq!(summary("HTTP/1.1 204 No\r\n\r\n"), summary("HTTP/1.1 204 No\r\n\r\n0\r\n\r\n"));
    }
}
