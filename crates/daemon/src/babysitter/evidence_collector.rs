//! Requests the backtrace of a child, from one child at a time and with a timeout.

use std::cell::RefCell;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use daemon_sys::process::Pid;
use daemon_sys::trace::BacktraceRequester;
use tokio::time::timeout;

/// How long a child has to answer. Its signal handler runs at once, unless the child runs no code.
const TIMEOUT: Duration = Duration::from_millis(100);

/// The result of a backtrace request.
#[derive(Debug)]
pub(super) enum Answer {
    /// The addresses of its frames, innermost first.
    At(Vec<usize>),
    /// The child did not answer in time.
    None,
    /// Another request was pending.
    NotRequested,
}

/// Requests backtraces. Only one request can be pending at a time.
#[derive(Debug, Clone)]
pub(crate) struct EvidenceCollector {
    requester: Rc<RefCell<Option<BacktraceRequester>>>,
}

impl EvidenceCollector {
    pub(crate) fn new(requester: Option<BacktraceRequester>) -> EvidenceCollector {
        EvidenceCollector { requester: Rc::new(RefCell::new(requester)) }
    }

    /// Requests the backtrace of a process: `signal` must send it the signal. Does nothing if another
    /// request is pending, so that steps against different rogues do not wait for each other.
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
