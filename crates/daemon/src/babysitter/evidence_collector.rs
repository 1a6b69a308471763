//! How a child is asked for its own backtrace: one child at a time, and not for long.

use std::cell::RefCell;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use daemon_sys::process::Pid;
use daemon_sys::trace::BacktraceRequester;
use tokio::time::timeout;

/// How long a child has to answer: its handler runs at once, or it runs no code at all.
const TIMEOUT: Duration = Duration::from_millis(100);

/// What a child has answered.
#[derive(Debug)]
pub(super) enum Answer {
    /// It is at the first of these addresses, called from the others.
    At(Vec<usize>),
    /// Nothing, in time.
    None,
    /// Another was being asked.
    NotAsked,
}

/// The right to ask, shared by those who wait for an answer.
#[derive(Debug, Clone)]
pub(crate) struct EvidenceCollector {
    requester: Rc<RefCell<Option<BacktraceRequester>>>,
}

impl EvidenceCollector {
    pub(crate) fn new(requester: Option<BacktraceRequester>) -> EvidenceCollector {
        EvidenceCollector { requester: Rc::new(RefCell::new(requester)) }
    }

    /// Asks a process where it is, and has it signalled. Where another is being asked, it is left at
    /// that: evidence must not make steps wait for each other.
    pub(super) fn trace<F: FnOnce()>(
        &self,
        pid: Pid,
        signal: F,
    ) -> impl Future<Output = Answer> + use<F> {
        let shared = Rc::clone(&self.requester);
        let asked = self.requester.take().map(|mut requester| {
            let request = requester.request(pid);
            signal();
            (requester, request)
        });
        async move {
            let Some((requester, request)) = asked else {
                return Answer::NotAsked;
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
