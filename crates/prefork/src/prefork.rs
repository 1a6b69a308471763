//! The public interface of the manager.

use std::path::Path;
use std::time::Duration;

use daemon_core::{ScoreboardLine, ScoreboardReader, lines_for};
use daemon_sys::clock::now;
use daemon_sys::fork::other_threads;
use daemon_sys::inherited;
use daemon_sys::init::leave_process_1;
use daemon_sys::listen::{
    is_inherited, record_inherited, refuse_new_connections, refuses_new_connections, shut_down,
    wait_for_handshakes,
};
use daemon_sys::process::this_pid;
use daemon_sys::shared::SharedMemory;
use daemon_sys::{Error as SystemError, Pid, Signal};

use crate::error::{ConfigError, Error, InWorkerError};
use crate::handover::Handover;
use crate::listener::Listener;
use crate::log;
use crate::manager::{MaintainResult, ManagerPid, PreforkManager};
use crate::settings::{Intervals, PreforkBuilder, Size, checked_traps};
use crate::signal_forward::{SignalForward, Traps, more_severe};
use crate::worker::{STATUS_NEXIST, Worker, WorkerResult, status_of};

/// After how long a manager that could not hand over all connections tries again.
const HANDOVER_RETRY: Duration = Duration::from_millis(10);

/// In process 1 of a container: the time for processes that are left when the manager has exited,
/// if there is no grace period.
const INIT_GRACE: Duration = Duration::from_secs(30);

/// The manager of workers: forks them, replaces those that exit, and forwards signals.
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

/// Whether this process is the manager or a worker.
#[derive(Debug)]
enum ProcessRole {
    Manager(Box<PreforkManager>),
    Worker,
}

/// The process in which [`Prefork::start_fork`] has returned.
#[derive(Debug)]
#[must_use = "start_fork returns in the manager and in each worker, which must continue differently"]
pub enum StartResult {
    /// The manager. `start_fork` has returned because this trapped signal was received. The signal
    /// was handled as set by [`trap_signals`](PreforkBuilder::trap_signals).
    Manager(Signal),
    /// A new worker. It does its work and then calls [`finish`](Worker::finish).
    Worker(Worker),
}

impl Prefork {
    /// Returns the default settings: 10 workers, TERM trapped.
    pub fn builder() -> PreforkBuilder {
        PreforkBuilder::default()
    }

    /// Forks workers that run `work`, replaces those that exit, and returns in the manager when a
    /// trapped signal has been received. The signal has then been forwarded as set by
    /// [`trap_signals`](PreforkBuilder::trap_signals), and workers may still be running.
    ///
    /// Each call starts a generation. Workers of earlier generations are replaced when they exit,
    /// and count towards `max_workers` until then. Their failures do not delay forks. A trapped
    /// signal that was received between two calls makes the next call return at once. If several
    /// signals were received, each call handles one of them: first TERM, then INT, QUIT, and all
    /// others.
    ///
    /// A closure that never returns must state a return type, `|worker| -> () { loop { .. } }`,
    /// because the compiler cannot infer one.
    ///
    /// # Errors
    ///
    /// If other threads run in this process (the error names them), if this process is a worker, or
    /// if a system call fails permanently. A fork that fails for lack of processes or memory is
    /// retried.
    pub fn start<O: WorkerResult>(
        &mut self,
        work: impl FnOnce(&Worker) -> O,
    ) -> Result<Signal, Error> {
        match self.start_fork()? {
            StartResult::Manager(signal) => Ok(signal),
            StartResult::Worker(worker) => worker.run(work),
        }
    }

    /// Does the same as [`start`](Prefork::start), but also returns in each worker, like fork(2).
    ///
    /// # Errors
    ///
    /// The same as [`start`](Prefork::start).
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
        self.manager_pid = this_pid();
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

    /// Waits until all workers have exited, and returns the number of workers left, which is 0.
    ///
    /// The call forks no workers, and does not ask workers to stop. They must have been asked
    /// before, either by the signal that ended [`start`](Prefork::start), or by a call of
    /// [`signal_all_children`](Prefork::signal_all_children).
    ///
    /// Trapped signals that are received during the wait are forwarded, and
    /// [`signal_received`](Prefork::signal_received) returns the last of them. However, TERM, INT
    /// and QUIT stay recorded unless a more severe signal is received. TERM is the most severe
    /// signal, then INT, then QUIT.
    ///
    /// After [`grace`](PreforkBuilder::grace), if set, workers that were asked to stop receive
    /// KILL. For other workers there is no time limit.
    ///
    /// # Errors
    ///
    /// If this process is a worker, or if a system call fails permanently.
    pub fn wait_all_children(&mut self) -> Result<u32, Error> {
        self.wait_until(None)
    }

    /// Waits like [`wait_all_children`](Prefork::wait_all_children), but no longer than `time`, and
    /// returns the number of workers left.
    ///
    /// # Errors
    ///
    /// If this process is a worker, or if a system call fails permanently.
    pub fn wait_all_children_for(&mut self, time: Duration) -> Result<u32, Error> {
        self.wait_until(Some(time))
    }

    /// Closes the listener without losing a client, and waits for the workers like
    /// [`wait_all_children`](Prefork::wait_all_children). Workers that take their connections with
    /// [`accept`](crate::Worker::accept) serve those that wait in its queue.
    ///
    /// On Linux the listener is shut down at once, so new clients are refused and the address is
    /// free even while workers serve long connections: the manager takes the connections from the
    /// queue, and hands them to the workers one by one. On other systems, the queue is reduced to
    /// its minimum, and the address is free when the last worker has exited. Both affect all
    /// processes that have the listener.
    ///
    /// A listener that this process has inherited is only closed, because another program has it,
    /// too: one of a socket unit (`LISTEN_FDS`), of Server::Starter (`SERVER_STARTER_PORT`), or any
    /// other whose descriptor was not close-on-exec at [`build`](PreforkBuilder::build). The
    /// workers still empty its queue, and clients that come later wait for the other program. If
    /// the program gives a listener that it has bound to another process, drop the listener and
    /// call `wait_all_children` instead.
    ///
    /// Connections that no worker has taken, because all workers have exited or were killed, are
    /// closed, and the log contains their number, unless this process has no free descriptor to
    /// take them.
    ///
    /// # Errors
    ///
    /// If this process is a worker, or if a system call fails permanently.
    pub fn close_and_wait(&mut self, listener: impl Listener) -> Result<u32, Error> {
        let fd = listener.as_fd();
        self.role.manager("wait for workers")?;
        if !is_inherited(fd) {
            // If this fails, the descriptor does not listen any more, and there is nothing to
            // close.
            let _ = refuse_new_connections(fd);
        }
        if refuses_new_connections(fd) {
            wait_for_handshakes(&[fd]);
            while !self.role.manager("take connections")?.handover.take_all(fd) {
                let is_alone = self.wait_until(Some(HANDOVER_RETRY))? == 0;
                if is_alone && self.role.manager("close connections")?.discard() == 0 {
                    break;
                }
            }
            let _ = shut_down(fd);
            self.role.manager("hand over connections")?.handover.end()?;
        }
        drop(listener);
        let left = self.wait_until(None)?;
        let manager = self.role.manager("wait for workers")?;
        manager.discard();
        manager.handover = Handover::new()?;
        Ok(left)
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
            if left == 0 {
                manager.set_stopped();
                // The program may exit now.
                log::flush_before_exit();
                return Ok(left);
            }
            if deadline.is_some_and(|deadline| deadline <= now()) {
                return Ok(left);
            }
            let until = manager.kill_overdue().into_iter().chain(deadline).min();
            manager.wait(until)?;
        }
    }

    /// Sends a signal to all workers.
    ///
    /// # Errors
    ///
    /// If this process is a worker.
    pub fn signal_all_children(&mut self, signal: Signal) -> Result<(), Error> {
        let manager = self.role.manager("signal workers")?;
        manager.signal_all(signal);
        Ok(())
    }

    /// Returns the number of workers, including those that were asked to stop and have not exited
    /// yet. Returns 0 in a worker.
    #[must_use]
    pub fn num_workers(&self) -> u32 {
        match &self.role {
            ProcessRole::Manager(manager) => manager.pool.workers(),
            ProcessRole::Worker => 0,
        }
    }

    /// Returns the number of workers that report an active [status](Worker::set_status). Returns 0
    /// in a worker.
    #[must_use]
    pub fn num_active_workers(&self) -> u32 {
        match &self.role {
            ProcessRole::Manager(manager) => manager.count_active(),
            ProcessRole::Worker => 0,
        }
    }

    /// Returns one character for each of the first `max_workers` slots: the status that the worker
    /// has [set](Worker::set_status), or [`STATUS_NEXIST`] for a slot without a worker. Higher
    /// slots follow if they are in use. Returns an empty string in a worker.
    #[must_use]
    pub fn statuses(&self) -> String {
        let Some(board) = self.board() else { return String::new() };
        let mut statuses: Vec<char> = board.entries().map(|entry| status_of(&entry)).collect();
        let last = statuses.iter().rposition(|status| *status != STATUS_NEXIST);
        let most = usize::try_from(self.max_workers()).unwrap_or(usize::MAX);
        statuses.truncate(last.map_or(0, |last| last + 1).max(most));
        statuses.into_iter().collect()
    }

    /// Returns a read-only view of the scoreboard; `None` in a worker.
    #[must_use]
    pub fn board(&self) -> Option<ScoreboardReader> {
        match &self.role {
            ProcessRole::Manager(manager) => Some(manager.board.view()),
            ProcessRole::Worker => None,
        }
    }

    /// Returns the manager's pid, in a worker too.
    #[must_use]
    pub fn manager_pid(&self) -> Pid {
        self.manager_pid
    }

    /// Returns the signal that made the last [`start`](Prefork::start) return, or a signal that was
    /// received while [`wait_all_children`](Prefork::wait_all_children) waited afterwards. Returns
    /// `None` before the first `start` has returned, and in a worker.
    #[must_use]
    pub fn signal_received(&self) -> Option<Signal> {
        self.signal_received
    }

    /// Sets the value of [`signal_received`](Prefork::signal_received), for example to end the
    /// program's main loop without a signal.
    pub fn set_signal_received(&mut self, signal: Option<Signal>) {
        self.signal_received = signal;
    }

    /// Returns [`max_workers`](PreforkBuilder::max_workers): the number of workers to run, or the
    /// maximum if `min_spare_workers` is set. Returns 0 in a worker.
    #[must_use]
    pub fn max_workers(&self) -> u32 {
        match &self.role {
            ProcessRole::Manager(manager) => manager.pool.max_workers(),
            ProcessRole::Worker => 0,
        }
    }

    /// Changes [`max_workers`](PreforkBuilder::max_workers) from the next [`start`](Prefork::start)
    /// on. That `start` asks excess workers to stop, idle workers first. (In `Parallel::Prefork`,
    /// excess workers continue.)
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the numbers are inconsistent, if the scoreboard has too few slots, or if
    /// this process is a worker. A scoreboard is created with twice as many slots as the initial
    /// `max_workers`, but with at least 16 and at most 65536.
    pub fn set_max_workers(&mut self, workers: u32) -> Result<(), ConfigError> {
        let manager = self.role.manager("set max_workers")?;
        manager.set_size(match manager.size() {
            Size::Fixed { .. } => Size::Fixed { max_workers: workers },
            Size::Spare { min_spare_workers, max_spare_workers, max_workers } => Size::Spare {
                min_spare_workers,
                // If `max_spare_workers` equals `max_workers`, the number of idle workers is not
                // limited. Keep both settings equal, so that the number stays unlimited.
                max_spare_workers: match max_spare_workers == max_workers {
                    true => workers,
                    false => max_spare_workers,
                },
                max_workers: workers,
            },
        })
    }

    /// Changes the minimum and the maximum number of idle workers from the next
    /// [`start`](Prefork::start) on.
    ///
    /// # Errors
    ///
    /// The same as [`set_max_workers`](Prefork::set_max_workers).
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
        manager.set_intervals(Intervals { spawn_interval: interval, ..manager.intervals() });
        Ok(())
    }

    /// Changes [`err_respawn_interval`](PreforkBuilder::err_respawn_interval).
    ///
    /// # Errors
    ///
    /// If this process is a worker.
    pub fn set_err_respawn_interval(&mut self, interval: Duration) -> Result<(), InWorkerError> {
        let manager = self.role.manager("set err_respawn_interval")?;
        manager.set_intervals(Intervals { err_respawn_interval: interval, ..manager.intervals() });
        Ok(())
    }

    /// Changes [`trap_signals`](PreforkBuilder::trap_signals). Signals that are no longer trapped
    /// get the action that they have without a trap, see [`build`](PreforkBuilder::build).
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for a signal that cannot be trapped, for an empty set, if TERM is forwarded
    /// as a signal that does not terminate a process, or if this process is a worker.
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

impl PreforkBuilder {
    /// Checks the settings, creates the scoreboard and installs the handlers of the trapped
    /// signals. From then on no trapped signal is lost, even before the first
    /// [`start`](Prefork::start).
    ///
    /// Before that, [resets](inherited::reset) what the process that launched this one has handed
    /// down: afterwards no signal is blocked or ignored except `SIGPIPE`, no timer runs, the
    /// standard descriptors are open, the manager does not adopt orphaned processes, and signals
    /// such as `SIGUSR1`, for which the program has no handler and no trap, do nothing in the
    /// manager and in workers. A signal that the program itself wants to be ignored or blocked must
    /// be ignored or blocked after this call.
    ///
    /// The [variables of a supervisor](daemon_sys::environment::is_of_supervisor), such as
    /// `NOTIFY_SOCKET`, `LISTEN_FDS` and `SERVER_STARTER_PORT`, remain in the environment of the
    /// manager, which may need them, and are removed in workers.
    ///
    /// If the call fails, it leaves no scoreboard file.
    ///
    /// In process 1 of a container, the call forks, and returns in the child. Process 1 reaps the
    /// processes that lose their parent, forwards signals to the child, and exits with its exit
    /// code.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if a setting is invalid, if this process already has a manager or is a
    /// worker, or if a system call fails.
    pub fn build(self) -> Result<Prefork, ConfigError> {
        let size = self.check()?;
        record_inherited()?;
        leave_process_1("init", self.grace.unwrap_or(INIT_GRACE))?;
        let manager_pid = ManagerPid::acquire()?;
        let kept_signals = inherited::reset(&self.traps.signals())?;
        let memory = scoreboard_memory(size.slots(), self.scoreboard_file.as_deref())
            .map_err(ConfigError::Scoreboard)?;
        let file = memory.file().cloned();
        let manager =
            PreforkManager::new(self, size, memory, manager_pid).inspect_err(|_error| {
                // The error that is returned says more than one of the removal.
                let _ = file.map(|file| file.remove());
            })?;
        drop(kept_signals);
        Ok(Prefork {
            role: ProcessRole::Manager(Box::new(manager)),
            manager_pid: this_pid(),
            signal_received: None,
        })
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

/// Creates the memory of a scoreboard with this number of slots, which is not formatted yet.
fn scoreboard_memory(
    slots: u32,
    file: Option<&Path>,
) -> Result<SharedMemory<ScoreboardLine>, Box<dyn std::error::Error + Send + Sync>> {
    let count = lines_for(slots)?;
    Ok(match file {
        Some(path) => SharedMemory::in_file(path, count)?,
        None => SharedMemory::anonymous(count)?,
    })
}
