//! The body of a request while it is passed on to a worker.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::gateway::body::Error;
use crate::gateway::limits::DISCARD_TIMEOUT;

/// A body that fails when it is larger than the function's `max_body`.
pub(crate) struct Upload {
    body: Option<Incoming>,
    /// Bytes that it may still have.
    left: u64,
    has_begun: bool,
}

/// Why a body fails that is larger than `max_body`.
#[derive(Debug)]
pub(crate) struct TooLarge;

impl fmt::Display for TooLarge {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the body is too large: max_body")
    }
}

impl std::error::Error for TooLarge {}

impl Upload {
    pub(crate) fn new(body: Incoming, max: u64) -> Self {
        Self { body: Some(body), left: max, has_begun: false }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.has_begun = true;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(context));
        let Some(Ok(frame)) = frame else {
            self.body = None;
            return Poll::Ready(frame.map(|it| it.map_err(Into::into)));
        };
        let size = frame.data_ref().map_or(0, |data| data.len() as u64);
        match self.left.checked_sub(size) {
            Some(left) => {
                self.left = left;
                Poll::Ready(Some(Ok(frame)))
            }
            None => Poll::Ready(Some(Err(TooLarge.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // A client that waits for 100 Continue sends nothing otherwise.
        if let Some(body) = self.body.take().filter(|body| self.has_begun && !body.is_end_stream()) {
            discard(body);
        }
    }
}

/// Reads the rest of a body that nobody needs for a while: a client that still sends would miss the answer if the connection
/// were closed at once.
pub(crate) fn discard(mut body: Incoming) {
    // No runtime is left when the gateway ends.
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(async move {
            let read = async { while let Some(Ok(_)) = body.frame().await {} };
            let _ = timeout(DISCARD_TIMEOUT, read).await;
        });
    }
}
