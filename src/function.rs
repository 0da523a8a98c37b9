//! Functions on this machine: finding, declaring, storing and removing them.

pub(crate) mod converge;
pub(crate) mod declare;
pub(crate) mod find;
pub(crate) mod host_check;
pub(crate) mod remove;
pub(crate) mod render;
pub(crate) mod state;
pub mod store;
