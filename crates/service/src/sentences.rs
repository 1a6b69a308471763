//! What the errors of a service say, each once.

#[path = "../../../tests/sentences.rs"]
#[macro_use]
mod table;

use std::io;

use crate::{Control, IllegalState, NoUserControl, Refused, ServiceError, Stage, UserControl};

sentences! {
    a_service: ServiceError {
        ServiceError::NoAlias => ServiceError::NoAlias,
            "cannot spawn a service: its alias is empty";
        ServiceError::NoInterval => ServiceError::NoInterval,
            "cannot spawn a service: its poll interval is zero";
        ServiceError::NoSystem => ServiceError::NoSystem,
            "cannot spawn a service: there is no actix System in this thread";
        ServiceError::System { .. } => ServiceError::System {
                act: "notify the supervisor",
                source: io::Error::other("no such socket"),
            },
            "cannot notify the supervisor: no such socket";
        ServiceError::Environment { .. } => ServiceError::Environment {
                variable: "WATCHDOG_USEC",
                value: "soon".to_owned(),
                why: "it is no number".to_owned(),
            },
            "cannot heed WATCHDOG_USEC=\"soon\": it is no number";
        ServiceError::Program(_) => ServiceError::Program("no port is free".to_owned()),
            "cannot start the service: no port is free";
        ServiceError::ActorLost => ServiceError::ActorLost,
            "the service's actor has ended before the service had stopped";
        ServiceError::Second => ServiceError::Second,
            "cannot run the service: this process runs one already";
    }
    a_state: IllegalState {
        IllegalState { .. } =>
            IllegalState { from: Stage::Stopped, wanted: Stage::Paused },
            "a service that is stopped cannot become paused";
    }
    a_control: Refused {
        Refused { .. } => Refused { stage: Stage::Stopped, control: Control::Pause },
            "a service that is stopped cannot pause";
    }
    a_number: NoUserControl {
        NoUserControl(_) => UserControl::new(5).unwrap_err(),
            "5 is no control of a service's own: those are 128 to 255";
    }
}
