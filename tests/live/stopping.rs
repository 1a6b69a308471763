//! Tests how a daemon stops: it completes running and queued requests, and leaves no process.

use std::time::{Duration, Instant};

use crate::harness::{
    ControlClient, DaemonProcess, Process, Signal, TestProgram, is_refused, run_clients, until,
};

fn both_models(options: &str) -> [DaemonProcess; 2] {
    [TestProgram::pool(), TestProgram::postfork()]
        .map(|start| start.logged().options(options).start())
}

fn request_stop(daemon: &DaemonProcess, signal: Signal) -> Process {
    let parent = daemon.parent();
    assert!(parent.signal(signal));
    daemon.wait_for_log("daemon stopping");
    parent
}

#[test]
fn a_running_request_is_completed_before_the_daemon_stops() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        for mut daemon in both_models("start=2 max=4") {
            let mut client = daemon.client();
            let child = client.pid();
            let parent = request_stop(&daemon, signal);
            until("the child is notified", || {
                let line =
                    format!("received: DaemonShutdown Stopping, role: child, pid: {}", child.0);
                daemon.log().contains(&line).then_some(())
            });
            assert_eq!(client.ask("echo still here"), "still here");
            assert_eq!(client.ask("done"), "ok");
            assert_eq!(daemon.wait_until_gone()[&parent], "code 0");
        }
    }
}

#[test]
fn a_running_request_is_completed_before_its_child_retires() {
    for daemon in both_models("start=2 max=4") {
        let mut client = daemon.client();
        let child = client.pid();
        assert!(child.signal(Signal::SIGTERM));
        until("the child is notified", || {
            let line = format!("received: DaemonShutdown Retired, role: child, pid: {}", child.0);
            daemon.log().contains(&line).then_some(())
        });
        assert_eq!(client.ask("echo still here"), "still here");
        assert_eq!(client.pid(), child);
        assert_eq!(client.ask("done"), "ok");
        until("the child is gone", || (!child.is_alive()).then_some(()));
    }
}

#[test]
fn serve_completes_a_running_request_before_the_daemon_stops() {
    let mut daemon = TestProgram::example("short_way").start();
    let mut client = daemon.client();
    assert_eq!(client.ask("one"), "one");
    request_stop(&daemon, Signal::SIGTERM);
    assert_eq!(client.ask("two"), "two");
    drop(client);
    daemon.wait_until_gone();
}

#[test]
fn a_request_that_arrives_together_with_term_is_served() {
    let daemon = TestProgram::pool().options("start=2 min=1 max=6").start();
    for _round in 0..5 {
        let children = daemon.children();
        for child in &children {
            child.signal(Signal::SIGSTOP);
        }
        let mut clients = [daemon.client(), daemon.client(), daemon.client()];
        for client in &mut clients {
            client.send("echo served\n").unwrap();
        }
        // When a child continues, a connection and TERM are both waiting for it.
        for child in &children {
            child.signal(Signal::SIGTERM);
            child.signal(Signal::SIGCONT);
        }
        for client in &mut clients {
            assert_eq!(client.read().unwrap(), "served");
            assert_eq!(client.ask("done"), "ok");
        }
    }
}

#[test]
fn queued_clients_are_served_before_the_daemon_stops() {
    for mut daemon in both_models("start=2 min=0 max=2") {
        let mut busy = [daemon.client(), daemon.client()];
        for client in &mut busy {
            client.pid();
        }
        let mut queued: Vec<_> = (0..12).map(|_client| daemon.client()).collect();
        for (number, client) in queued.iter_mut().enumerate() {
            client.send(&format!("echo {number}\ndone\n")).unwrap();
        }
        request_stop(&daemon, Signal::SIGTERM);
        for client in &mut busy {
            assert_eq!(client.ask("done"), "ok");
        }
        for (number, client) in queued.iter_mut().enumerate() {
            assert_eq!(client.read().unwrap(), number.to_string());
            assert_eq!(client.rest(), "ok\n");
        }
        daemon.wait_until_gone();
    }
}

#[test]
fn serve_handles_queued_clients_before_the_daemon_stops() {
    let mut daemon = TestProgram::example("short_way").start();
    // When the daemon is ready, the parent and the children handle signals. The test then stops the
    // children, so that the connections wait in the listener's queue.
    daemon.wait_for_log("daemon ready");
    let children = daemon.wait_for_children(4);
    for child in &children {
        child.signal(Signal::SIGSTOP);
    }
    let mut queued: Vec<_> = (0..12).map(|_client| daemon.client()).collect();
    for client in &mut queued {
        client.send("hello\n").unwrap();
    }
    request_stop(&daemon, Signal::SIGTERM);
    for child in &children {
        child.signal(Signal::SIGCONT);
    }
    for mut client in queued {
        assert_eq!(client.read().unwrap(), "hello");
    }
    daemon.wait_until_gone();
}

#[test]
fn a_graceful_stop_logs_no_warning_error_or_signal() {
    for mut daemon in both_models("start=3 max=4") {
        let mut client = daemon.client();
        client.pid();
        assert_eq!(client.ask("done"), "ok");
        daemon.stop();
        let log = daemon.log();
        for trouble in ["WARN", "ERRO", "CRIT", "panic", "signal"] {
            assert!(!log.contains(trouble), "{trouble}: {log}");
        }
    }
}

#[test]
fn a_second_stop_signal_stops_the_daemon_immediately() {
    for mut daemon in both_models("start=2 max=4") {
        let mut client = daemon.client();
        client.pid();
        let parent = request_stop(&daemon, Signal::SIGTERM);
        let begun = Instant::now();
        assert!(parent.signal(Signal::SIGINT));
        daemon.wait_until_gone();
        assert_eq!(client.rest(), "");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}

#[test]
fn sigquit_stops_the_daemon_immediately() {
    for mut daemon in both_models("start=2 max=4") {
        let mut client = daemon.client();
        client.pid();
        let parent = request_stop(&daemon, Signal::SIGQUIT);
        assert_eq!(daemon.wait_until_gone()[&parent], "code 0");
        assert_eq!(client.rest(), "");
    }
}

#[test]
fn the_port_refuses_connections_while_a_stopping_daemon_completes_a_request() {
    for mut daemon in both_models("start=2 max=4") {
        let mut client = daemon.client();
        client.pid();
        request_stop(&daemon, Signal::SIGTERM);
        until("the port refuses connections", || is_refused(daemon.port()).then_some(()));
        assert_eq!(client.ask("echo still here"), "still here");
        assert_eq!(client.ask("done"), "ok");
        daemon.wait_until_gone();
    }
}

#[test]
fn the_port_refuses_connections_while_serve_completes_a_request_of_a_stopping_daemon() {
    let mut daemon = TestProgram::serve().logged().options("start=1 min=0 max=1").start();
    let mut client = daemon.client();
    assert_eq!(client.ask("first"), "first");
    request_stop(&daemon, Signal::SIGTERM);
    until("the port refuses connections", || is_refused(daemon.port()).then_some(()));
    assert_eq!(client.ask("still here"), "still here");
    drop(client);
    daemon.wait_until_gone();
}

#[test]
fn the_port_of_an_idle_pool_refuses_connections_before_its_parent_exits() {
    let mut daemon = TestProgram::pool().logged().options("start=3 max=4").start();
    let foreign = daemon.ask("foreign trap '' TERM; while :; do sleep 0.1; done");
    let foreign = Process(foreign.parse().unwrap());
    until("the foreign child has set its trap", || foreign.children().first().copied());
    let parent = request_stop(&daemon, Signal::SIGTERM);
    until("the port refuses connections", || is_refused(daemon.port()).then_some(()));
    assert!(parent.is_alive());
    foreign.signal(Signal::SIGKILL);
    assert_eq!(daemon.wait_until_gone()[&parent], "code 0");
}

#[test]
fn the_port_is_free_for_a_restart_right_after_a_burst_of_clients() {
    for start in [TestProgram::pool, TestProgram::postfork] {
        let mut daemon = start().options("start=4 max=8").start();
        let port = daemon.port();
        for _round in 0..3 {
            run_clients(20, |_client| daemon.client().pid());
            daemon.stop();
            daemon = start().options(&format!("start=4 max=8 port={port}")).start();
        }
        assert_eq!(daemon.client().ask("echo again"), "again");
    }
}

#[test]
fn a_child_stopped_by_sigstop_is_killed_after_the_grace_period() {
    for mut daemon in both_models("start=2 max=4 grace=300") {
        let mut client = daemon.client();
        let child = client.pid();
        assert!(child.signal(Signal::SIGSTOP));
        let begun = Instant::now();
        let parent = request_stop(&daemon, Signal::SIGTERM);
        assert_eq!(daemon.wait_until_gone()[&parent], "code 0");
        assert!(begun.elapsed() >= Duration::from_millis(300));
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}

#[test]
fn a_child_that_does_not_exit_is_killed_after_the_grace_period() {
    for mut daemon in both_models("start=2 max=4 grace=300") {
        let mut client = daemon.client();
        client.send("wait_for /no/such/file\n").unwrap();
        until("a child is busy", || daemon.report()["board"].as_str()?.contains('r').then_some(()));
        request_stop(&daemon, Signal::SIGTERM);
        daemon.wait_for_log("grace period expired, killing children");
        daemon.wait_until_gone();
        assert_eq!(client.rest(), "");
    }
}

#[test]
fn a_daemon_stops_when_its_program_sends_shutdown() {
    for mut daemon in
        [TestProgram::pool(), TestProgram::postfork(), TestProgram::solo()].map(TestProgram::start)
    {
        let parent = daemon.parent();
        assert_eq!(daemon.ask("shutdown"), "Now");
        assert_eq!(daemon.wait_until_gone()[&parent], "code 0");
    }
}

#[test]
fn a_foreign_child_outlives_the_children_of_the_pool_but_not_the_daemon() {
    let mut daemon = TestProgram::pool().logged().options("start=1 min=1 max=4 requests=1").start();
    let foreign = Process(daemon.ask("foreign exec sleep 1000").parse().unwrap());
    for _worker in 0..3 {
        let mut client = daemon.client();
        let worker = client.pid();
        client.ask("done");
        until("the child has exited", || (!worker.is_alive()).then_some(()));
    }
    assert!(foreign.is_alive());
    daemon.stop();
    assert!(!foreign.is_alive());
}

#[test]
fn a_foreign_child_that_ignores_term_is_killed_after_the_grace_period() {
    let mut daemon = TestProgram::solo().options("grace=300").start();
    let command = "foreign trap '' TERM; while :; do sleep 1000; done";
    let foreign = Process(daemon.ask(command).parse().unwrap());
    // The shell sets its trap before it starts its own child.
    let slept = until("the foreign child sleeps", || foreign.children().first().copied());
    daemon.parent().signal(Signal::SIGTERM);
    until("the foreign child is killed", || (!foreign.is_alive()).then_some(()));
    // The daemon does not know the `sleep` process that the foreign child started, so the test
    // kills that process.
    slept.signal(Signal::SIGKILL);
    daemon.wait_until_gone();
}

#[test]
fn a_call_on_a_blocking_thread_that_does_not_return_does_not_hold_up_the_end() {
    stops_despite_a_stuck_call(TestProgram::pool());
}

#[cfg(target_os = "linux")]
#[test]
fn a_call_on_a_blocking_thread_that_does_not_return_does_not_hold_up_the_end_of_a_dispatcher() {
    stops_despite_a_stuck_call(TestProgram::dispatcher());
}

fn stops_despite_a_stuck_call(program: TestProgram) {
    let mut daemon = program.options("start=1 stuck_call").start();
    assert!(daemon.client().pid().is_alive());
    let parent = daemon.parent();
    assert_eq!(daemon.stop()[&parent], "code 0");
}

#[test]
fn a_fork_server_that_is_stopped_does_not_stop_the_parent() {
    let options = "start=2 min=2 max_spare=2 max=2 grace=1000 control=DIR/control";
    let mut daemon = TestProgram::pool().logged().options(options).start();
    let (parent, fork_server) = (daemon.parent(), daemon.fork_server());
    let child = daemon.children()[0];
    assert!(fork_server.signal(Signal::SIGSTOP));
    assert!(child.signal(Signal::SIGKILL));
    let mut control = ControlClient::at(&daemon.dir().join("control"));
    // More commands than the link to the fork server holds.
    for _ in 0..2000 {
        control.expect_done("reopen", "");
    }
    assert_eq!(daemon.report()["phase"], "running");
    assert_eq!(daemon.client().ask("echo on"), "on");
    assert_eq!(daemon.stop()[&parent], "code 1");
    assert!(daemon.log().contains("does not report the exits of its children"), "{}", daemon.log());
}
