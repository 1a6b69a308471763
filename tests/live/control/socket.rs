//! Tests who may use the control socket, which processes hold it, and which existing files it
//! replaces.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::{control, socket_path, start_with_control};
use crate::harness::{Process, TestProgram, error_of, nobody};

#[test]
fn a_client_of_another_user_is_refused_with_a_reason() {
    let Some((uid, gid)) = nobody() else { return };
    let daemon = start_with_control(TestProgram::pool(), "start=1 min=0 max=2");
    // The socket's mode denies access to other users, so the test changes the mode.
    for (path, mode) in [(daemon.dir().to_owned(), 0o755), (socket_path(&daemon), 0o666)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let knock = daemon.dir().join("knock");
    fs::copy(env!("CARGO_BIN_EXE_unix_client"), &knock).unwrap();
    let said = Command::new(&knock).arg(socket_path(&daemon)).uid(uid).gid(gid).output().unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    let (kind, text) = error_of(&answer);
    assert_eq!(kind, "forbidden");
    assert!(text.contains(&uid.to_string()), "{text}");
}

#[test]
fn the_control_socket_belongs_to_the_daemons_user() {
    let Some((uid, _gid)) = nobody() else { return };
    let start = TestProgram::pool().writable_by_all().logged();
    let start = start.options("start=1 min=0 max=2 user=nobody");
    let mut daemon = start.options("control=DIR/control").start();
    let socket = socket_path(&daemon);
    let file = fs::symlink_metadata(&socket).unwrap();
    assert_eq!((file.uid(), file.mode() & 0o777), (uid, 0o600));
    // Root has access too.
    control(&daemon).expect_done("stop", "");
    daemon.wait_until_gone();
    assert!(!socket.exists());
}

#[test]
fn a_stale_control_socket_is_replaced() {
    let start = TestProgram::pool().logged().options("control=DIR/control start=1 min=0 max=2");
    let socket = start.dir().join("control");
    drop(UnixListener::bind(&socket).unwrap());
    let daemon = start.start();
    assert_eq!(control(&daemon).report()["phase"], "running");
}

#[test]
fn a_second_daemon_on_the_same_control_socket_is_refused_and_the_first_continues() {
    let first = start_with_control(TestProgram::pool(), "start=1 min=0 max=2");
    let second = TestProgram::pool()
        .options(&format!("control={}", socket_path(&first).display()))
        .fail_to_start();
    assert_eq!(second.status, "code 1");
    assert!(second.stderr.contains("another process is listening on it"), "{}", second.stderr);
    assert_eq!(control(&first).report()["phase"], "running");
}

#[test]
fn the_control_socket_does_not_replace_another_kind_of_file() {
    let start = TestProgram::pool().options("control=DIR/control");
    let file = tempfile::NamedTempFile::new().unwrap();
    let refused = start.options(&format!("control={}", file.path().display())).fail_to_start();
    assert_eq!(refused.status, "code 1");
    let sentence = "it is a file of uid";
    assert!(refused.stderr.contains(sentence), "{}", refused.stderr);
    assert!(file.path().exists());
}

/// Returns the sockets that a process holds, as `/proc/PID/fd` names them.
fn sockets(process: Process) -> Vec<String> {
    let open = process.descriptors();
    open.values()
        .map(|path| path.display().to_string())
        .filter(|path| path.starts_with("socket:"))
        .collect()
}

#[test]
fn only_the_parent_holds_the_control_socket() {
    for start in [TestProgram::pool(), TestProgram::postfork()] {
        let daemon = start_with_control(start, "start=2 min=1 max=4");
        let mut client = daemon.client();
        client.pid();
        let _operator = control(&daemon);
        // `/proc/net/unix` lists the inode and the path of the listener.
        let list = fs::read_to_string("/proc/net/unix").unwrap();
        let socket_path = socket_path(&daemon).display().to_string();
        let inode = list
            .lines()
            .filter(|line| line.ends_with(&socket_path))
            .filter_map(|line| line.split_whitespace().nth(6).map(str::to_owned))
            .map(|inode| format!("socket:[{inode}]"))
            .collect::<Vec<_>>();
        assert!(!inode.is_empty(), "{socket_path} in {list}");
        let holds = |process: Process| sockets(process).iter().any(|open| inode.contains(open));
        assert!(holds(daemon.parent()));
        let fork_server = daemon.fork_server();
        for process in std::iter::once(fork_server).chain(fork_server.children()) {
            assert!(!holds(process), "{} holds the control socket", process.title());
        }
    }
}
