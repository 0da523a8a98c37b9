//! The time limit of a connection: hyper itself waits for ever for a client that does not read.

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// The time at which a connection is closed, if there is one.
#[derive(Clone)]
pub(crate) struct Connection(watch::Sender<Option<Instant>>);

impl Connection {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Removes the limit: a request has come, and is not answered yet.
    pub(crate) fn keep_open(&self) {
        self.0.send_replace(None);
    }

    /// Sets the limit.
    pub(crate) fn close_at(&self, time: Instant) {
        self.0.send_replace(Some(time));
    }

    /// Returns when the connection has to be closed.
    pub(crate) async fn overdue(&self) {
        let mut limit = self.0.subscribe();
        loop {
            let now = *limit.borrow_and_update();
            let over = async {
                match now {
                    Some(time) => sleep_until(time).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                changed = limit.changed() => changed.expect("this value has a sender"),
                () = over => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    #[test]
    fn a_limit_ends_a_connection_unless_it_is_removed() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let connection = Connection::new();
            let is_overdue = async || timeout(Duration::from_millis(20), connection.overdue()).await.is_ok();
            assert!(!is_overdue().await, "no limit");
            connection.close_at(Instant::now());
            assert!(is_overdue().await);
            connection.keep_open();
            assert!(!is_overdue().await, "the next request");
        });
    }
}
