//! Reverse proxies: which routes there are, how a proxy writes them, and how its configuration is published.

mod caddy;
pub(crate) mod claim;
pub(crate) mod driver;
pub(crate) mod files;
pub(crate) mod forwarded;
#[cfg(feature = "cli")]
pub(crate) mod publish;
#[cfg(feature = "cli")]
pub(crate) mod published;
pub(crate) mod routing;
