//! The states of a service, as its supervisor hears of them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use crate::harness::{Control, Daemon, Signal, Start, during, until};

use super::notify::Supervisor;

fn started(options: &[&str]) -> (Supervisor, Daemon) {
    let start = Start::example("service");
    let mut supervisor = Supervisor::at(&start.dir().join("notify"));
    let start = options.iter().fold(start, |start, option| start.argument(*option));
    let daemon = start.environment("NOTIFY_SOCKET", supervisor.address()).begun();
    supervisor.until_after(0, "READY", Some("1"));
    (supervisor, daemon)
}

#[test]
fn a_service_is_ready_when_its_pool_is_up_and_says_when_it_stops() {
    let (mut supervisor, mut daemon) = started(&[]);
    assert_eq!(daemon.children().len(), 2);
    let ready = supervisor.until_after(0, "READY", None);
    let told = supervisor.told();
    for before in &told[..ready] {
        let status = before.status();
        let begins =
            status.is_empty() || status.starts_with("starting") || status.starts_with("not ready");
        assert!(begins, "{before:?}");
    }
    assert!(told[..ready].iter().any(|told| told.get("EXTEND_TIMEOUT_USEC").is_some()));
    let counts = "running: 2 children, 0 busy, 2 idle";
    assert!(told[ready].status().starts_with(counts), "{:?}", told[ready]);
    let parent = daemon.parent();
    assert_eq!(daemon.stop()[&parent], "code 0");
    let stopping = supervisor.until_after(ready, "STOPPING", Some("1"));
    let first = &supervisor.told()[stopping];
    assert_eq!(first.names, ["STOPPING", "EXTEND_TIMEOUT_USEC", "STATUS"]);
    let last = supervisor.told().last().expect("told");
    assert_eq!(last.status(), "stopped");
    assert_eq!((supervisor.count("READY"), supervisor.count("STOPPING")), (1, 1));
}

#[test]
fn a_daemon_of_the_short_way_tells_its_supervisor_of_its_states() {
    let start = Start::example("short_way");
    let mut supervisor = Supervisor::at(&start.dir().join("notify"));
    let mut daemon = start.environment("NOTIFY_SOCKET", supervisor.address()).begun();
    let ready = supervisor.until_after(0, "READY", Some("1"));
    let first = &supervisor.told()[ready];
    assert!(first.status().starts_with("running: "), "{first:?}");
    let mut client = daemon.client();
    assert_eq!(client.ask("hello"), "hello");
    supervisor.until("one is busy", |told| told.status().contains(" 1 busy"));
    drop(client);
    assert!(daemon.parent().signal(Signal::SIGHUP));
    let reloading = supervisor.until_after(ready, "RELOADING", Some("1"));
    supervisor.until_after(reloading, "READY", Some("1"));
    let parent = daemon.parent();
    assert_eq!(daemon.stop()[&parent], "code 0");
    supervisor.until_after(reloading, "STOPPING", Some("1"));
}

#[test]
fn a_supervised_daemon_refuses_an_environment_that_makes_no_sense() {
    let start = Start::example("short_way").environment("NOTIFY_SOCKET", "/run/no/such");
    let ended = start.environment("WATCHDOG_USEC", "soon").fails();
    assert_eq!(ended.status, "code 1");
    assert!(ended.error.contains("WATCHDOG_USEC=\"soon\": "), "{}", ended.error);
}

#[test]
fn a_service_asks_for_more_time_while_it_drains() {
    let (mut supervisor, mut daemon) = started(&[]);
    let mut client = daemon.client();
    assert_eq!(client.ask("hello"), "hello");
    assert!(daemon.parent().signal(Signal::SIGTERM));
    let stopping = supervisor.until_after(0, "STOPPING", None);
    // The grace of the example, and a little.
    let more = supervisor.until_after(stopping, "EXTEND_TIMEOUT_USEC", Some("15000000"));
    assert!(more >= stopping);
    assert_eq!(client.ask("still there"), "still there");
    drop(client);
    daemon.ended();
    assert_eq!(supervisor.count("STOPPING"), 1);
}

#[test]
fn a_service_tells_how_many_children_are_busy() {
    let (mut supervisor, daemon) = started(&[]);
    supervisor.until("nobody is busy", |told| told.status().contains(" 0 busy, 2 idle"));
    let mut client = daemon.client();
    assert_eq!(client.ask("hello"), "hello");
    supervisor.until("one is busy", |told| told.status().contains(" 1 busy"));
    drop(client);
    supervisor.until("its request is counted", |told| {
        told.status().contains(" 0 busy") && told.status().ends_with("; 1 requests")
    });
}

#[test]
fn a_pause_shuts_the_door_of_the_pool_and_a_continue_opens_it() {
    let (mut supervisor, daemon) = started(&[]);
    let parent = daemon.parent();
    for _round in 0..2 {
        let begin = supervisor.told().len();
        assert!(parent.signal(Signal::SIGTSTP));
        let pausing = supervisor.until_after(begin, "STATUS", Some("pausing"));
        let paused = supervisor.until_after(pausing, "STATUS", Some("paused"));
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, daemon.port())).unwrap();
        client.write_all(b"waits").unwrap();
        client.set_nonblocking(true).unwrap();
        during(Duration::from_millis(100), || {
            assert!(client.peek(&mut [0; 1]).is_err(), "somebody answers");
        });
        assert!(parent.signal(Signal::SIGCONT));
        let continuing = supervisor.until_after(paused, "STATUS", Some("continuing"));
        supervisor.until_after(continuing, "STATUS", Some("running"));
        client.set_nonblocking(false).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut answer = [0; 5];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"waits");
    }
    assert_eq!(supervisor.count("READY"), 1);
}

#[test]
fn a_pause_by_the_control_socket_is_a_pause_of_the_service() {
    let start = Start::example("service");
    let mut supervisor = Supervisor::at(&start.dir().join("notify"));
    let path = start.dir().join("control");
    let daemon = start
        .argument("--control")
        .argument(&path)
        .environment("NOTIFY_SOCKET", supervisor.address())
        .begun();
    supervisor.until_after(0, "READY", None);
    let mut control = Control::at(&path);
    control.done("pause", "");
    let paused = supervisor.until_after(0, "STATUS", Some("paused"));
    control.done("resume", "");
    supervisor.until_after(paused, "STATUS", Some("running"));
    daemon.until_logged("callback ContinuePending");
}

#[test]
fn a_reload_is_told_with_its_time_and_over_when_the_children_are_new() {
    let (mut supervisor, daemon) = started(&[]);
    let before = daemon.children();
    let begin = supervisor.told().len();
    let earlier = daemon_sys::clock::monotonic().as_micros();
    assert!(daemon.parent().signal(Signal::SIGHUP));
    let reloading = supervisor.until_after(begin, "RELOADING", Some("1"));
    let told = &supervisor.told()[reloading];
    assert_eq!(told.names[..2], ["RELOADING", "MONOTONIC_USEC"]);
    let time: u128 = told.get("MONOTONIC_USEC").expect("told").parse().unwrap();
    assert!((earlier..=daemon_sys::clock::monotonic().as_micros()).contains(&time));
    supervisor.until_after(reloading, "READY", Some("1"));
    until("no child is an old one", || {
        (!daemon.children().iter().any(|child| before.contains(child))).then_some(())
    });
    assert_eq!((supervisor.count("RELOADING"), supervisor.count("READY")), (1, 2));
}

#[test]
fn callbacks_are_heard_beside_the_daemon() {
    let (_supervisor, mut daemon) = started(&["--step", "100"]);
    daemon.stop();
    let log = daemon.log();
    let called: Vec<&str> =
        log.lines().filter_map(|line| line.split("callback ").nth(1)?.split(',').next()).collect();
    assert_eq!(called, ["NotReady", "StartPending", "Running", "StopPending", "Stopped"]);
}

#[test]
fn a_supervisor_with_an_abstract_name_is_told_too() {
    let mut supervisor = Supervisor::named(&format!("daemon-service-{}", std::process::id()));
    let start = Start::example("service");
    let _daemon = start.environment("NOTIFY_SOCKET", supervisor.address()).begun();
    supervisor.until_after(0, "READY", Some("1"));
}

#[test]
fn a_service_without_a_supervisor_runs_and_stops() {
    let mut daemon = Start::example("service").begun();
    daemon.until_logged("callback Running");
    assert_eq!(daemon.client().ask("hello"), "hello");
    daemon.stop();
}

#[test]
fn a_supervisor_that_makes_no_sense_is_refused() {
    let failed = Start::example("service").environment("NOTIFY_SOCKET", "somewhere").fails();
    assert!(failed.error.contains("NOTIFY_SOCKET"), "{}", failed.error);
    let failed = Start::example("service").environment("WATCHDOG_USEC", "soon").fails();
    assert!(failed.error.contains("WATCHDOG_USEC"), "{}", failed.error);
}

#[test]
fn a_daemon_that_fails_ends_its_service_with_exit_code_1() {
    let (mut supervisor, mut daemon) = started(&[]);
    let parent = daemon.parent();
    assert!(daemon.fork_server().signal(Signal::SIGKILL));
    assert_eq!(daemon.ended()[&parent], "code 1");
    supervisor.until_after(0, "STOPPING", Some("1"));
    let last = supervisor.told().last().expect("told");
    assert_eq!(last.status(), "stopped");
}
