//! The parent's handle of the fork server: sends commands, returns events, and keeps each request
//! until its child is forked.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use daemon_core::{
    ChildId, Exit, Scoreboard, ScoreboardLine, ScoreboardReader, SlotEntry, SlotNumber, Status,
};
use daemon_sys::clock::now;
use daemon_sys::ownfile::OwnFile;
use daemon_sys::poll::{Interest, wait};
use daemon_sys::process::{self, Pid, Signal};
use daemon_sys::reap::OrphanedGroup;
use daemon_sys::shared::SharedMemory;
use daemon_sys::signals::{SignalBlockGuard, SignalQueue};
use daemon_sys::wakeup::Wakeup;
use daemon_sys::{memfd, reap};

use crate::channel::{Channel, Received};
use crate::protocol::{ForkRefusal, ForkServerCommand, Report};
use crate::symbols::SymbolLookup;
use crate::transfer::{Encoder, Transfer, TransferError};

/// The size in bytes up to which a request is sent within the command. A larger request is sent in
/// a memory file, so that the fork server does not copy the request and its memory stays small.
const INLINE_MAX: usize = 4 * 1024;

/// An event of the fork server. The parent must handle every event.
#[derive(Debug)]
pub enum ForkServerEvent<R> {
    /// A child was forked. The parent's copy of its request has been dropped.
    Forked {
        /// The child.
        child: ChildId,
        /// The child's pid.
        pid: Pid,
    },
    /// A fork failed. The slot is free again.
    ForkFailed {
        /// The child that was not forked.
        child: ChildId,
        /// The child's request.
        request: R,
        /// Why the fork failed.
        refusal: ForkRefusal,
    },
    /// A child has exited and was reaped. Its slot is free again.
    Exited {
        /// The child.
        child: ChildId,
        /// The pid that the child had.
        pid: Pid,
        /// How the child exited.
        exit: Exit,
        /// The last contents of the child's scoreboard slot.
        last: SlotEntry,
    },
    /// A child has exited, and processes that it has started are left in its process group.
    /// Reported if [`Descendants::EndAtStop`](daemon_core::Descendants::EndAtStop) is set.
    DescendantsLeft {
        /// The child.
        child: ChildId,
        /// The number of the group, which is the pid that the child had.
        group: Pid,
    },
    /// The children have exited. The fork server has asked the processes that they have started to
    /// exit, and waits for them.
    EndingDescendants {
        /// The number of processes, without those that these have started.
        processes: u32,
    },
    /// The fork server exits, but processes that children have started are left.
    DescendantsSurvive {
        /// Why they could not be ended.
        error: String,
    },
    /// The fork server could not reopen its logs.
    ReopenLogsFailed {
        /// Why the logs could not be reopened.
        error: String,
    },
}

/// Why the fork server could not be spawned, or why a call of its handle failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForkServerError {
    /// A system call failed.
    #[error(transparent)]
    System(#[from] daemon_sys::Error),
    /// The scoreboard cannot be created with this number of slots.
    #[error("cannot create the scoreboard: {0}")]
    Board(#[from] daemon_core::ScoreboardError),
    /// The preload step failed.
    #[error("preload failed: {error}")]
    PreloadFailed {
        /// The error that the preload step returned.
        error: String,
    },
    /// A stop signal arrived before the preload step had ended.
    #[error("the start was stopped by {signal} before the preload step had ended")]
    Interrupted {
        /// The signal.
        signal: Signal,
    },
    /// All slots are taken.
    #[error("cannot fork: all {slots} slots of the scoreboard are taken")]
    Full {
        /// The number of slots.
        slots: u32,
    },
    /// The request that the child was to serve cannot be sent to the fork server.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// The fork server has exited, or has sent invalid data.
    #[error("lost the fork server (pid {pid}): {reason}")]
    Lost {
        /// The fork server's pid.
        pid: Pid,
        /// How the loss was detected.
        reason: String,
    },
}

/// Why a fork could not be requested. Contains the request that the child was to serve, so that the
/// request is not lost.
#[derive(Debug)]
pub struct ForkError<R> {
    /// The request, unchanged.
    pub request: R,
    /// Why the fork could not be requested.
    pub reason: ForkServerError,
}

/// The parent's handle of the fork server.
///
/// It assigns slots, sends commands and turns reports into [`ForkServerEvent`]s. Only
/// [`wait`](ForkServer::wait) blocks. Dropping the handle closes the link to the fork server, which
/// then sends TERM to its children, waits for the grace period, sends KILL, and exits.
pub struct ForkServer<R> {
    pid: Pid,
    channel: Channel<OwnedFd>,
    scoreboard: Scoreboard,
    board_file: Option<OwnFile>,
    wakeup: Wakeup,
    request_limit: usize,
    free: BinaryHeap<Reverse<u32>>,
    /// The requests of children whose fork was requested and has not been reported yet, indexed by
    /// slot.
    pending: Vec<Option<R>>,
    /// The pids of the children that the fork server has reported, indexed by slot.
    pids: Vec<Option<Pid>>,
    /// The process groups of the children of a lost fork server, when they have been signalled.
    orphaned: Option<Vec<OrphanedGroup>>,
}

impl<R> fmt::Debug for ForkServer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForkServer")
            .field("pid", &self.pid)
            .field("free", &self.free.len())
            .finish_non_exhaustive()
    }
}

impl<R: Transfer> ForkServer<R> {
    pub(crate) fn new(
        pid: Pid,
        channel: Channel<OwnedFd>,
        scoreboard: Scoreboard,
        memory: SharedMemory<ScoreboardLine>,
        wakeup: Wakeup,
        request_limit: usize,
    ) -> Self {
        let slots = scoreboard.slots();
        ForkServer {
            pid,
            channel,
            scoreboard,
            board_file: memory.file().cloned(),
            wakeup,
            request_limit,
            free: (0..slots).map(Reverse).collect(),
            pending: (0..slots).map(|_slot| None).collect(),
            pids: (0..slots).map(|_slot| None).collect(),
            orphaned: None,
        }
    }

    /// Waits for the fork server's first report, or for one of the stop signals. They are blocked,
    /// and stay blocked.
    pub(crate) fn wait_until_ready(self, stop_signals: &[Signal]) -> Result<Self, ForkServerError> {
        let blocked = SignalBlockGuard::block(stop_signals)?;
        let stops = SignalQueue::new(stop_signals)?;
        let ready = self.wait_for_report(&stops);
        // On systems without signalfd, the queue has unblocked the signals.
        blocked.restore_without_queue(stop_signals);
        ready
    }

    fn wait_for_report(mut self, stops: &SignalQueue) -> Result<Self, ForkServerError> {
        loop {
            let link = (self.channel.as_fd(), Interest::Read);
            let [_link, stop] = wait(&[link, (stops.as_fd(), Interest::Read)], None)?;
            if !stop.is_empty()
                && let Some(signal) = stops.drain()?.first()
            {
                self.kill();
                return Err(ForkServerError::Interrupted { signal: *signal });
            }
            let received = self.receive();
            match self.next_report()? {
                Some(Report::Ready) => return Ok(self),
                Some(Report::PreloadFailed { error }) => {
                    self.wait_for_exit();
                    return Err(ForkServerError::PreloadFailed { error });
                }
                Some(other) => return Err(self.lost(format!("its first report is {other:?}"))),
                None if received? == Received::Closed => {
                    let exit = self.wait_for_exit();
                    return Err(self.lost(format!("it ended before it was ready: {exit}")));
                }
                None => {}
            }
        }
    }

    /// Waits until the fork server has exited, and reaps it.
    fn wait_for_exit(&self) -> Exit {
        // Only other code that has reaped it can make this fail.
        reap::wait_for(self.pid).unwrap_or(Exit::Unknown)
    }

    /// Kills the fork server and the processes that the preload step has started in its group.
    fn kill(&self) {
        // The fork server may not lead its group yet. Neither call fails for a child of the same
        // user that is not reaped.
        let _ = process::signal_group(self.pid, Signal::Kill);
        let _ = process::signal(self.pid, Signal::Kill);
        self.wait_for_exit();
    }

    /// Asks the fork server to fork a child with this request into the lowest free slot.
    ///
    /// The handle keeps the request until [`ForkServerEvent::Forked`]. If the fork fails,
    /// [`ForkServerEvent::ForkFailed`] returns the request.
    ///
    /// # Errors
    ///
    /// [`ForkError`] returns the request at once if all slots are taken, if the request cannot be
    /// encoded, or if the fork server is lost.
    pub fn fork(&mut self, request: R) -> Result<ChildId, ForkError<R>> {
        let encoder = match Encoder::of(&request, self.request_limit) {
            Ok(encoder) => encoder,
            Err(error) => {
                return Err(ForkError { reason: error.into(), request });
            }
        };
        let Some(child) = self.take_slot() else {
            let reason = ForkServerError::Full { slots: self.scoreboard.slots() };
            return Err(ForkError { reason, request });
        };
        let sent = send_fork(&mut self.channel, child, &encoder);
        if let Err(error) = sent {
            let reason = match error {
                SendError::Memory(error) => TransferError::from(error).into(),
                SendError::Link(error) => self.lost(error.to_string()),
            };
            self.free_slot(child.slot);
            return Err(ForkError { reason, request });
        }
        if let Some(pending) = self.pending.get_mut(child.slot.index()) {
            *pending = Some(request);
        }
        Ok(child)
    }

    fn take_slot(&mut self) -> Option<ChildId> {
        let Reverse(slot) = self.free.pop()?;
        let slot = SlotNumber::new(slot);
        // A free slot can be opened, because only this handle opens and closes slots.
        let generation = self.scoreboard.open_slot(slot, now()).ok()?;
        Some(ChildId { slot, generation })
    }

    fn free_slot(&mut self, slot: SlotNumber) -> SlotEntry {
        let last = self.scoreboard.close_slot(slot, now());
        if let Some(pid) = self.pids.get_mut(slot.index()) {
            *pid = None;
        }
        self.free.push(Reverse(slot.get()));
        last
    }

    /// Sends a signal to a child, if it still exists.
    ///
    /// # Errors
    ///
    /// [`ForkServerError::Lost`] if the fork server is lost.
    pub fn signal(&mut self, child: ChildId, signal: Signal) -> Result<(), ForkServerError> {
        self.order(&ForkServerCommand::Signal { child, signal })
    }

    /// Sends a signal to all children.
    ///
    /// # Errors
    ///
    /// [`ForkServerError::Lost`] if the fork server is lost.
    pub fn signal_all(&mut self, signal: Signal) -> Result<(), ForkServerError> {
        self.order(&ForkServerCommand::SignalAll { signal })
    }

    /// Makes the fork server check whether a child still exists. If other code in the fork server
    /// has reaped the child, [`ForkServerEvent::Exited`] follows with
    /// [`Exit::Unknown`](daemon_core::Exit::Unknown).
    ///
    /// # Errors
    ///
    /// [`ForkServerError::Lost`] if the fork server is lost.
    pub fn check_child(&mut self, child: ChildId) -> Result<(), ForkServerError> {
        self.order(&ForkServerCommand::CheckChild { child })
    }

    /// Makes the fork server look up the functions at the addresses of backtraces, in a short-lived
    /// process that it forks. The first address of a backtrace is the executed one and the others
    /// are return addresses. At most 1024 different addresses are looked up, the first ones.
    ///
    /// Start the next lookup when this one has ended: a new lookup ends the previous one. If the
    /// fork server cannot fork, shuts down or is lost, the lookup ends and its frames have only
    /// addresses. The names of functions in libraries that `preload` has loaded are found, those in
    /// libraries that a child has loaded are not.
    ///
    /// # Errors
    ///
    /// [`ForkServerError::System`] if the pipe for the result cannot be created.
    /// [`ForkServerError::Lost`] if the command cannot be sent.
    pub fn look_up_symbols(
        &mut self,
        backtraces: Vec<Vec<usize>>,
    ) -> Result<SymbolLookup, ForkServerError> {
        let (lookup, output) = SymbolLookup::new(backtraces)?;
        let addresses = lookup.addresses().iter().map(|address| *address as u64).collect();
        let order = ForkServerCommand::LookUpSymbols { addresses };
        let sent = self.channel.send(&order, &[], &[output.as_fd()]);
        sent.map_err(|error| self.lost(error.to_string()))?;
        Ok(lookup)
    }

    /// Makes the fork server reopen its logs, see
    /// [`ChildProgram::reopen_logs`](crate::ChildProgram::reopen_logs).
    ///
    /// # Errors
    ///
    /// [`ForkServerError::Lost`] if the fork server is lost.
    pub fn reopen_logs(&mut self) -> Result<(), ForkServerError> {
        self.order(&ForkServerCommand::ReopenLogs)
    }

    /// Makes the fork server drop its copy of the program, including any listener. No more children
    /// can be forked.
    ///
    /// # Errors
    ///
    /// [`ForkServerError::Lost`] if the fork server is lost.
    pub fn release(&mut self) -> Result<(), ForkServerError> {
        self.order(&ForkServerCommand::Release)
    }

    /// Shuts the fork server down. Children that are left receive TERM, and KILL after `grace`.
    /// Then the processes that children have started receive the same, unless they are [left
    /// alone](daemon_core::Descendants::Leave). `grace` is the total time. When the fork server has
    /// exited, [`collect`](ForkServer::collect) returns [`ForkServerError::Lost`] and
    /// [`reap`](ForkServer::reap) returns how it exited.
    ///
    /// # Errors
    ///
    /// [`ForkServerError::Lost`] if the fork server has exited already.
    pub fn shut_down(&mut self, grace: Duration) -> Result<(), ForkServerError> {
        self.order(&ForkServerCommand::ShutDown { grace })
    }

    fn order(&mut self, order: &ForkServerCommand) -> Result<(), ForkServerError> {
        self.channel.send(order, &[], &[]).map_err(|error| self.lost(error.to_string()))
    }

    /// Appends the events that the fork server has reported so far to `events`. Does not block.
    ///
    /// # Errors
    ///
    /// [`ForkServerError::Lost`] if the link is closed. Events that were reported before the link
    /// was closed are in `events`.
    pub fn collect(&mut self, events: &mut Vec<ForkServerEvent<R>>) -> Result<(), ForkServerError> {
        loop {
            let received = self.receive();
            while let Some(report) = self.next_report()? {
                events.extend(self.event(report));
            }
            match received? {
                Received::More => {}
                Received::Drained => return Ok(()),
                Received::Closed => return Err(self.lost("it closed the link".into())),
            }
        }
    }

    /// Turns a report into an event, and updates the slots. Returns `None` for a report of the
    /// preload step, and if the slot no longer belongs to the child that the report names.
    fn event(&mut self, report: Report) -> Option<ForkServerEvent<R>> {
        match report {
            Report::ChildForked { child, pid } => {
                self.check_slot(child)?;
                self.pending.get_mut(child.slot.index())?.take()?;
                self.scoreboard.set_pid(child.slot, pid.as_u32());
                *self.pids.get_mut(child.slot.index())? = Some(pid);
                Some(ForkServerEvent::Forked { child, pid })
            }
            Report::ForkFailed { child, error } => {
                self.check_slot(child)?;
                let request = self.pending.get_mut(child.slot.index())?.take()?;
                self.free_slot(child.slot);
                Some(ForkServerEvent::ForkFailed { child, request, refusal: error })
            }
            Report::ChildExited { child, pid, exit } => {
                self.check_slot(child)?;
                let last = self.free_slot(child.slot);
                Some(ForkServerEvent::Exited { child, pid, exit, last })
            }
            Report::DescendantsLeft { child, group } => {
                Some(ForkServerEvent::DescendantsLeft { child, group })
            }
            Report::EndingDescendants { processes } => {
                Some(ForkServerEvent::EndingDescendants { processes })
            }
            Report::DescendantsSurvive { error } => {
                Some(ForkServerEvent::DescendantsSurvive { error })
            }
            Report::ReopenLogsFailed { error } => Some(ForkServerEvent::ReopenLogsFailed { error }),
            Report::Ready | Report::PreloadFailed { .. } => None,
        }
    }

    /// Returns `None` if the slot does not belong to this child.
    fn check_slot(&self, child: ChildId) -> Option<()> {
        // The view's generation and the status of a free slot are those that this process has
        // given to the slot, whatever the line of the slot contains.
        let entry = self.scoreboard.view().read(child.slot);
        let is_open = entry.status.is_some_and(|status| status != Status::Empty);
        (is_open && entry.generation == child.generation).then_some(())
    }

    /// Waits until the fork server reports an event, the link accepts unsent commands, a child
    /// writes to the scoreboard while the wakeup is armed, or the timeout has passed. Returns the
    /// events, if any. For programs without an event loop.
    ///
    /// # Errors
    ///
    /// The same as [`collect`](ForkServer::collect).
    pub fn wait(
        &mut self,
        timeout: Option<Duration>,
    ) -> Result<Vec<ForkServerEvent<R>>, ForkServerError> {
        let interest = if self.channel.has_unsent() { Interest::ReadWrite } else { Interest::Read };
        let ready = wait(
            &[(self.channel.as_fd(), interest), (self.wakeup.as_fd(), Interest::Read)],
            timeout,
        )?;
        if !ready[1].is_empty() {
            self.wakeup.clear();
        }
        let mut events = Vec::new();
        if !ready[0].is_empty() {
            // If the fork server is lost, the events that it reported before are returned first.
            // The next call returns the error.
            let flushed = self.flush();
            let collected = self.collect(&mut events).and(flushed);
            if events.is_empty() {
                collected?;
            }
        }
        Ok(events)
    }

    /// Tries to send the commands that the link has not accepted yet.
    ///
    /// # Errors
    ///
    /// [`ForkServerError::Lost`] if the fork server is lost.
    pub fn flush(&mut self) -> Result<(), ForkServerError> {
        self.channel.flush().map_err(|error| self.lost(error.to_string()))
    }

    /// Returns whether there are commands that the link has not accepted yet.
    #[must_use]
    pub fn has_unsent_commands(&self) -> bool {
        self.channel.has_unsent()
    }

    fn receive(&mut self) -> Result<Received, ForkServerError> {
        self.channel.receive().map_err(|error| self.lost(error.to_string()))
    }

    fn next_report(&mut self) -> Result<Option<Report>, ForkServerError> {
        match self.channel.next() {
            Ok(frame) => Ok(frame.map(|(report, _empty)| report)),
            Err(error) => Err(self.lost(error.to_string())),
        }
    }

    /// Returns the requests of the children that a lost fork server has not reported as
    /// [`Forked`](crate::ForkServerEvent::Forked).
    ///
    /// Such a child may exist nevertheless: the fork server may have died between the fork and the
    /// report.
    pub fn take_pending(&mut self) -> Vec<(ChildId, R)> {
        let board = self.scoreboard.view();
        (0..)
            .map(SlotNumber::new)
            .zip(&mut self.pending)
            .filter_map(|(slot, pending)| {
                let child = ChildId { slot, generation: board.read(slot).generation };
                Some((child, pending.take()?))
            })
            .collect()
    }

    /// Sends a signal to the fork server, its children and what they have started, without the help
    /// of the fork server, which is lost or does not answer. Processes that have left the process
    /// group of their child are not reached.
    ///
    /// Call this before the fork server is [reaped](ForkServer::reap). Until then no other process
    /// group can get the same number.
    ///
    /// # Errors
    ///
    /// If the system refuses to send the signal.
    pub fn signal_orphaned(&mut self, signal: Signal) -> Result<(), ForkServerError> {
        let mut result = process::signal_group(self.pid, signal).map(drop);
        for group in self.orphaned() {
            result = result.and(group.signal(signal).map(drop));
        }
        result.map_err(ForkServerError::from)
    }

    /// Returns whether the children of a lost fork server have exited, and what they have started.
    ///
    /// As with [`signal_orphaned`](ForkServer::signal_orphaned), call this before the fork server
    /// is reaped.
    #[must_use]
    pub fn orphaned_are_gone(&mut self) -> bool {
        let fork_server = self.pid;
        // A child that the fork server has not reported is still in the group of the fork server,
        // or ends by its parent death signal. Its pid is the one on the line, and is only examined,
        // so a wrong one does no harm.
        let in_group = self
            .scoreboard
            .entries()
            .filter_map(|entry| Pid::from_u32(entry.pid))
            .any(|pid| process::group_of(pid) == Some(fork_server));
        !in_group && self.orphaned().iter_mut().all(OrphanedGroup::is_gone)
    }

    /// Returns the process groups that the children of a lost fork server lead.
    fn orphaned(&mut self) -> &mut [OrphanedGroup] {
        let pids = &self.pids;
        self.orphaned.get_or_insert_with(|| {
            // A child that has not made its group yet is still in the group of the fork server.
            let leads = |pid: &Pid| process::group_of(*pid).is_none_or(|group| group == *pid);
            pids.iter().flatten().copied().filter(leads).map(OrphanedGroup::of).collect()
        })
    }

    /// Reaps the fork server if it has exited, and returns how it exited; `None` if it is running.
    ///
    /// # Errors
    ///
    /// If other code has reaped the fork server.
    pub fn reap(&self) -> Result<Option<Exit>, ForkServerError> {
        Ok(reap::reap(self.pid)?)
    }

    fn lost(&self, reason: String) -> ForkServerError {
        ForkServerError::Lost { pid: self.pid, reason }
    }

    /// Returns the scoreboard with the parent's write access.
    #[must_use]
    pub fn scoreboard(&self) -> &Scoreboard {
        &self.scoreboard
    }

    /// Returns the file of the scoreboard, if it is in a file.
    #[must_use]
    pub fn board_file(&self) -> Option<&OwnFile> {
        self.board_file.as_ref()
    }

    /// Returns the parent's read-only view of the scoreboard, see [`Scoreboard::view`].
    #[must_use]
    pub fn board(&self) -> ScoreboardReader {
        self.scoreboard.view()
    }

    /// Returns the wakeup, which becomes readable when a child writes to the scoreboard while the
    /// wakeup is armed.
    #[must_use]
    pub fn wakeup(&self) -> &Wakeup {
        &self.wakeup
    }

    /// Returns the fork server's pid.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }
}

impl<R> AsFd for ForkServer<R> {
    /// Returns the link's descriptor, which is readable when there are reports to
    /// [`collect`](ForkServer::collect) or the link is closed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

fn send_fork(
    channel: &mut Channel<OwnedFd>,
    child: ChildId,
    encoder: &Encoder<'_>,
) -> Result<(), SendError> {
    let memory = match encoder.bytes() {
        bytes if bytes.len() <= INLINE_MAX => None,
        bytes => Some(memfd::memfd_with("request", bytes).map_err(SendError::Memory)?),
    };
    let body = if memory.is_none() { encoder.bytes() } else { &[] };
    let files = memory.as_ref().map(AsFd::as_fd);
    let files: Vec<BorrowedFd<'_>> =
        files.into_iter().chain(encoder.descriptors().iter().copied()).collect();
    let (is_in_file, descriptors) = (memory.is_some(), files.len() as u8);
    let order = ForkServerCommand::Fork { child, is_in_file, descriptors };
    channel.send(&order, body, &files).map_err(SendError::Link)
}

enum SendError {
    Memory(daemon_sys::Error),
    Link(std::io::Error),
}
