//! Work on many items by two threads: more would wait for each other in the directories that they read and write.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Items that a thread takes at a time.
const CHUNK: usize = 8;

/// Returns what `work` makes of each item, in their order; a second thread takes its share.
pub fn in_parallel<T: Sync, U: Send>(items: &[T], work: impl Fn(&T) -> U + Sync) -> Vec<U> {
    let next = AtomicUsize::new(0);
    let share = || {
        let mut made = Vec::new();
        loop {
            let start = next.fetch_add(CHUNK, Ordering::Relaxed);
            let Some(rest) = items.get(start..).filter(|rest| !rest.is_empty()) else { return made };
            made.extend(rest.iter().take(CHUNK).enumerate().map(|(index, item)| (start + index, work(item))));
        }
    };
    let mut made = thread::scope(|scope| {
        // Where there can be no second thread, the first does all.
        let helper = (items.len() > CHUNK).then(|| thread::Builder::new().spawn_scoped(scope, share));
        let mut made = share();
        if let Some(Ok(helper)) = helper {
            made.extend(helper.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        made
    });
    made.sort_unstable_by_key(|(index, _)| *index);
    made.into_iter().map(|(_, of_it)| of_it).collect()
}
