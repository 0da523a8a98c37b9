//! `[commands]`: runs a declared command as the deployments' processes run, in a transient unit.

use fs_err as fs;
use std::collections::BTreeMap;
use std::future::Future;
use std::io::{self, IsTerminal};
use std::process::{Child, Command};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use tokio::signal::unix::{SignalKind, signal};

use crate::compile::host::Compiled;
use crate::deployment::context::of_processes;
use crate::deployment::health::{exit_of, unless};
use crate::deployment::state;
use crate::escape::Text;
use crate::expansion::for_systemd;
use crate::layout::{Layout, Scope};
use crate::live::{self, Target};
use crate::model::{self, CommandScope, Hook, RunCommand, Service, program_path};
use crate::names::{Deployment, ENVIRONMENT, GenerationId, ServiceName};
use crate::service::failure::{Failure, Result};
use crate::service::machine::Machine;
use crate::service::store;
use crate::tree::Tree;
use crate::{atomic, compile, engine, environment_file, timespan, variable};

/// The number of lines that are quoted of a hook that failed.
const QUOTED_LINES: usize = 20;

/// The generation of a service whose commands are run.
pub(crate) struct Generation {
    pub(crate) service: Service,
    id: GenerationId,
    units: Tree,
    /// The deployment that was named.
    deployment: Option<Deployment>,
    /// Whether it serves, and is not only declared.
    is_live: bool,
}

impl Generation {
    /// Finds the generation of a deployment, or the one of a service that serves or else is declared.
    ///
    /// # Errors
    /// If there is no such deployment or service, or it does not compile.
    pub(crate) fn find(machine: &Machine, word: &str) -> Result<Self> {
        let layout = machine.layout;
        let deployment = Deployment::from_unit(word).or_else(|| Deployment::from_dir(Utf8Path::new(word)));
        if let Some(deployment) = deployment
            && state::list(layout, &deployment.service)?.contains(&deployment)
        {
            let (name, id) = (deployment.service.clone(), deployment.generation.clone());
            return Self::live(layout, &name, id, Some(deployment));
        }
        let name = ServiceName::new(word).map_err(Failure::Usage)?;
        let target = Target::read(layout, &name)?.map(|target| target.generation);
        if let Some(id) = target.filter(|id| live::service(layout, &name, id).is_ok()) {
            return Self::live(layout, &name, id, None);
        }
        let location = machine.location(&name)?;
        let compiled = compile::compile_located(layout, &location, &machine.target())?;
        store::store_files(layout, &compiled, &layout.at(&location.dir))?;
        let units = compiled.units(layout, &machine.target());
        let Compiled { service, id, .. } = compiled;
        Ok(Self { service, id, units, deployment: None, is_live: false })
    }

    fn live(layout: &Layout, name: &ServiceName, id: GenerationId, deployment: Option<Deployment>) -> Result<Self> {
        let live = live::Live { name: name.clone(), generations: vec![id.clone()] };
        let (service, units) = (live.service(layout, &id)?, live.units(layout, &id)?);
        Ok(Self { service, id, units, deployment, is_live: true })
    }

    /// Returns a compiled generation that is about to be live.
    pub(crate) fn of(machine: &Machine, compiled: &Compiled) -> Self {
        let units = compiled.units(machine.layout, &machine.target());
        let (service, id) = (compiled.service.clone(), compiled.id.clone());
        Self { service, id, units, deployment: None, is_live: true }
    }

    /// Runs a hook of the generation in a unit of its own, which logs as the service does, within the hook's time limit.
    ///
    /// # Errors
    /// The hook's last lines, and why it failed.
    pub(crate) fn run_hook(&self, machine: &Machine, name: &str, hook: &Hook) -> Result<()> {
        let unit = hook_unit(&self.service.name, name, &self.id);
        let units = std::slice::from_ref(&unit);
        // One that was left by a hook that was killed.
        machine.manager.stop(units)?;
        self.in_unit(machine, &unit, None, || {
            let mut run = self.systemd_run(machine, &unit, &hook.command);
            run.arg(format!("--property=RuntimeMaxSec={}", timespan::format(hook.timeout)));
            if self.await_end(machine, &unit, run, &hook.command, &[])? == 0 {
                return Ok(());
            }
            let shown = machine.manager.show(&unit, &["ActiveState", "Result", "ExecMainStatus", "InvocationID"])?;
            let shown = |name: &str| shown.get(name).map_or("", String::as_str);
            if shown("ActiveState") == "active" {
                // A stop of the service has ended systemd-run(1), and not what it waits for.
                machine.manager.stop(units)?;
                return Err(Failure::Failed(format!("interrupted; stopped {unit}")));
            }
            let why = match (shown("Result"), shown("ExecMainStatus")) {
                ("timeout", _) => format!("did not end within {}", timespan::format(hook.timeout)),
                ("exit-code", status) => format!("exited with status {status}"),
                ("signal" | "core-dump", signal) => format!("was killed by signal {signal}"),
                (result, _) => format!("failed: {result}"),
            };
            let log = machine.manager.log_of_start(shown("InvocationID"), QUOTED_LINES);
            machine.manager.reset_failed(units);
            let quoted = log.quoted(&unit);
            let (service, id) = (&self.service.name, &self.id);
            Err(Failure::Failed(format!("{quoted}{service}: hooks.{name} of generation {id} ({}) {why}", hook.command)))
        })
    }

    /// Runs one of the commands with further arguments and returns its exit code.
    ///
    /// # Errors
    /// If the command needs a deployment and none runs, or systemd-run(1) fails.
    pub(crate) fn run(&self, machine: &Machine, name: &str, command: &RunCommand, given: &[String]) -> Result<u8> {
        let deployment = match command.scope {
            CommandScope::Service => None,
            CommandScope::Deployment => Some(self.deployment(machine)?),
        };
        let unit = format!("{}-run-{name}-{}.service", self.service.name, std::process::id());
        self.in_unit(machine, &unit, deployment.as_ref(), || {
            let is_interactive = io::stdin().is_terminal() && io::stdout().is_terminal();
            let mut run = self.systemd_run(machine, &unit, &command.exec);
            run.args(["--collect", if is_interactive { "--pty" } else { "--pipe" }]);
            self.await_end(machine, &unit, run, &command.exec, given)
        })
    }

    /// Works while a transient unit of this name would be like the deployments' unit.
    fn in_unit<T>(
        &self,
        machine: &Machine,
        unit: &str,
        deployment: Option<&Deployment>,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let layout = machine.layout;
        let files = layout.at(&layout.files(&self.service.name, &self.id));
        // The unit would run without the variables of a file that is missing.
        engine::environment::of_files(layout, &self.service, &files)?;
        // systemd reads drop-ins of transient units, too.
        let drop_in = layout.runtime_units().join(format!("{unit}.d"));
        let mut text = self.drop_in(deployment);
        if deployment.is_none() && text.contains("EnvironmentFile=") {
            let own = drop_in.join(ENVIRONMENT);
            text.push_str(&format!("[Service]\nEnvironmentFile={}\n", Text(own.as_str())));
        }
        fs::create_dir_all(&drop_in)
            .and_then(|()| fs::write(drop_in.join(ENVIRONMENT), self.own_variables(layout)))
            .and_then(|()| fs::write(drop_in.join("50-deployment.conf"), text))
            .map_err(|error| Failure::Failed(format!("could not write {drop_in}: {error}")))?;
        let outcome = work();
        atomic::remove_dir(&drop_in)?;
        outcome
    }

    /// Returns conductor's own variables that are no deployment's, as a file that is read after people's files.
    fn own_variables(&self, layout: &Layout) -> String {
        let mut own = variable::own(layout, &self.service, &self.id, "", Utf8PathBuf::into_string);
        own.retain(|name, _| ["CONDUCTOR_SERVICE", "CONDUCTOR_SERVICE_DIR", "CONDUCTOR_GENERATION"].contains(name));
        let own: BTreeMap<_, _> = own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        environment_file::write(&own)
    }

    /// Returns the deployment that was named, else the first that is ready.
    fn deployment(&self, machine: &Machine) -> Result<Deployment> {
        if let Some(deployment) = &self.deployment {
            return Ok(deployment.clone());
        }
        let name = &self.service.name;
        let ready = if self.is_live { state::ready(machine.layout, name)? } else { Vec::new() };
        ready.into_iter().find(|ready| ready.generation == self.id).ok_or_else(|| {
            let remedy = format!("`systemctl start {name}`, or give the command scope = \"service\"");
            Failure::Failed(format!("no deployment of {name} is running: {remedy}"))
        })
    }

    /// Returns a drop-in with everything that the deployments' unit and its drop-ins set for their processes.
    fn drop_in(&self, deployment: Option<&Deployment>) -> String {
        let template = self.service.name.template(&self.id);
        let texts = self.units.iter().filter(|(path, _)| path.as_str().starts_with(&format!("{template}.service")));
        let instance = deployment.map(|deployment| deployment.instance);
        let mut drop_in: String =
            texts.filter_map(|(path, _)| self.units.text(path)).map(|text| of_processes(text, instance)).collect();
        if self.is_live {
            // The directory is the deployments': it stays when the command ends.
            drop_in.push_str("RuntimeDirectoryPreserve=yes\n");
        }
        if let Some(deployment) = deployment {
            drop_in.push_str(&format!("[Unit]\nJoinsNamespaceOf={}\n", deployment.unit()));
        }
        drop_in
    }

    /// Returns the beginning of a call of systemd-run(1) that waits for the end of a transient unit.
    fn systemd_run(&self, machine: &Machine, unit: &str, command: &model::Command) -> Command {
        let mut run = Command::new("systemd-run");
        if machine.layout.scope == Scope::User {
            run.arg("--user");
        }
        run.args(["--quiet", "--wait", "--service-type=exec"])
            .arg(format!("--unit={unit}"))
            .arg(format!("--description={}: {command}", self.service.name))
            .env("SYSTEMD_TINT_BACKGROUND", "0");
        run
    }

    /// Runs a command with further arguments by systemd-run(1) and returns its exit code.
    fn await_end(
        &self,
        machine: &Machine,
        unit: &str,
        mut run: Command,
        command: &model::Command,
        given: &[String],
    ) -> Result<u8> {
        let files = machine.layout.files(&self.service.name, &self.id);
        let Some((program, arguments)) = command.0.split_first() else { return Ok(0) };
        run.arg("--")
            .arg(program_path(&files, program))
            .args(arguments.iter().map(|word| for_systemd(word)))
            // systemd expands variables in the declared command, but must not in arguments of the command line.
            .args(given.iter().map(|word| word.replace('$', "$$")));
        let failed = |error: io::Error| Failure::Failed(format!("could not run systemd-run: {error}"));
        let child = run.spawn().map_err(failed)?;
        match wait(child).map_err(failed)? {
            Some(code) => Ok(code),
            None => {
                machine.manager.stop(&[unit.to_owned()])?;
                Err(Failure::Failed(format!("interrupted; stopped {unit}")))
            }
        }
    }
}

/// Runs a command like a deployment's processes within a time limit, and returns its exit code.
///
/// # Errors
/// If the deployment's snapshot cannot be read, or systemd-run(1) fails.
pub(crate) fn check(
    machine: &Machine,
    deployment: &Deployment,
    command: &model::Command,
    limit: Duration,
) -> Result<u8> {
    let Deployment { service, generation: id, instance } = deployment;
    let generation = Generation::live(machine.layout, service, id.clone(), Some(deployment.clone()))?;
    let unit = format!("{service}-live-{id}-{instance}.service");
    generation.in_unit(machine, &unit, Some(deployment), || {
        let mut run = generation.systemd_run(machine, &unit, command);
        run.arg("--collect").arg(format!("--property=RuntimeMaxSec={}", timespan::format(limit)));
        generation.await_end(machine, &unit, run, command, &[])
    })
}

/// Returns the name of the unit in which a hook of a generation runs.
pub(crate) fn hook_unit(service: &ServiceName, hook: &str, id: &GenerationId) -> String {
    format!("{service}-{hook}-{id}.service")
}

/// Returns the exit code of systemd-run, which is the command's; None if a signal ends this program before.
fn wait(mut child: Child) -> io::Result<Option<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended =
        runtime.block_on(async { unless(interruption()?, exit_of(Some(child.id()))).await.ok().transpose() })?;
    if ended.is_none() {
        return Ok(None);
    }
    Ok(Some(child.wait()?.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

/// Waits for a signal that asks this program to end.
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
