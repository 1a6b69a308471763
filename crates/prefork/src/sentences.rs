//! Tests the text of every error message of this crate.

#[path = "../../../tests/sentences.rs"]
#[macro_use]
mod table;

use daemon_core::{ReportError, SlotNumber};
use daemon_sys::Signal;

use crate::{ConfigError, Error, InWorkerError, StatusError};

fn denied() -> daemon_sys::Error {
    daemon_sys::Error::os("open log file /var/log/x.log", std::io::Error::from_raw_os_error(13))
}

sentences! {
    config_error_messages_are_as_listed: ConfigError {
        ConfigError::Zero { .. } => ConfigError::Zero { setting: "max_workers" },
            "max_workers must be at least 1, not 0";
        ConfigError::TooManyWorkers { .. } => ConfigError::TooManyWorkers { max_workers: 70_000 },
            "max_workers must be at most 65536, not 70000";
        ConfigError::TooFewSlots { .. } => ConfigError::TooFewSlots { max_workers: 40, slots: 20 },
            "cannot set max_workers to 40: the scoreboard has only 20 slots, which were created for the initial max_workers";
        ConfigError::MinSpareNotSet { .. } => ConfigError::MinSpareNotSet { max_spare_workers: 5 },
            "max_spare_workers (5) requires min_spare_workers to be set";
        ConfigError::MinSpareAboveMax { .. } =>
            ConfigError::MinSpareAboveMax { min_spare_workers: 9, max_workers: 8 },
            "min_spare_workers (9) must not be greater than max_workers (8)";
        ConfigError::MaxSpareBelowMinSpare { .. } =>
            ConfigError::MaxSpareBelowMinSpare { min_spare_workers: 5, max_spare_workers: 2 },
            "max_spare_workers (2) must not be less than min_spare_workers (5)";
        ConfigError::CannotTrap { .. } => ConfigError::CannotTrap { signal: Signal::Kill },
            "cannot trap KILL: the system does not allow it";
        ConfigError::NotTerminating { .. } =>
            ConfigError::NotTerminating { setting: "death_signal", signal: Signal::Cont },
            "death_signal must not be CONT: it does not terminate a process, so workers would not exit";
        ConfigError::AlreadyManaged => ConfigError::AlreadyManaged,
            "cannot create a manager: this process already has a manager or is a worker";
        ConfigError::NoTrappedSignal => ConfigError::NoTrappedSignal,
            "trap_signals must not be empty: without a trapped signal, start() would never return";
        ConfigError::InWorker(_) => ConfigError::InWorker(InWorkerError { operation: "set max_workers" }),
            "cannot set max_workers in a worker: only the manager can";
        ConfigError::Scoreboard(_) => ConfigError::Scoreboard("too few lines".into()),
            "cannot create the scoreboard: too few lines";
        ConfigError::System(_) => ConfigError::System(denied()),
            "cannot open log file /var/log/x.log: permission denied";
    }
    manager_error_messages_are_as_listed: Error {
        Error::InWorker(_) => Error::InWorker(InWorkerError { operation: "start workers" }),
            "cannot start workers in a worker: only the manager can";
        Error::System(_) => Error::System(denied()),
            "cannot open log file /var/log/x.log: permission denied";
    }
    in_worker_error_messages_are_as_listed: InWorkerError {
        InWorkerError { .. } => InWorkerError { operation: "wait for workers" },
            "cannot wait for workers in a worker: only the manager can";
    }
    status_error_messages_are_as_listed: StatusError {
        StatusError::Reserved => StatusError::Reserved,
            "cannot set status '.': it is reserved for slots without a worker";
        StatusError::Control(_) => StatusError::Control('\n'),
            "cannot set status '\\n': it is a control character";
        StatusError::Board(_) =>
            StatusError::Board(ReportError::NoSuchSlot { slot: SlotNumber::new(3) }),
            "cannot write to slot 3: the scoreboard has no such slot";
    }
}
