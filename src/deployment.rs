//! One deployment: an instance of a generation's template.

pub(crate) mod announce;
pub(crate) mod arrival;
pub(crate) mod connections;
pub(crate) mod context;
pub(crate) mod drain;
pub(crate) mod endpoint;
pub(crate) mod exit_status;
pub mod health;
pub(crate) mod hook;
pub(crate) mod in_flight;
pub(crate) mod listener;
pub(crate) mod liveness;
pub(crate) mod namespace;
pub(crate) mod own_dir;
pub(crate) mod passed;
pub(crate) mod port;
pub(crate) mod prepare;
pub(crate) mod queue;
pub(crate) mod state;
pub(crate) mod slot;
#[cfg(test)]
mod sockets;
pub(crate) mod stop;
pub(crate) mod wake;

use crate::directive::systemd_version;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::model::Service;
use crate::names::Deployment;
use crate::source::search;
use crate::target::systemd::Units;
use crate::{compile, live};

/// Reads the model of a deployment's generation: from its snapshot or, where that is garbled, from the declaration if
/// that is still of the same generation.
///
/// # Errors
/// If the snapshot cannot be read and another generation is declared.
pub(crate) fn model(layout: &Layout, deployment: &Deployment) -> Result<Service> {
    let unreadable = |error| Error(format!("{deployment}: cannot read its snapshot: {error}"));
    let stored = live::service(layout, &deployment.service, &deployment.generation);
    stored.or_else(|error| declared_model(layout, deployment).ok_or_else(|| unreadable(error)))
}

fn declared_model(layout: &Layout, deployment: &Deployment) -> Option<Service> {
    let location = search::find_one(layout, &deployment.service).ok()??;
    let target = Units(systemd_version(layout.root().as_std_path()));
    let compiled = compile::compile_located(layout, &location, &target).ok()?;
    (compiled.id == deployment.generation).then_some(compiled.service)
}

/// Lists the units of the bridges over which callers reach a deployment; one whose model is gone may have had one.
pub(crate) fn bridges(deployment: &Deployment, model: Option<&Service>) -> Vec<String> {
    match model {
        Some(model) => model.listen.bridged().map(|listener| deployment.bridge_unit(listener.name)).collect(),
        None => vec![deployment.bridge_unit(None)],
    }
}

/// Lists the units of a deployment's sockets, those behind bridges last.
pub(crate) fn sockets(deployment: &Deployment, model: Option<&Service>) -> Vec<String> {
    let of_main = || vec![deployment.socket_unit(None), deployment.inner_socket_unit()];
    let Some(model) = model else { return of_main() };
    let further = model.listen.all().filter(|listener| listener.name.is_some() && listener.has_socket());
    let further: Vec<_> = further.map(|listener| deployment.socket_unit(listener.name)).collect();
    let main = model.listen.main().map_or_else(Vec::new, |main| match main.is_bridged {
        true => of_main(),
        false => vec![deployment.socket_unit(None)],
    });
    further.into_iter().chain(main).collect()
}
