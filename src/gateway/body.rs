//! Bodies of answers: the gateway's own, and those of workers.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use tokio::time::{Instant, Sleep, sleep_until};

pub(super) type Error = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Body = BoxBody<Bytes, Error>;

/// Why an answer is cut off at the request's deadline.
pub(crate) const TIMED_OUT: &str = "the program did not finish its answer within the timeout";

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

/// A body that calls `end` after its last byte. If it is not read to its end by `deadline`, it fails and drops `end`.
pub(crate) struct Watched<B, F> {
    body: B,
    deadline: Pin<Box<Sleep>>,
    end: Option<F>,
}

impl<B, F> Watched<B, F> {
    pub(crate) fn new(body: B, deadline: Instant, end: F) -> Self {
        Self { body, deadline: Box::pin(sleep_until(deadline)), end: Some(end) }
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
        if self.deadline.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(TIMED_OUT.into())));
        }
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let is_over = match &polled {
            Poll::Ready(None) => true,
            // After the last byte of a known length hyper does not poll again.
            Poll::Ready(Some(Ok(_))) => self.body.is_end_stream(),
            _ => false,
        };
        if is_over && let Some(end) = self.end.take() {
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
