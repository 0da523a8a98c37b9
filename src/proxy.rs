//! Reverse proxies: which routes there are, how a proxy writes them, and how its configuration is published.

pub mod caddy;
pub mod files;
#[cfg(feature = "cli")]
pub mod publish;
