//! `[pod]`

use crate::key::credentials::{CREDENTIALS, CREDENTIALS_ENCRYPTED};
use crate::key::description::{Default, Entries, Key, Kind, ROLLS};
use crate::key::environment_file::ENVIRONMENT_FILE;

pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "template",
        kind: Kind::Text("a path"),
        default: Default::Required,
        example: "\"./pod.yaml\"",
        needs: "pod.port = 8080",
        meaning: "The YAML file, one of the declaration's files, which Conductor [renders when a deployment \
                  starts](#the-pods-file).",
        systemd: "`ExecStart=podman kube play …`",
        ..ROLLS
    },
    Key {
        name: "config_map",
        kind: Kind::Text("a path"),
        example: "\"./config.yaml\"",
        meaning: "A file with ConfigMaps and Secrets for the pod, which Conductor renders too.",
        ..ROLLS
    },
    Key {
        name: "environment",
        kind: Kind::Table(Entries::Scalars),
        example: "{ LOG_LEVEL = \"debug\" }",
        meaning: "Variables of the containers, hooks and commands, which override `config`.",
        systemd: "`Environment=`",
        ..ROLLS
    },
    ENVIRONMENT_FILE,
    Key {
        name: "network",
        kind: Kind::List("strings"),
        default: Default::Words("podman's"),
        example: "[\"backend\"]",
        meaning: "The networks that the pod joins.",
        ..ROLLS
    },
    Key {
        name: "podman_args",
        kind: Kind::List("strings"),
        example: "[\"--no-hosts\"]",
        meaning: "Further options of podman-kube-play(1).",
        ..ROLLS
    },
    Key {
        name: "port",
        kind: Kind::Number(1, 65535),
        default: Default::Words("required with `type = \"tcp\"`"),
        example: "8080",
        meaning: "The TCP port on which the pod listens; `PORT` in its containers' environment has it.",
        ..ROLLS
    },
    Key {
        meaning: "Secrets that the processes read in `$CREDENTIALS_DIRECTORY` within the containers.",
        ..CREDENTIALS
    },
    CREDENTIALS_ENCRYPTED,
];

/// Keys of other engines that a pod has no use for: why, and what to write instead.
pub(crate) const ELSEWHERE: &[(&str, &str, &str)] = &[
    (
        "start_templates",
        "the pod's file is itself rendered when a deployment starts",
        "write the file as a ConfigMap, in the template or in config_map, and mount that",
    ),
    ("volume", "the pod's file has its volumes", "write volumes and volumeMounts in the template"),
    ("image", "the pod's file names its images", "write image: in the template's containers"),
];
