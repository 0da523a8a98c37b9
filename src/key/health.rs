//! `[health]`

use crate::key::description::{Default, Entries, Key, Kind, ROLLS};

const WITH_HTTP: Key = Key { needs: "health.http = \"/healthz\"", ..ROLLS };

pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "http",
        kind: Kind::Text("a path"),
        example: "\"/healthz\"",
        meaning: "The deployment is ready when a GET of this path gets an answer with one of `status` and a `body` that \
                  matches.",
        ..ROLLS
    },
    Key {
        name: "tcp",
        kind: Kind::True,
        default: Default::Varies("true", "with another check, probes of a pod, or `listen.type = \"none\"`, none"),
        example: "true",
        meaning: "The deployment is ready when its process accepts a connection.",
        ..ROLLS
    },
    Key {
        name: "exec",
        kind: Kind::Command,
        example: "[\"./check\"]",
        meaning: "The deployment is ready when this command exits with 0. It runs as the service's user in its \
                  sandbox, for a container or pod [in the container](#the-pods-file).",
        systemd: "`ExecStartPost=`",
        ..ROLLS
    },
    Key {
        name: "notify",
        kind: Kind::True,
        example: "true",
        meaning: "The deployment is ready when its process sends `READY=1`, sd_notify(3); Conductor makes no attempts \
                  itself.",
        systemd: "`Type=notify`",
        ..ROLLS
    },
    Key {
        name: "start",
        kind: Kind::TimeSpan,
        default: Default::Words("none; with `listen.type = \"none\"` and no other check `\"1s\"`"),
        example: "\"5s\"",
        meaning: "The deployment is ready when its main process has run for this time.",
        ..ROLLS
    },
    Key {
        name: "status",
        kind: Kind::List("numbers, 100 to 599"),
        default: Default::Words("200 to 399"),
        example: "[200, 204]",
        meaning: "The HTTP statuses that count as healthy.",
        ..WITH_HTTP
    },
    Key {
        name: "headers",
        kind: Kind::Table(Entries::Strings),
        example: "{ X-Probe = \"conductor\" }",
        meaning: "Header fields of the GET, which override `Host: localhost` and `User-Agent: conductor`.",
        ..WITH_HTTP
    },
    Key {
        name: "body",
        kind: Kind::Text("a regular expression"),
        example: "\"ready\"",
        meaning: "A pattern that must match somewhere in the first 64 KiB of the answer's body; `^` and `$` are the \
                  ends of the body, with `(?m)` those of lines.",
        ..WITH_HTTP
    },
    Key {
        name: "interval",
        kind: Kind::TimeSpan,
        default: Default::Value("\"200ms\""),
        example: "\"500ms\"",
        meaning: "The time between two attempts; without `retries` the first attempts come faster.",
        ..ROLLS
    },
    Key {
        name: "timeout",
        kind: Kind::TimeSpan,
        default: Default::Value("\"30s\""),
        example: "\"5s\"",
        meaning: "The time limit of one attempt.",
        ..ROLLS
    },
    Key {
        name: "retries",
        kind: Kind::Number(1, u32::MAX),
        default: Default::Words("no limit"),
        example: "10",
        meaning: "The number of failed attempts after which the start fails, even before `health_timeout`.",
        ..ROLLS
    },
    Key {
        name: "listener",
        needs: "listen.metrics = { type = \"tcp\" }",
        default: Default::Words("that of `[listen]` itself"),
        example: "\"metrics\"",
        meaning: "The [further listener](#listenname) that `http` or `tcp` asks.",
        ..ROLLS
    },
    Key {
        name: "live",
        kind: Kind::Section,
        meaning: "[The check of a deployment as long as it runs](#healthlive).",
        reported_as: "health.live",
        ..ROLLS
    },
];

const OF_LIVE: Key = Key { reported_as: "health.live", ..ROLLS };

/// `[health.live]`
pub(crate) const LIVE: &[Key] = &[
    Key {
        name: "http",
        kind: Kind::Text("a path"),
        example: "\"/healthz\"",
        meaning: "The deployment is alive if a GET of this path gets an answer with one of `status`.",
        ..OF_LIVE
    },
    Key {
        name: "tcp",
        kind: Kind::True,
        example: "true",
        meaning: "The deployment is alive if its process accepts a connection.",
        ..OF_LIVE
    },
    Key {
        name: "exec",
        kind: Kind::Command,
        example: "[\"./alive\"]",
        meaning: "The deployment is alive if this command exits with 0. It runs where that of `health.exec` does. \
                  Outside of containers, each run starts a unit.",
        ..OF_LIVE
    },
    Key {
        name: "notify",
        kind: Kind::True,
        example: "true",
        meaning: "The deployment is alive if its process sends `WATCHDOG=1` at least once in `interval`, \
                  sd_notify(3). Otherwise systemd kills it.",
        systemd: "`WatchdogSec=`",
        ..OF_LIVE
    },
    Key {
        name: "status",
        kind: Kind::List("numbers, 100 to 599"),
        default: Default::Words("200 to 399"),
        example: "[200, 204]",
        needs: "health.live.http = \"/healthz\"",
        meaning: "The HTTP statuses that count as alive.",
        ..OF_LIVE
    },
    Key {
        name: "interval",
        kind: Kind::TimeSpan,
        default: Default::Value("\"10s\""),
        example: "\"30s\"",
        needs: "health.live.http = \"/healthz\"",
        meaning: "The time between two checks, at least one second.",
        systemd: "`OnUnitActiveSec=`",
        ..OF_LIVE
    },
    Key {
        name: "timeout",
        kind: Kind::TimeSpan,
        default: Default::Value("\"5s\""),
        example: "\"1s\"",
        needs: "health.live.http = \"/healthz\"",
        meaning: "The time limit of one check.",
        ..OF_LIVE
    },
    Key {
        name: "failures",
        kind: Kind::Number(1, 1000),
        default: Default::Value("3"),
        example: "5",
        needs: "health.live.http = \"/healthz\"",
        meaning: "The number of checks that fail in a row before Conductor restarts the deployment.",
        ..OF_LIVE
    },
    Key {
        name: "listener",
        default: Default::Words("that of `[listen]` itself"),
        example: "\"metrics\"",
        needs: "listen.metrics = { type = \"tcp\" }\nhealth.live.http = \"/healthz\"",
        meaning: "The [further listener](#listenname) that `http` or `tcp` asks.",
        ..OF_LIVE
    },
];
