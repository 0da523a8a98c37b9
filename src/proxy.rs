//! Reverse proxies: which routes there are, how a proxy writes them, and how its configuration is published.

#[cfg(feature = "cli")]
pub(crate) mod access;
mod caddy;
mod certificates;
pub(crate) mod chosen;
pub(crate) mod claim;
pub(crate) mod driver;
pub(crate) mod files;
pub(crate) mod forwarded;
mod haproxy;
mod ipv6;
#[cfg(feature = "cli")]
mod links;
#[cfg(feature = "cli")]
pub(crate) mod loaded;
mod nginx;
mod passwords;
#[cfg(feature = "cli")]
pub(crate) mod publish;
#[cfg(feature = "cli")]
pub(crate) mod published;
pub(crate) mod routing;
mod snippet;
#[cfg(feature = "cli")]
mod users;
mod variant;
pub(crate) mod verdict;
