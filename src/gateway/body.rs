//! Bodies of answers: the gateway's own, and those of workers.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use tokio::time::Instant;

use crate::gateway::connection::Connection;
use crate::gateway::limits::HEADER_TIMEOUT;
use crate::log::note;
use crate::names::FunctionId;

pub(super) type Error = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Body = BoxBody<Bytes, Error>;

/// Why an answer is cut off at the request's deadline.
const TIMED_OUT: &str = "the answer was not written, and read, within the timeout";

/// Returns a body without a byte.
pub(crate) fn empty() -> Body {
    Empty::new().map_err(|never: Infallible| match never {}).boxed()
}

/// Returns a body of known content, and so of known length.
pub(crate) fn full(content: impl Into<Bytes>) -> Body {
    Full::new(content.into()).map_err(|never: Infallible| match never {}).boxed()
}

/// Returns the gateway's own answer: the status, and its name as text.
pub(crate) fn answer(status: StatusCode) -> Response<Body> {
    let text = format!("{} {}\n", status.as_u16(), status.canonical_reason().unwrap_or(""));
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// Returns the answer in place of a program that failed. It names the function's log.
pub(crate) fn bad_gateway(id: &FunctionId) -> Response<Body> {
    let mut response = answer(StatusCode::BAD_GATEWAY);
    *response.body_mut() =
        full(format!("502 Bad Gateway\nThe journal has the reason: conductor cgi logs {}\n", id.short()));
    response
}

/// A body that calls `end` after its last byte. If it is not read to its end, it drops `end`.
pub(crate) struct Watched<B, F> {
    body: B,
    end: Option<F>,
}

impl<B, F> Watched<B, F> {
    pub(crate) fn new(body: B, end: F) -> Self {
        Self { body, end: Some(end) }
    }
}

impl<B, F> HttpBody for Watched<B, F>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<Error>,
    F: FnOnce() + Unpin,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if is_over(&polled, &self.body)
            && let Some(end) = self.end.take()
        {
            end();
        }
        polled.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.end.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Returns whether `polled` is the last frame of a body, or its end.
fn is_over<B: HttpBody, E>(polled: &Poll<Option<Result<Frame<Bytes>, E>>>, body: &B) -> bool {
    match polled {
        Poll::Ready(None) => true,
        // After the last byte of a known length hyper does not poll again.
        Poll::Ready(Some(Ok(_))) => body.is_end_stream(),
        _ => false,
    }
}

/// The body of an answer, and the limit of its connection. The request's deadline closes the connection, also while the client
/// reads nothing: hyper drops this then, and what it is made of ends the program.
pub(crate) struct Answer {
    body: Body,
    deadline: Instant,
    connection: Connection,
    /// For the journal.
    request: String,
    is_over: bool,
}

impl Answer {
    pub(crate) fn new(body: Body, deadline: Instant, connection: Connection, request: String) -> Self {
        connection.close_at(deadline);
        Self { body, deadline, connection, request, is_over: false }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.is_over |= is_over(&polled, &self.body) || matches!(polled, Poll::Ready(Some(Err(_))));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let now = Instant::now();
        if !self.is_over && !self.body.is_end_stream() && now >= self.deadline {
            note!("{}: {TIMED_OUT}", self.request);
        }
        // hyper may still hold a part of the answer that the client has not read.
        self.connection.close_at(self.deadline.max(now + HEADER_TIMEOUT));
    }
}
