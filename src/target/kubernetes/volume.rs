//! The volumes of a service's pods, and where containers have them.

use crate::model::{Engine, Strategy};
use crate::target::kubernetes::directories::directories;
use crate::target::kubernetes::names::{CREDENTIALS, HELPER_MOUNT, OWN};
use crate::target::kubernetes::workload::Workload;
use crate::target::kubernetes::yaml::{Yaml, map};

/// A volume and where it is mounted.
pub(super) struct Mounted {
    /// None: the volume is that of another mount.
    pub(super) volume: Option<Yaml>,
    pub(super) mount: Yaml,
}

fn mount(name: &str, path: &str, is_read_only: bool) -> Yaml {
    map! { "name" => name, "mountPath" => path, "readOnly" => is_read_only.then_some(true) }
}

fn empty_dir(name: &str, path: &str) -> Mounted {
    Mounted { volume: Some(map! { "name" => name, "emptyDir" => map! {} }), mount: mount(name, path, false) }
}

/// Lists the volumes of the container of a service with `[exec]` or `[container]`.
pub(super) fn of(workload: &Workload, helper: Option<&str>) -> Vec<Mounted> {
    let process = &workload.service.process;
    let mut all = Vec::new();
    if let (Some(volume), true) = (workload.files.volume(workload), workload.is_exec()) {
        all.push(Mounted { volume: Some(volume), mount: mount("files", &workload.files_dir(), true) });
    }
    if process.has_credentials() {
        // Users of images are unknown; that of [exec] is in the group that the volume is given to.
        let mode: u32 = if workload.is_exec() { 0o440 } else { 0o444 };
        let secret = map! { "secretName" => secret(workload), "defaultMode" => mode };
        let volume = map! { "name" => "credentials", "secret" => secret };
        all.push(Mounted { volume: Some(volume), mount: mount("credentials", CREDENTIALS, true) });
    }
    if let Some(name) = helper {
        let config_map = map! { "name" => name, "defaultMode" => 0o555_u32 };
        let volume = map! { "name" => "conductor-pod", "configMap" => config_map };
        all.push(Mounted { volume: Some(volume), mount: mount("conductor-pod", HELPER_MOUNT, true) });
    }
    match &process.engine {
        Engine::Exec { .. } => {
            all.push(empty_dir("tmp", "/tmp"));
            all.push(empty_dir("deployment", OWN));
        }
        Engine::Container(container) => {
            for (index, declared) in container.volume.iter().enumerate() {
                all.extend(declared_volume(workload, index, declared));
            }
            for (index, tmpfs) in container.tmpfs.iter().enumerate() {
                let (path, options) = tmpfs.split_once(':').unwrap_or((tmpfs, ""));
                let size = options.split(',').find_map(|option| option.strip_prefix("size=")).map(quantity);
                let name = format!("tmpfs-{index}");
                let memory = map! { "medium" => "Memory", "sizeLimit" => size };
                let volume = map! { "name" => &name, "emptyDir" => memory };
                all.push(Mounted { volume: Some(volume), mount: mount(&name, path, false) });
            }
        }
        Engine::Pod(_) => {}
    }
    for directories in directories(workload.systemd) {
        for name in &directories.names {
            let path = format!("{}/{name}", directories.base);
            let volume = dashed(&format!("{} {name}", directories.variable.trim_end_matches("_DIRECTORY")));
            all.push(if directories.is_kept {
                claimed(workload, &volume, &path, false)
            } else {
                empty_dir(&volume, &path)
            });
        }
    }
    all
}

/// Mounts one of the declaration's files, or a volume by its name.
fn declared_volume(workload: &Workload, index: usize, declared: &str) -> Option<Mounted> {
    let (source, rest) = declared.split_once(':')?;
    let (path, options) = rest.split_once(':').unwrap_or((rest, ""));
    let is_read_only = options.split(',').any(|option| option == "ro");
    if let Some(file) = source.strip_prefix("./") {
        let sub_path = Some(file.trim_end_matches('/')).filter(|file| !file.is_empty() && *file != ".");
        let Engine::Container(container) = &workload.service.process.engine else { return None };
        let is_first = !container.volume[..index].iter().any(|before| before.starts_with("./"));
        let volume = workload.files.volume(workload).filter(|_| is_first);
        let mount = map! { "name" => "files", "mountPath" => path, "subPath" => sub_path, "readOnly" => true };
        return Some(Mounted { volume, mount });
    }
    Some(claimed(workload, &dashed(source), path, is_read_only))
}

fn claimed(workload: &Workload, name: &str, path: &str, is_read_only: bool) -> Mounted {
    let claim = map! { "claimName" => format!("{}-{name}", workload.name) };
    let volume = map! { "name" => name, "persistentVolumeClaim" => claim };
    Mounted { volume: Some(volume), mount: mount(name, path, is_read_only) }
}

/// Renders a PersistentVolumeClaim for each volume that outlives pods.
pub(super) fn claims(workload: &Workload) -> Vec<Yaml> {
    let is_alone = workload.service.concurrency == 1 && workload.service.deploy.strategy == Strategy::Recreate;
    let mode = if is_alone { "ReadWriteOnce" } else { "ReadWriteMany" };
    let claim = |name: &str| {
        map! {
            "apiVersion" => "v1",
            "kind" => "PersistentVolumeClaim",
            "metadata" => workload.metadata(name),
            "spec" => map! {
                "accessModes" => vec![mode],
                "resources" => map! { "requests" => map! { "storage" => &workload.kubernetes.storage } },
            },
        }
    };
    let volumes = of(workload, None).into_iter().filter_map(|mounted| mounted.volume);
    let names = volumes.filter_map(|volume| volume.text_at(&["persistentVolumeClaim", "claimName"]).map(str::to_owned));
    names.map(|name| claim(&name)).collect()
}

/// Returns the name of the Secret with the service's credentials.
pub(super) fn secret(workload: &Workload) -> String {
    format!("{}-credentials", workload.name)
}

/// Returns a quantity of Kubernetes for a size with a suffix of mount(8) or systemd, in powers of 1024.
pub(super) fn quantity(size: &str) -> String {
    match size.trim().chars().last() {
        Some(suffix @ ('K' | 'M' | 'G' | 'T' | 'P' | 'E')) => {
            format!("{}{suffix}i", size.trim().trim_end_matches(suffix))
        }
        Some(suffix @ ('k' | 'm' | 'g' | 't')) => {
            format!("{}{}i", size.trim().trim_end_matches(suffix), suffix.to_ascii_uppercase())
        }
        _ => size.trim().to_owned(),
    }
}

/// Returns a label of DNS for any name.
fn dashed(name: &str) -> String {
    let name = name.to_ascii_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    name.trim_matches('-').to_owned()
}
