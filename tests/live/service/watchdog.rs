//! Tests that the daemon notifies the watchdog only while its pool is healthy.

use std::time::{Duration, Instant};

use crate::harness::{Signal, TestProgram};

use super::notify::NotifySocket;

#[test]
fn the_watchdog_is_notified_only_while_the_pool_is_healthy() {
    let start = TestProgram::example("service");
    let mut socket = NotifySocket::bind(&start.dir().join("notify"));
    let daemon = start
        .environment("NOTIFY_SOCKET", socket.address())
        .environment("WATCHDOG_USEC", "400000")
        .launch();
    socket.wait_for_after(0, "READY", None);
    for _beat in 0..3 {
        let fed = socket.received().len();
        socket.wait_for_after(fed, "WATCHDOG", Some("1"));
    }
    // A fork server that is stopped by SIGSTOP replaces no children.
    let fork_server = daemon.fork_server();
    assert!(fork_server.signal(Signal::SIGSTOP));
    for child in fork_server.children() {
        assert!(child.signal(Signal::SIGTERM));
    }
    daemon.wait_for_log("not notifying the watchdog: unhealthy");
    assert!(fork_server.signal(Signal::SIGCONT));
    let fed = socket.received().len();
    socket.wait_for_after(fed, "WATCHDOG", Some("1"));
}

#[test]
fn a_very_short_watchdog_timeout_does_not_keep_the_daemon_busy() {
    let start = TestProgram::example("service");
    let mut socket = NotifySocket::bind(&start.dir().join("notify"));
    let daemon = start
        .environment("NOTIFY_SOCKET", socket.address())
        .environment("WATCHDOG_USEC", "1")
        .launch();
    socket.wait_for_after(0, "READY", None);
    daemon.wait_for_log("the watchdog timeout is too short");
    let begun = Instant::now();
    for _beat in 0..5 {
        let fed = socket.received().len();
        socket.wait_for_after(fed, "WATCHDOG", Some("1"));
    }
    // Five notifications are at least four intervals apart. The first of them may be late.
    assert!(begun.elapsed() >= Duration::from_millis(3 * 50), "{:?}", begun.elapsed());
}

#[test]
fn the_watchdog_is_not_notified_if_watchdog_pid_is_the_pid_of_another_process() {
    let start = TestProgram::example("service");
    let mut socket = NotifySocket::bind(&start.dir().join("notify"));
    let mut daemon = start
        .environment("NOTIFY_SOCKET", socket.address())
        .environment("WATCHDOG_USEC", "1000")
        .environment("WATCHDOG_PID", "1")
        .launch();
    socket.wait_for_after(0, "READY", None);
    daemon.stop();
    assert_eq!(socket.count("WATCHDOG"), 0);
}
