//! Faults: why the gateway answers a request itself, and with which status.

use std::time::Duration;

use hyper::StatusCode;

use crate::timespan;

/// A request that the gateway answers instead of the program.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) status: StatusCode,
    /// For the journal.
    pub(crate) reason: String,
}

impl Fault {
    pub(crate) fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into() }
    }

    /// The program failed: 502.
    pub(crate) fn program(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, reason)
    }

    /// The program did not answer within the function's `timeout`: 504.
    pub(crate) fn timeout(limit: Duration) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, format!("no answer within {}", timespan::format(limit)))
    }

    /// The client's request is wrong: 400.
    pub(crate) fn client(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason)
    }

    /// The request's body is larger than the function's `max_body`: 413.
    pub(crate) fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large: max_body")
    }

    /// The function runs or queues as many requests as it may, or has no room for a body: 503.
    pub(crate) fn busy(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, reason)
    }
}
