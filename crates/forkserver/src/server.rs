//! The fork server's own process: its loop of orders, forks, reaping and reports.
//!
//! One thread, no runtime. It decides nothing: it does what it is told and tells what it did. A
//! child leaves this loop by returning from it, so that nothing of it is left when its life begins.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use daemon_core::{Exit, Generation, MonotonicTime, Seat, SlotNumber};
use daemon_sys::fork::{ForkResult, fork};
use daemon_sys::memfd;
use daemon_sys::poll::{Interest, Ready, wait};
use daemon_sys::process::{self, Pid, Signal};
use daemon_sys::reap::{peek_exit, reap, reap_any};
use daemon_sys::signals::{SignalBlockGuard, SignalQueue};

use crate::builder::Settings;
use crate::child_program::{BlockedSignals, ChildProgram, ChildStart, SlotResources, now};
use crate::orders::{ForkRefusal, Order, Packed, Report, told};
use crate::transfer::{Decoder, Transfer, TransferError};
use crate::wire::{Received, Wire};

/// How often children that were killed are looked for, one by one.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The loop's state: who sits where, and the way to the parent.
pub(crate) struct Server<B: ChildProgram> {
    settings: Settings,
    brood: Option<B>,
    cradle: SlotResources,
    wire: Wire<Report, Order>,
    deaths: SignalQueue,
    mask: SignalBlockGuard,
    seats: HashMap<u32, ChildEntry>,
    pids: HashMap<Pid, u32>,
    leaving: Leaving,
}

#[derive(Debug, Clone, Copy)]
struct ChildEntry {
    pid: Pid,
    generation: u32,
}

/// How near the fork server is to its end.
#[derive(Debug, Clone, Copy)]
enum Leaving {
    /// It takes orders.
    NotYet,
    /// Its children were sent TERM; those that are left at this time are killed.
    KillAt(MonotonicTime),
    /// They were killed; what is left is to reap them.
    Killed,
}

/// How the loop ends.
#[expect(
    clippy::large_enum_variant,
    reason = "it is moved once in a life, and a box would be one more thing on the way to it"
)]
pub(crate) enum Ended<B: ChildProgram> {
    /// In the fork server: its children are gone, and the need for it.
    Home,
    /// In a new child: its life begins.
    Born(B, ChildStart<B::Request>),
}

/// What there is to do.
#[derive(Debug, Clone, Copy, Default)]
struct Woken {
    deaths: Ready,
    link: Ready,
}

/// What an order led to.
enum Next {
    /// The next order.
    Order,
    /// The way home: told so, or the parent is gone.
    Leave,
    /// This is the child, and the time of its birth.
    Child(ForkedChild, MonotonicTime),
}

impl<B: ChildProgram> Server<B> {
    pub(crate) fn new(
        settings: Settings,
        brood: B,
        cradle: SlotResources,
        wire: Wire<Report, Order>,
        deaths: SignalQueue,
        mask: SignalBlockGuard,
    ) -> Self {
        Server {
            settings,
            brood: Some(brood),
            cradle,
            wire,
            deaths,
            mask,
            seats: HashMap::new(),
            pids: HashMap::new(),
            leaving: Leaving::NotYet,
        }
    }

    /// Keeps children until the parent sends it home or is gone.
    pub(crate) fn keep(mut self) -> Result<Ended<B>, Unborn> {
        self.report(&Report::Ready);
        loop {
            if let Leaving::KillAt(_) | Leaving::Killed = self.leaving
                && self.pids.is_empty()
            {
                self.flush();
                // What was sent to the fork server meanwhile is ignored to the end.
                self.mask.leave_blocked();
                return Ok(Ended::Home);
            }
            self.flush();
            let ready = self.wait()?;
            if !ready.deaths.is_empty() {
                self.deaths.clear()?;
                self.reap()?;
            }
            if !ready.link.is_empty() {
                match self.take_orders() {
                    Next::Order => {}
                    Next::Leave => self.begin_leaving(),
                    Next::Child(newborn, time) => return self.deliver(newborn, time),
                }
            }
            self.kill_what_is_late();
        }
    }

    /// Waits for deaths, and for orders while they are taken: a link that has ended is readable
    /// for ever.
    fn wait(&self) -> Result<Woken, daemon_sys::Error> {
        let deaths = (self.deaths.as_fd(), Interest::Read);
        let interest = if self.wire.is_waiting() { Interest::ReadWrite } else { Interest::Read };
        let link = (self.wire.as_fd(), interest);
        Ok(match self.leaving {
            Leaving::NotYet => {
                let [deaths, link] = wait(&[deaths, link], None)?;
                Woken { deaths, link }
            }
            Leaving::KillAt(_) | Leaving::Killed => {
                let [deaths] = wait(&[deaths], self.patience())?;
                Woken { deaths, ..Woken::default() }
            }
        })
    }

    fn patience(&self) -> Option<Duration> {
        match self.leaving {
            Leaving::KillAt(time) => Some(time.saturating_since(now())),
            Leaving::NotYet => None,
            Leaving::Killed => Some(LOOK_AGAIN),
        }
    }

    fn take_orders(&mut self) -> Next {
        let Ok(received) = self.wire.receive() else {
            return Next::Leave;
        };
        loop {
            match self.wire.next() {
                Ok(Some((order, descriptors))) => match self.carry_out(order, descriptors) {
                    Next::Order => {}
                    next => return next,
                },
                Ok(None) if received == Received::Hangup => return Next::Leave,
                Ok(None) => return Next::Order,
                Err(_no_parent_of_ours) => return Next::Leave,
            }
        }
    }

    fn carry_out(&mut self, order: Order, descriptors: VecDeque<OwnedFd>) -> Next {
        match order {
            Order::Fork { slot, generation, request } => {
                return self.fork(ForkedChild { slot, generation, request, descriptors });
            }
            Order::Signal { slot, generation, signal } => {
                let found = self.seats.get(&slot).filter(|sitter| sitter.generation == generation);
                if let (Some(sitter), Some(signal)) = (found.copied(), Signal::from_number(signal))
                    && send(sitter.pid, signal) == Ours::No
                {
                    self.check_child(slot, generation);
                }
            }
            Order::SignalAll { signal } => {
                if let Some(signal) = Signal::from_number(signal) {
                    self.signal_all(signal);
                }
            }
            Order::LookFor { slot, generation } => self.check_child(slot, generation),
            Order::ReopenLogs => {
                if let Some(Err(error)) = self.brood.as_mut().map(ChildProgram::reopen_logs) {
                    self.report(&Report::ReopenLogsFailed { error: error.to_string() });
                }
            }
            Order::Released => self.brood = None,
            Order::ShutDown => return Next::Leave,
        }
        Next::Order
    }

    fn fork(&mut self, newborn: ForkedChild) -> Next {
        let (slot, generation) = (newborn.slot, newborn.generation);
        if self.brood.is_none() {
            self.report(&Report::ForkFailed { slot, generation, error: ForkRefusal::Released });
            return Next::Order;
        }
        let time = now();
        match fork() {
            Ok(ForkResult::Child) => return Next::Child(newborn, time),
            Ok(ForkResult::Parent(pid)) => {
                self.wire.close(newborn.descriptors);
                self.seats.insert(slot, ChildEntry { pid, generation });
                self.pids.insert(pid, slot);
                self.report(&Report::ChildBorn { slot, generation, pid: pid.as_raw() });
            }
            Err(error) => {
                let error = ForkRefusal::from(error);
                self.report(&Report::ForkFailed { slot, generation, error });
            }
        }
        Next::Order
    }

    fn reap(&mut self) -> Result<(), daemon_sys::Error> {
        while let Some((pid, exit)) = reap_any()? {
            // Only what a preload step left behind is a child without a seat.
            let Some(slot) = self.pids.remove(&pid) else {
                continue;
            };
            let Some(sitter) = self.seats.remove(&slot) else {
                continue;
            };
            self.report_gone(slot, sitter, told(exit));
            if self.pids.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// A child whose end was collected by somebody else, a library of a preload step for one, is
    /// never found by [`reap`](Self::reap).
    fn check_child(&mut self, slot: u32, generation: u32) {
        let found = self.seats.get(&slot).filter(|sitter| sitter.generation == generation);
        let Some(sitter) = found.copied() else {
            return;
        };
        let exit = match reap(sitter.pid) {
            Ok(None) => return,
            Ok(Some(exit)) => told(exit),
            Err(_not_ours_to_collect) => Exit::Unknown,
        };
        self.seats.remove(&slot);
        self.pids.remove(&sitter.pid);
        self.report_gone(slot, sitter, exit);
    }

    fn report_gone(&mut self, slot: u32, sitter: ChildEntry, exit: Exit) {
        let ChildEntry { pid, generation } = sitter;
        self.report(&Report::ChildGone { slot, generation, pid: pid.as_raw(), exit });
    }

    fn begin_leaving(&mut self) {
        self.brood = None;
        self.signal_all(Signal::Term);
        self.leaving = Leaving::KillAt(now() + self.settings.grace);
    }

    fn kill_what_is_late(&mut self) {
        match self.leaving {
            Leaving::NotYet => {}
            Leaving::KillAt(time) if now() < time => {}
            Leaving::KillAt(_) => {
                self.signal_all(Signal::Kill);
                self.leaving = Leaving::Killed;
            }
            // It does not wait for an end that somebody else has collected.
            Leaving::Killed => {
                let sitters: Vec<_> =
                    self.seats.iter().map(|(s, at)| (*s, at.generation)).collect();
                for (slot, generation) in sitters {
                    self.check_child(slot, generation);
                }
            }
        }
    }

    fn signal_all(&self, signal: Signal) {
        for pid in self.pids.keys() {
            send(*pid, signal);
        }
    }

    /// Puts a report in line. A report that cannot be sent any more has nobody to read it: the
    /// end of the link is seen on the next look at it.
    fn report(&mut self, report: &Report) {
        let _ = self.wire.queue(report);
    }

    fn flush(&mut self) {
        let _ = self.wire.flush();
    }

    /// A child's first steps: everything of the fork server's is put down, then the seat is taken.
    fn deliver(self, newborn: ForkedChild, time: MonotonicTime) -> Result<Ended<B>, Unborn> {
        let Server { settings, brood, cradle, wire, deaths, mask, seats, pids, leaving: _ } = self;
        wire.put_down();
        drop(deaths);
        // To free memory is to write to pages that are still shared with the fork server.
        std::mem::forget((seats, pids));
        let Some(brood) = brood else {
            return Err(Unborn::Released);
        };
        process::die_with_parent(Signal::Term, settings.fork_server)?;
        let slot = SlotNumber::new(newborn.slot);
        let generation = Generation::new(newborn.generation);
        let pid = Pid::this().as_raw().unsigned_abs();
        let SlotResources { board, doorbell } = cradle;
        let seat = Seat::take(board, slot, generation, pid, time, doorbell)?;
        let birth = ChildStart {
            seat,
            request: unpack(newborn.request, newborn.descriptors),
            signals: BlockedSignals { blocked: mask },
            fork_server: settings.fork_server,
        };
        std::mem::forget(settings);
        Ok(Ended::Born(brood, birth))
    }
}

/// A child that is not yet one: what the order for it said.
#[derive(Debug)]
struct ForkedChild {
    slot: u32,
    generation: u32,
    request: Packed,
    descriptors: VecDeque<OwnedFd>,
}

/// Why a forked process did not become a child.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unborn {
    #[error("the fork server has let go of the program")]
    Released,
    #[error(transparent)]
    System(#[from] daemon_sys::Error),
    #[error("cannot take its seat: {0}")]
    Seat(#[from] daemon_core::ReportError),
}

fn unpack<R: Transfer>(
    request: Packed,
    mut descriptors: VecDeque<OwnedFd>,
) -> Result<R, TransferError> {
    let bytes = match request {
        Packed::Inline(bytes) => bytes,
        Packed::InMemory => {
            let memory = descriptors.pop_front().ok_or(TransferError::MissingDescriptor)?;
            memfd::read_all(&memory, usize::MAX)?
        }
    };
    Decoder::new(bytes, descriptors).open()
}

/// Whether a process is still a child of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ours {
    Yes,
    No,
}

/// Signals a child. One whose end somebody else has collected is none any more, and its number may
/// be a stranger's: that is looked at first, and until this thread reaps, nothing of it can change but
/// by such a somebody in this very process. That it is a zombie already is no error.
fn send(pid: Pid, signal: Signal) -> Ours {
    if peek_exit(pid).is_err() {
        return Ours::No;
    }
    let _ = process::signal(pid, signal);
    Ours::Yes
}
