//! The engine's tasks: each waits for one thing, and has the engine act on it.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use actix_daemon::{ChildId, Kill};
use daemon_forkserver::now;
use futures::future::{Either, select};
use std::pin::pin;
use tokio::time::sleep;

use super::{DEMAND_LINGER, Engine, Shared, Staff};
use crate::body;
use crate::frame::{Received, pause};
use crate::link::{self, Link, Near, NewLink, NewLinks, Writer};
use crate::printed::{Looked, Printed, Stream};

/// Starts what an engine lives by. The tasks end with the System.
pub(crate) fn run(shared: &Shared, links: &Rc<NewLinks>) {
    actix_rt::spawn(welcome(Rc::clone(shared), Rc::clone(links)));
    actix_rt::spawn(tick(Rc::clone(shared)));
    actix_rt::spawn(hang_ups(Rc::clone(shared)));
    actix_rt::spawn(ask_for_less(Rc::clone(shared)));
    actix_rt::spawn(body::tidy());
    shared.borrow_mut().me = Rc::downgrade(shared);
}

/// Takes over the links to workers that are ordered.
async fn welcome(shared: Shared, links: Rc<NewLinks>) {
    loop {
        links.come().await;
        for NewLink { child, near } in links.take() {
            let Near { end, out, err } = near;
            match Link::new(child, end) {
                Ok(link) => {
                    let watch = Rc::clone(&link.watch);
                    shared.borrow_mut().linked(link);
                    actix_rt::spawn(listen(Rc::clone(&shared), child, watch));
                    print(&shared, child, out, Stream::Out);
                    print(&shared, child, err, Stream::Err);
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
async fn listen(shared: Shared, child: ChildId, watch: Rc<tokio::io::unix::AsyncFd<OwnedFd>>) {
    loop {
        match watch.readable().await {
            Ok(ready) => drop(ready),
            Err(_the_runtime_ends) => return,
        }
        let come = shared.borrow_mut().come(child);
        match come {
            Ok(Received::Hangup) => return,
            Ok(Received::More | Received::All) => {}
            Err(error) => {
                shared.borrow_mut().broken(child, &error);
                return;
            }
        }
    }
}

/// Tells what a worker prints, for as long as somebody can print.
fn print(shared: &Shared, child: ChildId, pipe: OwnedFd, stream: Stream) {
    let mut printed = match Printed::new(pipe) {
        Ok(printed) => printed,
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
        while printed.come().await.is_ok() {
            let mut engine = shared.borrow_mut();
            last = engine.method_of(child).unwrap_or(last);
            let looked = printed.look(|line| engine.printed(child, stream.word(), &last, line));
            if looked == Looked::Closed {
                return;
            }
        }
    });
}

/// Wakes the ledger when time has passed that it waits for.
async fn tick(shared: Shared) {
    let signals = shared.borrow().signals();
    loop {
        let armed = shared.borrow().armed;
        let Some(armed) = armed else {
            signals.timer.notified().await;
            continue;
        };
        // The runtime's timer counts in whole milliseconds, and may be early by less.
        let left = armed.saturating_since(now()).max(Duration::from_micros(200));
        match select(pin!(sleep(left)), pin!(signals.timer.notified())).await {
            Either::Left(((), _)) => {
                let mut engine = shared.borrow_mut();
                engine.armed = None;
                engine.ledger.tick(now());
                engine.pump();
            }
            Either::Right(((), _)) => {}
        }
    }
}

/// Cancels what nobody waits for any more.
async fn hang_ups(shared: Shared) {
    let hangups = std::sync::Arc::clone(&shared.borrow().hangups);
    loop {
        hangups.come().await;
        shared.borrow_mut().hang_ups(now());
    }
}

/// Tells that less is asked for, once that has lasted.
async fn ask_for_less(shared: Shared) {
    let signals = shared.borrow().signals();
    loop {
        signals.demand.notified().await;
        sleep(DEMAND_LINGER).await;
        let mut engine = shared.borrow_mut();
        if let Some(wanted) = engine.wanted() {
            engine.demand(wanted);
        }
    }
}

impl Engine {
    /// Has somebody wait until a link takes more.
    pub(super) fn wait_for_room(&mut self, slot: usize) {
        let Some(link) = self.unawaited(slot) else { return };
        let (child, end) = (link.child, Rc::clone(&link.end));
        self.send_after(child, async move {
            if link::room(&end).await.is_err() {
                // Without a watch it is tried again; what is wrong then is told by the link.
                sleep(pause(0)).await;
            }
        });
    }

    /// The link of a slot, if nobody waits yet to send over it again: from now on somebody does.
    fn unawaited(&mut self, slot: usize) -> Option<&mut Link> {
        let link = self.links.get_mut(slot)?.as_mut()?;
        match std::mem::replace(&mut link.writer, Writer::Waits) {
            Writer::Waits => None,
            Writer::None => Some(link),
        }
    }

    /// Sends over a link again when this has come about.
    fn send_after(&self, child: ChildId, wait: impl Future<Output = ()> + 'static) {
        let Some(shared) = self.me.upgrade() else { return };
        actix_rt::spawn(async move {
            wait.await;
            shared.borrow_mut().room(child);
        });
    }

    /// A link takes nothing, and that is not its worker's fault: it is tried again after a pause.
    pub(super) fn try_later(&mut self, slot: usize, error: &std::io::Error) {
        let Some(link) = self.unawaited(slot) else { return };
        let (child, vain) = (link.child, link.vain);
        link.vain = vain.saturating_add(1);
        if vain == 0 {
            self.events.warn(format_args!(
                "Fork {slot} cannot be sent to at present, and it is tried again: {error}"
            ));
        }
        self.send_after(child, sleep(pause(vain)));
    }

    /// What a worker says cannot be understood: its link is of no more use.
    pub(super) fn broken(&mut self, child: ChildId, error: &std::io::Error) {
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
        self.ledger.worker_leaves(slot, now());
        if let (Some(pid), Staff::Workers { daemon, .. }) = (self.ledger.pid_of(slot), &self.staff)
        {
            daemon.do_send(Kill(pid));
        }
        self.pump();
    }
}
