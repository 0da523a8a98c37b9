//! Images on this machine: pulled where they are missing, and pinned where a newer one was asked for.

use serde::Deserialize;

use crate::engine::podman::run::{exists, podman};
use crate::error::{Error, Result};
use crate::log::note;
use crate::model::{Container, without_tag};

/// What an image says of how it is run.
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

/// Gets an image that `name` runs, if the machine does not have it.
///
/// # Errors
/// What podman says if it cannot pull it.
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

/// What runs in a container: its entry point and arguments of that, the image's own where nothing else is said.
///
/// # Errors
/// If there is no such image, or nothing says what runs.
pub(crate) fn command(container: &Container) -> Result<Vec<String>> {
    let image = container.reference();
    let told = podman(&["image", "inspect", "--format", "{{json .Config}}", &image])?;
    let unclear = |error| Error(format!("podman says nothing of the image {image}: {error}"));
    let config: Config = serde_json::from_str(&told).map_err(unclear)?;
    let words = words(container.entrypoint.as_deref(), &container.exec, config);
    if words.is_empty() { Err(Error(format!("the image {image} has no command: write exec"))) } else { Ok(words) }
}

/// As podman-run(1) has it: who replaces the entry point replaces the arguments, too.
fn words(entrypoint: Option<&str>, exec: &[String], config: Config) -> Vec<String> {
    let (entrypoint, arguments) = match entrypoint {
        Some(word) => (serde_json::from_str(word).unwrap_or_else(|_| vec![word.to_owned()]), Vec::new()),
        None => (config.entrypoint.unwrap_or_default(), config.cmd.unwrap_or_default()),
    };
    let arguments = if exec.is_empty() { arguments } else { exec.to_vec() };
    entrypoint.into_iter().chain(arguments).collect()
}

/// The digest of what an image's name points at now, in its registry; on this machine, with a word, if the
/// registry does not answer.
///
/// # Errors
/// If there is no such image in either place.
pub(crate) fn newest(container: &Container) -> Result<String> {
    let image = &container.image;
    if let Err(error) = podman(&["pull", "--quiet", image]) {
        if !exists("image", image) {
            return Err(Error(format!("could not pull image {image}: {error}")));
        }
        note!("{image}: what this machine has of it is used: {error}");
    }
    let digest = podman(&["image", "inspect", "--format", "{{.Digest}}", image])?;
    // When its name moves on podman finds it by its digest no longer, and `podman image prune` would remove it: what
    // serves, or is to be gone back to, keeps a name of its own.
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
