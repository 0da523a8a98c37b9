//! Volumes of ConfigMaps and Secrets: files of the deployment that containers mount, read-only.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use fs_err as fs;

use super::config::{Configs, Kind, no_key};
use super::manifest::{ConfigVolume, PodSpec, Projected, Volume};
use super::place::Place;
use crate::atomic;
use crate::diagnostic::Diagnostic;

/// The mode of files that declare none, as Kubernetes has it.
const MODE: u32 = 0o644;

/// A directory of files that a pod mounts.
#[derive(Debug)]
pub(crate) struct Files {
    /// Where it is on the host.
    pub(crate) dir: Utf8PathBuf,
    /// By their paths in the directory.
    files: BTreeMap<Utf8PathBuf, File>,
}

#[derive(Debug)]
struct File {
    content: Vec<u8>,
    mode: u32,
}

/// Makes volumes of ConfigMaps and Secrets directories of the host, below `dir`. `at` is the pod's spec.
///
/// # Errors
/// A reference to what is missing, and a value that is wrong.
pub(crate) fn own(configs: &Configs, at: &Place, spec: &mut PodSpec, dir: &Utf8Path) -> Result<Vec<Files>, Diagnostic> {
    let mut own = BTreeMap::new();
    for (index, volume) in spec.volumes.iter_mut().flatten().enumerate() {
        let at = at.join("volumes").join(index);
        let Some(files) = files_of(configs, &at, volume)? else { continue };
        let name = volume.name.clone().unwrap_or_default();
        let dir = dir.join(index.to_string());
        *volume = Volume::of_host(name.clone(), dir.as_str(), "Directory");
        own.insert(name, Files { dir, files });
    }
    mount(at, spec, &own)?;
    Ok(own.into_values().collect())
}

/// Makes mounts of these volumes read-only, as Kubernetes does, and a mount of one file that of a file of the host.
fn mount(at: &Place, spec: &mut PodSpec, own: &BTreeMap<String, Files>) -> Result<(), Diagnostic> {
    let mut parts = Vec::new();
    for (list, containers) in [("initContainers", &mut spec.init_containers), ("containers", &mut spec.containers)] {
        for (index, container) in containers.iter_mut().flatten().enumerate() {
            let at = at.join(list).join(index).join("volumeMounts");
            for (index, mount) in container.volume_mounts.iter_mut().flatten().enumerate() {
                let Some(files) = mount.name.as_ref().and_then(|name| own.get(name)) else { continue };
                mount.rest.insert("readOnly".to_owned(), true.into());
                let Some(part) = mount.sub_path.take().filter(|part| !part.is_empty()) else { continue };
                let Some(kind) = files.kind(Utf8Path::new(&part)) else {
                    let message =
                        format!("the volume {} has no file {part:?}", mount.name.as_deref().unwrap_or_default());
                    let known: Vec<_> = files.files.keys().map(|path| path.as_str()).collect();
                    let remedy = format!("write one of {}", known.join(", "));
                    return Err(at.join(index).join("subPath").error(message, remedy));
                };
                let name = format!("conductor-part-{}", parts.len());
                parts.push(Volume::of_host(name.clone(), files.dir.join(part).as_str(), kind));
                mount.name = Some(name);
            }
        }
    }
    spec.volumes.get_or_insert_default().extend(parts);
    Ok(())
}

/// Returns the files of a volume, by path; None if it is not of ConfigMaps or Secrets.
fn files_of(
    configs: &Configs,
    at: &Place,
    volume: &mut Volume,
) -> Result<Option<BTreeMap<Utf8PathBuf, File>>, Diagnostic> {
    let mut all = BTreeMap::new();
    if let Some(config_map) = volume.config_map.take() {
        all.extend(source(configs, &at.join("configMap"), Kind::ConfigMap, &config_map, MODE)?);
    } else if let Some(secret) = volume.secret.take() {
        all.extend(source(configs, &at.join("secret"), Kind::Secret, &secret, MODE)?);
    } else if let Some(Projected { sources, default_mode }) = volume.projected.take() {
        for (index, part) in sources.into_iter().flatten().enumerate() {
            let at = at.join("projected").join("sources").join(index);
            if let Some(other) = part.rest.keys().next() {
                let remedy = "take it out: configMap and secret can be sources; $POD_NAME and others are in the \
                              environment";
                return Err(at.join(other.as_str()).error(format!("{other} is not run"), remedy));
            }
            let mode = default_mode.unwrap_or(MODE);
            for (kind, key, part) in
                [(Kind::ConfigMap, "configMap", part.config_map), (Kind::Secret, "secret", part.secret)]
            {
                if let Some(part) = part {
                    all.extend(source(configs, &at.join(key), kind, &part, mode)?);
                }
            }
        }
    } else {
        return Ok(None);
    }
    Ok(Some(all))
}

/// Returns the files of one ConfigMap or Secret: all of its keys, or those that are listed.
fn source(
    configs: &Configs,
    at: &Place,
    kind: Kind,
    volume: &ConfigVolume,
    mode: u32,
) -> Result<BTreeMap<Utf8PathBuf, File>, Diagnostic> {
    let ConfigVolume { name, secret_name, items, default_mode, optional } = volume;
    let (key, name) = if secret_name.is_some() { ("secretName", secret_name) } else { ("name", name) };
    let Some(entries) = configs.find(&at.join(key), kind, name.as_deref(), *optional)? else {
        return Ok(BTreeMap::new());
    };
    let mode = default_mode.unwrap_or(mode);
    let Some(items) = items else {
        let file = |(key, content): (&String, &Vec<u8>)| (key.into(), File { content: content.clone(), mode });
        return Ok(entries.iter().map(file).collect());
    };
    let mut files = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        let at = at.join("items").join(index);
        let key = item.key.as_deref().unwrap_or_default();
        let Some(content) = entries.get(key) else {
            if *optional == Some(true) {
                continue;
            }
            return Err(no_key(&at.join("key"), kind, name.as_deref(), key, entries));
        };
        let path = item.path.as_deref().unwrap_or_default();
        if !is_relative(path) {
            let message = format!("{path:?} is not the path of a file in the volume");
            return Err(at.join("path").error(message, format!("write path: {key}, or a path such as conf.d/{key}")));
        }
        files.insert(path.into(), File { content: content.clone(), mode: item.mode.unwrap_or(mode) });
    }
    Ok(files)
}

/// Returns whether a path leads to a file below a directory, whatever links are there.
fn is_relative(path: &str) -> bool {
    let is_name = |part: Utf8Component| matches!(part, Utf8Component::Normal(_));
    !path.is_empty() && Utf8Path::new(path).components().all(is_name) && !path.chars().any(char::is_control)
}

impl Files {
    /// Returns the type of a path in the volume, for `hostPath`; None if there is nothing.
    fn kind(&self, path: &Utf8Path) -> Option<&'static str> {
        if self.files.contains_key(path) {
            return Some("File");
        }
        self.files.keys().any(|file| file.starts_with(path)).then_some("Directory")
    }

    /// Writes the files below `root`. Any user of the container may enter their directory; the caller has to keep other
    /// users of the host out.
    ///
    /// # Errors
    /// If the file system refuses an operation.
    pub(crate) fn write(&self, root: &dyn Fn(&Utf8Path) -> Utf8PathBuf) -> io::Result<()> {
        let top = root(&self.dir);
        open_dir(&top)?;
        for (path, File { content, mode }) in &self.files {
            let mut above: Vec<_> = path.ancestors().skip(1).filter(|dir| !dir.as_str().is_empty()).collect();
            above.reverse();
            above.into_iter().try_for_each(|dir| open_dir(&top.join(dir)))?;
            let place = top.join(path);
            fs::write(&place, content)?;
            fs::set_permissions(&place, Permissions::from_mode(mode & 0o777))?;
        }
        Ok(())
    }
}

/// Creates a directory that everybody may enter, if it is missing.
fn open_dir(dir: &Utf8Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).create(dir)?;
    fs::set_permissions(dir, Permissions::from_mode(0o755))
}

/// Creates the empty directory of a deployment's volumes, which only root may enter.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn create_above(dir: &Utf8Path) -> io::Result<()> {
    atomic::remove_dir(dir)?;
    DirBuilder::new().mode(0o700).recursive(true).create(dir)
}
