//! Every name that Conductor gives: services, generations, deployments, units, slices, users, containers and locks.
//!
//! Names are made here alone, so that one table shows what can collide. Sources: systemd.unit(5) for units, useradd(8)
//! for users, unix(7) for the length of paths.

mod function;
mod hex;
pub(crate) mod listener;

use std::fmt::{self, Display, Formatter};
use std::net::Ipv4Addr;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::escape::UnitNamePart;
pub(crate) use function::FUNCTION_UNITS;
pub use function::FunctionId;
pub(crate) use hex::{hex, is_hex};
pub(crate) use listener::ListenerName;

/// The group that may connect to the deployments' sockets: the reverse proxy's.
pub(crate) const PROXY_GROUP: &str = "conductor-proxy";
/// The user as whom all bridges run, systemd-socket-proxyd(8).
pub(crate) const BRIDGE_USER: &str = "conductor-bridge";
/// The unit that publishes the proxy's configuration.
pub(crate) const PROXY_UNIT: &str = "conductor-proxy.service";
/// The prefix of the units that ask whether deployments live, before the time between two checks.
pub(crate) const LIVE_UNITS: &str = "conductor-live@";
/// The unit that sets up the network namespace of the parts' addresses.
pub(crate) const NAMES_UNIT: &str = "conductor-names.service";
/// The network namespace in which the sockets of the parts' addresses are.
pub(crate) const NAMES_NAMESPACE: &str = "/run/netns/conductor";
/// The third bytes of the parts' addresses, out of 169.254.0.0/16 of RFC 3927: `units/conductor-names.service` routes them.
/// Others serve metadata in clouds (169, 170, 172), volumes (0 to 5), names in Kubernetes (20), gateways (1), or nobody
/// (255).
const ADDRESS_BLOCKS: [Range<u8>; 2] = [64..160, 192..255];
/// The slice of all functions.
pub(crate) const FUNCTIONS_SLICE: &str = "conductor-cgi.slice";
/// The lock for declaring and removing functions.
pub(crate) const FUNCTIONS_LOCK: &str = "functions";
/// The header fields by which a site of the proxy names the user of a function's request, and how it knows that user.
pub(crate) const USER_FIELD: &str = "conductor-remote-user";
pub(crate) const AUTH_TYPE_FIELD: &str = "conductor-auth-type";
/// The lock for choosing the TCP port of a deployment.
pub(crate) const PORTS_LOCK: &str = "ports";
/// The file that names the main process of a pod, below its deployment's directory: `PIDFile=`.
pub(crate) const PID_FILE: &str = "pid";
/// The directory in the DEPLOYMENTDIR that belongs to the service's user, `$CONDUCTOR_DEPLOYMENT_DIR`.
pub(crate) const OWN_DIR: &str = "own";
/// The variable with the address that a bridge connects to; that of a further listener has its name appended.
pub(crate) const ENDPOINT: &str = "CONDUCTOR_ENDPOINT";
/// The file in the DEPLOYMENTDIR with conductor's own variables: `EnvironmentFile=`.
pub(crate) const ENVIRONMENT: &str = "environment";
/// The file in the DEPLOYMENTDIR with declared variables whose values are known only when a deployment starts:
/// `EnvironmentFile=`. They may be secrets.
pub(crate) const DECLARED: &str = "variables";
/// The file in the DEPLOYMENTDIR with the names of variables that a container gets from environment files: `--env-file=`.
pub(crate) const VARIABLE_NAMES: &str = "environment.names";

/// Names that no service can have, and what has them: `conductor-NAME` is the service's slice and, with a dynamic user,
/// its user.
const RESERVED: &[(&str, &str)] = &[
    ("bridge", "conductor-bridge is the user of all bridges"),
    ("cgi", "conductor-cgi.slice is the slice of all functions"),
    ("proxy", "conductor-proxy is the group of the reverse proxy"),
];

/// Longest name of a user, useradd(8).
const MAX_USER: usize = 31;
/// Hex digits that keep shortened names apart.
const SHORT_DIGEST: usize = 8;

/// A service's name: at most 40 characters of a-z, 0-9, `-`, `_`, `.`, so that the paths of its
/// sockets fit the 107 bytes of unix(7).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName(String);

impl ServiceName {
    /// Longest name, in characters.
    pub(crate) const MAX: usize = 40;

    /// Reads a service's name.
    ///
    /// # Errors
    /// Why the name cannot be a service's.
    pub fn new(name: &str) -> Result<Self, String> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
        if name.is_empty() || name.len() > Self::MAX {
            return Err(format!("a service's name has 1 to {} characters, this has {}", Self::MAX, name.len()));
        }
        if let Some(bad) = name.chars().find(|c| !allowed(*c)) {
            return Err(format!("a service's name has only a-z, 0-9, '-', '_' and '.', not {bad:?}"));
        }
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err("a service's name starts with a letter or a digit".to_owned());
        }
        if name.ends_with(".d") || name.ends_with(".service") {
            return Err("a service's name ends neither in .d nor in .service".to_owned());
        }
        if let Some((_, owner)) = RESERVED.iter().find(|(reserved, _)| *reserved == name) {
            return Err(format!("the name {name} is reserved: {owner}"));
        }
        Ok(Self(name.to_owned()))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the unit that people start, stop and depend on: `NAME.service`.
    pub(crate) fn unit(&self) -> String {
        format!("{self}.service")
    }

    /// Splits the name of a part, `GROUP.PART`, into its group and how the group calls it; None without a dot.
    pub(crate) fn split_part(&self) -> Option<(Self, &str)> {
        let (group, part) = self.0.rsplit_once('.')?;
        Some((Self::new(group).ok()?, part))
    }

    /// Returns what is left of a part's name after its group's and the dot, None if it is not one of the group's.
    pub(crate) fn part_of(&self, group: &Self) -> Option<&str> {
        self.0.strip_prefix(group.as_str())?.strip_prefix('.')
    }

    /// Returns the address at which the other parts reach this one, unless another one is declared.
    pub(crate) fn address(&self) -> Ipv4Addr {
        let digest = Sha256::digest(self.0.as_bytes());
        let blocks = || ADDRESS_BLOCKS.into_iter().flatten();
        let block = usize::from(u16::from_be_bytes([digest[0], digest[1]])) % blocks().count();
        Ipv4Addr::new(169, 254, blocks().nth(block).expect("a block"), digest[2])
    }

    /// Returns the slice of the service's deployments; that of a part is a child of its group's slice.
    pub(crate) fn slice(&self, group: &Self) -> String {
        let parent = UnitNamePart(group.as_str());
        match self.part_of(group) {
            None => format!("conductor-{parent}.slice"),
            Some(part) => format!("conductor-{parent}-{}.slice", UnitNamePart(part)),
        }
    }

    /// Returns the dynamic user of all the service's generations, `User=`; names above 31 characters are shortened.
    pub(crate) fn user(&self) -> String {
        let plain = self.0.replace('.', "_");
        let user = format!("conductor-{plain}");
        // A dot that became an underscore could meet another service's name, as could a cut one.
        if user.len() <= MAX_USER && plain == self.0 {
            return user;
        }
        let digest = hex(&Sha256::digest(self.0.as_bytes()));
        let room = MAX_USER - "conductor--".len() - SHORT_DIGEST;
        format!("conductor-{}-{}", &plain[..plain.len().min(room)], &digest[..SHORT_DIGEST])
    }

    /// Returns the template of a generation's deployments without its suffix: `hello-0123456789ab@`.
    pub(crate) fn template(&self, id: &GenerationId) -> String {
        format!("{self}-{id}@")
    }

    /// Returns the template of the bridges to a generation's deployments without its suffix.
    ///
    /// Of units that systemd could start at once it starts those first that come first by name, and each takes 10 ms
    /// before version 254: the deployment comes before `hello-0123456789ab_bridge@`.
    pub(crate) fn bridge_template(&self, id: &GenerationId) -> String {
        format!("{self}-{id}_bridge@")
    }

    /// Returns the template of the sockets that deployments take behind their bridges: `hello-0123456789ab-inner@`.
    pub(crate) fn inner_template(&self, id: &GenerationId) -> String {
        format!("{self}-{id}-inner@")
    }

    /// Returns the template of the units of a further listener without its suffix: `hello-0123456789ab_listen_metrics@`. The
    /// deployment comes before it by name, as before a bridge.
    pub(crate) fn listener_template(&self, id: &GenerationId, listener: &ListenerName) -> String {
        format!("{self}-{id}_listen_{listener}@")
    }

    /// Returns whether a unit's file, or a directory of its drop-ins, is that of a generation's deployments.
    pub(crate) fn is_of_deployments(&self, id: &GenerationId, path: &str) -> bool {
        let Some(rest) = path.strip_prefix(self.as_str()).and_then(|rest| rest.strip_prefix('-')) else { return false };
        let Some(rest) = rest.strip_prefix(id.as_str()) else { return false };
        ["@", "_bridge@", "-inner@", "_listen_"].iter().any(|kind| rest.starts_with(kind))
    }

    /// Returns the units of a port without their suffixes: `hello-port@127.0.0.1-5432`, `hello-port@127.0.0.1-5432-proxy` if its
    /// relay announces callers' addresses, and `hello-port@127.0.0.1-5432-to-metrics` if it leads to a further listener: another
    /// relay has another name, since one that runs would stay. No service's name has an `@`.
    ///
    /// A colon may be in a unit's name, but systemd-analyze(1) takes what follows it for an alias.
    pub(crate) fn port(&self, listen: &str, announces: bool, listener: Option<&ListenerName>) -> String {
        let suffix = if announces { "/proxy" } else { "" };
        let to = listener.map_or_else(String::new, |name| format!("/to/{name}"));
        format!("{self}-port@{}", UnitNamePart(&format!("{}{suffix}{to}", listen.replace(':', "/"))))
    }

    /// Returns the units of a port whose socket the processes take, without their suffixes: `hello-passed@53`, and
    /// `hello-passed@53-udp` for datagrams. They differ from a relay's, whose socket starts another unit.
    pub(crate) fn passed_port(&self, listen: &str, is_datagram: bool) -> String {
        let protocol = if is_datagram { "/udp" } else { "" };
        format!("{self}-passed@{}", UnitNamePart(&format!("{}{protocol}", listen.replace(':', "/"))))
    }

    /// Returns the patterns of all of the service's ports, as `systemctl list-units` takes them.
    pub(crate) fn port_patterns(&self) -> [String; 2] {
        [format!("{self}-port@*"), format!("{self}-passed@*")]
    }

    /// Returns the units of a job without their suffixes: `hello-job@nightly`. No service's name has an `@`.
    pub(crate) fn job(&self, job: &str) -> String {
        format!("{self}-job@{job}")
    }

    /// Returns the pattern of the units of all of the service's jobs, as `systemctl list-units` takes it.
    pub(crate) fn job_pattern(&self) -> String {
        self.job("*")
    }

    /// Returns the transient unit in which a job's command runs: `hello-run@nightly.service`.
    pub(crate) fn job_command(&self, job: &str) -> String {
        format!("{self}-run@{job}.service")
    }

    /// Returns the units that take the next step of a canary, without their suffixes: `hello-canary@0123456789ab-6` after the one
    /// that gave it six slots. Each step has its own: a timer that has elapsed does not elapse again while what it started runs.
    pub(crate) fn canary(&self, id: &GenerationId, slots: u32) -> String {
        format!("{self}-canary@{id}-{slots}")
    }

    /// Returns the pattern of the units of all of the service's canaries, as `systemctl list-units` takes it.
    pub(crate) fn canary_pattern(&self) -> String {
        format!("{self}-canary@*")
    }

    /// Returns the template of the service's queues without its suffix: `hello-queue@`. No generation has that name.
    pub(crate) fn queue_template(&self) -> String {
        format!("{self}-queue@")
    }

    /// Returns the pattern of all of the service's queues and their relays, as `systemctl list-units` takes it.
    pub(crate) fn queue_pattern(&self) -> String {
        format!("{}*", self.queue_template())
    }

    /// Returns the lock for starting, reloading and stopping the service, below the directory of locks.
    pub(crate) fn rollout_lock(&self) -> String {
        format!("rollout/{self}")
    }

    /// Returns the lock for declaring and removing the service, below the directory of locks.
    pub(crate) fn declaration_lock(&self) -> String {
        format!("declare/{self}")
    }

    /// Returns the lock for changing the service's slots, below the directory of locks.
    pub(crate) fn slots_lock(&self) -> String {
        format!("slots/{self}")
    }
}

/// Returns whether an address may be that of a part.
pub(crate) fn is_address_of_part(address: Ipv4Addr) -> bool {
    let [first, second, block, _] = address.octets();
    (first, second) == (169, 254) && ADDRESS_BLOCKS.iter().any(|blocks| blocks.contains(&block))
}

impl Display for ServiceName {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl TryFrom<String> for ServiceName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::new(&name)
    }
}

impl From<ServiceName> for String {
    fn from(name: ServiceName) -> Self {
        name.0
    }
}

/// A generation's name: the first 12 hex digits of its digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GenerationId(String);

impl GenerationId {
    /// Length in hex digits.
    pub(crate) const LENGTH: usize = 12;

    /// Reads a generation's name, None if it is not 12 lower-case hex digits.
    pub(crate) fn new(text: &str) -> Option<Self> {
        (text.len() == Self::LENGTH && is_hex(text)).then(|| Self(text.to_owned()))
    }

    /// Takes the first digits of a digest in lower-case hex.
    pub(crate) fn of_digest(digest: &str) -> Self {
        Self(digest[..Self::LENGTH].to_owned())
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Display for GenerationId {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::str::FromStr for GenerationId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for GenerationId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::new(&text).ok_or_else(|| format!("{text:?} is not the name of a generation"))
    }
}

impl From<GenerationId> for String {
    fn from(id: GenerationId) -> Self {
        id.0
    }
}

/// A deployment's identity: an instance of a generation's template, `hello-0123456789ab@1.service`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deployment {
    pub(crate) service: ServiceName,
    pub(crate) generation: GenerationId,
    /// The number of the instance, from 1.
    pub(crate) instance: u32,
}

impl Deployment {
    /// Names an instance of a service's generation.
    pub(crate) fn new(service: &ServiceName, generation: &GenerationId, instance: u32) -> Self {
        Self { service: service.clone(), generation: generation.clone(), instance }
    }

    /// Reads the name of a deployment's service or socket unit.
    pub(crate) fn from_unit(unit: &str) -> Option<Self> {
        let stem = unit.strip_suffix(".service").or_else(|| unit.strip_suffix(".socket"))?;
        let (template, instance) = stem.split_once('@')?;
        Self::from_parts(template, instance)
    }

    /// Reads the name of a deployment's directory, container or pod: `hello-0123456789ab-1`.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        let (template, instance) = name.rsplit_once('-')?;
        Self::from_parts(template, instance)
    }

    /// Reads `hello-0123456789ab` and `1`.
    pub(crate) fn from_parts(template: &str, instance: &str) -> Option<Self> {
        let (service, generation) = template.rsplit_once('-')?;
        Some(Self {
            service: ServiceName::new(service).ok()?,
            generation: GenerationId::new(generation)?,
            instance: instance.parse().ok().filter(|instance| *instance > 0)?,
        })
    }

    /// Returns the deployment's service unit.
    pub(crate) fn unit(&self) -> String {
        format!("{}{}.service", self.service.template(&self.generation), self.instance)
    }

    /// Returns the unit of the socket at which callers reach a listener of the deployment.
    pub(crate) fn socket_unit(&self, listener: Option<&ListenerName>) -> String {
        let template = match listener {
            None => self.service.template(&self.generation),
            Some(name) => self.service.listener_template(&self.generation, name),
        };
        format!("{template}{}.socket", self.instance)
    }

    /// Returns the unit that connects callers to where the deployment listens, systemd-socket-proxyd(8).
    pub(crate) fn bridge_unit(&self, listener: Option<&ListenerName>) -> String {
        let template = match listener {
            None => self.service.bridge_template(&self.generation),
            Some(name) => self.service.listener_template(&self.generation, name),
        };
        format!("{template}{}.service", self.instance)
    }

    /// Returns the unit of the socket that the deployment takes behind a bridge.
    pub(crate) fn inner_socket_unit(&self) -> String {
        format!("{}{}.socket", self.service.inner_template(&self.generation), self.instance)
    }
}

/// Writes the name of the deployment's directory, container and pod: `hello-0123456789ab-1`.
impl Display for Deployment {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}-{}", self.service, self.generation, self.instance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str) -> ServiceName {
        ServiceName::new(name).expect("a name")
    }

    #[test]
    fn units_lead_back_to_the_deployment() {
        let id = GenerationId::new("0123456789ab").expect("an id");
        let deployment = Deployment::new(&service("web-shop"), &id, 12);
        assert_eq!(Deployment::from_unit(&deployment.unit()), Some(deployment.clone()));
        assert_eq!(Deployment::from_name(&deployment.to_string()), Some(deployment));
        assert_eq!(Deployment::from_unit("getty@tty1.service"), None);
    }

    #[test]
    fn reserved_names_are_refused() {
        for (name, _) in RESERVED {
            assert!(ServiceName::new(name).expect_err("reserved").contains("is reserved"), "{name}");
        }
        assert!(ServiceName::new("proxy-2").is_ok());
    }

    #[test]
    fn names_of_different_services_never_meet() {
        let names = ["web", "web.slots", "web.declare", "web_slots", "web-slots", "functions", "rollout"].map(service);
        let of = |name: &ServiceName| {
            let group = name.split_part().map_or_else(|| name.clone(), |(group, _)| group);
            let locks = [name.rollout_lock(), name.declaration_lock(), name.slots_lock()];
            [name.user(), name.slice(&group)].into_iter().chain(locks).collect::<Vec<_>>()
        };
        let mut all: Vec<_> = names.iter().flat_map(of).chain([FUNCTIONS_LOCK.to_owned()]).collect();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count, "{all:?}");
    }

    #[test]
    fn users_fit_useradd() {
        for name in ["web", "web.db", "a-name-of-exactly-forty-characters-00000"] {
            assert!(service(name).user().len() <= MAX_USER, "{name}");
        }
    }
}
