//! Bodies of answers: short words of the gateway's own, and what programs write.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use tokio::time::{Instant, Sleep, sleep_until};

pub type Error = Box<dyn std::error::Error + Send + Sync>;
pub type Body = BoxBody<Bytes, Error>;

/// An answer of the gateway itself.
pub fn answer(status: StatusCode) -> Response<Body> {
    let words = format!("{} {}\n", status.as_u16(), status.canonical_reason().unwrap_or(""));
    let mut response = Response::new(Full::from(words).map_err(|never: Infallible| match never {}).boxed());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// A body that calls `end` once it is read to its end within its time, and drops it otherwise.
pub struct Watched<B, F> {
    body: B,
    expires: Pin<Box<Sleep>>,
    end: Option<F>,
}

impl<B, F> Watched<B, F> {
    pub fn new(body: B, deadline: Instant, end: F) -> Self {
        Self { body, expires: Box::pin(sleep_until(deadline)), end: Some(end) }
    }
}

impl<B, F> hyper::body::Body for Watched<B, F>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Error>,
    F: FnOnce() + Unpin,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Error>>> {
        if self.expires.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err("the program has had its time".into())));
        }
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let is_over = match &polled {
            Poll::Ready(None) => true,
            // hyper asks no more after the last byte of a length that it knows.
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

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}
