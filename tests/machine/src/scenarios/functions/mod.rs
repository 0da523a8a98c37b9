//! CGI functions: their addresses, programs, limits and faults.

pub(super) mod addresses;
pub(super) mod containers;
pub(super) mod debian;
pub(super) mod directories;
pub(super) mod examples;
pub(super) mod gateway;
pub(super) mod hanging;
pub(super) mod limits;
pub(super) mod logins;
pub(super) mod programs;
pub(super) mod requests;
pub(super) mod standard;
pub(super) mod starting;
pub(super) mod states;
pub(super) mod waiting;
pub(super) mod workers;
pub(super) mod writing;
