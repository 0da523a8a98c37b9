//! The room that the stored bodies of a gateway's requests share, so that callers cannot fill the memory or the disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::gateway::fault::Fault;

/// Bytes of all stored bodies together. A function whose `max_body` is larger has room for one body of that size.
const SIZE: u64 = 256 << 20;

/// The room for bodies, in bytes.
pub(crate) struct Room(Arc<AtomicU64>);

/// The part of the room that the body of one request takes. It is free again when this is dropped.
pub(crate) struct Share {
    free: Arc<AtomicU64>,
    bytes: u64,
}

impl Room {
    pub(crate) fn new(max_body: u64) -> Self {
        Self(Arc::new(AtomicU64::new(SIZE.max(max_body))))
    }

    /// Takes the room for a body of so many bytes.
    ///
    /// # Errors
    /// 503 if there is not as much.
    pub(crate) fn take(&self, bytes: u64) -> Result<Share, Fault> {
        let mut share = Share { free: self.0.clone(), bytes: 0 };
        share.grow(bytes)?;
        Ok(share)
    }
}

impl Share {
    /// Takes more room, until the share has `bytes`.
    ///
    /// # Errors
    /// 503 if there is not as much.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), Fault> {
        let more = bytes.saturating_sub(self.bytes);
        let take = |free: u64| free.checked_sub(more);
        let taken = self.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, take);
        taken.map_err(|_| Fault::busy("bodies of other requests take all room for bodies"))?;
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.free.fetch_add(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_share_the_room_and_give_it_back() {
        let room = Room::new(0);
        let mut one = room.take(SIZE - 10).expect("room");
        let other = room.take(10).expect("room");
        assert!(one.grow(SIZE - 9).is_err() && room.take(1).is_err());
        drop(other);
        one.grow(SIZE).expect("room");
        drop(one);
        assert!(room.take(SIZE).is_ok() && room.take(SIZE + 1).is_err());
        assert!(Room::new(2 * SIZE).take(2 * SIZE).is_ok(), "one body of max_body");
    }
}
