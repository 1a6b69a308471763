//! Runs blocking calls on separate threads with a timeout, because a blocking call may never
//! return.
//!
//! Reading `/proc/PID` can block for as long as the kernel is busy with that process. Such calls
//! must not run in the blocking pool of a tokio runtime, because the runtime waits for the threads
//! of the pool when it shuts down.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use futures::channel::oneshot;
use tokio::time::timeout;

/// The maximum number of calls that have not returned. Further calls are not started.
const MAX_THREADS: u32 = 8;

static RUNNING: AtomicU32 = AtomicU32::new(0);

/// Runs `call` on a new thread and returns its result. Returns `None` if `call` does not return
/// within `limit`, if [`MAX_THREADS`] earlier calls have not returned, or if the thread cannot be
/// started.
pub(crate) async fn blocking<T, F>(limit: Duration, call: F) -> Option<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    if RUNNING.fetch_add(1, Ordering::Relaxed) >= MAX_THREADS {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
        return None;
    }
    let (sender, result) = oneshot::channel();
    let thread = thread::Builder::new().name("blocking-call".to_owned()).spawn(move || {
        // The caller may have timed out.
        let _ = sender.send(call());
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    });
    if thread.is_err() {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
        return None;
    }
    timeout(limit, result).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_stuck_call_times_out_and_the_number_of_stuck_calls_is_limited() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let (limit, calls) = (Duration::from_millis(5), MAX_THREADS + 3);
        let mut senders = Vec::new();
        runtime.expect("build a runtime").block_on(async {
            assert_eq!(blocking(Duration::from_secs(60), || 7).await, Some(7));
            for _call in 0..calls {
                let (sender, receiver) = mpsc::channel::<()>();
                senders.push(sender);
                assert_eq!(blocking(limit, move || receiver.recv().is_ok()).await, None);
            }
        });
        assert!(RUNNING.load(Ordering::Relaxed) <= MAX_THREADS);
    }
}
