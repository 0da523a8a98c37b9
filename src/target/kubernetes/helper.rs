//! The program that pods run beside their own: it passes sockets, and waits for requests before a pod ends.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use camino::Utf8PathBuf;
use sha2::{Digest, Sha256};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::model::{ListenKind, RunningHook, Service};
use crate::names::hex;
use crate::target::kubernetes::Kubernetes;
use crate::target::kubernetes::yaml::{Yaml, map};

/// The directory that the program is mounted in.
pub(super) const MOUNT: &str = "/run/conductor-pod";
/// The path of the program in a pod.
pub(super) const PROGRAM: &str = "/run/conductor-pod/pod";
/// The largest content of a ConfigMap in bytes.
pub(super) const CONFIG_MAP_LIMIT: usize = 1 << 20;
/// The hexadecimal digits of a content that names are made of.
pub(super) const DIGITS: usize = 12;

/// The helper program for the machines of a cluster.
#[derive(Debug, Clone)]
pub struct Helper {
    pub path: Utf8PathBuf,
    /// The program's content, or why it cannot be read.
    pub content: Result<Arc<[u8]>, String>,
}

/// Returns whether pods of a service need the helper: to be passed sockets, or to end without cutting requests.
pub(super) fn is_needed(service: &Service) -> bool {
    let hooks = &service.hooks;
    let has_hooks = hooks.pre_stop.is_some() || hooks.pre_drain.is_some() || hooks.drain.is_some();
    let running = [RunningHook::PreStop, RunningHook::PreDrain, RunningHook::Drain];
    let runs_inside = || running.iter().any(|hook| service.runs_inside(*hook));
    service.listen.has_callers()
        || service.passed_ports().next().is_some()
        || has_hooks && (!service.process.engine.is_privileged() || runs_inside())
}

/// Returns whether the helper starts the process of a service, to pass sockets to it.
pub(super) fn starts(service: &Service) -> bool {
    service.listen.has(ListenKind::Activation) || service.passed_ports().next().is_some()
}

impl Helper {
    fn content(&self) -> Result<&[u8], Diagnostics> {
        let refuse =
            |message: String, remedy: &str| Diagnostics::from(Diagnostic::of_file(&self.path, message, remedy));
        let content = self.content.as_deref().map_err(|why| {
            let remedy = "install the helper program of pods with conductor, or name one with --helper FILE";
            refuse(why.clone(), remedy)
        })?;
        if content.len() > CONFIG_MAP_LIMIT {
            return Err(refuse("larger than the 1 MiB of a ConfigMap".to_owned(), "strip the program"));
        }
        Ok(content)
    }

    /// Returns the name of the ConfigMap that has the program.
    ///
    /// # Errors
    /// If there is no such program.
    pub(super) fn name(&self) -> Result<String, Diagnostics> {
        Ok(format!("conductor-pod-{}", &hex(&Sha256::digest(self.content()?))[..DIGITS]))
    }

    /// Returns the ConfigMap that has the program.
    ///
    /// # Errors
    /// If there is no such program, or it is too large.
    pub(super) fn config_map(&self, kubernetes: &Kubernetes) -> Result<Yaml, Diagnostics> {
        let labels =
            map! { "app.kubernetes.io/name" => "conductor-pod", "app.kubernetes.io/managed-by" => "conductor" };
        Ok(map! {
            "apiVersion" => "v1",
            "kind" => "ConfigMap",
            "metadata" => kubernetes.metadata(&self.name()?, labels, map! {}),
            "immutable" => true,
            "binaryData" => map! { "pod" => BASE64_STANDARD.encode(self.content()?) },
        })
    }
}
