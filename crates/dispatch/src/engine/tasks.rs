//! The engine's async tasks. Each waits for one kind of event and passes it to the engine.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use actix_daemon::{ChildId, Kill};
use daemon_forkserver::now;
use futures::channel::oneshot;
use futures::future::{Either, select};
use std::pin::pin;
use tokio::time::sleep;

use super::output::{WorkerPipes, forward_output};
use super::{DEMAND_DELAY, Engine, ExecutionMode, SharedEngine};
use crate::body;
use crate::frame::{Received, retry_delay};
use crate::link::{self, NewLink, NewLinks, ParentEnds, SendRetry, WorkerLink};
use crate::talkback::report;

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
    loop {
        links.changed().await;
        for NewLink { child, parent } in links.take() {
            let ParentEnds { end, out, err } = parent;
            let (running, exit) = oneshot::channel();
            match WorkerLink::new(child, end, running) {
                Ok(link) => {
                    let watch = Rc::clone(&link.watch);
                    shared.borrow_mut().add_link(link);
                    actix_rt::spawn(read_messages(Rc::clone(&shared), child, watch));
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

/// Handles a worker's messages until its link is closed.
async fn read_messages(
    shared: SharedEngine,
    child: ChildId,
    watch: Rc<tokio::io::unix::AsyncFd<OwnedFd>>,
) {
    loop {
        match watch.readable().await {
            Ok(ready) => drop(ready),
            Err(_the_runtime_ends) => return,
        }
        let received = shared.borrow_mut().read_link(child);
        match received {
            Ok(Received::Closed) => return,
            Ok(Received::More | Received::Drained) => {}
            Err(error) => {
                shared.borrow_mut().link_failed(child, &error);
                return;
            }
        }
    }
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
        let (child, end) = (link.child, Rc::clone(&link.end));
        self.flush_after(child, async move {
            if link::writable(&end).await.is_err() {
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

    /// Kills a worker whose messages cannot be read, because its link cannot be used any more.
    pub(super) fn link_failed(&mut self, child: ChildId, error: &std::io::Error) {
        let slot = child.slot.index();
        if error.kind() == std::io::ErrorKind::InvalidData {
            // The worker is healthy, but the descriptors of its next messages cannot be matched to
            // their frames any more.
            report!(
                self.events, warn, "descriptor limit reached, answers are lost, killing worker";
                "slot" => slot, "error" => error.to_string()
            );
        } else {
            report!(
                self.events, warn, "cannot read the messages of a worker, killing it";
                "slot" => slot, "error" => error.to_string()
            );
        }
        self.scheduler.worker_draining(slot, now());
        if let (Some(pid), ExecutionMode::Workers { daemon, .. }) =
            (self.scheduler.pid_of(slot), &self.execution)
        {
            daemon.do_send(Kill(pid));
        }
        self.pump();
    }
}
