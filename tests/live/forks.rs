//! A system that refuses to fork for a while: nothing is lost, and the daemon recovers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Daemon, Start, crowd};

/// Builds the shim in the test's directory.
fn shim(dir: &Path) -> PathBuf {
    let shim = dir.join("fork_eagain.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/live/shim/fork_eagain.c");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([shim.as_path(), Path::new(source)])
        .arg("-ldl")
        .status();
    let built = built.expect("a C compiler, cc, makes the shim");
    assert!(built.success(), "{built}");
    shim
}

fn refusable(start: Start) -> (Start, PathBuf) {
    let file = start.dir().join("refuse");
    let shim = shim(start.dir());
    let start = start.environment("FORK_EAGAIN", &file).environment("LD_PRELOAD", shim);
    (start, file)
}

fn failed_forks(daemon: &Daemon) -> u64 {
    daemon.report()["counters"]["failed_forks"].as_u64().unwrap()
}

#[test]
fn no_connection_is_lost_while_forks_fail() {
    let (start, file) = refusable(Start::each().logged().options("max=4"));
    let daemon = start.up();
    assert_eq!(daemon.client().ask("echo before"), "before");
    fs::write(&file, "").unwrap();
    let mut waiting: Vec<_> = (0..10).map(|_client| daemon.client()).collect();
    for (number, client) in waiting.iter_mut().enumerate() {
        client.send(&format!("echo {number}\ndone\n")).unwrap();
    }
    daemon.until_logged("WARN cannot fork: ");
    fs::remove_file(&file).unwrap();
    for (number, client) in waiting.iter_mut().enumerate() {
        assert_eq!(client.read().unwrap(), number.to_string());
        assert_eq!(client.rest(), "ok\n");
    }
    assert!(failed_forks(&daemon) > 0);
    crowd(10, |client| {
        let word = client.to_string();
        assert_eq!(daemon.client().ask(&format!("echo {word}")), word);
    });
}

#[test]
fn a_pool_is_filled_when_forks_succeed_again() {
    let (start, file) = refusable(Start::pool().logged().options("start=2 min=2 max=4 requests=1"));
    let daemon = start.up();
    fs::write(&file, "").unwrap();
    let mut busy = [daemon.client(), daemon.client()];
    for client in &mut busy {
        client.pid();
    }
    let mut third = daemon.client();
    third.send("echo third\n").unwrap();
    daemon.until_logged("WARN cannot fork: ");
    fs::remove_file(&file).unwrap();
    assert_eq!(third.read().unwrap(), "third");
    assert!(failed_forks(&daemon) > 0);
}

#[test]
fn a_pool_whose_first_forks_fail_comes_up_when_they_succeed() {
    let (start, file) = refusable(Start::pool().logged().options("start=2 max=4"));
    fs::write(&file, "").unwrap();
    let daemon = start.begun();
    daemon.until_logged("WARN cannot fork: ");
    assert!(!daemon.log().contains("told: DaemonParent"));
    fs::remove_file(&file).unwrap();
    daemon.until_logged("told: DaemonParent");
    assert_eq!(daemon.client().ask("echo up"), "up");
}
