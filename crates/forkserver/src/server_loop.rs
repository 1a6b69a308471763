//! The fork server's own process: a loop that executes commands, forks, reaps and reports.
//!
//! The process has one thread and no runtime. It makes no decisions: it executes commands and
//! reports the results. A new child returns from the loop, so it keeps none of the loop's state.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use daemon_core::{ChildId, Exit, MonotonicTime, Seat};
use daemon_sys::clock::now;
use daemon_sys::fork::{ForkResult, fork};
use daemon_sys::memfd;
use daemon_sys::poll::{Interest, Ready, wait};
use daemon_sys::process::{self, Pid, Signal, SignalOutcome, this_pid};
use daemon_sys::reap::{self, ChildTable, ExitedChild, GroupSignals};
use daemon_sys::signals::{SignalBlockGuard, SignalQueue};

use crate::channel::{Channel, Received};
use crate::child_program::{
    BlockedSignals, ChildProgram, ChildStart, ServerSettings, SlotResources,
};
use crate::protocol::{ForkRefusal, ForkServerCommand, Report};
use crate::symbols::{SYMBOL_LOOKUP_MAX, run_lookup};
use crate::transfer::{Decoder, Transfer, TransferError};

/// The time for which a shutdown waits for the end of a killed lookup, or of killed processes that
/// children have started.
const KILLED_EXIT_MAX: Duration = Duration::from_secs(1);

/// The loop's state: the children and the link to the parent.
pub(crate) struct ServerLoop<B: ChildProgram> {
    settings: ServerSettings,
    program: Option<B>,
    resources: SlotResources,
    channel: Channel<OwnedFd>,
    child_exits: SignalQueue,
    mask: SignalBlockGuard,
    children: ChildTable<ForkedProcess>,
    /// The buffer of the last request, for the next one.
    request_buffer: Vec<u8>,
    /// The buffer for the next exits.
    exit_buffer: Vec<ExitedChild<ForkedProcess>>,
    /// The lookup that was started last.
    lookup: Option<ForkedProcess>,
    /// The groups of exited children whose remaining processes were asked to exit, and when these
    /// are killed.
    ending_groups: BTreeSet<(MonotonicTime, Pid)>,
    /// The shutdown in progress. During it, no commands are accepted.
    shutdown: Option<Shutdown>,
}

/// The progress of a shutdown.
#[derive(Debug)]
struct Shutdown {
    since: MonotonicTime,
    /// When the children and what they have started are killed.
    kill_at: MonotonicTime,
    /// The processes started by children that were asked to exit. `None` while children are left.
    asked: Option<HashSet<Pid>>,
}

/// A process that the fork server has forked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum ForkedProcess {
    Child(ChildId),
    /// A process that looks up symbols. It has neither a slot nor a seat, and does not count as a
    /// child.
    Lookup(Pid),
}

/// Why the loop returned.
#[expect(
    clippy::large_enum_variant,
    reason = "the value is moved once per process, and a box would cost an allocation in each child"
)]
pub(crate) enum LoopExit<B: ChildProgram> {
    /// In the fork server: the shutdown is complete and no children are left.
    Finished,
    /// In a new child: the program, and the argument of its [`run_child`](ChildProgram::run_child).
    Child(B, ChildStart<B::Request>),
}

/// What the loop does after a command.
enum AfterCommand {
    /// Take the next command.
    Continue,
    /// Shut down: on command, with this grace period, or because the parent has exited.
    ShutDown(Option<Duration>),
    /// This process is the new child, forked at this time.
    Child(ForkedChild, MonotonicTime),
}

impl<B: ChildProgram> ServerLoop<B> {
    pub(crate) fn new(
        settings: ServerSettings,
        program: B,
        resources: SlotResources,
        channel: Channel<OwnedFd>,
        child_exits: SignalQueue,
        mask: SignalBlockGuard,
    ) -> Self {
        let mut children = ChildTable::of_all();
        children.set_group_signals(GroupSignals {
            kill: settings.descendants.are_ended(),
            at_exit: settings.descendants.signal_at_exit(),
        });
        ServerLoop {
            settings,
            program: Some(program),
            resources,
            channel,
            child_exits,
            mask,
            children,
            request_buffer: Vec::new(),
            exit_buffer: Vec::new(),
            lookup: None,
            ending_groups: BTreeSet::new(),
            shutdown: None,
        }
    }

    /// Runs until the parent has requested a shutdown or exited, and all children have exited. Also
    /// returns in each new child.
    pub(crate) fn run(mut self) -> Result<LoopExit<B>, ChildStartError> {
        self.report(&Report::Ready);
        loop {
            if self.is_finished() {
                self.flush();
                // Signals that are pending for the fork server stay blocked until it exits.
                self.mask.leave_blocked();
                return Ok(LoopExit::Finished);
            }
            self.flush();
            let [child_exits, link] = self.wait()?;
            if !child_exits.is_empty() {
                self.child_exits.clear()?;
                let mut exited = std::mem::take(&mut self.exit_buffer);
                self.children.reap_into(&mut exited)?;
                self.report_exits(exited.drain(..));
                self.exit_buffer = exited;
            }
            if !link.is_empty() {
                match self.receive_commands() {
                    AfterCommand::Continue => {}
                    AfterCommand::ShutDown(grace) => {
                        self.begin_shutdown(grace.unwrap_or(self.settings.grace));
                    }
                    AfterCommand::Child(forked, time) => return self.into_child(forked, time),
                }
            }
            let time = now();
            let late = self.children.kill_late(time);
            self.report_exits(late.exited);
            self.kill_ending_groups(time);
        }
    }

    /// Returns whether the shutdown is complete. A killed lookup is not waited for without a limit,
    /// because it may hang in a read of its files.
    fn is_finished(&mut self) -> bool {
        let Some(Shutdown { since, .. }) = &self.shutdown else { return false };
        let are_gone = self.children.is_empty()
            || (self.children().next().is_none() && *since + KILLED_EXIT_MAX <= now());
        are_gone && self.end_descendants(now())
    }

    /// Ends the processes that children have started, when the children have exited. Their own
    /// children are adopted when they exit, and ended then. Returns whether none is left, or
    /// waiting for them is useless.
    fn end_descendants(&mut self, time: MonotonicTime) -> bool {
        // A lookup that was killed and still exists hangs, and is not waited for.
        if !self.settings.descendants.are_ended()
            || !self.children.is_empty()
            || !reap::has_children()
        {
            return true;
        }
        let Some(Shutdown { kill_at, asked, .. }) = &mut self.shutdown else { return true };
        let (kill_at, is_first) = (*kill_at, asked.is_none());
        let asked = asked.get_or_insert_default();
        let signalled = if kill_at <= time {
            reap::signal_children_except(|_pid| false, Signal::Kill)
        } else {
            // `HashSet::insert` returns false for a process that was asked before.
            reap::signal_children_except(|pid| !asked.insert(pid), Signal::Term)
        };
        match signalled {
            Ok(processes) => {
                if is_first {
                    self.report(&Report::EndingDescendants { processes });
                }
                let is_over = kill_at + KILLED_EXIT_MAX <= time;
                if is_over {
                    let error = "they do not end after KILL".to_owned();
                    self.report(&Report::DescendantsSurvive { error });
                }
                is_over
            }
            Err(error) => {
                self.report(&Report::DescendantsSurvive { error: error.to_string() });
                true
            }
        }
    }

    /// Finds out whether processes are left in the group of a child that was reaped just now.
    /// During a stop of the daemon this is not reported, because they end with the daemon.
    fn find_left(&mut self, child: ChildId, exited: &ExitedChild<ForkedProcess>) {
        let descendants = self.settings.descendants;
        // If other code has reaped the child, another group can have its number by now.
        let is_known = exited.exit != Exit::Unknown;
        let group = exited.pid;
        if !descendants.are_ended()
            || self.shutdown.is_some()
            || !is_known
            || exited.is_group_killed
            || !process::group_exists(group)
        {
            return;
        }
        match descendants.signal_at_exit() {
            None if self.program.is_none() => {}
            None => self.report(&Report::DescendantsLeft { child, group }),
            Some(_asked) => {
                self.ending_groups.insert((now() + self.settings.grace, group));
            }
        }
    }

    /// Kills the processes that were asked to exit when their child had exited, and that are late.
    fn kill_ending_groups(&mut self, time: MonotonicTime) {
        while let Some((due, group)) = self.ending_groups.first().copied()
            && due <= time
        {
            self.ending_groups.pop_first();
            if reap::has_child_in_group(group) {
                // A process may belong to another user.
                let _ = process::signal_group(group, Signal::Kill);
            }
        }
    }

    /// Returns the time at which the loop must run even if nothing happens.
    fn next_deadline(&self) -> Option<MonotonicTime> {
        let ending = self.ending_groups.first().map(|(due, _group)| *due);
        let shutdown = self.shutdown.as_ref().and_then(|Shutdown { kill_at, asked, .. }| {
            let is_late = *kill_at <= now();
            asked.is_some().then(|| if is_late { *kill_at + KILLED_EXIT_MAX } else { *kill_at })
        });
        [self.children.next_deadline(), ending, shutdown].into_iter().flatten().min()
    }

    /// Waits for child exits and, until the shutdown begins, for commands. Afterwards the link is
    /// not polled, because a closed link is always readable. Returns the readiness of both.
    fn wait(&self) -> Result<[Ready; 2], daemon_sys::Error> {
        let child_exits = (self.child_exits.as_fd(), Interest::Read);
        let interest = if self.channel.has_unsent() { Interest::ReadWrite } else { Interest::Read };
        let link = (self.channel.as_fd(), interest);
        let timeout = self.next_deadline().map(|time| time.saturating_since(now()));
        Ok(if self.shutdown.is_some() {
            let [child_exits] = wait(&[child_exits], timeout)?;
            [child_exits, Ready::default()]
        } else {
            wait(&[child_exits, link], timeout)?
        })
    }

    fn receive_commands(&mut self) -> AfterCommand {
        let Ok(received) = self.channel.receive_or_lose() else {
            return AfterCommand::ShutDown(None);
        };
        loop {
            let Ok(next) = self.channel.next::<ForkServerCommand>() else {
                return AfterCommand::ShutDown(None);
            };
            let Some((command, rest)) = next else {
                return match received {
                    Received::Closed => AfterCommand::ShutDown(None),
                    Received::More | Received::Drained => AfterCommand::Continue,
                };
            };
            let mut request = Vec::new();
            if !rest.bytes.is_empty() {
                std::mem::swap(&mut request, &mut self.request_buffer);
            }
            let next = match rest.take(command.descriptors(), &mut request) {
                Ok(descriptors) => self.execute(command, request, descriptors),
                Err(error) => self.cannot_execute(&command, &error),
            };
            match next {
                AfterCommand::Continue => {}
                next => return next,
            }
        }
    }

    /// Handles a command without its descriptors. If this process had none free, only the command
    /// fails.
    fn cannot_execute(
        &mut self,
        command: &ForkServerCommand,
        error: &std::io::Error,
    ) -> AfterCommand {
        let Some(errno) = error.raw_os_error() else { return AfterCommand::ShutDown(None) };
        match command {
            ForkServerCommand::Fork { child, .. } => {
                let error = ForkRefusal::System(errno);
                self.report(&Report::ForkFailed { child: *child, error });
            }
            // The backtrace has only addresses then. The others have no descriptors.
            ForkServerCommand::LookUpSymbols { .. }
            | ForkServerCommand::Signal { .. }
            | ForkServerCommand::SignalAll { .. }
            | ForkServerCommand::CheckChild { .. }
            | ForkServerCommand::ReopenLogs
            | ForkServerCommand::Release
            | ForkServerCommand::ShutDown { .. } => {}
        }
        AfterCommand::Continue
    }

    fn execute(
        &mut self,
        command: ForkServerCommand,
        request: Vec<u8>,
        descriptors: VecDeque<OwnedFd>,
    ) -> AfterCommand {
        match command {
            ForkServerCommand::Fork { child, is_in_file, .. } => {
                return self.fork(ForkedChild { child, request, is_in_file, descriptors });
            }
            ForkServerCommand::Signal { child, signal } => {
                let sent = self.children.signal(ForkedProcess::Child(child), signal);
                if matches!(sent, Ok(SignalOutcome::NoSuchProcess)) {
                    self.check_child(child);
                }
            }
            ForkServerCommand::SignalAll { signal } => self.signal_all(signal),
            ForkServerCommand::CheckChild { child } => self.check_child(child),
            ForkServerCommand::LookUpSymbols { addresses } => {
                self.look_up_symbols(&addresses, descriptors);
            }
            ForkServerCommand::ReopenLogs => {
                if let Some(Err(error)) = self.program.as_mut().map(ChildProgram::reopen_logs) {
                    self.report(&Report::ReopenLogsFailed { error: error.to_string() });
                }
            }
            ForkServerCommand::Release => self.release(),
            ForkServerCommand::ShutDown { grace } => return AfterCommand::ShutDown(Some(grace)),
        }
        AfterCommand::Continue
    }

    fn fork(&mut self, forked: ForkedChild) -> AfterCommand {
        let child = forked.child;
        if self.program.is_none() {
            self.report(&Report::ForkFailed { child, error: ForkRefusal::Released });
            return AfterCommand::Continue;
        }
        let time = now();
        match fork() {
            Ok(ForkResult::Child) => return AfterCommand::Child(forked, time),
            Ok(ForkResult::Parent(pid)) => {
                // Freeing or allocating memory would write to pages that are shared with the child,
                // so the buffers are kept for the next one.
                self.channel.recycle(forked.descriptors);
                if forked.request.capacity() > 0 {
                    self.request_buffer = forked.request;
                    self.request_buffer.clear();
                }
                // A group that was empty has lost its number to the new child.
                self.ending_groups.retain(|(_due, group)| *group != pid);
                self.children.add(ForkedProcess::Child(child), pid);
                self.report(&Report::ChildForked { child, pid });
            }
            Err(error) => {
                let error = ForkRefusal::from(error);
                self.report(&Report::ForkFailed { child, error });
            }
        }
        AfterCommand::Continue
    }

    /// Forks a process that looks up these addresses, and kills the previous one if it still runs.
    /// If the fork fails, the pipe is closed, which ends the lookup in the parent.
    fn look_up_symbols(&mut self, addresses: &[u64], mut descriptors: VecDeque<OwnedFd>) {
        let Some(output) = descriptors.pop_front() else {
            return;
        };
        let time = now();
        self.kill_lookup(time);
        match fork() {
            Ok(ForkResult::Child) => run_lookup(addresses, output, &self.settings),
            Ok(ForkResult::Parent(pid)) => {
                let lookup = ForkedProcess::Lookup(pid);
                self.children.add(lookup, pid);
                self.children.late_at(lookup, time + SYMBOL_LOOKUP_MAX);
                self.lookup = Some(lookup);
            }
            Err(_parent_keeps_the_addresses) => {}
        }
    }

    fn kill_lookup(&mut self, now: MonotonicTime) {
        if let Some(lookup) = self.lookup.take() {
            self.children.late_at(lookup, now);
        }
    }

    /// Returns the children, without lookups.
    fn children(&self) -> impl Iterator<Item = ForkedProcess> + '_ {
        self.children.ids().filter(|id| matches!(id, ForkedProcess::Child(_)))
    }

    /// Checks whether one child still exists, and reports its exit if not. The exit of a child that
    /// other code (for example a library that the preload step uses) has reaped is found only here.
    fn check_child(&mut self, child: ChildId) {
        let exited = self.children.check(ForkedProcess::Child(child));
        self.report_exits(exited);
    }

    fn report_exits(&mut self, exited: impl IntoIterator<Item = ExitedChild<ForkedProcess>>) {
        for exited in exited {
            match exited.id {
                ForkedProcess::Child(child) => {
                    let ExitedChild { pid, exit, .. } = exited;
                    self.report(&Report::ChildExited { child, pid, exit });
                    self.find_left(child, &exited);
                }
                ForkedProcess::Lookup(_) => {}
            }
        }
    }

    /// Asks the children to stop. At the end of the grace period, they and what they have started
    /// are killed.
    fn begin_shutdown(&mut self, grace: Duration) {
        let time = now();
        let kill_at = time + grace;
        self.shutdown = Some(Shutdown { since: time, kill_at, asked: None });
        self.release();
        self.kill_lookup(time);
        self.signal_all(Signal::Term);
        for child in self.children().collect::<Vec<_>>() {
            self.children.late_at(child, kill_at);
        }
    }

    fn release(&mut self) {
        if let Some(program) = self.program.take() {
            program.release();
        }
    }

    fn signal_all(&mut self, signal: Signal) {
        for child in self.children().collect::<Vec<_>>() {
            // A signal that cannot be sent has no effect.
            let _ = self.children.signal(child, signal);
        }
    }

    /// Queues a report. This does not fail, because every report can be encoded.
    fn report(&mut self, report: &Report) {
        let _ = self.channel.queue(0, report, &[], None);
    }

    /// Sends queued reports. An error means that the link is closed. The next read detects this.
    fn flush(&mut self) {
        let _ = self.channel.flush();
    }

    /// Turns this process into the child: drops the fork server's state, then takes the seat.
    fn into_child(
        self,
        forked: ForkedChild,
        time: MonotonicTime,
    ) -> Result<LoopExit<B>, ChildStartError> {
        let ServerLoop {
            settings,
            program,
            resources,
            channel,
            child_exits,
            mask,
            children,
            request_buffer,
            exit_buffer,
            lookup: _,
            ending_groups,
            shutdown: _,
        } = self;
        channel.close_without_freeing();
        drop(child_exits);
        // Freeing memory would write to pages that are still shared with the fork server.
        std::mem::forget((children, request_buffer, exit_buffer, ending_groups));
        let Some(program) = program else {
            return Err(ChildStartError::Released);
        };
        // What the child starts is in its group, so that it can be ended with the child.
        process::become_group_leader()?;
        process::die_with_parent(Signal::Term, settings.fork_server)?;
        let ChildId { slot, generation } = forked.child;
        let pid = this_pid().as_u32();
        let SlotResources { board, wakeup } = resources;
        let seat = Seat::take(board, slot, generation, pid, time, wakeup)?;
        let start = ChildStart {
            seat,
            request: decode(forked),
            signals: BlockedSignals { blocked: mask },
            fork_server: settings.fork_server,
        };
        std::mem::forget(settings);
        Ok(LoopExit::Child(program, start))
    }
}

/// The contents of a `Fork` command, which the forked child uses.
#[derive(Debug)]
struct ForkedChild {
    child: ChildId,
    /// The bytes of the request. They are empty if the request is in a memory file, which is then
    /// the first descriptor.
    request: Vec<u8>,
    is_in_file: bool,
    descriptors: VecDeque<OwnedFd>,
}

/// Why a forked process could not start as a child.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChildStartError {
    #[error("the fork server has released the program")]
    Released,
    #[error(transparent)]
    System(#[from] daemon_sys::Error),
    #[error("cannot take the seat: {0}")]
    Seat(#[from] daemon_core::ReportError),
}

fn decode<R: Transfer>(forked: ForkedChild) -> Result<R, TransferError> {
    let ForkedChild { mut request, is_in_file, mut descriptors, .. } = forked;
    if is_in_file {
        let memory = descriptors.pop_front().ok_or(TransferError::MissingDescriptor)?;
        request = memfd::read_all(&memory, usize::MAX)?;
    }
    Decoder::new(request, descriptors).decode_request()
}
