//! Tests the text of every `Failure` and `Rejection`.

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
            "timed out after 5s (hard limit, the worker was killed)";
        Failure::WorkerLost { .. } =>
            Failure::WorkerLost { cause: ExitCause::Killed { signal: 11, core: false } },
            "worker died while running the task: killed by signal SEGV";
        Failure::DeadLettered { .. } =>
            Failure::DeadLettered { attempts: 3, cause: ExitCause::Exited(7) },
            "gave up after 3 attempts: the worker died each time, last cause: exited with code 7";
        Failure::Cancelled { .. } => Failure::Cancelled { state: RequestState::Queued },
            "cancelled before it started";
        Failure::Rejected(_) => Failure::Rejected(Rejection::ShuttingDown),
            "rejected: the dispatcher is shutting down";
        Failure::Decode { .. } => Failure::Decode { reason: "invalid digit".to_owned() },
            "cannot decode the value: invalid digit";
    }
    a_rejection: Rejection {
        Rejection::QueueFull { .. } => Rejection::QueueFull { limit: 100 },
            "rejected: the queue is full (100 requests)";
        Rejection::ShuttingDown => Rejection::ShuttingDown,
            "rejected: the dispatcher is shutting down";
        Rejection::UnknownMethod { .. } => Rejection::UnknownMethod { name: "fly".to_owned() },
            "rejected: unknown method \"fly\"";
        Rejection::InvalidParams { .. } => Rejection::InvalidParams {
                name: "add".to_owned(),
                reason: "expected two numbers".to_owned(),
            },
            "rejected: invalid parameters for method \"add\": expected two numbers";
        Rejection::OutOfMemory { .. } => Rejection::OutOfMemory {
                name: "add".to_owned(),
                reason: "cannot store 9 bytes: out of memory".to_owned(),
            },
            "rejected: not enough memory for the parameters of method \"add\": cannot store 9 bytes: out of memory";
        Rejection::UnknownLane { .. } => Rejection::UnknownLane { name: "fast".to_owned() },
            "rejected: unknown lane \"fast\"";
        Rejection::NameTooLong { .. } => Rejection::NameTooLong { length: 900, limit: 255 },
            "rejected: name too long: 900 bytes, the maximum is 255";
        Rejection::InvalidOption { .. } =>
            Rejection::InvalidOption { field: "attempts", value: "0".to_owned() },
            "rejected: attempts is 0: must be greater than 0";
    }
}
