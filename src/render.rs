//! Models become files. Nothing here reads, looks anything up or knows of declarations.

pub mod bridge;
pub mod caddy;
pub mod cgi;
pub mod engine;
pub mod units;
