//! Tests the texts of all errors of the service crate.

#[path = "../../../tests/sentences.rs"]
#[macro_use]
mod table;

use std::io;

use crate::{Control, ControlRefused, IllegalStateChange, ServiceError, ServiceState, UserControl};

sentences! {
    enum ServiceError {
        EmptyAlias,
        ZeroPollInterval,
        NoSystem,
        System {
            action: "open the notification socket",
            source: io::Error::other("too many open files"),
        },
        Environment {
            variable: "WATCHDOG_USEC",
            value: "soon".to_owned(),
            reason: "not a number".to_owned(),
        },
        Program("no free port".to_owned()),
        ActorLost,
        Panicked { message: "no licence".to_owned(), location: "src/main.rs:7:9".to_owned() },
        AlreadyRunning,
    }
    struct IllegalStateChange { from: ServiceState::Stopped, to: ServiceState::Paused };
    struct ControlRefused { state: ServiceState::Stopped, control: Control::Pause };
    struct UserControl::new(5).unwrap_err();
}
