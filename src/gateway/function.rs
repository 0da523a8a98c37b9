//! The gateway of one function: it checks, admits and answers requests.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::header::{EXPECT, HOST, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{Request, Response, StatusCode, Uri, Version};
use tokio::time::{Instant, timeout_at};

use crate::gateway::admission::Admission;
use crate::gateway::body::{Answer, Body, answer, bad_gateway};
use crate::gateway::cgi::{Cgi, Source};
use crate::gateway::connection::Connection;
use crate::gateway::directory::Directory;
use crate::gateway::fault::Fault;
use crate::gateway::input::{BodyLimits, Input};
use crate::gateway::limits::HEADER_TIMEOUT;
use crate::gateway::mount::Mount;
use crate::gateway::process::Children;
use crate::gateway::program::Program;
use crate::gateway::room::{Room, Share};
use crate::gateway::upload::discard;
use crate::gateway::user;
use crate::gateway::worker::Workers;
use crate::log::{self, note};
use crate::model::function::{Compiled, Interface, MARGIN, RemoteUser};
use crate::names::FunctionId;

/// Bytes of the longest path with its query. Longer ones are refused with 414.
const MAX_URI: usize = 8 << 10;
/// Bytes of the largest header, which becomes a program's environment. Larger ones are refused with 431.
const MAX_HEADER: usize = 48 << 10;

/// Answers the requests of a function.
pub(crate) struct Gateway {
    id: FunctionId,
    admission: Admission,
    backend: Backend,
    /// The time that a request may take.
    timeout: Duration,
    body: BodyLimits,
    remote_user: RemoteUser,
    room: Room,
    /// Whether units of requests store bodies, each in a directory of its own.
    do_units_store: bool,
}

/// Who runs a function's programs.
pub(crate) enum Runner {
    /// This process, on the host.
    Host,
    /// This process, in a container that runs this command.
    Container(Vec<String>),
    /// systemd: it starts a unit for each connection to the socket with this path.
    Units(PathBuf),
}

enum Backend {
    Cgi(Cgi),
    Workers(Arc<Workers>),
}

impl Gateway {
    /// Needs a tokio runtime.
    ///
    /// # Errors
    /// If the program is not found, or the kernel refuses the workers' socket.
    pub(crate) fn new(compiled: &Compiled, children: Arc<Children>, runner: Runner) -> Result<Arc<Self>, String> {
        let function = &compiled.function;
        let mut timeout = function.timeout;
        let do_units_store = matches!(runner, Runner::Units(_)) && function.interface == Interface::Cgi;
        let backend = match runner {
            Runner::Units(socket) => {
                if function.interface == Interface::Cgi {
                    timeout += MARGIN; // for the gateway in the unit to report a slow program first
                }
                Backend::Workers(Workers::of_units(function, socket, children))
            }
            Runner::Host => match &function.programs {
                Some(programs) => {
                    let directory = Directory::new(compiled, programs)?;
                    Backend::cgi(compiled, Source::Directory(Arc::new(directory)), children)
                }
                None => Backend::new(compiled, Program::on_host(compiled)?, children)?,
            },
            Runner::Container(command) => Backend::new(compiled, Program::in_container(compiled, &command)?, children)?,
        };
        let (admission, remote_user) = (Admission::new(function, timeout), function.remote_user);
        let body = BodyLimits { size: function.max_body, sending: timeout, waiting: function.queue_timeout };
        let (id, room) = (compiled.id.clone(), Room::new());
        Ok(Arc::new(Self { id, admission, backend, timeout, body, remote_user, room, do_units_store }))
    }

    /// Returns how many requests run or wait now.
    pub(crate) fn in_flight(&self) -> u32 {
        self.admission.in_flight()
    }

    /// Returns how many requests have come so far.
    pub(crate) fn total(&self) -> u64 {
        self.admission.total()
    }

    /// Answers a request of a connection. Faults are logged, and answered with their status.
    pub(crate) async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        connection: Connection,
    ) -> Result<Response<Answer>, Infallible> {
        connection.keep_open();
        let (head, body) = request.into_parts();
        let name = format!("{} {}", head.method, head.uri.path());
        let is_body_held_back = head.headers.contains_key(EXPECT);
        let mut body = Some(body);
        let (response, deadline) = match self.try_handle(head, &mut body, &name).await {
            Ok(answered) => answered,
            Err(Fault { status, reason }) => {
                let text = format!("{name}: {}: {reason}", status.as_u16());
                // A client's fault is nothing that somebody has to look after.
                if status.is_server_error() {
                    log::failure(log::Failure::Request, &text);
                } else {
                    note!("{text}");
                }
                if let Some(body) = body.filter(|body| !is_body_held_back && !body.is_end_stream()) {
                    discard(body);
                }
                let response = if status == StatusCode::BAD_GATEWAY { bad_gateway(&self.id) } else { answer(status) };
                (response, Instant::now() + HEADER_TIMEOUT)
            }
        };
        Ok(response.map(|body| Answer::new(body, deadline, connection, name)))
    }

    /// Returns the answer, and when the client must have read it. Leaves the body where the fault needs none of it.
    async fn try_handle(
        &self,
        mut head: Parts,
        body: &mut Option<Incoming>,
        name: &str,
    ) -> Result<(Response<Body>, Instant), Fault> {
        check_size(&head)?;
        unify_host(&mut head)?;
        user::check(&head.headers, self.remote_user)?;
        let length = body.as_ref().and_then(|body| body.size_hint().exact());
        if length.is_some_and(|length| length > self.body.size) {
            return Err(Fault::too_large());
        }
        let in_flight = self.admission.enter()?;
        match &self.backend {
            Backend::Workers(workers) => {
                let mut share = self.room.share();
                if self.do_units_store {
                    share.grow(length.unwrap_or(self.body.size), self.body.waiting).await?;
                }
                let permit = self.admission.permit(in_flight, name, Some(share)).await?;
                let deadline = permit.deadline;
                let body = body.take().expect("nothing has taken the body");
                let answered = timeout_at(deadline, workers.respond(head, body, permit)).await;
                let answered = answered.map_err(|_| Fault::timeout(self.timeout))??;
                // Once there is an answer, the gateway in the unit has nothing to report any more.
                let margin = if self.do_units_store { MARGIN } else { Duration::ZERO };
                Ok((answered, deadline - margin))
            }
            Backend::Cgi(cgi) => {
                let (input, permit) = if length == Some(0) {
                    (Input::None, self.admission.permit(in_flight, name, None).await?)
                } else {
                    let _turn = self.admission.turn_to_send().await?;
                    let (input, share) = self.receive(body).await?;
                    (input, self.admission.permit(in_flight, name, Some(share)).await?)
                };
                let deadline = permit.deadline;
                Ok((cgi.respond(head, input, permit).await?, deadline))
            }
        }
    }

    async fn receive(&self, body: &mut Option<Incoming>) -> Result<(Input, Share), Fault> {
        let body = body.as_mut().expect("nothing has taken the body");
        Input::receive(body, &self.body, &self.room).await
    }

    /// Ends workers that have been idle for too long, and starts missing ones. To be called now and then.
    pub(crate) fn tend(&self) {
        if let Backend::Workers(workers) = &self.backend {
            workers.tend();
        }
    }
}

impl Backend {
    fn new(compiled: &Compiled, program: Program, children: Arc<Children>) -> Result<Self, String> {
        match compiled.function.interface {
            Interface::Cgi => Ok(Self::cgi(compiled, Source::Program(Arc::new(program)), children)),
            Interface::Http => Workers::new(&compiled.function, program, children).map(Self::Workers),
        }
    }

    fn cgi(compiled: &Compiled, source: Source, children: Arc<Children>) -> Self {
        Self::Cgi(Cgi { source, mount: Mount::new(compiled), timeout: compiled.function.timeout, children })
    }
}

fn check_size(head: &Parts) -> Result<(), Fault> {
    if head.uri.path_and_query().is_some_and(|uri| uri.as_str().len() > MAX_URI) {
        return Err(Fault::new(StatusCode::URI_TOO_LONG, "the path is longer than 8 KiB"));
    }
    let sizes = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
    if sizes.sum::<usize>() > MAX_HEADER {
        let reason = "the header is larger than 48 KiB";
        return Err(Fault::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, reason));
    }
    if !head.uri.path().starts_with('/') {
        return Err(Fault::client("the request names neither a path nor a URL")); // CONNECT, OPTIONS *
    }
    Ok(())
}

/// Leaves one host in a request: that of its URL replaces the field's, RFC 9112 sections 3.2 and 3.2.2.
fn unify_host(head: &mut Parts) -> Result<(), Fault> {
    if let Some(authority) = head.uri.authority() {
        let host = HeaderValue::from_str(authority.as_str()).expect("a URL's host is a field's value");
        head.headers.insert(HOST, host);
        let path = head.uri.path_and_query().cloned();
        head.uri = path.map_or_else(Uri::default, Uri::from);
    }
    if head.version == Version::HTTP_11 && !head.headers.contains_key(HOST) {
        return Err(Fault::client("the request has no Host"));
    }
    let mut hosts = head.headers.get_all(HOST).iter();
    let is_host = |host: &HeaderValue| {
        host.is_empty() || Authority::try_from(host.as_bytes()).is_ok_and(|authority| !authority.as_str().contains('@'))
    };
    if hosts.next().is_some_and(|host| !is_host(host)) || hosts.next().is_some() {
        return Err(Fault::client("the request has two hosts, or one that is none"));
    }
    Ok(())
}
