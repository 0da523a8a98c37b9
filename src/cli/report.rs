//! The reports of operations, as text for people.

use crate::cli::failure::Failure;
use crate::cli::output::outln;
use crate::cli::progress;
use crate::cli::words::size;
use crate::log::note;
use crate::names::ServiceName;
use crate::service::event::{Event, Observer};
use crate::service::host_check::told;
use crate::service::share::Share;
use crate::systemd::Manager;

/// Prints events: results to standard output, what went wrong to standard error.
pub(crate) struct Console;

impl Observer for Console {
    fn report(&self, event: Event) {
        match text(event) {
            Text::Result(text) => outln!("{text}"),
            Text::Problem(text) => note!("{text}"),
        }
    }

    fn watch(&self, manager: Manager, services: &[ServiceName], work: &mut dyn FnMut()) {
        progress::during(manager, services, work);
    }
}

enum Text {
    Result(String),
    Problem(String),
}

fn text(event: Event) -> Text {
    match event {
        Event::Compiled { service, generation, files, bytes, is_declared } => {
            let with = match files {
                0 => String::new(),
                1 => format!(", 1 file of {}", size(bytes)),
                _ => format!(", {files} files of {}", size(bytes)),
            };
            let already = if is_declared { ", already declared" } else { "" };
            Text::Result(format!("{service}: generation {generation}{with}{already}"))
        }
        Event::ImagePinned { service, digest } => Text::Result(format!("{service}: pinned the image to {digest}")),
        Event::DependencyFailed { service, dependency } => {
            Text::Problem(format!("{service}: not declared: its dependency {dependency} failed"))
        }
        Event::Unneeded { service } => Text::Result(format!("{service}: no service depends on it any more")),
        Event::Removed { service } => Text::Result(format!("{service}: removed")),
        Event::Serving { service, generation, ready: 0, concurrency: 1.. } => {
            let remedy = format!("`conductor service status {service}` shows why");
            Text::Problem(format!("{service}: no deployment of generation {generation} serves now; {remedy}"))
        }
        Event::Serving { service, generation, ready: _, concurrency: 0 } => {
            Text::Result(format!("{service}: the proxy serves generation {generation}"))
        }
        Event::Serving { service, generation, ready, concurrency } => {
            Text::Result(format!("{service}: generation {generation} serves with {ready} of {concurrency} deployments"))
        }
        Event::Canary { service, share: Share { generation, aborted: Some(why), .. } } => Text::Result(format!(
            "{service}: the canary of generation {generation} was aborted ({why}); `conductor service promote {service}` tries \
             it again, `conductor service rollback {service}` declares what serves"
        )),
        Event::Canary { service, share } => Text::Result(format!(
            "{service}: canary of generation {}: {share}; `conductor service promote {service}` takes the next step now, \
             `conductor service abort {service}` gives the slots back",
            share.generation
        )),
        Event::Gap { service, gap } => {
            let seconds = gap.as_secs_f64();
            Text::Result(format!("{service}: callers waited for up to {seconds:.1} s, while no deployment served"))
        }
        Event::Applied { service, took } => Text::Result(format!("{service}: done in {:.1} s", took.as_secs_f64())),
        Event::Warned(warning) => Text::Problem(told(&warning)),
        Event::HeldBack { service, unmet } => Text::Result(format!("{service}: held back: {unmet}")),
        Event::Unrouted { service, why } => Text::Problem(format!(
            "{service}: warning: {why}: nothing serves its routes; `conductor doctor` says what to do"
        )),
        Event::NotRunning { service } => {
            Text::Result(format!("{service}: is not running; `conductor service start {service}` starts it"))
        }
        Event::RollingBack { service, generation, served } => {
            let served = humantime::format_rfc3339_seconds(served);
            Text::Result(format!("{service}: rolling back to generation {generation}, which served from {served}"))
        }
        Event::CompilesDifferently { service, generation } => Text::Result(format!(
            "{service}: its declaration compiles to generation {generation} now: conductor.toml, a drop-in of a package \
             or conductor itself has changed"
        )),
        Event::Shadows { service, declaration, shadowed } => {
            Text::Result(format!("{service}: {declaration} takes precedence over {shadowed} from now on"))
        }
        Event::StoppedUndeclared { service } => Text::Result(format!("{service}: stopped: no longer declared")),
        Event::Restored { service } => Text::Problem(format!("{service}: restored the previous declaration")),
        Event::Withdrawn { service } => {
            Text::Problem(format!("{service}: removed the failed declaration; no deployment runs"))
        }
        Event::NotUndone(failure) => Text::Problem(Failure::from(failure).to_string()),
        Event::NotDrained { deployment, why } => {
            Text::Problem(format!("{}: stopping it although {why}", deployment.unit()))
        }
        Event::Unnoted(error) => Text::Problem(error.to_string()),
    }
}
