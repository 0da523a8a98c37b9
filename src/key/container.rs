//! `[container]`, of services and functions.

use crate::key::credentials::{CREDENTIALS, CREDENTIALS_ENCRYPTED};
use crate::key::description::{Default, Entries, KEY, Key, Kind, ROLLS};
use crate::key::environment_file::ENVIRONMENT_FILE;

const OF_IMAGE: Key = Key { default: Default::Words("the image's"), ..ROLLS };
const STRINGS: Key = Key { kind: Kind::List("strings"), ..ROLLS };

pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "image",
        default: Default::Required,
        example: "\"docker.io/library/nginx:1.27\"",
        needs: "container.port = 8080",
        meaning: "The image's name, with its registry.",
        systemd: "`ExecStart=podman run …`",
        ..ROLLS
    },
    Key {
        name: "pull",
        kind: Kind::Words(&[
            ("missing", "conductor pulls the image if the machine has none of this name."),
            ("newer", "conductor also looks for a newer image when the service is declared, or reloaded by name."),
            ("never", "conductor does not pull the image."),
        ]),
        default: Default::Value("\"missing\""),
        example: "\"newer\"",
        meaning: "When Conductor pulls the image: if the machine has no such image; also if the registry has [a newer \
                  one](#images); never.",
        ..KEY
    },
    Key {
        name: "digest",
        kind: Kind::Text("`sha256:…`"),
        example: "\"sha256:0b7c1a5d2e9f48636f3a1c4de8890d7b25b1f6e43c7d9a0812ef5b64ac379d10\"",
        meaning: "The digest of the image to run, whatever image the name points to.",
        ..ROLLS
    },
    Key {
        name: "exec",
        kind: Kind::List("strings"),
        example: "[\"--verbose\"]",
        meaning: "The arguments of the entry point, or the command if the image has no entry point.",
        ..OF_IMAGE
    },
    Key {
        name: "entrypoint",
        example: "\"/usr/bin/server\"",
        meaning: "The program that runs instead of the image's entry point.",
        ..OF_IMAGE
    },
    Key {
        name: "environment",
        kind: Kind::Table(Entries::Scalars),
        example: "{ LOG_LEVEL = \"debug\" }",
        meaning: "Variables of the processes, hooks and commands, which override `config`.",
        systemd: "`Environment=`",
        ..ROLLS
    },
    ENVIRONMENT_FILE,
    Key {
        name: "user",
        example: "\"1000:1000\"",
        meaning: "The user within the container that runs the processes.",
        ..OF_IMAGE
    },
    Key {
        name: "working_dir",
        kind: Kind::Text("a path"),
        example: "\"/srv\"",
        meaning: "The directory within the container in which the processes start.",
        ..OF_IMAGE
    },
    Key {
        name: "volume",
        example: "[\"./conf:/etc/app:ro\"]",
        meaning: "Mounts in the container, `SOURCE:PATH[:OPTIONS]`; a source is a volume's name, an absolute path, \
                  or, with the option `ro`, `./…` for one of the declaration's files, of which each generation has \
                  its own copy.",
        ..STRINGS
    },
    Key {
        name: "tmpfs",
        example: "[\"/tmp\"]",
        meaning: "Temporary file systems in the container, `PATH[:OPTIONS]`.",
        ..STRINGS
    },
    Key {
        name: "secret",
        example: "[\"password\"]",
        meaning: "Secrets that podman keeps, `NAME[,OPTIONS]`, podman-secret(1).",
        ..STRINGS
    },
    Key {
        name: "network",
        default: Default::Words("podman's"),
        example: "[\"backend\"]",
        meaning: "The networks that the container joins.",
        ..STRINGS
    },
    Key {
        name: "add_capability",
        example: "[\"NET_ADMIN\"]",
        meaning: "Capabilities that the container has beyond podman's default.",
        ..STRINGS
    },
    Key {
        name: "drop_capability",
        example: "[\"all\"]",
        meaning: "Capabilities of podman's default that the container does not have, or `all`.",
        ..STRINGS
    },
    Key {
        name: "read_only",
        kind: Kind::Boolean,
        default: Default::Value("false"),
        example: "true",
        meaning: "Whether the container's root file system is read-only.",
        ..ROLLS
    },
    Key { name: "podman_args", example: "[\"--init\"]", meaning: "Further options of podman-run(1).", ..STRINGS },
    Key {
        name: "port",
        kind: Kind::Number(1, 65535),
        default: Default::Words("required with `type = \"tcp\"`"),
        example: "8080",
        meaning: "The TCP port on which the container listens; `PORT` in its environment has it.",
        ..ROLLS
    },
    Key { meaning: "Secrets that the processes read in `$CREDENTIALS_DIRECTORY` within the container.", ..CREDENTIALS },
    CREDENTIALS_ENCRYPTED,
];

/// Keys of podman-systemd.unit(5) that conductor has no use for: why, and what to write instead.
pub(crate) const ELSEWHERE: &[(&str, &str, &str)] = &[
    (
        "publish_port",
        "a published port belongs to one deployment alone",
        "write port = 8080 here for where it listens, and [[route]] for HTTP or [[port]] for TCP",
    ),
    ("notify", "[health] determines when a deployment is ready", "write notify = true in [health]"),
    (
        "start_templates",
        "a container has no variables that are known only when a deployment starts",
        "name the file *.j2, which `service declare` renders, and mount it: volume = [\"./app.conf:/etc/app.conf:ro\"]; \
         PORT is the port written here",
    ),
    ("container_name", "a container has the name of its deployment", "remove it"),
];
