//! Workers and their links: orders out, answers in, and the end of a worker.

use std::io;

use actix_daemon::{ChildExited, ChildId, Pid};
use daemon_core::{ExitCause, RecycleReason};
use daemon_forkserver::now;

use super::deliver::{decode_completion, task_result};
use super::{DispatchJob, Engine};
use crate::frame::{
    BodyLocation, FinishedTask, Flushed, Received, SendFailure, TaskOrder, WorkerMessage,
};
use crate::link::{self, SendRetry, SetupState, WorkerLink};
use crate::request::RequestParts;
use crate::scheduler::JobKey;

impl WorkerLink {
    /// Tells the worker that nothing more comes.
    pub(super) fn reopen_logs(&mut self) {
        // It may be gone already.
        let _ = daemon_sys::link::shutdown_write(&self.end);
    }
}

impl Engine {
    /// A worker is ordered, and this is the link to it.
    pub(super) fn add_link(&mut self, link: WorkerLink) {
        let slot = link.child.slot.index();
        self.log_new_worker(slot);
        if let Some(place) = self.links.get_mut(slot) {
            self.former.extend(place.replace(link));
        }
    }

    fn link_of(&mut self, child: ChildId) -> Option<&mut WorkerLink> {
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
        self.register_worker(child);
    }

    /// A worker that is born and ready takes part.
    fn register_worker(&mut self, child: ChildId) {
        if let Some(WorkerLink { pid: Some(pid), setup: SetupState::Ready, .. }) =
            self.link_of(child)
        {
            let pid = *pid;
            self.scheduler.worker_ready(child, pid, now());
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
            let handled = self.handle_messages(child);
            if !matches!((received, handled), (Ok(Received::More), Ok(_))) {
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
        self.scheduler.worker_gone(child, cause, now());
        self.reject_if_no_workers_left();
        self.pump();
    }

    fn receive(&mut self, child: ChildId) -> io::Result<Received> {
        let Some(link) = self.link_of(child) else { return Ok(Received::Closed) };
        let WorkerLink { inbox, end, watch, .. } = link;
        link::receive(inbox, end, watch)
    }

    /// Something has come over a link. Answers with whether there may be more.
    pub(super) fn readable(&mut self, child: ChildId) -> io::Result<Received> {
        loop {
            let received = self.receive(child)?;
            self.handle_messages(child)?;
            if received != Received::More {
                self.pump();
                return Ok(received);
            }
        }
    }

    /// Heeds all words that have come whole.
    fn handle_messages(&mut self, child: ChildId) -> io::Result<Received> {
        let slot = child.slot.index();
        let time = now();
        let mut answered = 0;
        loop {
            let Some(link) = self.link_of(child) else { return Ok(Received::Closed) };
            let next = link.inbox.next::<WorkerMessage>().map_err(io::Error::other)?;
            let Some((word, rest)) = next else { break };
            match word {
                WorkerMessage::Ready => {
                    link.setup = SetupState::Ready;
                    self.register_worker(child);
                }
                WorkerMessage::Leaving => self.scheduler.worker_draining(slot, time),
                WorkerMessage::Finished(FinishedTask { turn, id, attempt, took, end, body }) => {
                    let body = rest.body(body).map_err(io::Error::other)?;
                    self.claims.hear(slot, turn);
                    answered += 1;
                    let Some((job, run)) =
                        self.scheduler.answered(slot, turn, id, attempt, took, time)
                    else {
                        continue;
                    };
                    let task_result = task_result(decode_completion(end, body), &job);
                    self.deliver(job, run, task_result);
                }
            }
        }
        if answered > 0 {
            self.scheduler.assign(time);
        }
        Ok(Received::Drained)
    }

    /// Puts an order on its link.
    pub(super) fn send(&mut self, slot: usize, turn: u64, key: JobKey) {
        let Some(child) = self.scheduler.child_of(slot) else { return };
        let Some((job, attempt)) = self.scheduler.job(key) else { return };
        // The slot may be another's already: then this one is gone, and what it is sent comes back.
        let link = self.links.get_mut(slot).and_then(Option::as_mut);
        let Some(link) = link.filter(|link| link.child == child) else { return };
        let DispatchJob { parts: RequestParts { name, from, params, .. }, method, soft, .. } =
            &*job;
        let terms = TaskOrder {
            turn,
            id: key.id.0,
            attempt,
            method: *method,
            name,
            from,
            soft: *soft,
            body: BodyLocation::of(params),
        };
        if let Err(error) = link.outbox.push(&terms, params) {
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
                Ok(Flushed::All) => link.failed_sends = 0,
                Ok(Flushed::WouldBlock) => {
                    link.failed_sends = 0;
                    self.flush_when_writable(slot);
                }
                Err(error) => match SendFailure::of(&error) {
                    // Its end is reported, and what it has not begun goes to others then.
                    SendFailure::PeerClosed => {}
                    SendFailure::Transient => self.retry_later(slot, &error),
                },
            }
        }
        self.dirty = dirty;
    }

    /// There is room on a link again.
    pub(super) fn queue_room(&mut self, child: ChildId) {
        if let Some(link) = self.link_of(child) {
            link.writer = SendRetry::Idle;
            self.dirty.push(child.slot.index());
            self.flush();
        }
    }

    /// A worker has printed a line.
    pub(super) fn log_output(&mut self, child: ChildId, stream: &str, last: &str, line: &str) {
        let slot = child.slot.index();
        self.events.say(format_args!("{stream}:{slot} {last}: {line}"));
    }

    /// The method that a worker does, or did last.
    pub(super) fn method_of(&mut self, child: ChildId) -> Option<crate::request::CowStr> {
        let slot = child.slot.index();
        self.link_of(child)?;
        if let Some(job) = self.scheduler.method_of(slot) {
            return Some(job.parts.name.clone());
        }
        self.link_of(child).map(|link| link.last.clone())
    }
}
