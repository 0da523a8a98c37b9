//! Names and paths that several kinds of objects refer to.

use crate::model::Service;
use crate::names::ServiceName;

/// The directory that the helper program is mounted in.
pub(super) const HELPER_MOUNT: &str = "/run/conductor-pod";
/// The path of the helper program in a pod.
pub(super) const HELPER: &str = "/run/conductor-pod/pod";
/// The directory below which a service's files are, in a directory of its own.
pub(super) const FILES: &str = "/srv";
/// The directory of the secrets of a service.
pub(super) const CREDENTIALS: &str = "/run/credentials";
/// The directory that a deployment's processes may write in.
pub(super) const OWN: &str = "/run/conductor/deployment";
/// The largest content of a ConfigMap in bytes.
pub(super) const CONFIG_MAP_LIMIT: usize = 1 << 20;
/// The hexadecimal digits of a content that names are made of.
pub(super) const DIGITS: usize = 12;
/// The label that tells a service's pods apart.
pub(super) const COMPONENT: &str = "app.kubernetes.io/component";
/// The component of the pods that serve: no command has this name.
pub(super) const SERVING: &str = "Serving";

/// Returns the name of a service's objects: a Service of Kubernetes has a label of DNS, RFC 1035.
pub(super) fn object_name(name: &ServiceName) -> String {
    let name = name.as_str().replace(['.', '_'], "-");
    let name = name.trim_end_matches('-').to_owned();
    if name.starts_with(|c: char| c.is_ascii_lowercase()) { name } else { format!("s{name}") }
}

/// Returns the name of the Secret with the variables of a file of the host.
pub(super) fn secret_of_file(service: &Service, path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let file = file.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    format!("{}-{}", object_name(&service.name), file.trim_matches('-'))
}
