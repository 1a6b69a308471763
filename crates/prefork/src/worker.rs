//! A worker, as its own process sees it.

use std::cell::Cell;
use std::fmt;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use daemon_core::{Seat, SlotNumber, Status, Transition};
use daemon_sys::fork::flush_c_streams;
use daemon_sys::poll::{Interest, wait};
use daemon_sys::process::{die_with_parent, exit_now};
use daemon_sys::signals::SignalListener;
use daemon_sys::wakeup::Wakeup;
use daemon_sys::{Pid, Signal};
use slog::{Logger, crit, o};

use crate::clock::now;
use crate::error::StatusError;
use crate::worker_result::WorkerResult;

/// The status of a worker that waits for something to do. The original's `STATUS_IDLE`.
pub const STATUS_IDLE: char = '_';

/// The status of a slot without a worker; no worker sets it. The original's `STATUS_NEXIST`.
pub const STATUS_NEXIST: char = '.';

/// The exit code of a worker whose work has panicked: the same as of any Rust program.
const EXIT_PANIC: i32 = 101;

/// A worker: what [`start`](crate::Prefork::start) gives the closure that runs in it.
///
/// # Stopping
///
/// The manager tells a worker to leave by a signal, TERM for one. As long as the worker does not ask,
/// the signal does what it does by default and ends it at once, as in the original. From the first
/// time that it asks [`should_stop`](Worker::should_stop), or for the [descriptor](Worker::as_fd), it
/// is told instead: it finishes what it has in hand, and leaves. So it is by the signals that the
/// manager traps to tell workers to leave: Ctrl-C in a terminal is INT for all of them.
///
/// # Examples
///
/// A loop that does one thing after another, and leaves in between:
///
/// ```
/// # use daemon_prefork::Worker;
/// # fn one_thing() {}
/// fn work(worker: &Worker) {
///     while !worker.should_stop() {
///         one_thing();
///     }
/// }
/// ```
pub struct Worker {
    seat: Seat<ManagerWakeup>,
    generation: u32,
    manager: Pid,
    death_signal: Signal,
    stop_signals: Vec<Signal>,
    signals: SignalListener,
    listening: Cell<ListenState>,
    log: Logger,
}

/// Why a [wait](Worker::wait_for) is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum WaitResult {
    /// There is something to read or to accept, or the end.
    Ready,
    /// The worker was told to leave.
    Stop,
}

/// Whether the worker has asked to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ListenState {
    NotListening,
    Listening,
}

/// What a worker is made of.
#[derive(Debug)]
pub(crate) struct WorkerParts {
    pub(crate) seat: Seat<ManagerWakeup>,
    pub(crate) generation: u32,
    pub(crate) manager: Pid,
    pub(crate) death_signal: Signal,
    /// The signals by which it hears that it shall leave.
    pub(crate) stop_signals: Vec<Signal>,
    pub(crate) signals: SignalListener,
    pub(crate) log: Logger,
}

impl Worker {
    pub(crate) fn new(parts: WorkerParts) -> Worker {
        let WorkerParts { seat, generation, manager, death_signal, stop_signals, signals, log } =
            parts;
        let listening = Cell::new(ListenState::NotListening);
        Worker { seat, generation, manager, death_signal, stop_signals, signals, listening, log }
    }

    /// Tells its place on the scoreboard, counted from 0. No other worker that lives has it.
    #[must_use]
    pub fn slot(&self) -> SlotNumber {
        self.seat.slot()
    }

    /// Tells which start of the manager's it is of, counted from 1.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Tells the manager's process.
    #[must_use]
    pub fn manager_pid(&self) -> Pid {
        self.manager
    }

    /// Asks the kernel anew for the signal that comes when the manager ends
    /// ([`death_signal`](crate::PreforkBuilder::death_signal)). A worker does so after it has changed its user
    /// or group, since the kernel drops it then (prctl(2), `PR_SET_PDEATHSIG`). Elsewhere than on Linux
    /// it only looks whether the manager is still there.
    ///
    /// # Errors
    ///
    /// [`ParentExited`](daemon_sys::Error::ParentExited) if the manager has ended meanwhile: then it
    /// is time to leave.
    pub fn watch_manager(&self) -> Result<(), daemon_sys::Error> {
        die_with_parent(self.death_signal, self.manager)
    }

    /// Says whether it was told to leave. It stays so.
    ///
    /// The first call makes the signals to leave a thing to be asked for, see
    /// [Stopping](Worker#stopping). Later ones make no system call.
    #[must_use]
    pub fn should_stop(&self) -> bool {
        self.listen();
        self.signals.is_pending()
    }

    fn listen(&self) {
        match self.listening.replace(ListenState::Listening) {
            ListenState::Listening => {}
            // They are signals that a manager can trap or send, so they can be handled; of KILL
            // nobody hears.
            ListenState::NotListening => drop(self.signals.handle(&self.stop_signals)),
        }
    }

    /// Waits until this descriptor can be read from, or the worker was told to leave: whichever is
    /// first, and leaving if both are so.
    ///
    /// Workers that wait for the same listener are all woken by a connection, and one of them gets
    /// it: the listener is to be non-blocking, so that the others wait again.
    ///
    /// # Errors
    ///
    /// Want of memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io;
    /// use std::net::TcpListener;
    /// use daemon_prefork::{WaitResult, Worker};
    ///
    /// fn serve(worker: &Worker, listener: &TcpListener) -> Result<(), Box<dyn std::error::Error>> {
    ///     while worker.wait_for(listener)? == WaitResult::Ready {
    ///         match listener.accept() {
    ///             Ok((connection, _peer)) => println!("from {}", connection.peer_addr()?),
    ///             Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
    ///             Err(error) => return Err(error.into()),
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn wait_for(&self, descriptor: impl AsFd) -> Result<WaitResult, daemon_sys::Error> {
        let fds = [(self.as_fd(), Interest::Read), (descriptor.as_fd(), Interest::Read)];
        let [stop, _ready] = wait(&fds, None)?;
        // The signal may have come after the one was looked at and before the other was.
        Ok(if stop.is_empty() && !self.signals.is_pending() {
            WaitResult::Ready
        } else {
            WaitResult::Stop
        })
    }

    /// Says what the worker does, in one character of its choice: it is active then. With
    /// [`STATUS_IDLE`] it is idle.
    ///
    /// A worker begins idle. Costs no system call while the manager is awake.
    ///
    /// # Errors
    ///
    /// [`StatusError`] for [`STATUS_NEXIST`], for a control character, and if something has written
    /// over the worker's line.
    pub fn set_status(&self, status: char) -> Result<(), StatusError> {
        match status {
            STATUS_NEXIST => return Err(StatusError::Reserved),
            control if control.is_control() => return Err(StatusError::Control(control)),
            STATUS_IDLE => {
                if self.seat.status().is_busy() {
                    self.report(Status::Waiting)?;
                }
                self.seat.set_label(b"");
            }
            active => {
                self.seat.set_label(active.encode_utf8(&mut [0; 4]).as_bytes());
                if !self.seat.status().is_busy() {
                    self.report(Status::Serving)?;
                }
            }
        }
        Ok(())
    }

    fn report(&self, status: Status) -> Result<Transition, StatusError> {
        Ok(self.seat.report(status, now())?)
    }

    /// Ends the worker with this exit code; 0 is success. For workers of
    /// [`start_fork`](crate::Prefork::start_fork): a closure just returns.
    ///
    /// What was printed is written out. No destructor and no `atexit` function runs: what is
    /// registered there is the manager's.
    pub fn finish(self, code: i32) -> ! {
        // It is on its way out, whatever its line says by now.
        let _ = self.report(Status::Leaving);
        let _ = std::io::stdout().flush();
        flush_c_streams();
        exit_now(code)
    }

    /// Does the work, and ends with what it returns.
    pub(crate) fn live<O: WorkerResult>(self, work: impl FnOnce(&Worker) -> O) -> ! {
        let code = match catch_unwind(AssertUnwindSafe(|| work(&self))) {
            Ok(outcome) => outcome.exit_code(&self.log.new(o!("slot" => self.slot().get()))),
            Err(_told_on_stderr) => {
                crit!(self.log, "worker panicked"; "slot" => self.slot().get());
                EXIT_PANIC
            }
        };
        self.finish(code)
    }
}

/// The descriptor is readable from when the worker was told to leave: for loops that wait in poll(2).
/// Nothing is to be read from it. Asking for it counts as asking
/// [`should_stop`](Worker::should_stop).
impl AsFd for Worker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listen();
        self.signals.as_fd()
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("slot", &self.slot())
            .field("generation", &self.generation)
            .field("manager", &self.manager)
            .finish_non_exhaustive()
    }
}

/// The bell on which a worker's report wakes a manager that sleeps.
#[derive(Debug)]
pub(crate) struct ManagerWakeup(pub(crate) Wakeup);

impl daemon_core::WakeParent for ManagerWakeup {
    fn wake(&self) {
        self.0.wake();
    }
}
