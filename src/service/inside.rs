//! Commands that run in a container of their own, of the image that a service's deployments run.

use camino::Utf8Path;

use crate::deployment::context::with_instance;
use crate::error::{Error, Result};
use crate::expansion::for_systemd;
use crate::layout::Layout;
use crate::model::{self, Engine, Service};
use crate::names::{Deployment, GenerationId};
use crate::tree::Tree;
use crate::unitfile;

/// Options by which a container is a deployment's; each begins a word.
const OF_DEPLOYMENT: [&str; 6] = ["--name=", "--replace", "--detach", "--log-driver=", "--sdnotify=", "--entrypoint="];

/// How the caller's terminal or pipes reach the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Streams {
    /// Its output alone.
    Output,
    /// Input too.
    Both,
    Terminal,
}

/// Returns the command line by which systemd runs a command with further arguments in a container called `name`, which is
/// otherwise like a deployment's: its options are those in the deployments' unit.
///
/// # Errors
/// If the service runs no image, or its units do not run it.
pub(crate) fn words(
    layout: &Layout,
    (service, id, units): (&Service, &GenerationId, &Tree),
    deployment: &Deployment,
    name: &str,
    (command, given): (&model::Command, &[String]),
    streams: Streams,
) -> Result<Vec<String>> {
    let Engine::Container(container) = &service.process.engine else {
        return Err(Error(format!("{} runs no image", service.name)));
    };
    let not_found = || Error(format!("the units of generation {id} do not run {}", container.image));
    let template = format!("{}.service", service.name.template(id));
    let unit = units.text(Utf8Path::new(&template)).ok_or_else(not_found)?;
    let start = unitfile::lines(unit).into_iter().find(|line| line.key == "ExecStart").ok_or_else(not_found)?;
    let line = with_instance(&start.value, Some(deployment.instance)).ok_or_else(not_found)?;
    let all = unitfile::words(&line.replace("%%", "%"));
    let run = all.iter().position(|word| word == "run").ok_or_else(not_found)?;
    let image = all.iter().position(|word| *word == container.reference()).ok_or_else(not_found)?;
    let is_shared = |word: &&String| !OF_DEPLOYMENT.iter().any(|option| word.starts_with(option));

    let program = layout.program();
    let mut words: Vec<_> = [&program, "deployment", "_host", "--", "podman", "run"].map(str::to_owned).into();
    words.extend(all[run + 1..image].iter().filter(is_shared).cloned());
    let streams: &[_] = match streams {
        Streams::Output => &[],
        Streams::Both => &["--interactive"],
        Streams::Terminal => &["--interactive", "--tty"],
    };
    words.extend(
        [&["--replace", "--log-driver=none", "--sdnotify=ignore"], streams].concat().into_iter().map(str::to_owned),
    );
    let (entrypoint, arguments) = command.0.split_first().ok_or_else(|| Error("there is no command".to_owned()))?;
    // systemd expands variables in the unit's words and in the declared arguments alone.
    words.extend([format!("--name={name}"), format!("--entrypoint={}", entrypoint.replace('$', "$$"))]);
    words.push(all[image].clone());
    words.extend(arguments.iter().map(|word| for_systemd(word)));
    words.extend(given.iter().map(|word| word.replace('$', "$$")));
    Ok(words)
}
