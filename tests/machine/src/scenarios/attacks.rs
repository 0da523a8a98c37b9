//! Attacks: what a local user, a service's own user, a declaration from elsewhere, or a function's callers and programs may try.

pub(crate) mod files;
pub(crate) mod flood;
pub(crate) mod functions;
pub(crate) mod generator;
pub(crate) mod health;
pub(crate) mod host;
pub(crate) mod inside;
pub(crate) mod ports;
pub(crate) mod proxy;
pub(crate) mod routes;
pub(crate) mod secrets;
pub(crate) mod state;
pub(crate) mod users;
