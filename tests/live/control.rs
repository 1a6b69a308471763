//! Tests the control socket: commands are carried out, unauthorised clients are refused with a
//! reason, and malformed lines, slow clients or many clients do not harm the daemon.

mod clients;
mod pausing;
mod socket;

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::PathBuf;

use crate::harness::{ControlClient, DaemonProcess, Process, Signal, TestProgram, until};

fn socket_path(daemon: &DaemonProcess) -> PathBuf {
    daemon.dir().join("control")
}

fn control(daemon: &DaemonProcess) -> ControlClient {
    ControlClient::at(&socket_path(daemon))
}

fn start_with_control(start: TestProgram, options: &str) -> DaemonProcess {
    start.logged().options("control=DIR/control").options(options).start()
}

fn pid(of: &serde_json::Value) -> Process {
    let pid = of["pid"].as_u64().expect("a number");
    Process(u32::try_from(pid).expect("a pid"))
}

#[test]
fn status_reports_the_resource_use_of_every_process() {
    let daemon = start_with_control(TestProgram::pool(), "start=2 min=0 max=4");
    let mut client = daemon.client();
    let busy = client.pid();
    let mut control = control(&daemon);
    let report = until("the status shows the busy child", || {
        let report = control.report();
        report["board"].as_str()?.contains('r').then_some(report)
    });
    assert_eq!(report["parent"], daemon.parent().0);
    assert_eq!(report["fork_server"], daemon.fork_server().0);
    assert_eq!(report["phase"], "running");
    assert_eq!(report["accepting"], "accepting");
    let children = report["children"].as_array().unwrap();
    assert_eq!(children.len(), 2, "{report}");
    assert!(children.iter().any(|child| pid(child) == busy && child["letter"] == "r"));
    for process in children.iter().chain(report["processes"].as_array().unwrap()) {
        assert!(process["rss"].as_u64().unwrap() > 100_000, "{process}");
        assert!(process["cpu"].is_number(), "{process}");
        assert!(process["pss"].as_u64().unwrap() <= process["rss"].as_u64().unwrap());
    }
    let roles: Vec<_> =
        report["processes"].as_array().unwrap().iter().map(|p| &p["role"]).collect();
    assert_eq!(roles, ["parent", "fork-server"]);
    // The counters include the requests of running children.
    assert_eq!(report["counters"]["requests"], 1, "{report}");
}

#[test]
fn peek_shows_the_daemons_internals() {
    let daemon = start_with_control(TestProgram::pool(), "start=1 min=0 max=2");
    let mut control = control(&daemon);
    let brief = control.ask("peek", "");
    assert!(brief["ok"]["text"].as_str().unwrap().contains("session 1 (pool)"), "{brief}");
    let verbose = control.ask("peek", r#""verbose":true"#);
    let text = verbose["ok"]["text"].as_str().unwrap();
    for word in ["session 2 (broadcast_logger)", "Descriptors: ", "Threads: ", "Scoreboard"] {
        assert!(text.contains(word), "{word} in {text}");
    }
}

#[test]
fn the_stop_command_stops_the_daemon_which_removes_its_control_socket() {
    for start in [TestProgram::pool(), TestProgram::postfork(), TestProgram::solo()] {
        let mut daemon = start_with_control(start, "start=2 max=4");
        let socket = socket_path(&daemon);
        let file = fs::symlink_metadata(&socket).unwrap();
        assert!(file.file_type().is_socket());
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
        let parent = daemon.parent();
        assert_eq!(control(&daemon).expect_done("stop", ""), "the daemon is stopping");
        assert_eq!(daemon.wait_until_gone()[&parent], "code 0");
        assert!(!socket.exists());
    }
}

#[test]
fn an_immediate_stop_does_not_wait_for_requests() {
    let mut daemon = start_with_control(TestProgram::pool(), "start=2 max=4");
    let mut client = daemon.client();
    client.pid();
    control(&daemon).expect_done("stop", r#""now":true"#);
    daemon.wait_until_gone();
    assert_eq!(client.rest(), "");
}

#[test]
fn the_reopen_command_reopens_the_log_in_all_processes() {
    let daemon = start_with_control(TestProgram::pool(), "start=2 min=1 max=4");
    let (log, old) = (daemon.logfile(), daemon.dir().join("old.log"));
    fs::rename(&log, &old).unwrap();
    assert_eq!(control(&daemon).expect_done("reopen", ""), "the logs were reopened");
    until("all processes have opened the new log", || {
        let has_new = |process: &Process| {
            let open = process.descriptors();
            open.values().any(|path| *path == log) && !open.values().any(|path| *path == old)
        };
        daemon.processes().iter().all(has_new).then_some(())
    });
}

#[test]
fn a_pool_can_be_resized_and_reloaded_but_a_post_forking_daemon_can_only_be_resized() {
    let pool = start_with_control(TestProgram::pool(), "start=2 min=1 max_spare=2 max=6");
    let before = pool.wait_for_children(2);
    let mut operator = control(&pool);
    assert_eq!(
        operator.expect_done("resize", r#""to":4"#),
        "4 to 5 spare children now, at most 6 in all"
    );
    assert_eq!(operator.expect_error("resize", r#""to":100000"#).0, "refused");
    assert!(operator.expect_done("reload", "").ends_with("children are being replaced"));
    until("all children are new", || {
        let children = pool.children();
        (!children.is_empty() && children.iter().all(|child| !before.contains(child))).then_some(())
    });
    let each = start_with_control(TestProgram::postfork(), "max=3");
    let mut operator = control(&each);
    assert_eq!(operator.expect_done("resize", r#""to":2"#), "at most 2 children now");
    let (kind, text) = operator.expect_error("reload", "");
    assert_eq!(kind, "refused");
    assert!(text.contains("no pool"), "{text}");
}

#[test]
fn retire_waits_for_the_childs_request_and_kill_does_not() {
    for start in [TestProgram::pool(), TestProgram::postfork()] {
        let daemon = start_with_control(start, "start=2 min=1 max=4");
        let mut operator = control(&daemon);
        let (mut retired, mut killed) = (daemon.client(), daemon.client());
        let (first, second) = (retired.pid(), killed.pid());
        operator.expect_done("retire", &format!("\"pid\":{}", first.0));
        daemon.wait_for_log(&format!(
            "received: DaemonShutdown Retired, role: child, pid: {}",
            first.0
        ));
        assert_eq!(retired.ask("echo still here"), "still here");
        assert_eq!(retired.ask("done"), "ok");
        operator.expect_done("kill", &format!("\"pid\":{}", second.0));
        assert_eq!(killed.rest(), "");
        let line = daemon.wait_for_log(&format!("received: ChildExited {}", second.0));
        assert!(line.contains("killed on request"), "{line}");
        until("both children are gone", || (!first.is_alive() && !second.is_alive()).then_some(()));
        let no_child = format!("\"pid\":{}", daemon.parent().0);
        for command in ["retire", "kill"] {
            assert_eq!(operator.expect_error(command, &no_child).0, "no-such-child");
        }
        let exits = operator.report()["counters"]["exits"].clone();
        assert_eq!(exits["killed-on-request"], 1, "{exits}");
    }
}

#[test]
fn status_lists_the_exit_causes_of_a_slots_last_children() {
    let daemon = start_with_control(TestProgram::pool(), "start=1 min=1 max_spare=1 max=1");
    let mut operator = control(&daemon);
    for _killed in 0..2 {
        let child = daemon.wait_for_children(1)[0];
        operator.expect_done("kill", &format!("\"pid\":{}", child.0));
        until("the killed child is gone", || (!child.is_alive()).then_some(()));
    }
    until("the status lists both exit causes", || {
        let report = operator.report();
        let causes = report["children"][0]["causes"].as_array()?.len();
        (causes == 2).then_some(())
    });
}

#[test]
fn a_daemon_without_children_refuses_commands_about_children() {
    let daemon = start_with_control(TestProgram::solo(), "");
    let mut operator = control(&daemon);
    let (kind, text) = operator.expect_error("trace", "\"pid\":1");
    assert_eq!(kind, "refused");
    assert_eq!(text, "cannot trace process 1: the daemon has no children, or has stopped");
    let (kind, text) = operator.expect_error("pause", "");
    assert_eq!(
        (kind.as_str(), text.as_str()),
        ("refused", "cannot pause: the daemon has no children")
    );
}

#[test]
fn events_report_starts_exits_pauses_and_phases() {
    let mut daemon = start_with_control(TestProgram::postfork(), "max=1");
    let mut events = control(&daemon);
    assert_eq!(events.ask("events", "")["ok"]["reply"], "listening");
    events.wait_for_event("a phase is reported", |event| event["event"] == "phase");
    let mut client = daemon.client();
    let child = client.pid();
    let forked = events.wait_for_event("a start is reported", |event| event["event"] == "forked");
    assert_eq!((pid(&forked), &forked["slot"]), (child, &0.into()));
    drop(client);
    let gone = events.wait_for_event("an exit is reported", |event| event["event"] == "exited");
    assert_eq!(pid(&gone), child);
    assert_eq!((&gone["cause"], &gone["text"]), (&"done".into(), &"request completed".into()));
    assert!(gone["lifetime"].as_f64().unwrap() > 0.0);
    let mut operator = control(&daemon);
    operator.expect_done("pause", "");
    events.wait_for_event("the state paused is reported", |event| event["state"] == "paused");
    events.wait_for_event("the operator's pause is reported", |event| {
        event["event"] == "operator-pause"
    });
    operator.expect_done("resume", "");
    events.wait_for_event("the state accepting is reported", |event| event["state"] == "accepting");
    operator.expect_done("stop", "");
    events.wait_for_event("the phase stopping is reported", |event| event["phase"] == "stopping");
    daemon.wait_until_gone();
}

#[test]
fn event_subscribers_receive_each_exit_and_the_end_of_the_daemon() {
    for _time in 0..5 {
        let mut daemon = start_with_control(TestProgram::pool(), "start=3 min=1 max=4");
        let mut events = control(&daemon);
        events.ask("events", "");
        daemon.wait_for_children(3);
        control(&daemon).expect_done("stop", "");
        for _child in 0..3 {
            events.wait_for_event("an exit is reported", |event| event["event"] == "exited");
        }
        events.wait_for_event("the phase stopped is reported", |event| event["phase"] == "stopped");
        events.expect_closed();
        daemon.wait_until_gone();
    }
}

#[test]
fn a_daemon_is_stopping_until_the_children_of_its_lost_fork_server_are_gone() {
    let mut daemon = start_with_control(TestProgram::pool(), "start=1 max=1");
    let mut events = control(&daemon);
    events.ask("events", "");
    let mut client = daemon.client();
    client.pid();
    assert!(daemon.fork_server().signal(Signal::SIGKILL));
    let phase = |event: &serde_json::Value| event["event"] == "phase";
    events.wait_for_event("the daemon runs", |event| event["phase"] == "running");
    assert_eq!(events.wait_for_event("the phase changes", phase)["phase"], "stopping");
    assert_eq!(client.ask("echo still served"), "still served");
    assert_eq!(control(&daemon).report()["phase"], "stopping");
    assert_eq!(client.ask("done"), "ok");
    assert_eq!(events.wait_for_event("the phase changes", phase)["phase"], "stopped");
    daemon.wait_until_gone();
}

#[test]
fn the_control_socket_answers_while_a_child_delays_the_shutdown_and_while_children_fail_to_start() {
    let mut daemon = start_with_control(
        TestProgram::pool(),
        "start=2 min=1 max=4 exit_at_start_while=DIR/exit_at_start",
    );
    let mut events = control(&daemon);
    events.ask("events", "");
    fs::write(daemon.dir().join("exit_at_start"), "").unwrap();
    let mut operator = control(&daemon);
    for child in daemon.wait_for_children(2) {
        operator.expect_done("kill", &format!("\"pid\":{}", child.0));
    }
    events.wait_for_event("an exit at start is reported", |event| {
        event["cause"]["failed-to-boot"]["code"] == 7
    });
    daemon.wait_for_log("fork backoff");
    assert_eq!(operator.report()["phase"], "running");
    fs::remove_file(daemon.dir().join("exit_at_start")).unwrap();
    let mut client = daemon.client();
    let busy = client.pid();
    operator.expect_done("stop", "");
    daemon.wait_for_log("daemon stopping");
    assert_eq!(control(&daemon).report()["phase"], "stopping");
    let refused = operator.expect_error("resize", r#""to":3"#);
    assert_eq!(refused.0, "refused");
    assert_eq!(operator.expect_done("stop", ""), "the daemon was stopping already");
    assert!(operator.ask("peek", "")["ok"]["text"].as_str().unwrap().contains("State: stopping"));
    operator.expect_done("kill", &format!("\"pid\":{}", busy.0));
    assert_eq!(client.rest(), "");
    daemon.wait_until_gone();
}

#[test]
fn a_child_can_be_traced_and_ladder_steps_are_reported_as_events() {
    let daemon = start_with_control(
        TestProgram::pool(),
        "start=2 min=0 max=2 babysit=100 request_timeout=300",
    );
    let mut events = control(&daemon);
    assert_eq!(events.ask("events", "")["ok"]["reply"], "listening");
    let mut client = daemon.client();
    let child = client.pid();
    let mut operator = control(&daemon);
    let trace = operator.ask("trace", &format!("\"pid\":{}", child.0));
    let reply = &trace["ok"];
    assert_eq!((&reply["reply"], &reply["evidence"]["pid"]), (&"trace".into(), &child.0.into()));
    assert!(reply["text"].as_str().unwrap().contains("backtrace"), "{trace}");
    assert!(reply["evidence"]["backtrace"]["frames"].is_array(), "{trace}");
    assert_eq!(operator.expect_error("trace", "\"pid\":1").0, "no-such-child");
    let step =
        events.wait_for_event("a ladder step is reported", |event| event["event"] == "rogue");
    assert_eq!((pid(&step), &step["step"]), (child, &"int".into()));
    assert_eq!(step["text"], "request timeout exceeded");
    drop(client);
    let gone = events.wait_for_event("an exit is reported", |event| event["event"] == "exited");
    assert_eq!(gone["cause"]["killed-by-daemon"]["rogue"], "time");
}

#[test]
fn a_daemon_without_children_answers_an_immediate_stop_before_it_exits() {
    for _time in 0..5 {
        let mut daemon = start_with_control(TestProgram::solo(), "");
        let mut operator = control(&daemon);
        assert_eq!(
            operator.expect_done("stop", "\"now\":true"),
            "the daemon is stopping immediately"
        );
        daemon.wait_until_gone();
    }
}
