//! The program that pods run beside their own: it passes sockets, and waits for requests before a pod ends.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use camino::Utf8PathBuf;
use sha2::{Digest, Sha256};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::model::{Hooks, ListenKind, Service};
use crate::names::hex;
use crate::target::kubernetes::names::{CONFIG_MAP_LIMIT, DIGITS};
use crate::target::kubernetes::yaml::{Yaml, map};

/// Returns whether pods of a service need the helper: to be passed sockets, or to end in steps.
pub(super) fn is_needed(service: &Service) -> bool {
    let Hooks { pre_stop, pre_drain, drain, .. } = &service.hooks;
    let has_steps =
        pre_stop.is_some() || pre_drain.is_some() || drain.is_some() || service.deploy.drain_signal.is_some();
    has_steps || service.listen.has_callers() || service.passed_ports().next().is_some()
}

/// Returns whether the helper starts the process of a service, to pass sockets to it.
pub(super) fn starts(service: &Service) -> bool {
    service.listen.has(ListenKind::Activation) || service.passed_ports().next().is_some()
}

/// A program that can be mounted in pods.
struct Program {
    /// The name of the ConfigMap that has it.
    name: String,
    content: Arc<[u8]>,
}

/// The helper program for the machines of a cluster.
#[derive(Clone)]
pub struct Helper {
    path: Utf8PathBuf,
    /// None: why there is no such program.
    program: Result<Arc<Program>, String>,
}

impl Helper {
    /// Takes the content of the program at a path, or the reason why it cannot be read: services without sockets and hooks do
    /// not need it.
    pub fn new(path: Utf8PathBuf, content: Result<Vec<u8>, String>) -> Self {
        let program = content.and_then(|content| {
            if content.len() > CONFIG_MAP_LIMIT {
                return Err("larger than the 1 MiB of a ConfigMap".to_owned());
            }
            let name = format!("conductor-pod-{}", &hex(&Sha256::digest(&content))[..DIGITS]);
            Ok(Arc::new(Program { name, content: content.into() }))
        });
        Self { path, program }
    }

    fn program(&self) -> Result<&Program, Diagnostics> {
        self.program.as_deref().map_err(|why| {
            let remedy = "install the helper program of pods with conductor, or name one with --helper FILE";
            Diagnostic::of_file(&self.path, why.clone(), remedy).into()
        })
    }

    /// Returns the name of the ConfigMap that has the program.
    ///
    /// # Errors
    /// If there is no such program, or it is too large.
    pub(super) fn name(&self) -> Result<&str, Diagnostics> {
        self.program().map(|program| program.name.as_str())
    }

    /// Returns the ConfigMap that has the program.
    ///
    /// # Errors
    /// If there is no such program, or it is too large.
    pub(super) fn config_map(&self, metadata: impl FnOnce(&str, Yaml) -> Yaml) -> Result<Yaml, Diagnostics> {
        let Program { name, content } = self.program()?;
        let labels =
            map! { "app.kubernetes.io/name" => "conductor-pod", "app.kubernetes.io/managed-by" => "conductor" };
        Ok(map! {
            "apiVersion" => "v1",
            "kind" => "ConfigMap",
            "metadata" => metadata(name, labels),
            "immutable" => true,
            "binaryData" => map! { "pod" => BASE64_STANDARD.encode(content) },
        })
    }
}
