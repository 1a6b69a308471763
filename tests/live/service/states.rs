//! Tests the states that a service reports to its service manager.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use crate::harness::{ControlClient, DaemonProcess, Signal, TestProgram, during, until};

use super::notify::NotifySocket;

fn started(options: &[&str]) -> (NotifySocket, DaemonProcess) {
    let start = TestProgram::example("service");
    let mut socket = NotifySocket::bind(&start.dir().join("notify"));
    let start = options.iter().fold(start, |start, option| start.argument(*option));
    let daemon = start.environment("NOTIFY_SOCKET", socket.address()).launch();
    socket.wait_for_after(0, "READY", Some("1"));
    (socket, daemon)
}

#[test]
fn a_service_reports_ready_when_its_pool_is_ready_and_stopping_when_it_stops() {
    let (mut socket, mut daemon) = started(&[]);
    assert_eq!(daemon.children().len(), 2);
    let ready = socket.wait_for_after(0, "READY", None);
    let sent = socket.received();
    for before in &sent[..ready] {
        let status = before.status();
        let begins =
            status.is_empty() || status.starts_with("starting") || status.starts_with("not ready");
        assert!(begins, "{before:?}");
    }
    assert!(sent[..ready].iter().any(|sent| sent.get("EXTEND_TIMEOUT_USEC").is_some()));
    let counts = "running: 2 children, 0 busy, 2 idle";
    assert!(sent[ready].status().starts_with(counts), "{:?}", sent[ready]);
    let parent = daemon.parent();
    assert_eq!(daemon.stop()[&parent], "code 0");
    let stopping = socket.wait_for_after(ready, "STOPPING", Some("1"));
    let first = &socket.received()[stopping];
    assert_eq!(first.names, ["STOPPING", "EXTEND_TIMEOUT_USEC", "STATUS"]);
    let last = socket.received().last().expect("a notification was sent");
    assert_eq!(last.status(), "stopped");
    assert_eq!((socket.count("READY"), socket.count("STOPPING")), (1, 1));
}

#[test]
fn states_are_sent_again_until_the_service_manager_has_received_them() {
    let start = TestProgram::example("service");
    let mut socket = NotifySocket::bind(&start.dir().join("notify"));
    socket.fill();
    let mut daemon = start
        .environment("NOTIFY_SOCKET", socket.address())
        .environment("WATCHDOG_USEC", "400000")
        .launch();
    daemon.wait_for_log("cannot notify the service manager, trying again");
    daemon.wait_for_log("state: running");
    // Reading makes room in the queue.
    let ready = socket.wait_for_after(0, "READY", Some("1"));
    socket.wait_for_after(ready, "WATCHDOG", Some("1"));
    daemon.wait_for_log("the service manager has been notified");
    socket.fill();
    assert!(daemon.parent().signal(Signal::SIGHUP));
    let reloading = socket.wait_for_after(ready + 1, "RELOADING", Some("1"));
    socket.wait_for_after(reloading, "READY", Some("1"));
    daemon.stop();
    socket.wait_for_after(reloading, "STOPPING", Some("1"));
}

#[test]
fn states_are_sent_again_to_a_service_manager_that_is_restarted() {
    let start = TestProgram::example("service");
    let path = start.dir().join("notify");
    let address = path.clone().into_os_string();
    let daemon = start.environment("NOTIFY_SOCKET", address).launch();
    daemon.wait_for_log("cannot notify the service manager, trying again");
    daemon.wait_for_log("state: running");
    let mut socket = NotifySocket::bind(&path);
    socket.wait_for_after(0, "READY", Some("1"));
}

#[test]
fn serve_reports_the_states_of_its_daemon() {
    let start = TestProgram::example("short_way");
    let mut socket = NotifySocket::bind(&start.dir().join("notify"));
    let mut daemon = start.environment("NOTIFY_SOCKET", socket.address()).launch();
    let ready = socket.wait_for_after(0, "READY", Some("1"));
    let first = &socket.received()[ready];
    assert!(first.status().starts_with("running: "), "{first:?}");
    let mut client = daemon.client();
    assert_eq!(client.ask("hello"), "hello");
    socket.wait_for("one child is busy", |sent| sent.status().contains(" 1 busy"));
    drop(client);
    assert!(daemon.parent().signal(Signal::SIGHUP));
    let reloading = socket.wait_for_after(ready, "RELOADING", Some("1"));
    socket.wait_for_after(reloading, "READY", Some("1"));
    let parent = daemon.parent();
    assert_eq!(daemon.stop()[&parent], "code 0");
    socket.wait_for_after(reloading, "STOPPING", Some("1"));
}

#[test]
fn serve_refuses_an_invalid_watchdog_interval() {
    let start = TestProgram::example("short_way").environment("NOTIFY_SOCKET", "/run/no/such");
    let ended = start.environment("WATCHDOG_USEC", "soon").fail_to_start();
    assert_eq!(ended.status, "code 1");
    assert!(ended.stderr.contains("WATCHDOG_USEC=\"soon\": "), "{}", ended.stderr);
}

#[test]
fn a_service_extends_its_stop_timeout_while_it_completes_requests() {
    let (mut socket, mut daemon) = started(&[]);
    let mut client = daemon.client();
    assert_eq!(client.ask("hello"), "hello");
    assert!(daemon.parent().signal(Signal::SIGTERM));
    let stopping = socket.wait_for_after(0, "STOPPING", None);
    // The value is the grace period of the example plus a margin.
    let more = socket.wait_for_after(stopping, "EXTEND_TIMEOUT_USEC", Some("15000000"));
    assert!(more >= stopping);
    assert_eq!(client.ask("still there"), "still there");
    drop(client);
    daemon.wait_until_gone();
    assert_eq!(socket.count("STOPPING"), 1);
}

#[test]
fn a_service_reports_the_number_of_busy_children() {
    let (mut socket, daemon) = started(&[]);
    socket.wait_for("no child is busy", |sent| sent.status().contains(" 0 busy, 2 idle"));
    let mut client = daemon.client();
    assert_eq!(client.ask("hello"), "hello");
    socket.wait_for("one child is busy", |sent| sent.status().contains(" 1 busy"));
    drop(client);
    socket.wait_for("the request is counted", |sent| {
        sent.status().contains(" 0 busy") && sent.status().ends_with("; 1 requests started")
    });
}

#[test]
fn tstp_pauses_the_service_and_cont_resumes_it() {
    let (mut socket, daemon) = started(&[]);
    let parent = daemon.parent();
    for _round in 0..2 {
        let begin = socket.received().len();
        assert!(parent.signal(Signal::SIGTSTP));
        let pausing = socket.wait_for_after(begin, "STATUS", Some("pausing"));
        let paused = socket.wait_for_after(pausing, "STATUS", Some("paused"));
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, daemon.port())).unwrap();
        client.write_all(b"waits").unwrap();
        client.set_nonblocking(true).unwrap();
        during(Duration::from_millis(100), || {
            assert!(client.peek(&mut [0; 1]).is_err(), "a child answers");
        });
        assert!(parent.signal(Signal::SIGCONT));
        let continuing = socket.wait_for_after(paused, "STATUS", Some("continuing"));
        socket.wait_for_after(continuing, "STATUS", Some("running"));
        client.set_nonblocking(false).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut answer = [0; 5];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"waits");
    }
    assert_eq!(socket.count("READY"), 1);
}

#[test]
fn the_pause_command_of_the_control_socket_pauses_the_service() {
    let start = TestProgram::example("service");
    let mut socket = NotifySocket::bind(&start.dir().join("notify"));
    let path = start.dir().join("control");
    let daemon = start
        .argument("--control")
        .argument(&path)
        .environment("NOTIFY_SOCKET", socket.address())
        .launch();
    socket.wait_for_after(0, "READY", None);
    let mut control = ControlClient::at(&path);
    control.expect_done("pause", "");
    let paused = socket.wait_for_after(0, "STATUS", Some("paused"));
    control.expect_done("resume", "");
    socket.wait_for_after(paused, "STATUS", Some("running"));
    daemon.wait_for_log("callback: ContinuePending");
}

#[test]
fn a_reload_is_reported_with_its_time_and_replaces_all_children() {
    let (mut socket, daemon) = started(&[]);
    let before = daemon.children();
    let begin = socket.received().len();
    let earlier = daemon_sys::clock::monotonic().as_micros();
    assert!(daemon.parent().signal(Signal::SIGHUP));
    let reloading = socket.wait_for_after(begin, "RELOADING", Some("1"));
    let sent = &socket.received()[reloading];
    assert_eq!(sent.names[..2], ["RELOADING", "MONOTONIC_USEC"]);
    let time: u128 = sent.get("MONOTONIC_USEC").expect("the time was sent").parse().unwrap();
    assert!((earlier..=daemon_sys::clock::monotonic().as_micros()).contains(&time));
    socket.wait_for_after(reloading, "READY", Some("1"));
    until("no old child is left", || {
        (!daemon.children().iter().any(|child| before.contains(child))).then_some(())
    });
    assert_eq!((socket.count("RELOADING"), socket.count("READY")), (1, 2));
}

#[test]
fn callbacks_are_called_in_the_order_of_the_states() {
    let (_socket, mut daemon) = started(&["--step", "100"]);
    daemon.stop();
    let log = daemon.log();
    let called: Vec<&str> =
        log.lines().filter_map(|line| line.split("callback: ").nth(1)?.split(',').next()).collect();
    assert_eq!(called, ["NotReady", "StartPending", "Running", "StopPending", "Stopped"]);
}

#[test]
fn a_notify_socket_with_an_abstract_name_works() {
    let mut socket = NotifySocket::bind_abstract(&format!("daemon-service-{}", std::process::id()));
    let start = TestProgram::example("service");
    let _daemon = start.environment("NOTIFY_SOCKET", socket.address()).launch();
    socket.wait_for_after(0, "READY", Some("1"));
}

#[test]
fn a_service_without_a_service_manager_runs_and_stops() {
    let mut daemon = TestProgram::example("service").launch();
    daemon.wait_for_log("callback: Running");
    assert_eq!(daemon.client().ask("hello"), "hello");
    daemon.stop();
}

#[test]
fn a_service_refuses_an_invalid_notify_socket_or_watchdog_interval() {
    let failed =
        TestProgram::example("service").environment("NOTIFY_SOCKET", "somewhere").fail_to_start();
    assert!(failed.stderr.contains("NOTIFY_SOCKET"), "{}", failed.stderr);
    let failed =
        TestProgram::example("service").environment("WATCHDOG_USEC", "soon").fail_to_start();
    assert!(failed.stderr.contains("WATCHDOG_USEC"), "{}", failed.stderr);
}

#[test]
fn a_daemon_that_fails_ends_its_service_with_exit_code_1() {
    let (mut socket, mut daemon) = started(&[]);
    let parent = daemon.parent();
    assert!(daemon.fork_server().signal(Signal::SIGKILL));
    assert_eq!(daemon.wait_until_gone()[&parent], "code 1");
    socket.wait_for_after(0, "STOPPING", Some("1"));
    let last = socket.received().last().expect("a notification was sent");
    assert_eq!(last.status(), "stopped");
}
