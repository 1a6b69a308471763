//! The manager's state, and its main loop, which forks, signals and reaps workers.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::time::Duration;

use daemon_core::{
    ArmResult, ChildId, ChildKind, Descendants, Exit, HEADER_LINES, LogThrottle, MonotonicTime,
    Phase, Pid, Scoreboard, ScoreboardLine, Seat, Signal, SlotNumber, Status, StopReason,
    classify_exit, format,
};
use daemon_log::Flushed;
use daemon_sys::clock::now;
use daemon_sys::environment::remove_supervisor_variables;
use daemon_sys::fork::{ForkResult, flush_streams, fork};
use daemon_sys::poll::{Interest, Ready, wait};
use daemon_sys::process::{
    SignalOutcome, become_group_leader, die_with_parent, exit_now, number_of, this_pid,
};
use daemon_sys::reap::{ChildTable, ExitedChild, GroupSignals};
use daemon_sys::shared::SharedMemory;
use daemon_sys::signals::{
    SignalBlockGuard, SignalListener, block_all, disregard_unused, restore_default, unblock,
};
use daemon_sys::wakeup::Wakeup;
use slog::{Logger, debug, error, info, warn};

use crate::error::{ConfigError, Error};
use crate::handover::Handover;
use crate::hooks::{Hooks, Overview, Reaped};
use crate::log;
use crate::pool::{ExitKind, PoolAction, StopRequest, WorkerPool};
use crate::rolling_signal::RollingSignal;
use crate::settings::{Intervals, PreforkBuilder, Size};
use crate::signal_forward::{SignalForward, Traps, take_most_severe};
use crate::worker::{ManagerWakeup, Worker, WorkerParts};

/// How long the manager ignores the status reports of workers after a report has woken it. This
/// limits the number of wakeups per second, even if workers report very often.
const REPORT_THROTTLE: Duration = Duration::from_millis(5);

/// Exit code of a worker that cannot start: `EX_OSERR` of sysexits(3).
const EXIT_START_FAILED: i32 = 71;

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
    /// Whether there may be exited workers that are not reaped yet.
    has_exits: bool,
    children: ChildTable<ChildId>,
    signals: SignalListener,
    pending_signals: Vec<Signal>,
    traps: Traps,
    /// Signals that are being sent to one worker after another, at most one entry per signal.
    rolling_signals: Vec<RollingSignal>,
    death_signal: Option<Signal>,
    grace: Option<Duration>,
    descendants: Descendants,
    /// Whether the manager waits for the workers to exit, and forks none.
    is_waiting: bool,
    generation: u32,
    manager_pid: ManagerPid,
    pub(crate) handover: Handover,
    hooks: Hooks,
    fault_log: LogThrottle,
    log: Logger,
}

/// Why [`maintain_workers`](PreforkManager::maintain_workers) returned.
pub(crate) enum MaintainResult {
    /// This trapped signal was received, and was handled as its trap says.
    Signal(Signal),
    /// This process is a new worker.
    NewWorker(ForkedWorker),
}

/// The slot of a new worker, and the signals that are blocked in it.
#[derive(Debug)]
pub(crate) struct ForkedWorker {
    child: ChildId,
    /// Signals stay blocked until the worker has dropped the manager's state.
    blocked: SignalBlockGuard,
}

impl PreforkManager {
    pub(crate) fn new(
        builder: PreforkBuilder,
        size: Size,
        memory: SharedMemory<ScoreboardLine>,
        manager_pid: ManagerPid,
    ) -> Result<PreforkManager, ConfigError> {
        let PreforkBuilder {
            intervals, traps, death_signal, grace, descendants, hooks, log, ..
        } = builder;
        let board = Scoreboard::format(memory.values(), size.slots(), now())
            .map_err(|error| ConfigError::Scoreboard(error.into()))?;
        board.set_visible_slots(size.max_workers());
        let manager = PreforkManager {
            pool: WorkerPool::new(size, intervals, board.slots()),
            board,
            size,
            intervals,
            memory,
            wakeup: Wakeup::new()?,
            ignore_reports_until: MonotonicTime::ZERO,
            has_exits: false,
            children: ChildTable::of_own()?,
            signals: SignalListener::new()?,
            pending_signals: Vec::new(),
            traps,
            rolling_signals: Vec::new(),
            death_signal,
            grace,
            descendants,
            is_waiting: false,
            generation: 0,
            manager_pid,
            handover: Handover::new()?,
            hooks,
            fault_log: LogThrottle::default(),
            log,
        };
        manager.listen()?;
        Ok(manager)
    }

    /// Installs the signal handlers, and unblocks the signals, because the program may have blocked
    /// some of them.
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
        disregard_unused();
        self.pending_signals.retain(|signal| trapped.contains(signal));
        Ok(())
    }

    /// Maintains the number of workers until a trapped signal is received, and handles this
    /// signal as its trap says. Also returns in each new worker.
    pub(crate) fn maintain_workers(&mut self) -> Result<MaintainResult, Error> {
        self.generation = self.generation.wrapping_add(1);
        // The program may have daemonized since the last call.
        self.manager_pid.update();
        self.is_waiting = false;
        self.children.clear_deadlines();
        self.set_group_signals();
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
                PoolAction::Fork(slot) => {
                    if let Some(forked) = self.fork(slot)? {
                        return Ok(MaintainResult::NewWorker(forked));
                    }
                }
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
        for signal in self.signals.drain() {
            if signal == Signal::Child {
                self.has_exits = true;
            } else if !self.pending_signals.contains(&signal) {
                self.pending_signals.push(signal);
            }
        }
        if std::mem::take(&mut self.has_exits) {
            for exited in self.children.reap()? {
                self.record_exit(exited);
            }
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

    /// Closes the connections that no worker has taken. Returns how many there were.
    pub(crate) fn discard(&mut self) -> usize {
        let dropped = self.handover.discard();
        if dropped > 0 {
            warn!(self.log, "waiting connections dropped"; "connections" => dropped);
        }
        dropped
    }

    /// Logs damage of the scoreboard that was found and repaired.
    fn log_faults(&mut self) {
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
        if log::flush() == Flushed::Blocked {
            until = until.into_iter().chain([start + log::RETRY]).min();
        }
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
        self.has_exits |= children.is_readable();
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
        match self.size {
            Size::Spare { .. } => !self.is_waiting,
            Size::Fixed { .. } => false,
        }
    }

    /// Forks a worker into this slot. Returns it in the worker's process, and `None` in the
    /// manager. There, either a worker was forked, or the fork will be retried.
    fn fork(&mut self, slot: SlotNumber) -> Result<Option<ForkedWorker>, Error> {
        let overview = self.hooks.has_fork_hooks().then(|| self.overview());
        if let (Some(hook), Some(overview)) = (&mut self.hooks.before_fork, &overview) {
            hook(overview);
        }
        flush_streams();
        let time = now();
        let child = match self.board.open_slot(slot, time) {
            Ok(generation) => ChildId { slot, generation },
            Err(error) => {
                // The pool has chosen a free slot, so this does not happen.
                warn!(self.log, "cannot open a scoreboard slot"; "slot" => slot.get(), "error" => error.to_string());
                self.board.close_slot(slot, time);
                self.pool.delay_forks(time);
                return Ok(None);
            }
        };
        self.pool.set_forking(child, self.generation, time);
        let blocked = block_all()?;
        match fork() {
            Ok(ForkResult::Child) => Ok(Some(ForkedWorker { child, blocked })),
            Ok(ForkResult::Parent(pid)) => {
                self.children.add(child, pid);
                self.board.set_pid(slot, pid.as_u32());
                drop(blocked);
                if let (Some(hook), Some(overview)) = (&mut self.hooks.after_fork, &overview) {
                    hook(overview, pid);
                }
                debug!(self.log, "worker started"; "worker" => pid.as_raw(), "slot" => slot.get());
                Ok(None)
            }
            Err(error) => {
                drop(blocked);
                let time = now();
                self.board.close_slot(slot, time);
                self.pool.set_fork_failed(slot, time);
                if error.is_resource_shortage() {
                    warn!(self.log, "cannot fork a worker, retrying later"; "slot" => slot.get(), "error" => error.to_string());
                    Ok(None)
                } else {
                    Err(error.into())
                }
            }
        }
    }

    /// Asks excess workers to stop.
    fn stop_excess_workers(&mut self, slots: &[SlotNumber]) {
        let stop_signal = self.traps.stop_signal();
        for child in slots.iter().filter_map(|slot| self.pool.child_in(*slot)).collect::<Vec<_>>() {
            self.signal(child, stop_signal);
            let request = StopRequest { reason: StopReason::Retired, signal: stop_signal };
            self.pool.request_stop(child.slot, request);
        }
        debug!(
           self.log, "stopping excess workers";
           "workers" => slots.len(), "signal" => %stop_signal
        );
    }

    /// Forwards a trapped signal to the workers.
    pub(crate) fn forward(&mut self, signal: Signal) {
        let workers = self.pool.workers();
        match self.traps.forward(signal) {
            SignalForward::Nothing => {
                info!(self.log, "signal received"; "signal" => %signal, "workers" => workers);
            }
            SignalForward::ToAll(forwarded) => {
                info!(
                    self.log, "signal received, forwarding to all workers";
                    "signal" => %signal, "forwarded" => %forwarded, "workers" => workers
                );
                self.signal_all(forwarded);
            }
            SignalForward::OneByOne(forwarded, interval) => {
                info!(
                    self.log, "signal received, forwarding to one worker after another";
                    "signal" => %signal, "forwarded" => %forwarded,
                    "interval" => %format::duration(interval), "workers" => workers
                );
                let targets = self.rolling_targets(forwarded);
                match self.rolling_signals.iter_mut().find(|rolling| rolling.signal() == forwarded)
                {
                    Some(rolling) => rolling.extend(interval, targets),
                    None => self.rolling_signals.push(RollingSignal::new(
                        forwarded,
                        interval,
                        targets,
                        now(),
                    )),
                }
                self.send_due_signals();
            }
        }
    }

    /// Returns the workers that receive a rolling signal, which is sent to one worker after
    /// another, the oldest first. A stop signal is not sent to workers that were already asked to
    /// stop.
    fn rolling_targets(&self, signal: Signal) -> Vec<ChildId> {
        let is_stop_signal = self.traps.is_stop_signal(signal);
        let mut living: Vec<_> = self.pool.entries().collect();
        living.retain(|entry| !(is_stop_signal && entry.stop_request.is_some()));
        living.sort_by_key(|entry| (entry.forked_at, entry.child.slot));
        living.into_iter().map(|entry| entry.child).collect()
    }

    /// Sends rolling signals that are due.
    fn send_due_signals(&mut self) {
        let mut due = Vec::new();
        let is_alive = |child| self.children.pid(child).is_some();
        for rolling in &mut self.rolling_signals {
            let signal = rolling.signal();
            due.extend(rolling.take(now(), is_alive).map(|child| (child, signal)));
        }
        self.rolling_signals.retain(|rolling| rolling.due().is_some());
        for (child, signal) in due {
            self.signal_worker(child, signal);
        }
    }

    /// Sends a signal to all workers.
    pub(crate) fn signal_all(&mut self, signal: Signal) {
        for child in self.pool.entries().map(|entry| entry.child).collect::<Vec<_>>() {
            self.signal_worker(child, signal);
        }
    }

    fn signal_worker(&mut self, child: ChildId, signal: Signal) {
        self.signal(child, signal);
        if self.traps.is_stop_signal(signal) {
            let reason = if self.is_waiting { StopReason::Stopping } else { StopReason::Retired };
            self.pool.request_stop(child.slot, StopRequest { reason, signal });
            self.set_kill_deadline(child);
        }
    }

    fn signal(&mut self, child: ChildId, signal: Signal) {
        let sent = self.children.signal(child, signal);
        self.log_unsent(child, signal, &sent);
    }

    fn log_unsent(
        &self,
        child: ChildId,
        signal: Signal,
        sent: &Result<SignalOutcome, daemon_sys::Error>,
    ) {
        if let Err(error) = sent {
            warn!(
                self.log, "cannot signal a worker";
                "worker" => self.children.pid(child).map(Pid::as_raw), "slot" => child.slot.get(),
                "signal" => %signal, "error" => error.to_string()
            );
        }
    }

    fn record_exit(&mut self, exited: ExitedChild<ChildId>) {
        let ExitedChild { id: ChildId { slot, .. }, pid, exit, .. } = exited;
        let Some(entry) = self.pool.entry(slot).copied() else { return };
        let time = now();
        let last = self.board.close_slot(slot, time);
        // Exit code 0 counts as success in every case, as in `Parallel::Prefork`.
        let last = match exit {
            Exit::Code(0) => Status::Leaving,
            Exit::Code(_) | Exit::Signal { .. } | Exit::Unknown => {
                last.status.unwrap_or(Status::Empty)
            }
        };
        let stop_reason = entry.stop_request.map(|request| request.reason);
        let exit_to_classify = stopped_by_term(exit, entry.stop_request);
        let cause = classify_exit(exit_to_classify, last, stop_reason, ChildKind::OneRequest);
        self.board.record_exit(slot, cause);
        let is_regular =
            cause.is_expected() || stop_reason.is_some() || entry.generation != self.generation;
        let kind = if is_regular { ExitKind::Regular } else { ExitKind::Failure };
        self.pool.set_exited(slot, kind, time);
        let lifetime = time.saturating_since(entry.forked_at);
        match kind {
            ExitKind::Regular => {
                debug!(
                    self.log, "worker exited";
                    "worker" => pid.as_raw(), "slot" => slot.get(), "reason" => %cause
                );
            }
            ExitKind::Failure => warn!(
                self.log, "worker exited";
                "worker" => pid.as_raw(), "slot" => slot.get(), "reason" => %cause,
                "lifetime" => %format::duration(lifetime)
            ),
        }
        if self.hooks.on_child_reap.is_some() {
            let overview = self.overview();
            let generation = entry.generation;
            let reaped = Reaped { pid, slot, generation, exit, cause, lifetime };
            if let Some(hook) = &mut self.hooks.on_child_reap {
                hook(&overview, &reaped);
            }
        }
    }

    /// Stops forking: workers that exit from now on are not replaced.
    pub(crate) fn begin_waiting(&mut self) {
        if std::mem::replace(&mut self.is_waiting, true) {
            return;
        }
        self.board.set_phase(Phase::Stopping);
        self.set_group_signals();
        let requests =
            self.pool.entries().filter_map(|entry| Some((entry.child, entry.stop_request?)));
        for (child, request) in requests.collect::<Vec<_>>() {
            let request = StopRequest { reason: StopReason::Stopping, ..request };
            self.pool.request_stop(child.slot, request);
            self.set_kill_deadline(child);
        }
    }

    /// Sets what happens to the processes that workers have started.
    fn set_group_signals(&mut self) {
        let at_stop = (self.is_waiting && self.descendants.are_ended()).then_some(Signal::Term);
        self.children.set_group_signals(GroupSignals {
            kill: self.descendants.are_ended(),
            at_exit: self.descendants.signal_at_exit().or(at_stop),
        });
    }

    /// Sets the time at which a worker that was asked to stop is killed. Does nothing if there is
    /// no grace period, or if the manager does not wait for its workers.
    fn set_kill_deadline(&mut self, child: ChildId) {
        if let (true, Some(grace)) = (self.is_waiting, self.grace) {
            self.children.late_at(child, now() + grace);
        }
    }

    /// Kills the workers whose grace period has passed. Returns the time of the next call, or
    /// `None` if none is needed.
    pub(crate) fn kill_overdue(&mut self) -> Option<MonotonicTime> {
        let late = self.children.kill_late(now());
        for (child, sent) in &late.killed {
            self.log_unsent(*child, Signal::Kill, sent);
            let request = StopRequest { reason: StopReason::Stopping, signal: Signal::Kill };
            self.pool.request_stop(child.slot, request);
        }
        if !late.killed.is_empty() {
            warn!(
                self.log, "grace period expired, killing workers"; "workers" => late.killed.len()
            );
        }
        for exited in late.exited {
            self.record_exit(exited);
        }
        self.children.next_deadline()
    }

    pub(crate) fn set_stopped(&self) {
        self.board.set_phase(Phase::Stopped);
    }

    /// Turns this process into a worker, and drops the manager's state.
    pub(crate) fn become_worker(self: Box<PreforkManager>, forked: ForkedWorker) -> Worker {
        let death_signal = self.death_signal();
        let leads_group = self.descendants.are_ended();
        let stop_signals = self.traps.stop_signals();
        let sent: Vec<Signal> = self.traps.sent().into_iter().chain([death_signal]).collect();
        let PreforkManager {
            board,
            memory,
            wakeup,
            children,
            signals,
            hooks,
            log,
            generation,
            manager_pid,
            handover,
            ..
        } = *self;
        let ForkedWorker { child, blocked } = forked;
        let slot = child.slot;
        let manager = manager_pid.get();
        // Values that the hooks own must be dropped in the manager only.
        std::mem::forget(hooks);
        drop(children);
        drop(signals);
        manager_pid.transfer_to_worker();
        log::become_worker();
        let handover = handover.into_receiver();
        let parts = || -> Result<WorkerParts, Box<dyn std::error::Error>> {
            if leads_group {
                become_group_leader()?;
            }
            die_with_parent(death_signal, manager)?;
            remove_supervisor_variables()?;
            memory.make_read_only(HEADER_LINES)?;
            let pid = this_pid().as_u32();
            let wakeup = ManagerWakeup(wakeup.into_waker());
            let seat = Seat::take(board.reader(), slot, child.generation, pid, now(), wakeup)?;
            let signals = SignalListener::new()?;
            seat.report(Status::Fresh, now())?;
            let log = log.clone();
            Ok(WorkerParts {
                seat,
                generation,
                manager,
                death_signal,
                stop_signals: stop_signals.clone(),
                signals,
                handover,
                log,
            })
        };
        let parts = match parts() {
            Ok(parts) => parts,
            Err(error) => {
                error!(log, "cannot start a worker"; "slot" => slot.get(), "error" => error.to_string());
                exit_now(EXIT_START_FAILED);
            }
        };
        let caught = |signal: &&Signal| !matches!(signal, Signal::Kill | Signal::Stop);
        // The process that started the manager may have ignored or blocked these signals.
        for signal in sent.iter().filter(caught) {
            // This cannot fail for a signal that can be handled.
            let _ = restore_default(*signal);
        }
        drop(blocked);
        let _ = unblock(&[sent, stop_signals].concat());
        Worker::new(parts)
    }

    fn death_signal(&self) -> Signal {
        self.death_signal.unwrap_or_else(|| self.traps.stop_signal())
    }
}

/// Returns the exit, or an exit by TERM if the worker was ended by its stop signal. The rules of
/// `daemon_core` know only TERM and QUIT as stop signals, but a worker can have another one. KILL
/// and a core dump stay what they are.
fn stopped_by_term(exit: Exit, stop_request: Option<StopRequest>) -> Exit {
    match (exit, stop_request) {
        (Exit::Signal { number, core: false }, Some(StopRequest { signal, .. }))
            if signal != Signal::Kill && number_of(signal) == number =>
        {
            Exit::Signal { number: number_of(Signal::Term), core: false }
        }
        _another => exit,
    }
}

/// The pid of the process whose signals a manager handles; 0 if there is none. A forked process
/// inherits the value, but the value is then not its own pid.
static MANAGER: AtomicI32 = AtomicI32::new(0);

/// The exclusive right to handle the signals of this process.
#[derive(Debug)]
pub(crate) struct ManagerPid(Pid);

impl ManagerPid {
    /// Acquires the right for this process. Fails if this process already has a manager or is a
    /// worker.
    pub(crate) fn acquire() -> Result<ManagerPid, ConfigError> {
        let this = this_pid();
        let previous = MANAGER.load(SeqCst);
        let is_acquired = previous != this.as_raw()
            && MANAGER.compare_exchange(previous, this.as_raw(), SeqCst, SeqCst).is_ok();
        if is_acquired { Ok(ManagerPid(this)) } else { Err(ConfigError::AlreadyManaged) }
    }

    /// Returns the manager's pid.
    pub(crate) fn get(&self) -> Pid {
        self.0
    }

    /// Acquires the right for the current process again, because daemonizing changes the pid.
    pub(crate) fn update(&mut self) {
        self.0 = this_pid();
        MANAGER.store(self.0.as_raw(), SeqCst);
    }

    /// Keeps the right until this process, which is a new worker, exits. A worker can therefore not
    /// create a manager.
    pub(crate) fn transfer_to_worker(self) {
        MANAGER.store(this_pid().as_raw(), SeqCst);
        std::mem::forget(self);
    }
}

impl Drop for ManagerPid {
    fn drop(&mut self) {
        // In a forked process the stored pid does not match, so nothing changes.
        let _ = MANAGER.compare_exchange(this_pid().as_raw(), 0, SeqCst, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_by_the_stop_signal_is_converted_to_an_exit_by_term() {
        let stop_request = |signal| Some(StopRequest { reason: StopReason::Stopping, signal });
        let exit = |signal| Exit::Signal { number: number_of(signal), core: false };
        let table = [
            (exit(Signal::Int), stop_request(Signal::Int), exit(Signal::Term)),
            (exit(Signal::Usr1), stop_request(Signal::Usr1), exit(Signal::Term)),
            (exit(Signal::Int), stop_request(Signal::Term), exit(Signal::Int)),
            (exit(Signal::Kill), stop_request(Signal::Kill), exit(Signal::Kill)),
            (exit(Signal::Int), None, exit(Signal::Int)),
            (Exit::Code(3), stop_request(Signal::Term), Exit::Code(3)),
            (Exit::Unknown, None, Exit::Unknown),
        ];
        for (exit, request, expected) in table {
            assert_eq!(stopped_by_term(exit, request), expected, "{exit:?}, {request:?}");
        }
    }
}
