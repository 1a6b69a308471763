//! Handles workers and their links: sends tasks, receives answers, and removes workers that have
//! exited.

use std::io;
use std::ops::ControlFlow;

use actix_daemon::{ChildId, Pid, panics};
use daemon_core::{ExitCause, MonotonicTime, RecycleReason};
use daemon_forkserver::channel::Received;
use daemon_forkserver::now;

use super::requests::{decode_completion, task_result};
use super::{DispatchJob, Engine, Input};
use crate::answer::Rejection;
use crate::body::{Body, SHARED_FROM};
use crate::frame::{
    self, BodyLocation, CompletionKind, FAILED_SENDS_MAX, FinishedTask, OpenedBody, SendFailure,
    TaskOrder, WorkerMessage, retry_delay,
};
use crate::link::{
    LargeAnswer, NewLink, ParentEnds, SetupState, WorkerExit, WorkerLink, close_in_thread,
};
use crate::request::{CowStr, RequestParts};
use crate::scheduler::{AnswerCheck, IN_FLIGHT_MAX, JobKey};
use crate::talkback::report;

/// The number of reads from a link before other links are read.
const READS_MAX: usize = 16;

/// The size of the largest body in a memory file that is read at once, in bytes. A larger body is
/// read in pieces of this size, and other events are handled in between.
const READ_AT_ONCE: usize = 256 * 1024;

/// The maximum number of large bodies that are read at the same time. The memory for the others is
/// not allocated yet.
const LARGE_READS_MAX: usize = 4;

/// The length of the largest body whose memory file is closed at once, in bytes. If the worker has
/// closed a file already, closing it frees its memory, which takes up to a millisecond for a file
/// of this length.
const CLOSED_AT_ONCE: usize = 1024 * 1024;

/// How far the data of a link has been handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkProgress {
    /// There may be more data.
    More,
    /// All available data has been handled.
    Drained,
    /// An answer has a large body. The messages after it wait until the body has been read.
    LargeAnswer,
    /// The link is closed or broken, or has been removed.
    Ended,
}

/// A valid message that the worker must not send at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum ProtocolError {
    #[error("the worker reported more than once that it is ready")]
    Ready,
    #[error("the worker reported that it leaves before it was ready, or more than once")]
    Leaving,
    #[error("the worker answered a task that it does not have")]
    Answer,
}

impl From<ProtocolError> for io::Error {
    fn from(error: ProtocolError) -> io::Error {
        io::Error::other(error)
    }
}

fn find_link<'a>(
    links: &'a mut [Option<WorkerLink>],
    former_links: &'a mut [WorkerLink],
    child: ChildId,
) -> Option<&'a mut WorkerLink> {
    let link = links.get_mut(child.slot.index())?.as_mut();
    link.into_iter().chain(former_links).find(|link| link.child == child)
}

impl Engine {
    /// Stores the link that connects the parent with a worker that is being forked.
    pub(super) fn add_link(&mut self, NewLink { child, parent }: NewLink) {
        let ParentEnds { orders, answers, watch, out, err } = parent;
        let waker = self.sender.waker(move || Input::LinkReady(child));
        let link = WorkerLink::new(child, orders, answers, watch, waker);
        let slot = child.slot.index();
        self.log_new_worker(slot);
        if let Some(entry) = self.links.get_mut(slot) {
            self.former_links.extend(entry.replace(link));
        }
        self.add_outputs(child, out, err);
        self.link_ready(child);
    }

    /// Handles a link that may have become readable, or writable again.
    pub(super) fn link_ready(&mut self, child: ChildId) {
        let Some(link) = self.link_of(child) else { return };
        if link.is_writable_again() {
            self.dirty.push(child.slot.index());
        }
        let has_more = match self.read_link(child) {
            LinkProgress::Drained => self.link_of(child).is_some_and(|link| link.watch_readable()),
            LinkProgress::More => true,
            LinkProgress::LargeAnswer | LinkProgress::Ended => false,
        };
        if has_more {
            self.sender.send(Input::LinkReady(child));
        }
        self.pump();
    }

    pub(super) fn link_of(&mut self, child: ChildId) -> Option<&mut WorkerLink> {
        find_link(&mut self.links, &mut self.former_links, child)
    }

    /// Handles the start of a worker process. Calls the hook `fork_postinit`, which is named
    /// `_fork_postinit` in `POE::Component::PreforkDispatch`.
    pub(super) fn worker_forked(&mut self, child: ChildId, pid: Pid) {
        if let Some(link) = self.link_of(child) {
            link.pid = Some(pid);
        }
        if let Some(postinit) = self.methods.hooks.fork_postinit.clone()
            && let Err(panic) = panics::catch(|| postinit(pid))
        {
            self.refuse_worker(child, &panic);
        }
        self.register_worker(child);
    }

    /// Adds a worker to the scheduler when its process id is known, and reports to the scheduler
    /// that it is ready, or that its link is broken. Does nothing while the slot has a former
    /// worker whose exit has not been handled.
    fn register_worker(&mut self, child: ChildId) {
        let link = find_link(&mut self.links, &mut self.former_links, child);
        let Some(WorkerLink { pid: Some(pid), setup, has_been_ready, .. }) = link else { return };
        let (pid, time) = (*pid, now());
        self.scheduler.worker_forked(child, pid, time + self.boot_timeout, time);
        match setup {
            SetupState::Starting => {}
            SetupState::Ready => {
                *has_been_ready = true;
                self.start_failures.reset();
                self.scheduler.worker_ready(child, time);
            }
            SetupState::Leaving => self.scheduler.worker_draining(child, time),
            SetupState::Broken => self.scheduler.link_broken(child, time),
            SetupState::Refused(_) => self.scheduler.worker_refused(child, time),
        }
    }

    /// Handles the exit of a worker. The messages that the worker sent before its exit are handled
    /// first. If a large body must be read for that, the exit is handled afterwards.
    pub(super) fn worker_gone(&mut self, child: ChildId, exit: WorkerExit) {
        let Some(link) = self.link_of(child) else { return };
        if !link.is_unusable() {
            loop {
                match self.read_link(child) {
                    LinkProgress::More => {}
                    LinkProgress::LargeAnswer => {
                        if let Some(link) = self.link_of(child) {
                            link.exit = Some(exit);
                        }
                        return;
                    }
                    LinkProgress::Drained | LinkProgress::Ended => break,
                }
            }
        }
        self.remove_worker(child, exit);
    }

    /// Handles all messages of a worker now, even if that blocks the event loop.
    pub(super) fn drain_link(&mut self, child: ChildId) {
        loop {
            match self.read_link(child) {
                LinkProgress::More => {}
                LinkProgress::LargeAnswer => while self.read_piece(child) {},
                LinkProgress::Drained | LinkProgress::Ended => return,
            }
        }
    }

    /// Removes a worker that has exited, and its link.
    pub(super) fn remove_worker(&mut self, child: ChildId, exit: WorkerExit) {
        let slot = child.slot.index();
        let WorkerExit { cause, requests } = exit;
        let Some(link) = self.link_of(child) else { return };
        let pid = link.pid;
        let start_failure = match &link.setup {
            SetupState::Refused(reason) => Some(reason.clone()),
            SetupState::Starting | SetupState::Ready | SetupState::Leaving | SetupState::Broken => {
                (!link.has_been_ready).then(|| format!("the worker {cause}"))
            }
        };
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
        self.remove_link(child);
        self.scheduler.worker_gone(child, cause, now());
        if let Some(reason) = start_failure {
            self.start_failed(reason);
        }
        self.reject_if_no_workers_left();
        let next = self.links.get(slot).and_then(Option::as_ref).map(|link| link.child);
        if let Some(next) = next {
            // The slot's next worker may have been forked while it was not free yet.
            self.register_worker(next);
        }
    }

    /// Removes the link of a worker that has exited, or that could not be forked. The rest of its
    /// output is still read.
    pub(super) fn remove_link(&mut self, child: ChildId) {
        self.outputs.worker_exited(child);
        let entry = self.links.get_mut(child.slot.index());
        let mut link = entry.and_then(|entry| entry.take_if(|link| link.child == child));
        if let Some(at) = self.former_links.iter().position(|link| link.child == child) {
            link = Some(self.former_links.remove(at));
        }
        if let Some(link) = link {
            link.close();
        }
    }

    /// Reads and handles the data of a link, but only a limited amount, so that no worker keeps the
    /// event loop from its other work.
    pub(super) fn read_link(&mut self, child: ChildId) -> LinkProgress {
        self.read_some(child).unwrap_or_else(|error| {
            self.link_failed(child, &error);
            LinkProgress::Ended
        })
    }

    fn read_some(&mut self, child: ChildId) -> io::Result<LinkProgress> {
        for _read in 0..READS_MAX {
            let Some(link) = self.link_of(child) else { return Ok(LinkProgress::Ended) };
            if link.is_unusable() {
                return Ok(LinkProgress::Ended);
            }
            // The messages after a large answer wait until its body has been read.
            if link.large_answer.is_some() {
                return Ok(LinkProgress::LargeAnswer);
            }
            let received = link.answers.receive_or_lose()?;
            if self.handle_messages(child)?.is_break() {
                return Ok(LinkProgress::LargeAnswer);
            }
            match received {
                Received::More => {}
                Received::Drained => return Ok(LinkProgress::Drained),
                Received::Closed => {
                    self.link_closed(child);
                    return Ok(LinkProgress::Ended);
                }
            }
        }
        Ok(LinkProgress::More)
    }

    /// Handles a worker that has closed its link.
    fn link_closed(&mut self, child: ChildId) {
        match self.link_of(child) {
            // The parent has asked the worker to exit, and the daemon waits for that.
            Some(link) if link.is_shut_down => {}
            Some(_) | None => self.scheduler.link_closed(child, now()),
        }
    }

    /// Handles all messages that have been received completely. Breaks at an answer with a large
    /// body: the messages after it wait.
    fn handle_messages(&mut self, child: ChildId) -> io::Result<ControlFlow<()>> {
        let time = now();
        let limit = self.methods.result_limit.max(SHARED_FROM);
        let (mut count, mut answered) = (0_usize, 0_usize);
        let handled = loop {
            let link = find_link(&mut self.links, &mut self.former_links, child);
            let Some(link) = link else { return Ok(ControlFlow::Continue(())) };
            let next = link.answers.next::<WorkerMessage>()?;
            let Some((message, rest)) = next else { break ControlFlow::Continue(()) };
            count += 1;
            match message {
                WorkerMessage::Ready => {
                    if link.setup != SetupState::Starting {
                        return Err(ProtocolError::Ready.into());
                    }
                    link.setup = SetupState::Ready;
                    self.register_worker(child);
                }
                WorkerMessage::Leaving => {
                    if link.setup != SetupState::Ready {
                        return Err(ProtocolError::Leaving.into());
                    }
                    link.setup = SetupState::Leaving;
                    self.scheduler.worker_draining(child, time);
                }
                WorkerMessage::Finished(finished) => {
                    let FinishedTask { turn, id, attempt, body: location, .. } = finished;
                    match self.scheduler.check_answer(child, turn, id, attempt) {
                        AnswerCheck::Expected => {}
                        AnswerCheck::Unexpected => return Err(ProtocolError::Answer.into()),
                        AnswerCheck::Late => {
                            location.discard(rest).into_iter().for_each(close_in_thread);
                            self.scheduler.note_late_answer();
                            continue;
                        }
                    }
                    if location.is_lost(&rest) {
                        let text = "the result was lost: the dispatcher has no free descriptor";
                        let body = Body::of(text).map_err(io::Error::other)?;
                        let lost = FinishedTask { kind: CompletionKind::Error, ..finished };
                        self.complete(child, lost, body, time);
                        answered += 1;
                        continue;
                    }
                    match location.open(rest, limit)? {
                        OpenedBody::InFrame(body) => self.complete(child, finished, body, time),
                        OpenedBody::Shared(file) if file.length() <= READ_AT_ONCE => {
                            let bytes = file.read().map_err(io::Error::other)?;
                            self.complete(child, finished, Body::Heap(bytes.into()), time);
                        }
                        OpenedBody::Shared(file) => {
                            link.large_answer =
                                Some(LargeAnswer { finished, file, bytes: Vec::new() });
                            self.large_answers.push_back(child);
                            self.scheduler.set_being_read(child, true, time);
                            break ControlFlow::Break(());
                        }
                    }
                    answered += 1;
                }
            }
        };
        if let Some(link) = self.link_of(child) {
            let is_in_message = handled.is_continue() && link.answers.is_in_frame();
            if is_in_message != link.is_in_message || (is_in_message && count > 0) {
                link.is_in_message = is_in_message;
                self.scheduler.set_in_message(child, is_in_message, time);
            }
        }
        if answered > 0 {
            self.scheduler.assign(time);
        }
        Ok(handled)
    }

    /// Answers the request of a finished task.
    fn complete(&mut self, child: ChildId, task: FinishedTask, body: Body, time: MonotonicTime) {
        let FinishedTask { turn, id, attempt, took, kind, body: _read } = task;
        self.claims.acknowledge(child.slot.index(), turn);
        let answered = self.scheduler.answered(child, turn, id, attempt, took, time);
        if let Some((job, run)) = answered {
            let task_result = task_result(decode_completion(kind, body), &job);
            self.deliver(job, run, task_result);
        }
    }

    /// Reads a piece of a large body, if there is one. Returns whether more pieces are to be read.
    pub(super) fn read_large_answer(&mut self) -> bool {
        let Some(child) = self.large_answers.pop_front() else { return false };
        if self.read_piece(child) {
            let last = self.large_answers.len().min(LARGE_READS_MAX - 1);
            self.large_answers.insert(last, child);
        } else {
            // The messages behind the answer were not read meanwhile.
            self.sender.send(Input::LinkReady(child));
        }
        !self.large_answers.is_empty()
    }

    /// Reads a piece of the large body of a worker's answer. Returns whether the body has more
    /// pieces.
    fn read_piece(&mut self, child: ChildId) -> bool {
        let Some(link) = self.link_of(child) else { return false };
        let Some(LargeAnswer { file, bytes, .. }) = &mut link.large_answer else { return false };
        let read = file.read_more(bytes, READ_AT_ONCE);
        if read.is_ok() && bytes.len() < file.length() {
            return true;
        }
        if let Some(LargeAnswer { finished, file, bytes }) = link.large_answer.take() {
            if file.length() > CLOSED_AT_ONCE {
                close_in_thread(file);
            }
            self.large_answer_read(child, finished, read.map(|()| bytes));
        }
        false
    }

    /// Handles an answer whose large body has been read, the messages that waited behind it, and
    /// the exit of the worker if it waited too.
    fn large_answer_read(
        &mut self,
        child: ChildId,
        finished: FinishedTask,
        read: Result<Vec<u8>, daemon_sys::Error>,
    ) {
        let time = now();
        self.scheduler.set_being_read(child, false, time);
        let handled = match read {
            Ok(bytes) => {
                self.complete(child, finished, Body::Heap(bytes.into()), time);
                self.scheduler.assign(time);
                self.handle_messages(child).map(drop)
            }
            Err(error) => Err(io::Error::other(error)),
        };
        if let Err(error) = handled {
            self.link_failed(child, &error);
        }
        if let Some(exit) = self.link_of(child).and_then(|link| link.exit.take()) {
            self.worker_gone(child, exit);
        }
    }

    /// Adds a task to the unsent data of its worker's link, unless the task was revoked meanwhile.
    pub(super) fn send(&mut self, slot: usize, turn: u64, key: JobKey) {
        let Some(child) = self.scheduler.child_of(slot) else { return };
        if !self.scheduler.is_in_flight(slot, turn) {
            return;
        }
        // The slot may have a new worker already. In that case the worker of this task has exited,
        // and its tasks will be returned to the queue.
        let link = self.links.get_mut(slot).and_then(Option::as_mut);
        let Some(link) = link.filter(|link| link.child == child) else { return };
        if link.orders.frame_count() >= 2 * IN_FLIGHT_MAX {
            // The worker does not read. The tasks that were revoked meanwhile need not be sent.
            link.orders.retain(|turn| self.scheduler.is_in_flight(slot, turn));
        }
        let Some((job, attempt)) = self.scheduler.job(key) else { return };
        let DispatchJob { parts: RequestParts { name, from, params, .. }, method, soft, .. } =
            &*job;
        let order = TaskOrder {
            turn,
            id: key.id,
            attempt,
            method: *method,
            name,
            from,
            soft: *soft,
            body: BodyLocation::of(params),
        };
        if let Err(error) = frame::queue(&mut link.orders, turn, &order, params) {
            let (name, reason) = (name.to_string(), format!("cannot encode the task: {error}"));
            let failure = Rejection::InvalidParams { name, reason }.into();
            self.scheduler.not_sendable(slot, turn, failure, now());
            return;
        }
        link.last_method.clone_from(name);
        if !std::mem::replace(&mut link.is_dirty, true) {
            self.dirty.push(slot);
        }
        report!(self.events, debug, "handling request"; "request" => key.id, "slot" => slot);
    }

    /// Sends the unsent data of all links, as much as the links accept. Returns whether a link was
    /// found closed or broken.
    pub(super) fn flush(&mut self) -> bool {
        let mut has_lost_link = false;
        let mut dirty = std::mem::take(&mut self.dirty);
        for slot in dirty.drain(..) {
            let Some(Some(link)) = self.links.get_mut(slot) else { continue };
            link.is_dirty = false;
            if link.is_unusable() {
                continue;
            }
            let child = link.child;
            match link.orders.flush() {
                Ok(()) => {
                    link.failed_sends = 0;
                    if link.orders.has_unsent() && !link.watch_writable() {
                        // The link cannot be watched. If the next send fails too, the error is
                        // reported.
                        self.sender.send_later(retry_delay(0), Input::RetrySend(child));
                    }
                }
                Err(error) => match SendFailure::of(&error) {
                    SendFailure::PeerClosed => {
                        self.link_closed(child);
                        has_lost_link = true;
                    }
                    SendFailure::Transient => self.retry_later(slot, &error),
                    SendFailure::Permanent => {
                        self.link_failed(child, &error);
                        has_lost_link = true;
                    }
                },
            }
        }
        // Links that have got unsent data in the meantime are flushed next time.
        dirty.append(&mut self.dirty);
        self.dirty = dirty;
        has_lost_link
    }

    /// Flushes a link again after a delay, because a send failed although the worker has not closed
    /// the link. If the shortage lasts, rejects the task whose parameters need a descriptor, so
    /// that the tasks behind it can be sent.
    fn retry_later(&mut self, slot: usize, error: &io::Error) {
        let Some(Some(link)) = self.links.get_mut(slot) else { return };
        if link.failed_sends >= FAILED_SENDS_MAX
            && let Some(turn) = link.orders.next_attached()
        {
            let child = link.child;
            self.reject_unsent(slot, turn, error);
            self.sender.send(Input::RetrySend(child));
            return;
        }
        if std::mem::replace(&mut link.is_retrying, true) {
            return;
        }
        let (child, failed_sends) = (link.child, link.failed_sends);
        link.failed_sends = failed_sends.saturating_add(1);
        if failed_sends == 0 {
            report!(
                self.events, warn, "cannot send to worker, retrying";
                "slot" => slot, "error" => error.to_string()
            );
        }
        self.sender.send_later(retry_delay(failed_sends), Input::RetrySend(child));
    }

    /// Rejects a task that is not sent to its worker, and removes it from the unsent data.
    fn reject_unsent(&mut self, slot: usize, turn: u64, error: &io::Error) {
        if let Some(job) = self.scheduler.job_of(slot, turn) {
            let reason = format!("cannot send them to a worker: {error}");
            let failure = Rejection::OutOfMemory { name: job.parts.name.to_string(), reason };
            self.scheduler.not_sendable(slot, turn, failure.into(), now());
        }
        if let Some(Some(link)) = self.links.get_mut(slot) {
            link.orders.retain(|turn| self.scheduler.is_in_flight(slot, turn));
        }
    }

    /// Kills a worker whose link cannot be used any more.
    pub(super) fn link_failed(&mut self, child: ChildId, error: &io::Error) {
        let slot = child.slot.index();
        let Some(link) = self.link_of(child) else { return };
        if link.is_unusable() {
            return;
        }
        link.setup = SetupState::Broken;
        let unused = link.answers.take_descriptors();
        if !unused.is_empty() {
            close_in_thread(unused);
        }
        let worker = link.pid.map_or(0, Pid::as_raw);
        if error.kind() == io::ErrorKind::InvalidData {
            // The worker is healthy, but the descriptors of its next messages cannot be matched to
            // their frames any more.
            report!(
                self.events, warn, "descriptor limit reached, answers are lost, killing worker";
                "slot" => slot, "worker" => worker, "error" => error.to_string()
            );
        } else {
            report!(
                self.events, warn, "link to a worker broken, killing worker";
                "slot" => slot, "worker" => worker, "error" => error.to_string()
            );
        }
        self.scheduler.link_broken(child, now());
    }

    /// Flushes a link whose retry delay has passed.
    pub(super) fn retry_send(&mut self, child: ChildId) {
        if let Some(link) = self.link_of(child) {
            link.is_retrying = false;
            self.dirty.push(child.slot.index());
        }
    }

    /// Returns the method that a worker is running, or that it ran last. Returns `None` if the
    /// worker has no link any more.
    pub(super) fn method_of(&mut self, child: ChildId) -> Option<CowStr> {
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
