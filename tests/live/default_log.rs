//! The log of an ordinary day, whole and at the default level, as an operator reads it: a line for
//! each fact that matters, and none for what does not. Births and children that leave in order are
//! for `verbose`.

use crate::harness::{ControlClient, DaemonProcess, LineClient, Process, Signal, TestProgram};

/// All that the daemon has logged, without the times. What the program under test says itself is
/// left out.
fn logged_lines(daemon: &DaemonProcess) -> Vec<String> {
    let log = daemon.log();
    let of_the_daemon = log.lines().filter(|line| !line.contains(" received: "));
    // `Nov 21 16:36:24.123 INFO ...`
    of_the_daemon.map(|line| line.splitn(4, ' ').nth(3).unwrap_or(line).to_owned()).collect()
}

/// The slot of a child that lives.
fn slot_of(daemon: &DaemonProcess, child: Process) -> u64 {
    let report = daemon.report();
    let children = report["children"].as_array().expect("a list");
    let found = children.iter().find(|line| line["pid"] == child.0);
    found.and_then(|line| line["slot"].as_u64()).unwrap_or_else(|| panic!("{child:?} in {report}"))
}

/// A client's child dies, and another client is served; returns the slot and pid of the dead one.
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

/// So many clients are served at once, until the daemon stops, which one more could be then.
fn fill_and_stop(daemon: &mut DaemonProcess, full: usize) {
    daemon.parent().signal(Signal::SIGHUP);
    daemon.wait_for_log("hangup");
    let mut clients: Vec<LineClient> = (0..full).map(|_| daemon.client()).collect();
    for client in &mut clients {
        client.pid();
    }
    daemon.wait_for_log("max_children is reached");
    daemon.parent().signal(Signal::SIGTTIN);
    daemon.wait_for_log("resized");
    daemon.parent().signal(Signal::SIGTERM);
    daemon.wait_for_log("is stopping");
    for client in &mut clients {
        assert_eq!(client.ask("done"), "ok");
    }
    daemon.wait_until_gone();
}

#[test]
fn the_log_of_a_pool() {
    let options = "start=2 min=1 max_spare=3 max=3 requests=1 grace=60000";
    let mut daemon = TestProgram::pool().logged().options(options).start();
    let (Process(parent), Process(fork_server)) = (daemon.parent(), daemon.fork_server());
    let (slot, Process(crashed)) = crash_a_child_and_serve_a_request(&daemon);
    fill_and_stop(&mut daemon, 3);
    let mut log = logged_lines(&daemon);
    // How many children there were in all is the pool's to decide.
    let last = log.pop().unwrap_or_default();
    let begins = format!("INFO pool has stopped, role: parent, pid: {parent}, children: ");
    assert!(last.starts_with(&begins) && last.ends_with(", requests: 5"), "{last}");
    let expected = [
        format!(
            "INFO pool is up, role: parent, pid: {parent}, model: Pre-forking, fork_server: {fork_server}, children: 2, max_children: 3"
        ),
        format!(
            "WARN child gone: signal 6 (ABRT), role: parent, pid: {parent}, slot: {slot}, child: {crashed}, requests: 1"
        ),
        format!("INFO hangup: reopening logs, role: parent, pid: {parent}"),
        format!(
            "WARN max_children is reached: all 3 children are busy, role: parent, pid: {parent}"
        ),
        format!(
            "INFO resized, role: parent, pid: {parent}, by: TTIN, min_spare: 2, max_spare: 3, max_children: 3"
        ),
        format!(
            "INFO pool is stopping, role: parent, pid: {parent}, by: TERM, children: 3, grace: 60s"
        ),
    ];
    assert_eq!(log, expected);
}

#[test]
fn the_log_of_a_forking_daemon() {
    let mut daemon = TestProgram::postfork().logged().options("max=2 grace=60000").start();
    let (Process(parent), Process(fork_server)) = (daemon.parent(), daemon.fork_server());
    let (slot, Process(crashed)) = crash_a_child_and_serve_a_request(&daemon);
    fill_and_stop(&mut daemon, 2);
    let expected = [
        format!(
            "INFO postfork is up, role: parent, pid: {parent}, model: Forking, fork_server: {fork_server}, children: 0, max_children: 2"
        ),
        format!(
            "WARN child gone: signal 6 (ABRT), role: parent, pid: {parent}, slot: {slot}, child: {crashed}, requests: 1"
        ),
        format!("INFO hangup: reopening logs, role: parent, pid: {parent}"),
        format!(
            "WARN max_children is reached: all 2 children are busy, role: parent, pid: {parent}"
        ),
        format!("INFO resized, role: parent, pid: {parent}, by: TTIN, max_children: 3"),
        format!(
            "INFO postfork is stopping, role: parent, pid: {parent}, by: TERM, children: 2, grace: 60s"
        ),
        format!("INFO postfork has stopped, role: parent, pid: {parent}, children: 4, requests: 4"),
    ];
    assert_eq!(logged_lines(&daemon), expected);
}

#[test]
fn the_log_of_operator_commands() {
    let options = "start=2 min=1 max_spare=2 max=4 reload_on_hup control=DIR/control";
    let mut daemon = TestProgram::pool().logged().options(options).start();
    let (Process(parent), Process(fork_server)) = (daemon.parent(), daemon.fork_server());
    daemon.parent().signal(Signal::SIGHUP);
    daemon.wait_for_log("reloaded");
    let mut control = ControlClient::at(&daemon.dir().join("control"));
    control.expect_done("pause", "");
    control.expect_done("resume", "");
    control.expect_done("resize", "\"to\":3");
    control.expect_done("stop", "");
    daemon.wait_until_gone();
    let mut log = logged_lines(&daemon);
    // How many children there are after a resize is the pool's to decide.
    let end = log.split_off(log.len() - 2);
    let begins =
        format!("INFO pool is stopping, role: parent, pid: {parent}, by: message, children: ");
    assert!(end[0].starts_with(&begins), "{end:?}");
    let expected = [
        format!(
            "INFO pool is up, role: parent, pid: {parent}, model: Pre-forking, fork_server: {fork_server}, children: 2, max_children: 4"
        ),
        format!("INFO hangup: reopening logs, and replacing children, role: parent, pid: {parent}"),
        format!(
            "INFO reloading: all children are replaced, role: parent, pid: {parent}, children: 2"
        ),
        format!("INFO reloaded: all that serve are new, role: parent, pid: {parent}"),
        format!(
            "INFO paused: no more requests are taken, role: parent, pid: {parent}, by: message"
        ),
        format!("INFO resumed: requests are taken again, role: parent, pid: {parent}, by: message"),
        format!(
            "INFO resized, role: parent, pid: {parent}, by: message, min_spare: 3, max_spare: 4, max_children: 4"
        ),
    ];
    assert_eq!(log, expected);
}
