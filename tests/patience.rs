//! Waiting for something to become true. Programs of tests include this file by its path.

use std::thread::park_timeout;
use std::time::{Duration, Instant};

/// How often is looked.
const POLL_INTERVAL: Duration = Duration::from_millis(4);
/// How long anything may take on a busy machine before it counts as never.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Waits until there is an answer, and returns it.
///
/// # Panics
///
/// When there is none in time: the panic says what was waited for.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        if let Some(answer) = look() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within {TIMEOUT:?}");
        park_timeout(POLL_INTERVAL);
    }
}
