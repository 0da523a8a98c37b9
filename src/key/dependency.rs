//! `[[service]]`

use crate::key::description::{Default, Digest, Entries, KEY, Key, Kind};

const OF_DEPENDENCY: Key = Key { digest: Some(Digest::Settings), reported_as: "service.*", ..KEY };

pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "dir",
        kind: Kind::Text("a path"),
        default: Default::Required,
        example: "\"../redis\"",
        meaning: "The directory of the dependency's declaration, relative to the directory that you declare.",
        ..OF_DEPENDENCY
    },
    Key {
        name: "vars",
        kind: Kind::Table(Entries::Scalars),
        example: "{ SIZE = \"2G\" }",
        meaning: "The variables of the dependency's templates.",
        ..OF_DEPENDENCY
    },
    Key {
        name: "name",
        default: Default::Words("the last part of `dir`"),
        example: "\"cache\"",
        meaning: "The dependency's name.",
        systemd: "`Wants=`, `After=`",
        ..OF_DEPENDENCY
    },
];
