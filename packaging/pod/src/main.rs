//! The program that runs in the containers of a Kubernetes pod: it passes listening sockets to a process as systemd
//! does, sd_listen_fds(3), and drains the process before Kubernetes stops it (`preStop`).
//!
//! `conductor render --target kubernetes` mounts it into each container, so that no image needs to have it. It is linked
//! statically and reads nothing but its arguments and /proc.

mod connections;
mod listen;
mod stop;
mod words;

use std::process::ExitCode;

const USAGE: &str = "\
Usage: pod listen PORT NAME [listen PORT NAME]... exec COMMAND [ARG]...
       pod stop STEP...

Steps, in their order:
  hook SECONDS COUNT WORD...         Run a command of COUNT words, for at most SECONDS
  leave SECONDS                      Wait until Kubernetes has withdrawn the pod from its Services
  signal NAME                        Send a signal to the container's main process
  drain SECONDS ABANDONED PORT...    Wait at most SECONDS until no request is in flight on the local ports; a
                                     connection that its caller has closed counts for ABANDONED seconds";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let outcome = match arguments.split_first() {
        Some((verb, _)) if verb == "listen" => listen::exec(&arguments),
        Some((verb, steps)) if verb == "stop" => stop::stop(steps),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
