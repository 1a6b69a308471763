//! What the manager holds of its workers, and all that it does to them.

use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::os::fd::AsFd;
use std::time::Duration;

use daemon_core::{ArmResult, MonotonicTime, Phase, Scoreboard, SlotNumber, Status};
use daemon_sys::fork::{ForkResult, flush_c_streams, fork};
use daemon_sys::poll::{Interest, Ready, wait};
use daemon_sys::reap::ChildSet;
use daemon_sys::signals::{SignalListener, block_all, unblock};
use daemon_sys::wakeup::Wakeup;
use daemon_sys::{Pid, Signal};
use slog::{Logger, debug, warn};

use crate::clock::now;
use crate::error::{ConfigError, Error};
use crate::hooks::{Hooks, Overview};
use crate::manager_pid::ManagerPid;
use crate::pool::{PoolAction, WorkerPool};
use crate::rolling_signal::{RollingSignal, WorkerId};
use crate::settings::{Intervals, PreforkBuilder, Size};
use crate::signal_forward::{Traps, take_most_severe};

mod exits;
mod signalling;
mod start_worker;

pub(crate) use start_worker::ForkedWorker;

/// How long the manager is deaf to reports after it has heard one: so it wakes a bounded number of
/// times a second, however busy the workers are.
const REPORT_THROTTLE: Duration = Duration::from_millis(5);

/// Whether workers have ended that are not reaped yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum PendingExits {
    #[default]
    None,
    Some,
}

/// The manager's side: the workers, and what is due.
#[derive(Debug)]
pub(crate) struct PreforkManager {
    pub(crate) pool: WorkerPool,
    pub(crate) board: Scoreboard,
    size: Size,
    intervals: Intervals,
    wakeup: Wakeup,
    /// When reports may ring again.
    ignore_reports_until: MonotonicTime,
    /// Whether somebody has ended since it was looked last.
    ended: PendingExits,
    children: ChildSet,
    slots: HashMap<Pid, SlotNumber>,
    signals: SignalListener,
    pending_signals: Vec<Signal>,
    traps: Traps,
    /// Signals on their way from worker to worker, one of each kind.
    rolling_signals: Vec<RollingSignal>,
    death_signal: Option<Signal>,
    grace: Option<Duration>,
    ending: ManagerPhase,
    /// Who is killed if it has not left by then, in the order of time.
    kill_deadlines: VecDeque<(MonotonicTime, WorkerId)>,
    generation: u32,
    manager_pid: ManagerPid,
    hooks: Hooks,
    log: Logger,
}

/// Whether workers are started, or waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ManagerPhase {
    /// They are started.
    Running,
    /// They are waited for.
    Waiting,
}

/// Why the number of workers is kept up no longer.
pub(crate) enum MaintainResult {
    /// This trapped signal has come, and was passed on.
    Signal(Signal),
    /// This process is a new worker.
    NewWorker(ForkedWorker),
}

/// Which side of a fork this is.
enum ForkSide {
    /// The manager's: there is a worker more, or it will be tried again.
    Manager,
    /// The new worker's.
    Worker(ForkedWorker),
}

impl PreforkManager {
    pub(crate) fn new(
        builder: PreforkBuilder,
        size: Size,
        board: Scoreboard,
        manager_pid: ManagerPid,
    ) -> Result<PreforkManager, ConfigError> {
        let PreforkBuilder { intervals, traps, death_signal, grace, hooks, log, .. } = builder;
        board.set_visible_slots(size.max_workers());
        let manager = PreforkManager {
            pool: WorkerPool::new(size, intervals, board.slots()),
            board,
            size,
            intervals,
            wakeup: Wakeup::new()?,
            ignore_reports_until: MonotonicTime::ZERO,
            ended: PendingExits::None,
            children: ChildSet::new()?,
            slots: HashMap::new(),
            signals: SignalListener::new()?,
            pending_signals: Vec::new(),
            traps,
            rolling_signals: Vec::new(),
            death_signal,
            grace,
            ending: ManagerPhase::Running,
            kill_deadlines: VecDeque::new(),
            generation: 0,
            manager_pid,
            hooks,
            log,
        };
        manager.listen()?;
        Ok(manager)
    }

    /// Sets the handlers, and lets the signals through: who started this process may have blocked
    /// some.
    fn listen(&self) -> Result<(), daemon_sys::Error> {
        let mut signals = self.traps.signals();
        signals.push(Signal::Child);
        self.signals.handle(&signals)?;
        unblock(&signals)
    }

    pub(crate) fn size(&self) -> Size {
        self.size
    }

    pub(crate) fn set_size(&mut self, size: Size) -> Result<(), ConfigError> {
        let max_workers = size.checked()?.max_workers();
        let slots = self.board.slots();
        if max_workers > slots {
            return Err(ConfigError::TooFewSlots { max_workers, slots });
        }
        self.size = size;
        self.pool.set(size, self.intervals);
        self.board.set_visible_slots(max_workers);
        Ok(())
    }

    pub(crate) fn intervals(&self) -> Intervals {
        self.intervals
    }

    pub(crate) fn set_paces(&mut self, intervals: Intervals) {
        self.intervals = intervals;
        self.pool.set(self.size, intervals);
    }

    pub(crate) fn set_traps(&mut self, traps: Traps) -> Result<(), ConfigError> {
        let trapped = traps.signals();
        let former = std::mem::replace(&mut self.traps, traps).signals();
        self.listen()?;
        let dropped = former.into_iter().filter(|signal| !trapped.contains(signal));
        self.signals.restore_default(&dropped.collect::<Vec<_>>());
        self.pending_signals.retain(|signal| trapped.contains(signal));
        Ok(())
    }

    /// Keeps the number of workers up until a trapped signal has come, and passes it on; in a worker
    /// that is born meanwhile it ends with that.
    pub(crate) fn maintain_workers(&mut self) -> Result<MaintainResult, Error> {
        self.generation = self.generation.wrapping_add(1);
        // The program may have detached since the last time.
        self.manager_pid.update();
        self.ending = ManagerPhase::Running;
        self.kill_deadlines.clear();
        self.pool.begin_generation();
        self.board.set_phase(Phase::Running);
        loop {
            self.collect_events()?;
            if let Some(signal) = self.take_signal() {
                self.forward(signal);
                return Ok(MaintainResult::Signal(signal));
            }
            match self.pool.next(now()) {
                PoolAction::Stop(slots) => self.retire(&slots),
                PoolAction::Wait(until) => self.wait(until)?,
                PoolAction::Fork(slot) => match self.fork(slot)? {
                    ForkSide::Manager => {}
                    ForkSide::Worker(forked) => return Ok(MaintainResult::NewWorker(forked)),
                },
            }
        }
    }

    pub(crate) fn count_active(&self) -> u32 {
        let is_busy = |status: &Status| status.is_busy();
        let busy = self.board.entries().filter(|entry| entry.status.as_ref().is_some_and(is_busy));
        u32::try_from(busy.count()).unwrap_or(u32::MAX)
    }

    fn overview(&self) -> Overview {
        Overview {
            manager_pid: self.manager_pid.get(),
            generation: self.generation,
            num_workers: self.pool.workers(),
            num_active_workers: self.count_active(),
        }
    }

    /// Takes a trapped signal that has come, the gravest first.
    pub(crate) fn take_signal(&mut self) -> Option<Signal> {
        take_most_severe(&mut self.pending_signals)
    }

    /// Takes in all that has happened, and does what is due. It does not wait.
    pub(crate) fn collect_events(&mut self) -> Result<(), Error> {
        let mut ended = std::mem::take(&mut self.ended);
        for signal in self.signals.drain() {
            if signal == Signal::Child {
                ended = PendingExits::Some;
            } else if !self.pending_signals.contains(&signal) {
                self.pending_signals.push(signal);
            }
        }
        match ended {
            PendingExits::Some => self.reap()?,
            PendingExits::None => {}
        }
        self.read_reports();
        self.send_due_signals();
        Ok(())
    }

    fn read_reports(&mut self) {
        let PreforkManager { board, pool, .. } = self;
        board.drain_changes(|slot| {
            if let Some(status) = board.read(slot).status {
                pool.set_status(slot, status);
            }
        });
    }

    /// Waits until something happens or is due, at the latest until then; to
    /// [hear](Crew::hear) what has happened is the caller's next act.
    pub(crate) fn wait(&mut self, until: Option<MonotonicTime>) -> Result<(), Error> {
        let due = self.rolling_signals.iter().filter_map(RollingSignal::due);
        let mut until = until.into_iter().chain(due).min();
        let start = now();
        if self.reports_matter() {
            if start < self.ignore_reports_until {
                until = until.into_iter().chain([self.ignore_reports_until]).min();
            } else if self.board.arm_wakeup() == ArmResult::ChangesPending {
                return Ok(());
            }
        }
        let timeout = until.map(|until| until.saturating_since(start));
        let (wakeup, children) = self.sleep(timeout)?;
        if self.reports_matter() {
            self.board.disarm_wakeup();
        }
        if wakeup.is_readable() {
            self.wakeup.clear();
            self.ignore_reports_until = now() + REPORT_THROTTLE;
        }
        // Where they tell by themselves, it does not take the signal, which a library may have taken.
        if children.is_readable() {
            self.ended = PendingExits::Some;
        }
        Ok(())
    }

    /// Sleeps until a signal comes, the doorbell rings or a child ends; tells of the latter two.
    fn sleep(&self, timeout: Option<Duration>) -> Result<(Ready, Ready), Error> {
        let signals = (self.signals.as_fd(), Interest::Read);
        let wakeup = (self.wakeup.as_fd(), Interest::Read);
        Ok(match self.children.descriptor() {
            Some(children) => {
                let children = (children, Interest::Read);
                let [_ears, wakeup, children] = wait(&[signals, wakeup, children], timeout)?;
                (wakeup, children)
            }
            None => {
                let [_ears, wakeup] = wait(&[signals, wakeup], timeout)?;
                (wakeup, Ready::default())
            }
        })
    }

    /// Whether how many are idle decides on how many there are, and is to be decided.
    fn reports_matter(&self) -> bool {
        match (self.size, self.ending) {
            (Size::Spare { .. }, ManagerPhase::Running) => true,
            (Size::Fixed { .. }, _) | (Size::Spare { .. }, ManagerPhase::Waiting) => false,
        }
    }

    fn fork(&mut self, slot: SlotNumber) -> Result<ForkSide, Error> {
        let overview = self.hooks.has_fork_hooks().then(|| self.overview());
        if let (Some(hook), Some(overview)) = (&mut self.hooks.before_fork, &overview) {
            hook(overview);
        }
        // What is printed and not written yet would be written by both.
        let _ = std::io::stdout().flush();
        flush_c_streams();
        let time = now();
        let owner = match self.board.open_slot(slot, time) {
            Ok(owner) => owner,
            Err(report) => {
                // Something has written over a line that nobody has: it is wiped, and tried again.
                warn!(self.log, "{report}");
                self.board.close_slot(slot, time);
                return Ok(ForkSide::Manager);
            }
        };
        self.pool.set_forking(slot, owner, self.generation, time);
        let blocked = block_all()?;
        match fork() {
            Ok(ForkResult::Child) => Ok(ForkSide::Worker(ForkedWorker { slot, owner, blocked })),
            Ok(ForkResult::Parent(pid)) => {
                self.children.add(pid);
                self.slots.insert(pid, slot);
                drop(blocked);
                if let (Some(hook), Some(overview)) = (&mut self.hooks.after_fork, &overview) {
                    hook(overview, pid);
                }
                self.pool.set_forked(slot, pid);
                debug!(self.log, "worker {pid} is born"; "slot" => slot.get());
                Ok(ForkSide::Manager)
            }
            Err(refusal) => {
                drop(blocked);
                let time = now();
                self.board.close_slot(slot, time);
                self.pool.set_fork_failed(slot, time);
                if refusal.is_resource_shortage() {
                    warn!(self.log, "{refusal}: it will be tried again");
                    Ok(ForkSide::Manager)
                } else {
                    Err(refusal.into())
                }
            }
        }
    }
}
