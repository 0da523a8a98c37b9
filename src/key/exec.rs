//! `[exec]`, of services and functions.

use crate::key::credentials::{CREDENTIALS, CREDENTIALS_ENCRYPTED};
use crate::key::description::{Default, Entries, Key, Kind, ROLLS};
use crate::key::environment_file::ENVIRONMENT_FILE;

pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "command",
        kind: Kind::Command,
        default: Default::Required,
        example: "[\"./server\", \"--port\", \"80\"]",
        meaning: "The program that serves, in the foreground, and its arguments; it starts in the directory of the \
                  declaration's files.",
        systemd: "`ExecStart=`",
        ..ROLLS
    },
    Key {
        name: "working_dir",
        kind: Kind::Text("a path"),
        default: Default::Words("the directory of the declaration's files"),
        example: "\"/srv\"",
        meaning: "The directory in which the processes, hooks and commands of a service start: absolute, or below the \
                  declaration's files.",
        systemd: "`WorkingDirectory=`",
        ..ROLLS
    },
    Key {
        name: "environment",
        kind: Kind::Table(Entries::Scalars),
        example: "{ LOG_LEVEL = \"debug\" }",
        meaning: "Variables of the processes, hooks and commands, which override `config`; names that begin with \
                  `CONDUCTOR_`, and those of passed sockets, such as `LISTEN_FDS`, are reserved. In a service, values \
                  may [refer to variables](#environment).",
        systemd: "`Environment=`",
        ..ROLLS
    },
    ENVIRONMENT_FILE,
    Key {
        name: "start_templates",
        kind: Kind::List("paths"),
        example: "[\"./nginx.conf.j2\"]",
        meaning: "Templates of the declaration that Conductor [renders when a deployment starts](#start-templates), \
                  because they name `PORT`, sockets or directories: into `$CONDUCTOR_DEPLOYMENT_DIR`, without `.j2`.",
        ..ROLLS
    },
    Key {
        name: "user",
        default: Default::Words("a dynamic user that all generations share"),
        example: "\"www-data\"",
        meaning: "The user that runs the processes and hooks.",
        systemd: "`User=`, `DynamicUser=`",
        ..ROLLS
    },
    CREDENTIALS,
    CREDENTIALS_ENCRYPTED,
    Key {
        name: "sandbox",
        kind: Kind::Words(&[
            ("strict", "systemd confines the processes; `[systemd.service]` relaxes individual settings."),
            ("none", "The processes see and do what their user may."),
        ]),
        default: Default::Value("\"strict\""),
        example: "\"none\"",
        meaning: "Whether systemd confines the processes; `[systemd.service]` relaxes individual settings.",
        systemd: "systemd.exec(5), *Sandboxing*",
        ..ROLLS
    },
];
