//! Panics of the program's code in the parent, see `programs/panicking.rs`: each costs one request,
//! or ends the daemon with an error.

use crate::harness::{DaemonProcess, LineClient, Signal, TestProgram, until};

const PLACE: &str = "tests/programs/panicking.rs:";

fn start(place: &str) -> DaemonProcess {
    TestProgram::panicking().logged().options(&format!("at={place} grace=20000")).launch()
}

/// Checks that the daemon ends by itself, with an error that names the panic.
fn expect_failure(place: &str, mut daemon: DaemonProcess) {
    let parent = daemon.launcher();
    let ended = daemon.wait_until_gone();
    assert_eq!(ended[&parent], "code 1", "{place}: {}", daemon.log());
    let log = daemon.log();
    let panicked = log.lines().find(|line| line.contains("CRIT panicked"));
    let panicked = panicked.unwrap_or_else(|| panic!("{place}: {log}"));
    assert!(panicked.contains(PLACE) && panicked.contains("on purpose"), "{panicked}");
    let failed = "ERRO daemon failed";
    assert!(log.lines().any(|line| line.contains(failed) && line.contains(PLACE)), "{log}");
    assert!(log.contains("INFO daemon stopped"), "{place}: {log}");
}

#[test]
fn a_panic_of_a_task_or_a_session_at_the_start_ends_the_daemon_with_an_error() {
    for place in ["task", "started", "timer", "future", "ready"] {
        expect_failure(place, start(place));
    }
}

#[test]
fn a_panic_in_the_function_parent_ends_the_daemon_with_an_error() {
    let mut daemon = start("parent");
    let parent = daemon.launcher();
    assert_eq!(daemon.wait_until_gone()[&parent], "code 1");
    let log = daemon.log();
    assert!(log.contains("panic caught") && log.contains(PLACE), "{log}");
    assert!(log.contains("ERRO daemon failed"), "{log}");
}

#[test]
fn a_panic_of_a_recipient_of_events_ends_the_daemon_after_the_requests_in_progress() {
    let daemon = start("forked");
    let mut client = daemon.client();
    assert_eq!(client.ask("first"), "first");
    daemon.wait_for_log("daemon stopping");
    assert_eq!(client.ask("second"), "second", "the child serves its connection");
    drop(client);
    expect_failure("forked", daemon);
}

#[test]
fn a_panic_during_the_shutdown_is_an_error_of_the_daemon() {
    let daemon = start("shutdown");
    assert_eq!(daemon.client().ask("word"), "word");
    daemon.parent().signal(Signal::SIGTERM);
    expect_failure("shutdown", daemon);
}

#[test]
fn a_panic_that_belongs_to_one_connection_closes_it_and_nothing_else() {
    for place in ["request", "encode"] {
        let mut daemon = start(place);
        for nth in 1..=6 {
            let mut client = daemon.client();
            if nth == 3 {
                assert!(client.try_ask("word").is_err(), "{place}: the connection is closed");
            } else {
                assert_eq!(client.ask("word"), "word", "{place}");
            }
        }
        let line = daemon.wait_for_log("panic caught");
        assert!(line.contains("ERRO") && line.contains(PLACE), "{line}");
        let parent = daemon.parent();
        assert_eq!(daemon.stop()[&parent], "code 0", "{place}");
        assert!(!daemon.log().contains("daemon failed"), "{}", daemon.log());
    }
}

#[test]
fn a_panic_that_is_contained_or_in_another_thread_or_in_the_logger_does_not_end_the_daemon() {
    for (place, logged) in [
        ("contained", "ERRO panic caught"),
        ("thread", "CRIT panicked"),
        ("logger", "ERRO panic caught"),
    ] {
        let mut daemon = start(place);
        until("the panic is logged with its location", || {
            let log = daemon.log();
            log.lines().any(|line| line.contains(logged) && line.contains(PLACE)).then_some(())
        });
        for _time in 0..3 {
            let mut client: LineClient = daemon.client();
            assert_eq!(client.ask("word"), "word", "{place}");
        }
        let parent = daemon.parent();
        assert_eq!(daemon.stop()[&parent], "code 0", "{place}: {}", daemon.log());
    }
}

#[test]
fn a_panic_in_a_destructor_of_a_request_ends_the_daemon_with_an_error() {
    let mut daemon = start("drop");
    let parent = daemon.launcher();
    let mut clients: Vec<_> = (0..3).map(|_| daemon.client()).collect();
    for client in &mut clients {
        // The actor may panic before the last child serves.
        let _ = client.try_ask("word");
    }
    drop(clients);
    assert_eq!(daemon.wait_until_gone()[&parent], "code 1");
    let log = daemon.log();
    assert!(log.contains("CRIT panicked") && log.contains(PLACE), "{log}");
    assert!(log.contains("CRIT daemon lost, ending"), "{log}");
}
