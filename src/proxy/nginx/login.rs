//! `forward_auth`: the server that is asked about each request.
//!
//! The module `auth_request` knows three answers: 2xx, 401 and 403. What another one says of a request that it refuses, a
//! redirect to its page for logins, the client gets because the server is asked once more and answers the client itself.

use super::field;
use crate::model::route::ForwardAuth;
use crate::proxy::forwarded;

/// Statuses by which a server refuses a request.
const REFUSALS: &str = "300 301 302 303 307 308 400 402 403 404 405 406 407 408 409 410 411 412 413 414 415 416 421 422 \
                        423 424 425 426 428 429 431 451 500 501 502 503 504 505 506 507 508 510 511";

/// The two locations in which the server of one route is asked.
pub(super) struct Login {
    /// The path of the location that asks.
    pub(super) asks: String,
    /// The path of the location that answers for it.
    pub(super) answers: String,
    pub(super) refusals: &'static str,
    /// Directives of both.
    pub(super) lines: Vec<String>,
    /// Directives of a location that only those may enter whom the server lets in.
    pub(super) guard: Vec<String>,
}

impl Login {
    pub(super) fn of(auth: &ForwardAuth, prefix: &str) -> Self {
        let ForwardAuth { server, path, copied: _ } = auth;
        let is_own = |name: &str| [forwarded::MOUNT, forwarded::REMOTE_PORT, forwarded::SERVER_ADDR].contains(&name);
        let fields = field::of_message().filter(|(name, _)| !is_own(name));
        let more = [
            ("Connection", "close"),
            ("Content-Length", "\"\""),
            ("X-Forwarded-Method", "$conductor_method"),
            ("X-Forwarded-Uri", "$request_uri"),
        ];
        let mut lines = vec!["proxy_method GET;".to_owned(), "proxy_pass_request_body off;".to_owned()];
        lines.extend(fields.chain(more).map(|(name, value)| format!("proxy_set_header {name} {value};")));
        lines.push(format!("proxy_pass http://{server}{path};"));
        let asks = format!("{prefix}-asks");
        let guard = guard(auth, &asks);
        Self { asks, answers: format!("{prefix}-answers"), refusals: REFUSALS, lines, guard }
    }
}

fn guard(auth: &ForwardAuth, asks: &str) -> Vec<String> {
    let mut lines = vec![format!("auth_request {asks};")];
    lines.extend(auth.copied.iter().enumerate().map(|(index, name)| {
        let field = name.to_ascii_lowercase().replace('-', "_");
        format!("auth_request_set {} $upstream_http_{field};", variable(index))
    }));
    lines
}

/// Lists the fields that a request gets from the answer of the server, instead of those of the client.
pub(super) fn copied(auth: &ForwardAuth) -> impl Iterator<Item = (String, String)> {
    auth.copied.iter().enumerate().map(|(index, name)| (name.clone(), variable(index)))
}

fn variable(index: usize) -> String {
    format!("$conductor_login_{}", index + 1)
}
