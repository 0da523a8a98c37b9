//! The keys of service.toml, function.toml and conductor.toml, each described once. The tables in docs/, the manual
//! pages, the schemas, the help of errors, the output of `plan` and the tests come from these descriptions.

mod commands;
mod container;
mod credentials;
mod dependency;
mod deploy;
mod description;
mod environment_file;
mod exec;
mod function;
mod health;
mod hooks;
mod host;
mod install;
mod listen;
pub(crate) mod mismatch;
mod pod;
mod port;
mod route;
mod service;
mod systemd;

pub use description::{Default, Digest, Entries, Key, Kind, Parts};

/// A file that people write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum File {
    Service,
    Function,
    Host,
}

/// The keys of one section.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// Dotted; `*` stands for any name, and nothing for the top of the file.
    pub path: &'static str,
    pub keys: &'static [Key],
}

const fn section(path: &'static str, keys: &'static [Key]) -> Section {
    Section { path, keys }
}

const SERVICE: &[Section] = &[
    section("", service::KEYS),
    section("part", service::PART),
    section("exec", exec::KEYS),
    section("container", container::KEYS),
    section("pod", pod::KEYS),
    section("listen", listen::KEYS),
    section("listen.*", listen::FURTHER),
    section("health", health::KEYS),
    section("health.live", health::LIVE),
    section("route", route::ROUTE),
    section("port", port::PORT),
    section("deploy", deploy::KEYS),
    section("deploy.steps", deploy::STEP),
    section("deploy.autoscale", deploy::AUTOSCALE),
    section("hooks", hooks::KEYS),
    section("hooks.*", hooks::TABLE),
    section("commands.*", commands::KEYS),
    section("service", dependency::KEYS),
    section("install", install::KEYS),
    section("systemd", systemd::KEYS),
];

const FUNCTION: &[Section] = &[
    section("", function::KEYS),
    section("exec", exec::KEYS),
    section("container", container::KEYS),
    section("systemd", function::SYSTEMD),
];

const HOST: &[Section] = &[
    section("", host::KEYS),
    section("service", host::SERVICE),
    section("proxy", host::PROXY),
    section("functions", host::FUNCTIONS),
    section("service.deploy", deploy::KEYS),
    section("service.deploy.steps", deploy::STEP),
    section("service.deploy.autoscale", deploy::AUTOSCALE),
    section("service.hooks", host::HOOKS),
    section("service.install", install::KEYS),
    section("service.systemd", systemd::KEYS),
];

impl File {
    pub const ALL: [Self; 3] = [Self::Service, Self::Function, Self::Host];

    pub fn name(self) -> &'static str {
        match self {
            Self::Service => "service.toml",
            Self::Function => "function.toml",
            Self::Host => "conductor.toml",
        }
    }

    /// The file's sections, its top level first.
    pub fn sections(self) -> &'static [Section] {
        match self {
            Self::Service => SERVICE,
            Self::Function => FUNCTION,
            Self::Host => HOST,
        }
    }

    /// Finds the key at a path without indices.
    pub fn key(self, path: &[&str]) -> Option<&'static Key> {
        let (name, at) = path.split_last()?;
        let section = self.sections().iter().find(|section| section.is_at(at))?;
        section.keys.iter().find(|key| key.name == *name)
    }
}

impl Section {
    fn is_at(&self, path: &[&str]) -> bool {
        let steps = self.path.split('.').filter(|step| !step.is_empty());
        steps.clone().count() == path.len() && steps.zip(path).all(|(step, name)| step == "*" || step == *name)
    }
}
