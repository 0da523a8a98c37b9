//! What every deployment's pod has: variables, directories, and volumes with names of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::manifest::{Container, Mount, PodSpec, Variable, Volume};
use crate::engine::podman::arguments::CREDENTIALS;
use crate::layout::Layout;
use crate::model::{ListenKind, Service};
use crate::names::Deployment;

/// What conductor adds to each container of a deployment.
pub(crate) struct Completion {
    deployment: String,
    variables: BTreeMap<String, String>,
    directories: Vec<Directory>,
    /// Parts of the group, by name.
    parts: BTreeMap<String, Ipv4Addr>,
}

/// A directory of the host in a container.
struct Directory {
    name: &'static str,
    /// Within the container.
    path: String,
    /// On the host.
    from: String,
    read_only: bool,
}

impl Completion {
    /// Takes the directories of a deployment: that of its socket, and that of its credentials.
    pub(crate) fn new(
        layout: &Layout,
        deployment: &Deployment,
        model: &Service,
        mut variables: BTreeMap<String, String>,
    ) -> Self {
        let mut directories = Vec::new();
        if model.listen.has(ListenKind::Unix) {
            let Deployment { service, generation, instance } = deployment;
            let dir = layout.socket_dir(service, generation, *instance).to_string();
            directories.push(Directory { name: "conductor-socket", path: dir.clone(), from: dir, read_only: false });
        }
        if model.process.has_credentials() {
            let from = deployment.dir(layout).join("credentials/files").to_string();
            let path = CREDENTIALS.to_owned();
            directories.push(Directory { name: "conductor-credentials", path, from, read_only: true });
            variables.insert("CREDENTIALS_DIRECTORY".to_owned(), CREDENTIALS.to_owned());
        }
        let parts = model.process.names().map(|(name, address)| (name.clone(), *address)).collect();
        Self { deployment: deployment.to_string(), variables, directories, parts }
    }

    pub(crate) fn complete(&self, spec: &mut PodSpec) {
        self.name_empty_dirs(spec);
        for Directory { name, from, .. } in &self.directories {
            let volume = Volume::of_host((*name).to_owned(), from, "Directory");
            spec.volumes.get_or_insert_default().push(volume);
        }
        self.name_parts(spec);
        for container in spec.all_mut() {
            self.complete_container(container);
        }
    }

    /// Adds the parts of the group to the names that the pod knows. Names of the file override these.
    fn name_parts(&self, spec: &mut PodSpec) {
        let given = spec.rest.get("hostAliases").and_then(Value::as_array).cloned().unwrap_or_default();
        let is_free = |name: &str| {
            given
                .iter()
                .all(|alias| !alias["hostnames"].as_array().is_some_and(|names| names.iter().any(|one| one == name)))
        };
        let parts = self.parts.iter().filter(|(name, _)| is_free(name));
        let parts: Vec<_> = parts.map(|(name, address)| json!({ "ip": address, "hostnames": [name] })).collect();
        if !parts.is_empty() {
            spec.rest.insert("hostAliases".to_owned(), Value::Array([given, parts].concat()));
        }
    }

    /// podman makes an emptyDir a volume of that name, which pods of two generations would share: it gets the
    /// deployment's.
    fn name_empty_dirs(&self, spec: &mut PodSpec) {
        let own_name = |name: &str| format!("{}-{name}", self.deployment);
        let mut renamed = BTreeSet::new();
        for volume in spec.volumes.iter_mut().flatten().filter(|volume| volume.empty_dir.is_some()) {
            let name = volume.name.take().unwrap_or_default();
            volume.name = Some(own_name(&name));
            renamed.insert(name);
        }
        for mount in spec.all_mut().flat_map(|container| container.volume_mounts.iter_mut().flatten()) {
            if let Some(name) = mount.name.take() {
                mount.name = Some(if renamed.contains(&name) { own_name(&name) } else { name });
            }
        }
    }

    fn complete_container(&self, container: &mut Container) {
        // Variables of the file override these.
        let declared = container.env.get_or_insert_default();
        let is_free = |name: &String| declared.iter().all(|one| one.name.as_ref() != Some(name));
        let variables: Vec<_> = self.variables.iter().filter(|(name, _)| is_free(name)).collect();
        declared.extend(variables.into_iter().map(|(name, value)| Variable::new(name.clone(), value.clone())));
        for Directory { name, path, read_only, .. } in &self.directories {
            let rest = [("mountPath", path.as_str().into()), ("readOnly", (*read_only).into())];
            let rest = rest.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
            let mount = Mount { name: Some((*name).to_owned()), sub_path: None, rest };
            container.volume_mounts.get_or_insert_default().push(mount);
        }
    }
}
