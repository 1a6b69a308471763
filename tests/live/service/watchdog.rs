//! The watchdog is fed while the pool is healthy.

use crate::harness::{Signal, Start};

use super::notify::Supervisor;

#[test]
fn the_watchdog_is_fed_while_the_pool_is_healthy_and_no_longer() {
    let start = Start::example("service");
    let mut supervisor = Supervisor::at(&start.dir().join("notify"));
    let daemon = start
        .environment("NOTIFY_SOCKET", supervisor.address())
        .environment("WATCHDOG_USEC", "400000")
        .begun();
    supervisor.until_after(0, "READY", None);
    for _beat in 0..3 {
        let fed = supervisor.told().len();
        supervisor.until_after(fed, "WATCHDOG", Some("1"));
    }
    // A fork server that stands still replaces nobody.
    let fork_server = daemon.fork_server();
    assert!(fork_server.signal(Signal::SIGSTOP));
    for child in fork_server.children() {
        assert!(child.signal(Signal::SIGTERM));
    }
    daemon.until_logged("the watchdog is told nothing: no child of the pool");
    assert!(fork_server.signal(Signal::SIGCONT));
    let fed = supervisor.told().len();
    supervisor.until_after(fed, "WATCHDOG", Some("1"));
}

#[test]
fn a_watchdog_of_another_process_is_not_fed() {
    let start = Start::example("service");
    let mut supervisor = Supervisor::at(&start.dir().join("notify"));
    let mut daemon = start
        .environment("NOTIFY_SOCKET", supervisor.address())
        .environment("WATCHDOG_USEC", "1000")
        .environment("WATCHDOG_PID", "1")
        .begun();
    supervisor.until_after(0, "READY", None);
    daemon.stop();
    assert_eq!(supervisor.count("WATCHDOG"), 0);
}
