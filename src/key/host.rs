//! conductor.toml: the keys of service.toml that it has, under `[service]`.

use crate::key::description::{Default, Digest, Entries, KEY, Key, Kind};
use crate::key::hooks;

pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "service",
        kind: Kind::Section,
        default: Default::Words(""),
        meaning: "Keys of service.toml that hold for each service that does not override them.",
        ..KEY
    },
    Key {
        name: "proxy",
        kind: Kind::Section,
        default: Default::Words(""),
        meaning: "The host's reverse proxy.",
        ..KEY
    },
    Key {
        name: "functions",
        kind: Kind::Section,
        default: Default::Words(""),
        meaning: "What holds for all functions of the host.",
        ..KEY
    },
];

pub(crate) const PROXY: &[Key] = &[
    Key {
        name: "driver",
        kind: Kind::Words(&[
            ("caddy", "Caddy, with the unit `caddy.service`."),
            ("nginx", "nginx, with the unit `nginx.service`."),
            ("haproxy", "HAProxy, with the unit `haproxy.service`."),
            ("none", "No proxy: nobody serves routes."),
        ]),
        default: Default::Words("the first of `caddy`, `nginx` and `haproxy` that is installed"),
        example: "\"nginx\"",
        meaning: "The [reverse proxy](proxies.md) that serves the routes of services and functions.",
        ..KEY
    },
    Key {
        name: "trusted_proxies",
        kind: Kind::List("addresses or networks"),
        default: Default::Words("nobody is believed"),
        example: "[\"10.0.0.0/8\"]",
        meaning: "Proxies and load balancers before this host's proxy, whose `X-Forwarded-For` and \
                  `X-Forwarded-Proto` reach services.",
        ..KEY
    },
];

pub(crate) const FUNCTIONS: &[Key] = &[Key {
    name: "address",
    kind: Kind::Boolean,
    default: Default::Value("true"),
    example: "false",
    meaning: "Whether the proxy serves functions at `/cgi/ID`; with `false` only at their aliases.",
    ..KEY
}];

pub(crate) const SERVICE: &[Key] = &[
    Key {
        name: "slots",
        kind: Kind::Number(1, 512),
        example: "20",
        meaning: "The number of upstreams that the reverse proxy has for a service.",
        digest: Some(Digest::Routes),
        ..KEY
    },
    Key {
        name: "config",
        kind: Kind::Table(Entries::Scalars),
        example: "{ TZ = \"Europe/Vienna\" }",
        meaning: "Variables of all services.",
        digest: Some(Digest::Generation),
        ..KEY
    },
    Key {
        name: "deploy",
        kind: Kind::Section,
        meaning: "How a new generation replaces the old one; `restarted_at` rolls all services.",
        ..KEY
    },
    Key {
        name: "hooks",
        kind: Kind::Section,
        meaning: "`timeout` alone: the time limit of each hook that has none of its own.",
        ..KEY
    },
    Key {
        name: "resources",
        kind: Kind::Directives(Entries::Scalars),
        example: "{ memory_max = \"1G\" }",
        meaning: "Limits of each service: directives of its slice in snake case.",
        digest: Some(Digest::Settings),
        ..KEY
    },
    Key { name: "install", kind: Kind::Section, meaning: "`wanted_by`: the units whose start starts services.", ..KEY },
    Key {
        name: "systemd",
        kind: Kind::Section,
        meaning: "`systemd.unit`, `systemd.service`, `systemd.socket`, `systemd.slice`: directives that Conductor \
                  passes on to systemd.",
        ..KEY
    },
];

pub(crate) const HOOKS: &[Key] = &[hooks::TIMEOUT];
