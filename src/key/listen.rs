//! `[listen]`

use crate::key::description::{Default, Digest, KEY, Key, Kind, ROLLS};

const OF_ROUTES: Key = Key { digest: Some(Digest::Routes), reported_as: "route", ..KEY };

const PROTOCOL: Key = Key {
    name: "protocol",
    kind: Kind::Words(&[
        ("http", "HTTP/1.1."),
        ("h2c", "HTTP/2 without TLS, as gRPC speaks it."),
        ("fastcgi", "FastCGI, as php-fpm speaks it."),
    ]),
    default: Default::Value("\"http\""),
    example: "\"h2c\"",
    meaning: "The protocol between the reverse proxy and the listener.",
    ..OF_ROUTES
};

const ROOT: Key = Key {
    name: "root",
    kind: Kind::Text("a directory"),
    default: Default::Words("required with `protocol = \"fastcgi\"`"),
    example: "\"/srv/www\"",
    meaning: "The directory of the programs and files that FastCGI requests name.",
    ..OF_ROUTES
};

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
    Key { needs: "listen.metrics = { type = \"unix\" }\nroute = [{ listener = \"metrics\" }]", ..PROTOCOL },
    Key {
        needs: "listen.metrics = { type = \"unix\", protocol = \"fastcgi\" }\nroute = [{ listener = \"metrics\" }]",
        ..ROOT
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
    Key { needs: "route = [{}]", ..PROTOCOL },
    Key { needs: "listen = { protocol = \"fastcgi\" }\nroute = [{}]", ..ROOT },
];
