//! `[systemd]`

use crate::key::description::{Digest, Entries, Key, Kind, Parts, ROLLS};

const DIRECTIVES: Key = Key { kind: Kind::Directives(Entries::Lines), ..ROLLS };

pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "unit",
        example: "{ After = [\"postgresql.service\"] }",
        meaning: "`[systemd.unit]`: directives of the deployments' services.",
        systemd: "`[Unit]`",
        ..DIRECTIVES
    },
    Key {
        name: "service",
        example: "{ SyslogIdentifier = \"shop\" }",
        meaning: "`[systemd.service]`: directives of the deployments' services.",
        systemd: "`[Service]`",
        ..DIRECTIVES
    },
    Key {
        name: "socket",
        example: "{ FileDescriptorName = \"web\" }",
        meaning: "`[systemd.socket]`: directives of the deployments' sockets.",
        systemd: "`[Socket]`",
        ..DIRECTIVES
    },
    Key {
        name: "slice",
        example: "{ MemoryHigh = \"800M\" }",
        meaning: "`[systemd.slice]`: directives of the service's slice, after those of `[resources]`.",
        systemd: "`[Slice]`",
        digest: Some(Digest::Settings),
        parts: Parts::Separate,
        ..DIRECTIVES
    },
];
