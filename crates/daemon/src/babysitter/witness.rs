//! How a child is asked for its own backtrace: one child at a time, and not for long.

use std::cell::RefCell;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use daemon_sys::process::Pid;
use daemon_sys::trace::BacktraceRequester;
use tokio::time::timeout;

/// How long a child has to answer: its handler runs at once, or it runs no code at all.
const PATIENCE: Duration = Duration::from_millis(100);

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
pub(crate) struct Witness {
    asker: Rc<RefCell<Option<BacktraceRequester>>>,
}

impl Witness {
    pub(crate) fn new(asker: Option<BacktraceRequester>) -> Witness {
        Witness { asker: Rc::new(RefCell::new(asker)) }
    }

    /// Asks a process where it is, and has it signalled. Where another is being asked, it is left at
    /// that: evidence must not make steps wait for each other.
    pub(super) fn trace<F: FnOnce()>(
        &self,
        pid: Pid,
        signal: F,
    ) -> impl Future<Output = Answer> + use<F> {
        let shared = Rc::clone(&self.asker);
        let asked = self.asker.take().map(|mut asker| {
            let question = asker.request(pid);
            signal();
            (asker, question)
        });
        async move {
            let Some((asker, question)) = asked else {
                return Answer::NotAsked;
            };
            let watch = asker.as_fd().try_clone_to_owned().map(daemon_sys::watch::readable);
            let answer = match watch {
                Ok(Ok(watch)) => {
                    let answered = async {
                        loop {
                            if let Some(addresses) = asker.response(&question) {
                                return Some(addresses);
                            }
                            watch.readable().await.ok()?.clear_ready();
                            asker.clear();
                        }
                    };
                    timeout(PATIENCE, answered).await.ok().flatten()
                }
                Ok(Err(_)) | Err(_) => None,
            };
            shared.replace(Some(asker));
            answer.map_or(Answer::None, Answer::At)
        }
    }
}
