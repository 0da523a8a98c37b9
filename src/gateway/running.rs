//! A CGI program that runs for a request: what it writes, and how it ends.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use hyper::Uri;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::time::{Instant, timeout, timeout_at};

use crate::gateway::admission::Permit;
use crate::gateway::fault::Fault;
use crate::gateway::header::{self, Head, Parsed};
use crate::gateway::process::{End, Process};
use crate::gateway::program::Program;

/// Bytes of a buffer for a program's output.
pub(crate) const BUFFER_SIZE: usize = 32 << 10;
/// Bytes that a buffer grows by for a header or a short answer.
const GROWTH: usize = 4096;
/// A program that has closed its output may run on for this time before the gateway ends its answer.
pub(crate) const GRACE: Duration = Duration::from_millis(50);
/// The gateway holds an answer back for this time: one that ends within it is sent with its length, and with 502
/// instead if its program fails.
const HOLD: Duration = Duration::from_millis(1);

/// A CGI program's process, and the pipe that is its stdout.
pub(crate) struct Running {
    pub(crate) process: Process,
    pub(crate) output: Receiver,
}

/// The beginning of a program's answer.
pub(crate) enum Beginning {
    /// A header, and the part of the body that was read with it.
    Head(Box<Head>, BytesMut),
    /// A local redirect to another path, RFC 3875 section 6.2.2.
    Redirect(Uri),
}

/// What a program has written of its body within `HOLD`.
pub(crate) enum Held {
    /// The complete answer, and the program's exit.
    Complete(End),
    /// As much as Content-Length announces; the program may still run.
    Enough,
    /// A part of the answer.
    Partial,
}

impl Running {
    /// Reads up to the end of the header.
    ///
    /// # Errors
    /// 502 if the program ends before, or writes no header.
    pub(crate) async fn read_head(&mut self, program: &Program) -> Result<Beginning, Fault> {
        let parse = if program.is_nph { header::parse_nph } else { header::parse };
        let mut buffer = BytesMut::with_capacity(GROWTH);
        loop {
            let read = self.output.read_buf(&mut buffer).await.map_err(|error| read_failed(&error))?;
            if read == 0 {
                return Err(self.ended_early(program, &buffer).await);
            }
            match parse(&buffer).map_err(|error| Fault::program(error.to_string()))? {
                Parsed::Partial => buffer.reserve(GROWTH),
                Parsed::Local(uri) => return Ok(Beginning::Redirect(uri)),
                Parsed::Head(head, length) => {
                    let body = buffer.split_off(length);
                    return Ok(Beginning::Head(Box::new(head), body));
                }
            }
        }
    }

    async fn ended_early(&mut self, program: &Program, written: &[u8]) -> Fault {
        let what = if written.is_empty() { "the program wrote no header" } else { "the program wrote half a header" };
        match timeout(GRACE, self.process.ended()).await {
            Ok(End { start_error: Some(error), .. }) => start_failed(program, &error),
            Ok(end) => Fault::program(format!("{what}: it {end}")),
            Err(_) => Fault::program(format!("{what}: it closed its output and still runs")),
        }
    }

    /// Reads the body for as long as `HOLD`, up to `length` bytes if the program gave a Content-Length.
    ///
    /// # Errors
    /// 502 if the output cannot be read.
    pub(crate) async fn hold(&mut self, body: &mut BytesMut, length: Option<u64>) -> Result<Held, Fault> {
        let read = async {
            while length.is_none_or(|length| (body.len() as u64) < length) {
                if body.len() >= BUFFER_SIZE {
                    return Ok(Held::Partial);
                }
                body.reserve(GROWTH);
                if self.output.read_buf(body).await? == 0 {
                    return Ok(Held::Complete(self.end().await));
                }
            }
            Ok(Held::Enough)
        };
        timeout(HOLD, read).await.unwrap_or(Ok(Held::Partial)).map_err(|error| read_failed(&error))
    }

    /// Waits for the end of a program that has closed its output. The kernel closes it some microseconds before the
    /// process has ended.
    async fn end(&mut self) -> End {
        std::thread::yield_now();
        if let Some(end) = self.process.try_wait() {
            return end;
        }
        self.process.ended().await
    }

    /// Lets the program run until it ends or its time is over, and discards what it writes. It keeps its permit.
    pub(crate) fn detach(mut self, permit: Permit) {
        tokio::spawn(async move {
            let rest = async {
                let mut discarded = BytesMut::with_capacity(BUFFER_SIZE);
                while self.output.read_buf(&mut discarded).await.is_ok_and(|read| read > 0) {
                    discarded.clear();
                }
                self.process.ended().await
            };
            let _ = timeout_at(permit.deadline.max(Instant::now()), rest).await;
            drop((self, permit));
        });
    }
}

/// Decides whether an answer is complete by how its program ended after the header: a program that a signal killed may
/// not have written all of it. An exit status other than 0 is only logged.
///
/// # Errors
/// Why the answer is not complete.
pub(crate) fn check_end(end: &End, permit: &Permit) -> Result<(), String> {
    let text = || format!("after its header, the program {end}");
    if end.signal.is_some() {
        return Err(text());
    }
    if end.code != Some(0) {
        permit.log(&text());
    }
    Ok(())
}

/// The fault of a program that could not be started.
pub(crate) fn start_failed(program: &Program, error: &io::Error) -> Fault {
    Fault::program(format!("could not start {}: {error}", program.path.display()))
}

fn read_failed(error: &io::Error) -> Fault {
    Fault::program(format!("could not read the program's output: {error}"))
}
