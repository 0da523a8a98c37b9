//! The body of a CGI program's answer, passed on while the program writes it.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use rustix::pipe::fcntl_setpipe_size;
use tokio::io::AsyncReadExt;
use tokio::time::{Sleep, sleep};

use crate::gateway::admission::Permit;
use crate::gateway::body::Error;
use crate::gateway::chunks::Chunks;
use crate::gateway::running::{GRACE, Running, check_end};

/// Bytes of a buffer for output, and its space that is left at least when the gateway reads into it.
const BUFFER_SIZE: usize = 64 << 10;
const MIN_SPACE: usize = 4 << 10;
/// A program that has written so many bytes when the gateway reads gets a larger pipe: it and the gateway wait for each other less
/// often. Short answers would only pay for it.
const MANY: usize = 32 << 10;
const LARGE_PIPE: usize = 256 << 10;

/// Why an answer is cut off, or is 502, that is shorter than its Content-Length.
pub(crate) const TOO_SHORT: &str = "the program wrote less than its Content-Length";
/// Why an answer is cut off whose chunks have no end.
const NO_LAST_CHUNK: &str = "the program wrote no last chunk";

/// What a program writes after its header, read only as fast as the client reads. Kills the program if it is dropped before
/// its end, because the connection is closed.
pub(crate) struct Output {
    first: Bytes,
    framing: Framing,
    buffer: BytesMut,
    is_pipe_large: bool,
    /// None after the end of the answer.
    running: Option<(Running, Permit)>,
    /// How long the answer still waits for the end of a program that has closed its output.
    grace: Option<Pin<Box<Sleep>>>,
}

/// What ends an answer.
pub(crate) enum Framing {
    /// The end of the program's output.
    Close,
    /// Its Content-Length: so many bytes are left.
    Length(u64),
    /// Its last chunk.
    Chunks(Chunks),
}

impl Framing {
    /// Returns the bytes of the body in `data`, which is what the program wrote next.
    fn take(&mut self, mut data: Bytes) -> Result<Bytes, Error> {
        match self {
            Self::Close => {}
            Self::Length(left) => {
                data.truncate((*left).min(data.len() as u64) as usize);
                *left -= data.len() as u64;
            }
            Self::Chunks(chunks) => data = chunks.decode(&data)?,
        }
        Ok(data)
    }

    fn is_over(&self) -> bool {
        match self {
            Self::Close => false,
            Self::Length(left) => *left == 0,
            Self::Chunks(chunks) => chunks.are_over(),
        }
    }
}

impl Output {
    /// `first` was read with the header.
    pub(crate) fn new(first: Bytes, framing: Framing, running: Running, permit: Permit) -> Self {
        let running = Some((running, permit));
        Self { first, framing, buffer: BytesMut::new(), is_pipe_large: false, running, grace: None }
    }

    fn detach(&mut self) {
        if let Some((running, permit)) = self.running.take() {
            running.detach(permit);
        }
    }

    /// Returns the next bytes, None at the end.
    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        while self.grace.is_none() && self.running.is_some() {
            if self.framing.is_over() {
                self.detach();
                break;
            }
            let written = ready!(self.poll_written(context))?;
            if written.is_empty() {
                self.grace = Some(Box::pin(sleep(GRACE)));
                break;
            }
            let data = self.framing.take(written)?;
            if !data.is_empty() {
                return Poll::Ready(Ok(Some(data)));
            }
        }
        self.poll_end(context)
    }

    /// Returns what the program wrote next; nothing if it has closed its output.
    fn poll_written(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes, Error>> {
        let Some((running, _)) = &mut self.running else { return Poll::Ready(Ok(Bytes::new())) };
        if !self.first.is_empty() {
            return Poll::Ready(Ok(std::mem::take(&mut self.first)));
        }
        if self.buffer.capacity() < MIN_SPACE {
            self.buffer.reserve(BUFFER_SIZE);
        }
        let read = ready!(pin!(running.output.read_buf(&mut self.buffer)).poll(context))?;
        if read >= MANY && !self.is_pipe_large {
            self.is_pipe_large = true;
            // The kernel may refuse it; then the program waits more often.
            let _ = fcntl_setpipe_size(&running.output, LARGE_PIPE);
        }
        Poll::Ready(Ok(self.buffer.split().freeze()))
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
        match self.framing {
            Framing::Close => {}
            Framing::Length(_) => outcome = outcome.and(Err(TOO_SHORT.to_owned())),
            Framing::Chunks(_) => outcome = outcome.and(Err(NO_LAST_CHUNK.to_owned())),
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
        if self.framing.is_over() {
            self.detach();
        }
        Poll::Ready(polled.map(|data| data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.running.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.framing {
            Framing::Length(left) => SizeHint::with_exact(left),
            Framing::Close | Framing::Chunks(_) => SizeHint::default(),
        }
    }
}
