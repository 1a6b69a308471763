//! Tests a daemon whose forks fail for a while: no connection is lost, and the daemon recovers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{DaemonProcess, TestProgram, run_clients, until};

/// Compiles a library into the directory `dir`, and returns the path of the library. The library
/// makes forks fail.
fn shim(dir: &Path) -> PathBuf {
    let shim = dir.join("fork_eagain.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/live/shim/fork_eagain.c");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([shim.as_path(), Path::new(source)])
        .arg("-ldl")
        .status();
    let built = built.expect("the C compiler cc builds the shim");
    assert!(built.success(), "{built}");
    shim
}

/// Makes the forks of the fork server fail while the returned file exists.
fn forks_can_fail(start: TestProgram) -> (TestProgram, PathBuf) {
    let file = start.dir().join("refuse");
    let shim = shim(start.dir());
    let start = start.environment("FORK_EAGAIN", &file).environment("LD_PRELOAD", shim);
    (start, file)
}

fn failed_forks(daemon: &DaemonProcess) -> u64 {
    daemon.report()["counters"]["failed_forks"].as_u64().unwrap()
}

#[test]
fn no_connection_is_lost_while_forks_fail() {
    let (start, file) = forks_can_fail(TestProgram::postfork().logged().options("max=4"));
    let daemon = start.start();
    assert_eq!(daemon.client().ask("echo before"), "before");
    fs::write(&file, "").unwrap();
    let mut waiting: Vec<_> = (0..10).map(|_client| daemon.client()).collect();
    for (number, client) in waiting.iter_mut().enumerate() {
        client.send(&format!("echo {number}\ndone\n")).unwrap();
    }
    daemon.wait_for_log("WARN cannot fork a child");
    fs::remove_file(&file).unwrap();
    for (number, client) in waiting.iter_mut().enumerate() {
        assert_eq!(client.read().unwrap(), number.to_string());
        assert_eq!(client.rest(), "ok\n");
    }
    assert!(failed_forks(&daemon) > 0);
    run_clients(10, |client| {
        let word = client.to_string();
        assert_eq!(daemon.client().ask(&format!("echo {word}")), word);
    });
}

#[test]
fn a_pool_serves_a_waiting_client_when_forks_succeed_again() {
    let (start, file) =
        forks_can_fail(TestProgram::pool().logged().options("start=2 min=2 max=4 requests=1"));
    let daemon = start.start();
    fs::write(&file, "").unwrap();
    let mut busy = [daemon.client(), daemon.client()];
    for client in &mut busy {
        client.pid();
    }
    let mut third = daemon.client();
    third.send("echo third\n").unwrap();
    daemon.wait_for_log("WARN cannot fork a child");
    fs::remove_file(&file).unwrap();
    assert_eq!(third.read().unwrap(), "third");
    assert!(failed_forks(&daemon) > 0);
}

#[test]
fn a_pool_starts_when_forks_succeed_after_its_first_forks_have_failed() {
    let (start, file) = forks_can_fail(TestProgram::pool().logged().options("start=2 max=4"));
    fs::write(&file, "").unwrap();
    let daemon = start.launch();
    daemon.wait_for_log("WARN cannot fork a child");
    assert!(!daemon.log().contains("received: DaemonParent"));
    fs::remove_file(&file).unwrap();
    daemon.wait_for_log("received: DaemonParent");
    assert_eq!(daemon.client().ask("echo up"), "up");
}

#[test]
#[cfg(target_os = "linux")]
fn a_dispatcher_rejects_requests_while_forks_fail_and_runs_them_afterwards() {
    let options = "start=0 max=1";
    let (start, file) = forks_can_fail(TestProgram::dispatcher().options(options));
    let daemon = start.start();
    let mut client = daemon.client();
    // The answer shows that the parent has started.
    client.ask("nothing");
    let before = daemon.parent().descriptors().len();
    fs::write(&file, "").unwrap();
    let answer = client.ask("pid");
    let expected = "failed: rejected: no worker could be started: 5 failures in a row";
    assert!(answer.starts_with(expected), "{answer}");
    assert!(answer.contains("the last one: cannot fork: try again"), "{answer}");
    until("the links of the failed forks are closed", || {
        (daemon.parent().descriptors().len() == before).then_some(())
    });
    fs::remove_file(&file).unwrap();
    until("a request is run", || client.ask("pid").parse::<u32>().ok());
}

#[test]
fn a_backtrace_has_only_addresses_while_forks_fail() {
    let options = "start=2 min=0 max_spare=2 max=2 babysit=1000";
    let (start, file) = forks_can_fail(TestProgram::pool().logged().options(options));
    let daemon = start.start();
    let child = daemon.children()[0];
    fs::write(&file, "").unwrap();
    let evidence = daemon.ask(&format!("trace {}", child.0));
    assert!(evidence.contains("#0 0x"), "{evidence}");
    fs::remove_file(&file).unwrap();
    until("the functions are found again", || {
        daemon.ask(&format!("trace {}", child.0)).contains("main").then_some(())
    });
}
