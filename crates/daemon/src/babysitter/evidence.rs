//! Evidence of slow and rogue children: backtraces from the children, the functions in them, and
//! the slow log.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::Recipient;
use daemon_forkserver::{SYMBOL_LOOKUP_MAX, SymbolLookup, SymbolLookupProgress};
use daemon_protocol::{Evidence, Frame, Trace};
use daemon_sys::output::NonblockingOutput;
use daemon_sys::process::Pid;
use daemon_sys::stdio::LogFile;
use daemon_sys::trace::{BacktraceRequester, StackFrame};
use futures::channel::oneshot;
use slog::{Logger, warn};
use tokio::time::timeout;

use super::BabysitterAction;

/// The time that a child has to answer a backtrace request. The child's signal handler runs at
/// once, unless the child is stopped, blocks the signal, or is in an uninterruptible sleep.
const ANSWER_MAX: Duration = Duration::from_millis(100);

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
pub(super) struct EvidenceCollector {
    requester: Rc<RefCell<Option<BacktraceRequester>>>,
}

impl EvidenceCollector {
    pub(super) fn new(requester: Option<BacktraceRequester>) -> EvidenceCollector {
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
                    timeout(ANSWER_MAX, answered).await.ok().flatten()
                }
                Ok(Err(_)) | Err(_) => None,
            };
            shared.replace(Some(requester));
            answer.map_or(Answer::None, Answer::At)
        }
    }
}

/// Evidence whose frames may still lack function names, because their lookup is slow.
#[derive(Debug)]
pub(super) struct CollectedEvidence {
    pub(super) evidence: Evidence,
    symbols: Option<oneshot::Receiver<Vec<Frame>>>,
}

impl CollectedEvidence {
    /// Adds the child's answer to the evidence, and starts the lookup of the function names.
    pub(super) fn of(mut evidence: Evidence, answer: Answer, resolver: &SymbolResolver) -> Self {
        let (backtrace, symbols) = match answer {
            Answer::NotRequested => (Trace::NotAsked, None),
            Answer::None => (Trace::NoAnswer, None),
            Answer::At(addresses) => {
                let unnamed = addresses.iter().map(|address| Frame::at(*address as u64)).collect();
                (Trace::Frames(unnamed), Some(resolver.look_up(addresses)))
            }
        };
        evidence.backtrace = backtrace;
        CollectedEvidence { evidence, symbols }
    }

    /// Waits for the function names, but not longer than `limit`. Until they are known, the
    /// evidence has addresses instead.
    pub(super) async fn wait_for_symbols(&mut self, limit: Duration) {
        let Some(symbols) = &mut self.symbols else { return };
        if let Ok(ended) = timeout(limit, symbols).await {
            self.symbols = None;
            if let Ok(frames) = ended {
                self.evidence.backtrace = Trace::Frames(frames);
            }
        }
    }
}

/// The maximum number of backtraces that wait for a lookup. The frames of further backtraces have
/// only addresses.
const WAITING_MAX: usize = 32;

/// The maximum number of backtraces in one lookup. Most of a lookup's time is the start, which is
/// the same for one backtrace and for many.
const BATCH_MAX: usize = 16;

/// A backtrace that waits for its lookup, and the receiver of its frames.
type Waiting = (Vec<usize>, oneshot::Sender<Vec<Frame>>);

/// Looks up the functions of backtraces through the fork server, in the order of the calls and one
/// lookup at a time. The parent itself never reads debug information, because the memory for it
/// would never be given back.
#[derive(Debug)]
pub(super) struct SymbolResolver {
    daemon: Recipient<BabysitterAction>,
    queue: Rc<RefCell<LookupQueue>>,
}

/// The backtraces that wait; `None` if no task takes them.
type LookupQueue = Option<VecDeque<Waiting>>;

impl SymbolResolver {
    /// Creates a resolver that sends its requests to the daemon, which has the fork server.
    pub(super) fn new(daemon: Recipient<BabysitterAction>) -> SymbolResolver {
        SymbolResolver { daemon, queue: Rc::default() }
    }

    /// Looks up these addresses. The frames are sent to the returned receiver. It is closed without
    /// frames if the lookup cannot be started, or if too many backtraces wait already.
    pub(super) fn look_up(&self, addresses: Vec<usize>) -> oneshot::Receiver<Vec<Frame>> {
        let (sender, frames) = oneshot::channel();
        let waiting = (addresses, sender);
        match &mut *self.queue.borrow_mut() {
            Some(queue) if queue.len() >= WAITING_MAX => {}
            Some(queue) => queue.push_back(waiting),
            idle @ None => {
                *idle = Some(VecDeque::from([waiting]));
                actix_rt::spawn(run_all(self.daemon.clone(), Rc::clone(&self.queue)));
            }
        }
        frames
    }
}

/// Looks up the waiting backtraces until none is left.
async fn run_all(daemon: Recipient<BabysitterAction>, queue: Rc<RefCell<LookupQueue>>) {
    loop {
        let batch = next_batch(&mut queue.borrow_mut());
        let Some(batch) = batch else {
            return;
        };
        let (backtraces, senders): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        for (frames, sender) in run(&daemon, backtraces).await.into_iter().flatten().zip(senders) {
            // This fails if nobody waits for the frames any more.
            let _ = sender.send(frames);
        }
    }
}

fn next_batch(queue: &mut LookupQueue) -> Option<Vec<Waiting>> {
    let waiting = queue.take().filter(|waiting| !waiting.is_empty())?;
    let waiting = queue.insert(waiting);
    Some(waiting.drain(..waiting.len().min(BATCH_MAX)).collect())
}

/// Requests a lookup and waits until it ends, or until it must have ended. Returns the frames of
/// each backtrace; `None` if the lookup cannot be started.
async fn run(
    daemon: &Recipient<BabysitterAction>,
    backtraces: Vec<Vec<usize>>,
) -> Option<Vec<Vec<Frame>>> {
    let (answer, started) = oneshot::channel();
    daemon.do_send(BabysitterAction::LookUpSymbols { backtraces, answer });
    let mut lookup = started.await.ok()?;
    let descriptor = lookup.as_fd().try_clone_to_owned().ok()?;
    let watch = daemon_sys::watch::readable(descriptor).ok()?;
    let ended = async {
        while lookup.read() == SymbolLookupProgress::Running {
            match watch.readable().await {
                Ok(mut ready) => ready.clear_ready(),
                Err(_runtime_shuts_down) => return,
            }
        }
    };
    // After a timeout, the results that have arrived are used.
    let _ = timeout(SYMBOL_LOOKUP_MAX, ended).await;
    let to_frames = |frames: Vec<_>| frames.into_iter().map(to_frame).collect();
    Some(SymbolLookup::into_frames(lookup).into_iter().map(to_frames).collect())
}

fn to_frame(found: StackFrame) -> Frame {
    let mut frame = Frame::at(found.address as u64);
    (frame.function, frame.file, frame.line) = (found.function, found.file, found.line);
    frame
}

/// The slow log: a file to which evidence is appended. If no file is configured, evidence is
/// written to the daemon's log.
#[derive(Debug, Clone)]
pub(crate) struct SlowLog {
    path: Option<PathBuf>,
    /// Whether the file ends in the middle of a record, because the disk was full.
    is_torn: Arc<AtomicBool>,
}

impl SlowLog {
    pub(crate) fn new(path: Option<PathBuf>) -> SlowLog {
        SlowLog { path, is_torn: Arc::default() }
    }

    /// Writes one record. The file is opened for each record, because records are rare and the file
    /// can then be rotated at any time. If the file cannot be written, or is a FIFO that accepts
    /// nothing, the evidence is written to the daemon's log.
    fn write(&self, evidence: &Evidence, reason: &str, log: &Logger) {
        let Some(path) = &self.path else {
            log_evidence(evidence, reason, log);
            return;
        };
        let was_torn = self.is_torn.load(Ordering::Relaxed);
        let end_of_torn = if was_torn { "\n\n" } else { "" };
        let record = format!("{end_of_torn}{evidence}reason: {reason}\n\n");
        let opened = LogFile::open(path).map_err(io::Error::other);
        let written = opened.and_then(|file| {
            let written = NonblockingOutput::new(file).write_all(record.as_bytes());
            self.is_torn.store(written.is_err(), Ordering::Relaxed);
            written
        });
        if let Err(error) = written {
            let path = path.display().to_string();
            warn!(log, "cannot append to the slow log"; "path" => path, "error" => error.to_string());
            log_evidence(evidence, reason, log);
        }
    }
}

/// A record of the slow log that is not written yet. It is written when this value is dropped, so
/// that no record is lost when the runtime drops its tasks at its end.
#[derive(Debug)]
pub(super) struct PendingRecord {
    pub(super) evidence: Evidence,
    pub(super) reason: String,
    pub(super) slowlog: SlowLog,
    pub(super) log: Logger,
}

impl Drop for PendingRecord {
    fn drop(&mut self) {
        self.slowlog.write(&self.evidence, &self.reason, &self.log);
    }
}

fn log_evidence(evidence: &Evidence, reason: &str, log: &Logger) {
    warn!(log, "evidence"; "reason" => reason, "evidence" => evidence.to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_backtraces_are_taken_in_order_and_in_bounded_batches() {
        let waiting = (0..BATCH_MAX + 3).map(|number| (vec![number], oneshot::channel().0));
        let mut queue = Some(waiting.collect());
        let mut taken: Vec<Vec<usize>> = Vec::new();
        while let Some(batch) = next_batch(&mut queue) {
            assert!(queue.is_some());
            taken.push(batch.into_iter().map(|(addresses, _sender)| addresses[0]).collect());
        }
        let all: Vec<usize> = (0..BATCH_MAX + 3).collect();
        assert_eq!(taken, [all[..BATCH_MAX].to_vec(), all[BATCH_MAX..].to_vec()]);
        assert!(queue.is_none(), "the next backtrace starts a task");
    }
}
