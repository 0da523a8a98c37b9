//! Models become files. Nothing here reads, looks anything up or knows of declarations.

pub mod caddy;
pub mod units;
