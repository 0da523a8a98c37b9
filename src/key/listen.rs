//! `[listen]`

use crate::key::description::{Default, Key, Kind, ROLLS};

pub(crate) const FURTHER: &[Key] = &[
    Key {
        name: "type",
        kind: Kind::Words(&[
            ("activation", "systemd passes the listening socket, sd_listen_fds(3)."),
            ("unix", "The process binds `$CONDUCTOR_SOCKET_NAME`."),
            ("tcp", "The process binds `$PORT_NAME`."),
        ]),
        default: Default::Required,
        example: "\"unix\"",
        meaning: "How the process gets the socket.",
        ..ROLLS
    },
    Key {
        name: "port",
        kind: Kind::Number(1, 65_535),
        default: Default::Words("required in containers and pods with `type = \"tcp\"`"),
        example: "9090",
        needs: "listen.metrics = { type = \"tcp\" }",
        meaning: "The port at which the process listens in its container or pod.",
        ..ROLLS
    },
];

pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "type",
        kind: Kind::Words(&[
            ("activation", "systemd passes the listening socket, sd_listen_fds(3)."),
            ("unix", "The process binds `$CONDUCTOR_SOCKET`."),
            ("tcp", "The process binds `$PORT`."),
            ("none", "The process listens nowhere: a worker."),
        ]),
        default: Default::Varies("\"activation\"", "for containers and pods `\"tcp\"`"),
        example: "\"unix\"",
        meaning: "[How the process gets its listening socket](#listeners).",
        ..ROLLS
    },
    Key {
        name: "idle_timeout",
        kind: Kind::TimeSpan,
        default: Default::Words("never"),
        example: "\"10min\"",
        meaning: "A deployment that has had no connection for this time stops; [the next caller starts \
                  it](#scale-to-zero).",
        systemd: "`--exit-idle-time=`",
        ..ROLLS
    },
];
