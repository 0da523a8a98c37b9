//! The body of a CGI program's answer, passed on while the program writes it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::gateway::admission::Permit;
use crate::gateway::body::Error;
use crate::gateway::running::{BUFFER_SIZE, GRACE, Running, check_end};

/// Why an answer is cut off, or is 502, that is shorter than its Content-Length.
pub(crate) const TOO_SHORT: &str = "the program wrote less than its Content-Length";

/// What a program writes after its header, read only as fast as the client reads. Kills the program if it is dropped before
/// its end, because the connection is closed.
pub(crate) struct Output {
    first: Bytes,
    /// Bytes left of the Content-Length, None without one.
    left: Option<u64>,
    buffer: BytesMut,
    /// None after the end of the answer.
    running: Option<(Running, Permit)>,
    /// How long the answer still waits for the end of a program that has closed its output.
    grace: Option<Pin<Box<Sleep>>>,
}

impl Output {
    /// `first` was read with the header.
    pub(crate) fn new(first: Bytes, length: Option<u64>, running: Running, permit: Permit) -> Self {
        Self { first, left: length, buffer: BytesMut::new(), running: Some((running, permit)), grace: None }
    }

    fn take(&mut self, mut data: Bytes) -> Bytes {
        if let Some(left) = &mut self.left {
            data.truncate((*left).min(data.len() as u64) as usize);
            *left -= data.len() as u64;
        }
        data
    }

    fn detach(&mut self) {
        if let Some((running, permit)) = self.running.take() {
            running.detach(permit);
        }
    }

    /// Returns the next bytes, None at the end.
    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        let Some((running, _)) = &mut self.running else { return Poll::Ready(Ok(None)) };
        if self.left == Some(0) {
            self.detach();
            return Poll::Ready(Ok(None));
        }
        if !self.first.is_empty() {
            let first = std::mem::take(&mut self.first);
            return Poll::Ready(Ok(Some(self.take(first))));
        }
        if self.grace.is_none() {
            self.buffer.reserve(BUFFER_SIZE);
            let mut space = ReadBuf::uninit(self.buffer.spare_capacity_mut());
            ready!(Pin::new(&mut running.output).poll_read(context, &mut space))?;
            let data = Bytes::copy_from_slice(space.filled());
            if !data.is_empty() {
                return Poll::Ready(Ok(Some(self.take(data))));
            }
            self.grace = Some(Box::pin(sleep(GRACE)));
        }
        self.poll_end(context)
    }

    /// Ends the answer of a program that has closed its output.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        let Some((running, permit)) = &mut self.running else { return Poll::Ready(Ok(None)) };
        let polled = running.process.poll_ended(context);
        let mut outcome = match &polled {
            Poll::Ready(end) => check_end(end, permit),
            Poll::Pending if self.grace.as_mut().is_some_and(|grace| grace.as_mut().poll(context).is_ready()) => Ok(()),
            Poll::Pending => return Poll::Pending,
        };
        if self.left.is_some() {
            outcome = outcome.and(Err(TOO_SHORT.to_owned()));
        }
        if let Err(reason) = &outcome {
            permit.log(reason);
        }
        if polled.is_pending() {
            self.detach();
        } else {
            self.running = None;
        }
        Poll::Ready(outcome.map(|()| None).map_err(Into::into))
    }
}

impl Body for Output {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = ready!(self.poll_data(context)).transpose();
        if let Some(Err(error)) = &polled
            && let Some((_, permit)) = &self.running
        {
            permit.log(&error.to_string());
        }
        // After the last byte of a known length hyper does not poll again.
        if self.left == Some(0) {
            self.detach();
        }
        Poll::Ready(polled.map(|data| data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.running.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
