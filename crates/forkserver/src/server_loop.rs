//! The fork server's own process: a loop that executes commands, forks, reaps and reports.
//!
//! The process has one thread and no runtime. It makes no decisions: it executes commands and
//! reports the results. A new child returns from the loop, so it keeps none of the loop's state.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use daemon_core::{ChildId, Exit, MonotonicTime, Seat};
use daemon_sys::fork::{ForkResult, fork};
use daemon_sys::memfd;
use daemon_sys::poll::{Interest, Ready, wait};
use daemon_sys::process::{self, Pid, Signal, this_pid};
use daemon_sys::reap::{peek_exit, reap, reap_any};
use daemon_sys::signals::{SignalBlockGuard, SignalQueue};

use crate::builder::ServerSettings;
use crate::channel::{Channel, Received};
use crate::child_program::{BlockedSignals, ChildProgram, ChildStart, SlotResources, now};
use crate::protocol::{ForkRefusal, ForkServerCommand, Report};
use crate::symbols::{LookupProcess, run_lookup};
use crate::transfer::{Decoder, Transfer, TransferError};

/// The interval at which the loop checks, after KILL, whether each remaining child still exists.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// The loop's state: the children and the link to the parent.
pub(crate) struct ServerLoop<B: ChildProgram> {
    settings: ServerSettings,
    program: Option<B>,
    resources: SlotResources,
    channel: Channel<OwnedFd>,
    child_exits: SignalQueue,
    mask: SignalBlockGuard,
    children: HashMap<ChildId, Pid>,
    pids: HashMap<Pid, ChildId>,
    lookup: LookupProcess,
    shutdown_phase: ShutdownPhase,
}

/// The state of the shutdown.
#[derive(Debug, Clone, Copy)]
enum ShutdownPhase {
    /// Commands are accepted.
    Running,
    /// The children were sent TERM. Those that still exist at this time are killed.
    KillAt(MonotonicTime),
    /// The children were killed and are not all reaped yet.
    Killed,
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

/// The readiness of the descriptors that the loop waits for.
#[derive(Debug, Clone, Copy, Default)]
struct ReadySources {
    child_exits: Ready,
    link: Ready,
}

/// What the loop does after a command.
enum AfterCommand {
    /// Take the next command.
    Continue,
    /// Shut down: on command, or because the parent has exited.
    ShutDown,
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
        ServerLoop {
            settings,
            program: Some(program),
            resources,
            channel,
            child_exits,
            mask,
            children: HashMap::new(),
            pids: HashMap::new(),
            lookup: LookupProcess::default(),
            shutdown_phase: ShutdownPhase::Running,
        }
    }

    /// Runs until the parent has requested a shutdown or exited, and all children have exited. Also
    /// returns in each new child.
    pub(crate) fn run(mut self) -> Result<LoopExit<B>, ChildStartError> {
        self.report(&Report::Ready);
        loop {
            if let ShutdownPhase::KillAt(_) | ShutdownPhase::Killed = self.shutdown_phase
                && self.pids.is_empty()
                && !self.lookup.exists()
            {
                self.flush();
                // Signals that are pending for the fork server stay blocked until it exits.
                self.mask.leave_blocked();
                return Ok(LoopExit::Finished);
            }
            self.flush();
            let ready = self.wait()?;
            if !ready.child_exits.is_empty() {
                self.child_exits.clear()?;
                self.reap()?;
            }
            if !ready.link.is_empty() {
                match self.receive_commands() {
                    AfterCommand::Continue => {}
                    AfterCommand::ShutDown => self.begin_shutdown(),
                    AfterCommand::Child(forked, time) => return self.into_child(forked, time),
                }
            }
            self.kill_overdue();
            self.lookup.enforce(now(), kill_lookup);
        }
    }

    /// Waits for child exits and, until the shutdown begins, for commands. Afterwards the link is
    /// not polled, because a closed link is always readable.
    fn wait(&self) -> Result<ReadySources, daemon_sys::Error> {
        let child_exits = (self.child_exits.as_fd(), Interest::Read);
        let interest = if self.channel.has_unsent() { Interest::ReadWrite } else { Interest::Read };
        let link = (self.channel.as_fd(), interest);
        Ok(match self.shutdown_phase {
            ShutdownPhase::Running => {
                let [child_exits, link] = wait(&[child_exits, link], self.timeout())?;
                ReadySources { child_exits, link }
            }
            ShutdownPhase::KillAt(_) | ShutdownPhase::Killed => {
                let [child_exits] = wait(&[child_exits], self.timeout())?;
                ReadySources { child_exits, ..ReadySources::default() }
            }
        })
    }

    fn timeout(&self) -> Option<Duration> {
        let shutdown = match self.shutdown_phase {
            ShutdownPhase::KillAt(time) => Some(time.saturating_since(now())),
            ShutdownPhase::Running => None,
            ShutdownPhase::Killed => Some(CHECK_INTERVAL),
        };
        let lookup = self.lookup.deadline().map(|time| time.saturating_since(now()));
        shutdown.into_iter().chain(lookup).min()
    }

    fn receive_commands(&mut self) -> AfterCommand {
        let Ok(received) = self.channel.receive() else {
            return AfterCommand::ShutDown;
        };
        loop {
            match self.next_command() {
                Ok(Some((command, request, descriptors))) => {
                    match self.execute(command, request, descriptors) {
                        AfterCommand::Continue => {}
                        next => return next,
                    }
                }
                Ok(None) if received == Received::Closed => return AfterCommand::ShutDown,
                Ok(None) => return AfterCommand::Continue,
                Err(_invalid_data) => return AfterCommand::ShutDown,
            }
        }
    }

    /// Returns the next command, the bytes of its request, and its descriptors.
    #[expect(clippy::type_complexity, reason = "the tuple is taken apart by the only caller")]
    fn next_command(
        &mut self,
    ) -> io::Result<Option<(ForkServerCommand, Vec<u8>, VecDeque<OwnedFd>)>> {
        let Some((command, rest)) = self.channel.next::<ForkServerCommand>()? else {
            return Ok(None);
        };
        let (request, descriptors) = rest.take(command.descriptors())?;
        Ok(Some((command, request, descriptors)))
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
                if let Some(pid) = self.children.get(&child)
                    && send(*pid, signal) == SignalTarget::NotAChild
                {
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
            ForkServerCommand::Release => self.program = None,
            ForkServerCommand::ShutDown => return AfterCommand::ShutDown,
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
                drop(forked);
                self.children.insert(child, pid);
                self.pids.insert(pid, child);
                self.report(&Report::ChildForked { child, pid });
            }
            Err(error) => {
                let error = ForkRefusal::from(error);
                self.report(&Report::ForkFailed { child, error });
            }
        }
        AfterCommand::Continue
    }

    /// Forks a process that looks up these addresses. It has neither a slot nor a seat, and does not
    /// count as a child. If the fork fails, the pipe is closed, which ends the lookup in the parent.
    fn look_up_symbols(&mut self, addresses: &[u64], mut descriptors: VecDeque<OwnedFd>) {
        let Some(output) = descriptors.pop_front() else {
            return;
        };
        let time = now();
        self.lookup.kill(time, kill_lookup);
        match fork() {
            Ok(ForkResult::Child) => run_lookup(addresses, output, &self.settings),
            Ok(ForkResult::Parent(pid)) => self.lookup.started(pid, time),
            Err(_parent_keeps_the_addresses) => {}
        }
    }

    fn reap(&mut self) -> Result<(), daemon_sys::Error> {
        while let Some((pid, exit)) = reap_any()? {
            self.lookup.reaped(pid);
            // A child without a slot was started by the preload step.
            let Some(child) = self.pids.remove(&pid) else {
                continue;
            };
            self.children.remove(&child);
            self.report(&Report::ChildExited { child, pid, exit });
            if self.pids.is_empty() && !self.lookup.exists() {
                break;
            }
        }
        Ok(())
    }

    /// Checks whether one child still exists, and reports its exit if not. [`reap`](Self::reap)
    /// never finds a child that other code (for example a library that the preload step uses) has
    /// reaped.
    fn check_child(&mut self, child: ChildId) {
        let Some(&pid) = self.children.get(&child) else {
            return;
        };
        // An error means that other code has reaped the child.
        let Some(exit) = reap(pid).unwrap_or(Some(Exit::Unknown)) else {
            return;
        };
        self.children.remove(&child);
        self.pids.remove(&pid);
        self.report(&Report::ChildExited { child, pid, exit });
    }

    fn begin_shutdown(&mut self) {
        self.program = None;
        self.lookup.kill(now(), kill_lookup);
        self.signal_all(Signal::Term);
        self.shutdown_phase = ShutdownPhase::KillAt(now() + self.settings.grace);
    }

    fn kill_overdue(&mut self) {
        match self.shutdown_phase {
            ShutdownPhase::Running => {}
            ShutdownPhase::KillAt(time) if now() < time => {}
            ShutdownPhase::KillAt(_) => {
                self.signal_all(Signal::Kill);
                self.shutdown_phase = ShutdownPhase::Killed;
            }
            // Do not wait for children that other code has reaped.
            ShutdownPhase::Killed => {
                let children: Vec<_> = self.children.keys().copied().collect();
                for child in children {
                    self.check_child(child);
                }
            }
        }
    }

    fn signal_all(&self, signal: Signal) {
        for pid in self.pids.keys() {
            send(*pid, signal);
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
            pids,
            lookup: _,
            shutdown_phase: _,
        } = self;
        channel.close_without_freeing();
        drop(child_exits);
        // Freeing memory would write to pages that are still shared with the fork server.
        std::mem::forget((children, pids));
        let Some(program) = program else {
            return Err(ChildStartError::Released);
        };
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

/// Whether a pid still belongs to a child of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SignalTarget {
    Child,
    NotAChild,
}

/// Sends a signal to a child, if it has not been reaped. If other code in this process has reaped
/// the child, its pid may belong to an unrelated process, so the pid is checked first. The pid
/// stays valid between the check and the signal, because only code of this process can reap the
/// child, and no such code runs in between. A signal to a zombie is not an error.
fn send(pid: Pid, signal: Signal) -> SignalTarget {
    if peek_exit(pid).is_err() {
        return SignalTarget::NotAChild;
    }
    let _ = process::signal(pid, signal);
    SignalTarget::Child
}

/// Kills a symbol lookup. If other code has reaped it, there is nothing to kill.
fn kill_lookup(pid: Pid) {
    send(pid, Signal::Kill);
}
