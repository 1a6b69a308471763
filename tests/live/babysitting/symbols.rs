//! Tests the lookup of the functions in backtraces: it runs in a process of its own, and neither
//! its cost nor its failure affects the parent.

use std::thread;

use super::*;

/// How much the memory that the parent owns may grow, in KiB.
const GROWTH_MAX: u64 = 1024;

/// How long a trace may wait for the function names.
const TRACE_MAX: Duration = Duration::from_secs(4);

fn own_memory(process: Process) -> u64 {
    process.kibibytes("RssAnon").unwrap()
}

/// Traces this child in another thread.
fn trace(daemon: &DaemonProcess, child: Process) -> thread::JoinHandle<String> {
    let mut client = daemon.command_client().unwrap();
    thread::spawn(move || client.try_ask(&format!("trace {}", child.0)).unwrap())
}

/// Returns whether the evidence contains a frame with a function.
fn has_names(evidence: &str) -> bool {
    evidence.contains("serve_commands") || evidence.contains("main")
}

fn has_only_addresses(evidence: &str) -> bool {
    let (_before, frames) = evidence.split_once("backtrace").expect("a backtrace");
    frames.contains("#0 0x") && frames.trim().lines().all(|line| line.contains(" 0x"))
}

#[test]
fn the_parent_does_not_grow_when_it_traces_its_children() {
    let daemon = watched("");
    let (parent, child) = (daemon.parent(), daemon.children()[0]);
    let before = own_memory(parent);
    until("a trace has names", || {
        has_names(&daemon.ask(&format!("trace {}", child.0))).then_some(())
    });
    for _time in 0..2 {
        daemon.ask(&format!("trace {}", child.0));
    }
    let traces: Vec<_> = (0..12).map(|_each| trace(&daemon, child)).collect();
    for trace in traces {
        let evidence = trace.join().unwrap();
        assert!(evidence.contains("#0 "), "each trace has a backtrace: {evidence}");
        assert!(evidence.contains("rss "), "each trace has process information: {evidence}");
    }
    let grown = own_memory(parent).saturating_sub(before);
    assert!(grown <= GROWTH_MAX, "the parent has grown by {grown} KiB");
}

#[test]
fn a_frozen_lookup_delays_nothing_and_ends_in_addresses() {
    let daemon = watched("");
    let (fork_server, child) = (daemon.fork_server(), daemon.children()[0]);
    let start = Instant::now();
    let traced = trace(&daemon, child);
    let lookup = daemon.freeze_symbol_lookup();
    assert_eq!(lookup.oom_score_adj(), Some(1000));
    // The parent, the children and other evidence do not wait for the lookup.
    assert_eq!(daemon.report()["phase"], "running");
    is_served(&daemon);
    let second = trace(&daemon, child);
    let evidence = traced.join().unwrap();
    assert!(has_only_addresses(&evidence), "{evidence}");
    assert!(start.elapsed() >= TRACE_MAX, "{:?}", start.elapsed());
    assert!(has_only_addresses(&second.join().unwrap()));
    until("the frozen lookup is killed", || (!lookup.is_alive()).then_some(()));
    until("a trace has names", || {
        has_names(&daemon.ask(&format!("trace {}", child.0))).then_some(())
    });
    assert_eq!(daemon.fork_server(), fork_server);
    assert!(daemon.children().contains(&child));
}

#[test]
fn a_stop_does_not_wait_for_a_frozen_lookup_and_keeps_the_evidence() {
    let mut daemon = watched("slowlog_after=200 slowlog=DIR/slow.log");
    let mut client = daemon.client();
    let child = client.pid();
    let enough = daemon.dir().join("enough");
    send_word(&mut client, &format!("block {}", enough.display()));
    let lookup = daemon.freeze_symbol_lookup();
    step_line(&daemon, child, "slow");
    fs::write(&enough, "").unwrap();
    assert_eq!(client.read().unwrap(), "ok");
    drop(client);
    let start = Instant::now();
    daemon.stop();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(!lookup.is_alive());
    let record = fs::read_to_string(daemon.dir().join("slow.log")).unwrap();
    assert!(record.contains("reason: slow request") && record.contains("#0 0x"), "{record}");
}

#[test]
fn a_child_that_forges_backtraces_harms_neither_the_parent_nor_its_siblings() {
    let daemon = watched("");
    let parent = daemon.parent();
    let mut client = daemon.client();
    let forger = client.pid();
    // The page of a request is found by the number of an earlier one.
    daemon.ask(&format!("trace {}", forger.0));
    assert_eq!(client.ask("forge_backtraces"), "ok");
    let sibling = daemon.children().into_iter().find(|child| *child != forger).unwrap();
    let before = own_memory(parent);
    let mut forged = 0;
    for round in 0..20 {
        let child = if round % 2 == 0 { forger } else { sibling };
        let evidence = daemon.ask(&format!("trace {}", child.0));
        assert!(evidence.contains(&format!("process {}", child.0)), "{evidence}");
        let is_forged = evidence.contains("0xffffffffffffffff") || evidence.contains(" 0x0\n");
        let is_silent = evidence.contains("the child did not answer");
        assert!(evidence.contains("#0 ") || is_silent, "{evidence}");
        forged += usize::from(is_forged);
    }
    assert!(forged > 0, "no forged backtrace arrived");
    let grown = own_memory(parent).saturating_sub(before);
    assert!(grown <= GROWTH_MAX, "the parent has grown by {grown} KiB");
    assert_eq!((daemon.parent(), daemon.report()["phase"].as_str()), (parent, Some("running")));
    assert!(forger.signal(Signal::SIGKILL));
    until("the sibling's true backtrace arrives", || {
        has_names(&daemon.ask(&format!("trace {}", sibling.0))).then_some(())
    });
    is_served(&daemon);
}
