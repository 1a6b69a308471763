//! Errors of settings, and errors at run time.

use daemon_core::ReportError;
use daemon_sys::Signal;

/// Why a manager could not be built, or a setting could not be changed. If a setting is refused,
/// the previous settings still apply.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A setting is 0.
    #[error("{setting} must be at least 1, not 0")]
    Zero {
        /// The name of the setting.
        setting: &'static str,
    },
    /// `max_workers` is larger than the number of slots that a scoreboard can have.
    #[error("max_workers must be at most {}, not {max_workers}", daemon_core::MAX_SLOTS)]
    TooManyWorkers {
        /// The requested value of `max_workers`.
        max_workers: u32,
    },
    /// `max_workers` is larger than the number of slots of this manager's scoreboard.
    #[error(
        "cannot set max_workers to {max_workers}: the scoreboard has only {slots} slots, which were \
        created for the initial max_workers"
    )]
    TooFewSlots {
        /// The requested value of `max_workers`.
        max_workers: u32,
        /// The number of slots of the scoreboard.
        slots: u32,
    },
    /// `max_spare_workers` is set without `min_spare_workers`.
    #[error("max_spare_workers ({max_spare_workers}) requires min_spare_workers to be set")]
    MinSpareNotSet {
        /// The value of `max_spare_workers`.
        max_spare_workers: u32,
    },
    /// `min_spare_workers` is larger than `max_workers`.
    #[error(
        "min_spare_workers ({min_spare_workers}) must not be greater than max_workers ({max_workers})"
    )]
    MinSpareAboveMax {
        /// The value of `min_spare_workers`.
        min_spare_workers: u32,
        /// The value of `max_workers`.
        max_workers: u32,
    },
    /// `max_spare_workers` is smaller than `min_spare_workers`.
    #[error(
        "max_spare_workers ({max_spare_workers}) must not be less than min_spare_workers \
        ({min_spare_workers})"
    )]
    MaxSpareBelowMinSpare {
        /// The value of `min_spare_workers`.
        min_spare_workers: u32,
        /// The value of `max_spare_workers`.
        max_spare_workers: u32,
    },
    /// A manager cannot trap this signal.
    #[error("cannot trap {signal}: {}", trap_refusal_reason(*.signal))]
    CannotTrap {
        /// The signal.
        signal: Signal,
    },
    /// This signal does not terminate a process by default, so it cannot stop a worker.
    #[error(
        "{setting} must not be {signal}: it does not terminate a process, so workers would not exit"
    )]
    NotTerminating {
        /// Which signal it is: `death_signal`, or the signal sent to workers for TERM.
        setting: &'static str,
        /// The signal.
        signal: Signal,
    },
    /// Another [`Prefork`](crate::Prefork) handles the signals of this process, or this process is
    /// a worker.
    #[error("cannot create a manager: this process already has a manager or is a worker")]
    AlreadyManaged,
    /// No signal is trapped, so `start` would never return.
    #[error("trap_signals must not be empty: without a trapped signal, start() would never return")]
    NoTrappedSignal,
    /// This process is a worker.
    #[error(transparent)]
    InWorker(#[from] InWorkerError),
    /// The scoreboard could not be created.
    #[error("cannot create the scoreboard: {0}")]
    Scoreboard(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A system call failed.
    #[error(transparent)]
    System(#[from] daemon_sys::Error),
}

fn trap_refusal_reason(signal: Signal) -> &'static str {
    match signal {
        Signal::Child => "the manager uses it to detect the exit of workers",
        _another => "the system does not allow it",
    }
}

/// Why a method of [`Prefork`](crate::Prefork) failed. Running workers are not affected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// This process is a worker.
    #[error(transparent)]
    InWorker(#[from] InWorkerError),
    /// A system call failed permanently, or other threads run in this process. In the second case
    /// the error names the threads. Temporary failures are retried instead, see
    /// [`err_respawn_interval`](crate::PreforkBuilder::err_respawn_interval).
    #[error(transparent)]
    System(#[from] daemon_sys::Error),
}

/// The operation is allowed only in the manager, and this process is a worker. `Parallel::Prefork`
/// dies in this case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot {operation} in a worker: only the manager can")]
pub struct InWorkerError {
    /// The operation that failed, for example `start workers`.
    pub operation: &'static str,
}

/// Why a status was not set. The previous status is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatusError {
    /// The character is reserved for slots without a worker.
    #[error(
        "cannot set status {:?}: it is reserved for slots without a worker",
        crate::STATUS_NEXIST
    )]
    Reserved,
    /// The character is a control character.
    #[error("cannot set status {0:?}: it is a control character")]
    Control(char),
    /// The scoreboard slot does not belong to this worker, or is damaged.
    #[error(transparent)]
    Board(#[from] ReportError),
}
