//! Tests the text of every error message of the service crate.

#[path = "../../../tests/sentences.rs"]
#[macro_use]
mod table;

use std::io;

use crate::{
    Control, ControlRefused, IllegalStateChange, InvalidUserControl, ServiceError, ServiceState,
    UserControl,
};

sentences! {
    service_error: ServiceError {
        ServiceError::EmptyAlias => ServiceError::EmptyAlias,
            "cannot spawn the service: its alias is empty";
        ServiceError::ZeroPollInterval => ServiceError::ZeroPollInterval,
            "cannot spawn the service: poll_interval must be greater than 0";
        ServiceError::NoSystem => ServiceError::NoSystem,
            "cannot spawn the service: no actix System is running in this thread";
        ServiceError::System { .. } => ServiceError::System {
                action: "open the notification socket",
                source: io::Error::other("too many open files"),
            },
            "cannot open the notification socket: too many open files";
        ServiceError::Environment { .. } => ServiceError::Environment {
                variable: "WATCHDOG_USEC",
                value: "soon".to_owned(),
                reason: "not a number".to_owned(),
            },
            "invalid environment variable WATCHDOG_USEC=\"soon\": not a number";
        ServiceError::Program(_) => ServiceError::Program("no free port".to_owned()),
            "cannot start the service: no free port";
        ServiceError::ActorLost => ServiceError::ActorLost,
            "the service's actor ended before the service had stopped";
        ServiceError::AlreadyRunning => ServiceError::AlreadyRunning,
            "cannot run the service: this process already runs one";
    }
    illegal_state_change: IllegalStateChange {
        IllegalStateChange { .. } =>
            IllegalStateChange { from: ServiceState::Stopped, to: ServiceState::Paused },
            "cannot change the service from stopped to paused";
    }
    control_refused: ControlRefused {
        ControlRefused { .. } =>
            ControlRefused { state: ServiceState::Stopped, control: Control::Pause },
            "cannot pause while the service is stopped";
    }
    invalid_user_control: InvalidUserControl {
        InvalidUserControl(_) => UserControl::new(5).unwrap_err(),
            "5 is not a user-defined control: the code must be between 128 and 255";
    }
}
