//! The events that operations on services report while they run.

use std::time::{Duration, SystemTime};

use camino::Utf8PathBuf;

use crate::diagnostic::Diagnostic;
use crate::names::{Deployment, GenerationId, ServiceName};
use crate::service::failure::Failure;
use crate::service::share::Share;
use crate::systemd::Manager;

/// One step of an operation on a service.
pub(crate) enum Event {
    /// A declaration compiled to this generation, with so many files; `is_declared` if it was declared before.
    Compiled {
        service: ServiceName,
        generation: GenerationId,
        files: usize,
        /// The size of these files together, in bytes.
        bytes: u64,
        is_declared: bool,
    },
    /// The newest image of a service became part of its declaration.
    ImagePinned {
        service: ServiceName,
        digest: String,
    },
    /// A service was not declared because a dependency could not be declared.
    DependencyFailed {
        service: ServiceName,
        dependency: ServiceName,
    },
    /// No service depends on a dependency any more; it is about to be removed.
    Unneeded {
        service: ServiceName,
    },
    Removed {
        service: ServiceName,
    },
    /// So many of a service's deployments serve.
    Serving {
        service: ServiceName,
        generation: GenerationId,
        ready: usize,
        concurrency: u32,
    },
    /// A service has a canary.
    Canary {
        service: ServiceName,
        share: Share,
    },
    /// No deployment served for so long in a rollout.
    Gap {
        service: ServiceName,
        gap: Duration,
    },
    /// A declaration was applied within `took`.
    Applied {
        service: ServiceName,
        took: Duration,
    },
    /// A service may not find something on this host.
    Warned(Diagnostic),
    /// Conditions that do not hold keep a service from running.
    HeldBack {
        service: ServiceName,
        unmet: String,
    },
    /// The routes of a service are published, and no proxy serves them.
    Unrouted {
        service: ServiceName,
        why: String,
    },
    /// A change was written and not applied: the service does not run.
    NotRunning {
        service: ServiceName,
    },
    /// A rollback is about to begin. `served` is when the generation last came into service.
    RollingBack {
        service: ServiceName,
        generation: GenerationId,
        served: SystemTime,
    },
    /// The declaration of a past generation compiles to another one now.
    CompilesDifferently {
        service: ServiceName,
        generation: GenerationId,
    },
    /// A declaration takes precedence over another from now on.
    Shadows {
        service: ServiceName,
        declaration: Utf8PathBuf,
        shadowed: Utf8PathBuf,
    },
    /// A service was stopped because it is not declared any more.
    StoppedUndeclared {
        service: ServiceName,
    },
    /// An operation failed; the previous declaration is in force again.
    Restored {
        service: ServiceName,
    },
    /// The first declaration of a service failed and was removed.
    Withdrawn {
        service: ServiceName,
    },
    /// An operation failed, and so did undoing it.
    NotUndone(Failure),
    /// A deployment is stopped although requests may be in flight.
    NotDrained {
        deployment: Deployment,
        why: String,
    },
    /// The note why a start or reload failed could not be written.
    Unnoted(std::io::Error),
}

/// Receives events and may show progress.
pub(crate) trait Observer: Sync {
    fn report(&self, event: Event);

    /// Runs `work`; may show meanwhile the status texts of the units of `services`.
    fn watch(&self, manager: Manager, services: &[ServiceName], work: &mut dyn FnMut());
}
