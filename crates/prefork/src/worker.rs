//! The handle that a worker uses in its own process.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use daemon_core::{
    Label, Pid, Seat, Signal, SlotEntry, SlotNumber, Status, StatusKind, Transition,
};
use daemon_sys::clock::now;
use daemon_sys::fork::flush_streams;
use daemon_sys::link::is_shortage;
use daemon_sys::listen::{accept, refuses_new_connections, set_nonblocking};
use daemon_sys::poll::{Interest, wait};
use daemon_sys::process::{die_with_parent, exit_now};
use daemon_sys::signals::SignalListener;
use daemon_sys::wakeup::Waker;
use slog::{Logger, crit, error, o};

use crate::error::StatusError;
use crate::handover::HandoverReceiver;
use crate::listener::{AcceptProgress, Listener};
use crate::log;

/// The status of an idle worker, as in the original, `Parallel::Prefork::SpareWorkers`.
pub const STATUS_IDLE: char = '_';

/// The status of a slot without a worker. No worker may set it. The original,
/// `Parallel::Prefork::SpareWorkers`, uses the same name and character.
pub const STATUS_NEXIST: char = '.';

/// The character of an active worker whose own character is being written or is invalid.
const ACTIVE: char = 'A';

/// Exit code of a worker that panicked. It is the exit code of any Rust program that panics.
const EXIT_PANIC: i32 = 101;

/// A worker's handle. [`start`](crate::Prefork::start) passes it to the closure that runs in the
/// worker.
///
/// # Stopping
///
/// The manager asks a worker to stop by a *stop signal*, for example TERM. By default the stop
/// signal terminates the worker at once, as in the original. After the first call of
/// [`accept`](Worker::accept), [`should_stop`](Worker::should_stop),
/// [`wait_for`](Worker::wait_for) or [`as_fd`](Worker::as_fd), the worker handles the stop signal
/// instead, and can finish its current work before it exits. The same applies to signals that the
/// manager traps and forwards as a stop signal, because workers can receive them directly: Ctrl-C
/// in a terminal sends INT to all workers too.
///
/// # Examples
///
/// A loop that can stop between two iterations:
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
    stop_signals: Box<[Signal]>,
    signals: SignalListener,
    /// Whether the worker handles stop signals.
    is_listening: Cell<bool>,
    accepting: AcceptProgress,
    handover: HandoverReceiver,
    log: Logger,
}

/// Why [`wait_for`](Worker::wait_for) returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum WaitResult {
    /// The descriptor is readable: data or a connection has arrived, or the stream has ended.
    Ready,
    /// The worker was asked to stop.
    Stop,
}

/// The result of an attempt to take a connection.
enum Accepted {
    Connection(OwnedFd),
    /// No connection waits at present.
    None,
    /// No more connections are to be taken.
    Last,
}

/// The arguments of [`Worker::new`].
#[derive(Debug)]
pub(crate) struct WorkerParts {
    pub(crate) seat: Seat<ManagerWakeup>,
    pub(crate) generation: u32,
    pub(crate) manager: Pid,
    pub(crate) death_signal: Signal,
    /// The signals that ask the worker to stop.
    pub(crate) stop_signals: Vec<Signal>,
    pub(crate) signals: SignalListener,
    pub(crate) handover: HandoverReceiver,
    pub(crate) log: Logger,
}

impl Worker {
    pub(crate) fn new(parts: WorkerParts) -> Worker {
        let WorkerParts {
            seat,
            generation,
            manager,
            death_signal,
            stop_signals,
            signals,
            handover,
            log,
        } = parts;
        let log = log.new(o!("slot" => seat.slot().get()));
        Worker {
            seat,
            generation,
            manager,
            death_signal,
            stop_signals: stop_signals.into(),
            signals,
            is_listening: Cell::new(false),
            accepting: AcceptProgress::default(),
            handover,
            log,
        }
    }

    /// Returns the worker's scoreboard slot, counted from 0. No other running worker has the same
    /// slot.
    #[must_use]
    pub fn slot(&self) -> SlotNumber {
        self.seat.slot()
    }

    /// Returns the worker's generation: 1 if the worker was forked in the manager's first call of
    /// [`start`](crate::Prefork::start), 2 if in the second call of `start`, and so on.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Returns the manager's pid.
    #[must_use]
    pub fn manager_pid(&self) -> Pid {
        self.manager
    }

    /// Asks the kernel again to send the [`death_signal`](crate::PreforkBuilder::death_signal) when
    /// the manager exits. Call this method after a change of user or group, because such a change
    /// clears the setting (prctl(2), `PR_SET_PDEATHSIG`). On systems other than Linux the call only
    /// checks whether the manager still exists.
    ///
    /// # Errors
    ///
    /// [`ParentExited`](daemon_sys::Error::ParentExited) if the manager has exited. The worker
    /// should then exit too.
    pub fn watch_manager(&self) -> Result<(), daemon_sys::Error> {
        die_with_parent(self.death_signal, self.manager)
    }

    /// Returns whether the worker was asked to stop. After the first `true`, all later calls return
    /// `true`.
    ///
    /// From the first call on, stop signals no longer terminate the worker, see
    /// [Stopping](Worker#stopping). Later calls make no system call.
    #[must_use]
    pub fn should_stop(&self) -> bool {
        self.listen();
        self.signals.is_pending()
    }

    fn listen(&self) {
        if !self.is_listening.replace(true) {
            // This cannot fail, because KILL is the only stop signal that cannot be handled, and
            // `Traps::stop_signals` leaves it out.
            let _ = self.signals.handle(&self.stop_signals);
        }
    }

    /// Accepts a connection, and waits for one if there is none. Returns `None` when no connection
    /// follows: the worker was asked to stop and the queue of the listener is empty, or the manager
    /// has closed the listener with [`close_and_wait`](crate::Prefork::close_and_wait). The worker
    /// should then return.
    ///
    /// From the first call on, stop signals no longer terminate the worker, see
    /// [Stopping](Worker#stopping). So a worker that serves one connection after the other loses no
    /// client when it is asked to stop: it finishes its current connection, and helps the other
    /// workers to empty the queue. It takes at most as many connections as the queue had when the
    /// worker looked at it first after it was asked to stop (at most 4096 if the system does not
    /// report this, for Unix sockets and on systems other than Linux), so it also stops while
    /// clients continue to connect.
    ///
    /// All workers may accept from the same listener, which is made nonblocking. The connection is
    /// blocking, and close-on-exec.
    ///
    /// **`std`'s `accept` does not return when a signal arrives**, so a loop
    /// `while !worker.should_stop() { listener.accept() }` never ends; and a loop over
    /// [`wait_for`](Worker::wait_for) leaves the queue to nobody when all workers stop.
    ///
    /// # Errors
    ///
    /// If the listener is broken, for example shut down by another process. While the process or
    /// the system is out of descriptors or memory, the worker logs a warning, leaves the queue to
    /// the other workers and tries again 10 times a second; it returns the error after 10 s, or
    /// after 1 s if it was asked to stop.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{self, Write};
    /// use std::net::TcpListener;
    /// use daemon_prefork::Worker;
    ///
    /// fn serve(worker: &Worker, listener: &TcpListener) -> io::Result<()> {
    ///     while let Some(mut connection) = worker.accept(listener)? {
    ///         // An error means that the client has closed the connection.
    ///         let _ = connection.write_all(b"hello\n");
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn accept<L: Listener>(&self, listener: &L) -> io::Result<Option<L::Stream>> {
        let fd = listener.as_fd();
        loop {
            let should_stop = self.should_stop();
            match self.try_accept(fd, should_stop) {
                Ok(Accepted::Connection(connection)) => {
                    self.accepting.accepted();
                    set_nonblocking(connection.as_fd(), false).map_err(io::Error::other)?;
                    return Ok(Some(connection.into()));
                }
                Ok(Accepted::Last) => return Ok(None),
                // A request to stop ends the wait, too.
                Ok(Accepted::None) => {
                    let (WaitResult::Ready | WaitResult::Stop) =
                        self.wait_for(listener).map_err(io::Error::other)?;
                }
                Err(error) if is_shortage(&error) => {
                    let stop = (!should_stop).then(|| self.as_fd());
                    self.accepting.wait_during_shortage(error, stop, &self.log)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Tries to accept one of the connections that wait, or takes one that the manager hands over.
    fn try_accept(&self, listener: BorrowedFd<'_>, should_stop: bool) -> io::Result<Accepted> {
        let may_take = !should_stop || self.accepting.left(listener) > 0;
        match if may_take { accept(listener) } else { Ok(None) } {
            Ok(Some(connection)) => return Ok(Accepted::Connection(connection)),
            Ok(None) => {}
            // The manager has shut the listener down. The request to stop may follow later.
            Err(error)
                if error.kind() == io::ErrorKind::InvalidInput
                    && (should_stop || refuses_new_connections(listener)) => {}
            Err(error) => return Err(error),
        }
        // This is checked after the queue was found empty: if the manager takes connections from
        // the queue later, they came after that.
        if refuses_new_connections(listener) {
            let connection = self.handover.next()?;
            return Ok(connection.map_or(Accepted::Last, Accepted::Connection));
        }
        Ok(if should_stop { Accepted::Last } else { Accepted::None })
    }

    /// Waits until this descriptor is readable or the worker is asked to stop. Returns
    /// [`Stop`](WaitResult::Stop) if both are true.
    ///
    /// To take connections from a listener, use [`accept`](Worker::accept), which loses no client
    /// that waits in the queue when the worker is asked to stop.
    ///
    /// # Errors
    ///
    /// If the system is out of memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Read;
    /// use std::error::Error;
    /// use std::net::TcpStream;
    /// use daemon_prefork::{WaitResult, Worker};
    ///
    /// fn read(worker: &Worker, mut connection: TcpStream) -> Result<(), Box<dyn Error>> {
    ///     let mut bytes = [0; 1024];
    ///     while worker.wait_for(&connection)? == WaitResult::Ready {
    ///         if connection.read(&mut bytes)? == 0 {
    ///             break;
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn wait_for(&self, descriptor: impl AsFd) -> Result<WaitResult, daemon_sys::Error> {
        let fds = [(self.as_fd(), Interest::Read), (descriptor.as_fd(), Interest::Read)];
        let [stop, _ready] = wait(&fds, None)?;
        // The stop signal may have arrived after its descriptor was checked.
        Ok(if stop.is_empty() && !self.signals.is_pending() {
            WaitResult::Ready
        } else {
            WaitResult::Stop
        })
    }

    /// Sets the worker's status. [`STATUS_IDLE`] makes the worker idle, and any other character
    /// makes it active.
    ///
    /// A worker starts idle. This method makes no system call while the manager is awake.
    ///
    /// # Errors
    ///
    /// [`StatusError`] for [`STATUS_NEXIST`], for a control character, and if other code has
    /// overwritten the worker's scoreboard slot.
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

    /// Exits the worker with this exit code, where 0 means success. Workers of
    /// [`start_fork`](crate::Prefork::start_fork) call this. The closure of
    /// [`start`](crate::Prefork::start) returns its result instead.
    ///
    /// Output buffers are flushed. Destructors and `atexit` functions do not run, because they
    /// belong to the manager.
    pub fn finish(self, code: i32) -> ! {
        // The worker exits in any case, so an error does not matter.
        let _ = self.report(Status::Leaving);
        log::flush_before_exit();
        flush_streams();
        exit_now(code)
    }

    /// Runs the closure, and exits with its result.
    pub(crate) fn run<O: WorkerResult>(self, work: impl FnOnce(&Worker) -> O) -> ! {
        let code = match catch_unwind(AssertUnwindSafe(|| work(&self))) {
            Ok(outcome) => outcome.exit_code(&self.log),
            Err(_printed_on_stderr) => {
                crit!(self.log, "worker panicked");
                EXIT_PANIC
            }
        };
        self.finish(code)
    }
}

/// Returns a descriptor that becomes readable when the worker is asked to stop, for loops that wait
/// in poll(2). Do not read from it. The call has the same effect on stop signals as
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

/// Wakes a sleeping manager when a worker reports a status.
#[derive(Debug)]
pub(crate) struct ManagerWakeup(pub(crate) Waker);

impl daemon_core::WakeParent for ManagerWakeup {
    fn wake(&self) {
        self.0.wake();
    }
}

/// A return type for the closure of [`start`](crate::Prefork::start): `()`, an exit code, or a
/// `Result`, whose error is logged and becomes exit code 1.
pub trait WorkerResult {
    /// Returns the exit code, and logs the error if there is one.
    fn exit_code(self, log: &Logger) -> i32;
}

impl WorkerResult for () {
    fn exit_code(self, _: &Logger) -> i32 {
        0
    }
}

/// The exit code itself. The system keeps only its lower 8 bits (exit(3)).
impl WorkerResult for i32 {
    fn exit_code(self, _: &Logger) -> i32 {
        self
    }
}

impl<O: WorkerResult, E: fmt::Display> WorkerResult for Result<O, E> {
    fn exit_code(self, log: &Logger) -> i32 {
        match self {
            Ok(outcome) => outcome.exit_code(log),
            Err(error) => {
                error!(log, "worker failed"; "error" => error.to_string());
                1
            }
        }
    }
}

/// For closures that never return.
impl WorkerResult for std::convert::Infallible {
    fn exit_code(self, _: &Logger) -> i32 {
        match self {}
    }
}

/// Returns the status character of a slot. For an active worker, this is the character that the
/// worker has set.
pub(crate) fn status_of(entry: &SlotEntry) -> char {
    match entry.status.map(Status::kind) {
        None | Some(StatusKind::Vacant) => STATUS_NEXIST,
        Some(StatusKind::Starting | StatusKind::Idle | StatusKind::Leaving) => STATUS_IDLE,
        Some(StatusKind::Busy) => match &entry.label {
            Label::Text(text) => str::from_utf8(text.as_bytes())
                .ok()
                .and_then(|text| text.chars().next())
                .unwrap_or(ACTIVE),
            Label::BeingWritten => ACTIVE,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_converted_to_exit_codes() {
        let log = Logger::root(slog::Discard, slog::o!());
        assert_eq!(().exit_code(&log), 0);
        assert_eq!(7.exit_code(&log), 7);
        assert_eq!(Ok::<_, String>(3).exit_code(&log), 3);
        assert_eq!(Err::<(), _>("no disk").exit_code(&log), 1);
    }
}
