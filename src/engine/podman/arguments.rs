//! Arguments of podman(1) that units and hooks have in common.

use camino::Utf8Path;

use crate::model::{Container, Engine};

/// The directory of credentials in a container.
pub(crate) const CREDENTIALS: &str = "/run/credentials";

/// Returns the declared settings of a container, without its command, as options of podman-run(1). The declaration's
/// files are in `files`.
pub(crate) fn options(container: &Container, files: &Utf8Path) -> Vec<String> {
    let Container {
        image: _,
        pull: _,
        digest: _,
        exec: _,
        entrypoint: _,
        user,
        working_dir,
        volume,
        tmpfs,
        secret,
        network,
        add_capability,
        drop_capability,
        read_only,
        podman_args,
        port: _,
    } = container;
    let each = |option: &str, values: &[String]| -> Vec<String> {
        values.iter().map(|value| format!("--{option}={value}")).collect()
    };
    let mut options: Vec<String> = volume
        .iter()
        .map(|volume| match volume.strip_prefix("./") {
            Some(rest) => format!("--volume={files}/{rest}"),
            None => format!("--volume={volume}"),
        })
        .collect();
    options.extend(each("tmpfs", tmpfs));
    options.extend(each("secret", secret));
    options.extend(each("network", network));
    options.extend(each("cap-add", add_capability));
    options.extend(each("cap-drop", drop_capability));
    options.extend(each("user", user.as_slice()));
    options.extend(each("workdir", working_dir.as_slice()));
    options.extend(read_only.then(|| "--read-only".to_owned()));
    options.extend(podman_args.iter().cloned());
    options
}

/// Returns the arguments that ask the processes of pods to end, and kill them after ten seconds; None without pods. Of
/// podman 4.3 `kube down` kills them at once.
pub(crate) fn stop_of_pods(names: &[String]) -> Option<Vec<String>> {
    let words = ["pod", "stop", "--ignore", "--time=10"].into_iter().map(str::to_owned);
    (!names.is_empty()).then(|| words.chain(names.iter().cloned()).collect())
}

/// Returns the arguments that stop and remove a deployment: its container of this name with its unnamed volumes, or the
/// pods of the DEPLOYMENTDIR `dir`, whose volumes with names stay. None for a command, which podman does not run.
pub(crate) fn removal(engine: &Engine, name: &str, dir: &str) -> Option<Vec<String>> {
    let line = match engine {
        Engine::Exec { .. } => return None,
        Engine::Container(_) => format!("rm --force --ignore --volumes --time=10 {name}"),
        Engine::Pod(_) => format!("kube down {dir}/pod.yaml"),
    };
    Some(line.split(' ').map(str::to_owned).collect())
}
