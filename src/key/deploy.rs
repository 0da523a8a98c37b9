//! `[deploy]`

use crate::key::description::{Default, Digest, KEY, Key, Kind, SETTING};

pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "strategy",
        kind: Kind::Words(&[
            ("rolling", "New deployments take over from old ones batch by batch."),
            ("blue-green", "All new deployments start beside the old ones, then take over together."),
            ("recreate", "The old deployments stop before the new ones start."),
            ("canary", "The new deployments take the slots step by step, beside the old ones."),
        ]),
        default: Default::Value("\"rolling\""),
        example: "\"blue-green\"",
        meaning: "The [order](#strategies) in which new deployments start and old ones stop.",
        ..SETTING
    },
    Key {
        name: "steps",
        kind: Kind::Sections,
        default: Default::Words("none; required with `\"canary\"`"),
        meaning: "The [shares of the slots](#canaries) that the new generation gets one after the other with \
                  `\"canary\"`, before it gets all slots.",
        ..SETTING
    },
    Key {
        name: "max_surge",
        kind: Kind::Number(1, 512),
        default: Default::Value("1"),
        example: "2",
        meaning: "The number of new deployments that start at a time with `\"rolling\"`; meanwhile at most as many old \
                  ones drain and stop.",
        ..SETTING
    },
    Key {
        name: "drain_timeout",
        kind: Kind::TimeSpan,
        default: Default::Value("\"30s\""),
        example: "\"2min\"",
        meaning: "The time that requests in flight have to end when a deployment stops.",
        systemd: "`TimeoutStopSec=`",
        ..SETTING
    },
    Key {
        name: "abandoned_timeout",
        kind: Kind::TimeSpan,
        default: Default::Value("\"5s\""),
        example: "\"1min\"",
        meaning: "The time within `drain_timeout` for which a deployment that stops waits for a connection [after its caller \
                  has closed it](#callers-that-have-gone).",
        ..SETTING
    },
    Key {
        name: "drain_signal",
        kind: Kind::Text("a signal"),
        example: "\"SIGWINCH\"",
        meaning: "The signal that a deployment's main process gets when the deployment has left its slots, to close \
                  [connections that would not end](how-to/realtime.md); in a pod, the first process of each container \
                  gets it.",
        systemd: "named as in `KillSignal=`",
        ..SETTING
    },
    Key {
        name: "health_timeout",
        kind: Kind::TimeSpan,
        default: Default::Value("\"60s\""),
        example: "\"5min\"",
        meaning: "The time that a deployment has to become healthy.",
        systemd: "`TimeoutStartSec=`",
        ..SETTING
    },
    Key {
        name: "restarted_at",
        kind: Kind::Text("a time in UTC"),
        example: "\"2026-11-23T15:00:00Z\"",
        meaning: "A time that makes another generation of the same configuration; `conductor service restart` sets \
                  it.",
        digest: Some(Digest::Generation),
        ..KEY
    },
    Key {
        name: "autoscale",
        kind: Kind::Section,
        meaning: "[The number of deployments by their load](#deployautoscale), for [Kubernetes](how-to/kubernetes.md) alone.",
        ..KEY
    },
];

const OF_AUTOSCALE: Key = Key { default: Default::Required, reported_as: "deploy.autoscale", ..KEY };

/// `[deploy.autoscale]`
pub(crate) const AUTOSCALE: &[Key] = &[
    Key {
        name: "max",
        kind: Kind::Number(1, 512),
        example: "10",
        meaning: "The largest number of deployments; the smallest is `concurrency`.",
        ..OF_AUTOSCALE
    },
    Key {
        name: "cpu",
        kind: Kind::Number(1, 100),
        example: "80",
        meaning: "The part of the processor's time in `resources.cpu_quota` that each deployment is to use, in percent.",
        ..OF_AUTOSCALE
    },
];

const OF_STEP: Key = Key { default: Default::Required, reported_as: "deploy.steps", ..SETTING };

/// `[[deploy.steps]]`
pub(crate) const STEP: &[Key] = &[
    Key {
        name: "slots",
        kind: Kind::Number(1, 511),
        example: "6",
        needs: "slots = 512\n[deploy]\nstrategy = \"canary\"",
        meaning: "The number of slots that the new generation has, more than in the step before and fewer than the service's \
                  `slots`.",
        ..OF_STEP
    },
    Key {
        name: "pause",
        kind: Kind::Text("a time span or `\"manual\"`"),
        example: "\"5min\"",
        needs: "[deploy]\nstrategy = \"canary\"",
        meaning: "The time until the next step; `\"manual\"`: `conductor service promote` takes it.",
        ..OF_STEP
    },
];
