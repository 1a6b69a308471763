//! Tests the complete log of ordinary operation at the default level. There is one line for each
//! event that an operator needs to know, and no other line. Starts and orderly exits of children
//! are logged only with `verbose`.

use crate::harness::{ControlClient, DaemonProcess, LineClient, Process, Signal, TestProgram};

/// Returns all log lines of the daemon, without their times and without the lines of the test
/// program itself.
fn logged_lines(daemon: &DaemonProcess) -> Vec<String> {
    let log = daemon.log();
    let of_the_daemon = log.lines().filter(|line| !line.contains(" received: "));
    // A line begins with its time: `Nov 21 16:36:24.123 INFO ...`
    of_the_daemon.map(|line| line.splitn(4, ' ').nth(3).unwrap_or(line).to_owned()).collect()
}

/// Returns the slot of a live child.
fn slot_of(daemon: &DaemonProcess, child: Process) -> u64 {
    let report = daemon.report();
    let children = report["children"].as_array().expect("a list");
    let found = children.iter().find(|line| line["pid"] == child.0);
    found.and_then(|line| line["slot"].as_u64()).unwrap_or_else(|| panic!("{child:?} in {report}"))
}

/// Crashes the child of one client, and then serves another client. Returns the slot and the pid of
/// the crashed child.
fn crash_a_child_and_serve_a_request(daemon: &DaemonProcess) -> (u64, Process) {
    let mut unlucky = daemon.client();
    let crashed = unlucky.pid();
    let slot = slot_of(daemon, crashed);
    unlucky.send("abort\n").unwrap();
    gone(daemon, crashed);
    let mut client = daemon.client();
    let recycled = client.pid();
    client.ask("done");
    gone(daemon, recycled);
    (slot, crashed)
}

fn gone(daemon: &DaemonProcess, child: Process) {
    daemon.wait_for_log(&format!("received: ChildExited {} ", child.0));
}

/// Reopens the logs, connects `full` concurrent clients, resizes the daemon and stops it. `full`
/// must equal `max_children`, so that the clients keep all children busy.
fn fill_and_stop(daemon: &mut DaemonProcess, full: usize) {
    daemon.parent().signal(Signal::SIGHUP);
    daemon.wait_for_log("reopening logs");
    let mut clients: Vec<LineClient> = (0..full).map(|_| daemon.client()).collect();
    for client in &mut clients {
        client.pid();
    }
    daemon.wait_for_log("max_children reached");
    daemon.parent().signal(Signal::SIGTTIN);
    daemon.wait_for_log("resized");
    daemon.parent().signal(Signal::SIGTERM);
    daemon.wait_for_log("daemon stopping");
    for client in &mut clients {
        assert_eq!(client.ask("done"), "ok");
    }
    daemon.wait_until_gone();
}

#[test]
fn a_pool_logs_each_relevant_event_once() {
    let options = "start=2 min=1 max_spare=3 max=3 requests=1 grace=60000";
    let mut daemon = TestProgram::pool().logged().options(options).start();
    let (Process(parent), Process(fork_server)) = (daemon.parent(), daemon.fork_server());
    let (slot, Process(crashed)) = crash_a_child_and_serve_a_request(&daemon);
    fill_and_stop(&mut daemon, 3);
    let mut log = logged_lines(&daemon);
    // The total number of children depends on timing.
    let last = log.pop().unwrap_or_default();
    let begins =
        format!("INFO daemon stopped, role: parent, pid: {parent}, daemon: pool, children: ");
    assert!(last.starts_with(&begins) && last.ends_with(", requests: 5"), "{last}");
    let expected = [
        format!(
            "INFO daemon ready, role: parent, pid: {parent}, daemon: pool, model: pre-forking, fork_server: {fork_server}, children: 2, max_children: 3"
        ),
        format!(
            "WARN child exited, role: parent, pid: {parent}, slot: {slot}, child: {crashed}, requests: 1, reason: killed by signal ABRT"
        ),
        format!("INFO reopening logs, role: parent, pid: {parent}, by: HUP"),
        format!(
            "WARN max_children reached, role: parent, pid: {parent}, max_children: 3, spare: 0, min_spare: 1"
        ),
        format!(
            "INFO resized, role: parent, pid: {parent}, by: TTIN, min_spare: 2, max_spare: 3, max_children: 3"
        ),
        format!(
            "INFO daemon stopping, role: parent, pid: {parent}, daemon: pool, by: TERM, children: 3, grace: 1m00s"
        ),
    ];
    assert_eq!(log, expected);
}

#[test]
fn a_post_forking_daemon_logs_each_relevant_event_once() {
    let mut daemon = TestProgram::postfork().logged().options("max=2 grace=60000").start();
    let (Process(parent), Process(fork_server)) = (daemon.parent(), daemon.fork_server());
    let (slot, Process(crashed)) = crash_a_child_and_serve_a_request(&daemon);
    fill_and_stop(&mut daemon, 2);
    let expected = [
        format!(
            "INFO daemon ready, role: parent, pid: {parent}, daemon: postfork, model: post-forking, fork_server: {fork_server}, children: 0, max_children: 2"
        ),
        format!(
            "WARN child exited, role: parent, pid: {parent}, slot: {slot}, child: {crashed}, requests: 1, reason: killed by signal ABRT"
        ),
        format!("INFO reopening logs, role: parent, pid: {parent}, by: HUP"),
        format!("WARN max_children reached, role: parent, pid: {parent}, max_children: 2"),
        format!("INFO resized, role: parent, pid: {parent}, by: TTIN, max_children: 3"),
        format!(
            "INFO daemon stopping, role: parent, pid: {parent}, daemon: postfork, by: TERM, children: 2, grace: 1m00s"
        ),
        format!(
            "INFO daemon stopped, role: parent, pid: {parent}, daemon: postfork, children: 4, requests: 4"
        ),
    ];
    assert_eq!(logged_lines(&daemon), expected);
}

#[test]
fn each_operator_command_is_logged_once() {
    let options = "start=2 min=1 max_spare=2 max=4 reload_on_hup control=DIR/control";
    let mut daemon = TestProgram::pool().logged().options(options).start();
    let (Process(parent), Process(fork_server)) = (daemon.parent(), daemon.fork_server());
    daemon.parent().signal(Signal::SIGHUP);
    daemon.wait_for_log("reload finished");
    let mut control = ControlClient::at(&daemon.dir().join("control"));
    control.expect_done("pause", "");
    control.expect_done("resume", "");
    control.expect_done("resize", "\"to\":3");
    control.expect_done("stop", "");
    daemon.wait_until_gone();
    let mut log = logged_lines(&daemon);
    // The number of children after a resize depends on timing.
    let end = log.split_off(log.len() - 2);
    let begins = format!(
        "INFO daemon stopping, role: parent, pid: {parent}, daemon: pool, by: message, children: "
    );
    assert!(end[0].starts_with(&begins), "{end:?}");
    let expected = [
        format!(
            "INFO daemon ready, role: parent, pid: {parent}, daemon: pool, model: pre-forking, fork_server: {fork_server}, children: 2, max_children: 4"
        ),
        format!("INFO reopening logs and reloading, role: parent, pid: {parent}, by: HUP"),
        format!("INFO reload started, role: parent, pid: {parent}, children: 2"),
        format!("INFO reload finished, role: parent, pid: {parent}"),
        format!("INFO paused by operator, role: parent, pid: {parent}, by: message"),
        format!("INFO resumed by operator, role: parent, pid: {parent}, by: message"),
        format!(
            "INFO resized, role: parent, pid: {parent}, by: message, min_spare: 3, max_spare: 4, max_children: 4"
        ),
    ];
    assert_eq!(log, expected);
}
