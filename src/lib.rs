//! Conductor compiles service declarations ahead of time into systemd units and reverse-proxy
//! configuration. The modules stand in the order in which data flows; each uses only those above.

pub mod diagnostic;
pub mod document;
pub mod declaration;
pub mod timespan;
pub mod directive;
pub mod model;
pub mod escape;
pub mod generation;
pub mod layout;
pub mod part;
pub mod misfit;
pub mod settings;
pub mod sources;
pub mod resolve;
pub mod cgi;
pub mod tree;
pub mod write;
pub mod render;
pub mod live;
pub mod compile;
pub mod environment;

// Effects: what the command line and the units' hooks do. The generator has none of it.
#[cfg(feature = "cli")]
pub mod atomic;
#[cfg(feature = "cli")]
pub mod systemd;
#[cfg(feature = "cli")]
pub mod error;
#[cfg(feature = "cli")]
pub mod template;
#[cfg(feature = "cli")]
pub mod podman;
#[cfg(feature = "cli")]
pub mod deployment;
#[cfg(feature = "cli")]
pub mod proxy;
#[cfg(feature = "cli")]
pub mod service;
#[cfg(feature = "cli")]
pub mod verify;
#[cfg(feature = "cli")]
pub mod schema;
#[cfg(feature = "cli")]
pub mod cli;
