//! The image of a service's containers, and what builds one of files that no ConfigMap has room for.

use camino::Utf8PathBuf;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::model::{Engine, Pull, Service};
use crate::names::GenerationId;
use crate::target::kubernetes::Kubernetes;
use crate::target::kubernetes::command::FILES;
use crate::target::kubernetes::config_map::Files;
use crate::target::kubernetes::workload::{Workload, object_name};
use crate::tree::{Entry, Tree};

/// The image of a service's containers.
#[derive(Debug, Clone, Default)]
pub(super) struct Image {
    /// The image's name; empty for pods, which name their own.
    pub(super) reference: String,
    pub(super) pull_policy: &'static str,
    /// The image that the files are laid over in a build of its own.
    base: Option<String>,
}

impl Image {
    /// # Errors
    /// If a service with `[exec]` has no image to run in, or files for which an image has to be built without a name.
    pub(super) fn of(
        kubernetes: &Kubernetes,
        service: &Service,
        id: &GenerationId,
        files: &Files,
    ) -> Result<Self, Diagnostics> {
        let missing =
            |message: &str, remedy: &str| Diagnostics::from(Diagnostic::of_file(&service.source, message, remedy));
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

/// Adds the build context of an image with the service's files, if there has to be one.
pub(super) fn build_context(workload: &Workload, tree: &mut Tree) {
    let Some(base) = &workload.image.base else { return };
    let dir = Utf8PathBuf::from(&workload.name).join("image");
    let (image, to) = (&workload.image.reference, format!("{FILES}/{}", workload.name));
    let text = format!("# podman build -t {image} . && podman push {image}\nFROM {base}\nCOPY files {to}\n");
    tree.file(dir.join("Containerfile"), text);
    for file in &workload.files.all {
        let mode = if file.is_executable { 0o755 } else { 0o644 };
        tree.insert(dir.join("files").join(&file.path), Entry::File { content: file.content.clone(), mode });
    }
}
