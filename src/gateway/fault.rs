//! Why a request is not answered by its program, and with which status it is then.

use std::time::Duration;

use hyper::StatusCode;

use crate::timespan;

#[derive(Debug)]
pub struct Fault {
    pub status: StatusCode,
    /// For the journal.
    pub why: String,
}

impl Fault {
    pub fn new(status: StatusCode, why: String) -> Self {
        Self { status, why }
    }

    /// The program did not do its part.
    pub fn program(why: String) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, why)
    }

    /// It took too long.
    pub fn slow(limit: &Duration) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, format!("it has not answered within {}", timespan::format(*limit)))
    }

    /// The client did not do its part.
    pub fn client(why: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, why)
    }

    /// There are more requests than the function takes.
    pub fn busy(why: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, why.to_owned())
    }
}
