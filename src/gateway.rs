//! The gateway of functions: an HTTP server on a function's socket that answers requests with the function's programs.
//!
//! `conductor cgi serve` is one process. It runs as the function's user, in the function's sandbox and control group, takes its
//! socket from systemd, and exits when no request has come for the function's `idle_timeout`.

mod admission;
pub(crate) mod all;
mod body;
mod cgi;
mod chunks;
mod connection;
pub(crate) mod container;
mod denial;
mod directory;
pub(crate) mod exec;
mod executable;
mod fault;
mod function;
pub(crate) mod header;
mod input;
mod limits;
pub(crate) mod listener;
mod meta;
mod mount;
mod output;
mod process;
mod program;
pub(crate) mod refuse;
mod room;
mod running;
mod scratch;
pub(crate) mod serve;
mod server;
mod spawn;
mod upload;
mod user;
mod watchdog;
mod worker;
