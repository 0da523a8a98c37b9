//! The target of a Pacemaker cluster: resources and constraints for the services of machines that have conductor on each.
//!
//! A service is a clone, which runs on all nodes, or a primitive, which runs on one. Pacemaker starts, stops and watches
//! `NAME.service`; the deployments of each node stay with systemd and conductor.

mod conditions;
pub mod keys;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use askama::Template;

use crate::diagnostic::Diagnostics;
use crate::model::{Model, Service};
use crate::names::ServiceName;
use crate::source::search::Declared;
use crate::target::{Export, Input, Vocabulary};
use crate::tree::Tree;

/// The time between two looks of Pacemaker at a resource, in seconds.
const INTERVAL: u64 = 5;
/// The limit of such a look, in seconds.
const MONITOR: u64 = 20;
/// The score by which a resource stays where it is when a node comes back.
const STICKINESS: u32 = 100;
/// The id of the address.
const ADDRESS: &str = "conductor-address";

/// What the cluster is besides its services.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    /// The names of its nodes, as `uname -n` has them there.
    pub nodes: Vec<String>,
    /// An address that moves with the services.
    pub address: Option<Address>,
    /// Services that run on one node at a time.
    pub single: BTreeSet<ServiceName>,
    /// The keys whose loss is accepted, of [`keys::acceptable`].
    pub accepted: BTreeSet<String>,
}

impl Vocabulary for Cluster {
    fn systemd(&self) -> Option<u16> {
        None
    }

    fn refuse(&self, declared: &Declared, model: &Model) -> Diagnostics {
        keys::refuse(self, declared, model)
    }
}

impl Export for Cluster {
    fn head(&self) -> &'static str {
        ""
    }

    /// The resources of all services are in one file: their constraints name each other.
    fn service(&self, _: Input) -> Result<Tree, Diagnostics> {
        Ok(Tree::default())
    }

    fn shared(&self, services: &[&Model]) -> Result<Tree, Diagnostics> {
        let services: Vec<_> = services.iter().map(|model| &model.service).collect();
        let mut tree = Tree::default();
        tree.file("cib.xml", render(&services, self));
        Ok(tree)
    }
}

/// An address, and the length of its network's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    ip: IpAddr,
    prefix: Option<u8>,
}

impl std::str::FromStr for Address {
    type Err = String;

    /// Reads `192.0.2.1` or `192.0.2.1/24`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write an address such as 192.0.2.1 or 192.0.2.1/24".to_owned();
        let (ip, prefix) = text.split_once('/').map_or((text, None), |(ip, prefix)| (ip, Some(prefix)));
        let ip: IpAddr = ip.parse().map_err(|_| wrong())?;
        let longest = if ip.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map(|prefix| prefix.parse().ok().filter(|prefix| *prefix <= longest).ok_or_else(wrong));
        Ok(Self { ip, prefix: prefix.transpose()? })
    }
}

#[derive(Template)]
#[template(path = "pacemaker/cib.xml", escape = "html")]
struct Configuration<'a> {
    interval: u64,
    monitor: u64,
    stickiness: u32,
    resources: Vec<Resource<'a>>,
    address: Option<AddressResource>,
    orders: Vec<Order>,
    colocations: Vec<Colocation>,
    bans: Vec<Ban<'a>>,
}

/// A service as a resource.
struct Resource<'a> {
    /// The id that constraints name: the clone's, or the primitive's.
    id: String,
    primitive: String,
    service: &'a ServiceName,
    is_clone: bool,
    /// Limits of operations, in seconds.
    start: u64,
    stop: u64,
}

struct AddressResource {
    id: &'static str,
    ip: IpAddr,
    prefix: Option<u8>,
}

/// A resource that starts after another one, and stops before it.
struct Order {
    first: String,
    then: String,
}

/// A resource that runs where another one does.
struct Colocation {
    resource: String,
    with: String,
}

/// A node on which a resource never runs.
struct Ban<'a> {
    resource: String,
    node: &'a str,
}

/// Renders services as a fragment of the cluster's configuration, pacemaker's `cib`.
fn render(services: &[&Service], cluster: &Cluster) -> String {
    let mut declared: BTreeMap<&ServiceName, Vec<&Service>> = BTreeMap::new();
    for service in services {
        declared.entry(service.declared_as()).or_default().push(service);
    }
    let resources: Vec<_> = declared.iter().map(|(name, parts)| resource(name, parts, cluster)).collect();
    let id = |name: &ServiceName| resource_id(name, cluster);
    let mut configuration = Configuration {
        interval: INTERVAL,
        monitor: MONITOR,
        stickiness: STICKINESS,
        resources,
        address: cluster.address.map(|Address { ip, prefix }| AddressResource { id: ADDRESS, ip, prefix }),
        orders: Vec::new(),
        colocations: Vec::new(),
        bans: Vec::new(),
    };
    for (name, parts) in &declared {
        let dependencies = parts.first().map(|part| part.dependencies()).unwrap_or_default();
        for dependency in dependencies.iter().filter(|dependency| declared.contains_key(&dependency.name)) {
            configuration.orders.push(Order { first: id(&dependency.name), then: id(name) });
        }
        if cluster.address.is_some() && parts.iter().any(|part| is_called(part)) {
            configuration.orders.push(Order { first: id(name), then: ADDRESS.to_owned() });
            configuration.colocations.push(Colocation { resource: ADDRESS.to_owned(), with: id(name) });
        }
        let excluded = cluster.nodes.iter().filter(|node| !parts.iter().all(|part| conditions::hold(part, node)));
        configuration.bans.extend(excluded.map(|node| Ban { resource: id(name), node }));
    }
    configuration.render().expect("a template without fallible filters")
}

fn resource<'a>(name: &'a ServiceName, parts: &[&Service], cluster: &Cluster) -> Resource<'a> {
    let sum = |limit: fn(&Service) -> Duration| parts.iter().map(|part| limit(part)).sum::<Duration>().as_secs();
    Resource {
        id: resource_id(name, cluster),
        primitive: xml_id(name),
        service: name,
        is_clone: !cluster.single.contains(name),
        // The parts of a service may start one after the other.
        start: sum(Service::rollout_limit),
        stop: sum(Service::shutdown_limit),
    }
}

fn resource_id(name: &ServiceName, cluster: &Cluster) -> String {
    let id = xml_id(name);
    if cluster.single.contains(name) { id } else { format!("{id}-clone") }
}

/// Returns the name as an id of XML, which begins with a letter.
fn xml_id(name: &ServiceName) -> String {
    let is_letter = name.as_str().starts_with(|c: char| c.is_ascii_alphabetic());
    if is_letter { name.to_string() } else { format!("service-{name}") }
}

/// Returns whether callers from elsewhere reach the service.
fn is_called(service: &Service) -> bool {
    !service.routes.is_empty() || !service.ports.is_empty()
}
