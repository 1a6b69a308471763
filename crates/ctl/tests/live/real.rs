//! The command on a real daemon: the example `tried`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use daemon_sys::process::{self, Signal};
use serde_json::Value;
use tempfile::TempDir;

use crate::patience::until;
use crate::run::{Said, daemonctl, said};

/// A running daemon. It is stopped with the test.
struct Daemon {
    process: Child,
    directory: TempDir,
}

impl Daemon {
    fn started() -> Daemon {
        let directory = tempfile::tempdir().expect("a directory");
        // Cargo builds examples with the tests of their package, beside the command.
        let program = Path::new(env!("CARGO_BIN_EXE_daemonctl")).with_file_name("examples/tried");
        let mut command = Command::new(program);
        command.arg("0").arg(directory.path()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("the example is built");
        let daemon = Daemon { process, directory };
        until("three children are ready", || {
            (daemon.ctl(&["status"]).code == 0 && daemon.letters().matches('.').count() == 3)
                .then_some(())
        });
        daemon
    }

    fn place(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn ctl(&self, arguments: &[&str]) -> Said {
        let mut command = daemonctl();
        command.arg("--socket").arg(self.place("control")).args(arguments);
        said(&command.output().expect("it runs"))
    }

    fn status(&self) -> Value {
        let said = self.ctl(&["status", "--json"]);
        serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"))
    }

    fn letters(&self) -> String {
        self.status()["board"].as_str().expect("letters").to_owned()
    }

    fn pids(&self) -> Vec<String> {
        let status = self.status();
        let children = status["children"].as_array().expect("children");
        children.iter().map(|child| child["pid"].to_string()).collect()
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.process.id()).ok().and_then(daemon_sys::Pid::from_raw);
        let sent = process::signal(pid.expect("a process"), signal);
        assert_eq!(sent.expect("it is ours"), process::SignalOutcome::Delivered);
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(None) = self.process.try_wait() {
            let _ = self.ctl(&["stop", "--now"]);
        }
        let _ = self.process.wait();
    }
}

#[test]
fn a_real_daemon_is_looked_at_and_does_as_it_is_told() {
    let daemon = Daemon::started();
    let mut events = daemonctl();
    events.arg("--socket").arg(daemon.place("control")).arg("events");
    let mut events = events.stdout(Stdio::piped()).spawn().expect("it runs");
    let mut told = events.stdout.take().expect("piped");
    // How things stand is told first: from then on it listens.
    assert_eq!(told.read(&mut [0]).expect("a line"), 1);

    let port = std::fs::read_to_string(daemon.place("port")).expect("a port");
    let mut client = TcpStream::connect(("127.0.0.1", port.parse().expect("a port")));
    let client = client.as_mut().expect("it listens");
    client.write_all(b"x").expect("it takes a byte");
    client.read_exact(&mut [0]).expect("it comes back");
    assert!(daemon.letters().contains('r'), "{}", daemon.letters());
    let table = daemon.ctl(&["status"]).out;
    assert!(table.contains("tried") && table.contains("echo for 127.0.0.1"), "{table}");
    let metrics = daemon.ctl(&["status", "--metrics"]).out;
    assert!(metrics.contains("actix_daemon_forks_total{daemon=\"tried\"}"), "{metrics}");
    assert!(daemon.ctl(&["peek", "-v"]).out.contains("Descriptors"));

    let child = daemon.pids()[0].clone();
    let trace = daemon.ctl(&["--timeout", "60", "trace", &child]);
    assert!(trace.code == 0 && trace.out.contains(&child), "{trace:?}");
    let killed = daemon.ctl(&["kill", &child]);
    assert_eq!(killed.code, 0, "{killed:?}");
    until("the child is gone", || (!daemon.pids().contains(&child)).then_some(()));
    let missing = daemon.ctl(&["retire", &child]);
    assert_eq!(missing.code, 3, "{missing:?}");
    assert!(missing.err.starts_with(&format!("daemonctl: cannot retire process {child}: ")));
    for command in [&["resize", "3"] as &[_], &["pause"], &["resume"], &["reload"]] {
        let said = daemon.ctl(command);
        assert!(said.code == 0 && !said.out.is_empty(), "{command:?}: {said:?}");
    }

    assert_eq!(daemon.ctl(&["stop", "--now"]).code, 0);
    let mut lines = String::new();
    told.read_to_string(&mut lines).expect("text");
    assert!(lines.contains(&format!("pid {child}: killed on request")), "{lines}");
    assert!(lines.contains("phase   stopping"), "{lines}");
    assert_eq!(events.wait().expect("it ends").code(), Some(0));
    until("it has stopped", || (daemon.ctl(&["status"]).code == 4).then_some(()));
}

#[test]
fn the_scoreboard_of_a_daemon_that_hangs_can_be_read() {
    let daemon = Daemon::started();
    daemon.signal(Signal::Stop);
    let board = daemon.place("board");
    let hung = daemon.ctl(&["--timeout", "0.3", "status"]);
    assert_eq!((hung.code, hung.err.contains("has not answered within 0.3 s")), (4, true));
    let board = board.to_str().expect("a name");
    let shown = daemon.ctl(&["--timeout", "0.3", "--board", board, "status"]);
    assert!(shown.code == 4 && shown.out.contains("[...     ]"), "{shown:?}");
    daemon.signal(Signal::Cont);
    assert_eq!(daemon.ctl(&["--timeout", "20", "status"]).code, 0);
}
