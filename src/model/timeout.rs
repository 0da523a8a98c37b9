//! The time limits of starts and stops of a service: the declared ones, and a margin for the work around them.

use std::time::Duration;

use crate::declaration::Strategy;
use crate::model::deploy::{Hook, Hooks};
use crate::model::health::Check;
use crate::model::service::Service;

/// What the host and the hooks need beside the time that a declaration allows.
const MARGIN: Duration = Duration::from_secs(10);
/// The time limit for pulling the images of a new generation, before the old one changes.
const PULL: Duration = Duration::from_secs(15 * 60);

impl Service {
    /// Returns the limit of one command of a deployment's start: room for the longest. Where the process itself says
    /// when it is ready, nothing else keeps that time.
    pub(crate) fn start_limit(&self) -> Duration {
        let Hooks { pre_start, post_start, .. } = &self.hooks;
        let margin = if self.health.check == Check::Notify { Duration::ZERO } else { MARGIN };
        let health = self.deploy.health_timeout + margin;
        [pre_start, post_start].into_iter().flatten().map(hook_limit).fold(health, Duration::max)
    }

    /// Returns the limit of one command of a deployment's stop: room for the longest.
    pub(crate) fn stop_limit(&self) -> Duration {
        let Hooks { pre_stop, pre_drain, post_stop, .. } = &self.hooks;
        // podman gives a container ten seconds to end, in the same command.
        let removal = if self.process.engine.is_privileged() { MARGIN } else { Duration::ZERO };
        let drain = self.deploy.drain_timeout + MARGIN + removal;
        [pre_stop, pre_drain, post_stop].into_iter().flatten().map(hook_limit).fold(drain, Duration::max)
    }

    /// Returns the time limit of a rollout, which starts and stops each deployment twice if it is rolled back.
    pub(crate) fn rollout_limit(&self) -> Duration {
        let batches = match self.deploy.strategy {
            // Without deployments there is still a publication.
            Strategy::Rolling => self.concurrency.div_ceil(self.deploy.max_surge).max(1),
            Strategy::BlueGreen | Strategy::Recreate | Strategy::Canary => 1,
        };
        let pull = if self.process.engine.has_images() { PULL } else { Duration::ZERO };
        let Hooks { release, post_release, verify, .. } = &self.hooks;
        let once: Duration = [release, post_release, verify].into_iter().flatten().map(hook_limit).sum();
        2 * batches * (self.start_time() + self.stop_time()) + pull + once
    }

    /// Returns how long callers wait while no deployment serves: for the end of the old one, a start of the new one that
    /// fails, and another start of the old one.
    pub(crate) fn gap_limit(&self) -> Duration {
        self.stop_time() + 2 * self.start_time()
    }

    /// Returns the time limit of stopping all deployments in parallel.
    pub(crate) fn shutdown_limit(&self) -> Duration {
        self.stop_time() + MARGIN
    }

    /// Returns the time of a deployment's commands before, during and after its health check, each with its own limit.
    fn start_time(&self) -> Duration {
        let Hooks { pre_start, post_start, .. } = &self.hooks;
        let hooks = [pre_start, post_start].into_iter().flatten();
        hooks.map(hook_limit).sum::<Duration>() + self.deploy.health_timeout + MARGIN
    }

    /// Returns the time of a deployment's drain, of the end of its processes, and of each hook.
    fn stop_time(&self) -> Duration {
        let Hooks { pre_stop, pre_drain, drain: _, post_stop, .. } = &self.hooks;
        let hooks = [pre_stop, pre_drain, post_stop].into_iter().flatten();
        hooks.map(hook_limit).sum::<Duration>() + self.deploy.drain_timeout + MARGIN + self.stop_limit()
    }
}

fn hook_limit(hook: &Hook) -> Duration {
    hook.timeout + MARGIN
}
