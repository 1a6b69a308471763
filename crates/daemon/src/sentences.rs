//! Tests the text of every error message of the daemon.

#[path = "../../../tests/sentences.rs"]
#[macro_use]
mod table;

use std::io;

use daemon_core::{Phase, PoolError, ReportError, SlotNumber};
use daemon_forkserver::{ForkServerError, TransferError};
use daemon_service::ServiceError;
use daemon_sys::process::Pid;

use crate::control::protocol::{ControlError, ControlErrorKind};
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

sentences! {
    daemon_error_messages_are_as_listed: DaemonError {
        DaemonError::Config(_) => DaemonError::Config(ConfigError::value("grace", "0 s", "no time")),
            "grace is 0 s: no time";
        DaemonError::System(_) => DaemonError::System(denied()),
            "cannot open log file /var/log/x.log: permission denied";
        DaemonError::ForkServer(_) => DaemonError::ForkServer(ForkServerError::PreloadFailed {
                error: "no such table: tariffs".to_owned(),
            }),
            "preload failed: no such table: tariffs";
        DaemonError::InsideRuntime => DaemonError::InsideRuntime,
            "cannot launch inside an actix System or a tokio runtime: forked children would share its event queue. Call launch before you start the runtime";
        DaemonError::NoSystem => DaemonError::NoSystem,
            "cannot start the daemon: there is no actix System in this thread";
        DaemonError::Runtime { .. } => DaemonError::Runtime {
                action: "watch the fork server",
                source: io::Error::from_raw_os_error(24),
            },
            "cannot watch the fork server: Too many open files (os error 24)";
        DaemonError::Service(_) => DaemonError::Service(ServiceError::Environment {
                variable: "WATCHDOG_USEC",
                value: "soon".to_owned(),
                reason: "not a number".to_owned(),
            }),
            "invalid environment variable WATCHDOG_USEC=\"soon\": not a number";
        DaemonError::NotReady(_) => DaemonError::NotReady("the initial children failed to start: 5 failures in a row, the last one: exited with code 1 before it was ready".to_owned()),
            "the initial children failed to start: 5 failures in a row, the last one: exited with code 1 before it was ready";
        DaemonError::ForkServerLost(_) =>
            DaemonError::ForkServerLost("the fork server (pid 12) is lost: killed by signal 9".to_owned()),
            "the fork server (pid 12) is lost: killed by signal 9; the children were stopped";
        DaemonError::Ended(_) => DaemonError::Ended("the fork server (pid 12) is lost".to_owned()),
            "the daemon has failed: the fork server (pid 12) is lost";
        DaemonError::ActorLost => DaemonError::ActorLost,
            "the daemon's actor has panicked";
    }
    config_error_messages_are_as_listed: ConfigError {
        ConfigError::Pool(_) => ConfigError::Pool(PoolError::Zero { field: "max_children" }),
            "max_children must be greater than 0";
        ConfigError::Value { .. } => ConfigError::value("grace", "0 s", "no time"),
            "grace is 0 s: no time";
    }
    command_error_messages_are_as_listed: CommandError {
        CommandError::Phase(_) => CommandError::Phase(Phase::Stopping),
            "cannot change the daemon: it is stopping";
        CommandError::NoPool { .. } => CommandError::NoPool { action: "reload" },
            "cannot reload: the daemon has no pool of children";
        CommandError::NoChildren { .. } => CommandError::NoChildren { action: "pause" },
            "cannot pause: the daemon has no children";
        CommandError::NoSuchChild { .. } => CommandError::NoSuchChild { pid: pid() },
            "no child of this daemon has pid 4711";
        CommandError::Size { .. } =>
            CommandError::Size { wanted: 9, reason: PoolError::AtMaximum { max_children: 8 }.to_string() },
            "cannot resize to 9: max_children limits the pool to 8 children";
    }
    reopen_error_messages_are_as_listed: ReopenError {
        ReopenError { .. } => ReopenError { source: denied() },
            "the old log stays in use: cannot open log file /var/log/x.log: permission denied";
    }
    foreign_child_error_messages_are_as_listed: ForeignChildError {
        ForeignChildError { .. } => ForeignChildError { pid: pid(), source: denied() },
            "cannot watch process 4711: cannot open log file /var/log/x.log: permission denied";
    }
    hand_over_error_messages_are_as_listed: HandOverError<()> {
        HandOverError { .. } => HandOverError { request: (), reason: HandOverErrorReason::Stopping },
            "cannot hand over the request: the daemon is stopping";
    }
    hand_over_error_reason_messages_are_as_listed: HandOverErrorReason {
        HandOverErrorReason::Full { .. } => HandOverErrorReason::Full { max_children: 4, backlog: 2 },
            "all 4 children are busy (max_children) and 2 requests wait already (backlog)";
        HandOverErrorReason::Stopping => HandOverErrorReason::Stopping, "the daemon is stopping";
        HandOverErrorReason::NotPostForking => HandOverErrorReason::NotPostForking,
            "the daemon is not post-forking: its children accept their requests themselves";
        HandOverErrorReason::Transfer(_) => HandOverErrorReason::Transfer(TransferError::NotText),
            "cannot decode the request: a string is not valid UTF-8";
        HandOverErrorReason::CannotFork(_) =>
            HandOverErrorReason::CannotFork("cannot fork: cannot allocate memory".to_owned()),
            "cannot fork: cannot allocate memory";
    }
    status_error_messages_are_as_listed: StatusError {
        StatusError::Refused(_) =>
            StatusError::Refused(ReportError::NoSuchSlot { slot: SlotNumber::new(3) }),
            "cannot write to slot 3: the scoreboard has no such slot";
        StatusError::InParent => StatusError::InParent,
            "the parent has no status to update: send HandOver to the daemon to have a request handled by a child";
    }
    trace_error_messages_are_as_listed: TraceError {
        TraceError::NoSuchChild(_) => TraceError::NoSuchChild(pid()),
            "cannot trace process 4711: no child of this daemon has this pid";
        TraceError::NoBabysitter(_) => TraceError::NoBabysitter(pid()),
            "cannot trace process 4711: the daemon has no children, or has stopped";
    }
    control_error_messages_are_as_listed: ControlError {
        ControlError { .. } => ControlError { kind: ControlErrorKind::Malformed, text: "no such command: fly".to_owned() },
            "no such command: fly";
    }
}
