//! The gateway of one function: it checks, admits and answers requests.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};
use tokio::time::{timeout, timeout_at};

use crate::gateway::admission::Admission;
use crate::gateway::body::{Body, answer};
use crate::gateway::cgi::Cgi;
use crate::gateway::fault::Fault;
use crate::gateway::input::Input;
use crate::gateway::mount::Mount;
use crate::gateway::process::Children;
use crate::gateway::program::Program;
use crate::gateway::worker::Workers;
use crate::log::note;
use crate::model::function::{Compiled, Interface, MARGIN};

/// Bytes of the longest path with its query. Longer ones are refused with 414.
const MAX_URI: usize = 8 << 10;
/// Bytes of the largest header, which becomes a program's environment. Larger ones are refused with 431.
const MAX_HEADER: usize = 48 << 10;

/// Answers the requests of a function.
pub(crate) struct Gateway {
    admission: Admission,
    backend: Backend,
    /// The time that a request may take.
    timeout: Duration,
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
        let backend = match runner {
            Runner::Units(socket) => {
                if function.interface == Interface::Cgi {
                    timeout += MARGIN; // for the gateway in the unit to report a slow program first
                }
                Backend::Workers(Workers::of_units(function, socket, children))
            }
            Runner::Host => Backend::new(compiled, Program::on_host(compiled)?, children)?,
            Runner::Container(command) => Backend::new(compiled, Program::in_container(compiled, &command)?, children)?,
        };
        Ok(Arc::new(Self { admission: Admission::new(function, timeout), backend, timeout }))
    }

    /// Returns how many requests run or wait now.
    pub(crate) fn in_flight(&self) -> u32 {
        self.admission.in_flight()
    }

    /// Returns how many requests have come so far.
    pub(crate) fn total(&self) -> u64 {
        self.admission.total()
    }

    /// Answers a request. Faults are logged, and answered with their status.
    pub(crate) async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let (head, body) = request.into_parts();
        let name = format!("{} {}", head.method, head.uri.path());
        match self.try_handle(head, body, &name).await {
            Ok(response) => Ok(response),
            Err(Fault { status, reason }) => {
                note!("{name}: {}: {reason}", status.as_u16());
                Ok(answer(status))
            }
        }
    }

    async fn try_handle(&self, head: Parts, body: Incoming, name: &str) -> Result<Response<Body>, Fault> {
        check_size(&head)?;
        let in_flight = self.admission.enter()?;
        match &self.backend {
            Backend::Workers(workers) => {
                let permit = self.admission.permit(in_flight, name).await?;
                let answered = timeout_at(permit.deadline, workers.respond(head, body, permit)).await;
                answered.map_err(|_| Fault::timeout(self.timeout))?
            }
            Backend::Cgi(cgi) => {
                let late = "the client did not send the request's body within the timeout";
                let input = timeout(self.timeout, Input::receive(body)).await;
                let input = input.map_err(|_| Fault::new(StatusCode::REQUEST_TIMEOUT, late))??;
                let permit = self.admission.permit(in_flight, name).await?;
                cgi.respond(head, input, permit).await
            }
        }
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
            Interface::Cgi => Ok(Self::Cgi(Cgi {
                program,
                mount: Mount::new(compiled),
                dir: compiled.dir.clone(),
                timeout: compiled.function.timeout,
                children,
            })),
            Interface::Http => Workers::new(&compiled.function, program, children).map(Self::Workers),
        }
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
