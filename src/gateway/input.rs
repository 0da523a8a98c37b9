//! The body of a request, as a CGI program reads it from stdin.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::OwnedFd;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::Incoming;
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe::Sender;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, timeout, timeout_at};

use crate::gateway::fault::Fault;
use crate::gateway::room::{Room, Share};
use crate::gateway::scratch;

/// Bytes of the largest body that stays in memory.
const MAX_IN_MEMORY: usize = 64 << 10;
/// Bytes of a longer body that are stored at a time.
const BLOCK: usize = 256 << 10;
/// Bytes that any pipe has room for, pipe(7).
const PIPE_CAPACITY: usize = 4096;

/// Why a body is not received further.
const LATE: &str = "the client did not send the request's body within the timeout";

/// The limits of a request's body.
pub(crate) struct BodyLimits {
    /// Bytes of the largest one.
    pub(crate) size: u64,
    /// The time in which the client must send it.
    pub(crate) sending: Duration,
    /// The time that it may wait for room.
    pub(crate) waiting: Duration,
}

/// The complete body of a request.
pub(crate) enum Input {
    None,
    Memory(Bytes),
    /// A temporary file, and its length in bytes.
    File(File, u64),
}

impl Input {
    /// Receives a request's complete body, before its program starts: slow clients hold no process, the program gets
    /// the length (RFC 3875 section 4.1.2), and no answer begins before its request has ended. When an answer begins,
    /// Caddy, as any server with Go's net/http, closes the rest of a body that it still passes on, and the connection
    /// with it. It is returned with its share of `room`.
    ///
    /// # Errors
    /// 400 if the client does not send all of it, 408 if it needs more than `limits.sending` for that, 413 if it has more than
    /// `limits.size` bytes, 503 if there is no room within `limits.waiting`, 507 if the disk is full.
    pub(crate) async fn receive(body: &mut Incoming, limits: &BodyLimits, room: &Room) -> Result<(Self, Share), Fault> {
        let late = |_| Fault::new(StatusCode::REQUEST_TIMEOUT, LATE);
        let incomplete = |error: hyper::Error| Fault::client(format!("could not read the request's body: {error}"));
        let full = |error: io::Error| {
            Fault::new(StatusCode::INSUFFICIENT_STORAGE, format!("could not store the request's body: {error}"))
        };
        let mut share = room.share();
        let (mut size, mut stored, mut buffer) = (0, Stored::default(), BytesMut::new());
        let mut deadline = Instant::now() + limits.sending;
        while let Some(frame) = timeout_at(deadline, body.frame()).await.map_err(late)? {
            let Ok(data) = frame.map_err(incomplete)?.into_data() else { continue };
            size += data.len() as u64;
            if size > limits.size {
                return Err(Fault::too_large());
            }
            // The client is not late while it waits for others.
            let since = Instant::now();
            share.grow(size, limits.waiting).await?;
            deadline += since.elapsed();
            buffer.extend_from_slice(&data);
            if buffer.len() > if stored.is_empty() { MAX_IN_MEMORY } else { BLOCK } {
                stored.append(buffer.split().freeze()).await.map_err(full)?;
            }
        }
        if stored.is_empty() {
            return Ok((Self::Memory(buffer.freeze()), share));
        }
        stored.append(buffer.freeze()).await.map_err(full)?;
        Ok((Self::File(stored.finish().await.map_err(full)?, size), share))
    }

    /// Returns the length in bytes, None without a body.
    pub(crate) fn length(&self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::Memory(bytes) => Some(bytes.len() as u64),
            Self::File(_, size) => Some(*size),
        }
    }

    /// Returns the program's stdin, None without a body. A task writes what a pipe has no room for, for as long as
    /// `limit`.
    ///
    /// # Errors
    /// If the kernel refuses a pipe.
    pub(crate) fn into_stdin(self, limit: Duration) -> io::Result<Option<OwnedFd>> {
        let bytes = match self {
            Self::None => return Ok(None),
            Self::File(file, _) => return Ok(Some(file.into())),
            Self::Memory(bytes) => bytes,
        };
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        if bytes.len() <= PIPE_CAPACITY {
            File::from(writer).write_all(&bytes)?;
        } else {
            let mut sender = Sender::from_owned_fd(writer)?;
            // An error is none of the request: a program need not read its input.
            tokio::spawn(timeout(limit, async move { drop(sender.write_all(&bytes).await) }));
        }
        Ok(Some(reader))
    }
}

/// The part of a body that a temporary file has, or gets while the next part comes: a thread of its own writes it. A disk may take
/// its time, and all other requests of the function would wait as well.
#[derive(Default)]
struct Stored(Option<JoinHandle<io::Result<File>>>);

impl Stored {
    fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Waits until what was appended before is written, and has `data` written.
    async fn append(&mut self, data: Bytes) -> io::Result<()> {
        let file = match self.0.take() {
            Some(writing) => Some(written(writing).await?),
            None => None,
        };
        self.0 = Some(spawn_blocking(move || {
            let mut file = file.map_or_else(|| scratch::create(|dir| tempfile::tempfile_in(dir)), Ok)?;
            file.write_all(&data)?;
            Ok(file)
        }));
        Ok(())
    }

    /// Returns the file, at its beginning.
    async fn finish(self) -> io::Result<File> {
        let mut file = written(self.0.expect("a part was appended")).await?;
        file.rewind()?;
        Ok(file)
    }
}

async fn written(writing: JoinHandle<io::Result<File>>) -> io::Result<File> {
    writing.await.map_err(io::Error::other)?
}
