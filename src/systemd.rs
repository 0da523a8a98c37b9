//! The only module that talks to systemd.

mod bus;
mod failure;
mod job;
pub(crate) mod journal;
mod manager;
pub(crate) mod notify;
mod systemctl;
mod unit;

pub(crate) use failure::Error;
pub(crate) use manager::Manager;
pub(crate) use unit::{Listing, State, has_job};
