//! `conductor run`

use fs_err as fs;
use std::future::Future;
use std::io::{self, IsTerminal};
use std::process::{Child, Command};

use camino::Utf8Path;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::output::outln;
use crate::cli::table::{self, print_json};
use crate::cli::{Context, Failure, Outcome};
use crate::compile::host::Compiled;
use crate::deployment::context::of_processes;
use crate::deployment::health::{exit_of, unless};
use crate::deployment::state;
use crate::layout::Scope;
use crate::live::{self, Target};
use crate::model::{CommandScope, RunCommand, Service};
use crate::names::{Deployment, GenerationId, ServiceName};
use crate::service::store;
use crate::target::systemd::units::program_path;
use crate::tree::Tree;
use crate::{atomic, compile, directive};

#[derive(Args)]
pub struct Arguments {
    /// List a service's commands as JSON, for programs
    #[arg(long)]
    json: bool,
    /// A service, or one of its deployments
    #[arg(value_name = "SERVICE|DEPLOYMENT")]
    of: String,
    /// One of its commands, and arguments behind the declared ones; without, its commands are listed
    #[arg(value_name = "COMMAND] [ARG", trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// A generation whose commands are run.
struct Generation {
    service: Service,
    id: GenerationId,
    units: Tree,
    /// The deployment that was asked for.
    deployment: Option<Deployment>,
    /// Whether it serves.
    is_live: bool,
}

pub fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let generation = Generation::find(context, &arguments.of)?;
    let [name, given @ ..] = arguments.words.as_slice() else { return list(&generation.service, arguments.json) };
    let command = generation.service.commands.get(name).ok_or_else(|| unknown(&generation.service, name))?;
    let deployment = match command.scope {
        CommandScope::Service => None,
        CommandScope::Deployment => Some(generation.deployment(context)?),
    };
    let unit = format!("{}-run-{name}-{}.service", generation.service.name, std::process::id());
    // systemd reads drop-ins of transient units too: what is in it is what the deployments' unit says.
    let drop_in = context.layout.runtime_units().join(format!("{unit}.d"));
    fs::create_dir_all(&drop_in)
        .and_then(|()| fs::write(drop_in.join("50-deployment.conf"), generation.context_of(deployment.as_ref())))
        .map_err(|error| Failure::Failed(format!("{drop_in} cannot be written: {error}")))?;
    let outcome = generation.execute(context, &unit, command, given);
    atomic::remove_dir(&drop_in)?;
    match outcome? {
        0 => Ok(()),
        code => Err(Failure::Exit(code)),
    }
}

impl Generation {
    /// Of a deployment, or what serves of a service, or what would.
    fn find(context: &Context, of: &str) -> Result<Self, Failure> {
        let layout = &context.layout;
        let deployment = Deployment::from_unit(of).or_else(|| Deployment::from_dir(Utf8Path::new(of)));
        if let Some(deployment) = deployment.filter(|one| state::read(layout, one).is_some()) {
            let (name, id) = (deployment.service.clone(), deployment.generation.clone());
            return Self::live(context, &name, id, Some(deployment));
        }
        let name = ServiceName::new(of).map_err(Failure::Usage)?;
        let target = Target::read(layout, &name)?.map(|target| target.generation);
        if let Some(id) = target.filter(|id| live::model(layout, &name, id).is_ok()) {
            return Self::live(context, &name, id, None);
        }
        let location = context.location(of)?;
        let compiled = compile::compile_located(layout, &location, context.systemd())?;
        store::store_files(layout, &compiled, &layout.at(&location.dir))?;
        let Compiled { service, digests: _, id, units } = compiled;
        Ok(Self { service, id, units, deployment: None, is_live: false })
    }

    fn live(
        context: &Context,
        name: &ServiceName,
        id: GenerationId,
        deployment: Option<Deployment>,
    ) -> Result<Self, Failure> {
        let live = live::Live { name: name.clone(), generations: vec![id.clone()] };
        let (service, units) = (live.model(&context.layout, &id)?, live.units(&context.layout, &id)?);
        Ok(Self { service, id, units, deployment, is_live: true })
    }

    /// The one that was asked for, else the first that is ready.
    fn deployment(&self, context: &Context) -> Result<Deployment, Failure> {
        if let Some(deployment) = &self.deployment {
            return Ok(deployment.clone());
        }
        let name = &self.service.name;
        let ready = if self.is_live { state::ready(&context.layout, name)? } else { Vec::new() };
        ready.into_iter().find(|ready| ready.generation == self.id).ok_or_else(|| {
            let remedy = format!("`systemctl start {name}`, or give the command scope = \"service\"");
            Failure::Failed(format!("no deployment of {name} is running: {remedy}"))
        })
    }

    /// Everything that the deployments' unit and its drop-ins say of their processes, as a drop-in.
    fn context_of(&self, deployment: Option<&Deployment>) -> String {
        let template = self.service.name.template(&self.id);
        let texts = self.units.iter().filter(|(path, _)| path.as_str().starts_with(&format!("{template}.service")));
        let instance = deployment.map(|deployment| deployment.instance);
        let mut drop_in: String = texts
            .filter_map(|(path, _)| compile::text(&self.units, path))
            .map(|text| of_processes(text, instance))
            .collect();
        if self.is_live {
            // It is the deployments' directory.
            drop_in.push_str("RuntimeDirectoryPreserve=yes\n");
        }
        if let Some(deployment) = deployment {
            drop_in.push_str(&format!("[Unit]\nJoinsNamespaceOf={}\n", deployment.unit()));
        }
        drop_in
    }

    /// Runs the command in a transient unit; its exit code.
    fn execute(&self, context: &Context, unit: &str, command: &RunCommand, given: &[String]) -> Result<u8, Failure> {
        let files = context.layout.files(&self.service.name, &self.id);
        let Some((program, arguments)) = command.exec.0.split_first() else { return Ok(0) };
        let mut run = Command::new("systemd-run");
        if context.layout.scope == Scope::User {
            run.arg("--user");
        }
        let is_interactive = io::stdin().is_terminal() && io::stdout().is_terminal();
        run.args(["--quiet", "--wait", "--collect", "--service-type=exec"])
            .arg(if is_interactive { "--pty" } else { "--pipe" })
            .arg(format!("--unit={unit}"))
            .arg(format!("--description={}: {}", self.service.name, command.exec))
            .env("SYSTEMD_TINT_BACKGROUND", "0")
            .arg("--")
            .arg(program_path(&files, program))
            .args(arguments)
            // systemd expands variables in what is declared, and nothing in what is typed.
            .args(given.iter().map(|word| word.replace('$', "$$")));
        let failed = |error: io::Error| Failure::Failed(format!("systemd-run cannot be run: {error}"));
        let child = run.spawn().map_err(failed)?;
        match wait(child).map_err(failed)? {
            Some(code) => Ok(code),
            None => {
                context.manager.stop(&[unit.to_owned()])?;
                Err(Failure::Failed(format!("{unit} is stopped: interrupted")))
            }
        }
    }
}

/// The exit code of systemd-run, which is the command's; None if somebody ends us before.
fn wait(mut child: Child) -> io::Result<Option<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended =
        runtime.block_on(async { unless(interruption()?, exit_of(Some(child.id()))).await.ok().transpose() })?;
    if ended.is_none() {
        return Ok(None);
    }
    Ok(Some(child.wait()?.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

/// A signal that asks us to end.
fn interruption() -> io::Result<impl Future<Output = ()>> {
    let mut signals = Vec::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        signals.push(signal(kind)?);
    }
    Ok(std::future::poll_fn(move |context| {
        let came = signals.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
        if came { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    }))
}

fn unknown(service: &Service, name: &str) -> Failure {
    let names = || service.commands.keys().map(String::as_str);
    let remedy = match directive::closest(name, names()) {
        Some(near) => format!("did you mean {near}?"),
        None if service.commands.is_empty() => "[commands.NAME] in its service.toml declares one".to_owned(),
        None => format!("it has {}", names().collect::<Vec<_>>().join(", ")),
    };
    Failure::Failed(format!("{} has no command {name:?}: {remedy}", service.name))
}

fn list(service: &Service, json: bool) -> Outcome {
    if json {
        return print_json(&service.commands);
    }
    if service.commands.is_empty() {
        outln!("{} has no commands; [commands.NAME] in its service.toml declares one", service.name);
        return Ok(());
    }
    let rows = service.commands.iter().map(|(name, RunCommand { description, exec, scope })| {
        let scope = match scope {
            CommandScope::Deployment => "deployment",
            CommandScope::Service => "service",
        };
        vec![
            name.clone(),
            scope.to_owned(),
            description.clone().unwrap_or_default(),
            exec.to_string().replace('\n', "\\n"),
        ]
    });
    table::print(&["COMMAND", "SCOPE", "DESCRIPTION", "RUNS"], rows.collect());
    Ok(())
}
