//! One request by a CGI program: its process, what it is given, and what it answers, RFC 3875.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode, Uri};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout, timeout_at};

use crate::gateway::body::{Body, Error};
use crate::gateway::fault::Fault;
use crate::gateway::function::{Gateway, Turn};
use crate::gateway::header::{self, Head, Parsed};
use crate::gateway::meta::{self, Place};
use crate::gateway::process::{self, End, Process, scratch};

/// A larger body is kept on disk.
const SMALL: usize = 64 << 10;
/// A pipe holds at least a page.
const ALWAYS_FITS: usize = 4096;
/// Of a read from a program.
const CHUNK: usize = 32 << 10;
/// A program that has closed its output is given so long to end before its answer is over without it.
const GRACE: Duration = Duration::from_millis(50);
/// A program that answers in one go has done so by then: its answer has a length, and a caller is told if it failed.
const SOON: Duration = Duration::from_millis(1);
const SHORT: &str = "the program wrote less than it said";
/// Of redirects within a function.
const MAX_REDIRECTS: u32 = 10;

/// What a program reads.
pub enum Input {
    Nothing,
    /// All of it.
    Small(Bytes),
    /// The same, kept on disk.
    Spooled(File, u64),
}

impl Input {
    /// Takes a request's whole body before the program starts: slow clients hold no process, a program is told the length
    /// (section 4.1.2), and no answer begins before its request has ended. Caddy, as any server by Go's net/http, closes
    /// the rest of a body that it still passes on when an answer begins, and the connection with it.
    pub async fn of(mut body: Incoming) -> Result<Self, Fault> {
        let refused = |error: hyper::Error| Fault::client(format!("the request's body ended early: {error}"));
        let full = |error: io::Error| {
            Fault::new(StatusCode::INSUFFICIENT_STORAGE, format!("the body cannot be kept: {error}"))
        };
        if hyper::body::Body::is_end_stream(&body) {
            return Ok(Self::Nothing);
        }
        let mut first = BytesMut::new();
        let mut spool = None::<(File, u64)>;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(refused)?.into_data() else { continue };
            match &mut spool {
                Some((file, size)) => {
                    *size += data.len() as u64;
                    file.write_all(&data).map_err(full)?;
                }
                None => first.extend_from_slice(&data),
            }
            if spool.is_none() && first.len() > SMALL {
                let mut file = scratch(|dir| tempfile::tempfile_in(dir)).map_err(full)?;
                file.write_all(&first).map_err(full)?;
                spool = Some((file, first.len() as u64));
            }
        }
        match spool {
            None => Ok(Self::Small(first.freeze())),
            Some((mut file, size)) => {
                file.rewind().map_err(full)?;
                Ok(Self::Spooled(file, size))
            }
        }
    }

    fn length(&self) -> Option<u64> {
        match self {
            Self::Nothing => None,
            Self::Small(bytes) => Some(bytes.len() as u64),
            Self::Spooled(_, size) => Some(*size),
        }
    }

    /// The program's stdin, if it has something to read; what does not fit it at once is written as it is read.
    fn connect(self, limit: Duration) -> io::Result<Option<OwnedFd>> {
        let bytes = match self {
            Self::Nothing => return Ok(None),
            Self::Spooled(file, _) => return Ok(Some(file.into())),
            Self::Small(bytes) => bytes,
        };
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        if bytes.len() <= ALWAYS_FITS {
            File::from(writer).write_all(&bytes)?;
        } else {
            let mut sender = Sender::from_owned_fd(writer)?;
            // A program need not read it.
            tokio::spawn(timeout(limit, async move { drop(sender.write_all(&bytes).await) }));
        }
        Ok(Some(reader))
    }
}

/// Answers a request.
///
/// # Errors
/// Why it cannot be answered by the program.
pub async fn respond(
    gateway: &Arc<Gateway>,
    program: &process::Program,
    mut head: Parts,
    mut input: Input,
    turn: Turn,
) -> Result<Response<Body>, Fault> {
    let (deadline, is_nph) = (turn.deadline, program.is_nph());
    for _ in 0..MAX_REDIRECTS {
        let mut running = start(gateway, program, &head, input).await?;
        let read = timeout_at(deadline, running.head(program, is_nph)).await;
        match read.map_err(|_| Fault::slow(&gateway.function.timeout))?? {
            Answer::Head(first) => {
                return answer(&head.method, *first, running, turn, is_nph).await;
            }
            Answer::Local(uri) => {
                if !gateway.is_mounted_at(&head, &uri) {
                    return Ok(elsewhere(&uri));
                }
                redirect(&mut head, uri);
                input = Input::Nothing;
            }
        }
    }
    Err(Fault::program(format!("it redirects more than {MAX_REDIRECTS} times")))
}

async fn start(gateway: &Gateway, program: &process::Program, head: &Parts, input: Input) -> Result<Program, Fault> {
    let path = head.uri.path();
    let place = Place::of(&gateway.function, &gateway.id, meta::host(head), path);
    let place = place.ok_or_else(|| Fault::client("the path is not percent-encoded as it should be".to_owned()))?;
    let own = meta::variables(head, &place, input.length(), &gateway.dir);
    let failed = |error: io::Error| cannot_be_started(program, &error);
    let stdin = input.connect(gateway.function.timeout).map_err(failed)?;
    let (process, output) = gateway.children.run(program, &own, stdin.as_ref()).map_err(failed)?;
    Ok(Program { process, output: Receiver::from_owned_fd(output).map_err(failed)? })
}

fn cannot_be_started(program: &process::Program, error: &io::Error) -> Fault {
    Fault::program(format!("{} cannot be started: {error}", program.path.display()))
}

/// The request that a local redirect stands for, section 6.2.2.
fn redirect(head: &mut Parts, uri: Uri) {
    if head.method != Method::HEAD {
        head.method = Method::GET;
    }
    head.uri = uri;
    for name in [CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING] {
        head.headers.remove(name);
    }
}

/// What another function or service answers only the proxy can find.
fn elsewhere(uri: &Uri) -> Response<Body> {
    let mut response = super::body::answer(StatusCode::FOUND);
    if let Ok(location) = uri.to_string().parse() {
        response.headers_mut().insert(hyper::header::LOCATION, location);
    }
    response
}

struct Program {
    process: Process,
    output: Receiver,
}

enum Answer {
    Head(Box<First>),
    Local(Uri),
}

/// A header, and what was read of the body with it.
struct First {
    head: Head,
    body: BytesMut,
}

/// What comes of an answer within a moment.
enum Soon {
    /// All of it, and its program's end.
    Group(End),
    /// As much as the program said; it may run on.
    Enough,
    Begun,
}

impl Program {
    /// Reads up to the blank line.
    async fn head(&mut self, program: &process::Program, is_nph: bool) -> Result<Answer, Fault> {
        let parse = if is_nph { header::parse_nph } else { header::parse };
        let mut buffer = BytesMut::with_capacity(4096);
        loop {
            let read = self.output.read_buf(&mut buffer).await.map_err(|error| Fault::program(error.to_string()))?;
            if read == 0 {
                return Err(self.ended_early(program, &buffer).await);
            }
            match parse(&buffer).map_err(|why| Fault::program(why.to_string()))? {
                Parsed::Partial => buffer.reserve(4096),
                Parsed::Local(uri) => return Ok(Answer::Local(uri)),
                Parsed::Head(head, length) => {
                    let body = buffer.split_off(length);
                    return Ok(Answer::Head(Box::new(First { head, body })));
                }
            }
        }
    }

    async fn ended_early(&mut self, program: &process::Program, buffer: &[u8]) -> Fault {
        let what = if buffer.is_empty() { "it wrote no header" } else { "it wrote half a header" };
        match timeout(GRACE, self.process.ended()).await {
            Ok(End { not_started: Some(error), .. }) => cannot_be_started(program, &error),
            Ok(end) => Fault::program(format!("{what}: {end}")),
            Err(_) => Fault::program(format!("{what}: it closed its output and runs on")),
        }
    }

    /// Reads on for a moment, what is no more than so much.
    async fn soon(&mut self, body: &mut BytesMut, length: Option<u64>) -> io::Result<Soon> {
        let read = async {
            while length.is_none_or(|length| (body.len() as u64) < length) {
                if body.len() >= CHUNK {
                    return Ok(Soon::Begun);
                }
                body.reserve(ALWAYS_FITS);
                if self.output.read_buf(body).await? == 0 {
                    return Ok(Soon::Group(self.end().await));
                }
            }
            Ok(Soon::Enough)
        };
        timeout(SOON, read).await.unwrap_or(Ok(Soon::Begun))
    }

    /// The end of a program that has closed its output: the kernel does that some microseconds before.
    async fn end(&mut self) -> End {
        std::thread::yield_now();
        if let Some(end) = self.process.peek() {
            return end;
        }
        self.process.ended().await
    }
}

async fn answer(
    method: &Method,
    first: First,
    mut program: Program,
    turn: Turn,
    is_nph: bool,
) -> Result<Response<Body>, Fault> {
    let First { head: Head { status, reason, headers }, mut body } = first;
    let mut response = if *method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    {
        outlive(program, turn);
        Response::new(http_body_util::Empty::new().map_err(|never| match never {}).boxed())
    } else {
        let length = length(&headers);
        let soon = program.soon(&mut body, length).await.map_err(|error| Fault::program(error.to_string()))?;
        Response::new(match soon {
            Soon::Begun => Output::new(body.freeze(), length, program, turn).boxed(),
            Soon::Group(end) => {
                judge(&end, &turn).map_err(Fault::program)?;
                fit(&mut body, length)?;
                // What it had is put away when the answer is on its way.
                tokio::spawn(async move { drop((program, turn)) });
                full(body)
            }
            Soon::Enough => {
                fit(&mut body, length)?;
                outlive(program, turn);
                full(body)
            }
        })
    };
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    if is_nph
        && let Some(reason) = reason.and_then(|reason| hyper::ext::ReasonPhrase::try_from(reason.into_bytes()).ok())
    {
        response.extensions_mut().insert(reason);
    }
    Ok(response)
}

fn full(body: BytesMut) -> Body {
    http_body_util::Full::new(body.freeze()).map_err(|never| match never {}).boxed()
}

/// What a program's end says of its answer: killed, it may not have written all of it.
fn judge(end: &End, turn: &Turn) -> Result<(), String> {
    let why = || format!("after its header {end}");
    if end.signal.is_some() {
        return Err(why());
    }
    if end.code != Some(0) {
        turn.tell(&why());
    }
    Ok(())
}

/// Has a body the length that the program gave.
fn fit(body: &mut BytesMut, length: Option<u64>) -> Result<(), Fault> {
    let Some(length) = length else { return Ok(()) };
    if (body.len() as u64) < length {
        return Err(Fault::program(SHORT.to_owned()));
    }
    body.truncate(length as usize);
    Ok(())
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH).and_then(header::length)
}

/// What a program writes after its header: read only as fast as the client reads. Dropped before its end, because the
/// client went away, it kills the program.
struct Output {
    first: Bytes,
    /// Of the length that the program gave.
    left: Option<u64>,
    buffer: BytesMut,
    expires: Pin<Box<Sleep>>,
    /// None when the answer is over.
    program: Option<(Program, Turn)>,
    /// The output is closed; so long its end is waited for.
    grace: Option<Pin<Box<Sleep>>>,
}

impl Output {
    fn new(first: Bytes, length: Option<u64>, program: Program, turn: Turn) -> Self {
        Self {
            first,
            left: length,
            buffer: BytesMut::new(),
            expires: Box::pin(sleep_until(turn.deadline)),
            program: Some((program, turn)),
            grace: None,
        }
    }

    fn give(&mut self, mut data: Bytes) -> Bytes {
        if let Some(left) = &mut self.left {
            data.truncate((*left).min(data.len() as u64) as usize);
            *left -= data.len() as u64;
        }
        data
    }

    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        let Some((program, _)) = &mut self.program else { return Poll::Ready(Ok(None)) };
        if self.left == Some(0) {
            let (program, turn) = self.program.take().expect("it is there");
            outlive(program, turn);
            return Poll::Ready(Ok(None));
        }
        if !self.first.is_empty() {
            let first = std::mem::take(&mut self.first);
            return Poll::Ready(Ok(Some(self.give(first))));
        }
        if self.expires.as_mut().poll_deadline(context) {
            return Poll::Ready(Err("the program has had its time".into()));
        }
        if self.grace.is_none() {
            self.buffer.reserve(CHUNK);
            let mut space = ReadBuf::uninit(self.buffer.spare_capacity_mut());
            ready!(Pin::new(&mut program.output).poll_read(context, &mut space))?;
            let data = Bytes::copy_from_slice(space.filled());
            if !data.is_empty() {
                return Poll::Ready(Ok(Some(self.give(data))));
            }
            self.grace = Some(Box::pin(sleep(GRACE)));
        }
        let end = program.process.poll_ended(context);
        if end.is_pending() && !self.grace.as_mut().is_some_and(|grace| grace.as_mut().poll_deadline(context)) {
            return Poll::Pending;
        }
        let (program, turn) = self.program.take().expect("it is there");
        let is_short = self.left.is_some();
        match end {
            Poll::Ready(end) => {
                if let Err(why) = judge(&end, &turn) {
                    turn.tell(&why);
                    return Poll::Ready(Err(why.into()));
                }
            }
            Poll::Pending => outlive(program, turn),
        }
        Poll::Ready(if is_short { Err(SHORT.into()) } else { Ok(None) })
    }
}

/// `poll` as a question.
trait Deadline {
    fn poll_deadline(self: Pin<&mut Self>, context: &mut Context<'_>) -> bool;
}

impl Deadline for Sleep {
    fn poll_deadline(self: Pin<&mut Self>, context: &mut Context<'_>) -> bool {
        Future::poll(self, context).is_ready()
    }
}

/// Lets a program run to its end, unread, within its time: it keeps its turn.
fn outlive(mut program: Program, turn: Turn) {
    tokio::spawn(async move {
        let deadline = turn.deadline;
        let rest = async {
            let mut unread = BytesMut::with_capacity(CHUNK);
            while program.output.read_buf(&mut unread).await.is_ok_and(|read| read > 0) {
                unread.clear();
            }
            program.process.ended().await
        };
        let _ = timeout_at(deadline.max(Instant::now()), rest).await;
        drop((program, turn));
    });
}

impl hyper::body::Body for Output {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = ready!(self.poll_data(context)).transpose();
        if let Some(Err(error)) = &polled
            && let Some((_, turn)) = &self.program
        {
            turn.tell(&error.to_string());
        }
        // With the last byte of a known length hyper asks no more.
        if self.left == Some(0)
            && let Some((program, turn)) = self.program.take()
        {
            outlive(program, turn);
        }
        Poll::Ready(polled.map(|data| data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.program.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
