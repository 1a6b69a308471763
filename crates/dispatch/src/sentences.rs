//! What becomes of a request that has no value, each sentence once.

#[path = "../../../tests/sentences.rs"]
#[macro_use]
mod table;

use std::time::Duration;

use daemon_core::ExitCause;

use crate::{Failure, LimitKind, Rejection, RequestState};

sentences! {
    a_failure: Failure {
        Failure::Failed { .. } => Failure::Failed { message: "no such account: 7".to_owned() },
            "no such account: 7";
        Failure::Panicked { .. } => Failure::Panicked {
                message: "index out of bounds at src/main.rs:7".to_owned(),
                backtrace: String::new(),
            },
            "method panicked: index out of bounds at src/main.rs:7";
        Failure::TimedOut { .. } =>
            Failure::TimedOut { kind: LimitKind::Hard, limit: Duration::from_secs(5) },
            "timed out after 5s (its worker was killed)";
        Failure::WorkerLost { .. } =>
            Failure::WorkerLost { cause: ExitCause::Killed { signal: 11, core: false } },
            "lost: its worker is gone: signal 11 (SEGV)";
        Failure::DeadLettered { .. } =>
            Failure::DeadLettered { attempts: 3, cause: ExitCause::Exited(7) },
            "put aside: 3 workers died over it, the last by exit code 7";
        Failure::Cancelled { .. } => Failure::Cancelled { state: RequestState::Queued },
            "cancelled before it began";
        Failure::Rejected(_) => Failure::Rejected(Rejection::ShuttingDown),
            "rejected: the dispatcher is shutting down";
        Failure::Decode { .. } => Failure::Decode { reason: "it is no number".to_owned() },
            "cannot decode the value: it is no number";
    }
    a_rejection: Rejection {
        Rejection::QueueFull { .. } => Rejection::QueueFull { limit: 100 },
            "rejected: 100 requests wait already";
        Rejection::ShuttingDown => Rejection::ShuttingDown,
            "rejected: the dispatcher is shutting down";
        Rejection::UnknownMethod { .. } => Rejection::UnknownMethod { name: "fly".to_owned() },
            "rejected: unknown method \"fly\"";
        Rejection::InvalidParams { .. } => Rejection::InvalidParams {
                name: "add".to_owned(),
                reason: "two numbers are wanted".to_owned(),
            },
            "rejected: the parameters of method \"add\" don't fit: two numbers are wanted";
        Rejection::OutOfMemory { .. } => Rejection::OutOfMemory {
                name: "add".to_owned(),
                reason: "cannot keep 9 bytes: out of memory".to_owned(),
            },
            "rejected: there is no room for the parameters of method \"add\": cannot keep 9 bytes: out of memory";
        Rejection::UnknownLane { .. } => Rejection::UnknownLane { name: "fast".to_owned() },
            "rejected: unknown lane \"fast\"";
        Rejection::NameTooLong { .. } => Rejection::NameTooLong { length: 900, limit: 255 },
            "rejected: a name of 900 bytes, the longest has 255";
        Rejection::InvalidOption { .. } =>
            Rejection::InvalidOption { field: "attempts", value: "0".to_owned() },
            "rejected: attempts is 0: it must be more than nothing";
    }
}
