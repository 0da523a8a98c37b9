//! Whether the kernel has IPv6: a proxy cannot listen where it has none.

use crate::layout::Layout;

/// Returns whether sockets of IPv6 can be made. A root without /proc has all that kernels have.
pub(super) fn is_there(layout: &Layout) -> bool {
    let exists = |path: &str| layout.at(path.into()).exists();
    exists("/proc/sys/net/ipv6") || !exists("/proc/sys/net")
}
