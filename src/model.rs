//! Services and functions as they will be: resolved, checked, complete, and without terms of any one target.
//!
//! Nothing in a model is optional by accident, and no text in it can break the format that it is rendered into. What
//! only systemd understands stands beside the service, in [`Systemd`].

pub(crate) mod alias;
pub(crate) mod command;
pub(crate) mod deploy;
pub(crate) mod engine;
pub(crate) mod file;
pub(crate) mod footprint;
pub mod function;
pub(crate) mod health;
pub(crate) mod job;
pub(crate) mod listen;
pub(crate) mod network;
pub(crate) mod process;
pub(crate) mod programs;
pub(crate) mod route;
pub(crate) mod service;
pub(crate) mod setting;
pub(crate) mod systemd;
pub(crate) mod text;
pub(crate) mod timeout;
pub(crate) mod writable;

pub(crate) use self::command::{Command, program_path};
pub(crate) use self::deploy::{Autoscale, Deploy, Hook, Hooks, RunningHook, Step};
pub use self::engine::{Container, Engine, Pod, Readiness, without_tag};
pub(crate) use self::file::{File, FileKind};
pub(crate) use self::footprint::Claim;
pub use self::footprint::Footprint;
pub(crate) use self::health::{Check, Health, Live, START_TIME};
pub use self::job::Job;
pub(crate) use self::listen::{Further, Listen, Listener, Passed, Port, Protocol};
pub(crate) use self::process::{Process, User};
pub(crate) use self::route::Route;
pub use self::service::{Dependency, Group, Model, RunCommand, Service};
pub(crate) use self::setting::Setting;
pub use self::systemd::{Directive, DropIn, Systemd};
pub use crate::declaration::{Affinity, CommandScope, ListenKind, Overlap, Pull, Sandbox, Strategy, Tls};
