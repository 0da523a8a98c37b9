//! `[install]`

use crate::key::description::{Default, Digest, KEY, Key, Kind};

pub(crate) const KEYS: &[Key] = &[Key {
    name: "wanted_by",
    kind: Kind::List("units"),
    default: Default::Varies("[\"multi-user.target\"]", "of a user's service `[\"default.target\"]`"),
    example: "[\"graphical.target\"]",
    meaning: "The units whose start starts the service; `[]` for none.",
    systemd: "links in `UNIT.wants/`",
    digest: Some(Digest::Settings),
    ..KEY
}];
