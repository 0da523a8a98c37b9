//! The network of a container or pod, as podman reports it.

use std::net::IpAddr;

use crate::engine::podman::run::podman;
use crate::error::{Error, Result};

/// Addresses, one a network, and the network namespace.
const FORMAT: &str = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}\n{{.NetworkSettings.SandboxKey}}";

/// The network of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Network {
    /// The address in the first of its networks that assigns one.
    pub(crate) address: Option<IpAddr>,
    /// The path of its network namespace; None for the host's.
    pub(crate) namespace: Option<String>,
}

/// Asks podman for the network of a running container.
///
/// # Errors
/// If podman fails.
pub(crate) fn of(container: &str) -> Result<Network> {
    let output = podman(&["container", "inspect", "--format", FORMAT, container])?;
    parse(&output).ok_or_else(|| Error(format!("podman reports no network of {container}: {output:?}")))
}

fn parse(output: &str) -> Option<Network> {
    let (addresses, namespace) = output.split_once('\n').unwrap_or((output, ""));
    let address = addresses.split_whitespace().map(str::parse).next().transpose().ok()?;
    let namespace = Some(namespace.trim().to_owned()).filter(|path| !path.is_empty());
    Some(Network { address, namespace })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_podman_writes_them() {
        let network = parse("10.89.0.2 10.90.0.7 \n/run/netns/netns-1").expect("a network");
        assert_eq!(network.address, Some("10.89.0.2".parse().expect("an address")));
        assert_eq!(network.namespace.as_deref(), Some("/run/netns/netns-1"));
        assert_eq!(parse(" \n"), Some(Network { address: None, namespace: None }));
        assert_eq!(parse("<no value> \n"), None);
    }
}
