//! The engine's async tasks. Each waits for one kind of event and passes it to the engine.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use actix_daemon::ChildId;
use daemon_forkserver::now;
use futures::channel::oneshot;
use futures::future::{Either, select};
use std::pin::pin;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, Semaphore};
use tokio::time::sleep;

use super::links::{LinkProgress, READ_AT_ONCE};
use super::output::{WorkerPipes, forward_output};
use super::{DEMAND_DELAY, Engine, SharedEngine};
use crate::body;
use crate::closer;
use crate::frame::retry_delay;
use crate::link::{self, NewLink, NewLinks, ParentEnds, SendRetry, WorkerLink};
use crate::talkback::report;

/// The maximum number of large bodies that are read at the same time. The memory for the others is
/// not allocated yet.
const LARGE_READS_MAX: usize = 4;

/// The length of the largest body whose memory file is closed at once, in bytes. If the worker has
/// closed a file already, closing it frees its memory, which takes up to a millisecond for a file of
/// this length.
const CLOSED_AT_ONCE: usize = 1024 * 1024;

/// Starts the engine's tasks. They end with the System.
pub(crate) fn run(shared: &SharedEngine, links: &Rc<NewLinks>) {
    actix_rt::spawn(accept_links(Rc::clone(shared), Rc::clone(links)));
    actix_rt::spawn(tick(Rc::clone(shared)));
    actix_rt::spawn(cancel_dropped(Rc::clone(shared)));
    actix_rt::spawn(report_lower_demand(Rc::clone(shared)));
    actix_rt::spawn(body::trim());
    shared.borrow_mut().weak_self = Rc::downgrade(shared);
}

/// Takes over the parent's ends of the links to new workers.
async fn accept_links(shared: SharedEngine, links: Rc<NewLinks>) {
    let readers = Rc::new(Semaphore::new(LARGE_READS_MAX));
    loop {
        links.changed().await;
        for NewLink { child, parent } in links.take() {
            let ParentEnds { end, out, err } = parent;
            let (running, exit) = oneshot::channel();
            match WorkerLink::new(child, end, running) {
                Ok((link, watch)) => {
                    let wake = Rc::clone(&link.wake);
                    shared.borrow_mut().add_link(link);
                    let readers = Rc::clone(&readers);
                    actix_rt::spawn(read_messages(Rc::clone(&shared), child, watch, wake, readers));
                    forward_output(&shared, WorkerPipes { child, out, err, exit });
                }
                // The worker finds its link closed, and exits.
                Err(error) => report!(
                    shared.borrow().events, warn, "cannot set up the link to a worker";
                    "slot" => child.slot.get(), "error" => error.to_string()
                ),
            }
        }
    }
}

/// Handles a worker's messages until its link is closed, broken or removed.
async fn read_messages(
    shared: SharedEngine,
    child: ChildId,
    watch: AsyncFd<OwnedFd>,
    wake: Rc<Notify>,
    readers: Rc<Semaphore>,
) {
    loop {
        let ready = match select(pin!(watch.readable()), pin!(wake.notified())).await {
            Either::Left((Ok(ready), _)) => Some(ready),
            Either::Left((Err(_the_runtime_ends), _)) => return,
            Either::Right(((), _)) => None,
        };
        let progress = shared.borrow_mut().read_link(child);
        match progress {
            LinkProgress::Drained => {
                if let Some(mut ready) = ready {
                    ready.clear_ready();
                }
            }
            LinkProgress::More => tokio::task::yield_now().await,
            LinkProgress::LargeAnswer => read_large_answer(&shared, child, &readers).await,
            LinkProgress::Ended => break,
        }
    }
    // The link may contain descriptors that were not received, which are closed with it.
    closer::close(watch.into_inner());
}

/// Reads the large body of a worker's answer in pieces, and handles other events in between.
async fn read_large_answer(shared: &SharedEngine, child: ChildId, readers: &Semaphore) {
    let Ok(_permit) = readers.acquire().await else { return };
    let Some((finished, file)) = shared.borrow_mut().start_large_answer(child) else { return };
    let mut bytes = Vec::new();
    let read = loop {
        match file.read_more(&mut bytes, READ_AT_ONCE) {
            Ok(()) if bytes.len() == file.length() => break Ok(bytes),
            Ok(()) => tokio::task::yield_now().await,
            Err(error) => break Err(error),
        }
    };
    if file.length() > CLOSED_AT_ONCE {
        closer::close(file);
    }
    shared.borrow_mut().large_answer_read(child, finished, read);
}

/// Runs the scheduler's time-dependent checks when they are due.
async fn tick(shared: SharedEngine) {
    let signals = shared.borrow().signals();
    loop {
        let timer_at = shared.borrow().timer_at;
        let Some(timer_at) = timer_at else {
            signals.timer.notified().await;
            continue;
        };
        // The runtime's timer has a resolution of one millisecond, and can fire early by a fraction
        // of that. The minimum prevents a loop without a wait.
        let left = timer_at.saturating_since(now()).max(Duration::from_micros(200));
        match select(pin!(sleep(left)), pin!(signals.timer.notified())).await {
            Either::Left(((), _)) => {
                let mut engine = shared.borrow_mut();
                engine.timer_at = None;
                for child in engine.scheduler.with_overdue_messages(now()) {
                    engine.read_link(child);
                }
                engine.scheduler.tick(now());
                engine.pump();
            }
            Either::Right(((), _)) => {}
        }
    }
}

/// Cancels requests whose futures were dropped.
async fn cancel_dropped(shared: SharedEngine) {
    let dropped_futures = std::sync::Arc::clone(&shared.borrow().dropped_futures);
    loop {
        dropped_futures.wait().await;
        shared.borrow_mut().cancel_dropped(now());
    }
}

/// Reports a lower demand for workers to the daemon after a delay.
async fn report_lower_demand(shared: SharedEngine) {
    let signals = shared.borrow().signals();
    loop {
        signals.demand.notified().await;
        sleep(DEMAND_DELAY).await;
        let mut engine = shared.borrow_mut();
        if let Some(demand) = engine.demand() {
            engine.set_demand(demand);
        }
    }
}

impl Engine {
    /// Spawns a task that waits until the link is writable and then flushes it.
    pub(super) fn flush_when_writable(&mut self, slot: usize) {
        let Some(link) = self.start_retry(slot) else { return };
        let (child, end, wake) = (link.child, Rc::clone(&link.end), Rc::clone(&link.removed));
        self.flush_after(child, async move {
            // If the link is removed, its other end may never become writable.
            let is_failed = match select(pin!(link::writable(&end)), pin!(wake.notified())).await {
                Either::Left((writable, _)) => writable.is_err(),
                Either::Right(((), _)) => false,
            };
            if is_failed {
                // The link cannot be watched, so retry after a delay. If that send fails, the error
                // is reported.
                sleep(retry_delay(0)).await;
            }
        });
    }

    /// Marks the link of a slot as waiting and returns it. Returns `None` if an async task already
    /// waits to flush the link.
    fn start_retry(&mut self, slot: usize) -> Option<&mut WorkerLink> {
        let link = self.links.get_mut(slot)?.as_mut()?;
        match std::mem::replace(&mut link.send_retry, SendRetry::Waiting) {
            SendRetry::Waiting => None,
            SendRetry::Idle => Some(link),
        }
    }

    /// Flushes the child's link when the future `wait` completes.
    fn flush_after(&self, child: ChildId, wait: impl Future<Output = ()> + 'static) {
        let Some(shared) = self.weak_self.upgrade() else { return };
        actix_rt::spawn(async move {
            wait.await;
            shared.borrow_mut().retry_flush(child);
        });
    }

    /// Flushes a link again after a delay, because a send failed although the worker has not closed
    /// the link.
    pub(super) fn retry_later(&mut self, slot: usize, error: &std::io::Error) {
        let Some(link) = self.start_retry(slot) else { return };
        let (child, failed_sends) = (link.child, link.failed_sends);
        link.failed_sends = failed_sends.saturating_add(1);
        if failed_sends == 0 {
            report!(
                self.events, warn, "cannot send to worker, retrying";
                "slot" => slot, "error" => error.to_string()
            );
        }
        self.flush_after(child, sleep(retry_delay(failed_sends)));
    }
}
