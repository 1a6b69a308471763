//! The control socket: what is asked there is done, whoever may not ask is told so, and nobody who
//! asks badly, slowly or in numbers harms the daemon.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::unistd::{Uid, User};

use crate::harness::{Client, Control, Daemon, Process, Start, crowd, fault, until};

fn place(daemon: &Daemon) -> PathBuf {
    daemon.dir().join("control")
}

fn control(daemon: &Daemon) -> Control {
    Control::at(&place(daemon))
}

fn up(start: Start, options: &str) -> Daemon {
    start.logged().options("control=DIR/control").options(options).up()
}

fn pid(of: &serde_json::Value) -> Process {
    let pid = of["pid"].as_u64().expect("a number");
    Process(u32::try_from(pid).expect("a pid"))
}

#[test]
fn the_status_tells_of_every_process_what_it_uses() {
    let daemon = up(Start::pool(), "start=2 min=0 max=4");
    let mut client = daemon.client();
    let busy = client.pid();
    let mut control = control(&daemon);
    let report = until("the busy child shows", || {
        let report = control.report();
        report["board"].as_str()?.contains('r').then_some(report)
    });
    assert_eq!(report["parent"], daemon.parent().0);
    assert_eq!(report["nursery"], daemon.nursery().0);
    assert_eq!(report["phase"], "running");
    assert_eq!(report["door"], "open");
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
    assert_eq!(roles, ["parent", "nursery"]);
}

#[test]
fn a_peek_shows_the_inside() {
    let daemon = up(Start::pool(), "start=1 min=0 max=2");
    let mut control = control(&daemon);
    let brief = control.ask("peek", "");
    assert!(brief["ok"]["text"].as_str().unwrap().contains("session 1 (Daemon)"), "{brief}");
    let verbose = control.ask("peek", r#""verbose":true"#);
    let text = verbose["ok"]["text"].as_str().unwrap();
    for word in ["session 2 (herald)", "Descriptors: ", "Threads: ", "Scoreboard", "Mailboxes: "] {
        assert!(text.contains(word), "{word} in {text}");
    }
}

#[test]
fn a_stop_is_begun_and_the_socket_is_gone_after_the_end() {
    for start in [Start::pool(), Start::each(), Start::solo()] {
        let mut daemon = up(start, "start=2 max=4");
        let socket = place(&daemon);
        let file = fs::symlink_metadata(&socket).unwrap();
        assert!(file.file_type().is_socket());
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
        let parent = daemon.parent();
        assert_eq!(control(&daemon).done("stop", ""), "the daemon is stopping");
        assert_eq!(daemon.ended()[&parent], "code 0");
        assert!(!socket.exists());
    }
}

#[test]
fn a_stop_at_once_does_not_wait() {
    let mut daemon = up(Start::pool(), "start=2 max=4");
    let mut client = daemon.client();
    client.pid();
    control(&daemon).done("stop", r#""now":true"#);
    daemon.ended();
    assert_eq!(client.rest(), "");
}

#[test]
fn the_logs_are_reopened() {
    let daemon = up(Start::pool(), "start=2 min=1 max=4");
    let (log, old) = (daemon.logfile(), daemon.dir().join("old.log"));
    fs::rename(&log, &old).unwrap();
    assert_eq!(control(&daemon).done("reopen", ""), "the logs are reopened");
    until("all processes have the new log", || {
        let has_new = |process: &Process| {
            let open = process.descriptors();
            open.values().any(|path| *path == log) && !open.values().any(|path| *path == old)
        };
        daemon.family().iter().all(has_new).then_some(())
    });
}

#[test]
fn a_pool_is_resized_and_reloaded_and_a_forking_daemon_says_that_it_has_none() {
    let pool = up(Start::pool(), "start=2 min=1 max_spare=2 max=6");
    let before = pool.until_children(2);
    let mut operator = control(&pool);
    assert_eq!(operator.done("resize", r#""to":4"#), "4 to 5 spare children now, at most 6 in all");
    assert_eq!(operator.refused("resize", r#""to":100000"#).0, "refused");
    assert!(operator.done("reload", "").ends_with("children are being replaced"));
    until("all children are new", || {
        let children = pool.children();
        (!children.is_empty() && children.iter().all(|child| !before.contains(child))).then_some(())
    });
    let each = up(Start::each(), "max=3");
    let mut operator = control(&each);
    assert_eq!(operator.done("resize", r#""to":2"#), "at most 2 children now");
    let (kind, text) = operator.refused("reload", "");
    assert_eq!(kind, "refused");
    assert!(text.contains("no pool"), "{text}");
}

#[test]
fn a_child_is_retired_after_its_request_and_another_killed_in_it() {
    for start in [Start::pool(), Start::each()] {
        let daemon = up(start, "start=2 min=1 max=4");
        let mut operator = control(&daemon);
        let (mut retired, mut killed) = (daemon.client(), daemon.client());
        let (first, second) = (retired.pid(), killed.pid());
        operator.done("retire", &format!("\"pid\":{}", first.0));
        daemon
            .until_logged(&format!("told: DaemonShutdown Retired, role: child, pid: {}", first.0));
        assert_eq!(retired.ask("echo still here"), "still here");
        assert_eq!(retired.ask("done"), "ok");
        operator.done("kill", &format!("\"pid\":{}", second.0));
        assert_eq!(killed.rest(), "");
        let told = daemon.until_logged(&format!("told: ChildExited {}", second.0));
        assert!(told.contains("killed by the operator"), "{told}");
        until("both are gone", || (!first.is_alive() && !second.is_alive()).then_some(()));
        let nobody = format!("\"pid\":{}", daemon.parent().0);
        for command in ["retire", "kill"] {
            assert_eq!(operator.refused(command, &nobody).0, "no-such-child");
        }
        let exits = operator.report()["counters"]["exits"].clone();
        assert_eq!(exits["killed-asked"], 1, "{exits}");
    }
}

#[test]
fn the_causes_of_a_slot_s_last_owners_are_told() {
    let daemon = up(Start::pool(), "start=1 min=1 max_spare=1 max=1");
    let mut operator = control(&daemon);
    for _killed in 0..2 {
        let child = daemon.until_children(1)[0];
        operator.done("kill", &format!("\"pid\":{}", child.0));
        until("it is gone", || (!child.is_alive()).then_some(()));
    }
    until("both causes are told", || {
        let report = operator.report();
        let causes = report["children"][0]["causes"].as_array()?.len();
        (causes == 2).then_some(())
    });
}

#[test]
fn what_a_daemon_without_children_cannot_do_is_refused() {
    let daemon = up(Start::solo(), "");
    let mut operator = control(&daemon);
    let (kind, text) = operator.refused("trace", "\"pid\":1");
    assert_eq!(kind, "refused");
    assert_eq!(text, "cannot trace process 1: there is nobody who watches over children");
    let (kind, text) = operator.refused("pause", "");
    assert_eq!(
        (kind.as_str(), text.as_str()),
        ("refused", "cannot pause: the daemon has no children")
    );
}

/// Whether a client that comes now is served: it waits in the listener's queue otherwise.
fn begin_to_ask(daemon: &Daemon) -> Client {
    let mut client = daemon.client();
    client.send("echo served\n").unwrap();
    client
}

#[test]
fn while_a_daemon_is_paused_connections_wait_and_then_they_are_served() {
    for start in [Start::pool(), Start::short(), Start::each()] {
        let daemon = start.logged().options("control=DIR/control start=3 min=1 max=4").begun();
        until("the socket is there", || place(&daemon).exists().then_some(()));
        let mut operator = control(&daemon);
        until("it runs", || (operator.report()["phase"] == "running").then_some(()));
        let mut begun = begin_to_ask(&daemon);
        begun.read().unwrap();
        assert_eq!(operator.done("pause", ""), "paused: no more requests are taken");
        assert_eq!(operator.done("pause", ""), "was paused already");
        assert_eq!(operator.report()["door"], "shut");
        // What was begun goes on.
        begun.send("echo on\n").unwrap();
        assert!(begun.read().unwrap().contains("on"));
        drop(begun);
        // The children have heard of it when they have had their turn at a signal.
        until("a client that comes has to wait", || {
            let mut client = begin_to_ask(&daemon);
            (!client.is_answered_within(Duration::from_millis(250))).then_some(())
        });
        let mut waiting = begin_to_ask(&daemon);
        assert!(!waiting.is_answered_within(Duration::from_millis(250)));
        assert_eq!(operator.done("resume", ""), "resumed: requests are taken again");
        assert!(waiting.read().unwrap().contains("served"));
        assert_eq!(operator.done("resume", ""), "was not paused");
        assert_eq!(operator.report()["door"], "open");
    }
}

#[test]
fn who_waits_at_a_paused_daemon_is_served_when_it_stops() {
    for start in [Start::pool(), Start::each()] {
        let mut daemon = up(start, "start=2 min=1 max=4");
        let mut operator = control(&daemon);
        operator.done("pause", "");
        until("a client that comes has to wait", || {
            let mut client = begin_to_ask(&daemon);
            (!client.is_answered_within(Duration::from_millis(250))).then_some(())
        });
        let mut waiting = begin_to_ask(&daemon);
        waiting.send("done\n").unwrap();
        operator.done("stop", "");
        assert_eq!(waiting.read().unwrap(), "served");
        daemon.ended();
    }
}

#[test]
fn a_child_that_is_born_while_the_pool_is_paused_waits_too() {
    let daemon = up(Start::pool(), "start=1 min=1 max_spare=1 max=1");
    let mut operator = control(&daemon);
    operator.done("pause", "");
    let child = daemon.until_children(1)[0];
    operator.done("kill", &format!("\"pid\":{}", child.0));
    until("another child is ready", || {
        let report = operator.report();
        let next = &report["children"][0];
        (next["letter"] == "." && next["pid"] != child.0).then_some(())
    });
    let mut waiting = begin_to_ask(&daemon);
    assert!(!waiting.is_answered_within(Duration::from_millis(250)));
    operator.done("resume", "");
    assert_eq!(waiting.read().unwrap(), "served");
}

#[test]
fn events_tell_births_departures_the_door_and_the_phase() {
    let mut daemon = up(Start::each(), "max=1");
    let mut events = control(&daemon);
    assert_eq!(events.ask("events", "")["ok"]["reply"], "listening");
    events.event("the phase is told", |event| event["event"] == "phase");
    let mut client = daemon.client();
    let child = client.pid();
    let born = events.event("a birth", |event| event["event"] == "born");
    assert_eq!((pid(&born), &born["slot"]), (child, &0.into()));
    drop(client);
    let gone = events.event("a departure", |event| event["event"] == "gone");
    assert_eq!(pid(&gone), child);
    assert_eq!((&gone["cause"], &gone["text"]), (&"done".into(), &"request done".into()));
    assert!(gone["lived"].as_f64().unwrap() > 0.0);
    let mut operator = control(&daemon);
    operator.done("pause", "");
    events.event("the door is shut", |event| event["state"] == "shut");
    operator.done("resume", "");
    events.event("the door is open", |event| event["state"] == "open");
    operator.done("stop", "");
    events.event("it stops", |event| event["phase"] == "stopping");
    daemon.ended();
}

#[test]
fn garbage_is_answered_and_harms_nobody() {
    let daemon = up(Start::pool(), "start=1 min=0 max=2");
    let mut client = control(&daemon);
    for garbage in ["\n", "hello\n", "{\"version\":1}\n", "\u{0}\u{1}\u{2}\n", "[[[[[[\n"] {
        client.send(garbage).unwrap();
        assert_eq!(fault(&client.read().unwrap()).0, "malformed", "{garbage:?}");
    }
    client.send("{\"version\":99,\"command\":\"status\"}\n").unwrap();
    let (kind, text) = fault(&client.read().unwrap());
    assert_eq!(kind, "version");
    assert!(text.contains("version 1") && text.contains("version 99"), "{text}");
    assert_eq!(client.report()["phase"], "running");
}

#[test]
fn half_a_line_waits_for_its_other_half() {
    let daemon = up(Start::pool(), "start=1 min=0 max=2");
    let mut slow = control(&daemon);
    for part in ["{\"version\":1,", "\"command\":", "\"stat"] {
        slow.send(part).unwrap();
        assert_eq!(control(&daemon).report()["phase"], "running");
    }
    slow.send("us\"}\n").unwrap();
    assert_eq!(slow.read().unwrap()["ok"]["reply"], "status");
    // One that leaves in the middle of a line.
    let mut gone = control(&daemon);
    gone.send("{\"version\":1,\"comm").unwrap();
    drop(gone);
    assert_eq!(control(&daemon).report()["phase"], "running");
}

#[test]
fn a_line_without_end_is_refused_and_closed() {
    let daemon = up(Start::pool(), "start=1 min=0 max=2");
    let mut client = control(&daemon);
    // It is closed before all of it is written.
    let _refused = client.send(&"x".repeat(1 << 20));
    let (kind, text) = fault(&client.read().unwrap());
    assert_eq!(kind, "malformed");
    assert!(text.contains("4096"), "{text}");
    client.is_closed();
    assert_eq!(control(&daemon).report()["phase"], "running");
}

#[test]
fn another_user_is_told_that_he_may_not() {
    if !Uid::effective().is_root() {
        skipped("only root can become another user");
        return;
    }
    let daemon = up(Start::pool(), "start=1 min=0 max=2");
    // The mode of the socket keeps him out; here somebody has changed it.
    for (path, mode) in [(daemon.dir().to_owned(), 0o755), (place(&daemon), 0o666)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let knock = daemon.dir().join("knock");
    fs::copy(env!("CARGO_BIN_EXE_knock"), &knock).unwrap();
    let nobody = User::from_name("nobody").unwrap().expect("there is a nobody");
    let said = Command::new(&knock)
        .arg(place(&daemon))
        .uid(nobody.uid.as_raw())
        .gid(nobody.gid.as_raw())
        .output()
        .unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    let (kind, text) = fault(&answer);
    assert_eq!(kind, "forbidden");
    assert!(text.contains(&nobody.uid.to_string()), "{text}");
}

#[test]
fn the_socket_belongs_to_the_user_whom_the_daemon_runs_as() {
    if !Uid::effective().is_root() {
        skipped("only root can drop privileges");
        return;
    }
    let nobody = User::from_name("nobody").unwrap().expect("there is a nobody");
    let start = Start::pool().logged().options("start=1 min=0 max=2 user=nobody");
    fs::set_permissions(start.dir(), fs::Permissions::from_mode(0o777)).unwrap();
    let mut daemon = start.options("control=DIR/control").up();
    let socket = place(&daemon);
    let file = fs::symlink_metadata(&socket).unwrap();
    assert_eq!((file.uid(), file.mode() & 0o777), (nobody.uid.as_raw(), 0o600));
    // Root may, too.
    control(&daemon).done("stop", "");
    daemon.ended();
    assert!(!socket.exists());
}

#[expect(clippy::print_stderr, reason = "it says that a test was not done")]
fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}

#[test]
fn a_hundred_clients_at_once_are_all_answered_and_too_many_are_told() {
    let daemon = up(Start::pool(), "start=2 min=0 max=4");
    crowd(100, |number| {
        let mut client = control(&daemon);
        assert_eq!(client.report()["phase"], "running");
        assert_eq!(client.ask("peek", "")["ok"]["reply"], "peek", "{number}");
    });
    // Those that have left are forgotten when the next comes.
    let mut most: Vec<Control> = Vec::new();
    until("128 are connected", || {
        let mut client = control(&daemon);
        let answer = client.ask("peek", "");
        if answer["ok"].is_object() {
            most.push(client);
            return None;
        }
        let (kind, text) = fault(&answer);
        assert_eq!(kind, "refused");
        (most.len() == 128 && text.contains("128 clients")).then_some(())
    });
    most.clear();
    until("there is room again", || {
        Some(()).filter(|()| control(&daemon).ask("peek", "")["ok"].is_object())
    });
}

#[test]
fn a_client_that_never_reads_misses_events_and_nobody_waits_for_it() {
    let daemon = up(Start::each(), "max=8 backlog=64");
    let mut deaf = control(&daemon);
    deaf.send("{\"version\":1,\"command\":\"events\"}\n").unwrap();
    crowd(8, |_client| {
        for _child in 0..150 {
            let mut client = daemon.client();
            client.pid();
        }
    });
    let mut operator = control(&daemon);
    until("all have gone", || {
        let report = operator.report();
        (report["counters"]["exits"]["done"] == 1200).then_some(())
    });
    let missed = deaf.event("some are missed", |event| event["event"] == "missed");
    assert!(missed["events"].as_u64().unwrap() > 0);
}

#[test]
fn it_answers_while_a_child_holds_up_the_end_and_while_the_pool_is_broken() {
    let mut daemon = up(Start::pool(), "start=2 min=1 max=4 stillborn_while=DIR/stillborn");
    let mut events = control(&daemon);
    events.ask("events", "");
    fs::write(daemon.dir().join("stillborn"), "").unwrap();
    let mut operator = control(&daemon);
    for child in daemon.until_children(2) {
        operator.done("kill", &format!("\"pid\":{}", child.0));
    }
    events.event("a child dies at birth", |event| event["cause"]["failed-to-boot"]["code"] == 7);
    daemon.until_logged("no child is forked for");
    assert_eq!(operator.report()["phase"], "running");
    fs::remove_file(daemon.dir().join("stillborn")).unwrap();
    let mut client = daemon.client();
    let busy = client.pid();
    operator.done("stop", "");
    daemon.until_logged("is stopping");
    assert_eq!(control(&daemon).report()["phase"], "stopping");
    let refused = operator.refused("resize", r#""to":3"#);
    assert_eq!(refused.0, "refused");
    assert_eq!(operator.done("stop", ""), "the daemon was stopping already");
    assert!(operator.ask("peek", "")["ok"]["text"].as_str().unwrap().contains("Stopping"));
    operator.done("kill", &format!("\"pid\":{}", busy.0));
    assert_eq!(client.rest(), "");
    daemon.ended();
}

#[test]
fn a_socket_that_a_dead_daemon_left_is_replaced() {
    let start = Start::pool().logged().options("control=DIR/control start=1 min=0 max=2");
    let socket = start.dir().join("control");
    drop(UnixListener::bind(&socket).unwrap());
    let daemon = start.up();
    assert_eq!(control(&daemon).report()["phase"], "running");
}

#[test]
fn where_a_daemon_answers_a_second_is_refused_and_the_first_goes_on() {
    let first = up(Start::pool(), "start=1 min=0 max=2");
    let second = Start::pool().options(&format!("control={}", place(&first).display())).fails();
    assert_eq!(second.status, "code 1");
    assert!(second.error.contains("somebody answers on socket"), "{}", second.error);
    assert_eq!(control(&first).report()["phase"], "running");
}

#[test]
fn what_is_no_socket_is_not_replaced() {
    let start = Start::pool().options("control=DIR/control");
    let file = tempfile::NamedTempFile::new().unwrap();
    let refused = start.options(&format!("control={}", file.path().display())).fails();
    assert_eq!(refused.status, "code 1");
    assert!(refused.error.contains("a file that is no socket stands there"), "{}", refused.error);
    assert!(file.path().exists());
}

/// The sockets that a process holds, as `/proc/PID/fd` names them.
fn sockets(process: Process) -> Vec<String> {
    let open = process.descriptors();
    open.values()
        .map(|path| path.display().to_string())
        .filter(|path| path.starts_with("socket:"))
        .collect()
}

#[test]
fn nobody_but_the_parent_holds_the_socket() {
    for start in [Start::pool(), Start::each()] {
        let daemon = up(start, "start=2 min=1 max=4");
        let mut client = daemon.client();
        client.pid();
        let _operator = control(&daemon);
        // `net/unix` names the inode of the listener by its place.
        let list = fs::read_to_string("/proc/net/unix").unwrap();
        let place = place(&daemon).display().to_string();
        let inode = list
            .lines()
            .filter(|line| line.ends_with(&place))
            .filter_map(|line| line.split_whitespace().nth(6).map(str::to_owned))
            .map(|inode| format!("socket:[{inode}]"))
            .collect::<Vec<_>>();
        assert!(!inode.is_empty(), "{place} in {list}");
        let holds = |process: Process| sockets(process).iter().any(|open| inode.contains(open));
        assert!(holds(daemon.parent()));
        let nursery = daemon.nursery();
        for process in std::iter::once(nursery).chain(nursery.children()) {
            assert!(!holds(process), "{} holds it", process.title());
        }
    }
}

#[test]
fn a_child_is_traced_and_steps_against_rogues_are_events() {
    let daemon = up(Start::pool(), "start=2 min=0 max=2 babysit=100 request_timeout=300");
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
    assert_eq!(operator.refused("trace", "\"pid\":1").0, "no-such-child");
    let step = events.event("a step", |event| event["event"] == "rogue");
    assert_eq!((pid(&step), &step["step"]), (child, &"int".into()));
    assert_eq!(step["text"], "a request that takes too long");
    drop(client);
    let gone = events.event("a departure", |event| event["event"] == "gone");
    assert_eq!(gone["cause"]["killed-by-us"]["rogue"], "time");
}

#[test]
fn a_stop_at_once_is_answered_before_a_daemon_without_children_is_gone() {
    for _time in 0..5 {
        let mut daemon = up(Start::solo(), "");
        let mut operator = control(&daemon);
        assert_eq!(operator.done("stop", "\"now\":true"), "the daemon is stopping");
        daemon.ended();
    }
}
