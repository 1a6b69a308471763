//! Limits of resources that are too low for the start: a sentence that names the limit, never a
//! panic.

use std::fs;

use crate::harness::{DaemonProcess, TestProgram, nobody, until};

const FILES: &str = "pidfile=DIR/pid control=DIR/control board_file=DIR/board start=1 min=1";

/// Starts a pool with these states of the launcher, and waits until it runs or has ended.
fn start(states: &str, options: &str) -> Result<DaemonProcess, String> {
    let start = TestProgram::pool().writable_by_all().logged().options(FILES).options(options);
    let mut daemon = start.launched_with(states).launch_without_waiting();
    let socket = daemon.dir().join("commands");
    until("the daemon has started or ended", || {
        (daemon.launcher_status().is_some_and(|status| status != "code 0")
            || (socket.exists() && daemon.log().contains("daemon ready")))
        .then_some(())
    });
    match daemon.launcher_status() {
        Some(status) if status != "code 0" => {
            daemon.wait_until_gone();
            let log = fs::read_to_string(daemon.logfile()).unwrap_or_default();
            Err(format!("{status}\n{}{log}", daemon.stderr()))
        }
        _ => Ok(daemon),
    }
}

/// Fails if the output mentions a panic or a fatal signal.
fn assert_no_panic(states: &str, output: &str) {
    for word in ["panicked", "RUST_BACKTRACE", "SIGABRT", "SIGSEGV", "code 101", "SIGXFSZ"] {
        assert!(!output.contains(word), "{states}: {output}");
    }
}

#[test]
fn a_limit_of_open_files_that_is_too_low_is_named() {
    for options in ["", "detach"] {
        let mut has_started = false;
        // With fewer than 5, the loader of the program or the program's own listener fails.
        for limit in 5..=40 {
            let states = format!("limit=open_files:{limit}");
            match start(&states, options) {
                Ok(daemon) => {
                    has_started = true;
                    assert_eq!(daemon.client().ask("echo served"), "served", "{limit}");
                    assert_no_panic(&states, &daemon.log());
                }
                Err(output) => {
                    assert!(!has_started, "a higher limit is not sufficient: {limit}: {output}");
                    assert_no_panic(&states, &output);
                    let sentence = format!("the limit of open files (ulimit -n) is {limit}, ");
                    assert!(output.contains(&sentence), "{limit}: {output}");
                }
            }
        }
        assert!(has_started);
    }
}

#[test]
fn a_child_that_has_too_few_descriptors_for_its_system_names_the_limit() {
    for free in 1..=3 {
        let options = format!("open_files=64 preload_leaves={free}");
        let output = start("umask=022", &options).expect_err("no child can start");
        assert!(output.contains("cannot create the System of the child"), "{free}: {output}");
        let sentence = "the limit of open files (ulimit -n) is 64, ";
        assert!(output.contains(sentence), "{free}: {output}");
        assert!(!output.contains("panic"), "{free}: {output}");
    }
}

#[test]
fn a_limit_of_open_files_that_the_daemon_sets_itself_is_checked() {
    for options in ["open_files=12", "open_files=12 detach"] {
        let output = start("umask=022", options).expect_err("refused");
        assert!(output.contains("the limit of open files (ulimit -n) is 12, "), "{output}");
        assert_no_panic(options, &output);
    }
}

#[test]
fn a_limit_of_processes_that_is_too_low_is_named() {
    if nobody().is_none() {
        return;
    }
    for options in ["", "detach"] {
        let output = start("limit=processes:1 user=nobody", options).expect_err("no process");
        assert!(output.contains("cannot fork: ") && output.contains("ulimit -u"), "{output}");
        assert_no_panic(options, &output);
    }
}

#[test]
fn other_limits_that_are_too_low_are_errors() {
    let table = [
        // Standard error is a file, too, so no message can be written.
        ("limit=file_size:0", "code 1"),
        ("limit=file_size:1000", "file too large"),
        ("limit=stack:65536", "the limit of bytes of the stack (ulimit -s) is 65536, "),
        ("limit=stack:98304", "the limit of bytes of the stack (ulimit -s) is 98304, "),
    ];
    for (states, sentence) in table {
        for options in ["", "detach"] {
            let output = start(states, options).expect_err(states);
            assert_no_panic(states, &output);
            assert!(output.starts_with("code 1"), "{states} {options}: {output}");
            assert!(output.contains(sentence), "{states} {options}: {output}");
        }
    }
}

#[test]
fn a_log_that_reaches_the_limit_of_the_file_size_does_not_end_the_daemon() {
    let start = TestProgram::pool().logged().options("start=1 min=1");
    let daemon = start.launched_with("limit=file_size:20000").start();
    let mut client = daemon.client();
    let long = "x".repeat(1500);
    for _ in 0..20 {
        assert_eq!(client.ask(&format!("log {long}")), "ok");
    }
    assert_eq!(client.ask("echo served"), "served");
    assert!(daemon.parent().is_alive());
    assert!(fs::metadata(daemon.logfile()).unwrap().len() <= 20000);
}
