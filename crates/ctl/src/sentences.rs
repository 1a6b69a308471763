//! Tests the texts of all errors of daemonctl.

#[path = "../../../tests/sentences.rs"]
#[macro_use]
mod table;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use daemon_core::ScoreboardError;
use daemon_protocol::{ControlError, ControlErrorKind};

use crate::error::CtlError;

fn socket() -> PathBuf {
    PathBuf::from("/run/x.sock")
}

fn board() -> PathBuf {
    PathBuf::from("/run/x.board")
}

fn action() -> String {
    "retire process 4711".to_owned()
}

fn denied() -> io::Error {
    io::Error::from_raw_os_error(13)
}

sentences! {
    enum CtlError {
        NoSocket { socket: socket() },
        NotListening { socket: socket() },
        PermissionDenied { socket: socket() },
        Connect { socket: socket(), source: denied() },
        Timeout { action: action(), socket: socket(), timeout: Duration::from_secs(5) },
        Closed { action: action(), socket: socket() },
        ConnectionBroken { action: action(), socket: socket(), source: denied() },
        InvalidAnswer { action: action(), socket: socket(), reason: "not JSON".to_owned() },
        VersionMismatch { action: action(), socket: socket(), theirs: 7 },
        Refused {
            action: action(),
            fault: ControlError {
                kind: ControlErrorKind::Refused,
                text: "the daemon has no children".to_owned(),
            },
        },
        BoardFile(daemon_sys::Error::os("open /run/x.board", denied())),
        InvalidBoard { board: board(), source: ScoreboardError::Slots { slots: 0 } },
        MetricsUnavailable(Box::new(CtlError::NotListening { socket: socket() })),
        BoardHasNoMetrics { board: board() },
        Terminal { source: denied() },
        Write { object: "standard output".to_owned(), source: denied() },
    }
}

#[test]
fn a_daemon_error_that_already_names_the_action_is_printed_unchanged() {
    let text = "cannot reload: the daemon has no pool of children".to_owned();
    let fault = ControlError { kind: ControlErrorKind::Refused, text: text.clone() };
    assert_eq!(CtlError::Refused { action: "reload".to_owned(), fault }.to_string(), text);
}
