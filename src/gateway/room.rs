//! The room that the stored bodies of a gateway's requests share, so that callers cannot fill the memory or the disk.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::gateway::fault::Fault;

/// Bytes of all stored bodies together, beside the one that may exceed them.
const SIZE: u64 = 256 << 20;
/// Bytes that are taken and given back at a time.
const PAGE: u64 = 64 << 10;

/// The room for bodies.
///
/// Bodies take room as they come, so that a client takes none by announcing a body. When there is none, one body at a time may
/// exceed it: otherwise bodies that are half received could wait for each other.
pub(crate) struct Room {
    pages: Arc<Semaphore>,
    excess: Arc<Semaphore>,
}

/// The part of the room that the body of one request takes. It is free again when this is dropped.
pub(crate) struct Share {
    pages: Arc<Semaphore>,
    excess: Arc<Semaphore>,
    taken: Option<OwnedSemaphorePermit>,
    exceeds: Option<OwnedSemaphorePermit>,
}

impl Room {
    pub(crate) fn new() -> Self {
        Self { pages: Arc::new(Semaphore::new((SIZE / PAGE) as usize)), excess: Arc::new(Semaphore::new(1)) }
    }

    /// Returns a share that takes no room yet.
    pub(crate) fn share(&self) -> Share {
        Share { pages: self.pages.clone(), excess: self.excess.clone(), taken: None, exceeds: None }
    }
}

impl Share {
    /// Takes more room, until the share has that of a body of `bytes`. Waits as long as `limit` until bodies of other requests
    /// give room back.
    ///
    /// # Errors
    /// 503 if they have not.
    pub(crate) async fn grow(&mut self, bytes: u64, limit: Duration) -> Result<(), Fault> {
        let has = self.taken.as_ref().map_or(0, OwnedSemaphorePermit::num_permits) as u64;
        let more = bytes.div_ceil(PAGE).saturating_sub(has);
        if more == 0 || self.exceeds.is_some() {
            return Ok(());
        }
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        timeout(limit, self.take(more))
            .await
            .map_err(|_| Fault::busy("bodies of other requests take all room for bodies"))
    }

    async fn take(&mut self, pages: u32) {
        tokio::select! {
            biased;
            more = owned(&self.pages, pages) => match &mut self.taken {
                Some(taken) => taken.merge(more),
                None => self.taken = Some(more),
            },
            excess = owned(&self.excess, 1) => self.exceeds = Some(excess),
        }
    }
}

fn owned(semaphore: &Arc<Semaphore>, permits: u32) -> impl Future<Output = OwnedSemaphorePermit> + use<> {
    let acquired = semaphore.clone().acquire_many_owned(permits);
    async move { acquired.await.expect("nothing closes the semaphore") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_share_the_room_and_give_it_back() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let room = Room::new();
            let grow = async |share: &mut Share, bytes| share.grow(bytes, Duration::from_millis(10)).await.is_ok();
            let (mut one, mut other, mut third) = (room.share(), room.share(), room.share());
            assert!(grow(&mut one, SIZE - 1).await && grow(&mut one, SIZE).await);
            assert!(grow(&mut other, 1).await && grow(&mut other, 4 * SIZE).await, "one may exceed the room");
            assert!(!grow(&mut third, 1).await, "only one");
            drop(other);
            assert!(grow(&mut third, 1).await && third.exceeds.is_some());
            drop((one, third));
            let mut all = room.share();
            assert!(grow(&mut all, SIZE).await && all.exceeds.is_none(), "it was given back");
        });
    }

    #[test]
    fn who_waits_gets_what_others_give_back() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let room = Room::new();
            let (mut one, mut exceeds, mut waits) = (room.share(), room.share(), room.share());
            one.grow(SIZE, Duration::ZERO).await.expect("room");
            exceeds.grow(1, Duration::ZERO).await.expect("an excess");
            let freed = async {
                tokio::task::yield_now().await;
                drop(one);
            };
            let (outcome, ()) = tokio::join!(waits.grow(SIZE, Duration::from_secs(60)), freed);
            assert!(outcome.is_ok() && waits.exceeds.is_none());
        });
    }
}
