//! Tests the text of every error message of daemonctl.

#[path = "../../../tests/sentences.rs"]
#[macro_use]
mod table;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use actix_daemon::control::protocol::{ControlError, ControlErrorKind};
use daemon_core::ScoreboardError;

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
    ctl_error: CtlError {
        CtlError::NoSocket { .. } => CtlError::NoSocket { socket: socket() },
            "cannot connect to /run/x.sock: the socket does not exist; is the daemon running, with its control socket at this path?";
        CtlError::NotListening { .. } => CtlError::NotListening { socket: socket() },
            "cannot connect to /run/x.sock: connection refused; the daemon has exited, or this is not a control socket";
        CtlError::PermissionDenied { .. } => CtlError::PermissionDenied { socket: socket() },
            "cannot connect to /run/x.sock: permission denied; only root and the daemon's user may connect";
        CtlError::Connect { .. } => CtlError::Connect { socket: socket(), source: denied() },
            "cannot connect to /run/x.sock: Permission denied (os error 13)";
        CtlError::Timeout { .. } => CtlError::Timeout { action: action(), socket: socket(), timeout: Duration::from_secs(5) },
            "cannot retire process 4711: the daemon at /run/x.sock did not answer within 5s";
        CtlError::Closed { .. } => CtlError::Closed { action: action(), socket: socket() },
            "cannot retire process 4711: the daemon at /run/x.sock closed the connection";
        CtlError::ConnectionBroken { .. } => CtlError::ConnectionBroken { action: action(), socket: socket(), source: denied() },
            "cannot retire process 4711: the connection to /run/x.sock failed: Permission denied (os error 13)";
        CtlError::InvalidAnswer { .. } => CtlError::InvalidAnswer { action: action(), socket: socket(), reason: "not JSON".to_owned() },
            "cannot retire process 4711: invalid answer from /run/x.sock: not JSON";
        CtlError::VersionMismatch { .. } => CtlError::VersionMismatch { action: action(), socket: socket(), theirs: 7 },
            "cannot retire process 4711: the daemon at /run/x.sock uses protocol version 7, but this daemonctl uses version 1";
        CtlError::Refused { .. } => CtlError::Refused { action: action(), fault: ControlError { kind: ControlErrorKind::Refused, text: "the daemon has no children".to_owned() } },
            "cannot retire process 4711: the daemon has no children";
        CtlError::BoardFile(_) => CtlError::BoardFile(daemon_sys::Error::os("open /run/x.board", denied())),
            "cannot open /run/x.board: permission denied";
        CtlError::InvalidBoard { .. } => CtlError::InvalidBoard { board: board(), source: ScoreboardError::Slots { slots: 0 } },
            "cannot read /run/x.board as a scoreboard: invalid number of slots: 0; a scoreboard has 1 to 65536";
        CtlError::MetricsUnavailable(_) => CtlError::MetricsUnavailable(Box::new(CtlError::NotListening { socket: socket() })),
            "cannot print metrics, which only the daemon can provide: cannot connect to /run/x.sock: connection refused; the daemon has exited, or this is not a control socket";
        CtlError::BoardHasNoMetrics { .. } => CtlError::BoardHasNoMetrics { board: board() },
            "cannot print metrics from /run/x.board: a scoreboard file has no counters; give --socket PATH";
        CtlError::Terminal { .. } => CtlError::Terminal { source: denied() },
            "cannot show the screen: Permission denied (os error 13)";
        CtlError::Write { .. } => CtlError::Write { object: "standard output".to_owned(), source: denied() },
            "cannot write to standard output: Permission denied (os error 13)";
    }
}

#[test]
fn a_daemon_error_that_already_names_the_action_is_printed_unchanged() {
    let text = "cannot reload: the daemon has no pool of children".to_owned();
    let fault = ControlError { kind: ControlErrorKind::Refused, text: text.clone() };
    assert_eq!(CtlError::Refused { action: "reload".to_owned(), fault }.to_string(), text);
}
