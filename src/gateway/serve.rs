//! Serves one function: all requests of a pooled one, or one request of an isolated one.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use hyper::server::conn::http1;
use tokio::net;
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::compile::functions::load_stored_function;
use crate::gateway::denial::Denials;
use crate::gateway::exec::{Stdin, exec};
use crate::gateway::function::{Gateway, Runner};
use crate::gateway::limits::{BUFFER_SIZE, RETRY_PAUSE};
use crate::gateway::listener::{bind, inherited};
use crate::gateway::process::Children;
use crate::gateway::refuse;
use crate::gateway::server::{Server, Termination, runtime, serve_connection};
use crate::gateway::watchdog;
use crate::layout::Layout;
use crate::log;
use crate::model::function::{Compiled, Function, Interface, Mode};
use crate::names::FunctionId;
use crate::source::functions;

/// How a gateway ended that could serve its function.
enum Ended {
    /// No request came for long enough, or a signal ended it.
    Finished,
    /// systemd has to kill what earlier requests left, and the next request starts the gateway again.
    Overrun,
}

impl Ended {
    fn into_result(self) -> Result<(), String> {
        match self {
            Self::Finished => Ok(()),
            Self::Overrun => Err("processes of earlier requests cannot be ended".to_owned()),
        }
    }
}

/// Serves a function on the host until no request has come for its `idle_timeout`, or a signal ends it. It finishes the
/// requests in flight first.
fn serve(layout: &Layout, id: &FunctionId) -> Result<Ended, String> {
    let compiled = load(layout, id)?;
    match compiled.function.mode {
        Mode::Isolated => {
            let socket = layout.at(&layout.function_requests(id)).into();
            serve_pooled(layout, compiled, Runner::Units(socket))
        }
        Mode::Pooled if compiled.function.process.engine.is_privileged() => {
            Err(format!("only systemd starts the function's container: systemctl start {}.socket", id.unit()))
        }
        Mode::Pooled => serve_pooled(layout, compiled, Runner::Host),
    }
}

/// Serves a function on the host until no request has come for its `idle_timeout`, or a signal ends it. If it cannot be
/// served, callers at systemd's socket are answered with 502 for a while: they would start this process again and again.
///
/// # Errors
/// Why the function cannot be served.
pub(crate) fn run(layout: &Layout, id: &FunctionId) -> Result<(), String> {
    let reason = match serve(layout, id) {
        Ok(ended) => return ended.into_result(),
        Err(reason) => reason,
    };
    if inherited().is_some() {
        log::failure(log::Failure::Function, &format!("502: {reason}"));
        refuse::run(id)?;
    }
    Err(reason)
}

/// Serves a function inside its container, whose image runs `command`: all requests, or that of the connection on stdin.
///
/// # Errors
/// Why the function cannot be served.
pub(crate) fn run_in_container(layout: &Layout, id: &FunctionId, command: Vec<String>) -> Result<(), String> {
    let compiled = load(layout, id)?;
    match (compiled.function.mode, compiled.function.interface) {
        (Mode::Pooled, _) => serve_pooled(layout, compiled, Runner::Container(command))?.into_result(),
        (Mode::Isolated, Interface::Cgi) => serve_stdin(&compiled, Runner::Container(command)),
        (Mode::Isolated, Interface::Http) => Err(exec(&command, Stdin::Connection).to_string()),
    }
}

/// Serves the one request of the connection on stdin, in a unit of an isolated function.
///
/// # Errors
/// Why the request cannot be served.
pub(crate) fn run_request(layout: &Layout, id: &FunctionId) -> Result<(), String> {
    serve_stdin(&load(layout, id)?, Runner::Host)
}

fn load(layout: &Layout, id: &FunctionId) -> Result<Compiled, String> {
    let dir = functions::find_one(layout, id)
        .map_err(|error| error.headline())?
        .ok_or_else(|| format!("no function has the ID {id}"))?;
    let compiled = load_stored_function(layout, id, &dir, None).map_err(|errors| errors.to_string())?;
    Ok(Compiled { dir: layout.at(&dir), ..compiled })
}

fn serve_pooled(layout: &Layout, compiled: Compiled, runner: Runner) -> Result<Ended, String> {
    let listener = match inherited() {
        Some(listener) => listener,
        None => bind(&layout.at(&layout.function_socket(&compiled.id, compiled.function.address)))?,
    };
    let function = &compiled.function;
    let interface = (function.mode == Mode::Pooled).then_some(function.interface);
    let failed = |error: io::Error| error.to_string();
    let denials = denials(function, &runner).map_err(failed)?;
    let outcome = runtime(interface)?.block_on(async {
        let children = Children::adopt(denials.as_ref().map(|denials| denials.writer.clone())).map_err(failed)?;
        watchdog::start();
        let gateway = Gateway::new(&compiled, children.clone(), runner)?;
        let server = Server::new(gateway, listener, function.max_concurrency).map_err(failed)?;
        let mut termination = Termination::watch().map_err(failed)?;
        tokio::select! {
            never = server.accept() => match never {},
            () = server.idle(function.idle_timeout) => {}
            () = termination.received() => server.accept_rest().await,
            () = children.are_too_many() => return Ok(Ended::Overrun),
        }
        server.finish().await;
        Ok(Ended::Finished)
    });
    // What an overrun leaves may write without an end.
    if !matches!(outcome, Ok(Ended::Overrun)) {
        denials.into_iter().for_each(Denials::finish);
    }
    outcome
}

/// Explains what the sandbox denies programs on the host; a container has its own.
fn denials(function: &Function, runner: &Runner) -> io::Result<Option<Denials>> {
    matches!(runner, Runner::Host).then(|| Denials::watch(function)).transpose()
}

fn serve_stdin(compiled: &Compiled, runner: Runner) -> Result<(), String> {
    let failed = |error: io::Error| format!("stdin is not a connection: {error}");
    let socket = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(true).map_err(failed)?;
    // One request and one process need one thread.
    let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let denials = denials(&compiled.function, &runner).map_err(failed)?;
    let outcome = runtime.block_on(async {
        let children = Children::adopt(denials.as_ref().map(|denials| denials.writer.clone())).map_err(failed)?;
        let gateway = Gateway::new(compiled, children, runner)?;
        let mut http = http1::Builder::new();
        // The function's gateway may have made the connection long before a request.
        http.header_read_timeout(None).max_buf_size(BUFFER_SIZE).keep_alive(false);
        let stream = net::UnixStream::from_std(stream).map_err(failed)?;
        let (_open, is_closing) = watch::channel(false);
        serve_connection(http, gateway.clone(), stream, is_closing).await;
        // A program that has closed its output may run on until its time is over.
        while gateway.in_flight() > 0 {
            sleep(RETRY_PAUSE).await;
        }
        Ok(())
    });
    denials.into_iter().for_each(Denials::finish);
    outcome
}
