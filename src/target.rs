//! What models compile to, a folder a target.

pub mod systemd;
