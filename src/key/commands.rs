//! `[commands.NAME]`

use crate::key::description::{Default, Digest, KEY, Key, Kind};

const OF_COMMAND: Key = Key { digest: Some(Digest::Settings), reported_as: "commands.*", ..KEY };

pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "description",
        example: "\"Apply migrations\"",
        meaning: "One line that describes the command.",
        ..OF_COMMAND
    },
    Key {
        name: "exec",
        kind: Kind::Command,
        default: Default::Required,
        example: "[\"./migrate\", \"--latest\"]",
        meaning: "The program and its first arguments; those on the command line follow.",
        systemd: "`ExecStart=`",
        ..OF_COMMAND
    },
    Key {
        name: "scope",
        kind: Kind::Words(&[
            ("deployment", "The command runs beside a deployment that serves."),
            ("service", "The command has the service's environment alone, and also runs when the service is stopped."),
        ]),
        default: Default::Value("\"deployment\""),
        example: "\"service\"",
        meaning: "Whether the command runs beside a deployment that serves, or with the service's environment alone, \
                  also when the service is stopped.",
        ..OF_COMMAND
    },
];
