//! Tests the texts of all errors of this crate.

#[path = "../../../tests/sentences.rs"]
#[macro_use]
mod table;

use std::time::Duration;

use daemon_core::ExitCause;

use crate::{Failure, LimitKind, Rejection, RequestState};

sentences! {
    enum Failure {
        Failed { message: "no such account: 7".to_owned() },
        Panicked {
            message: "index out of bounds at src/main.rs:7".to_owned(),
            backtrace: String::new(),
        },
        TimedOut { kind: LimitKind::Hard, limit: Duration::from_secs(5) },
        WorkerLost { cause: ExitCause::Killed { signal: 11, core: false } },
        DeadLettered { attempts: 3, cause: ExitCause::Exited(7) },
        Cancelled { state: RequestState::Queued },
        Rejected(Rejection::ShuttingDown),
        Decode { reason: "invalid digit".to_owned() },
    }
    enum Rejection {
        QueueFull { limit: 100 },
        ShuttingDown,
        NoWorker { failures: 5, reason: "the worker exited with code 3".to_owned() },
        UnknownMethod { name: "fly".to_owned() },
        InvalidParams { name: "add".to_owned(), reason: "expected two numbers".to_owned() },
        OutOfMemory {
            name: "add".to_owned(),
            reason: "cannot store 9 bytes: out of memory".to_owned(),
        },
        UnknownLane { name: "fast".to_owned() },
        NameTooLong { length: 900, limit: 255 },
        InvalidOption { field: "attempts", value: "0".to_owned() },
    }
}
