//! CGI functions: their addresses, what their programs see and say, and whatever may go wrong with them.

pub(super) mod addresses;
pub(super) mod containers;
pub(super) mod examples;
pub(super) mod gateway;
pub(super) mod limits;
pub(super) mod programs;
pub(super) mod requests;
pub(super) mod workers;
