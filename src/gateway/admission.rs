//! Admission of requests: at most `max_concurrency` run, at most `max_queue` more wait for one of them to end. Of those that
//! wait, at most `max_concurrency` have a body that the gateway stores, or receives.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use crate::gateway::fault::Fault;
use crate::gateway::room::Share;
use crate::log::note;
use crate::model::function::Function;

const WAITED: &str = "it waited in the queue for longer than queue_timeout";

/// Counts the requests of a function, and limits them.
pub(crate) struct Admission {
    permits: Arc<Semaphore>,
    /// Permits to receive a body. Slow senders take these from other senders, and none of `permits`.
    receivers: Semaphore,
    in_flight: Arc<AtomicU32>,
    total: AtomicU64,
    max_in_flight: u32,
    /// The time that a request may wait.
    queue_timeout: Duration,
    /// The time that it may run then.
    timeout: Duration,
}

/// A request that runs or waits. It is counted until this is dropped.
pub(crate) struct InFlight(Arc<AtomicU32>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}

/// The right of one request to run. Another request gets it when this is dropped.
pub(crate) struct Permit {
    pub(crate) deadline: Instant,
    request: String,
    /// The room that its body takes.
    _body: Option<Share>,
    _permit: OwnedSemaphorePermit,
    _in_flight: InFlight,
}

impl Permit {
    /// Writes a line about the request to the journal.
    pub(crate) fn log(&self, text: &str) {
        note!("{}: {text}", self.request);
    }
}

impl Admission {
    pub(crate) fn new(function: &Function, timeout: Duration) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(function.max_concurrency as usize)),
            receivers: Semaphore::new(function.max_concurrency as usize),
            in_flight: Arc::default(),
            total: AtomicU64::new(0),
            max_in_flight: function.max_concurrency.saturating_add(function.max_queue),
            queue_timeout: function.queue_timeout,
            timeout,
        }
    }

    /// Returns how many requests run or wait now.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Returns how many requests have come so far, the refused ones included.
    pub(crate) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Counts a request.
    ///
    /// # Errors
    /// 503 if the queue is full.
    pub(crate) fn enter(&self) -> Result<InFlight, Fault> {
        self.total.fetch_add(1, Ordering::Relaxed);
        let in_flight = InFlight(self.in_flight.clone());
        let before = self.in_flight.fetch_add(1, Ordering::AcqRel);
        if before >= self.max_in_flight {
            return Err(Fault::busy("the queue is full: max_queue"));
        }
        Ok(in_flight)
    }

    /// Waits until the gateway may receive the body of the request. Another one has its turn when the result is dropped.
    ///
    /// # Errors
    /// 503 if it had to wait for longer than `queue_timeout`.
    pub(crate) async fn turn_to_send(&self) -> Result<SemaphorePermit<'_>, Fault> {
        let turn = timeout(self.queue_timeout, self.receivers.acquire()).await.map_err(|_| Fault::busy(WAITED))?;
        Ok(turn.expect("nothing closes the semaphore"))
    }

    /// Waits until the request may run. Its time begins then. The journal calls it `request`; `body` is the room of its body.
    ///
    /// # Errors
    /// 503 if it had to wait for longer than `queue_timeout`.
    pub(crate) async fn permit(
        &self,
        in_flight: InFlight,
        request: &str,
        body: Option<Share>,
    ) -> Result<Permit, Fault> {
        let permit = timeout(self.queue_timeout, self.permits.clone().acquire_owned()).await;
        let permit = permit.map_err(|_| Fault::busy(WAITED))?.expect("nothing closes the semaphore");
        let deadline = Instant::now() + self.timeout;
        Ok(Permit { deadline, request: request.to_owned(), _body: body, _permit: permit, _in_flight: in_flight })
    }
}
