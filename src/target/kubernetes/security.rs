//! What the processes of pods may do.

use crate::model::{Container, Engine, Sandbox, User};
use crate::target::kubernetes::workload::Workload;
use crate::target::kubernetes::yaml::{Yaml, list, map};

/// The user of processes that the declaration names none for.
const USER: u32 = 64123;

/// Returns the user of a service's processes: `[exec]` has one in any case, an image its own.
fn user(workload: &Workload) -> Option<u32> {
    match (&workload.service.process.engine, &workload.service.process.user) {
        (Engine::Exec { .. }, User::Dynamic(_)) => Some(USER),
        (Engine::Exec { .. }, user) if user.is_root() => Some(0),
        (Engine::Exec { .. }, User::Static(name)) => Some(name.parse().unwrap_or(USER)),
        (Engine::Container(_) | Engine::Pod(_), _) => None,
    }
}

/// Renders the securityContext of pods.
pub(super) fn of_pod(workload: &Workload) -> Yaml {
    let user = user(workload);
    map! {
        "runAsNonRoot" => user.filter(|user| *user != 0).map(|_| true),
        "runAsUser" => user,
        "runAsGroup" => user,
        "fsGroup" => user.filter(|user| *user != 0),
        "seccompProfile" => is_confined(workload).then(|| map! { "type" => "RuntimeDefault" }),
    }
    .or_absent()
}

/// Renders the securityContext of the service's container.
pub(super) fn of_container(workload: &Workload) -> Yaml {
    match &workload.service.process.engine {
        Engine::Exec { .. } if is_confined(workload) => map! {
            "readOnlyRootFilesystem" => true,
            "allowPrivilegeEscalation" => false,
            "capabilities" => map! { "drop" => list!["ALL"] },
        },
        Engine::Exec { .. } | Engine::Pod(_) => Yaml::Absent,
        Engine::Container(container) => of_image(container),
    }
}

fn of_image(container: &Container) -> Yaml {
    let (user, group) = match container.user.as_deref().map(|user| user.split_once(':').unwrap_or((user, ""))) {
        Some((user, group)) => (user.parse::<u32>().ok(), group.parse::<u32>().ok()),
        None => (None, None),
    };
    let names = |names: &[String]| {
        let name = |name: &String| name.to_ascii_uppercase().trim_start_matches("CAP_").to_owned();
        Yaml::from(names.iter().map(name).collect::<Vec<_>>()).or_absent()
    };
    map! {
        "runAsUser" => user,
        "runAsGroup" => group,
        "readOnlyRootFilesystem" => container.read_only.then_some(true),
        "capabilities" => map! {
            "add" => names(&container.add_capability),
            "drop" => names(&container.drop_capability),
        }
        .or_absent(),
    }
    .or_absent()
}

fn is_confined(workload: &Workload) -> bool {
    // Podman confines containers by its own profile of seccomp, too.
    !workload.is_exec() || workload.service.process.sandbox == Sandbox::Strict
}
