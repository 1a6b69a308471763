//! Calls that can block, on threads of their own.
//!
//! Reading `/proc/PID` can block for as long as the kernel is busy with that process, and opening a
//! file for as long as its file system does not answer. Such calls must not run in the blocking pool
//! of a tokio runtime, because the runtime waits for the threads of the pool when it shuts down.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use futures::channel::oneshot;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::time::{Instant, timeout};

/// The maximum number of calls that have not returned. Further calls are not started.
const MAX_THREADS: u32 = 8;

/// Runs `call` on a new thread and returns its result.
///
/// Returns `None` if `call` panics or does not return within `limit`, if [`MAX_THREADS`] earlier
/// calls have not returned, or if the thread cannot be started.
pub(crate) async fn blocking<T, F>(limit: Duration, call: F) -> Option<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let (sender, result) = oneshot::channel();
    // The caller may have timed out when the result is sent.
    let is_started = start(move || drop(sender.send(call())));
    if !is_started {
        return None;
    }
    timeout(limit, result).await.ok()?.ok()
}

/// Calls `read` for each of these processes, on one thread. A process whose call does not return
/// within `patience` is left out, and the others are read on another thread. It is not read again
/// before that call has returned.
///
/// Returns the results that there are after `limit`.
pub(crate) async fn each<T: Send + 'static>(
    pids: Vec<u32>,
    (patience, limit): (Duration, Duration),
    read: fn(u32) -> T,
) -> HashMap<u32, T> {
    let mut found = HashMap::new();
    let deadline = Instant::now() + limit;
    let mut rest: VecDeque<u32> = {
        let stuck = stuck();
        pids.into_iter().filter(|pid| !stuck.contains(pid)).collect()
    };
    while !rest.is_empty() && Instant::now() < deadline {
        let (sender, mut values) = mpsc::unbounded_channel();
        let pids = Vec::from(rest.clone());
        if !start(move || read_all(&pids, read, &sender)) {
            break;
        }
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match timeout(patience.min(left), values.recv()).await {
                Ok(Some((pid, value))) => {
                    rest.pop_front();
                    found.insert(pid, value);
                }
                // All processes have been read, or the call has panicked.
                Ok(None) => return found,
                Err(_elapsed) => {
                    let late = rest.pop_front();
                    stuck().extend(late);
                    // From now on the thread cannot send, and removes the process from the set.
                    values.close();
                    while let Ok((pid, value)) = values.try_recv() {
                        stuck().remove(&pid);
                        rest.retain(|other| *other != pid);
                        found.insert(pid, value);
                    }
                    break;
                }
            }
        }
    }
    found
}

fn read_all<T>(pids: &[u32], read: fn(u32) -> T, values: &UnboundedSender<(u32, T)>) {
    for pid in pids {
        if values.send((*pid, read(*pid))).is_err() {
            stuck().remove(pid);
            return;
        }
    }
}

/// The processes that [`each`] has given up, until their call returns.
static STUCK: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

fn stuck() -> MutexGuard<'static, BTreeSet<u32>> {
    STUCK.lock().unwrap_or_else(PoisonError::into_inner)
}

static RUNNING: AtomicU32 = AtomicU32::new(0);

/// Counts a thread until it ends, also if its call panics.
struct RunningThread;

impl RunningThread {
    fn new() -> Option<RunningThread> {
        let thread = RunningThread;
        (RUNNING.fetch_add(1, Ordering::Relaxed) < MAX_THREADS).then_some(thread)
    }
}

impl Drop for RunningThread {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Starts a thread. Returns `false` if there is none for this call.
fn start(call: impl FnOnce() + Send + 'static) -> bool {
    let Some(running) = RunningThread::new() else { return false };
    let thread = thread::Builder::new().name("blocking-call".to_owned());
    let call = move || {
        let _running = running;
        call();
    };
    thread.spawn(call).is_ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::mpsc as sync_mpsc;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    /// The tests share the threads, so they run one after the other.
    static TURN: Mutex<()> = Mutex::new(());

    /// Runs a test that uses the threads.
    pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        actix::System::new().block_on(test)
    }

    /// Waits until no more than this number of threads run.
    async fn until_running(threads: u32) {
        while RUNNING.load(Ordering::Relaxed) > threads {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn calls_that_do_not_return_are_given_up_and_their_number_is_limited() {
        run(async {
            let mut senders = Vec::new();
            for _ in 0..MAX_THREADS {
                let (sender, receiver) = sync_mpsc::channel::<u32>();
                assert_eq!(blocking(Duration::from_millis(1), move || receiver.recv()).await, None);
                senders.push(sender);
            }
            assert_eq!(blocking(LIMIT, || "not started").await, None);
            assert_eq!(each(vec![1], (LIMIT, LIMIT), |pid| pid).await, HashMap::new());
            // Dropping a sender makes a blocked call return.
            senders.clear();
            until_running(0).await;
            assert_eq!(blocking(LIMIT, || "done").await, Some("done"));
        });
    }

    #[test]
    fn a_call_that_panics_takes_no_thread_from_later_calls() {
        run(async {
            for _ in 0..3 * MAX_THREADS {
                assert_eq!(blocking(LIMIT, || -> u32 { panic!("on purpose") }).await, None);
            }
            until_running(0).await;
            assert_eq!(blocking(LIMIT, || "done").await, Some("done"));
        });
    }

    /// The processes whose read blocks in the test.
    static BLOCKED: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

    fn blocked() -> MutexGuard<'static, BTreeSet<u32>> {
        BLOCKED.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(pid: u32) -> u32 {
        while blocked().contains(&pid) {
            thread::yield_now();
        }
        pid * 2
    }

    #[test]
    fn processes_that_cannot_be_read_do_not_keep_the_others_from_being_read() {
        run(async {
            let pids: Vec<u32> = (1..=20).collect();
            let patience = (Duration::from_millis(50), LIMIT);
            let sorted = |found: HashMap<u32, u32>| {
                let mut found: Vec<_> = found.into_iter().collect();
                found.sort_unstable();
                found
            };
            let without = |left_out: &[u32]| {
                let pids = pids.iter().filter(|pid| !left_out.contains(pid));
                pids.map(|pid| (*pid, pid * 2)).collect::<Vec<_>>()
            };
            *blocked() = BTreeSet::from([1, 7, 20]);
            let first = sorted(each(pids.clone(), patience, read).await);
            assert_eq!(first, without(&[1, 7, 20]));
            // They are not even tried again, so they take no more threads.
            for _ in 0..MAX_THREADS {
                let next = sorted(each(pids.clone(), patience, read).await);
                assert_eq!(next, without(&[1, 7, 20]));
                until_running(3).await;
            }
            blocked().clear();
            until_running(0).await;
            assert_eq!(sorted(each(pids.clone(), patience, read).await), without(&[]));
        });
    }

    #[test]
    fn a_late_result_at_the_very_end_of_the_patience_is_used_or_read_again_later() {
        run(async {
            for _ in 0..200 {
                let found = each(vec![1, 2, 3], (Duration::ZERO, LIMIT), read).await;
                assert!(found.iter().all(|(pid, value)| *value == pid * 2));
                until_running(0).await;
                assert!(stuck().is_empty());
            }
        });
    }
}
