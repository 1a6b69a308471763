//! Tests logs. A record is one line. HUP makes every process reopen its log, and USR2 makes a
//! process log its internals.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::harness::{DaemonProcess, LineClient, Process, Signal, TestProgram, during, until};

/// Waits until every process of the daemon has `file` open and none has `not` open.
fn all_log_to(daemon: &DaemonProcess, file: &Path, not: &Path) {
    until("all processes have opened the new log", || {
        let family = daemon.processes();
        family
            .iter()
            .all(|process| {
                let open = process.descriptors();
                open.values().any(|path| path == file) && !open.values().any(|path| path == not)
            })
            .then_some(())
    });
}

#[test]
fn no_line_is_lost_when_the_log_is_renamed_and_hup_makes_all_processes_open_a_new_file() {
    let daemon = TestProgram::pool().logged().options("start=4 min=1 max=6").start();
    let (log, old) = (daemon.logfile(), daemon.dir().join("old.log"));
    let mut clients: Vec<LineClient> = (0..4).map(|_client| daemon.client()).collect();
    let mut written = 0;
    let mut write = |clients: &mut [LineClient]| {
        for client in clients {
            written += 1;
            assert_eq!(client.ask(&format!("log line <{written}>")), "ok");
        }
        written
    };
    write(&mut clients);
    fs::rename(&log, &old).unwrap();
    write(&mut clients);
    daemon.parent().signal(Signal::SIGHUP);
    // The processes do not all reopen the log at the same time, so keep writing lines meanwhile.
    during(Duration::from_millis(100), || {
        write(&mut clients);
    });
    all_log_to(&daemon, &log, &old);
    let last_of_old = fs::read_to_string(&old).unwrap();
    let first_of_new = write(&mut clients) - 3;
    let total = first_of_new + 3;
    assert_eq!(fs::read_to_string(&old).unwrap(), last_of_old);
    let new = fs::read_to_string(&log).unwrap();
    for number in 1..=total {
        let mark = format!("line <{number}>,");
        let found = last_of_old.matches(&mark).count() + new.matches(&mark).count();
        assert_eq!(found, 1, "{mark}");
        assert!(number < first_of_new || new.contains(&mark), "{mark} is in the old file");
    }
}

#[test]
fn children_forked_after_a_hup_log_to_the_new_file() {
    let daemon = TestProgram::postfork().logged().options("max=4").start();
    let (log, old) = (daemon.logfile(), daemon.dir().join("old.log"));
    fs::rename(&log, &old).unwrap();
    daemon.parent().signal(Signal::SIGHUP);
    all_log_to(&daemon, &log, &old);
    assert_eq!(daemon.client().ask("log after"), "ok");
    assert!(fs::read_to_string(&log).unwrap().contains(" after,"));
}

#[test]
fn when_the_new_log_file_cannot_be_opened_the_old_file_stays_in_use_and_the_error_is_logged() {
    let daemon = TestProgram::pool().logged().options("start=2 max=4").start();
    let mut client = daemon.client();
    let child = client.pid();
    let (log, old) = (daemon.logfile(), daemon.dir().join("old.log"));
    fs::rename(&log, &old).unwrap();
    fs::create_dir(&log).unwrap();
    daemon.parent().signal(Signal::SIGHUP);
    let report = |what: &str, by: &str| {
        until(what, || {
            let log = fs::read_to_string(&old).unwrap();
            log.lines()
                .any(|line| line.contains("cannot open log file") && line.contains(by))
                .then_some(())
        });
    };
    report("the parent has logged the error", "ERRO cannot reopen the log file");
    report("the error of the fork server is logged", "fork server cannot reopen the log file");
    report("the child has logged the error", &format!("role: child, pid: {}", child.0));
    assert_eq!(client.ask("log still here"), "ok");
    assert!(fs::read_to_string(&old).unwrap().contains("still here"));
    assert!(fs::read_to_string(&old).unwrap().contains("cannot"));
    assert_eq!(client.ask("done"), "ok");
}

#[test]
fn sessions_in_the_parent_and_in_children_receive_daemon_hup() {
    let daemon = TestProgram::pool().logged().options("start=2 max=4").start();
    let child = daemon.client().pid();
    daemon.parent().signal(Signal::SIGHUP);
    daemon.wait_for_log("received: DaemonHup, role: parent");
    daemon.wait_for_log(&format!("received: DaemonHup, role: child, pid: {}", child.0));
}

#[test]
fn a_log_record_is_one_line_and_names_its_process() {
    let daemon = TestProgram::pool().logged().options("start=2 max=4 verbose").start();
    let mut writers = HashMap::new();
    let mut clients = [daemon.client(), daemon.client()];
    for (number, client) in clients.iter_mut().enumerate() {
        writers.insert(number, client.pid());
    }
    for round in 0..50 {
        for (number, client) in clients.iter_mut().enumerate() {
            client.ask(&format!("log record {number}-{round}."));
        }
    }
    let log = daemon.log();
    for line in log.lines() {
        let levels = ["INFO", "DEBG", "WARN", "ERRO"];
        let count: usize = levels.iter().map(|level| line.matches(level).count()).sum();
        assert_eq!(count, 1, "{line:?}");
        assert!(
            line.contains("role: parent, pid: ") || line.contains("role: child, pid: "),
            "{line:?}"
        );
    }
    for (number, pid) in writers {
        let mark = format!("record {number}-");
        let mut lines = log.lines().filter(|line| line.contains(&mark));
        assert!(lines.all(|line| line.contains(&format!("pid: {}, slot: ", pid.0))));
    }
}

#[test]
fn usr2_logs_the_internals_of_the_parent_and_of_a_child() {
    for start in [TestProgram::pool, TestProgram::postfork] {
        let daemon = start().logged().options("start=2 max=4").start();
        let mut client = daemon.client();
        let child = client.pid();
        daemon.parent().signal(Signal::SIGUSR2);
        daemon.wait_for_log("State: running");
        daemon.wait_for_log(&format!("Fork server: pid {}", daemon.fork_server().0));
        daemon.wait_for_log("session 2 (broadcast_logger)");
        assert!(child.signal(Signal::SIGUSR2));
        daemon.wait_for_log("Scoreboard: r");
        assert_eq!(client.ask("echo on"), "on");
    }
}

#[test]
fn a_daemon_without_children_reopens_its_log_and_logs_its_internals() {
    let daemon = TestProgram::solo().logged().start();
    let (log, old): (_, _) = (daemon.logfile(), daemon.dir().join("old.log"));
    let parent: Process = daemon.parent();
    fs::rename(&log, &old).unwrap();
    parent.signal(Signal::SIGHUP);
    all_log_to(&daemon, &log, &old);
    daemon.ask("foreign true");
    parent.signal(Signal::SIGUSR2);
    daemon.wait_for_log("State: running");
}
