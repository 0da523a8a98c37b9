//! Addresses and networks of clients and proxies.

use std::net::IpAddr;

/// Returns whether a text is an address, or a network by the length of its prefix: `10.0.0.0/8`.
pub(crate) fn is(text: &str) -> bool {
    let (address, length) = text.split_once('/').unwrap_or((text, "0"));
    let longest = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    length.parse::<u8>().is_ok_and(|length| length <= longest)
}
