//! The image of a service's containers.

use camino::Utf8Path;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::model::{Engine, Pull, Service};
use crate::names::GenerationId;
use crate::source::DECLARATION;
use crate::target::kubernetes::files::Files;
use crate::target::kubernetes::names::object_name;
use crate::target::kubernetes::options::Kubernetes;

/// The image of a service's containers.
#[derive(Debug, Clone, Default)]
pub(super) struct Image {
    /// The image's name; empty for pods, which name their own.
    pub(super) reference: String,
    pub(super) pull_policy: &'static str,
    /// The image that the files are laid over in a build of its own.
    pub(super) base: Option<String>,
}

impl Image {
    /// # Errors
    /// If a service with `[exec]` has no image to run in, or files for which an image has to be built without a name.
    pub(super) fn of(
        kubernetes: &Kubernetes,
        service: &Service,
        id: &GenerationId,
        shown: &Utf8Path,
        files: &Files,
    ) -> Result<Self, Diagnostics> {
        let missing = |message: &str, remedy: &str| {
            Diagnostics::from(Diagnostic::of_file(&shown.join(DECLARATION), message, remedy))
        };
        match &service.process.engine {
            Engine::Pod(_) => Ok(Self::default()),
            Engine::Container(container) => {
                let pull_policy = match container.pull {
                    Pull::Missing => "IfNotPresent",
                    Pull::Newer => "Always",
                    Pull::Never => "Never",
                };
                Ok(Self { reference: container.reference(), pull_policy, base: None })
            }
            Engine::Exec { .. } => {
                let base = kubernetes.image.clone().ok_or_else(|| {
                    let remedy =
                        "name an image with the programs that the command needs: --image docker.io/library/debian:13";
                    missing("pods run [exec] in an image, and none is given", remedy)
                })?;
                if files.fit() {
                    return Ok(Self { reference: base, pull_policy: "IfNotPresent", base: None });
                }
                let repository = kubernetes.repository.as_deref().ok_or_else(|| {
                    let remedy =
                        "name the registry of an image to build of them: --repository registry.example.com/apps";
                    missing("the files are larger than the 1 MiB of a ConfigMap", remedy)
                })?;
                let reference = format!("{}/{}:{id}", repository.trim_end_matches('/'), object_name(&service.name));
                Ok(Self { reference, pull_policy: "IfNotPresent", base: Some(base) })
            }
        }
    }
}
