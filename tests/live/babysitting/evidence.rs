//! Tests the evidence about slow children and about children that are traced on request.

use super::*;

#[test]
fn a_slow_request_is_recorded_with_its_backtrace_and_continues() {
    let daemon = watched("slowlog_after=200 slowlog=DIR/slow.log");
    let mut client = daemon.client();
    let child = client.pid();
    assert_eq!(client.ask("label slow work"), "ok");
    let enough = daemon.dir().join("enough");
    send_word(&mut client, &format!("spin {}", enough.display()));
    step_line(&daemon, child, "slow");
    let record = until("the slow log contains a complete record", || {
        let record = fs::read_to_string(daemon.dir().join("slow.log")).ok()?;
        record.contains("reason: ").then_some(record)
    });
    assert!(record.contains(&format!("process {}", child.0)), "{record}");
    assert!(record.contains("slow work"), "{record}");
    assert!(record.contains("spin_in_a_loop"), "the child's own stack is recorded: {record}");
    fs::write(&enough, "").unwrap();
    assert_eq!(client.read().unwrap(), "ok");
    assert_eq!(client.pid(), child);
    assert_eq!(daemon.log().matches("received: RogueChild").count(), 1);
}

#[test]
fn evidence_is_written_to_the_daemons_log_if_no_slow_log_is_set() {
    let daemon = watched("slowlog_after=200");
    let mut client = daemon.client();
    let child = client.pid();
    send_word(&mut client, "block /no/such/file");
    daemon.wait_for_log(&format!("process {}", child.0));
    daemon.wait_for_log("slow request");
    assert!(child.signal(Signal::SIGKILL));
}

#[test]
fn children_can_be_traced_at_any_time_and_other_processes_cannot() {
    let daemon = watched("");
    let mut client = daemon.client();
    let child = client.pid();
    let trace = daemon.ask(&format!("trace {}", child.0));
    assert!(trace.contains(&format!("process {}", child.0)), "{trace}");
    assert!(trace.contains("backtrace"), "{trace}");
    assert_eq!(client.ask("echo on"), "on");
    let stopped = daemon.children().into_iter().find(|other| *other != child).unwrap();
    assert!(stopped.signal(Signal::SIGSTOP));
    until("the child is stopped", || (stopped.state() == Some('T')).then_some(()));
    let trace = daemon.ask(&format!("trace {}", stopped.0));
    assert!(trace.contains("the child did not answer") && trace.contains("state T"), "{trace}");
    assert!(stopped.signal(Signal::SIGCONT));
    let unknown = daemon.ask("trace 1");
    assert_eq!(unknown, "cannot trace process 1: no child of this daemon has this pid");
}

#[test]
fn a_stopping_daemon_writes_evidence_whose_symbols_are_not_resolved_yet() {
    let mut daemon = watched("slowlog_after=200 slowlog=DIR/slow.log grace=100");
    let mut client = daemon.client();
    client.pid();
    send_word(&mut client, "block /no/such/file");
    daemon.wait_for_log("received: RogueChild");
    daemon.stop();
    let record = fs::read_to_string(daemon.dir().join("slow.log")).unwrap();
    assert!(record.contains("reason: slow request"), "{record}");
}
