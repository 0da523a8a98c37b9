//! Four digests of a service, kept apart so that a reload does only what a change needs.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::model::{
    Deploy, Directive, DropIn, File, Health, Hooks, Listen, Model, Port, Process, Route, Service, Systemd,
};
use crate::names::{GenerationId, hex};

/// Raised when the meaning of rendered units changes, so that deployments roll onto the new form.
pub(crate) const FORMAT: u32 = 2;

/// Four digests of a service, each of the fields whose change requires the same action.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digests {
    /// A change rolls deployments.
    pub generation: String,
    /// A change republishes proxy configuration.
    pub routes: String,
    /// A change starts or stops instances of the same generation.
    pub scale: String,
    /// A change is in force after daemon-reload alone.
    pub settings: String,
}

impl Digests {
    /// Places every field of a model in a digest; a new field does not compile until it is placed.
    pub(crate) fn of(model: &Model) -> Self {
        let Model { service, systemd } = model;
        let Service {
            name,
            group,
            description,
            concurrency,
            slots,
            process,
            listen,
            health,
            routes,
            ports,
            deploy,
            hooks,
            commands,
            dependencies,
            after,
            conditions,
            display,
            resources,
            files,
            source,
        } = service;
        let Systemd { unit, service, socket, slice, group_slice, wanted_by, drop_ins } = systemd;
        let Deploy {
            strategy,
            steps,
            max_surge,
            drain_timeout,
            abandoned_timeout,
            drain_signal,
            health_timeout,
            restarted_at,
            // The target of this host refuses it.
            autoscale: _,
        } = deploy;
        let listens: Vec<_> = ports.iter().map(|port| (&port.listen, &port.listener)).collect();
        let generation = GenerationInput {
            format: FORMAT,
            name: name.as_str(),
            process,
            listen,
            ports: ports.iter().filter(|port| !port.is_plain()).collect(),
            health,
            hooks,
            passthrough: Passthrough { unit, service, socket },
            drop_ins,
            files,
            restarted_at: restarted_at.as_deref(),
        };
        Self {
            generation: digest("generation", &generation),
            routes: digest("routes", &RoutesInput { routes, slots: *slots }),
            scale: digest("scale", concurrency),
            settings: digest(
                "settings",
                &(
                    (description, resources, source, listens),
                    (strategy, steps, max_surge, drain_timeout, abandoned_timeout, drain_signal, health_timeout),
                    (commands, dependencies, after, conditions, display, group),
                    (slice, group_slice, wanted_by),
                ),
            ),
        }
    }

    /// The generation's name.
    pub(crate) fn id(&self) -> GenerationId {
        GenerationId::of_digest(&self.generation)
    }
}

#[derive(Serialize)]
struct GenerationInput<'a> {
    format: u32,
    name: &'a str,
    process: &'a Process,
    listen: &'a Listen,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ports: Vec<&'a Port>,
    health: &'a Health,
    hooks: &'a Hooks,
    passthrough: Passthrough<'a>,
    drop_ins: &'a [DropIn],
    files: &'a [File],
    #[serde(skip_serializing_if = "Option::is_none")]
    restarted_at: Option<&'a str>,
}

/// Directives that the deployments' units are given.
#[derive(Serialize)]
struct Passthrough<'a> {
    unit: &'a [Directive],
    service: &'a [Directive],
    socket: &'a [Directive],
}

#[derive(Serialize)]
struct RoutesInput<'a> {
    routes: &'a [Route],
    slots: u32,
}

/// SHA-256 of the canonical form: JSON with fields in the order of the types and sorted maps, after
/// a word that keeps the four apart.
fn digest(kind: &str, input: &impl Serialize) -> String {
    let mut hasher = Sha256::new();
    hasher.update(format!("conductor {kind}\n"));
    hasher.update(serde_json::to_vec(input).expect("a model serializes"));
    hex(&hasher.finalize())
}
