//! Handles workers and their links: sends tasks, receives answers, and removes workers that have
//! exited.

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
use crate::talkback::report;

impl WorkerLink {
    /// Closes the link for writing, so that the worker receives no further tasks and exits.
    pub(super) fn shut_down(&mut self) {
        // The worker may have exited already.
        let _ = daemon_sys::link::shutdown_write(&self.end);
    }
}

impl Engine {
    /// Stores the link that connects the parent with a worker that is being created.
    pub(super) fn add_link(&mut self, link: WorkerLink) {
        let slot = link.child.slot.index();
        self.log_new_worker(slot);
        if let Some(entry) = self.links.get_mut(slot) {
            self.former_links.extend(entry.replace(link));
        }
    }

    fn link_of(&mut self, child: ChildId) -> Option<&mut WorkerLink> {
        let link = self.links.get_mut(child.slot.index())?.as_mut();
        let former = self.former_links.iter_mut();
        link.into_iter().chain(former).find(|link| link.child == child)
    }

    /// Handles the start of a worker process. Calls the hook `fork_postinit`, which is named
    /// `_fork_postinit` in `POE::Component::PreforkDispatch`.
    pub(crate) fn worker_forked(&mut self, child: ChildId, pid: Pid) {
        if let Some(link) = self.link_of(child) {
            link.pid = Some(pid);
        }
        if let Some(postinit) = self.methods.hooks.fork_postinit.clone() {
            postinit(pid);
        }
        self.register_worker(child);
    }

    /// Adds a worker to the scheduler if its process id is known and the worker has reported that
    /// it is ready.
    fn register_worker(&mut self, child: ChildId) {
        if let Some(WorkerLink { pid: Some(pid), setup: SetupState::Ready, .. }) =
            self.link_of(child)
        {
            let pid = *pid;
            self.scheduler.worker_ready(child, pid, now());
            self.pump();
        }
    }

    /// Handles the daemon's event that a child exited.
    pub(crate) fn worker_exited(&mut self, exited: &ChildExited) {
        self.worker_gone(exited.child, exited.cause, exited.requests);
    }

    /// Handles the exit of a worker. The messages that the worker sent before its exit are handled
    /// first.
    pub(super) fn worker_gone(&mut self, child: ChildId, cause: ExitCause, requests: u64) {
        let slot = child.slot.index();
        let Some(pid) = self.link_of(child).map(|link| link.pid) else { return };
        loop {
            let received = self.receive(child);
            // After an invalid message nothing more can be read.
            let handled = self.handle_messages(child);
            if !matches!((received, handled), (Ok(Received::More), Ok(_))) {
                break;
            }
        }
        if let (ExitCause::Recycled(RecycleReason::Requests), Some(pid)) = (cause, pid) {
            report!(
                self.events, debug, "worker reached its request limit";
                "slot" => slot, "worker" => pid.as_raw(), "requests" => requests
            );
        }
        report!(self.events, debug, "worker closed"; "slot" => slot);
        if !cause.is_expected() {
            // This line is only sent to the talkback recipient, not logged, because the daemon has
            // already logged the exit with more details.
            self.events.send_line(format_args!("worker exited, slot: {slot}, reason: {cause}"));
        }
        self.former_links.retain(|link| link.child != child);
        if let Some(entry) = self.links.get_mut(slot) {
            entry.take_if(|link| link.child == child);
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

    /// Reads all available data from a link and handles its messages.
    pub(super) fn read_link(&mut self, child: ChildId) -> io::Result<Received> {
        loop {
            let received = self.receive(child)?;
            self.handle_messages(child)?;
            if received != Received::More {
                self.pump();
                return Ok(received);
            }
        }
    }

    /// Handles all messages that have been received completely.
    fn handle_messages(&mut self, child: ChildId) -> io::Result<Received> {
        let slot = child.slot.index();
        let time = now();
        let mut answered = 0;
        loop {
            let Some(link) = self.link_of(child) else { return Ok(Received::Closed) };
            let next = link.inbox.next::<WorkerMessage>().map_err(io::Error::other)?;
            let Some((message, frame_body)) = next else { break };
            match message {
                WorkerMessage::Ready => {
                    link.setup = SetupState::Ready;
                    self.register_worker(child);
                }
                WorkerMessage::Leaving => self.scheduler.worker_draining(slot, time),
                WorkerMessage::Finished(FinishedTask { turn, id, attempt, took, kind, body }) => {
                    let body = frame_body.read(body).map_err(io::Error::other)?;
                    self.claims.acknowledge(slot, turn);
                    answered += 1;
                    let Some((job, run)) =
                        self.scheduler.answered(slot, turn, id, attempt, took, time)
                    else {
                        continue;
                    };
                    let task_result = task_result(decode_completion(kind, body), &job);
                    self.deliver(job, run, task_result);
                }
            }
        }
        if answered > 0 {
            self.scheduler.assign(time);
        }
        Ok(Received::Drained)
    }

    /// Adds a task to the unsent data of its worker's link.
    pub(super) fn send(&mut self, slot: usize, turn: u64, key: JobKey) {
        let Some(child) = self.scheduler.child_of(slot) else { return };
        let Some((job, attempt)) = self.scheduler.job(key) else { return };
        // The slot may have a new worker already. In that case the worker of this task has exited,
        // and its tasks will be returned to the queue.
        let link = self.links.get_mut(slot).and_then(Option::as_mut);
        let Some(link) = link.filter(|link| link.child == child) else { return };
        let DispatchJob { parts: RequestParts { name, from, params, .. }, method, soft, .. } =
            &*job;
        let order = TaskOrder {
            turn,
            id: key.id.0,
            attempt,
            method: *method,
            name,
            from,
            soft: *soft,
            body: BodyLocation::of(params),
        };
        if let Err(error) = link.outbox.push(&order, params) {
            // This does not happen, because every task can be encoded.
            report!(
                self.events, warn, "cannot encode request";
                "request" => key.id.0, "error" => error.to_string()
            );
        }
        link.last_method.clone_from(name);
        if !std::mem::replace(&mut link.is_dirty, true) {
            self.dirty.push(slot);
        }
        report!(self.events, debug, "handling request"; "request" => key.id.0, "slot" => slot);
    }

    /// Sends the unsent data of all links, as much as the links accept.
    pub(crate) fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for slot in dirty.drain(..) {
            let Some(Some(link)) = self.links.get_mut(slot) else { continue };
            link.is_dirty = false;
            match link.outbox.flush(&link.end) {
                Ok(Flushed::All) => link.failed_sends = 0,
                Ok(Flushed::WouldBlock) => {
                    link.failed_sends = 0;
                    self.flush_when_writable(slot);
                }
                Err(error) => match SendFailure::of(&error) {
                    // The daemon reports the worker's exit. The tasks that the worker has not
                    // started are then sent to other workers.
                    SendFailure::PeerClosed => {}
                    SendFailure::Transient => self.retry_later(slot, &error),
                },
            }
        }
        self.dirty = dirty;
    }

    /// Flushes a link that is writable again, or whose retry delay has passed.
    pub(super) fn retry_flush(&mut self, child: ChildId) {
        if let Some(link) = self.link_of(child) {
            link.send_retry = SendRetry::Idle;
            self.dirty.push(child.slot.index());
            self.flush();
        }
    }

    /// Returns the method that a worker is running, or that it ran last. Returns `None` if the
    /// worker has no link any more.
    pub(super) fn method_of(&mut self, child: ChildId) -> Option<crate::request::CowStr> {
        let slot = child.slot.index();
        self.link_of(child)?;
        if let Some(job) = self.scheduler.running_job(slot) {
            return Some(job.parts.name.clone());
        }
        self.link_of(child).map(|link| link.last_method.clone())
    }

    /// Returns the process id of a worker. Returns `None` if the worker has no link any more.
    pub(super) fn pid_of(&mut self, child: ChildId) -> Option<Pid> {
        self.link_of(child)?.pid
    }
}
