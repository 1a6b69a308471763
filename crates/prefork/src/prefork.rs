//! The manager: what carries out the rules of `staff`, and the face that programs see.

use std::path::PathBuf;
use std::time::Duration;

use daemon_core::{Scoreboard, ScoreboardLine, ScoreboardReader, lines_for};
use daemon_sys::fork::other_threads;
use daemon_sys::{Error as SystemError, Pid, Signal, shared};

use crate::clock::now;
use crate::error::{ConfigError, Error, InWorkerError};
use crate::manager::{MaintainResult, PreforkManager};
use crate::manager_pid::ManagerPid;
use crate::settings::{Intervals, PreforkBuilder, Size, checked_traps};
use crate::signal_forward::{SignalForward, Traps, more_severe};
use crate::status::status_of;
use crate::worker::{STATUS_NEXIST, Worker};
use crate::worker_result::WorkerResult;

/// The manager of workers: it forks them, replaces those that end, and passes signals on.
///
/// # Examples
///
/// See the [crate's front page](crate).
#[derive(Debug)]
pub struct Prefork {
    role: ProcessRole,
    manager_pid: Pid,
    signal_received: Option<Signal>,
}

/// Which side of the fork this is.
#[derive(Debug)]
enum ProcessRole {
    Manager(Box<PreforkManager>),
    Worker,
}

/// Which process returns from [`Prefork::start_fork`], and why.
#[derive(Debug)]
#[must_use = "manager and worker both return: they must not do the same"]
pub enum StartResult {
    /// The manager, since this trapped signal has come and was passed on.
    Manager(Signal),
    /// A new worker. It does its work and then [finishes](Worker::finish).
    Worker(Worker),
}

impl Prefork {
    /// Begins with the settings by default: 10 workers, TERM trapped.
    pub fn builder() -> PreforkBuilder {
        PreforkBuilder::default()
    }

    pub(crate) fn assemble(
        builder: PreforkBuilder,
        size: Size,
        file: Option<PathBuf>,
    ) -> Result<Prefork, ConfigError> {
        let manager_pid = ManagerPid::acquire()?;
        let slots = size.slots();
        let board = scoreboard(slots, file).map_err(ConfigError::Scoreboard)?;
        let manager = PreforkManager::new(builder, size, board, manager_pid)?;
        Ok(Prefork {
            role: ProcessRole::Manager(Box::new(manager)),
            manager_pid: Pid::this(),
            signal_received: None,
        })
    }

    /// Forks workers, which each do `work`, replaces those that end, and returns in the manager when
    /// a trapped signal has come: the signal, which was passed on as
    /// [`trap_signals`](PreforkBuilder::trap_signals) says. The workers may still live then.
    ///
    /// Each call is a generation: workers of earlier ones are replaced when they end, and count
    /// towards `max_workers` until then; how they end slows nothing. A signal that has come before
    /// the call, after the last one, makes it return at once; of several, one that ends the service
    /// comes first.
    ///
    /// Work that never returns names a type that it would return, `|worker| -> () { loop { .. } }`, for
    /// the compiler to know one.
    ///
    /// # Errors
    ///
    /// If other threads run in this process: the error names them. If this process is a worker.
    /// Where the system refuses a fork for want of processes or memory, it is tried again.
    pub fn start<O: WorkerResult>(
        &mut self,
        work: impl FnOnce(&Worker) -> O,
    ) -> Result<Signal, Error> {
        match self.start_fork()? {
            StartResult::Manager(signal) => Ok(signal),
            StartResult::Worker(worker) => worker.live(work),
        }
    }

    /// As [`start`](Prefork::start), for programs that go on in the worker where they were, in the
    /// manner of fork(2): it returns in each worker too.
    ///
    /// # Errors
    ///
    /// As [`start`](Prefork::start).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use daemon_prefork::{Prefork, Signal, StartResult};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut pm = Prefork::builder().max_workers(4).build()?;
    /// while pm.signal_received() != Some(Signal::Term) {
    ///     match pm.start_fork()? {
    ///         StartResult::Manager(_signal) => continue,
    ///         StartResult::Worker(worker) => {
    ///             println!("I am worker {} of {}", worker.slot(), worker.manager_pid());
    ///             worker.finish(0);
    ///         }
    ///     }
    /// }
    /// pm.wait_all_children()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn start_fork(&mut self) -> Result<StartResult, Error> {
        let manager = self.role.manager("start workers")?;
        if let Some(other_threads) = other_threads()? {
            return Err(Error::System(SystemError::OtherThreads(other_threads)));
        }
        self.signal_received = None;
        self.manager_pid = Pid::this();
        match manager.maintain_workers()? {
            MaintainResult::Signal(signal) => {
                self.signal_received = Some(signal);
                Ok(StartResult::Manager(signal))
            }
            MaintainResult::NewWorker(forked) => {
                match std::mem::replace(&mut self.role, ProcessRole::Worker) {
                    ProcessRole::Manager(manager) => {
                        Ok(StartResult::Worker(manager.become_worker(forked)))
                    }
                    ProcessRole::Worker => {
                        Err(InWorkerError { operation: "become a worker" }.into())
                    }
                }
            }
        }
    }

    /// Waits until all workers are gone, and returns how many are left: none. Nobody is forked
    /// meanwhile, and nobody told to leave: that is for the signal that ended
    /// [`start`](Prefork::start), or for [`signal_all_children`](Prefork::signal_all_children).
    /// Trapped signals that come are passed on, and the last one is
    /// [received](Prefork::signal_received); but TERM, INT or QUIT, once received, is not undone by one
    /// that ends no service.
    ///
    /// After [`grace`](PreforkBuilder::grace), if that is set, those that were told to leave get KILL. One
    /// that nobody has told is waited for.
    ///
    /// # Errors
    ///
    /// If this process is a worker.
    pub fn wait_all_children(&mut self) -> Result<u32, Error> {
        self.wait_until(None)
    }

    /// Waits as [`wait_all_children`](Prefork::wait_all_children), but no longer than this, and
    /// returns how many workers are left.
    ///
    /// # Errors
    ///
    /// If this process is a worker.
    pub fn wait_all_children_for(&mut self, time: Duration) -> Result<u32, Error> {
        self.wait_until(Some(time))
    }

    fn wait_until(&mut self, time: Option<Duration>) -> Result<u32, Error> {
        let manager = self.role.manager("wait for workers")?;
        let deadline = time.map(|time| now() + time);
        manager.begin_waiting();
        loop {
            manager.collect_events()?;
            while let Some(signal) = manager.take_signal() {
                self.signal_received = Some(more_severe(self.signal_received, signal));
                manager.forward(signal);
            }
            let left = manager.pool.workers();
            if left == 0 || deadline.is_some_and(|deadline| deadline <= now()) {
                manager.update_phase();
                return Ok(left);
            }
            let until = manager.kill_overdue().into_iter().chain(deadline).min();
            manager.wait(until)?;
        }
    }

    /// Sends all workers a signal.
    ///
    /// # Errors
    ///
    /// If this process is a worker.
    pub fn signal_all_children(&mut self, signal: Signal) -> Result<(), Error> {
        let manager = self.role.manager("signal workers")?;
        manager.signal_all(signal);
        Ok(())
    }

    /// Tells how many workers there are, those that were told to leave and have not yet included. In a
    /// worker, none.
    #[must_use]
    pub fn num_workers(&self) -> u32 {
        match &self.role {
            ProcessRole::Manager(manager) => manager.pool.workers(),
            ProcessRole::Worker => 0,
        }
    }

    /// Tells how many workers are doing something, by the [status](Worker::set_status) they report.
    #[must_use]
    pub fn num_active_workers(&self) -> u32 {
        match &self.role {
            ProcessRole::Manager(manager) => manager.count_active(),
            ProcessRole::Worker => 0,
        }
    }

    /// Tells each slot's status, a character a slot for as many slots as there may be workers:
    /// that which the worker has [set](Worker::set_status), or [`STATUS_NEXIST`] where there is none.
    #[must_use]
    pub fn statuses(&self) -> String {
        let Some(board) = self.board() else { return String::new() };
        let mut statuses: Vec<char> = board.entries().map(|entry| status_of(&entry)).collect();
        let last = statuses.iter().rposition(|status| *status != STATUS_NEXIST);
        let most = usize::try_from(self.max_workers()).unwrap_or(usize::MAX);
        statuses.truncate(last.map_or(0, |last| last + 1).max(most));
        statuses.into_iter().collect()
    }

    /// Copies the scoreboard's reading view, with all that it knows of each worker; none in a worker.
    #[must_use]
    pub fn board(&self) -> Option<ScoreboardReader> {
        match &self.role {
            ProcessRole::Manager(manager) => Some(manager.board.reader()),
            ProcessRole::Worker => None,
        }
    }

    /// Tells the manager's process, in a worker too.
    #[must_use]
    pub fn manager_pid(&self) -> Pid {
        self.manager_pid
    }

    /// Tells the signal that has ended the last [`start`](Prefork::start), or come in the wait after
    /// it; none before, and while it runs.
    #[must_use]
    pub fn signal_received(&self) -> Option<Signal> {
        self.signal_received
    }

    /// Sets it, for a loop that is to end without a signal.
    pub fn set_signal_received(&mut self, signal: Option<Signal>) {
        self.signal_received = signal;
    }

    /// Tells how many workers there are to be, or may be at most.
    #[must_use]
    pub fn max_workers(&self) -> u32 {
        match &self.role {
            ProcessRole::Manager(manager) => manager.pool.max_workers(),
            ProcessRole::Worker => 0,
        }
    }

    /// Changes that number from the next [`start`](Prefork::start) on. Workers that are too many are
    /// told to leave then, idle ones first (in the original they stay).
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the numbers do not go together, or the scoreboard has too few slots: it has
    /// twice as many as there were to be workers when it was made, and at least 16.
    pub fn set_max_workers(&mut self, workers: u32) -> Result<(), ConfigError> {
        let manager = self.role.manager("set max_workers")?;
        manager.set_size(match manager.size() {
            Size::Fixed { .. } => Size::Fixed { max_workers: workers },
            Size::Spare { min_spare_workers, max_spare_workers, max_workers } => Size::Spare {
                min_spare_workers,
                // That it was the same says that nobody is too many.
                max_spare_workers: match max_spare_workers == max_workers {
                    true => workers,
                    false => max_spare_workers,
                },
                max_workers: workers,
            },
        })
    }

    /// Changes how many workers shall be idle at least and at most, from the next
    /// [`start`](Prefork::start) on.
    ///
    /// # Errors
    ///
    /// As [`set_max_workers`](Prefork::set_max_workers).
    pub fn set_spare_workers(&mut self, min: u32, max: u32) -> Result<(), ConfigError> {
        let manager = self.role.manager("set spare workers")?;
        let max_workers = manager.pool.max_workers();
        let (min_spare_workers, max_spare_workers) = (min, max);
        manager.set_size(Size::Spare { min_spare_workers, max_spare_workers, max_workers })
    }

    /// Changes [`spawn_interval`](PreforkBuilder::spawn_interval).
    ///
    /// # Errors
    ///
    /// If this process is a worker.
    pub fn set_spawn_interval(&mut self, interval: Duration) -> Result<(), InWorkerError> {
        let manager = self.role.manager("set spawn_interval")?;
        manager.set_paces(Intervals { spawn_interval: interval, ..manager.intervals() });
        Ok(())
    }

    /// Changes [`err_respawn_interval`](PreforkBuilder::err_respawn_interval).
    ///
    /// # Errors
    ///
    /// If this process is a worker.
    pub fn set_err_respawn_interval(&mut self, interval: Duration) -> Result<(), InWorkerError> {
        let manager = self.role.manager("set err_respawn_interval")?;
        manager.set_paces(Intervals { err_respawn_interval: interval, ..manager.intervals() });
        Ok(())
    }

    /// Changes [`trap_signals`](PreforkBuilder::trap_signals). A signal that is trapped no more does what it
    /// does by default.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for a signal that cannot be trapped, or if there is none.
    pub fn set_trap_signals(
        &mut self,
        traps: impl IntoIterator<Item = (Signal, SignalForward)>,
    ) -> Result<(), ConfigError> {
        let manager = self.role.manager("trap signals")?;
        let traps = Traps::of(traps);
        checked_traps(&traps)?;
        manager.set_traps(traps)
    }
}

impl ProcessRole {
    fn manager(&mut self, operation: &'static str) -> Result<&mut PreforkManager, InWorkerError> {
        match self {
            ProcessRole::Manager(manager) => Ok(manager),
            ProcessRole::Worker => Err(InWorkerError { operation }),
        }
    }
}

fn scoreboard(
    slots: u32,
    file: Option<PathBuf>,
) -> Result<Scoreboard, Box<dyn std::error::Error + Send + Sync>> {
    let count = lines_for(slots)?;
    let lines: &'static [ScoreboardLine] = match file {
        Some(path) => shared::in_file(path, count)?,
        None => shared::anonymous(count)?,
    };
    Ok(Scoreboard::format(lines, slots, now())?)
}
