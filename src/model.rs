//! Services and functions as they will be: resolved, checked, complete, and free of what any one target is told.
//!
//! Nothing in a model is optional by accident, and no text in it can break the format that it is rendered into. What only
//! systemd understands stands beside the service, in [`Systemd`].

pub mod alias;
pub mod command;
pub mod deploy;
pub mod engine;
pub mod file;
pub mod function;
pub mod health;
pub mod listen;
pub mod process;
pub mod service;
pub mod setting;
pub mod systemd;
pub mod timeout;

pub use self::command::{Command, program_path};
pub use self::deploy::{Deploy, Hook, Hooks};
pub use self::engine::{Container, Engine, Pod, Readiness, without_tag};
pub use self::file::{File, FileKind};
pub use self::health::{Check, Health};
pub use self::listen::{Listen, Route};
pub use self::process::{Process, User};
pub use self::service::{Dependency, Group, Model, RunCommand, Service};
pub use self::setting::Setting;
pub use self::systemd::{Directive, DropIn, Systemd};
pub use crate::declaration::{CommandScope, ListenKind, Pull, Sandbox, Strategy, Tls};
