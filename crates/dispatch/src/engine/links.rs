//! Workers and their links: orders out, answers in, and the end of a worker.

use std::io;

use actix_daemon::{ChildExited, ChildId, Pid};
use daemon_core::{ExitCause, RecycleReason};
use daemon_forkserver::now;

use super::deliver::{done, outcome};
use super::{Cargo, Engine};
use crate::frame::{Answer, Flushed, Order, Place, Received, Trouble, Word};
use crate::ledger::Key;
use crate::link::{self, Link, Said, Writer};
use crate::request::RequestParts;

impl Link {
    /// Tells the worker that nothing more comes.
    pub(super) fn reopen_logs(&mut self) {
        // It may be gone already.
        let _ = daemon_sys::link::shutdown_write(&self.end);
    }
}

impl Engine {
    /// A worker is ordered, and this is the link to it.
    pub(super) fn linked(&mut self, link: Link) {
        let slot = link.child.slot.index();
        self.talk_of_fork(slot);
        if let Some(place) = self.links.get_mut(slot) {
            self.former.extend(place.replace(link));
        }
    }

    fn link_of(&mut self, child: ChildId) -> Option<&mut Link> {
        let link = self.links.get_mut(child.slot.index())?.as_mut();
        let former = self.former.iter_mut();
        link.into_iter().chain(former).find(|link| link.child == child)
    }

    /// A worker is born. The original's `_fork_postinit` runs here.
    pub(crate) fn worker_born(&mut self, child: ChildId, pid: Pid) {
        if let Some(link) = self.link_of(child) {
            link.pid = Some(pid);
        }
        if let Some(postinit) = self.methods.hooks.fork_postinit.clone() {
            postinit(pid);
        }
        self.introduce(child);
    }

    /// A worker that is born and ready takes part.
    fn introduce(&mut self, child: ChildId) {
        if let Some(Link { pid: Some(pid), said: Said::Ready, .. }) = self.link_of(child) {
            let pid = *pid;
            self.ledger.worker_ready(child, pid, now());
            self.pump();
        }
    }

    /// The daemon tells that a child is gone.
    pub(crate) fn worker_exited(&mut self, exited: &ChildExited) {
        self.worker_gone(exited.child, exited.cause, exited.requests);
    }

    /// A child is gone that had begun so many requests. What it has said before is heard first.
    pub(super) fn worker_gone(&mut self, child: ChildId, cause: ExitCause, requests: u64) {
        let slot = child.slot.index();
        if self.link_of(child).is_none() {
            return;
        }
        loop {
            let received = self.receive(child);
            // What is no word ends what it has to say.
            let heard = self.hear(child);
            if !matches!((received, heard), (Ok(Received::More), Ok(_))) {
                break;
            }
        }
        if cause == ExitCause::Recycled(RecycleReason::Requests) {
            self.events.detail(format_args!(
                "Closing fork {slot} as requests {requests} >= max {requests}"
            ));
        }
        self.events.detail(format_args!("Fork {slot} closed"));
        if !cause.is_regular() {
            // The daemon has logged it, with all there is to know of the process.
            self.events.talk(&format_args!("Child of fork {slot} exited: {cause}"));
        }
        self.former.retain(|link| link.child != child);
        if let Some(place) = self.links.get_mut(slot) {
            place.take_if(|link| link.child == child);
        }
        self.ledger.worker_gone(child, cause, now());
        self.refuse_if_nobody_is_left();
        self.pump();
    }

    fn receive(&mut self, child: ChildId) -> io::Result<Received> {
        let Some(link) = self.link_of(child) else { return Ok(Received::Hangup) };
        let Link { inbox, end, watch, .. } = link;
        link::receive(inbox, end, watch)
    }

    /// Something has come over a link. Answers with whether there may be more.
    pub(super) fn come(&mut self, child: ChildId) -> io::Result<Received> {
        loop {
            let received = self.receive(child)?;
            self.hear(child)?;
            if received != Received::More {
                self.pump();
                return Ok(received);
            }
        }
    }

    /// Heeds all words that have come whole.
    fn hear(&mut self, child: ChildId) -> io::Result<Received> {
        let slot = child.slot.index();
        let time = now();
        let mut answered = 0;
        loop {
            let Some(link) = self.link_of(child) else { return Ok(Received::Hangup) };
            let next = link.inbox.next::<Word>().map_err(io::Error::other)?;
            let Some((word, rest)) = next else { break };
            match word {
                Word::Ready => {
                    link.said = Said::Ready;
                    self.introduce(child);
                }
                Word::Leaving => self.ledger.worker_leaves(slot, time),
                Word::Answer(Answer { turn, id, attempt, took, end, body }) => {
                    let body = rest.body(body).map_err(io::Error::other)?;
                    self.board.hear(slot, turn);
                    answered += 1;
                    let Some((cargo, run)) =
                        self.ledger.answered(slot, turn, id, attempt, took, time)
                    else {
                        continue;
                    };
                    let outcome = outcome(done(end, body), &cargo);
                    self.deliver(cargo, run, outcome);
                }
            }
        }
        if answered > 0 {
            self.ledger.assign(time);
        }
        Ok(Received::All)
    }

    /// Puts an order on its link.
    pub(super) fn send(&mut self, slot: usize, turn: u64, key: Key) {
        let Some(child) = self.ledger.child_of(slot) else { return };
        let Some((cargo, attempt)) = self.ledger.cargo(key) else { return };
        // The slot may be another's already: then this one is gone, and what it is sent comes back.
        let link = self.links.get_mut(slot).and_then(Option::as_mut);
        let Some(link) = link.filter(|link| link.child == child) else { return };
        let Cargo { parts: RequestParts { name, from, params, .. }, method, soft, .. } = &*cargo;
        let order = Order {
            turn,
            id: key.id.0,
            attempt,
            method: *method,
            name,
            from,
            soft: *soft,
            body: Place::of(params),
        };
        if let Err(error) = link.outbox.push(&order, params) {
            // Nothing that is sent cannot be written; the worker would wait for it in vain.
            self.events.warn(format_args!("Request {} cannot be written: {error}", key.id));
        }
        link.last.clone_from(name);
        if !std::mem::replace(&mut link.dirty, true) {
            self.dirty.push(slot);
        }
        if self.events.is_verbose() {
            self.events.detail(format_args!("Handling request {} with fork {slot}", key.id));
        }
    }

    /// Sends what is to be sent, as far as links take it.
    pub(crate) fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for slot in dirty.drain(..) {
            let Some(Some(link)) = self.links.get_mut(slot) else { continue };
            link.dirty = false;
            match link.outbox.flush(&link.end) {
                Ok(Flushed::All) => link.vain = 0,
                Ok(Flushed::Waiting) => {
                    link.vain = 0;
                    self.wait_for_room(slot);
                }
                Err(error) => match Trouble::of(&error) {
                    // Its end is reported, and what it has not begun goes to others then.
                    Trouble::Gone => {}
                    Trouble::Passing => self.try_later(slot, &error),
                },
            }
        }
        self.dirty = dirty;
    }

    /// There is room on a link again.
    pub(super) fn room(&mut self, child: ChildId) {
        if let Some(link) = self.link_of(child) {
            link.writer = Writer::None;
            self.dirty.push(child.slot.index());
            self.flush();
        }
    }

    /// A worker has printed a line.
    pub(super) fn printed(&mut self, child: ChildId, stream: &str, last: &str, line: &str) {
        let slot = child.slot.index();
        self.events.say(format_args!("{stream}:{slot} {last}: {line}"));
    }

    /// The method that a worker does, or did last.
    pub(super) fn method_of(&mut self, child: ChildId) -> Option<crate::request::CowStr> {
        let slot = child.slot.index();
        self.link_of(child)?;
        if let Some(cargo) = self.ledger.method_of(slot) {
            return Some(cargo.parts.name.clone());
        }
        self.link_of(child).map(|link| link.last.clone())
    }
}
