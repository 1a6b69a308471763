//! Events: a line each, as it happens.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::sync::{Mutex, mpsc};

use actix_daemon::ExitCause;
use actix_daemon::control::protocol::{ControlErrorKind, ControlEvent, ControlReply, ResponseBody};
use daemon_core::{Phase, SlotNumber};
use serde_json::{Value, json};

use crate::fake::{Fake, event, fault};
use crate::run::{daemonctl, said};

fn born(pid: u32) -> ControlEvent {
    ControlEvent::Born { slot: SlotNumber::new(1), pid }
}

/// A daemon that tells what it is sent, and ends with the sender.
fn telling() -> (mpsc::Sender<ControlEvent>, Fake) {
    let (send, events) = mpsc::channel();
    let events = Mutex::new(events);
    let fake = Fake::serving(move |mut client| {
        if client.asked().is_none() || !client.answer(ResponseBody::Ok(ControlReply::Listening)) {
            return;
        }
        let events = events.lock().expect("one client");
        while let Ok(told) = events.recv() {
            if !client.answer(event(told)) {
                return;
            }
        }
    });
    (send, fake)
}

#[test]
fn each_event_is_printed_as_it_happens_and_a_daemon_that_stops_ends_it_well() {
    let (send, fake) = telling();
    let mut command = daemonctl();
    command.arg("events").arg("--socket").arg(fake.socket());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    let mut next = || {
        let mut line = String::new();
        out.read_line(&mut line).expect("text");
        line
    };
    // Each line has come before the next event happens.
    send.send(born(4711)).expect("it listens");
    let line = next();
    assert!(line.ends_with("born    slot 1 pid 4711\n"), "{line}");
    assert_eq!(line.find(' '), Some("14:03:12".len()), "{line}");
    send.send(ControlEvent::Phase { phase: Phase::Stopping }).expect("it listens");
    assert!(next().ends_with("phase   stopping\n"));
    drop(send);
    assert_eq!(next(), "");
    let said = said(&child.wait_with_output().expect("it ends"));
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert_eq!(fake.asked(), json!({"version": 1, "command": "events"}));
}

#[test]
fn events_for_programs_are_json() {
    let (send, fake) = telling();
    send.send(ControlEvent::Exited {
        slot: SlotNumber::new(2),
        pid: 12,
        cause: ExitCause::Retired,
        text: "retired".to_owned(),
        requests: 9,
        lifetime: std::time::Duration::from_secs(3),
    })
    .expect("it listens");
    drop(send);
    let mut command = daemonctl();
    command.args(["events", "--json", "--socket"]).arg(fake.socket());
    let said = said(&command.output().expect("it runs"));
    let value: Value = serde_json::from_str(&said.out).expect("a line of JSON");
    assert_eq!((&value["event"], &value["cause"]), (&json!("exited"), &json!("retired")));
    // It was not stopping when the connection was lost.
    assert_eq!((said.code, said.err.contains("has closed the connection")), (4, true), "{said:?}");
}

#[test]
fn what_a_later_daemon_tells_is_passed_on() {
    let mut bytes = crate::fake::line(ResponseBody::Ok(ControlReply::Listening));
    bytes
        .extend_from_slice(b"{\"version\":1,\"event\":{\"event\":\"moved\",\"to\":3},\"new\":0}\n");
    bytes.extend(crate::fake::line(event(born(7))));
    let fake = Fake::saying(bytes);
    let run = |more: &[&str]| {
        let mut command = daemonctl();
        command.arg("events").args(more).arg("--socket").arg(fake.socket());
        said(&command.output().expect("it runs")).out
    };
    let shown = run(&[]);
    assert!(shown.contains("other   {\"event\":\"moved\",\"to\":3}\n"), "{shown}");
    assert!(shown.ends_with("born    slot 1 pid 7\n"), "{shown}");
    assert!(run(&["--json"]).starts_with("{\"event\":\"moved\",\"to\":3}\n"));
}

#[test]
fn a_reader_that_has_enough_ends_it_quietly() {
    let (send, fake) = telling();
    let mut command = daemonctl();
    command.arg("events").arg("--socket").arg(fake.socket());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut out = child.stdout.take().expect("piped");
    send.send(born(1)).expect("it listens");
    out.read_exact(&mut [0; 10]).expect("a line has come");
    drop(out);
    let told = std::thread::spawn(move || {
        while send.send(born(2)).is_ok() {
            std::thread::park_timeout(std::time::Duration::from_millis(10));
        }
    });
    let said = said(&child.wait_with_output().expect("it ends"));
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    drop(fake);
    drop(told);
}

#[test]
fn who_may_not_listen_is_told_so() {
    let fake = Fake::answering(fault(ControlErrorKind::Forbidden, "user 12 may not"));
    let mut command = daemonctl();
    command.arg("events").arg("--socket").arg(fake.socket());
    let said = said(&command.output().expect("it runs"));
    assert_eq!(
        (said.code, said.err.as_str()),
        (5, "daemonctl: cannot listen to events: user 12 may not\n")
    );
}
