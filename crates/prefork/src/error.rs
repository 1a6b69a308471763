//! What can be wrong with the settings, and what can go wrong afterwards.

use daemon_core::ReportError;
use daemon_sys::Signal;

/// Why a manager is not built, or not set to other numbers. Nothing has changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number is 0 that must not be.
    #[error("{setting} is 0: it must be at least 1")]
    Zero {
        /// Which setting.
        setting: &'static str,
    },
    /// More workers than a scoreboard has slots.
    #[error(
        "max_workers is {max_workers}: a scoreboard has at most {} slots",
        daemon_core::MAX_SLOTS
    )]
    TooManyWorkers {
        /// The number.
        max_workers: u32,
    },
    /// More workers than this manager's scoreboard has slots: it was made for fewer.
    #[error(
        "max_workers is {max_workers}: the scoreboard was made with {slots} slots, for twice the \
         number at first"
    )]
    TooFewSlots {
        /// The number.
        max_workers: u32,
        /// How many slots there are.
        slots: u32,
    },
    /// A limit of spare workers without the other.
    #[error("max_spare_workers is {max_spare_workers}, but min_spare_workers is not set")]
    MinSpareNotSet {
        /// The limit that is set.
        max_spare_workers: u32,
    },
    /// More workers would have to be idle than there may be.
    #[error(
        "min_spare_workers is {min_spare_workers}: it must not be more than max_workers, which is \
         {max_workers}"
    )]
    MinSpareAboveMax {
        /// The number that is too large.
        min_spare_workers: u32,
        /// How many there may be.
        max_workers: u32,
    },
    /// The same worker would be too few and too many.
    #[error(
        "max_spare_workers is {max_spare_workers}: it must not be less than min_spare_workers, which \
         is {min_spare_workers}"
    )]
    MaxSpareBelowMinSpare {
        /// The larger number.
        min_spare_workers: u32,
        /// The smaller one.
        max_spare_workers: u32,
    },
    /// The signal is none that a manager can trap.
    #[error("cannot trap {signal}: {}", trap_refusal_reason(*.signal))]
    CannotTrap {
        /// Which one.
        signal: Signal,
    },
    /// A worker that gets the signal goes on, or stands still.
    #[error("{setting} is {signal}: that ends no process, so no worker would leave")]
    NotTerminating {
        /// Which setting: `death_signal`, or what TERM is forwarded as.
        setting: &'static str,
        /// The signal.
        signal: Signal,
    },
    /// Another [`Prefork`](crate::Prefork) has this process' signals, or this process is a worker,
    /// which has its own.
    #[error(
        "cannot make a manager: this process has one, or is a worker, so its signals are taken"
    )]
    AlreadyManaged,
    /// `start` returns when a trapped signal has come.
    #[error("cannot start: no signal is trapped, so start would never return")]
    NoTrappedSignal,
    /// This process is a worker.
    #[error(transparent)]
    InWorker(#[from] InWorkerError),
    /// The scoreboard cannot be made.
    #[error("cannot make the scoreboard: {0}")]
    Scoreboard(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The system refuses what the manager needs.
    #[error(transparent)]
    System(#[from] daemon_sys::Error),
}

fn trap_refusal_reason(signal: Signal) -> &'static str {
    match signal {
        Signal::Child => "the manager learns by it that a worker has ended",
        _another => "no process can",
    }
}

/// Why workers are not managed any further. Those that live go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// This process is a worker.
    #[error(transparent)]
    InWorker(#[from] InWorkerError),
    /// The system refuses, for good: other threads run in this process (they are named), for one.
    /// What it may grant later is tried again instead, see
    /// [`err_respawn_interval`](crate::PreforkBuilder::err_respawn_interval).
    #[error(transparent)]
    System(#[from] daemon_sys::Error),
}

/// The act is the manager's, and this process is a worker: it has nothing to fork or to wait for.
/// The original dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot {operation} in a worker: only the manager may")]
pub struct InWorkerError {
    /// What was tried.
    pub operation: &'static str,
}

/// Why a status was not set. The former one stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatusError {
    /// The character is the manager's, for a slot without a worker.
    #[error(
        "cannot set status {:?}: it is reserved for slots without a worker",
        crate::STATUS_NEXIST
    )]
    Reserved,
    /// The character cannot be shown.
    #[error("cannot set status {0:?}: it is a control character")]
    Control(char),
    /// The scoreboard's line is not this worker's, or damaged.
    #[error(transparent)]
    Board(#[from] ReportError),
}
