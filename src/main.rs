use std::process::ExitCode;

use conductor::cli;
use conductor::engine::podman;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    // Pods' containers are created through this program, called as their runtime.
    match arguments.next().as_deref().and_then(podman::runtime::called_as) {
        Some(name) => {
            let Err(error) = podman::runtime::become_real(name, arguments.collect());
            eprintln!("conductor, before {name}: {error}");
            ExitCode::FAILURE
        }
        None => cli::main(),
    }
}
