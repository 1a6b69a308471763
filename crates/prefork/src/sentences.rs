//! Tests the texts of all errors of this crate.

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
    enum ConfigError {
        Zero { setting: "max_workers" },
        TooManyWorkers { max_workers: 70_000 },
        TooFewSlots { max_workers: 40, slots: 20 },
        MinSpareNotSet { max_spare_workers: 5 },
        MinSpareAboveMax { min_spare_workers: 9, max_workers: 8 },
        MaxSpareBelowMinSpare { min_spare_workers: 5, max_spare_workers: 2 },
        CannotTrap { signal: Signal::Kill },
        NotTerminating { setting: "death_signal", signal: Signal::Cont },
        AlreadyManaged,
        NoTrappedSignal,
        InWorker(InWorkerError { operation: "set max_workers" }),
        Scoreboard("too few lines".into()),
        System(denied()),
    }
    enum Error {
        InWorker(InWorkerError { operation: "start workers" }),
        System(denied()),
    }
    enum StatusError {
        Reserved,
        Control('\n'),
        Board(ReportError::NoSuchSlot { slot: SlotNumber::new(3) }),
    }
    struct InWorkerError { operation: "wait for workers" };
}
