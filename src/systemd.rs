//! The only module that talks to systemd.

mod bus;
mod failure;
mod job;
mod manager;
mod systemctl;
mod unit;

pub use failure::Error;
pub use manager::Manager;
pub use unit::{Listing, State};
