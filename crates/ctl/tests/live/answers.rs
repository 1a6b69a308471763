//! What is asked, what is answered, and the exit code of everything that can go wrong.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use actix_daemon::control::protocol::{ControlErrorKind, ControlReply, ResponseBody};
use serde_json::{Value, json};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::fake::{Fake, done, fault, line, report, status};
use crate::run::{PATIENCE, Said, daemonctl, run, said};

fn ask(fake: &Fake, arguments: &[&str]) -> Said {
    let output = daemonctl().arg("--socket").arg(fake.socket()).args(arguments).output();
    said(&output.expect("it runs"))
}

#[test]
fn each_command_is_asked_for_by_its_name_and_its_answer_is_printed() {
    let fake = Fake::answering(done("all is well"));
    let commands: [(&[&str], Value); 10] = [
        (&["stop"], json!({"command": "stop", "now": false})),
        (&["stop", "--now"], json!({"command": "stop", "now": true})),
        (&["reopen"], json!({"command": "reopen"})),
        (&["reload"], json!({"command": "reload"})),
        (&["resize", "8"], json!({"command": "resize", "to": 8})),
        (&["resize", "0"], json!({"command": "resize", "to": 0})),
        (&["retire", "4711"], json!({"command": "retire", "pid": 4711})),
        (&["kill", "4711"], json!({"command": "kill", "pid": 4711})),
        (&["pause"], json!({"command": "pause"})),
        (&["resume"], json!({"command": "resume"})),
    ];
    for (arguments, mut asked) in commands {
        let said = ask(&fake, arguments);
        assert_eq!((said.code, said.out.as_str()), (0, "all is well\n"), "{said:?}");
        asked["version"] = json!(1);
        assert_eq!(fake.asked(), asked);
    }
}

#[test]
fn the_status_is_a_table_or_json_or_metrics() {
    let fake = Fake::answering(status(report()));
    let table = ask(&fake, &["status"]);
    assert_eq!(table.code, 0, "{table:?}");
    assert!(table.out.contains("4712") && table.out.contains("GET /"), "{table:?}");
    assert!(!table.out.contains('\x1b'), "no colours but on a terminal");
    let told = ask(&fake, &["status", "--json"]);
    let value: Value = serde_json::from_str(&told.out).expect("JSON");
    assert_eq!(value["children"][1]["label"], "GET /");
    assert_eq!(value["counters"]["exits"]["killed"], 1);
    let metrics = ask(&fake, &["status", "--metrics"]);
    assert!(metrics.out.contains("actix_daemon_forks_total{daemon=\"web\"} 5\n"), "{metrics:?}");
    assert!(metrics.out.ends_with("# EOF\n"));
    assert_eq!(ask(&fake, &["status", "--json", "--metrics"]).code, 2);
}

#[test]
fn the_inside_of_the_parent_and_the_evidence_are_printed_without_control_characters() {
    let text = "two sessions\n\x1b[2Jone timer\n".to_owned();
    let fake = Fake::answering(ResponseBody::Ok(ControlReply::Peek { text }));
    assert_eq!(ask(&fake, &["peek", "-v"]).out, "two sessions\n?[2Jone timer\n");
    assert_eq!(fake.asked(), json!({"version": 1, "command": "peek", "verbose": true}));

    let text = "it waits in poll".to_owned();
    let fake = Fake::answering(ResponseBody::Ok(ControlReply::Trace {
        text,
        evidence: json!({"wchan": 1}),
    }));
    assert_eq!(ask(&fake, &["trace", "4711"]).out, "it waits in poll\n");
    let evidence: Value =
        serde_json::from_str(&ask(&fake, &["trace", "4711", "--json"]).out).expect("JSON");
    assert_eq!(evidence, json!({"wchan": 1}));
}

#[test]
fn each_fault_has_its_exit_code_and_says_what_could_not_be_done() {
    let faults = [
        (ControlErrorKind::Malformed, 1),
        (ControlErrorKind::Refused, 1),
        (ControlErrorKind::Failed, 1),
        (ControlErrorKind::NoSuchChild, 3),
        (ControlErrorKind::Forbidden, 5),
        (ControlErrorKind::Version, 6),
    ];
    for (kind, code) in faults {
        let said = ask(&Fake::answering(fault(kind, "it is not so")), &["kill", "12"]);
        assert_eq!(said.code, code, "{kind:?}");
        assert_eq!(said.err, "daemonctl: cannot kill process 12: it is not so\n");
        assert_eq!(said.out, "");
    }
}

#[test]
fn a_fault_of_a_kind_that_a_later_daemon_has_is_a_failure_like_others() {
    let answer = r#"{"version":1,"error":{"kind":"tired","text":"it is late"}}"#;
    let said = ask(&Fake::saying(format!("{answer}\n")), &["reload"]);
    assert_eq!((said.code, said.err.as_str()), (1, "daemonctl: cannot reload: it is late\n"));
}

#[test]
fn a_refusal_is_heard_though_the_daemon_does_not_wait_for_the_question() {
    let forbidden = line(fault(ControlErrorKind::Forbidden, "user 1000 may not"));
    let fake = Fake::serving(move |mut client| {
        client.say(&forbidden);
    });
    let said = ask(&fake, &["stop"]);
    assert_eq!((said.code, said.err.contains("user 1000 may not")), (5, true), "{said:?}");
}

#[test]
fn a_daemon_of_another_version_is_told_from_ours_whatever_it_says() {
    for answer in [r#"{"version":7,"ok":{"reply":"unheard-of"}}"#, r#"{"version":7}"#] {
        let said = ask(&Fake::saying(format!("{answer}\n")), &["status"]);
        assert_eq!(said.code, 6, "{said:?}");
        assert!(said.err.contains("version 7") && said.err.contains("version 1"), "{said:?}");
    }
}

#[test]
fn what_is_no_answer_is_shown_as_far_as_it_goes() {
    let senseless: [&[u8]; 6] = [
        b"220 mail.example.org ESMTP\n",
        b"\xff\xfe\x00\x1b[2J\n",
        b"\n",
        b"{\"version\":1}\n",
        b"{\"version\":1,\"ok\":{\"reply\":\"listening\"}}\n",
        b"{\"version\":1,\"ok\":{\"re",
    ];
    for bytes in senseless {
        let said = ask(&Fake::saying(bytes), &["status"]);
        assert_eq!(said.code, 4, "{said:?}");
        assert!(said.err.contains("cannot get the status: what "), "{said:?}");
        assert!(!said.err.contains('\x1b'), "{said:?}");
    }
    let long = ask(&Fake::saying(format!("{}\n", "x".repeat(1 << 20))), &["status"]);
    assert!(long.code == 4 && long.err.len() < 400, "{}", long.err.len());
}

#[test]
fn an_answer_may_come_in_pieces() {
    let bytes = line(status(report()));
    let fake = Fake::serving(move |mut client| {
        let asked = client.asked();
        for piece in bytes.chunks(7).filter(|_| asked.is_some()) {
            client.say(piece);
            std::thread::yield_now();
        }
        client.be_silent();
    });
    assert_eq!(ask(&fake, &["status"]).code, 0);
}

#[test]
fn a_large_answer_is_read_to_its_end() {
    let mut large = report();
    let child = large.children[1].clone();
    for slot in 2..20_000 {
        let mut child = child.clone();
        child.slot = daemon_core::SlotNumber::new(slot);
        large.children.push(child);
    }
    let said = ask(&Fake::answering(status(large)), &["--timeout", "60", "status"]);
    assert_eq!(said.out.lines().filter(|line| line.ends_with("GET /")).count(), 19_999);
}

#[test]
fn silence_is_no_answer_after_the_timeout() {
    let silent = Fake::serving(|mut client| {
        client.asked();
        client.be_silent();
    });
    let half = Fake::serving(|mut client| {
        client.asked();
        client.say(b"{\"version\":1,");
        client.be_silent();
    });
    for fake in [silent, half] {
        let begun = Instant::now();
        let said = ask(&fake, &["--timeout", "0.2", "stop"]);
        assert!(begun.elapsed() >= Duration::from_millis(200));
        assert_eq!(said.code, 4);
        let why = "cannot stop the daemon: the daemon at ";
        assert!(said.err.contains(why) && said.err.contains("within 0.2 s"), "{said:?}");
    }
}

#[test]
fn an_answer_that_drips_for_ever_is_none_in_time() {
    let fake = Fake::serving(|mut client| {
        client.asked();
        while client.say(b" ") {
            std::thread::park_timeout(Duration::from_millis(20));
        }
    });
    let begun = Instant::now();
    assert_eq!(ask(&fake, &["--timeout", "0.3", "stop"]).code, 4);
    assert!(begun.elapsed() < PATIENCE);
}

#[test]
fn a_daemon_that_takes_no_connection_any_more_has_not_answered() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("socket");
    let address = SockAddr::unix(&path).expect("a short path");
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
    listener.bind(&address).expect("it binds");
    listener.listen(1).expect("it listens");
    let mut waiting = Vec::new();
    loop {
        let client = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        client.set_nonblocking(true).expect("it can be");
        if client.connect(&address).is_err() {
            break;
        }
        waiting.push(client);
        assert!(waiting.len() < 100, "the queue has no end");
    }
    let socket = path.to_str().expect("a name");
    let said = run(["--socket", socket, "--timeout", "0.2", "status"]);
    assert_eq!(said.code, 4);
    assert!(said.err.contains("has not answered within 0.2 s"), "{said:?}");
}

#[test]
fn a_daemon_that_closes_has_closed() {
    let said = ask(&Fake::serving(drop), &["reload"]);
    assert_eq!(said.code, 4, "{said:?}");
    assert!(said.err.contains("cannot reload: the daemon at "), "{said:?}");
    assert!(said.err.contains("has closed the connection"), "{said:?}");
}

#[test]
fn where_there_is_no_daemon_the_reason_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("socket");
    let socket = path.to_str().expect("a name");
    let said = run(["--socket", socket, "status"]);
    assert_eq!((said.code, said.err.contains("there is no such socket")), (4, true), "{said:?}");
    drop(UnixListener::bind(&path).expect("it binds"));
    let said = run(["--socket", socket, "status"]);
    assert_eq!((said.code, said.err.contains("nobody listens there")), (4, true), "{said:?}");
    assert!(said.err.contains(socket), "{said:?}");
    let said = run(["--socket", &"x".repeat(200), "status"]);
    assert_eq!((said.code, said.err.contains("cannot connect to xxx")), (4, true), "{said:?}");
}

#[test]
fn who_may_not_reach_the_socket_is_told_so() {
    const NOBODY: u32 = 65_534;
    let fake = Fake::answering(done("all is well"));
    // Root may do everything, so that another user tries; others shut themselves out.
    let elsewhere = tempfile::tempdir().expect("a directory");
    let program = elsewhere.path().join("daemonctl");
    fs::copy(env!("CARGO_BIN_EXE_daemonctl"), &program).expect("it can be copied");
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
    };
    mode(elsewhere.path(), 0o755);
    let root =
        fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    let mut command = Command::new(&program);
    command.arg("--socket").arg(fake.socket()).arg("stop");
    if root {
        mode(fake.directory(), 0o700);
        command.uid(NOBODY).gid(NOBODY);
    } else {
        mode(fake.directory(), 0o000);
    }
    let said = said(&command.output().expect("it runs"));
    mode(fake.directory(), 0o700);
    assert_eq!((said.code, said.err.contains("permission denied")), (5, true), "{said:?}");
}

#[test]
fn a_missing_socket_is_a_usage_error_that_says_how_to_name_one() {
    for arguments in [&["status"] as &[_], &["stop"], &["top"], &["events"]] {
        let said = run(arguments);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.err.contains("--socket PATH"), "{said:?}");
        assert!(said.err.contains("DAEMONCTL_SOCKET"), "{said:?}");
    }
    let said = run(["--board", "/nonexistent/board", "stop"]);
    assert_eq!((said.code, said.err.contains("needs the daemon itself")), (2, true), "{said:?}");
    let wrong: [&[&str]; 5] = [
        &["levitate"],
        &["resize", "-1"],
        &["kill"],
        &["--timeout", "never", "stop"],
        &["--timeout", "0", "stop"],
    ];
    for arguments in wrong {
        assert_eq!(run(arguments).code, 2, "{arguments:?}");
    }
}

#[test]
fn the_socket_may_be_named_by_the_environment() {
    let fake = Fake::answering(done("all is well"));
    let output = daemonctl().arg("reopen").env("DAEMONCTL_SOCKET", fake.socket()).output();
    assert_eq!(said(&output.expect("it runs")).out, "all is well\n");
}

#[test]
fn who_reads_no_further_is_not_told_of_an_error() {
    let fake = Fake::answering(status(report()));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = daemonctl();
    command.arg("--socket").arg(fake.socket()).arg("status").stdout(writer);
    let said = said(&command.stderr(Stdio::piped()).output().expect("it runs"));
    assert_eq!((said.code, said.err.as_str()), (0, ""));
}

#[test]
fn an_output_that_takes_nothing_is_an_error() {
    let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") else {
        let _ = writeln!(std::io::stderr(), "skipped: this system has no /dev/full");
        return;
    };
    let fake = Fake::answering(status(report()));
    let mut command = daemonctl();
    command.arg("--socket").arg(fake.socket()).arg("status").stdout(full);
    let said = said(&command.stderr(Stdio::piped()).output().expect("it runs"));
    assert_eq!(said.code, 1);
    assert!(said.err.contains("cannot write standard output"), "{said:?}");
}

#[test]
fn a_screen_needs_a_terminal() {
    let said = ask(&Fake::answering(status(report())), &["top"]);
    let why = "daemonctl: cannot show the screen: standard output is no terminal\n";
    assert_eq!((said.code, said.err.as_str(), said.out.as_str()), (1, why, ""));
}
