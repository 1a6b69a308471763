//! Tests the sandbox of children, with children that try what is forbidden.

use std::fs;
use std::net::TcpListener;

use crate::harness::{
    DaemonProcess, GuardedProgram, LineClient, Signal, TestProgram, is_refused, until,
};

/// Starts a pool whose children may read `DIR/readable` and write `DIR/writable`.
fn sandboxed(options: &str) -> DaemonProcess {
    start_in_sandbox(TestProgram::pool().logged(), options)
}

fn start_in_sandbox(start: TestProgram, options: &str) -> DaemonProcess {
    for directory in ["readable", "writable", "secret"] {
        fs::create_dir(start.dir().join(directory)).unwrap();
        fs::write(start.dir().join(directory).join("file"), "content").unwrap();
    }
    let options = format!(
        "sandbox may_read=DIR/readable may_write=DIR/writable start=1 min=1 max=2 {options}"
    );
    start.options(&options).start()
}

/// Has a child try actions of the form `ACTION ARGUMENT`, and checks each answer.
#[track_caller]
fn try_all(daemon: &DaemonProcess, client: &mut LineClient, actions: &[(&str, &str)]) {
    let here = daemon.dir().display().to_string();
    for (action, expected) in actions {
        let action = action.replace("DIR", &here);
        assert_eq!(client.ask(&format!("try {action}")), *expected, "{action}");
    }
}

#[test]
fn children_open_only_the_files_that_the_sandbox_permits() {
    let start = TestProgram::pool();
    fs::create_dir(start.dir().join("logs")).unwrap();
    let daemon = start_in_sandbox(start, "logfile=DIR/logs/log");
    let mut client = daemon.client();
    try_all(
        &daemon,
        &mut client,
        &[
            ("read DIR/readable/file", "ok"),
            ("list DIR/readable", "ok"),
            ("write DIR/readable/file", "EACCES"),
            ("create DIR/readable/new", "EACCES"),
            ("truncate DIR/readable/file", "EACCES"),
            ("set_length_0 DIR/readable/file", "EACCES"),
            ("remove DIR/readable/file", "EACCES"),
            ("read DIR/writable/file", "ok"),
            ("write DIR/writable/file", "ok"),
            ("create DIR/writable/new", "ok"),
            ("remove DIR/writable/new", "ok"),
            ("set_length_0 DIR/writable/file", "ok"),
            ("read DIR/secret/file", "EACCES"),
            ("list DIR/secret", "EACCES"),
            ("set_length_0 DIR/secret/file", "EACCES"),
            ("remove DIR/secret/file", "EACCES"),
            ("read /etc/passwd", "EACCES"),
            ("list /", "EACCES"),
            // The daemon's own log may be appended to, but neither read nor emptied.
            ("append DIR/logs/log", "ok"),
            ("read DIR/logs/log", "EACCES"),
            ("set_length_0 DIR/logs/log", "EACCES"),
            ("remove DIR/logs/log", "EACCES"),
        ],
    );
    assert_eq!(fs::read_to_string(daemon.dir().join("readable/file")).unwrap(), "content");
    assert_eq!(fs::read_to_string(daemon.dir().join("secret/file")).unwrap(), "content");
}

#[test]
fn children_open_no_new_connections_but_accept_and_use_unix_sockets() {
    let daemon = sandboxed("no_new_connections");
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = daemon.client();
    let connect = format!("connect {}", other.local_addr().unwrap());
    try_all(
        &daemon,
        &mut client,
        &[
            (&connect, "EPERM"),
            ("connect [::1]:9", "EPERM"),
            ("bind 127.0.0.1:0", "EPERM"),
            ("udp 127.0.0.1:0", "EPERM"),
            ("pair x", "ok"),
            ("connect_unix DIR/commands", "ok"),
        ],
    );
    // The listener was inherited, so the child still accepts.
    assert_eq!(client.ask("done"), "ok");
    assert_eq!(daemon.client().ask("echo on"), "on");
}

#[test]
fn connections_and_programs_are_permitted_unless_they_are_forbidden() {
    let daemon = sandboxed("may_read=/usr may_read=/lib may_read=/bin may_read=/lib64");
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = daemon.client();
    let connect = format!("connect {}", other.local_addr().unwrap());
    try_all(
        &daemon,
        &mut client,
        &[(&connect, "ok"), ("exec /bin/true", "ok"), ("exec DIR/readable/file", "EACCES")],
    );
}

#[test]
fn children_execute_no_programs() {
    let daemon = sandboxed("no_exec may_read=/usr may_read=/lib may_read=/bin may_read=/lib64");
    let mut client = daemon.client();
    try_all(&daemon, &mut client, &[("read /bin/true", "ok"), ("exec /bin/true", "EPERM")]);
    let status = client.pid().status("NoNewPrivs");
    assert_eq!(status, ["1"]);
}

#[test]
fn children_can_neither_signal_nor_trace_other_processes_of_the_daemon() {
    let daemon = sandboxed("may_read=/proc");
    let mut client = daemon.client();
    let own = client.pid().0;
    let others = [daemon.parent(), daemon.fork_server()];
    for other in others {
        let (signal, memory) = (format!("signal {}", other.0), format!("open_memory {}", other.0));
        try_all(&daemon, &mut client, &[(&signal, "EPERM"), (&memory, "EACCES")]);
    }
    try_all(&daemon, &mut client, &[(&format!("signal {own}"), "ok")]);
}

#[test]
fn a_sandboxed_child_serves_reports_logs_reopens_is_traced_panics_and_stops() {
    let start = TestProgram::pool().logged().environment("RUST_BACKTRACE", "1");
    let mut daemon = start_in_sandbox(start, "no_new_connections no_exec");
    let mut client = daemon.client();
    let child = client.pid();
    assert_eq!(client.ask("label at work"), "ok");
    until("the label is reported", || daemon.ask("json").contains("at work").then_some(()));
    let trace = daemon.ask(&format!("trace {}", child.0));
    assert!(trace.contains("backtrace"), "{trace}");
    // A rotation renames the log, and HUP makes the child create a new one.
    let old = daemon.dir().join("old.log");
    fs::rename(daemon.logfile(), &old).unwrap();
    assert!(daemon.parent().signal(Signal::SIGHUP));
    until("the child logs to the new file", || {
        let open = child.descriptors();
        (!open.values().any(|path| *path == old)).then_some(())
    });
    assert_eq!(client.ask("log after the rotation"), "ok");
    daemon.wait_for_log("after the rotation");
    // A child that panics is replaced by one that is in the sandbox, too. The frames of its
    // backtrace have names, because the child may read its own program.
    client.send("panic\n").unwrap();
    assert_eq!(client.rest(), "");
    daemon.wait_for_log("serve_commands");
    let mut client = daemon.client();
    assert_ne!(client.pid(), child);
    try_all(&daemon, &mut client, &[("read DIR/secret/file", "EACCES")]);
    assert_eq!(client.ask("done"), "ok");
    let port = daemon.port();
    daemon.stop();
    assert!(is_refused(port));
    assert_eq!(daemon.launcher_status().as_deref(), Some("code 0"), "{}", daemon.log());
}

#[test]
fn children_that_are_forked_for_one_request_are_in_the_sandbox() {
    let daemon = start_in_sandbox(TestProgram::postfork().logged(), "no_exec");
    let mut client = daemon.client();
    let actions = [("read DIR/readable/file", "ok"), ("read DIR/secret/file", "EACCES")];
    try_all(&daemon, &mut client, &actions);
    // The parent and the fork server are not restricted.
    for process in [daemon.parent(), daemon.fork_server()] {
        assert_eq!(process.status("Seccomp"), ["0"]);
    }
    assert_eq!(client.pid().status("Seccomp"), ["2"]);
}

#[test]
fn the_workers_of_a_dispatcher_are_in_the_sandbox() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let arguments = [
        "DIR",
        "create",
        "DIR/new",
        "read",
        "DIR/new",
        "read",
        "/etc/passwd",
        "exec",
        "/bin/true",
        "connect",
        &address,
    ];
    let program = env!("CARGO_BIN_EXE_sandboxed_worker");
    let mut dispatcher = GuardedProgram::program(program, &arguments);
    assert_eq!(dispatcher.wait_until_gone(), "code 0");
    let expected = "create: ok\nread: ok\nread: EACCES\nexec: EPERM\nconnect: EPERM\n";
    assert_eq!(dispatcher.stdout(), expected);
}

#[test]
fn a_sandbox_that_cannot_be_used_is_refused_before_anything_is_forked() {
    let refused = |start: TestProgram, options: &str| {
        let failed = start.options(options).fail_to_start();
        assert_eq!((failed.status.as_str(), failed.processes), ("code 1", 1), "{}", failed.stderr);
        failed.stderr
    };
    let error = refused(TestProgram::pool(), "sandbox may_read=/no/such/path");
    let sentence = "cannot prepare the sandbox: open /no/such/path: no such file or directory";
    assert!(error.contains(sentence), "{error}");
    let error = refused(TestProgram::solo(), "sandbox");
    assert!(error.contains("sandbox is set: the daemon has no children"), "{error}");
}

#[test]
fn a_kernel_without_landlock_is_refused_unless_the_sandbox_is_best_effort() {
    let pool =
        || TestProgram::pool().without_landlock().options("start=1 min=1 max=2 sandbox no_exec");
    let failed = pool().fail_to_start();
    assert_eq!((failed.status.as_str(), failed.processes), ("code 1", 1), "{}", failed.stderr);
    let sentence = "cannot prepare the sandbox: this kernel cannot restrict files (needs Landlock ABI 3 \
                    of Linux 6.2); `best_effort` accepts that";
    assert!(failed.stderr.contains(sentence), "{}", failed.stderr);
    let daemon = pool().options("best_effort").start();
    // What the kernel supports still applies.
    let actions = [("read /etc/passwd", "ok"), ("exec /bin/true", "EPERM")];
    try_all(&daemon, &mut daemon.client(), &actions);
    let options = "start=1 sandbox no_exec best_effort";
    let daemon = TestProgram::pool().options(options).start();
    let actions = [("read /etc/passwd", "EACCES"), ("exec /bin/true", "EPERM")];
    try_all(&daemon, &mut daemon.client(), &actions);
}
