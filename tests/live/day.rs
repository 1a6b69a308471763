//! The log of an ordinary day, whole and at the default level, as an operator reads it: a line for
//! each fact that matters, and none for what does not. Births and children that leave in order are
//! for `verbose`.

use crate::harness::{Client, Control, Daemon, Process, Signal, Start};

/// All that the daemon has logged, without the times. What the program under test says itself is
/// left out.
fn log_of(daemon: &Daemon) -> Vec<String> {
    let log = daemon.log();
    let of_the_daemon = log.lines().filter(|line| !line.contains(" told: "));
    // `Nov 21 16:36:24.123 INFO ...`
    of_the_daemon.map(|line| line.splitn(4, ' ').nth(3).unwrap_or(line).to_owned()).collect()
}

/// The slot of a child that lives.
fn slot_of(daemon: &Daemon, child: Process) -> u64 {
    let report = daemon.report();
    let children = report["children"].as_array().expect("a list");
    let found = children.iter().find(|line| line["pid"] == child.0);
    found.and_then(|line| line["slot"].as_u64()).unwrap_or_else(|| panic!("{child:?} in {report}"))
}

/// A client's child dies, and another client is served; returns the slot and pid of the dead one.
fn a_crash_and_a_request(daemon: &Daemon) -> (u64, Process) {
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

fn gone(daemon: &Daemon, child: Process) {
    daemon.until_logged(&format!("told: ChildExited {} ", child.0));
}

/// So many clients are served at once, until the daemon stops, which one more could be then.
fn a_full_house_and_the_end(daemon: &mut Daemon, full: usize) {
    daemon.parent().signal(Signal::SIGHUP);
    daemon.until_logged("hangup");
    let mut clients: Vec<Client> = (0..full).map(|_| daemon.client()).collect();
    for client in &mut clients {
        client.pid();
    }
    daemon.until_logged("max_children is reached");
    daemon.parent().signal(Signal::SIGTTIN);
    daemon.until_logged("resized");
    daemon.parent().signal(Signal::SIGTERM);
    daemon.until_logged("is stopping");
    for client in &mut clients {
        assert_eq!(client.ask("done"), "ok");
    }
    daemon.ended();
}

#[test]
fn a_day_of_a_pool() {
    let options = "start=2 min=1 max_spare=3 max=3 requests=1 grace=60000";
    let mut daemon = Start::pool().logged().options(options).up();
    let (Process(parent), Process(fork_server)) = (daemon.parent(), daemon.fork_server());
    let (slot, Process(crashed)) = a_crash_and_a_request(&daemon);
    a_full_house_and_the_end(&mut daemon, 3);
    let mut log = log_of(&daemon);
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
fn a_day_of_a_forking_daemon() {
    let mut daemon = Start::each().logged().options("max=2 grace=60000").up();
    let (Process(parent), Process(fork_server)) = (daemon.parent(), daemon.fork_server());
    let (slot, Process(crashed)) = a_crash_and_a_request(&daemon);
    a_full_house_and_the_end(&mut daemon, 2);
    let expected = [
        format!(
            "INFO each is up, role: parent, pid: {parent}, model: Forking, fork_server: {fork_server}, children: 0, max_children: 2"
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
            "INFO each is stopping, role: parent, pid: {parent}, by: TERM, children: 2, grace: 60s"
        ),
        format!("INFO each has stopped, role: parent, pid: {parent}, children: 4, requests: 4"),
    ];
    assert_eq!(log_of(&daemon), expected);
}

#[test]
fn a_day_of_orders() {
    let options = "start=2 min=1 max_spare=2 max=4 reload_on_hup control=DIR/control";
    let mut daemon = Start::pool().logged().options(options).up();
    let (Process(parent), Process(fork_server)) = (daemon.parent(), daemon.fork_server());
    daemon.parent().signal(Signal::SIGHUP);
    daemon.until_logged("reloaded");
    let mut control = Control::at(&daemon.dir().join("control"));
    control.done("pause", "");
    control.done("resume", "");
    control.done("resize", "\"to\":3");
    control.done("stop", "");
    daemon.ended();
    let mut log = log_of(&daemon);
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
