//! Attacks: what a local user, a service's own user or a declaration from elsewhere may try.

pub(crate) mod files;
pub(crate) mod state;
