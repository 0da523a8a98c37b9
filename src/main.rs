use std::process::ExitCode;

use conductor::engine::podman;
use conductor::{cli, log};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    // podman calls this program as the runtime of pods' containers.
    match arguments.next().as_deref().and_then(podman::runtime::called_as) {
        Some(name) => {
            let Err(error) = podman::runtime::become_real(name, arguments.collect());
            log::line(format_args!("conductor, before {name}: {error}"));
            ExitCode::FAILURE
        }
        None => cli::main(),
    }
}
