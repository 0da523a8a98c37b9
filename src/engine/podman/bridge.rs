//! The bridge of a container's network on the host, which is the container's gateway.
//!
//! A bridge takes the lowest hardware address of its ports, unless it was given one. The netavark of podman 4.3 gives it none:
//! when another container starts or stops, the gateway has another address, and containers send to the old one until they ask
//! again, up to half a minute later. Newer ones give it one.

use fs_err as fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

/// `NET_ADDR_SET` of the kernel's netdevice.h: an address that somebody has set.
const SET: &str = "3";

/// Makes the bridge to a container keep its hardware address.
///
/// # Errors
/// If the kernel does not tell, or ip(8) cannot set it.
pub(crate) fn keep_address(container: Ipv4Addr) -> io::Result<()> {
    let Some(bridge) = interface_to(&fs::read_to_string("/proc/net/route")?, container) else { return Ok(()) };
    let dir = Path::new("/sys/class/net").join(&bridge);
    if !dir.join("bridge").exists() || fs::read_to_string(dir.join("addr_assign_type"))?.trim() == SET {
        return Ok(());
    }
    let address = fs::read_to_string(dir.join("address"))?;
    let set = Command::new("ip").args(["link", "set", "dev", &bridge, "address", address.trim()]).output()?;
    match set.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(String::from_utf8_lossy(&set.stderr).trim().to_owned())),
    }
}

/// Finds the interface of the network that has an address, in a table of proc_pid_net(5): a line has the interface, and as
/// hexadecimal numbers of this machine the destination, …, and in the eighth place the mask.
fn interface_to(table: &str, address: Ipv4Addr) -> Option<String> {
    let number = u32::from_ne_bytes(address.octets());
    let hex = |word: &str| u32::from_str_radix(word, 16).ok();
    table.lines().skip(1).find_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let [interface, destination, _, _, _, _, _, mask, ..] = words[..] else { return None };
        let (destination, mask) = (hex(destination)?, hex(mask)?);
        (mask != 0 && number & mask == destination).then(|| interface.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_its_interface() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                     eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                     podman0\t0000580A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        if cfg!(target_endian = "little") {
            assert_eq!(interface_to(table, Ipv4Addr::new(10, 88, 0, 11)).as_deref(), Some("podman0"));
            assert_eq!(interface_to(table, Ipv4Addr::new(10, 89, 0, 11)), None);
        }
    }
}
