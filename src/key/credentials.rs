//! Secrets, which every engine has.

use crate::key::description::{Entries, Key, Kind, ROLLS};

pub(super) const CREDENTIALS: Key = Key {
    name: "credentials",
    kind: Kind::Table(Entries::Paths),
    example: "{ password = \"/etc/shop/password\" }",
    meaning: "Secrets that the processes read in `$CREDENTIALS_DIRECTORY`.",
    systemd: "`LoadCredential=`",
    ..ROLLS
};

pub(super) const CREDENTIALS_ENCRYPTED: Key = Key {
    name: "credentials_encrypted",
    kind: Kind::Table(Entries::Paths),
    example: "{ password = \"/etc/shop/password.cred\" }",
    meaning: "Secrets that systemd-creds(1) has encrypted, in `$CREDENTIALS_DIRECTORY` too.",
    systemd: "`LoadCredentialEncrypted=`",
    ..ROLLS
};
