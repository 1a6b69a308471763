//! Calls that can block, on threads of their own.
//!
//! Reading `/proc/PID` can block for as long as the kernel is busy with that process, and opening a
//! file for as long as its file system does not answer. Such calls must not run in the blocking
//! pool of a tokio runtime, because the runtime waits for the threads of the pool when it shuts
//! down.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use daemon_core::format;
use futures::channel::oneshot;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::time::{Instant, timeout, timeout_at};

/// The calls of one purpose. Each runs on a new thread, after the previous one has returned. So
/// calls that do not return take one thread, and do not keep those of another purpose from being
/// started.
#[derive(Debug)]
pub(crate) struct BlockingCalls {
    turn: Semaphore,
}

/// Why a blocking call has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoResult {
    #[error("not started, because the previous call has not returned")]
    NotStarted,
    #[error("no thread can be started")]
    NoThread,
    #[error("not done within {}", format::duration(*.0))]
    TooLate(Duration),
    #[error("it has panicked")]
    Panicked,
}

impl BlockingCalls {
    pub(crate) const fn new() -> BlockingCalls {
        BlockingCalls { turn: Semaphore::const_new(1) }
    }

    /// Waits until the previous call has returned, runs `call`, and returns its result, all within
    /// `limit`.
    pub(crate) async fn run<T, F>(&'static self, limit: Duration, call: F) -> Result<T, NoResult>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let deadline = Instant::now() + limit;
        let Ok(Ok(turn)) = timeout_at(deadline, self.turn.acquire()).await else {
            return Err(NoResult::NotStarted);
        };
        let (sender, result) = oneshot::channel();
        let is_started = start(move || {
            let _turn = turn;
            // The caller may have timed out when the result is sent.
            drop(sender.send(call()));
        });
        if !is_started {
            return Err(NoResult::NoThread);
        }
        match timeout_at(deadline, result).await {
            Ok(result) => result.map_err(|_dropped| NoResult::Panicked),
            Err(_elapsed) => Err(NoResult::TooLate(limit)),
        }
    }
}

/// The maximum number of threads of [`each`] whose calls have not returned.
const MAX_THREADS: u32 = 8;

/// Calls `read` for each of these processes, on one thread. A process whose call does not return
/// within `patience` is left out, and the others are read on another thread. It is not read again
/// before that call has returned. If [`MAX_THREADS`] threads are busy, nothing is read.
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
        let Some(running) = RunningThread::new() else { break };
        let is_started = start(move || {
            let _running = running;
            read_all(&pids, read, &sender);
        });
        if !is_started {
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

/// Counts a thread of [`each`] until it ends, also if its call panics.
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

/// Starts a thread. Returns whether this was possible.
fn start(call: impl FnOnce() + Send + 'static) -> bool {
    thread::Builder::new().name("blocking-call".to_owned()).spawn(call).is_ok()
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
    fn a_call_that_does_not_return_delays_only_calls_of_its_own_purpose() {
        static HANGING: BlockingCalls = BlockingCalls::new();
        static OTHER: BlockingCalls = BlockingCalls::new();
        const SHORT: Duration = Duration::from_millis(1);
        run(async {
            let (sender, receiver) = sync_mpsc::channel::<u32>();
            let hangs = HANGING.run(SHORT, move || receiver.recv());
            assert_eq!(hangs.await, Err(NoResult::TooLate(SHORT)));
            for _scan in 0..3 {
                let next = HANGING.run(SHORT, || panic!("not started"));
                assert_eq!(next.await, Err::<(), _>(NoResult::NotStarted));
            }
            assert_eq!(OTHER.run(LIMIT, || "done").await, Ok("done"));
            // Dropping the sender makes the blocked call return.
            drop(sender);
            assert_eq!(HANGING.run(LIMIT, || "done").await, Ok("done"));
        });
    }

    #[test]
    fn a_call_that_panics_does_not_keep_later_calls_from_being_started() {
        static CALLS: BlockingCalls = BlockingCalls::new();
        run(async {
            let panics = CALLS.run(LIMIT, || panic!("on purpose"));
            assert_eq!(panics.await, Err::<(), _>(NoResult::Panicked));
            assert_eq!(CALLS.run(LIMIT, || "done").await, Ok("done"));
        });
    }

    #[test]
    fn calls_of_one_purpose_run_one_after_the_other() {
        static CALLS: BlockingCalls = BlockingCalls::new();
        static ACTIVE: AtomicU32 = AtomicU32::new(0);
        run(async {
            let calls = (0..20).map(|_call| {
                CALLS.run(LIMIT, || {
                    let others = ACTIVE.fetch_add(1, Ordering::Relaxed);
                    thread::yield_now();
                    ACTIVE.fetch_sub(1, Ordering::Relaxed);
                    others
                })
            });
            assert_eq!(futures::future::join_all(calls).await, vec![Ok(0); 20]);
        });
    }

    #[test]
    fn a_thread_for_reading_processes_is_not_started_while_many_are_busy() {
        run(async {
            let busy: Vec<_> = (0..MAX_THREADS).map(|_thread| RunningThread::new()).collect();
            assert_eq!(each(vec![1], (LIMIT, LIMIT), |pid| pid).await, HashMap::new());
            drop(busy);
            assert_eq!(each(vec![1], (LIMIT, LIMIT), |pid| pid).await, HashMap::from([(1, 1)]));
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
