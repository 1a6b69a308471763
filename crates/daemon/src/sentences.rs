//! Tests the texts of all errors of the daemon.

#[path = "../../../tests/sentences.rs"]
#[macro_use]
mod table;

use std::io;

use daemon_core::{Phase, PoolError, ReportError, SlotNumber};
use daemon_forkserver::{ForkServerError, TransferError};
use daemon_service::ServiceError;
use daemon_sys::process::Pid;

use crate::control::protocol::{ControlError, ControlErrorKind};
use crate::panics::Panic;
use crate::{
    CommandError, ConfigError, DaemonError, ForeignChildError, HandOverError, HandOverErrorReason,
    ReopenError, StatusError, TraceError,
};

fn pid() -> Pid {
    Pid::from_raw(4711).unwrap()
}

fn denied() -> daemon_sys::Error {
    daemon_sys::Error::os("open log file /var/log/x.log", io::Error::from_raw_os_error(13))
}

fn panic() -> Panic {
    Panic { message: "no route".to_owned(), location: "src/main.rs:10:5".to_owned() }
}

sentences! {
    enum DaemonError {
        Config(ConfigError::value("grace", "0 s", "no time")),
        System(denied()),
        ForkServer(ForkServerError::PreloadFailed { error: "no such table: tariffs".to_owned() }),
        InsideRuntime,
        NoSystem,
        Runtime { action: "watch the fork server", source: io::Error::from_raw_os_error(24) },
        Service(ServiceError::Program("no free port".to_owned())),
        NotReady("the initial children failed to start: 5 failures in a row".to_owned()),
        ForkServerLost("the fork server (pid 12) is lost: killed by signal 9".to_owned()),
        Ended("the fork server (pid 12) is lost".to_owned()),
        Panicked(panic()),
        ActorLost,
    }
    enum ConfigError {
        Pool(PoolError::Zero { field: "max_children" }),
        Value { field: "grace", value: "0 s".to_owned(), reason: "no time".to_owned() },
    }
    enum CommandError {
        Phase(Phase::Stopping),
        NoPool { action: "reload" },
        NoChildren { action: "pause" },
        NoSuchChild { pid: pid() },
        Size { wanted: 9, reason: PoolError::AtMaximum { max_children: 8 }.to_string() },
    }
    enum HandOverErrorReason {
        Full { max_children: 4, backlog: 2 },
        Stopping,
        NotPostForking,
        Transfer(TransferError::NotText),
        CannotFork("cannot fork: cannot allocate memory".to_owned()),
    }
    enum StatusError {
        Refused(ReportError::NoSuchSlot { slot: SlotNumber::new(3) }),
        NotYours { update: "done" },
        NoRequest { update: "long" },
        InParent,
    }
    enum TraceError {
        NoSuchChild(pid()),
        NoBabysitter(pid()),
    }
    struct Panic { message: "no route".to_owned(), location: "src/main.rs:10:5".to_owned() };
    struct ReopenError { source: denied() };
    struct ForeignChildError { pid: pid(), source: denied() };
    struct HandOverError { request: (), reason: HandOverErrorReason::Stopping };
    struct ControlError {
        kind: ControlErrorKind::Malformed,
        text: "no such command: fly".to_owned(),
    };
}
