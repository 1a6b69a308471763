//! The manager's state, and its main loop, which forks, signals and reaps workers.

use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::os::fd::AsFd;
use std::time::Duration;

use daemon_core::{
    ArmResult, LogThrottle, MonotonicTime, Phase, Scoreboard, ScoreboardLine, SlotNumber, Status,
};
use daemon_sys::fork::{ForkResult, flush_c_streams, fork};
use daemon_sys::poll::{Interest, Ready, wait};
use daemon_sys::reap::ChildSet;
use daemon_sys::shared::SharedMemory;
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

/// How long the manager ignores the status reports of workers after a report has woken it. This
/// limits the number of wakeups per second, even if workers report very often.
const REPORT_THROTTLE: Duration = Duration::from_millis(5);

/// Whether there may be exited workers that are not reaped yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum PendingExits {
    #[default]
    None,
    Some,
}

/// The state of the manager.
#[derive(Debug)]
pub(crate) struct PreforkManager {
    pub(crate) pool: WorkerPool,
    pub(crate) board: Scoreboard,
    size: Size,
    intervals: Intervals,
    /// The memory of the scoreboard.
    memory: SharedMemory<ScoreboardLine>,
    wakeup: Wakeup,
    /// The time from which reports may wake the manager again.
    ignore_reports_until: MonotonicTime,
    /// Whether a child has exited since the last [`reap`](PreforkManager::reap).
    pending_exits: PendingExits,
    children: ChildSet,
    slots: HashMap<Pid, SlotNumber>,
    signals: SignalListener,
    pending_signals: Vec<Signal>,
    traps: Traps,
    /// Signals that are being sent to one worker after another, at most one entry per signal.
    rolling_signals: Vec<RollingSignal>,
    death_signal: Option<Signal>,
    grace: Option<Duration>,
    phase: ManagerPhase,
    /// The workers that are killed if they have not exited by their deadline, the earliest deadline
    /// first.
    kill_deadlines: VecDeque<(MonotonicTime, WorkerId)>,
    generation: u32,
    manager_pid: ManagerPid,
    hooks: Hooks,
    fault_log: LogThrottle,
    log: Logger,
}

/// Whether the manager forks workers, or waits for them to exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ManagerPhase {
    /// The manager forks and replaces workers.
    Running,
    /// The manager waits for the workers to exit.
    Waiting,
}

/// Why [`maintain_workers`](PreforkManager::maintain_workers) returned.
pub(crate) enum MaintainResult {
    /// This trapped signal was received, and was handled as its trap says.
    Signal(Signal),
    /// This process is a new worker.
    NewWorker(ForkedWorker),
}

/// The process in which [`fork`] has returned.
enum ForkSide {
    /// The manager. Either there is a new worker, or the fork will be retried.
    Manager,
    /// The new worker.
    Worker(ForkedWorker),
}

impl PreforkManager {
    pub(crate) fn new(
        builder: PreforkBuilder,
        size: Size,
        board: Scoreboard,
        memory: SharedMemory<ScoreboardLine>,
        manager_pid: ManagerPid,
    ) -> Result<PreforkManager, ConfigError> {
        let PreforkBuilder { intervals, traps, death_signal, grace, hooks, log, .. } = builder;
        board.set_visible_slots(size.max_workers());
        let manager = PreforkManager {
            pool: WorkerPool::new(size, intervals, board.slots()),
            board,
            size,
            intervals,
            memory,
            wakeup: Wakeup::new()?,
            ignore_reports_until: MonotonicTime::ZERO,
            pending_exits: PendingExits::None,
            children: ChildSet::new()?,
            slots: HashMap::new(),
            signals: SignalListener::new()?,
            pending_signals: Vec::new(),
            traps,
            rolling_signals: Vec::new(),
            death_signal,
            grace,
            phase: ManagerPhase::Running,
            kill_deadlines: VecDeque::new(),
            generation: 0,
            manager_pid,
            hooks,
            fault_log: LogThrottle::default(),
            log,
        };
        manager.listen()?;
        Ok(manager)
    }

    /// Installs the signal handlers, and unblocks the signals, because the process that started the
    /// manager may have blocked some of them.
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

    pub(crate) fn set_intervals(&mut self, intervals: Intervals) {
        self.intervals = intervals;
        self.pool.set(self.size, intervals);
    }

    pub(crate) fn set_traps(&mut self, traps: Traps) -> Result<(), ConfigError> {
        let trapped = traps.signals();
        let previous = std::mem::replace(&mut self.traps, traps).signals();
        self.listen()?;
        let dropped = previous.into_iter().filter(|signal| !trapped.contains(signal));
        self.signals.restore_default(&dropped.collect::<Vec<_>>());
        self.pending_signals.retain(|signal| trapped.contains(signal));
        Ok(())
    }

    /// Maintains the number of workers until a trapped signal is received, and handles this
    /// signal as its trap says. Also returns in each new worker.
    pub(crate) fn maintain_workers(&mut self) -> Result<MaintainResult, Error> {
        self.generation = self.generation.wrapping_add(1);
        // The program may have daemonized since the last call.
        self.manager_pid.update();
        self.phase = ManagerPhase::Running;
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
                PoolAction::Stop(slots) => self.stop_excess_workers(&slots),
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

    /// Removes and returns the most severe trapped signal that has been received.
    pub(crate) fn take_signal(&mut self) -> Option<Signal> {
        take_most_severe(&mut self.pending_signals)
    }

    /// Collects signals, exits and reports, and sends rolling signals that are due. Does not wait.
    pub(crate) fn collect_events(&mut self) -> Result<(), Error> {
        let mut pending_exits = std::mem::take(&mut self.pending_exits);
        for signal in self.signals.drain() {
            if signal == Signal::Child {
                pending_exits = PendingExits::Some;
            } else if !self.pending_signals.contains(&signal) {
                self.pending_signals.push(signal);
            }
        }
        match pending_exits {
            PendingExits::Some => self.reap()?,
            PendingExits::None => {}
        }
        self.read_reports();
        self.send_due_signals();
        Ok(())
    }

    fn read_reports(&mut self) {
        let PreforkManager { board, pool, .. } = self;
        let time = now();
        board.drain_changes(|slot| {
            if let Some(status) = board.observe_slot(slot, time).status {
                pool.set_status(slot, status);
            }
        });
        self.log_faults();
    }

    /// Logs damage of the scoreboard that was found and repaired.
    pub(super) fn log_faults(&mut self) {
        let faults = self.board.take_faults();
        if let Some((slot, fault)) = faults.last
            && self.fault_log.should_log(now())
        {
            warn!(
                self.log, "scoreboard damaged, repaired";
                "slot" => slot.get(), "reason" => fault.to_string()
            );
        }
    }

    /// Waits until an event occurs, a rolling signal is due, or `until` has passed. The caller must
    /// then call [`collect_events`](PreforkManager::collect_events).
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
        // A pidfd reports an exit even if a library has consumed the CHLD signal.
        if children.is_readable() {
            self.pending_exits = PendingExits::Some;
        }
        Ok(())
    }

    /// Waits for a signal, a wakeup or the exit of a child. Returns the readiness of the wakeup and
    /// of the children's descriptor, if there is one.
    fn sleep(&self, timeout: Option<Duration>) -> Result<(Ready, Ready), Error> {
        let signals = (self.signals.as_fd(), Interest::Read);
        let wakeup = (self.wakeup.as_fd(), Interest::Read);
        Ok(match self.children.descriptor() {
            Some(children) => {
                let children = (children, Interest::Read);
                let [_signals, wakeup, children] = wait(&[signals, wakeup, children], timeout)?;
                (wakeup, children)
            }
            None => {
                let [_signals, wakeup] = wait(&[signals, wakeup], timeout)?;
                (wakeup, Ready::default())
            }
        })
    }

    /// Returns whether the number of workers currently depends on how many are idle.
    fn reports_matter(&self) -> bool {
        match (self.size, self.phase) {
            (Size::Spare { .. }, ManagerPhase::Running) => true,
            (Size::Fixed { .. }, _) | (Size::Spare { .. }, ManagerPhase::Waiting) => false,
        }
    }

    fn fork(&mut self, slot: SlotNumber) -> Result<ForkSide, Error> {
        let overview = self.hooks.has_fork_hooks().then(|| self.overview());
        if let (Some(hook), Some(overview)) = (&mut self.hooks.before_fork, &overview) {
            hook(overview);
        }
        // Flush buffered output, because otherwise both processes would write it.
        let _ = std::io::stdout().flush();
        flush_c_streams();
        let time = now();
        let owner = match self.board.open_slot(slot, time) {
            Ok(owner) => owner,
            Err(error) => {
                // The pool has chosen a free slot, so this does not happen.
                warn!(self.log, "cannot open a scoreboard slot"; "slot" => slot.get(), "error" => error.to_string());
                self.board.close_slot(slot, time);
                self.pool.delay_forks(time);
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
                self.board.set_pid(slot, pid.as_raw().unsigned_abs());
                drop(blocked);
                if let (Some(hook), Some(overview)) = (&mut self.hooks.after_fork, &overview) {
                    hook(overview, pid);
                }
                self.pool.set_forked(slot, pid);
                debug!(self.log, "worker started"; "worker" => pid.as_raw(), "slot" => slot.get());
                Ok(ForkSide::Manager)
            }
            Err(error) => {
                drop(blocked);
                let time = now();
                self.board.close_slot(slot, time);
                self.pool.set_fork_failed(slot, time);
                if error.is_resource_shortage() {
                    warn!(self.log, "cannot fork a worker, retrying later"; "slot" => slot.get(), "error" => error.to_string());
                    Ok(ForkSide::Manager)
                } else {
                    Err(error.into())
                }
            }
        }
    }
}
