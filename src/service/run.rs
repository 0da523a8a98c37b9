//! `[commands]`: runs a declared command as the deployments' processes run, in a transient unit.

use fs_err as fs;
use std::fs::File;
use std::future::Future;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use tokio::signal::unix::{SignalKind, signal};

use crate::compile::host::Compiled;
use crate::deployment::context::{of_podman, of_processes};
use crate::deployment::health::{exit_of, unless};
use crate::deployment::state;
use crate::escape::Text;
use crate::expansion::for_systemd;
use crate::layout::{Layout, Scope};
use crate::live::{self, Target};
use crate::log::note;
use crate::model::{self, CommandScope, Hook, RunCommand, Service, program_path};
use crate::names::{Deployment, ENVIRONMENT, GenerationId, ServiceName};
use crate::service::failure::{Failure, Result};
use crate::service::inside::{self, Streams};
use crate::service::machine::Machine;
use crate::service::store;
use crate::systemd::Manager;
use crate::tree::Tree;
use crate::{atomic, compile, engine, environment_file, timespan, variable};

/// The number of lines that are quoted of a hook that failed.
const QUOTED_LINES: usize = 20;
/// How often a generation is looked for that a rollout removes meanwhile.
const ATTEMPTS: u32 = 10;

/// Where a command runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place<'a> {
    /// In the deployments' sandbox on the host.
    Host,
    /// In a container of this name, which podman runs as root.
    Container(&'a str),
}

impl<'a> Place<'a> {
    fn of(command: &RunCommand, container: &'a str) -> Self {
        if command.inside { Self::Container(container) } else { Self::Host }
    }
}

/// The generation of a service whose commands are run.
pub(crate) struct Generation {
    pub(crate) service: Service,
    pub(crate) id: GenerationId,
    units: Tree,
    /// The deployment that was named.
    deployment: Option<Deployment>,
    /// Whether it serves, and is not only declared.
    is_live: bool,
}

/// Ends hooks that run. One that is ended has failed for systemd, which would keep its unit.
///
/// # Errors
/// If systemd refuses a job.
pub(crate) fn end_hooks(machine: &Machine, units: &[String]) -> Result<()> {
    machine.manager.stop(units)?;
    machine.manager.reset_failed(units);
    Ok(())
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

    /// Finds the generation of a service that serves or else is declared, which stays as long as the file is open.
    ///
    /// # Errors
    /// If there is no such service, it does not compile, or its generation has lost its files.
    pub(crate) fn held(machine: &Machine, name: &ServiceName) -> Result<(Self, File)> {
        // A rollout may end, and remove what has just been found.
        for _ in 0..ATTEMPTS {
            let found = Self::find(machine, name.as_str())?;
            if let Some(held) = store::hold(machine.layout, name, &found.id)? {
                return Ok((found, held));
            }
        }
        Err(Failure::Failed(format!("the stored generation of {name} is gone: `conductor service reload {name}`")))
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
    /// `options` are more of systemd-run(1).
    ///
    /// # Errors
    /// The hook's last lines, and why it failed.
    pub(crate) fn run_hook(&self, machine: &Machine, name: &str, hook: &Hook, options: &[String]) -> Result<()> {
        let unit = hook_unit(&self.service.name, name, &self.id);
        let units = std::slice::from_ref(&unit);
        // One that was left by a hook that was killed.
        end_hooks(machine, units)?;
        self.in_unit(machine, &unit, None, Place::Host, || {
            // Of this type a command that is ended by SIGTERM has failed, as by any other signal.
            let mut run = self.systemd_run(machine, &unit, "oneshot", &hook.command);
            run.arg(format!("--property=TimeoutStartSec={}", timespan::format(hook.timeout))).args(options);
            match await_end(machine, &unit, run, self.on_host(machine, &hook.command, &[]))? {
                Some(0) => return Ok(()),
                None => {
                    machine.manager.reset_failed(units);
                    return Err(interrupted(&unit));
                }
                Some(_) => {}
            }
            let end = End::of(machine.manager, &unit)?;
            if end.is_active {
                // A stop of the service has ended systemd-run(1), and not what it waits for.
                end_hooks(machine, units)?;
                return Err(interrupted(&unit));
            }
            let why = end.why(Some(hook.timeout));
            let log = machine.manager.log_of_start(&end.invocation, QUOTED_LINES);
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
        let deployment = self.beside(machine, command)?;
        let stem = format!("{}-run-{name}-{}", self.service.name, std::process::id());
        let unit = format!("{stem}.service");
        let is_interactive = io::stdin().is_terminal() && io::stdout().is_terminal();
        let streams = if is_interactive { Streams::Terminal } else { Streams::Both };
        let words = self.words(machine, command, given, deployment.as_ref(), (&stem, streams))?;
        self.in_unit(machine, &unit, deployment.as_ref(), Place::of(command, &stem), || {
            let mut run = self.systemd_run(machine, &unit, "exec", &command.exec);
            run.args(["--collect", if is_interactive { "--pty" } else { "--pipe" }]);
            await_end(machine, &unit, run, words)?.ok_or_else(|| interrupted(&unit))
        })
    }

    /// Runs the command of a job, whose unit's process this is, and returns its exit code: 128 and the signal's number if a
    /// signal has killed it. None if it was stopped because this program was asked to end.
    ///
    /// # Errors
    /// If the command needs a deployment and none runs, or systemd-run(1) fails.
    pub(crate) fn run_job(&self, machine: &Machine, job: &str, command: &RunCommand) -> Result<Option<u8>> {
        let deployment = self.beside(machine, command)?;
        let name = &self.service.name;
        let unit = name.job_command(job);
        let units = std::slice::from_ref(&unit);
        // One that was left by a job that was killed.
        machine.manager.stop(units)?;
        let container = format!("{name}-job-{job}");
        let words = self.words(machine, command, &[], deployment.as_ref(), (&container, Streams::Output))?;
        self.in_unit(machine, &unit, deployment.as_ref(), Place::of(command, &container), || {
            let mut run = self.systemd_run(machine, &unit, "exec", &command.exec);
            // The command ends with the job, however that ends.
            run.args(["--pipe", &format!("--property=BindsTo={}.service", name.job(job))]);
            run.stdout(Stdio::piped()).stderr(Stdio::piped());
            let code = await_end(machine, &unit, run, words)?;
            if code.is_none() {
                // A process that was killed has failed, though it was to end.
                machine.manager.reset_failed(units);
            }
            if matches!(code, None | Some(0)) {
                return Ok(code);
            }
            let end = End::of(machine.manager, &unit)?;
            machine.manager.reset_failed(units);
            match end.result.as_str() {
                "exit-code" | "success" => Ok(code),
                _ => {
                    note!("error: {} {}", command.exec, end.why(None));
                    Ok(end.status.parse().ok().map(|signal: u8| signal.saturating_add(128)).or(code))
                }
            }
        })
    }

    /// Returns the command line of a command with further arguments; the container of one that runs inside has a name.
    fn words(
        &self,
        machine: &Machine,
        command: &RunCommand,
        given: &[String],
        deployment: Option<&Deployment>,
        (container, streams): (&str, Streams),
    ) -> Result<Vec<String>> {
        match deployment.filter(|_| command.inside) {
            None => Ok(self.on_host(machine, &command.exec, given)),
            Some(deployment) => {
                let generation = (&self.service, &self.id, &self.units);
                let words = (&command.exec, given);
                Ok(inside::words(machine.layout, generation, deployment, container, words, streams)?)
            }
        }
    }

    /// Returns the command line of a command with further arguments in the declaration's files.
    fn on_host(&self, machine: &Machine, command: &model::Command, given: &[String]) -> Vec<String> {
        let files = machine.layout.files(&self.service.name, &self.id);
        let Some((program, arguments)) = command.0.split_first() else { return Vec::new() };
        let declared = arguments.iter().map(|word| for_systemd(word));
        // systemd expands variables in the declared command, but must not in arguments of the command line.
        let given = given.iter().map(|word| word.replace('$', "$$"));
        [program_path(&files, program).into_string()].into_iter().chain(declared).chain(given).collect()
    }

    /// Returns the deployment that a command runs beside, None if it runs beside none.
    fn beside(&self, machine: &Machine, command: &RunCommand) -> Result<Option<Deployment>> {
        match command.scope {
            CommandScope::Service => Ok(None),
            CommandScope::Deployment => self.deployment(machine).map(Some),
        }
    }

    /// Works while a transient unit of this name would be like the deployments' unit.
    fn in_unit<T>(
        &self,
        machine: &Machine,
        unit: &str,
        deployment: Option<&Deployment>,
        place: Place,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let layout = machine.layout;
        let files = layout.at(&layout.files(&self.service.name, &self.id));
        // The unit would run without the variables of a file that is missing.
        engine::environment::of_files(layout, &self.service, &files)?;
        // systemd reads drop-ins of transient units, too.
        let drop_in = layout.runtime_units().join(format!("{unit}.d"));
        let mut text = self.drop_in(layout, deployment, place);
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
        own.retain(|name, _| {
            ["CONDUCTOR_SERVICE", "CONDUCTOR_SERVICE_DIR", "CONDUCTOR_GENERATION"].contains(&name.as_str())
        });
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
    fn drop_in(&self, layout: &Layout, deployment: Option<&Deployment>, place: Place) -> String {
        let template = self.service.name.template(&self.id);
        let texts = self.units.iter().filter(|(path, _)| path.as_str().starts_with(&format!("{template}.service")));
        let instance = deployment.map(|deployment| deployment.instance);
        let copy = match place {
            Place::Host => of_processes,
            Place::Container(_) => of_podman,
        };
        let mut drop_in: String =
            texts.filter_map(|(path, _)| self.units.text(path)).map(|text| copy(text, instance)).collect();
        if self.is_live {
            // The directory is the deployments': it stays when the command ends.
            drop_in.push_str("RuntimeDirectoryPreserve=yes\n");
        }
        if let Place::Container(name) = place {
            // podman removes no container whose processes systemd has killed; it waits as long as for a deployment's.
            let podman = format!("{} deployment _host -- podman", layout.program());
            let (stop, remove) = ("stop --ignore --time=10", "rm --force --ignore --volumes");
            drop_in.push_str(&format!(
                "TimeoutStopSec=20s\nExecStop=-{podman} {stop} {name}\nExecStopPost=-{podman} {remove} {name}\n"
            ));
        } else if let Some(deployment) = deployment {
            drop_in.push_str(&format!("[Unit]\nJoinsNamespaceOf={}\n", deployment.unit()));
        }
        drop_in
    }

    /// Returns the beginning of a call of systemd-run(1) that waits for the end of a transient unit.
    fn systemd_run(&self, machine: &Machine, unit: &str, unit_type: &str, command: &model::Command) -> Command {
        let mut run = Command::new("systemd-run");
        if machine.layout.scope == Scope::User {
            run.arg("--user");
        }
        run.args(["--quiet", "--wait"])
            .arg(format!("--service-type={unit_type}"))
            .arg(format!("--unit={unit}"))
            .arg(format!("--description={}: {command}", self.service.name))
            .env("SYSTEMD_TINT_BACKGROUND", "0");
        run
    }
}

/// Runs a command line by systemd-run(1) and returns its exit code; None if this program was asked to
/// end, and has stopped the command.
fn await_end(machine: &Machine, unit: &str, mut run: Command, words: Vec<String>) -> Result<Option<u8>> {
    run.arg("--").args(words);
    let failed = |error: io::Error| Failure::Failed(format!("could not run systemd-run: {error}"));
    let mut child = run.spawn().map_err(failed)?;
    let (output, errors) = (child.stdout.take(), child.stderr.take());
    // The pipes are there for a job: the journal takes what a process writes itself for its own unit's, and not for the job's.
    thread::scope(|scope| {
        scope.spawn(move || output.map(|from| copy_lines(from, io::stdout())));
        scope.spawn(move || errors.map(|from| copy_lines(from, io::stderr())));
        let code = wait(child).map_err(failed)?;
        if code.is_none() {
            machine.manager.stop(&[unit.to_owned()])?;
        }
        Ok(code)
    })
}

/// The end of a transient unit that has failed.
pub(super) struct End {
    pub(super) is_active: bool,
    /// `Result=`, systemd.service(5).
    pub(super) result: String,
    /// The exit status of its command, or the signal that killed it.
    pub(super) status: String,
    pub(super) invocation: String,
}

impl End {
    pub(super) fn of(manager: Manager, unit: &str) -> Result<Self> {
        let mut shown = manager.show(unit, &["ActiveState", "Result", "ExecMainStatus", "InvocationID"])?;
        let mut shown = |name: &str| shown.remove(name).unwrap_or_default();
        Ok(Self {
            is_active: matches!(shown("ActiveState").as_str(), "active" | "activating"),
            result: shown("Result"),
            status: shown("ExecMainStatus"),
            invocation: shown("InvocationID"),
        })
    }

    /// Describes why it failed: `exited with status 3`.
    pub(super) fn why(&self, limit: Option<Duration>) -> String {
        match (self.result.as_str(), &self.status) {
            ("timeout", _) => {
                let within =
                    limit.map_or_else(|| "in time".to_owned(), |limit| format!("within {}", timespan::format(limit)));
                format!("did not end {within}")
            }
            ("exit-code", status) => format!("exited with status {status}"),
            ("signal" | "core-dump", signal) => format!("was killed by signal {signal}"),
            ("oom-kill", _) => "was killed by the kernel: out of memory".to_owned(),
            (result, _) => format!("failed: {result}"),
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
    generation.in_unit(machine, &unit, Some(deployment), Place::Host, || {
        let mut run = generation.systemd_run(machine, &unit, "exec", command);
        run.arg("--collect").arg(format!("--property=RuntimeMaxSec={}", timespan::format(limit)));
        // Of each run systemd would log a start and an end.
        run.args(["--property=LogLevelMax=notice", "--property=SyslogLevel=notice"]);
        await_end(machine, &unit, run, generation.on_host(machine, command, &[]))?.ok_or_else(|| interrupted(&unit))
    })
}

fn interrupted(unit: &str) -> Failure {
    Failure::Failed(format!("interrupted; stopped {unit}"))
}

/// Copies lines, each in one piece. Who writes them goes on when they cannot be written.
fn copy_lines(from: impl Read, mut to: impl Write) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        let _ = to.write_all(&line).and_then(|()| to.flush());
        line.clear();
    }
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
pub(super) fn interruption() -> io::Result<impl Future<Output = ()>> {
    let mut signals = Vec::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        signals.push(signal(kind)?);
    }
    Ok(std::future::poll_fn(move |context| {
        let came = signals.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
        if came { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    }))
}
