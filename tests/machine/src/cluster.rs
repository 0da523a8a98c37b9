//! Machines that reach each other over a network of their own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::command::host;
use crate::machine::{Machine, Packages, Place, Suite};

/// Machines on one network. The hosts are named n1, n2, …
pub struct Cluster {
    pub machines: Vec<Machine>,
    // Declared after the machines, so that it is removed after them.
    _network: Network,
}

impl Cluster {
    /// Boots so many fresh machines.
    pub fn boot(suite: &Suite, count: usize) -> Self {
        let network = Network::create(count).expect("a network for machines");
        let place = |number| Place {
            hostname: format!("n{number}"),
            network: Some(network.namespace(number)),
            runs_kubelet: suite.packages == Packages::Kubernetes,
        };
        // One after the other: a machine ends with the thread that has started it.
        let machines = (1..=count).map(place).map(|place| Machine::boot_at(suite, place)).collect();
        Self { machines, _network: network }
    }

    /// Returns the address of a machine by its number, from 1.
    pub fn address(number: usize) -> String {
        format!("10.77.0.1{number}")
    }
}

/// A bridge in a network namespace, and a namespace joined to it for each machine. They are in the mount namespace of
/// this process alone, ip-netns(8), and so end with it.
struct Network {
    name: String,
    count: usize,
}

impl Network {
    fn create(count: usize) -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("conductor-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let network = Self { name, count };
        let bridge = network.bridge();
        ip(&format!("netns add {bridge}"))?;
        ip(&format!("-n {bridge} link set lo up"))?;
        ip(&format!("-n {bridge} link add br0 type bridge"))?;
        ip(&format!("-n {bridge} addr add 10.77.0.1/24 dev br0"))?;
        ip(&format!("-n {bridge} link set br0 up"))?;
        for number in 1..=count {
            let namespace = network.machine(number);
            ip(&format!("netns add {namespace}"))?;
            ip(&format!("-n {bridge} link add p{number} type veth peer name eth0 netns {namespace}"))?;
            ip(&format!("-n {bridge} link set p{number} master br0 up"))?;
            ip(&format!("-n {namespace} link set lo up"))?;
            ip(&format!("-n {namespace} addr add {}/24 dev eth0", Cluster::address(number)))?;
            ip(&format!("-n {namespace} link set eth0 up"))?;
            ip(&format!("-n {namespace} route add default via 10.77.0.1"))?;
        }
        Ok(network)
    }

    fn bridge(&self) -> String {
        format!("{}-0", self.name)
    }

    fn machine(&self, number: usize) -> String {
        format!("{}-{number}", self.name)
    }

    /// Returns the file of a machine's network namespace.
    fn namespace(&self, number: usize) -> PathBuf {
        Path::new("/run/netns").join(self.machine(number))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let machines = (1..=self.count).map(|number| self.machine(number));
        for namespace in machines.chain([self.bridge()]) {
            let _ = ip(&format!("netns delete {namespace}"));
        }
    }
}

/// Runs ip(8) on the host.
fn ip(arguments: &str) -> Result<String, String> {
    host(Command::new("ip").args(arguments.split(' ')))
}
