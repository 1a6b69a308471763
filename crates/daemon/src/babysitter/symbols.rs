//! Looks up the functions of backtraces through the fork server, one lookup at a time. The parent
//! itself never reads debug information, because the memory for it would never be given back.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::rc::Rc;

use actix::Recipient;
use daemon_forkserver::{SYMBOL_LOOKUP_MAX, SymbolLookup, SymbolLookupProgress};
use daemon_sys::trace::StackFrame;
use futures::channel::oneshot;
use tokio::time::timeout;

use super::BabysitterAction;
use daemon_protocol::Frame;

/// The maximum number of backtraces that wait for a lookup. The frames of further backtraces have
/// only addresses.
const WAITING_MAX: usize = 32;

/// The maximum number of backtraces in one lookup. Most of a lookup's time is the start, which is
/// the same for one backtrace and for many.
const BATCH_MAX: usize = 16;

/// A backtrace that waits for its lookup, and the receiver of its frames.
type Waiting = (Vec<usize>, oneshot::Sender<Vec<Frame>>);

/// Looks up the functions of backtraces, in the order of the calls.
#[derive(Debug)]
pub(super) struct SymbolResolver {
    daemon: Recipient<BabysitterAction>,
    queue: Rc<RefCell<LookupQueue>>,
}

/// The backtraces that wait, and whether a task takes them.
#[derive(Debug)]
enum LookupQueue {
    Idle,
    Running(VecDeque<Waiting>),
}

impl SymbolResolver {
    /// Creates a resolver that sends its requests to the daemon, which has the fork server.
    pub(super) fn new(daemon: Recipient<BabysitterAction>) -> SymbolResolver {
        SymbolResolver { daemon, queue: Rc::new(RefCell::new(LookupQueue::Idle)) }
    }

    /// Looks up these addresses. The frames are sent to the returned receiver. It is closed without
    /// frames if the lookup cannot be started, or if too many backtraces wait already.
    pub(super) fn look_up(&self, addresses: Vec<usize>) -> oneshot::Receiver<Vec<Frame>> {
        let (sender, frames) = oneshot::channel();
        let waiting = (addresses, sender);
        match &mut *self.queue.borrow_mut() {
            LookupQueue::Running(queue) if queue.len() >= WAITING_MAX => {}
            LookupQueue::Running(queue) => queue.push_back(waiting),
            idle @ LookupQueue::Idle => {
                *idle = LookupQueue::Running(VecDeque::from([waiting]));
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
    match queue {
        LookupQueue::Running(waiting) if !waiting.is_empty() => {
            Some(waiting.drain(..waiting.len().min(BATCH_MAX)).collect())
        }
        LookupQueue::Running(_) | LookupQueue::Idle => {
            *queue = LookupQueue::Idle;
            None
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_backtraces_are_taken_in_order_and_in_bounded_batches() {
        let waiting = (0..BATCH_MAX + 3).map(|number| (vec![number], oneshot::channel().0));
        let mut queue = LookupQueue::Running(waiting.collect());
        let mut taken: Vec<Vec<usize>> = Vec::new();
        while let Some(batch) = next_batch(&mut queue) {
            assert!(matches!(queue, LookupQueue::Running(_)));
            taken.push(batch.into_iter().map(|(addresses, _sender)| addresses[0]).collect());
        }
        let all: Vec<usize> = (0..BATCH_MAX + 3).collect();
        assert_eq!(taken, [all[..BATCH_MAX].to_vec(), all[BATCH_MAX..].to_vec()]);
        assert!(matches!(queue, LookupQueue::Idle), "the next backtrace starts a task");
    }
}
