//! Tests of the command `events`.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use daemon_core::{ChildId, ExitCause, Generation, Phase, Pid, SlotNumber};
use daemon_protocol::{
    ChildExited, ChildForked, ControlErrorKind, ControlReply, DaemonEvent, ResponseBody,
};
use serde_json::{Value, json};

use crate::fake::{FakeDaemon, event, fault};
use crate::run::{daemonctl, decoded};

fn forked(pid: u32) -> DaemonEvent {
    DaemonEvent::Forked(ChildForked::new(child(1), Pid::from_u32(pid).expect("a valid pid")))
}

fn child(slot: u32) -> ChildId {
    ChildId { slot: SlotNumber::new(slot), generation: Generation::new(1) }
}

/// Returns a channel and a fake daemon. The fake daemon sends the events from the channel to its
/// client, and closes the connection when the channel is closed.
fn sending() -> (mpsc::Sender<DaemonEvent>, FakeDaemon) {
    let (send, events) = mpsc::channel();
    let events = Mutex::new(events);
    let fake = FakeDaemon::serving(move |mut client| {
        if client.read_request().is_none()
            || !client.answer(ResponseBody::Ok(ControlReply::Listening))
        {
            return;
        }
        let events = events.lock().expect("no other client has panicked");
        while let Ok(next) = events.recv() {
            if !client.answer(event(next)) {
                return;
            }
        }
    });
    (send, fake)
}

#[test]
fn each_event_is_printed_at_once_and_the_stop_of_the_daemon_is_not_an_error() {
    let (send, fake) = sending();
    let mut command = daemonctl();
    command.arg("events").arg("--socket").arg(fake.socket());
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("daemonctl runs");
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    let mut next = || {
        let mut line = String::new();
        out.read_line(&mut line).expect("text");
        line
    };
    // Each line must arrive before the next event is sent.
    send.send(forked(4711)).expect("the fake daemon receives the event");
    let line = next();
    assert!(line.ends_with("forked  slot 1 pid 4711\n"), "{line}");
    assert_eq!(line.find(' '), Some("14:03:12".len()), "{line}");
    send.send(DaemonEvent::Phase { phase: Phase::Stopping })
        .expect("the fake daemon receives the event");
    assert!(next().ends_with("phase   stopping\n"));
    drop(send);
    assert_eq!(next(), "");
    let output = decoded(&child.wait_with_output().expect("daemonctl exits"));
    assert_eq!((output.code, output.err.as_str()), (0, ""));
    assert_eq!(fake.request(), json!({"version": 1, "command": "events"}));
}

#[test]
fn events_can_be_printed_as_json() {
    let (send, fake) = sending();
    let (pid, lifetime) = (Pid::from_u32(12).expect("a valid pid"), Duration::from_secs(3));
    let exited = ChildExited::new(child(2), pid, ExitCause::Retired, 9, lifetime);
    send.send(DaemonEvent::Exited(exited)).expect("the fake daemon receives the event");
    drop(send);
    let mut command = daemonctl();
    command.args(["events", "--json", "--socket"]).arg(fake.socket());
    let output = decoded(&command.output().expect("daemonctl runs"));
    let value: Value = serde_json::from_str(&output.out).expect("a line of JSON");
    assert_eq!((&value["event"], &value["cause"]), (&json!("exited"), &json!("retired")));
    // daemonctl reports an error, because the connection was closed although the daemon had not
    // announced that it was stopping.
    assert_eq!(
        (output.code, output.err.contains("closed the connection")),
        (4, true),
        "{output:?}"
    );
}

#[test]
fn unknown_events_are_printed_unchanged() {
    let mut bytes = crate::fake::line(ResponseBody::Ok(ControlReply::Listening));
    bytes
        .extend_from_slice(b"{\"version\":1,\"event\":{\"event\":\"moved\",\"to\":3},\"new\":0}\n");
    bytes.extend(crate::fake::line(event(forked(7))));
    let fake = FakeDaemon::sending(bytes);
    let run = |more: &[&str]| {
        let mut command = daemonctl();
        command.arg("events").args(more).arg("--socket").arg(fake.socket());
        decoded(&command.output().expect("daemonctl runs")).out
    };
    let shown = run(&[]);
    assert!(shown.contains("other   {\"event\":\"moved\",\"to\":3}\n"), "{shown}");
    assert!(shown.ends_with("forked  slot 1 pid 7\n"), "{shown}");
    assert!(run(&["--json"]).starts_with("{\"event\":\"moved\",\"to\":3}\n"));
}

#[test]
fn daemonctl_exits_without_an_error_when_the_reader_of_its_output_is_gone() {
    let (send, fake) = sending();
    let mut command = daemonctl();
    command.arg("events").arg("--socket").arg(fake.socket());
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("daemonctl runs");
    let mut out = child.stdout.take().expect("piped");
    send.send(forked(1)).expect("the fake daemon receives the event");
    out.read_exact(&mut [0; 10]).expect("a line");
    drop(out);
    let sender = std::thread::spawn(move || {
        while send.send(forked(2)).is_ok() {
            std::thread::park_timeout(Duration::from_millis(10));
        }
    });
    let output = decoded(&child.wait_with_output().expect("daemonctl exits"));
    assert_eq!((output.code, output.err.as_str()), (0, ""));
    drop(fake);
    drop(sender);
}

#[test]
fn a_refused_subscription_is_an_error() {
    let fake = FakeDaemon::answering(fault(
        ControlErrorKind::Forbidden,
        "user 12 may not control the daemon",
    ));
    let mut command = daemonctl();
    command.arg("events").arg("--socket").arg(fake.socket());
    let output = decoded(&command.output().expect("daemonctl runs"));
    assert_eq!(
        (output.code, output.err.as_str()),
        (5, "daemonctl: cannot subscribe to events: user 12 may not control the daemon\n")
    );
}
