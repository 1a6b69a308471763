//! Looks at the system that may take for ever, on threads of their own that nobody waits for.
//!
//! To read of a process that the kernel is busy with can block for as long as the kernel is. A
//! runtime waits for its own threads when it ends, so this is not for them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use futures::channel::oneshot;
use tokio::time::timeout;

/// So many looks may be stuck; then no more are begun.
const MOST: u32 = 8;

static BEGUN: AtomicU32 = AtomicU32::new(0);

/// Looks, and answers in time or not at all.
pub(crate) async fn blocking<T, F>(patience: Duration, look: F) -> Option<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    if BEGUN.fetch_add(1, Ordering::Relaxed) >= MOST {
        BEGUN.fetch_sub(1, Ordering::Relaxed);
        return None;
    }
    let (found, answer) = oneshot::channel();
    let thread = thread::Builder::new().name("look".to_owned()).spawn(move || {
        // Who has asked may have lost patience.
        let _ = found.send(look());
        BEGUN.fetch_sub(1, Ordering::Relaxed);
    });
    if thread.is_err() {
        BEGUN.fetch_sub(1, Ordering::Relaxed);
        return None;
    }
    timeout(patience, answer).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_look_that_is_stuck_is_not_waited_for_and_a_few_of_them_are_enough() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let (stuck, looks) = (Duration::from_millis(5), MOST + 3);
        let mut ends = Vec::new();
        runtime.expect("a runtime").block_on(async {
            assert_eq!(blocking(Duration::from_secs(60), || 7).await, Some(7));
            for _look in 0..looks {
                let (end, waits) = mpsc::channel::<()>();
                ends.push(end);
                assert_eq!(blocking(stuck, move || waits.recv().is_ok()).await, None);
            }
        });
        assert!(BEGUN.load(Ordering::Relaxed) <= MOST);
    }
}
