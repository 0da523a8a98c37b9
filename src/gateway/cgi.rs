//! Answers a request with a CGI program, RFC 3875: its process, its input, and what it writes.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http_body_util::BodyExt;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode, Uri};
use tokio::net::unix::pipe::Receiver;
use tokio::task::spawn_blocking;
use tokio::time::timeout_at;

use crate::gateway::admission::Permit;
use crate::gateway::body::{self, Body};
use crate::gateway::chunks::Chunks;
use crate::gateway::directory::{Directory, Found};
use crate::gateway::fault::Fault;
use crate::gateway::header::{self, Head};
use crate::gateway::input::Input;
use crate::gateway::meta;
use crate::gateway::mount::{Mount, ScriptPath};
use crate::gateway::output::{Framing, Output, TOO_SHORT};
use crate::gateway::process::{Children, Variables};
use crate::gateway::program::Program;
use crate::gateway::running::{Beginning, Held, Running, check_end, start_failed};
use crate::proxy::forwarded::MOUNT;

/// Redirects within a function that one request may follow.
const MAX_REDIRECTS: u32 = 10;

/// The CGI programs of a function.
pub(crate) struct Cgi {
    pub(crate) source: Source,
    pub(crate) mount: Mount,
    pub(crate) timeout: Duration,
    pub(crate) children: Arc<Children>,
}

/// Where a function's programs come from.
pub(crate) enum Source {
    /// One program answers all requests.
    Program(Arc<Program>),
    /// The path of a request names its program.
    Directory(Arc<Directory>),
}

/// The program of a request.
struct Script {
    program: Arc<Program>,
    path: ScriptPath,
    /// Variables that only a program of a directory has.
    variables: Variables,
}

impl Cgi {
    /// Answers a request.
    ///
    /// # Errors
    /// 502 if the program fails, 504 if it writes no header in time.
    pub(crate) async fn respond(
        &self,
        mut head: Parts,
        mut input: Input,
        permit: Permit,
    ) -> Result<Response<Body>, Fault> {
        for _ in 0..MAX_REDIRECTS {
            let found = timeout_at(permit.deadline, self.script(&head)).await;
            let Some(script) = found.map_err(|_| Fault::timeout(self.timeout))?? else {
                return Ok(redirect_into(&head.uri));
            };
            let program = script.program.clone();
            let mut running = self.start(&head, script, input)?;
            let read = timeout_at(permit.deadline, running.read_head(&program)).await;
            match read.map_err(|_| Fault::timeout(self.timeout))?? {
                Beginning::Head(first, body) => return answer(&head, *first, body, running, permit).await,
                Beginning::Redirect(uri) if self.mount.contains(&head, &uri) => redirect(&mut head, uri),
                Beginning::Redirect(uri) => return Ok(redirect_client(&uri)),
            }
            input = Input::None;
        }
        Err(Fault::program(format!("the program redirects more than {MAX_REDIRECTS} times")))
    }

    /// Finds the program of a request; None if the client has to ask for the directory with a slash at its end.
    async fn script(&self, head: &Parts) -> Result<Option<Script>, Fault> {
        let path = self.mount.split(head)?;
        let directory = match &self.source {
            Source::Program(program) => {
                return Ok(Some(Script { program: program.clone(), path, variables: Variables::new() }));
            }
            Source::Directory(directory) => directory.clone(),
        };
        // Its file system may not answer, and other requests go on.
        let found = spawn_blocking(move || directory.find(&path)).await;
        match found.map_err(|error| Fault::program(error.to_string()))?? {
            Found::Directory => Ok(None),
            Found::Program(program, path, variables) => {
                Ok(Some(Script { program: Arc::new(*program), path, variables }))
            }
        }
    }

    fn start(&self, head: &Parts, script: Script, input: Input) -> Result<Running, Fault> {
        let mut variables = meta::variables(head, &script.path, input.length(), script.program.root());
        variables.retain(|(name, _)| !script.variables.iter().any(|(own, _)| own == name));
        variables.extend(script.variables);
        let failed = |error| start_failed(&script.program, &error);
        let stdin = input.into_stdin(self.timeout).map_err(failed)?;
        let (process, output) = self.children.run(&script.program, &variables, stdin.as_ref()).map_err(failed)?;
        Ok(Running { process, output: Receiver::from_owned_fd(output).map_err(failed)? })
    }
}

async fn answer(
    request: &Parts,
    head: Head,
    body: BytesMut,
    running: Running,
    permit: Permit,
) -> Result<Response<Body>, Fault> {
    let Head { status, reason, mut headers, is_chunked } = head;
    let has_body =
        request.method != Method::HEAD && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let mut response = if !has_body {
        running.detach(permit);
        Response::new(body::empty())
    } else if is_chunked {
        Response::new(Output::new(body.freeze(), Framing::Chunks(Chunks::default()), running, permit).boxed())
    } else {
        Response::new(answer_body(&headers, body, running, permit).await?)
    };
    // Go's net/http, and so Caddy, guesses the type of an answer that has no such field, which RFC 3875 section 6.3.1 advises
    // against. A field without a value is none, section 6.3.
    if has_body && request.headers.contains_key(MOUNT) {
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(""));
    }
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    if let Some(reason) = reason {
        response.extensions_mut().insert(reason);
    }
    Ok(response)
}

async fn answer_body(
    headers: &HeaderMap,
    mut body: BytesMut,
    mut running: Running,
    permit: Permit,
) -> Result<Body, Fault> {
    let length = headers.get(CONTENT_LENGTH).and_then(header::length);
    Ok(match running.hold(&mut body, length).await? {
        Held::Partial => {
            let framing = length.map_or(Framing::Close, Framing::Length);
            Output::new(body.freeze(), framing, running, permit).boxed()
        }
        Held::Complete(end) => {
            check_end(&end, &permit).map_err(Fault::program)?;
            fit(&mut body, length)?;
            // Releasing the process takes a while; the answer does not wait for it.
            tokio::spawn(async move { drop((running, permit)) });
            body::full(body)
        }
        Held::Enough => {
            fit(&mut body, length)?;
            running.detach(permit);
            body::full(body)
        }
    })
}

/// Cuts a body to its Content-Length.
fn fit(body: &mut BytesMut, length: Option<u64>) -> Result<(), Fault> {
    let Some(length) = length else { return Ok(()) };
    if (body.len() as u64) < length {
        return Err(Fault::program(TOO_SHORT));
    }
    body.truncate(length as usize);
    Ok(())
}

/// Turns a request into the one that a local redirect stands for, RFC 3875 section 6.2.2.
fn redirect(head: &mut Parts, uri: Uri) {
    if head.method != Method::HEAD {
        head.method = Method::GET;
    }
    head.uri = uri;
    // It may lead to another path of the function than the proxy found.
    for name in [CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING, HeaderName::from_static(MOUNT)] {
        head.headers.remove(name);
    }
}

/// Redirects the client to a path of another function or service, which only the proxy can find.
fn redirect_client(uri: &Uri) -> Response<Body> {
    let mut response = body::answer(StatusCode::FOUND);
    if let Ok(location) = uri.to_string().parse() {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// Redirects the client to a directory, whose files have addresses below that with a slash at its end.
fn redirect_into(uri: &Uri) -> Response<Body> {
    let mut response = body::answer(StatusCode::MOVED_PERMANENTLY);
    let query = uri.query().map_or_else(String::new, |query| format!("?{query}"));
    // A Location that begins with two slashes names a host.
    let path = uri.path().trim_start_matches('/');
    if let Ok(location) = format!("/{path}/{query}").parse() {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}
