//! `environment_file`, of services' engines.

use crate::key::description::{Key, Kind, ROLLS};

pub(crate) const ENVIRONMENT_FILE: Key = Key {
    name: "environment_file",
    kind: Kind::List("paths"),
    example: "[\"/etc/default/shop\"]",
    meaning: "Files with [variables of a service](#environment-files), which override `environment`: absolute paths, \
              or `./…` for one of the declaration's files; a leading `-` allows the file to be missing.",
    systemd: "`EnvironmentFile=`",
    ..ROLLS
};
