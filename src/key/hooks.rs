//! `[hooks]`, and a hook that is a table.

use crate::key::description::{Default, Key, Kind, ROLLS};

const HOOK: Key = Key { kind: Kind::Hook, ..ROLLS };

pub(crate) const TIMEOUT: Key = Key {
    name: "timeout",
    kind: Kind::TimeSpan,
    default: Default::Value("\"30s\""),
    example: "\"1min\"",
    needs: "hooks.pre_start = [\"./migrate\"]",
    meaning: "The time limit of each hook that has none of its own.",
    systemd: "timeout(1)",
    reported_as: "hooks.*",
    ..ROLLS
};

pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "release",
        example: "[\"./migrate\"]",
        meaning: "Runs once for a generation, before its first deployment starts, with the service's user, sandbox \
                  and environment; if it fails, Conductor touches nothing. Its time limit is 10min unless it has one \
                  of its own.",
        ..HOOK
    },
    Key {
        name: "post_release",
        example: "[\"./notify\"]",
        meaning: "Runs once for a generation, when it alone serves; Conductor logs a failure. Its time limit is 10min \
                  unless it has one of its own.",
        ..HOOK
    },
    Key {
        name: "verify",
        example: "[\"./compare\"]",
        needs: "deploy = { strategy = \"canary\", steps = [{ slots = 1, pause = \"5min\" }] }",
        meaning: "Runs before each step of a [canary](#canaries), also before the last; if it fails, the new \
                  generation gives its slots back and stops. Its time limit is 10min unless it has one of its own.",
        ..HOOK
    },
    Key {
        name: "pre_start",
        example: "[\"./migrate\"]",
        meaning: "Runs before the process starts.",
        systemd: "`ExecStartPre=`",
        ..HOOK
    },
    Key {
        name: "post_start",
        example: "[\"./warm-up\"]",
        meaning: "Runs when the deployment is healthy, before it gets traffic.",
        systemd: "`ExecStartPost=`",
        ..HOOK
    },
    Key {
        name: "pre_stop",
        example: "[\"./say-goodbye\"]",
        meaning: "Runs when the deployment begins to stop, while it still gets traffic.",
        systemd: "`ExecStop=`",
        ..HOOK
    },
    Key {
        name: "pre_drain",
        example: "[\"./close-connections\"]",
        meaning: "Runs when the deployment has left its slots, before Conductor waits for requests in flight.",
        systemd: "`ExecStop=`",
        ..HOOK
    },
    Key {
        name: "drain",
        kind: Kind::Command,
        example: "[\"./wait-for-jobs\"]",
        meaning: "Runs when no request is in flight, and waits for other work to end; requests and this command \
                  together have `drain_timeout`.",
        systemd: "`ExecStop=`",
        ..ROLLS
    },
    Key {
        name: "post_stop",
        example: "[\"./clean-up\"]",
        meaning: "Runs when the deployment's processes have ended.",
        systemd: "`ExecStopPost=`",
        ..HOOK
    },
    Key {
        name: "inside",
        kind: Kind::List("`\"post_start\"`, `\"pre_stop\"`, `\"pre_drain\"` and `\"drain\"`"),
        example: "[\"pre_stop\"]",
        needs: "hooks.pre_stop = [\"./say-goodbye\"]",
        meaning: "The hooks of a container or pod that podman-exec(1) runs [in the container](#the-pods-file), instead of \
                  on the host.",
        ..ROLLS
    },
    TIMEOUT,
];

/// A hook with a time limit of its own.
pub(crate) const TABLE: &[Key] = &[
    Key {
        name: "command",
        kind: Kind::Command,
        default: Default::Required,
        example: "[\"./migrate\"]",
        meaning: "The hook's program and its arguments.",
        reported_as: "hooks.*",
        ..ROLLS
    },
    Key {
        name: "timeout",
        kind: Kind::TimeSpan,
        default: Default::Words("`hooks.timeout`"),
        example: "\"5s\"",
        meaning: "The time limit of this hook.",
        systemd: "timeout(1)",
        reported_as: "hooks.*",
        ..ROLLS
    },
];
