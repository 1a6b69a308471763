//! Tests the control socket with malformed lines, with slow clients and with many clients.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{control, socket_path, start_with_control};
use crate::harness::{ControlClient, TestProgram, error_of, run_clients, until};

#[test]
fn malformed_lines_get_an_error_and_do_not_harm_the_daemon() {
    let daemon = start_with_control(TestProgram::pool(), "start=1 min=0 max=2");
    let mut client = control(&daemon);
    for garbage in ["\n", "hello\n", "{\"version\":1}\n", "\u{0}\u{1}\u{2}\n", "[[[[[[\n"] {
        client.send(garbage).unwrap();
        assert_eq!(error_of(&client.read().unwrap()).0, "malformed", "{garbage:?}");
    }
    client.send("{\"version\":99,\"command\":\"status\"}\n").unwrap();
    let (kind, text) = error_of(&client.read().unwrap());
    assert_eq!(kind, "version");
    assert!(text.contains("version 1") && text.contains("version 99"), "{text}");
    assert_eq!(client.report()["phase"], "running");
}

#[test]
fn a_line_that_arrives_in_parts_is_answered_and_delays_no_other_client() {
    let daemon = start_with_control(TestProgram::pool(), "start=1 min=0 max=2");
    let mut slow = control(&daemon);
    for part in ["{\"version\":1,", "\"command\":", "\"stat"] {
        slow.send(part).unwrap();
        assert_eq!(control(&daemon).report()["phase"], "running");
    }
    slow.send("us\"}\n").unwrap();
    assert_eq!(slow.read().unwrap()["ok"]["reply"], "status");
    // The next client disconnects in the middle of a line.
    let mut gone = control(&daemon);
    gone.send("{\"version\":1,\"comm").unwrap();
    drop(gone);
    assert_eq!(control(&daemon).report()["phase"], "running");
}

#[test]
fn a_line_that_is_too_long_is_refused_and_the_connection_closed() {
    let daemon = start_with_control(TestProgram::pool(), "start=1 min=0 max=2");
    let mut client = control(&daemon);
    // The daemon may close the connection before the whole line is written.
    let _refused = client.send(&"x".repeat(1 << 20));
    let (kind, text) = error_of(&client.read().unwrap());
    assert_eq!(kind, "malformed");
    assert!(text.contains("4096"), "{text}");
    client.expect_closed();
    assert_eq!(control(&daemon).report()["phase"], "running");
}

#[test]
fn a_line_of_the_maximum_length_is_read_and_one_byte_more_is_refused() {
    let daemon = start_with_control(TestProgram::pool(), "start=1 min=0 max=2");
    let command = "{\"version\":1,\"command\":\"status\"}";
    let line = |length: usize| format!("{command}{}", " ".repeat(length - command.len()));
    let mut client = control(&daemon);
    client.send(&format!("{}\n", line(4096))).unwrap();
    assert_eq!(client.read().unwrap()["ok"]["reply"], "status");
    client.send(&format!("{}\n", line(4097))).unwrap();
    assert_eq!(error_of(&client.read().unwrap()).0, "malformed");
    client.expect_closed();
}

#[test]
fn the_last_line_of_a_client_needs_no_newline() {
    let daemon = start_with_control(TestProgram::pool(), "start=1 min=0 max=2");
    let mut client = control(&daemon);
    client.send("{\"version\":1,\"command\":\"status\"}").unwrap();
    client.finish_sending();
    assert_eq!(client.read().unwrap()["ok"]["reply"], "status");
    client.expect_closed();
}

#[test]
fn a_hundred_clients_are_answered_and_idle_clients_make_room_for_new_ones() {
    let daemon = start_with_control(TestProgram::pool(), "start=2 min=0 max=4");
    run_clients(100, |number| {
        let mut client = control(&daemon);
        assert_eq!(client.report()["phase"], "running");
        assert_eq!(client.ask("peek", "")["ok"]["reply"], "peek", "{number}");
    });
    let mut listener = control(&daemon);
    assert_eq!(listener.ask("events", "")["ok"]["reply"], "listening");
    let mut idle: Vec<ControlClient> = (0..127).map(|_nth| control(&daemon)).collect();
    for client in &mut idle {
        assert_eq!(client.ask("peek", "")["ok"]["reply"], "peek");
    }
    // All places are taken.
    let mut operator = control(&daemon);
    assert_eq!(operator.report()["phase"], "running");
    idle[0].expect_closed();
    let mut second = control(&daemon);
    assert_eq!(second.report()["phase"], "running");
    idle[1].expect_closed();
    for client in idle.iter_mut().skip(2).chain([&mut operator]) {
        assert_eq!(client.ask("peek", "")["ok"]["reply"], "peek", "others stay connected");
    }
    daemon.wait_for_log("client of the control socket disconnected to make room for a new one");
    operator.expect_done("resize", "\"to\":3");
    let event =
        listener.wait_for_event("a listener stays connected", |event| event["event"] == "forked");
    assert!(event["pid"].is_number(), "{event}");
}

#[test]
fn an_operator_is_answered_although_128_clients_reconnect_whenever_they_are_disconnected() {
    let daemon = start_with_control(TestProgram::pool(), "start=1 min=0 max=2");
    let (path, end) = (socket_path(&daemon), AtomicBool::new(false));
    let (connected, reconnected) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let occupy = || {
        let mut is_first = true;
        while !end.load(Ordering::SeqCst) {
            let Ok(mut stream) = UnixStream::connect(&path) else { continue };
            stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            // Half of a request.
            let _closed = stream.write_all(b"{\"version\":1,");
            let count = if std::mem::take(&mut is_first) { &connected } else { &reconnected };
            count.fetch_add(1, Ordering::SeqCst);
            loop {
                match stream.read(&mut [0]) {
                    Err(error)
                        if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
                            && !end.load(Ordering::SeqCst) => {}
                    Ok(_closed) => break,
                    Err(_closed) => break,
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..128 {
            scope.spawn(occupy);
        }
        let _ends = guard(&end);
        until("all clients are connected", || {
            (connected.load(Ordering::SeqCst) == 128).then_some(())
        });
        for _ in 0..20 {
            assert_eq!(control(&daemon).report()["phase"], "running");
        }
        until("some clients have reconnected", || {
            (reconnected.load(Ordering::SeqCst) > 10).then_some(())
        });
        assert_eq!(control(&daemon).report()["phase"], "running");
    });
}

/// Sets the flag when it is dropped, also if the test fails.
fn guard(flag: &AtomicBool) -> impl Drop {
    struct Guard<'a>(&'a AtomicBool);
    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    Guard(flag)
}

#[test]
fn clients_that_send_without_end_and_read_nothing_delay_no_other_client() {
    let daemon = start_with_control(TestProgram::pool(), "start=1 min=0 max=2");
    let open = |first: &str| {
        let mut stream = UnixStream::connect(socket_path(&daemon)).unwrap();
        stream.write_all(first.as_bytes()).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream
    };
    let request = "{\"version\":1,\"command\":\"status\"}\n";
    let mut pipelining: Vec<_> = (0..8).map(|_nth| open(request)).collect();
    let mut subscribed: Vec<_> =
        (0..8).map(|_nth| open("{\"version\":1,\"command\":\"events\"}\n")).collect();
    let begun = Instant::now();
    let mut operator = control(&daemon);
    while begun.elapsed() < Duration::from_secs(2) {
        for (streams, text) in [(&mut pipelining, request), (&mut subscribed, "x")] {
            for stream in streams {
                // An error means that the daemon has not read what was sent before.
                let _full = stream.write(text.repeat(50).as_bytes());
            }
        }
        assert_eq!(operator.report()["phase"], "running");
    }
    // The daemon stops reading from clients that do not read.
    let is_full = |stream: &mut UnixStream| {
        until("the daemon reads no more", || {
            let sent = stream.write(request.repeat(1000).as_bytes());
            sent.is_err_and(|error| error.kind() == ErrorKind::WouldBlock).then_some(())
        });
    };
    pipelining.iter_mut().chain(&mut subscribed).for_each(is_full);
}

#[test]
fn a_client_that_never_reads_misses_events_and_delays_no_other_client() {
    let daemon = start_with_control(TestProgram::postfork(), "max=8 backlog=64");
    let mut slow_reader = control(&daemon);
    slow_reader.send("{\"version\":1,\"command\":\"events\"}\n").unwrap();
    run_clients(8, |_client| {
        for _child in 0..150 {
            let mut client = daemon.client();
            client.pid();
        }
    });
    let mut operator = control(&daemon);
    until("all children have exited", || {
        let report = operator.report();
        (report["counters"]["exits"]["done"] == 1200).then_some(())
    });
    let missed = slow_reader
        .wait_for_event("missed events are reported", |event| event["event"] == "missed");
    assert!(missed["events"].as_u64().unwrap() > 0);
}
