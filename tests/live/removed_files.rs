//! Tests what a daemon does when its pid file, its control socket or the file of its scoreboard is
//! removed or replaced while it runs: HUP and each scan of the babysitter bring back what can be
//! brought back, and nothing of another process is removed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use crate::harness::{ControlClient, DaemonProcess, Signal, TestProgram, until};

/// Returns a daemon with a pid file and a control socket.
fn daemon(program: TestProgram, options: &str) -> DaemonProcess {
    program.logged().options("control=DIR/control pidfile=DIR/pid").options(options).start()
}

fn control(daemon: &DaemonProcess) -> PathBuf {
    daemon.dir().join("control")
}

fn pidfile(daemon: &DaemonProcess) -> PathBuf {
    daemon.dir().join("pid")
}

/// Removes both files, and waits until they are back.
#[track_caller]
fn remove_and_wait(daemon: &DaemonProcess) {
    fs::remove_file(control(daemon)).unwrap();
    fs::remove_file(pidfile(daemon)).unwrap();
    daemon.parent().signal(Signal::SIGHUP);
    wait_for_files(daemon);
}

#[track_caller]
fn wait_for_files(daemon: &DaemonProcess) {
    until("the pid file is back", || {
        let pid = fs::read_to_string(pidfile(daemon)).ok()?;
        (pid == format!("{}\n", daemon.parent().0)).then_some(())
    });
    let mut client =
        until("the control socket is back", || ControlClient::try_at(&control(daemon)).ok());
    assert_eq!(client.report()["parent"], daemon.parent().0);
    for path in [control(daemon), pidfile(daemon)] {
        let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
}

#[test]
fn hup_brings_the_control_socket_and_the_pid_file_back_and_connected_clients_stay() {
    for program in [TestProgram::pool(), TestProgram::postfork(), TestProgram::solo()] {
        let mut daemon = daemon(program, "babysit=60000");
        let mut client = ControlClient::at(&control(&daemon));
        let parent = client.report()["parent"].clone();
        for _again in 0..3 {
            remove_and_wait(&daemon);
            assert_eq!(client.report()["parent"], parent);
        }
        daemon.wait_for_log("file restored");
        // The pid file is locked again, so a second daemon is refused.
        let second = TestProgram::pool()
            .options(&format!("pidfile={}", pidfile(&daemon).display()))
            .fail_to_start();
        let pid = daemon.parent().0;
        let sentence = format!("already running as process {pid}");
        assert!(second.stderr.contains(&sentence), "{}", second.stderr);
        daemon.stop();
        assert!(!control(&daemon).exists() && !pidfile(&daemon).exists());
    }
}

#[test]
fn hup_leaves_files_that_are_in_place_as_they_are() {
    let daemon = daemon(TestProgram::pool(), "start=1");
    let identity = |path: PathBuf| {
        use std::os::unix::fs::MetadataExt;
        fs::symlink_metadata(path).unwrap().ino()
    };
    let before = (identity(control(&daemon)), identity(pidfile(&daemon)));
    daemon.parent().signal(Signal::SIGHUP);
    daemon.wait_for_log("received: DaemonHup, role: parent");
    assert_eq!((identity(control(&daemon)), identity(pidfile(&daemon))), before);
    assert!(!daemon.log().contains("restored"));
}

#[test]
fn a_scan_of_the_babysitter_brings_removed_files_back_without_an_operator() {
    let daemon = daemon(TestProgram::pool(), "start=1 babysit=50");
    fs::remove_file(control(&daemon)).unwrap();
    wait_for_files(&daemon);
    fs::remove_file(pidfile(&daemon)).unwrap();
    wait_for_files(&daemon);
}

#[test]
fn overwritten_contents_of_the_pid_file_are_written_again_at_hup_and_at_a_scan() {
    for (options, signal) in
        [("start=1 babysit=60000", Some(Signal::SIGHUP)), ("start=1 babysit=50", None)]
    {
        let daemon = daemon(TestProgram::pool(), options);
        fs::write(pidfile(&daemon), "1\nsomething else that is long").unwrap();
        if let Some(signal) = signal {
            daemon.parent().signal(signal);
        }
        wait_for_files(&daemon);
    }
}

#[test]
fn a_daemon_that_has_taken_over_both_paths_keeps_them() {
    let mut first = daemon(TestProgram::pool(), "start=1 babysit=60000");
    let (socket, pid) = (control(&first), pidfile(&first));
    fs::remove_file(&pid).unwrap();
    fs::remove_file(&socket).unwrap();
    let options = format!("start=1 control={} pidfile={}", socket.display(), pid.display());
    let mut second = TestProgram::pool().logged().options(&options).start();
    first.parent().signal(Signal::SIGHUP);
    first.wait_for_log("another process is listening on it");
    first.wait_for_log(&format!("already running as process {}", second.parent().0));
    first.stop();
    assert_eq!(ControlClient::at(&socket).report()["parent"], second.parent().0);
    assert_eq!(fs::read_to_string(&pid).unwrap(), format!("{}\n", second.parent().0));
    second.stop();
    assert!(!socket.exists() && !pid.exists());
}

#[test]
fn a_file_a_directory_or_a_link_at_the_path_is_reported_and_kept() {
    let mut daemon = daemon(TestProgram::pool(), "start=1");
    let socket = control(&daemon);
    fs::remove_file(&socket).unwrap();
    fs::write(&socket, "precious").unwrap();
    fs::remove_file(pidfile(&daemon)).unwrap();
    std::os::unix::fs::symlink(&socket, pidfile(&daemon)).unwrap();
    daemon.parent().signal(Signal::SIGHUP);
    let what = format!("cannot bind socket {}: it is a file of uid", socket.display());
    daemon.wait_for_log(&what);
    daemon.wait_for_log("it is a symbolic link of uid");
    assert_eq!(daemon.client().ask("echo x"), "x");
    daemon.stop();
    assert_eq!(fs::read_to_string(&socket).unwrap(), "precious");
    assert!(pidfile(&daemon).is_symlink());
}

#[test]
fn a_dead_socket_at_the_path_is_replaced_and_a_live_one_is_kept() {
    let daemon = daemon(TestProgram::pool(), "start=1 babysit=60000");
    let socket = control(&daemon);
    fs::remove_file(&socket).unwrap();
    let live = UnixListener::bind(&socket).unwrap();
    daemon.parent().signal(Signal::SIGHUP);
    daemon.wait_for_log("another process is listening on it");
    drop(live);
    assert!(socket.exists());
    daemon.parent().signal(Signal::SIGHUP);
    wait_for_files(&daemon);
}

#[test]
fn a_removed_scoreboard_file_is_reported_and_the_daemon_serves_on() {
    let daemon = daemon(TestProgram::pool(), "start=1 board_file=DIR/board");
    fs::remove_file(daemon.dir().join("board")).unwrap();
    daemon.parent().signal(Signal::SIGHUP);
    let error = daemon.wait_for_log("cannot restore a file");
    assert!(error.contains("/board was removed or replaced; the next start"), "{error}");
    assert_eq!(daemon.client().ask("label x"), "ok");
    daemon.ask("status");
}
