//! A booted systemd to try the project on, and the load that is driven through it.

mod cgroup;
pub mod cluster;
pub mod command;
pub mod figure;
pub mod image;
pub mod kubernetes;
pub mod load;
pub mod machine;
pub mod recorded;
pub mod vm;
