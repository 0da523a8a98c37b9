//! Images on this machine: pulled where they are missing, and pinned where a newer one was asked for.

use serde::Deserialize;

use crate::engine::podman::run::{exists, podman};
use crate::error::{Error, Result};
use crate::log::note;
use crate::model::{Container, without_tag};

/// The command of an image, `image inspect`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(default)]
    entrypoint: Option<Vec<String>>,
    #[serde(default)]
    cmd: Option<Vec<String>>,
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// If the machine does not have it.
    Missing,
    /// Never: the machine has to have it.
    Never,
}

/// Pulls an image of `name`, if the machine does not have it.
///
/// # Errors
/// If podman cannot pull the image.
pub(crate) fn provide(name: &str, image: &str, policy: Policy) -> Result<()> {
    if exists("image", image) {
        return Ok(());
    }
    if policy == Policy::Never {
        return Err(Error(format!("the image {image} is not on this machine, and is never to be pulled")));
    }
    note!("{name}: pulling {image}");
    let pulled = podman(&["pull", "--quiet", image]);
    pulled.map(drop).map_err(|error| Error(format!("could not pull image {image}: {error}")))
}

/// Returns the command of a container: the declared entry point and arguments, or those of the image.
///
/// # Errors
/// If the image is missing, or neither it nor the declaration has a command.
pub(crate) fn command(container: &Container) -> Result<Vec<String>> {
    let image = container.reference();
    let output = podman(&["image", "inspect", "--format", "{{json .Config}}", &image])?;
    let unclear = |error| Error(format!("podman does not describe the image {image}: {error}"));
    let config: Config = serde_json::from_str(&output).map_err(unclear)?;
    let words = words(container.entrypoint.as_deref(), &container.exec, config);
    if words.is_empty() { Err(Error(format!("the image {image} has no command: write exec"))) } else { Ok(words) }
}

/// Joins entry point and arguments as podman-run(1) does: another entry point also replaces the arguments of the image.
fn words(entrypoint: Option<&str>, exec: &[String], config: Config) -> Vec<String> {
    let (entrypoint, arguments) = match entrypoint {
        Some(word) => (serde_json::from_str(word).unwrap_or_else(|_| vec![word.to_owned()]), Vec::new()),
        None => (config.entrypoint.unwrap_or_default(), config.cmd.unwrap_or_default()),
    };
    let arguments = if exec.is_empty() { arguments } else { exec.to_vec() };
    entrypoint.into_iter().chain(arguments).collect()
}

/// Returns the current digest of an image's name in its registry; with a note the digest on this machine, if the
/// registry does not answer.
///
/// # Errors
/// If neither the registry nor the machine has the image.
pub(crate) fn newest(container: &Container) -> Result<String> {
    let image = &container.image;
    if let Err(error) = podman(&["pull", "--quiet", image]) {
        if !exists("image", image) {
            return Err(Error(format!("could not pull image {image}: {error}")));
        }
        note!("{image}: using the image on this machine: {error}");
    }
    let digest = podman(&["image", "inspect", "--format", "{{.Digest}}", image])?;
    // podman does not find an image by its digest after its name has moved to another one, and `podman image prune`
    // would remove it. So the images of the history get names of their own.
    let kept = format!("{}:{}", without_tag(image), digest.replace(':', "-"));
    podman(&["tag", image, &kept])?;
    Ok(digest)
}

#[cfg(test)]
mod tests {

    #[test]
    fn what_runs_is_what_podman_would_run() {
        let words = |entrypoint, exec: &[&str]| {
            let config = serde_json::from_str(r#"{"Entrypoint":["/entry"],"Cmd":["a","b"],"Env":["X=1"]}"#);
            let exec: Vec<_> = exec.iter().map(|word| (*word).to_owned()).collect();
            super::words(entrypoint, &exec, config.expect("JSON"))
        };
        assert_eq!(words(None, &[]), ["/entry", "a", "b"]);
        assert_eq!(words(None, &["c"]), ["/entry", "c"]);
        assert_eq!(words(Some("/other"), &[]), ["/other"]);
        assert_eq!(words(Some(r#"["/other", "-x"]"#), &["c"]), ["/other", "-x", "c"]);
    }
}
