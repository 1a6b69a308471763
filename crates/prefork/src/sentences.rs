//! What the manager's errors say, each once.

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
    a_setting: ConfigError {
        ConfigError::Zero { .. } => ConfigError::Zero { setting: "max_workers" },
            "max_workers is 0: it must be at least 1";
        ConfigError::TooManyWorkers { .. } => ConfigError::TooManyWorkers { max_workers: 70_000 },
            "max_workers is 70000: a scoreboard has at most 65536 slots";
        ConfigError::TooFewSlots { .. } => ConfigError::TooFewSlots { max_workers: 40, slots: 20 },
            "max_workers is 40: the scoreboard was made with 20 slots, for twice the number at first";
        ConfigError::MinSpareNotSet { .. } => ConfigError::MinSpareNotSet { max_spare_workers: 5 },
            "max_spare_workers is 5, but min_spare_workers is not set";
        ConfigError::MinSpareAboveMax { .. } =>
            ConfigError::MinSpareAboveMax { min_spare_workers: 9, max_workers: 8 },
            "min_spare_workers is 9: it must not be more than max_workers, which is 8";
        ConfigError::MaxSpareBelowMinSpare { .. } =>
            ConfigError::MaxSpareBelowMinSpare { min_spare_workers: 5, max_spare_workers: 2 },
            "max_spare_workers is 2: it must not be less than min_spare_workers, which is 5";
        ConfigError::CannotTrap { .. } => ConfigError::CannotTrap { signal: Signal::Kill },
            "cannot trap SIGKILL: no process can";
        ConfigError::NotTerminating { .. } =>
            ConfigError::NotTerminating { setting: "death_signal", signal: Signal::Cont },
            "death_signal is SIGCONT: that ends no process, so no worker would leave";
        ConfigError::AlreadyManaged => ConfigError::AlreadyManaged,
            "cannot make a manager: this process has one, or is a worker, so its signals are taken";
        ConfigError::NoTrappedSignal => ConfigError::NoTrappedSignal,
            "cannot start: no signal is trapped, so start would never return";
        ConfigError::InWorker(_) => ConfigError::InWorker(InWorkerError { operation: "make a manager" }),
            "cannot make a manager in a worker: only the manager may";
        ConfigError::Scoreboard(_) => ConfigError::Scoreboard("too few lines".into()),
            "cannot make the scoreboard: too few lines";
        ConfigError::System(_) => ConfigError::System(denied()),
            "cannot open log file /var/log/x.log: permission denied";
    }
    a_manager: Error {
        Error::InWorker(_) => Error::InWorker(InWorkerError { operation: "fork" }),
            "cannot fork in a worker: only the manager may";
        Error::System(_) => Error::System(denied()),
            "cannot open log file /var/log/x.log: permission denied";
    }
    a_worker: InWorkerError {
        InWorkerError { .. } => InWorkerError { operation: "fork" }, "cannot fork in a worker: only the manager may";
    }
    a_status: StatusError {
        StatusError::Reserved => StatusError::Reserved,
            "cannot set status '.': it is reserved for slots without a worker";
        StatusError::Control(_) => StatusError::Control('\n'),
            "cannot set status '\\n': it is a control character";
        StatusError::Board(_) =>
            StatusError::Board(ReportError::NoSuchSlot { slot: SlotNumber::new(3) }),
            "cannot write to slot 3: the scoreboard has no such slot";
    }
}
