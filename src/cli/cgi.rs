//! `conductor cgi …`

pub(crate) mod list;
mod logs;

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::journal;
use crate::cli::output::outln;
use crate::cli::words::variables;
use crate::function::declare::{declare, with_gathered};
use crate::function::find::find;
use crate::function::remove::remove;
use crate::gateway::exec::{Stdin, exec};
use crate::gateway::{all, container, refuse, serve};
use crate::names::FunctionId;

#[derive(Args)]
pub(crate) struct Source {
    /// A function.toml, or its directory
    manifest: Utf8PathBuf,
    /// Set variables of the manifest
    #[arg(value_name = "VAR=VAL")]
    variables: Vec<String>,
}

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Declare a function: store it under its digest and serve it at /cgi/ID and its aliases
    Declare {
        #[command(flatten)]
        source: Source,
        /// Only declare; start nothing
        #[arg(long)]
        no_start: bool,
    },
    /// Print the digest that a function would have
    Identify {
        #[command(flatten)]
        source: Source,
    },
    /// List the declared functions
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the log of a function
    Logs {
        /// ID of the function, its first digits (4 or more), or one of its aliases
        #[arg(value_name = "ID|ALIAS")]
        function: String,
        #[command(flatten)]
        options: journal::Options,
    },
    /// Serve a function, or all pooled functions that systemd does not serve
    Serve {
        /// ID of the function, its first digits (4 or more), or one of its aliases [default: all]
        #[arg(value_name = "ID|ALIAS")]
        function: Option<String>,
    },
    /// Answer one request of an isolated function on the connection that is stdin
    #[command(name = "_request", hide = true)]
    Request {
        /// ID of the function
        function: String,
    },
    /// Become podman, which runs a function's container
    #[command(name = "_container", hide = true)]
    Container {
        /// ID of the function
        function: String,
        /// Name of the instance, for an isolated function
        instance: Option<String>,
    },
    /// Remove a function's container that has ended
    #[command(name = "_remove", hide = true)]
    Remove {
        /// ID of the function
        function: String,
        /// Name of the instance, for an isolated function
        instance: Option<String>,
    },
    /// Run the first process in a function's container
    #[command(name = "_inside", hide = true)]
    Inside {
        /// ID of the function
        function: String,
        /// Command of the container's image
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Answer the callers of a function that systemd cannot start
    #[command(name = "_refuse", hide = true)]
    Refuse {
        /// ID of the function
        function: String,
    },
    /// Give a program the listening socket that is stdin
    #[command(name = "_listen", hide = true)]
    Listen {
        /// Program and its arguments
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Remove a function after its requests in flight are finished
    Rm {
        /// ID of the function, its first digits (4 or more), or one of its aliases
        #[arg(value_name = "ID|ALIAS")]
        function: String,
    },
}

pub(crate) fn run(context: &Context, verb: Verb) -> Outcome {
    let (layout, machine) = (&context.layout, context.machine());
    match verb {
        Verb::Declare { source: Source { manifest, variables: words }, no_start } => {
            outln!("{}", declare(&machine, &manifest, &variables(&words)?, !no_start)?);
            Ok(())
        }
        Verb::Identify { source: Source { manifest, variables: words } } => {
            let id = with_gathered(&machine, &manifest, &variables(&words)?, |compiled, _| {
                Ok::<_, Failure>(compiled.id.clone())
            })?;
            outln!("{id}");
            Ok(())
        }
        Verb::List { json } => list::run(context, json),
        Verb::Logs { function, options } => logs::run(context, &function, &options),
        Verb::Serve { function: Some(function) } => {
            // With systemd's socket a gateway answers its callers, even if its function cannot be read.
            let of_socket = FunctionId::new(&function).filter(|_| std::env::var_os("LISTEN_FDS").is_some());
            let id = of_socket.map_or_else(|| Ok(find(layout, &function)?.0), Ok::<_, Failure>)?;
            serve::run(layout, &id).map_err(Failure::Failed)
        }
        Verb::Serve { function: None } => serve_all(context),
        Verb::Request { function } => serve::run_request(layout, &find(layout, &function)?.0).map_err(Failure::Failed),
        Verb::Container { function, instance } => {
            container::start(layout, &id(&function)?, instance.as_deref()).map_err(Failure::Failed)
        }
        Verb::Remove { function, instance } => {
            container::remove(&id(&function)?, instance.as_deref()).map_err(Failure::Failed)
        }
        Verb::Inside { function, command } => {
            serve::run_in_container(layout, &id(&function)?, command).map_err(Failure::Failed)
        }
        Verb::Refuse { function } => refuse::run_in_place(layout, &id(&function)?).map_err(Failure::Failed),
        Verb::Listen { command } => Err(exec(&command, Stdin::Listener).into()),
        Verb::Rm { function } => {
            outln!("{}", remove(&machine, &function)?);
            Ok(())
        }
    }
}

fn serve_all(context: &Context) -> Outcome {
    let (manager, is_running) = (context.manager, context.machine().is_running());
    let listens = move |ids: &[FunctionId]| {
        let sockets: Vec<_> = ids.iter().map(|id| format!("{}.socket", id.unit())).collect();
        let states = if is_running { manager.states(&sockets).ok() } else { None };
        states.map_or_else(|| vec![false; ids.len()], |all| all.iter().map(|state| state == "active").collect())
    };
    all::run(&context.layout, listens).map_err(Failure::Failed)
}

fn id(word: &str) -> Result<FunctionId, Failure> {
    FunctionId::new(word).ok_or_else(|| Failure::Usage(format!("{word} is not the ID of a function")))
}
