//! Tests of the commands that daemonctl sends, the answers that it prints, and its exit codes.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use daemon_protocol::{ControlErrorKind, ControlReply, ResponseBody};
use serde_json::{Value, json};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::fake::{FakeDaemon, done, fault, line, report, status};
use crate::run::{CommandOutput, PATIENCE, daemonctl, decoded, run};

fn run_with(fake: &FakeDaemon, arguments: &[&str]) -> CommandOutput {
    let output = daemonctl().arg("--socket").arg(fake.socket()).args(arguments).output();
    decoded(&output.expect("daemonctl runs"))
}

#[test]
fn each_command_is_sent_by_name_and_the_answer_is_printed() {
    let fake = FakeDaemon::answering(done("all is well"));
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
    for (arguments, mut request) in commands {
        let output = run_with(&fake, arguments);
        assert_eq!((output.code, output.out.as_str()), (0, "all is well\n"), "{output:?}");
        request["version"] = json!(1);
        assert_eq!(fake.request(), request);
    }
}

#[test]
fn the_status_is_printed_as_a_table_or_json_or_metrics() {
    let fake = FakeDaemon::answering(status(report()));
    let table = run_with(&fake, &["status"]);
    assert_eq!(table.code, 0, "{table:?}");
    assert!(table.out.contains("4712") && table.out.contains("GET /"), "{table:?}");
    assert!(!table.out.contains('\x1b'), "colours are printed only on a terminal");
    let json_output = run_with(&fake, &["status", "--json"]);
    let value: Value = serde_json::from_str(&json_output.out).expect("JSON");
    assert_eq!(value["children"][1]["label"], "GET /");
    assert_eq!(value["counters"]["exits"]["killed"], 1);
    let metrics = run_with(&fake, &["status", "--metrics"]);
    assert!(metrics.out.contains("actix_daemon_forks_total{daemon=\"web\"} 5\n"), "{metrics:?}");
    assert!(metrics.out.ends_with("# EOF\n"));
    assert_eq!(run_with(&fake, &["status", "--json", "--metrics"]).code, 2);
}

#[test]
fn peek_and_trace_are_printed_without_control_characters() {
    let text = "two sessions\n\x1b[2Jone timer\n".to_owned();
    let fake = FakeDaemon::answering(ResponseBody::Ok(ControlReply::Peek { text }));
    assert_eq!(run_with(&fake, &["peek", "-v"]).out, "two sessions\n?[2Jone timer\n");
    assert_eq!(fake.request(), json!({"version": 1, "command": "peek", "verbose": true}));

    let text = "it waits in poll".to_owned();
    let fake = FakeDaemon::answering(ResponseBody::Ok(ControlReply::Trace {
        text,
        evidence: json!({"wchan": 1}),
    }));
    assert_eq!(run_with(&fake, &["trace", "4711"]).out, "it waits in poll\n");
    let evidence: Value =
        serde_json::from_str(&run_with(&fake, &["trace", "4711", "--json"]).out).expect("JSON");
    assert_eq!(evidence, json!({"wchan": 1}));
}

#[test]
fn each_kind_of_error_has_an_exit_code_and_a_message_that_names_the_action() {
    let errors = [
        (ControlErrorKind::Malformed, 1),
        (ControlErrorKind::Refused, 1),
        (ControlErrorKind::Failed, 1),
        (ControlErrorKind::NoSuchChild, 3),
        (ControlErrorKind::Forbidden, 5),
        (ControlErrorKind::Version, 6),
    ];
    for (kind, code) in errors {
        let output =
            run_with(&FakeDaemon::answering(fault(kind, "no such child")), &["kill", "12"]);
        assert_eq!(output.code, code, "{kind:?}");
        assert_eq!(output.err, "daemonctl: cannot kill process 12: no such child\n");
        assert_eq!(output.out, "");
    }
}

#[test]
fn an_error_of_an_unknown_kind_has_exit_code_1() {
    let answer = r#"{"version":1,"error":{"kind":"tired","text":"try later"}}"#;
    let output = run_with(&FakeDaemon::sending(format!("{answer}\n")), &["reload"]);
    assert_eq!((output.code, output.err.as_str()), (1, "daemonctl: cannot reload: try later\n"));
}

#[test]
fn a_refusal_is_printed_even_if_the_daemon_closes_the_connection_without_reading_the_command() {
    let forbidden =
        line(fault(ControlErrorKind::Forbidden, "user 1000 may not control the daemon"));
    let fake = FakeDaemon::serving(move |mut client| {
        client.send(&forbidden);
    });
    let output = run_with(&fake, &["stop"]);
    assert_eq!(
        (output.code, output.err.contains("user 1000 may not control the daemon")),
        (5, true),
        "{output:?}"
    );
}

#[test]
fn an_answer_of_another_protocol_version_is_an_error_that_names_both_versions() {
    for answer in [r#"{"version":7,"ok":{"reply":"unheard-of"}}"#, r#"{"version":7}"#] {
        let output = run_with(&FakeDaemon::sending(format!("{answer}\n")), &["status"]);
        assert_eq!(output.code, 6, "{output:?}");
        assert!(output.err.contains("version 7") && output.err.contains("version 1"), "{output:?}");
    }
}

#[test]
fn the_error_for_an_invalid_answer_is_short_and_has_no_control_characters() {
    let invalid: [&[u8]; 6] = [
        b"220 mail.example.org ESMTP\n",
        b"\xff\xfe\x00\x1b[2J\n",
        b"\n",
        b"{\"version\":1}\n",
        b"{\"version\":1,\"ok\":{\"reply\":\"listening\"}}\n",
        b"{\"version\":1,\"ok\":{\"re",
    ];
    for bytes in invalid {
        let output = run_with(&FakeDaemon::sending(bytes), &["status"]);
        assert_eq!(output.code, 4, "{output:?}");
        assert!(output.err.contains("cannot get the status: invalid answer from "), "{output:?}");
        assert!(!output.err.contains('\x1b'), "{output:?}");
    }
    let long = run_with(&FakeDaemon::sending(format!("{}\n", "x".repeat(1 << 20))), &["status"]);
    assert!(long.code == 4 && long.err.len() < 400, "{}", long.err.len());
}

#[test]
fn an_answer_may_arrive_in_pieces() {
    let bytes = line(status(report()));
    let fake = FakeDaemon::serving(move |mut client| {
        let request = client.read_request();
        for piece in bytes.chunks(7).filter(|_| request.is_some()) {
            client.send(piece);
            std::thread::yield_now();
        }
        client.wait_for_close();
    });
    assert_eq!(run_with(&fake, &["status"]).code, 0);
}

#[test]
fn a_large_answer_is_read_completely() {
    let mut large = report();
    let child = large.children[1].clone();
    for slot in 2..20_000 {
        let mut child = child.clone();
        child.slot = daemon_core::SlotNumber::new(slot);
        large.children.push(child);
    }
    let output = run_with(&FakeDaemon::answering(status(large)), &["--timeout", "60", "status"]);
    assert_eq!(output.out.lines().filter(|line| line.ends_with("GET /")).count(), 19_999);
}

#[test]
fn a_missing_answer_is_an_error_after_the_timeout() {
    let silent = FakeDaemon::serving(|mut client| {
        client.read_request();
        client.wait_for_close();
    });
    let half = FakeDaemon::serving(|mut client| {
        client.read_request();
        client.send(b"{\"version\":1,");
        client.wait_for_close();
    });
    for fake in [silent, half] {
        let started_at = Instant::now();
        let output = run_with(&fake, &["--timeout", "0.2", "stop"]);
        assert!(started_at.elapsed() >= Duration::from_millis(200));
        assert_eq!(output.code, 4);
        let reason = "cannot stop the daemon: the daemon at ";
        assert!(output.err.contains(reason) && output.err.contains("within 200ms"), "{output:?}");
    }
}

#[test]
fn an_answer_that_never_ends_is_an_error_after_the_timeout() {
    let fake = FakeDaemon::serving(|mut client| {
        client.read_request();
        while client.send(b" ") {
            std::thread::park_timeout(Duration::from_millis(20));
        }
    });
    let started_at = Instant::now();
    assert_eq!(run_with(&fake, &["--timeout", "0.3", "stop"]).code, 4);
    assert!(started_at.elapsed() < PATIENCE);
}

#[test]
fn connecting_to_a_socket_with_a_full_backlog_fails_after_the_timeout() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("socket");
    let address = SockAddr::unix(&path).expect("a short path");
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
    listener.bind(&address).expect("bind succeeds");
    listener.listen(1).expect("listen succeeds");
    let mut waiting = Vec::new();
    loop {
        let client = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        client.set_nonblocking(true).expect("nonblocking mode");
        if client.connect(&address).is_err() {
            break;
        }
        waiting.push(client);
        assert!(waiting.len() < 100, "the backlog does not become full");
    }
    let socket = path.to_str().expect("a UTF-8 path");
    let output = run(["--socket", socket, "--timeout", "0.2", "status"]);
    assert_eq!(output.code, 4);
    assert!(output.err.contains("did not answer within 200ms"), "{output:?}");
}

#[test]
fn a_closed_connection_is_an_error() {
    let output = run_with(&FakeDaemon::serving(drop), &["reload"]);
    assert_eq!(output.code, 4, "{output:?}");
    assert!(output.err.contains("cannot reload: the daemon at "), "{output:?}");
    assert!(output.err.contains("closed the connection"), "{output:?}");
}

#[test]
fn a_failed_connection_is_an_error_with_the_reason() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("socket");
    let socket = path.to_str().expect("a UTF-8 path");
    let output = run(["--socket", socket, "status"]);
    assert_eq!(
        (output.code, output.err.contains("the socket does not exist")),
        (4, true),
        "{output:?}"
    );
    drop(UnixListener::bind(&path).expect("bind succeeds"));
    let output = run(["--socket", socket, "status"]);
    assert_eq!((output.code, output.err.contains("connection refused")), (4, true), "{output:?}");
    assert!(output.err.contains(socket), "{output:?}");
    let output = run(["--socket", &"x".repeat(200), "status"]);
    assert_eq!(
        (output.code, output.err.contains("cannot connect to xxx")),
        (4, true),
        "{output:?}"
    );
}

#[test]
fn a_socket_without_permission_is_an_error() {
    const NOBODY_UID: u32 = 65_534;
    let fake = FakeDaemon::answering(done("all is well"));
    // If the test runs as root, which needs no permission, it runs daemonctl as the user `nobody`.
    // Otherwise the test revokes the permission of its own user.
    let elsewhere = tempfile::tempdir().expect("a temporary directory");
    let program = elsewhere.path().join("daemonctl");
    fs::copy(env!("CARGO_BIN_EXE_daemonctl"), &program).expect("copying succeeds");
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod succeeds");
    };
    mode(elsewhere.path(), 0o755);
    let root =
        fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    let mut command = Command::new(&program);
    command.arg("--socket").arg(fake.socket()).arg("stop");
    if root {
        mode(fake.directory(), 0o700);
        command.uid(NOBODY_UID).gid(NOBODY_UID);
    } else {
        mode(fake.directory(), 0o000);
    }
    let output = decoded(&command.output().expect("daemonctl runs"));
    mode(fake.directory(), 0o700);
    assert_eq!((output.code, output.err.contains("permission denied")), (5, true), "{output:?}");
}

#[test]
fn missing_and_invalid_arguments_are_usage_errors() {
    for arguments in [&["status"] as &[_], &["stop"], &["top"], &["events"]] {
        let output = run(arguments);
        assert_eq!(output.code, 2, "{output:?}");
        assert!(output.err.contains("--socket PATH"), "{output:?}");
        assert!(output.err.contains("DAEMONCTL_SOCKET"), "{output:?}");
    }
    let output = run(["--board", "/nonexistent/board", "stop"]);
    assert_eq!(
        (output.code, output.err.contains("this command needs the daemon")),
        (2, true),
        "{output:?}"
    );
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
fn the_socket_can_be_set_in_the_environment() {
    let fake = FakeDaemon::answering(done("all is well"));
    let output = daemonctl().arg("reopen").env("DAEMONCTL_SOCKET", fake.socket()).output();
    assert_eq!(decoded(&output.expect("daemonctl runs")).out, "all is well\n");
}

#[test]
fn writing_to_a_closed_pipe_is_not_an_error() {
    let fake = FakeDaemon::answering(status(report()));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = daemonctl();
    command.arg("--socket").arg(fake.socket()).arg("status").stdout(writer);
    let output = decoded(&command.stderr(Stdio::piped()).output().expect("daemonctl runs"));
    assert_eq!((output.code, output.err.as_str()), (0, ""));
}

#[test]
fn writing_to_a_full_device_is_an_error() {
    let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") else {
        let _ = writeln!(std::io::stderr(), "skipped: this system has no /dev/full");
        return;
    };
    let fake = FakeDaemon::answering(status(report()));
    let mut command = daemonctl();
    command.arg("--socket").arg(fake.socket()).arg("status").stdout(full);
    let output = decoded(&command.stderr(Stdio::piped()).output().expect("daemonctl runs"));
    assert_eq!(output.code, 1);
    assert!(output.err.contains("cannot write to standard output"), "{output:?}");
}

#[test]
fn top_fails_if_standard_output_is_not_a_terminal() {
    let output = run_with(&FakeDaemon::answering(status(report())), &["top"]);
    let reason = "daemonctl: cannot show the screen: standard output is not a terminal\n";
    assert_eq!((output.code, output.err.as_str(), output.out.as_str()), (1, reason, ""));
}
