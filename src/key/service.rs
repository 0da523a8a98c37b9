//! service.toml above its sections.

use crate::key::description::{Default, Digest, Entries, KEY, Key, Kind, Parts, ROLLS, SETTING};

const SECTION: Key = Key { kind: Kind::Section, default: Default::Words(""), ..KEY };
const ENGINE: Key = Key {
    default: Default::Words("one of the three, or none if the proxy answers all routes"),
    parts: Parts::OnlyInside,
    ..SECTION
};

pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "description",
        default: Default::Words("the service's name"),
        example: "\"Shop front end\"",
        meaning: "One line that describes the service.",
        systemd: "`Description=`",
        parts: Parts::Separate,
        ..SETTING
    },
    Key {
        name: "concurrency",
        kind: Kind::Number(1, 512),
        default: Default::Value("1"),
        example: "3",
        needs: "slots = 512",
        meaning: "The number of deployments that run in parallel, at most `slots`.",
        digest: Some(Digest::Scale),
        ..KEY
    },
    Key {
        name: "slots",
        kind: Kind::Number(1, 512),
        default: Default::Value("12"),
        example: "20",
        meaning: "The number of upstreams that the reverse proxy has for the service; scaling up to this number does \
                  not reload the proxy.",
        digest: Some(Digest::Routes),
        ..KEY
    },
    Key {
        name: "config",
        kind: Kind::Table(Entries::Scalars),
        example: "{ LOG_LEVEL = \"debug\" }",
        meaning: "The service's variables, in the environment of its processes, hooks and commands.",
        systemd: "`Environment=`",
        digest: Some(Digest::Generation),
        ..KEY
    },
    Key { name: "exec", meaning: "[The command that serves](#exec).", ..ENGINE },
    Key { name: "container", meaning: "[The image whose container serves](#container).", ..ENGINE },
    Key { name: "pod", meaning: "[The Kubernetes pod that serves](#pod).", ..ENGINE },
    Key { name: "listen", meaning: "[Where the service listens](#listen).", ..SECTION },
    Key { name: "health", meaning: "[When a deployment is ready for traffic](#health).", ..SECTION },
    Key {
        name: "route",
        kind: Kind::Sections,
        default: Default::None,
        meaning: "[The requests that the reverse proxy sends to the service](#route).",
        digest: Some(Digest::Routes),
        parts: Parts::OnlyInside,
        ..KEY
    },
    Key {
        name: "port",
        kind: Kind::Sections,
        default: Default::None,
        meaning: "[The addresses at which the service is reached without a reverse proxy](#port).",
        parts: Parts::OnlyInside,
        ..SETTING
    },
    Key { name: "deploy", meaning: "[How a new generation replaces the old one](#deploy).", ..SECTION },
    Key { name: "hooks", meaning: "[Commands that run when a deployment starts and stops](#hooks).", ..SECTION },
    Key {
        name: "resources",
        kind: Kind::Directives(Entries::Scalars),
        example: "{ memory_max = \"1G\" }",
        meaning: "[Limits that all deployments of the service share](#resources).",
        systemd: "`[Slice]`",
        parts: Parts::Separate,
        ..SETTING
    },
    Key {
        name: "commands",
        kind: Kind::NamedSections,
        meaning: "[Commands that people start with `conductor run`](#commandsname).",
        ..SETTING
    },
    Key {
        name: "service",
        kind: Kind::Sections,
        meaning: "[Other services that this one needs](#service).",
        parts: Parts::OnlyOutside,
        ..SETTING
    },
    Key {
        name: "condition",
        kind: Kind::Directives(Entries::Lines),
        example: "{ host = \"web*\" }",
        meaning: "[Conditions that must hold for the service to start](#condition).",
        systemd: "`Condition…=`",
        parts: Parts::Shared,
        ..SETTING
    },
    Key {
        name: "display",
        kind: Kind::List("strings"),
        example: "[\"VERSION\"]",
        needs: "config.VERSION = \"1.2\"",
        meaning: "Variables that `conductor service list` and `conductor deployment list` show as columns: names of \
                  `config`, `environment` or [Conductor's own](#environment).",
        ..SETTING
    },
    Key {
        name: "install",
        meaning: "[What starts the service at boot](#install).",
        parts: Parts::OnlyOutside,
        ..SECTION
    },
    Key {
        name: "systemd",
        kind: Kind::Section,
        meaning: "[Directives that Conductor passes on to systemd](#systemd).",
        parts: Parts::Shared,
        ..KEY
    },
    Key {
        name: "part",
        kind: Kind::Sections,
        meaning: "[Several engines beside each other, each a service of its own](#part).",
        parts: Parts::OnlyOutside,
        ..KEY
    },
];

/// The keys of a part beside those of a service.
pub(crate) const PART: &[Key] = &[
    Key {
        name: "name",
        default: Default::Required,
        example: "\"web\"",
        meaning: "The part's name, of a-z, 0-9, `-` and `_`; the part is the service `NAME.PART`.",
        ..KEY
    },
    Key {
        name: "after",
        kind: Kind::List("names of parts"),
        example: "[\"db\"]",
        meaning: "Parts that must be ready, or have failed, before this one starts or rolls.",
        systemd: "`After=`",
        ..SETTING
    },
    Key {
        name: "address",
        kind: Kind::Text("an IPv4 address"),
        default: Default::Words("derived from the part's name"),
        example: "\"169.254.64.1\"",
        meaning: "The address at which [other parts in containers](#names-of-parts) reach the `port` of this one's container \
                  or pod by its name: 169.254.64.0 to 169.254.159.255, or 169.254.192.0 to 169.254.254.255.",
        systemd: "`ListenStream=`",
        ..ROLLS
    },
];
