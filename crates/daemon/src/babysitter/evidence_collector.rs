//! Requests backtraces from children, from one child at a time and with a timeout.

use std::cell::RefCell;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use daemon_sys::process::Pid;
use daemon_sys::trace::BacktraceRequester;
use tokio::time::timeout;

/// The time that a child has to answer a backtrace request. The child's signal handler runs at
/// once, unless the child is stopped, blocks the signal, or is in an uninterruptible sleep.
const TIMEOUT: Duration = Duration::from_millis(100);

/// The result of a backtrace request.
#[derive(Debug)]
pub(super) enum Answer {
    /// The addresses of the child's frames, innermost first.
    At(Vec<usize>),
    /// The child did not answer in time, or the runtime cannot watch for the answer.
    None,
    /// No request was sent, because another request was pending or there is no requester.
    NotRequested,
}

/// Requests backtraces. Only one request at a time can be pending.
#[derive(Debug, Clone)]
pub(crate) struct EvidenceCollector {
    requester: Rc<RefCell<Option<BacktraceRequester>>>,
}

impl EvidenceCollector {
    pub(crate) fn new(requester: Option<BacktraceRequester>) -> EvidenceCollector {
        EvidenceCollector { requester: Rc::new(RefCell::new(requester)) }
    }

    /// Requests the backtrace of a process. `signal` must send the process the signal that requests
    /// the backtrace. Does nothing if there is no requester. If another request is pending, also
    /// does nothing instead of waiting, because steps against different rogues must not wait for
    /// each other.
    pub(super) fn trace<F: FnOnce()>(
        &self,
        pid: Pid,
        signal: F,
    ) -> impl Future<Output = Answer> + use<F> {
        let shared = Rc::clone(&self.requester);
        let pending = self.requester.take().map(|mut requester| {
            let request = requester.request(pid);
            signal();
            (requester, request)
        });
        async move {
            let Some((requester, request)) = pending else {
                return Answer::NotRequested;
            };
            let watch = requester.as_fd().try_clone_to_owned().map(daemon_sys::watch::readable);
            let answer = match watch {
                Ok(Ok(watch)) => {
                    let answered = async {
                        loop {
                            if let Some(addresses) = requester.response(&request) {
                                return Some(addresses);
                            }
                            watch.readable().await.ok()?.clear_ready();
                            requester.clear();
                        }
                    };
                    timeout(TIMEOUT, answered).await.ok().flatten()
                }
                Ok(Err(_)) | Err(_) => None,
            };
            shared.replace(Some(requester));
            answer.map_or(Answer::None, Answer::At)
        }
    }
}
