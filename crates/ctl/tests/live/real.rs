//! Tests of daemonctl with a real daemon, the example `demo`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use daemon_sys::process::{self, Signal};
use serde_json::Value;
use tempfile::TempDir;

use crate::patience::until;
use crate::run::{CommandOutput, daemonctl, decoded};

/// A running daemon. Dropping it stops the daemon.
struct DemoDaemon {
    process: Child,
    directory: TempDir,
}

impl DemoDaemon {
    fn start() -> DemoDaemon {
        let directory = tempfile::tempdir().expect("a temporary directory");
        // Cargo builds the examples of a package with its tests, in a directory beside daemonctl.
        let program = Path::new(env!("CARGO_BIN_EXE_daemonctl")).with_file_name("examples/demo");
        let mut command = Command::new(program);
        command.arg("0").arg(directory.path()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("the example starts");
        let daemon = DemoDaemon { process, directory };
        until("three children are ready", || {
            (daemon.ctl(&["status"]).code == 0 && daemon.letters().matches('.').count() == 3)
                .then_some(())
        });
        daemon
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn ctl(&self, arguments: &[&str]) -> CommandOutput {
        let mut command = daemonctl();
        command.arg("--socket").arg(self.path("control")).args(arguments);
        decoded(&command.output().expect("daemonctl runs"))
    }

    fn status(&self) -> Value {
        let output = self.ctl(&["status", "--json"]);
        serde_json::from_str(&output.out).unwrap_or_else(|error| panic!("{error}: {output:?}"))
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
        assert_eq!(sent.expect("the signal is sent"), process::SignalOutcome::Delivered);
    }
}

impl Drop for DemoDaemon {
    fn drop(&mut self) {
        if let Ok(None) = self.process.try_wait() {
            let _ = self.ctl(&["stop", "--now"]);
        }
        let _ = self.process.wait();
    }
}

#[test]
fn a_real_daemon_answers_queries_and_carries_out_commands() {
    let daemon = DemoDaemon::start();
    let mut events = daemonctl();
    events.arg("--socket").arg(daemon.path("control")).arg("events");
    let mut events = events.stdout(Stdio::piped()).spawn().expect("daemonctl runs");
    let mut event_output = events.stdout.take().expect("piped");
    // The daemon sends its present state to a new subscriber, so the subscription is active as soon
    // as a byte arrives.
    assert_eq!(event_output.read(&mut [0]).expect("a line"), 1);

    let port = std::fs::read_to_string(daemon.path("port")).expect("a port");
    let mut client = TcpStream::connect(("127.0.0.1", port.parse().expect("a port")));
    let client = client.as_mut().expect("connect succeeds");
    client.write_all(b"x").expect("write succeeds");
    client.read_exact(&mut [0]).expect("read succeeds");
    assert!(daemon.letters().contains('r'), "{}", daemon.letters());
    let table = daemon.ctl(&["status"]).out;
    assert!(table.contains("demo") && table.contains("echo for 127.0.0.1"), "{table}");
    let metrics = daemon.ctl(&["status", "--metrics"]).out;
    assert!(metrics.contains("actix_daemon_forks_total{daemon=\"demo\"}"), "{metrics}");
    assert!(daemon.ctl(&["peek", "-v"]).out.contains("Descriptors"));

    let child = daemon.pids()[0].clone();
    let trace = daemon.ctl(&["--timeout", "60", "trace", &child]);
    assert!(trace.code == 0 && trace.out.contains(&child), "{trace:?}");
    let killed = daemon.ctl(&["kill", &child]);
    assert_eq!(killed.code, 0, "{killed:?}");
    until("the child has exited", || (!daemon.pids().contains(&child)).then_some(()));
    let missing = daemon.ctl(&["retire", &child]);
    assert_eq!(missing.code, 3, "{missing:?}");
    assert!(missing.err.starts_with(&format!("daemonctl: cannot retire process {child}: ")));
    for command in [&["resize", "3"] as &[_], &["pause"], &["resume"], &["reload"]] {
        let output = daemon.ctl(command);
        assert!(output.code == 0 && !output.out.is_empty(), "{command:?}: {output:?}");
    }

    assert_eq!(daemon.ctl(&["stop", "--now"]).code, 0);
    let mut lines = String::new();
    event_output.read_to_string(&mut lines).expect("text");
    assert!(lines.contains(&format!("pid {child}: killed on request")), "{lines}");
    assert!(lines.contains("phase   stopping"), "{lines}");
    assert_eq!(events.wait().expect("daemonctl exits").code(), Some(0));
    until("the daemon has stopped", || (daemon.ctl(&["status"]).code == 4).then_some(()));
}

#[test]
fn the_scoreboard_of_a_daemon_that_hangs_can_be_read() {
    let daemon = DemoDaemon::start();
    daemon.signal(Signal::Stop);
    let board = daemon.path("board");
    let hung = daemon.ctl(&["--timeout", "0.3", "status"]);
    assert_eq!((hung.code, hung.err.contains("did not answer within 300ms")), (4, true));
    let board = board.to_str().expect("a UTF-8 path");
    let shown = daemon.ctl(&["--timeout", "0.3", "--board", board, "status"]);
    assert!(shown.code == 4 && shown.out.contains("[...     ]"), "{shown:?}");
    daemon.signal(Signal::Cont);
    assert_eq!(daemon.ctl(&["--timeout", "20", "status"]).code, 0);
}
