//! The engine's tasks: each waits for one thing, and has the engine act on it.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use actix_daemon::{ChildId, Kill};
use daemon_forkserver::now;
use futures::future::{Either, select};
use std::pin::pin;
use tokio::time::sleep;

use super::{DEMAND_DELAY, Engine, ExecutionMode, SharedEngine};
use crate::body;
use crate::frame::{Received, retry_delay};
use crate::link::{self, NewLink, NewLinks, ParentEnds, SendRetry, WorkerLink};
use crate::worker_output::{OutputStream, PipeState, WorkerOutput};

/// Starts what an engine lives by. The tasks end with the System.
pub(crate) fn run(shared: &SharedEngine, links: &Rc<NewLinks>) {
    actix_rt::spawn(accept_links(Rc::clone(shared), Rc::clone(links)));
    actix_rt::spawn(tick(Rc::clone(shared)));
    actix_rt::spawn(cancel_dropped(Rc::clone(shared)));
    actix_rt::spawn(report_lower_demand(Rc::clone(shared)));
    actix_rt::spawn(body::trim());
    shared.borrow_mut().me = Rc::downgrade(shared);
}

/// Takes over the links to workers that are ordered.
async fn accept_links(shared: SharedEngine, links: Rc<NewLinks>) {
    loop {
        links.changed().await;
        for NewLink { child, parent } in links.take() {
            let ParentEnds { end, out, err } = parent;
            match WorkerLink::new(child, end) {
                Ok(link) => {
                    let watch = Rc::clone(&link.watch);
                    shared.borrow_mut().add_link(link);
                    actix_rt::spawn(read_messages(Rc::clone(&shared), child, watch));
                    forward_output(&shared, child, out, OutputStream::Stdout);
                    forward_output(&shared, child, err, OutputStream::Stderr);
                }
                // It finds its link closed, and goes.
                Err(error) => {
                    let events = &shared.borrow().events;
                    events.warn(format_args!("Fork {} cannot be linked: {error}", child.slot));
                }
            }
        }
    }
}

/// Heeds what a worker says, until its link is closed.
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
        let come = shared.borrow_mut().readable(child);
        match come {
            Ok(Received::Closed) => return,
            Ok(Received::More | Received::Drained) => {}
            Err(error) => {
                shared.borrow_mut().link_failed(child, &error);
                return;
            }
        }
    }
}

/// Tells what a worker prints, for as long as somebody can print.
fn forward_output(shared: &SharedEngine, child: ChildId, pipe: OwnedFd, stream: OutputStream) {
    let mut output = match WorkerOutput::new(pipe) {
        Ok(output) => output,
        Err(error) => {
            let events = &shared.borrow().events;
            events.warn(format_args!("What fork {} prints is lost: {error}", child.slot));
            return;
        }
    };
    let shared = Rc::clone(shared);
    actix_rt::spawn(async move {
        // Of a worker that is gone the last method is what its children print for.
        let mut last = crate::request::CowStr::Borrowed("-");
        while output.readable().await.is_ok() {
            let mut engine = shared.borrow_mut();
            last = engine.method_of(child).unwrap_or(last);
            let looked =
                output.read_lines(|line| engine.log_output(child, stream.word(), &last, line));
            if looked == PipeState::Closed {
                return;
            }
        }
    });
}

/// Wakes the ledger when time has passed that it waits for.
async fn tick(shared: SharedEngine) {
    let signals = shared.borrow().signals();
    loop {
        let timer_at = shared.borrow().timer_at;
        let Some(timer_at) = timer_at else {
            signals.timer.notified().await;
            continue;
        };
        // The runtime's timer counts in whole milliseconds, and may be early by less.
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

/// Cancels what nobody waits for any more.
async fn cancel_dropped(shared: SharedEngine) {
    let hangups = std::sync::Arc::clone(&shared.borrow().hangups);
    loop {
        hangups.come().await;
        shared.borrow_mut().cancel_dropped(now());
    }
}

/// Tells that less is asked for, once that has lasted.
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
    /// Has somebody wait until a link takes more.
    pub(super) fn flush_when_writable(&mut self, slot: usize) {
        let Some(link) = self.start_retry(slot) else { return };
        let (child, end) = (link.child, Rc::clone(&link.end));
        self.flush_after(child, async move {
            if link::writable(&end).await.is_err() {
                // Without a watch it is tried again; what is wrong then is told by the link.
                sleep(retry_delay(0)).await;
            }
        });
    }

    /// The link of a slot, if nobody waits yet to send over it again: from now on somebody does.
    fn start_retry(&mut self, slot: usize) -> Option<&mut WorkerLink> {
        let link = self.links.get_mut(slot)?.as_mut()?;
        match std::mem::replace(&mut link.writer, SendRetry::Waiting) {
            SendRetry::Waiting => None,
            SendRetry::Idle => Some(link),
        }
    }

    /// Sends over a link again when this has come about.
    fn flush_after(&self, child: ChildId, wait: impl Future<Output = ()> + 'static) {
        let Some(shared) = self.me.upgrade() else { return };
        actix_rt::spawn(async move {
            wait.await;
            shared.borrow_mut().queue_room(child);
        });
    }

    /// A link takes nothing, and that is not its worker's fault: it is tried again after a pause.
    pub(super) fn retry_later(&mut self, slot: usize, error: &std::io::Error) {
        let Some(link) = self.start_retry(slot) else { return };
        let (child, failed_sends) = (link.child, link.failed_sends);
        link.failed_sends = failed_sends.saturating_add(1);
        if failed_sends == 0 {
            self.events.warn(format_args!(
                "Fork {slot} cannot be sent to at present, and it is tried again: {error}"
            ));
        }
        self.flush_after(child, sleep(retry_delay(failed_sends)));
    }

    /// What a worker says cannot be understood: its link is of no more use.
    pub(super) fn link_failed(&mut self, child: ChildId, error: &std::io::Error) {
        let slot = child.slot.index();
        if error.kind() == std::io::ErrorKind::InvalidData {
            // It is healthy; but what it says next cannot be put in order any more.
            self.events.warn(format_args!(
                "This process may have no more descriptors, and fork {slot}, whose answers are lost \
                 by that, is killed: {error}"
            ));
        } else {
            self.events.warn(format_args!("Fork {slot} is not understood, and killed: {error}"));
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
