//! What builds an image of files that no ConfigMap has room for.

use camino::Utf8PathBuf;

use crate::target::kubernetes::names::FILES;
use crate::target::kubernetes::workload::Workload;
use crate::tree::{Entry, Tree};

/// Adds the build context of an image with the service's files, if there has to be one.
pub(super) fn context(workload: &Workload, tree: &mut Tree) {
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
