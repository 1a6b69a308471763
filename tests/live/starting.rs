//! The time before a daemon is ready, and what a start that fails leaves: nothing.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use crate::harness::{DaemonProcess, Process, Signal, TestProgram, nobody, until};

/// The files of a daemon that a start makes, in the test's directory.
const FILES: &str = "pidfile=DIR/pid control=DIR/control board_file=DIR/board \
                     babysit=1000 slowlog_after=1000 slowlog=DIR/slow";

/// Starts a pool whose `preload` waits for the file `DIR/go`, and waits until `preload` runs.
fn start_in_preload(options: &str) -> DaemonProcess {
    let start = TestProgram::pool().logged().options(FILES).options(options);
    let daemon = start.options("start=1 preload_waits_for=DIR/go").launch_without_waiting();
    let begun = daemon.dir().join("go.begun");
    until("preload runs", || begun.exists().then_some(()));
    daemon
}

/// Returns the process in the pid file.
fn published(daemon: &DaemonProcess) -> Process {
    let pid = fs::read_to_string(daemon.dir().join("pid")).unwrap();
    Process(pid.trim().parse().unwrap())
}

/// Returns the files that a start has left behind.
fn left_in(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    let own = ["stderr", "warden", "go.begun", "commands"];
    let mut left: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    left.retain(|name| !own.contains(&name.as_str()));
    left
}

#[test]
fn signals_that_arrive_before_the_daemon_is_ready_are_kept() {
    for options in ["", "detach"] {
        for (signal, effect) in [
            (Signal::SIGHUP, "reopening logs"),
            (Signal::SIGUSR2, "peek"),
            (Signal::SIGTSTP, "paused by operator"),
            (Signal::SIGTTIN, "resized"),
            (Signal::SIGTTOU, "resized"),
        ] {
            let mut daemon = start_in_preload(&format!("min=1 max=4 {options}"));
            let parent = published(&daemon);
            parent.signal(signal);
            assert_ne!(parent.state(), Some('T'), "{signal} stops the process");
            fs::write(daemon.dir().join("go"), "").unwrap();
            daemon.wait_for_log(effect);
            assert_eq!(daemon.parent(), parent);
            daemon.stop();
        }
    }
}

#[test]
fn a_stop_before_the_daemon_is_ready_ends_the_start_and_leaves_nothing() {
    for options in ["", "detach"] {
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
            let mut daemon = start_in_preload(options);
            published(&daemon).signal(signal);
            daemon.wait_until_gone();
            assert_eq!(daemon.launcher_status().as_deref(), Some("code 1"));
            let received = signal.as_str().trim_start_matches("SIG");
            let sentence = format!("stopped by {received} before");
            assert!(daemon.stderr().contains(&sentence), "{}", daemon.stderr());
            assert_eq!(left_in(daemon.dir()), [""; 0]);
        }
    }
}

#[test]
fn a_stop_of_the_launching_process_ends_a_detached_start() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let mut daemon = start_in_preload("detach");
        let launcher = daemon.launcher();
        assert_ne!(launcher, published(&daemon));
        launcher.signal(signal);
        daemon.wait_until_gone();
        assert_eq!(daemon.launcher_status().as_deref(), Some("code 1"));
        assert!(daemon.stderr().contains("stopped by TERM before"), "{}", daemon.stderr());
        assert_eq!(left_in(daemon.dir()), [""; 0]);
    }
}

#[test]
fn a_stop_while_the_first_children_start_is_reported_to_the_launching_process() {
    let start = TestProgram::pool().logged().options(FILES).options("start=1 detach");
    let mut daemon = start.options("hang_at_start_while=/").launch_without_waiting();
    until("the command socket is open", || daemon.dir().join("commands").exists().then_some(()));
    published(&daemon).signal(Signal::SIGQUIT);
    daemon.wait_until_gone();
    assert_eq!(daemon.launcher_status().as_deref(), Some("code 1"));
    let stderr = daemon.stderr();
    assert!(stderr.contains("stopped by QUIT before it was ready"), "{stderr}");
    assert_eq!(left_in(daemon.dir()), ["pool.log"]);
}

#[test]
fn a_start_that_fails_leaves_nothing() {
    let table = [
        ("preload_fails=no_table", "no_table", true),
        ("preload_panics", "exited with code 101", false),
        ("preload_exits", "exited with code 3", true),
        ("board_file=DIR/missing/board", "board", true),
        ("control=DIR/file", "not a socket", true),
        ("logfile=DIR/missing/log", "missing/log", true),
        ("pidfile=DIR/missing/pid", "missing/pid", true),
        ("slowlog=DIR/missing/slow", "missing/slow", true),
        ("user=no_such_user", "no_such_user", true),
        ("workdir=DIR/missing", "missing", true),
        ("instead_of_run=start", "no actix System", true),
        ("instead_of_run=drop", "", true),
        ("start=2 max=4 exit_at_start_while=/", "failed to start", false),
        ("start=1 boot_timeout=300 grace=200 hang_at_start_while=/", "in time", false),
    ];
    for detach in ["", "detach"] {
        for (options, sentence, is_log_empty) in table {
            let mut start = TestProgram::pool();
            let directory = start.dir().to_owned();
            fs::write(directory.join("file"), "precious").unwrap();
            // The first value of an option counts only for itself, so the faulty one replaces it.
            for option in FILES.split_whitespace().chain(["logfile=DIR/pool.log"]) {
                let (name, _value) = option.split_once('=').unwrap();
                if !options.contains(&format!("{name}=")) {
                    start = start.options(option);
                }
            }
            let mut failed = start.options(options).options(detach).launch_without_waiting();
            failed.wait_until_gone();
            let (status, stderr) = (failed.launcher_status(), failed.stderr());
            let is_success = options == "instead_of_run=drop" && detach.is_empty();
            let code = if is_success { "code 0" } else { "code 1" };
            assert_eq!(status.as_deref(), Some(code), "{detach} {options}: {stderr}");
            assert!(stderr.contains(sentence), "{detach} {options}: {stderr}");
            let mut left = left_in(&directory);
            left.retain(|name| name != "file");
            match is_log_empty {
                true => assert_eq!(left, [""; 0], "{detach} {options}: {stderr}"),
                // The log says why.
                false => assert_eq!(left, ["pool.log"], "{detach} {options}"),
            }
            assert_eq!(fs::read_to_string(directory.join("file")).unwrap(), "precious");
        }
    }
}

/// A process that has dropped its privileges cannot remove files from a directory of root.
#[test]
fn a_start_that_fails_as_another_user_leaves_nothing_where_this_user_may_remove_files() {
    let Some((uid, _gid)) = nobody() else { return };
    for detach in ["", "detach"] {
        for owner in [uid, 0] {
            let place = tempfile::tempdir().unwrap();
            let directory = place.path();
            fs::set_permissions(directory, Permissions::from_mode(0o755)).unwrap();
            chown(directory, Some(owner), None).unwrap();
            let files = FILES.replace("board_file=DIR/board", "");
            let files = format!("{files} logfile=DIR/pool.log user=nobody descriptors=keep");
            let files = files.replace("DIR", &directory.display().to_string());
            let start = |options: &str| {
                let start = TestProgram::pool().writable_by_all().options(&files);
                start.options("start=1").options(detach).options(options)
            };
            let failed = start("preload_fails=no_table").fail_to_start();
            assert!(failed.stderr.contains("no_table"), "{}", failed.stderr);
            let mut left = left_in(directory);
            left.sort();
            if owner == uid {
                assert_eq!(left, [""; 0]);
            } else {
                assert_eq!(left, ["control", "pid", "pool.log", "slow"]);
                UnixStream::connect(directory.join("control")).expect_err("refused");
                assert_eq!(fs::read_to_string(directory.join("pid")).unwrap(), "");
            }
            // The next start uses or replaces them.
            start("").start().stop();
        }
    }
}

#[test]
fn a_start_that_fails_keeps_what_existed() {
    let start = TestProgram::pool().logged().options(FILES).options("preload_fails=no_table");
    let directory = start.dir().to_owned();
    for name in ["pool.log", "slow"] {
        fs::write(directory.join(name), "").unwrap();
    }
    let mut failed = start.launch_without_waiting();
    failed.wait_until_gone();
    let mut left = left_in(&directory);
    left.sort();
    assert_eq!(left, ["pool.log", "slow"]);
}

#[test]
fn a_refused_start_does_not_touch_the_log_of_the_running_daemon() {
    for claim in ["pidfile=DIR/pid", "control=DIR/control"] {
        let first = TestProgram::pool().logged().options(claim).options("start=1").start();
        let (log, logfile) = (first.log(), first.logfile());
        let directory = first.dir().display().to_string();
        for options in ["", "detach", "pidfile=DIR/own"] {
            let start = TestProgram::pool().options(options);
            let start = start.options(&claim.replace("DIR", &directory));
            let failed = start.options(&format!("logfile={}", logfile.display())).fail_to_start();
            assert_eq!(failed.status, "code 1");
            assert!(failed.stderr.contains("already running"), "{}", failed.stderr);
            assert_eq!(first.log(), log, "{claim} {options}");
        }
    }
}

#[test]
fn of_many_starts_at_a_time_one_succeeds_and_the_others_name_it() {
    let place = tempfile::tempdir().unwrap();
    for round in 0..4 {
        let pidfile = place.path().join("pid");
        // The pid of a daemon that was killed: it may be that of a running process.
        fs::write(&pidfile, "1\n").unwrap();
        let option = format!("start=1 pidfile={}", pidfile.display());
        let detach = if round % 2 == 0 { "detach" } else { "" };
        let starts: Vec<DaemonProcess> = (0..8)
            .map(|_| {
                TestProgram::pool()
                    .logged()
                    .options(&option)
                    .options(detach)
                    .launch_without_waiting()
            })
            .collect();
        let winners: Vec<&DaemonProcess> = until("each start has ended or runs", || {
            let is_decided = |start: &&DaemonProcess| {
                start.launcher_status().is_some_and(|status| status == "code 1")
                    || start.dir().join("commands").exists()
            };
            starts.iter().all(|start| is_decided(&start)).then(|| {
                starts.iter().filter(|start| start.dir().join("commands").exists()).collect()
            })
        });
        assert_eq!(winners.len(), 1);
        let winner = winners[0].parent();
        assert_eq!(fs::read_to_string(&pidfile).unwrap(), format!("{}\n", winner.0));
        for start in &starts {
            let stderr = start.stderr();
            if let Some((_before, named)) = stderr.split_once("already running as process ") {
                assert!(named.starts_with(&format!("{}:", winner.0)), "{winner:?}: {stderr}");
            } else if start.find_parent() != Some(winner) {
                assert!(stderr.contains("already running: pid file"), "{stderr}");
            }
        }
    }
}

#[test]
fn a_start_without_privileges_does_not_remove_the_socket_of_another_process() {
    let start = TestProgram::pool().options("control=DIR/control pidfile=DIR/pid");
    let path = start.dir().join("control");
    let _owner = UnixListener::bind(&path).unwrap();
    let mut failed = start.launch_without_waiting();
    failed.wait_until_gone();
    assert!(failed.stderr().contains("already running"), "{}", failed.stderr());
    assert_eq!(left_in(failed.dir()), ["control"]);
}
