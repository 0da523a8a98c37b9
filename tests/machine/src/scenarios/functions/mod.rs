//! CGI functions: their addresses, what their programs see and say, and whatever may go wrong with them.

pub mod addresses;
pub mod containers;
pub mod examples;
pub mod gateway;
pub mod limits;
pub mod programs;
pub mod requests;
pub mod workers;
