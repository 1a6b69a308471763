//! What the command says when it fails, each sentence once.

#[path = "../../../tests/sentences.rs"]
#[macro_use]
mod table;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use actix_daemon::control::protocol::{ControlError, ControlErrorKind};
use daemon_core::ScoreboardError;

use crate::failure::Failure;

fn socket() -> PathBuf {
    PathBuf::from("/run/x.sock")
}

fn board() -> PathBuf {
    PathBuf::from("/run/x.board")
}

fn act() -> String {
    "retire process 4711".to_owned()
}

fn denied() -> io::Error {
    io::Error::from_raw_os_error(13)
}

sentences! {
    a_failure: Failure {
        Failure::NoSocket { .. } => Failure::NoSocket { socket: socket() },
            "cannot connect to /run/x.sock: there is no such socket; the daemon does not run, or has its control socket elsewhere";
        Failure::NobodyListens { .. } => Failure::NobodyListens { socket: socket() },
            "cannot connect to /run/x.sock: nobody listens there; a daemon that is gone has left it behind, or it is no control socket";
        Failure::MayNotConnect { .. } => Failure::MayNotConnect { socket: socket() },
            "cannot connect to /run/x.sock: permission denied; the daemon's own user may, and root";
        Failure::Connect { .. } => Failure::Connect { socket: socket(), source: denied() },
            "cannot connect to /run/x.sock: Permission denied (os error 13)";
        Failure::NoAnswer { .. } => Failure::NoAnswer { act: act(), socket: socket(), timeout: Duration::from_secs(5) },
            "cannot retire process 4711: the daemon at /run/x.sock has not answered within 5 s";
        Failure::Closed { .. } => Failure::Closed { act: act(), socket: socket() },
            "cannot retire process 4711: the daemon at /run/x.sock has closed the connection";
        Failure::Broken { .. } => Failure::Broken { act: act(), socket: socket(), source: denied() },
            "cannot retire process 4711: the connection to /run/x.sock is broken: Permission denied (os error 13)";
        Failure::Senseless { .. } => Failure::Senseless { act: act(), socket: socket(), why: "it is no JSON".to_owned() },
            "cannot retire process 4711: what /run/x.sock answers makes no sense: it is no JSON";
        Failure::OtherVersion { .. } => Failure::OtherVersion { act: act(), socket: socket(), theirs: 7 },
            "cannot retire process 4711: the daemon at /run/x.sock speaks version 7 of the protocol, this daemonctl version 1";
        Failure::Daemon { .. } => Failure::Daemon { act: act(), fault: ControlError { kind: ControlErrorKind::Refused, text: "the daemon has no children".to_owned() } },
            "cannot retire process 4711: the daemon has no children";
        Failure::BoardFile(_) => Failure::BoardFile(daemon_sys::Error::os("open /run/x.board", denied())),
            "cannot open /run/x.board: permission denied";
        Failure::NoBoard { .. } => Failure::NoBoard { board: board(), source: ScoreboardError::Slots { slots: 0 } },
            "cannot read /run/x.board as a scoreboard: cannot have a scoreboard of 0 slots: it has 1 to 65536";
        Failure::NoCounters(_) => Failure::NoCounters(Box::new(Failure::NobodyListens { socket: socket() })),
            "cannot print metrics: the daemon has the counters, and it does not answer: cannot connect to /run/x.sock: nobody listens there; a daemon that is gone has left it behind, or it is no control socket";
        Failure::BoardHasNoCounters { .. } => Failure::BoardHasNoCounters { board: board() },
            "cannot print metrics of /run/x.board: only the daemon has the counters; give --socket PATH";
        Failure::Screen { .. } => Failure::Screen { source: denied() },
            "cannot show the screen: Permission denied (os error 13)";
        Failure::Write { .. } => Failure::Write { object: "standard output".to_owned(), source: denied() },
            "cannot write standard output: Permission denied (os error 13)";
    }
}

#[test]
fn a_daemon_that_says_what_cannot_be_done_is_not_prompted() {
    let text = "cannot reload: the daemon has no pool of children".to_owned();
    let fault = ControlError { kind: ControlErrorKind::Refused, text: text.clone() };
    assert_eq!(Failure::Daemon { act: "reload".to_owned(), fault }.to_string(), text);
}
