//! `[commands.NAME]`

use crate::key::description::{Default, Digest, KEY, Key, Kind};

const OF_COMMAND: Key = Key { digest: Some(Digest::Settings), reported_as: "commands.*", ..KEY };
const OF_JOB: Key = Key { needs: "commands.NAME.schedule = \"daily\"", ..OF_COMMAND };

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
                  also while the service is stopped.",
        ..OF_COMMAND
    },
    Key {
        name: "inside",
        kind: Kind::Boolean,
        default: Default::Value("false"),
        example: "true",
        meaning: "`true` runs the command in a container of its own, of the image of `[container]` and with its options, instead \
                  of on the host.",
        ..OF_COMMAND
    },
    Key {
        name: "schedule",
        kind: Kind::Text("a calendar expression, or a list of them"),
        example: "\"Mon..Fri *-*-* 03:00\"",
        meaning: "The times at which systemd starts the command, which makes it [a job](#jobs); systemd.time(7).",
        systemd: "`OnCalendar=`",
        ..OF_COMMAND
    },
    Key {
        name: "persistent",
        kind: Kind::Boolean,
        default: Default::Value("false"),
        example: "true",
        meaning: "Whether the job starts with the service if it was due while the service or the machine was stopped.",
        systemd: "`Persistent=`",
        ..OF_JOB
    },
    Key {
        name: "overlap",
        kind: Kind::Words(&[
            ("skip", "A job that is due while it runs does not start again for that."),
            ("queue", "A job that was due while it ran, once or several times, starts once more when it has ended."),
        ]),
        default: Default::Value("\"skip\""),
        example: "\"queue\"",
        meaning: "What happens to a run that is due while the job runs; a job never runs twice at a time.",
        systemd: "`DeferReactivation=`",
        ..OF_JOB
    },
    Key {
        name: "randomized_delay",
        kind: Kind::TimeSpan,
        example: "\"10min\"",
        meaning: "systemd delays each start by a random time up to this one, so that machines or jobs do not start \
                  together.",
        systemd: "`RandomizedDelaySec=`",
        ..OF_JOB
    },
    Key {
        name: "timeout",
        kind: Kind::TimeSpan,
        default: Default::Words("no limit"),
        example: "\"1h\"",
        meaning: "The time after which systemd stops a job that still runs; the job then fails.",
        systemd: "`TimeoutStartSec=`",
        ..OF_JOB
    },
    Key {
        name: "on_failure",
        kind: Kind::List("units"),
        example: "[\"alert.service\"]",
        meaning: "Units that systemd starts when the job fails.",
        systemd: "`OnFailure=`",
        ..OF_JOB
    },
];
