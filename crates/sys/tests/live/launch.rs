//! Live tests of launch steps: detaching, logs, the pid file, privileges.

use std::env;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::thread;

use daemon_sys::detach::{ReadinessNotifier, detach};
use daemon_sys::inherited;
use daemon_sys::limits::change_dir;
use daemon_sys::pidfile::PidFile;
use daemon_sys::privileges::{Group, Privileges, User, drop_to};
use daemon_sys::process::{self, exit_now, signal, this_pid};
use daemon_sys::reap::{Exit, wait_for};
use daemon_sys::shared::anonymous;
use daemon_sys::signals::{block_all, discard_pending, disregard_unused, ignore, terminate_after};
use daemon_sys::stdio::{LogFile, all_to_null};
use daemon_sys::{Error, Pid, Signal};

use super::helpers::{child, killed_by, sleep_until_killed};
use crate::scenarios::{Scenario, again, eventually};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("the_launcher_succeeds_when_the_daemon_is_ready", the_launcher_succeeds),
    ("the_launcher_prints_the_reason_of_a_failed_start", the_launcher_prints_the_reason),
    (
        "the_launcher_prints_the_exit_code_of_a_daemon_that_exits_before_it_is_ready",
        the_launcher_prints_the_exit_code,
    ),
    (
        "the_launcher_reports_a_killed_daemon_whose_child_runs",
        an_exit_is_reported_while_a_child_runs,
    ),
    ("a_detached_daemon_is_not_a_session_leader_and_has_no_input", a_detached_daemon),
    ("detaching_with_other_threads_is_refused", detaching_with_other_threads_is_refused),
    ("reopening_the_log_loses_no_line", reopening_the_log_loses_no_line),
    ("a_log_that_cannot_be_reopened_stays_in_use", a_log_that_cannot_be_reopened),
    ("a_killed_daemon_leaves_a_pid_file_that_can_be_claimed", a_stale_pid_file),
    (
        "a_child_that_closes_its_copy_of_the_pid_file_does_not_hold_the_lock",
        a_child_that_closes_its_copy,
    ),
    ("what_the_launcher_hands_down_is_reset", what_the_launcher_hands_down_is_reset),
    ("a_kept_signal_is_delivered_when_the_guard_is_dropped", a_kept_signal_is_delivered),
    ("an_alarm_ends_a_process_in_which_it_has_no_meaning", an_alarm_ends_a_process),
    ("privileges_are_dropped_permanently", privileges_are_dropped),
    ("only_root_can_drop_privileges", only_root_drops_privileges),
];

const AS_LAUNCHER: &str = "LIVE_AS_LAUNCHER";

/// In the process that runs the test, starts the same test again as a separate launching process,
/// and returns the output of that launcher. In the daemon that the launcher starts, runs the
/// closure and returns `None`.
fn launch(name: &str, daemon: impl FnOnce(ReadinessNotifier)) -> Option<Output> {
    if env::var_os(AS_LAUNCHER).is_none() {
        let mut launcher = again(name);
        launcher.env(AS_LAUNCHER, "1").stdin(Stdio::null());
        return Some(launcher.output().expect("started"));
    }
    daemon(detach().expect("detached"));
    None
}

/// The timers of setitimer(2).
const TIMERS: [libc::c_int; 3] = [libc::ITIMER_REAL, libc::ITIMER_VIRTUAL, libc::ITIMER_PROF];

/// Sets a timer to this number of seconds, 0 to stop it. Returns how many seconds were left; a
/// part of a second counts as one.
fn set_timer(timer: libc::c_int, seconds: libc::time_t) -> libc::time_t {
    let zero = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let new =
        libc::itimerval { it_interval: zero, it_value: libc::timeval { tv_sec: seconds, ..zero } };
    let mut old = libc::itimerval { it_interval: zero, it_value: zero };
    // SAFETY: setitimer reads one itimerval and writes another; both pointers are valid for it.
    let set = unsafe { libc::setitimer(timer, &raw const new, &raw mut old) };
    assert_eq!(set, 0, "the timer {timer} is set");
    old.it_value.tv_sec + libc::time_t::from(old.it_value.tv_usec > 0)
}

fn what_the_launcher_hands_down_is_reset() {
    let pid = child(|| {
        block_all().expect("blocked").leave_blocked();
        for signal in [Signal::Child, Signal::Hup, Signal::Usr1, Signal::Ttou] {
            ignore(signal).expect("ignored");
        }
        for timer in TIMERS {
            set_timer(timer, 1000);
        }
        for standard in 0..=2 {
            nix::unistd::close(standard).expect("closed");
        }
        drop(inherited::reset(&[]).expect("reset"));
        // Pending and default: this process survives both.
        for signal in [Signal::Usr1, Signal::Alarm] {
            let _ = process::signal(this_pid(), signal).expect("sent");
        }
        for timer in TIMERS {
            assert_eq!(set_timer(timer, 0), 0, "timer {timer} runs");
        }
        for standard in 0..=2 {
            let open = fs::read_link(format!("/proc/self/fd/{standard}")).expect("open");
            assert_eq!(open.to_str(), Some("/dev/null"));
        }
        assert_eq!(wait_for(child(|| 7)).expect("the exit is seen"), Exit::Code(7));
        process::signal(this_pid(), Signal::Hup).map(|_sent| 0).expect("sent")
    });
    assert_eq!(wait_for(pid).expect("waited"), killed_by(Signal::Hup));
}

fn a_kept_signal_is_delivered() {
    for (is_discarded, exit) in [(false, killed_by(Signal::Term)), (true, Exit::Code(3))] {
        let pid = child(|| {
            let kept = inherited::reset(&[Signal::Term]).expect("reset");
            let _ = process::signal(this_pid(), Signal::Term).expect("sent");
            if is_discarded {
                discard_pending(&[Signal::Term]);
            }
            drop(kept);
            3
        });
        assert_eq!(wait_for(pid).expect("waited"), exit);
    }
}

fn an_alarm_ends_a_process() {
    let pid = child(|| {
        block_all().expect("blocked").leave_blocked();
        disregard_unused();
        terminate_after(std::time::Duration::ZERO);
        sleep_until_killed()
    });
    assert_eq!(wait_for(pid).expect("waited"), killed_by(Signal::Alarm));
}

fn the_launcher_succeeds() {
    let launched = launch("the_launcher_succeeds_when_the_daemon_is_ready", |readiness| {
        println!("daemon {}", this_pid());
        all_to_null().expect("redirected");
        readiness.notify_ready();
        sleep_until_killed();
    });
    let Some(Output { status, stdout, stderr }) = launched else {
        return;
    };
    assert_eq!(status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&stderr), "");
    let stdout = String::from_utf8_lossy(&stdout);
    let number = stdout.trim().strip_prefix("daemon ").and_then(|pid| pid.parse().ok());
    let daemon = number.and_then(Pid::from_raw).expect("a pid");
    let stat = fs::read_to_string(format!("/proc/{daemon}/stat")).expect("the daemon is running");
    let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
    signal(daemon, Signal::Kill).map(|_| ()).expect("permitted");
    assert_ne!(fields[3], daemon.to_string(), "the daemon is not a session leader");
}

fn program() -> String {
    let program = env::current_exe().expect("known");
    program.file_name().expect("named").display().to_string()
}

fn the_launcher_prints_the_reason() {
    let launched = launch("the_launcher_prints_the_reason_of_a_failed_start", |readiness| {
        readiness.notify_failure("cannot bind 0.0.0.0:80: permission denied");
        exit_now(0);
    });
    let Some(Output { status, stderr, .. }) = launched else {
        return;
    };
    assert_eq!(status.code(), Some(1));
    let expected = format!("{}: cannot bind 0.0.0.0:80: permission denied\n", program());
    assert_eq!(String::from_utf8_lossy(&stderr), expected);
}

fn the_launcher_prints_the_exit_code() {
    let launched = launch(
        "the_launcher_prints_the_exit_code_of_a_daemon_that_exits_before_it_is_ready",
        |_readiness| exit_now(101),
    );
    let Some(Output { status, stderr, .. }) = launched else {
        return;
    };
    assert_eq!(status.code(), Some(1));
    let expected =
        format!("{}: the daemon ended before it was ready: exited with code 101\n", program());
    assert_eq!(String::from_utf8_lossy(&stderr), expected);
}

fn an_exit_is_reported_while_a_child_runs() {
    let launched = launch("the_launcher_reports_a_killed_daemon_whose_child_runs", |_readiness| {
        let orphan = child(|| {
            all_to_null().expect("redirected");
            sleep_until_killed()
        });
        eprintln!("{orphan}");
        signal(this_pid(), Signal::Kill).map(|_| ()).expect("permitted");
        sleep_until_killed();
    });
    let Some(Output { status, stderr, .. }) = launched else {
        return;
    };
    let stderr = String::from_utf8_lossy(&stderr);
    let (orphan, error) = stderr.split_once('\n').expect("two lines");
    let orphan = orphan.parse().ok().and_then(Pid::from_raw).expect("a pid");
    signal(orphan, Signal::Kill).map(|_| ()).expect("permitted");
    assert_eq!(status.code(), Some(1));
    assert_eq!(
        error,
        format!("{}: the daemon ended before it was ready: killed by signal KILL\n", program())
    );
}

fn a_detached_daemon() {
    let launched =
        launch("a_detached_daemon_is_not_a_session_leader_and_has_no_input", |readiness| {
            let mut input = String::new();
            let read = std::io::stdin().read_to_string(&mut input).expect("read");
            let stat = fs::read_to_string("/proc/self/stat").expect("found");
            let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
            let (session, terminal) = (fields[3], fields[4]);
            let is_leader = session == this_pid().to_string();
            if read == 0 && !is_leader && terminal == "0" {
                readiness.notify_ready();
            } else {
                readiness
                    .notify_failure(&format!("read {read}, session {session}, tty {terminal}"));
            }
            exit_now(0);
        });
    let Some(Output { status, stderr, .. }) = launched else {
        return;
    };
    assert_eq!((status.code(), String::from_utf8_lossy(&stderr).as_ref()), (Some(0), ""));
}

fn detaching_with_other_threads_is_refused() {
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let other = thread::spawn(move || stopped.recv().expect_err("the sender is dropped"));
    assert!(matches!(detach(), Err(Error::OtherThreads(_))));
    drop(stop);
    other.join().expect("joined");
}

fn reopening_the_log_loses_no_line() {
    const LINES: usize = 3_000;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("x.log");
    let writer = child(|| {
        let log = LogFile::open(&path).expect("opened");
        log.redirect().expect("redirected");
        let printer = thread::spawn(|| (0..LINES).for_each(|line| println!("line {line}")));
        for rotation in 0..30 {
            fs::rename(&path, path.with_extension(rotation.to_string())).expect("renamed");
            log.reopen().expect("reopened");
            thread::yield_now();
        }
        printer.join().expect("joined");
        0
    });
    assert_eq!(wait_for(writer).expect("reaped"), Exit::Code(0));
    let files: Vec<_> = fs::read_dir(&dir).expect("read").map(|e| e.expect("entry")).collect();
    assert_eq!(files.len(), 31);
    let text: String =
        files.iter().map(|file| fs::read_to_string(file.path()).expect("text")).collect();
    let mut lines: Vec<usize> = text
        .lines()
        .map(|line| {
            line.strip_prefix("line ").expect("a complete line").parse().expect("a complete line")
        })
        .collect();
    lines.sort_unstable();
    assert!(lines.iter().copied().eq(0..LINES), "{} of {LINES} lines", lines.len());
}

fn a_log_that_cannot_be_reopened() {
    let dir = tempfile::tempdir().expect("a directory");
    let logs = dir.path().join("logs");
    fs::create_dir(&logs).expect("created");
    let path = logs.join("x.log");
    let writer = child(|| {
        change_dir(&logs).expect("found");
        let log = LogFile::open("x.log").expect("opened");
        change_dir("/").expect("found");
        log.redirect().expect("redirected");
        assert_eq!(log.path(), path);
        fs::rename(&logs, dir.path().join("moved")).expect("renamed");
        let error = log.reopen().expect_err("no such directory");
        println!("{error}");
        0
    });
    assert_eq!(wait_for(writer).expect("reaped"), Exit::Code(0));
    let log = dir.path().join("moved/x.log");
    let contents = fs::read_to_string(&log).expect("found");
    let expected = format!("cannot open log file {}: no such file or directory\n", path.display());
    assert_eq!(contents, expected);
    assert_eq!(fs::metadata(log).expect("found").permissions().mode() & 0o027, 0);
}

fn wait_until_claimed_by(path: &Path, holder: Pid) {
    eventually(
        "the holder has written its pid",
        || matches!(PidFile::claim(path), Err(Error::AlreadyRunning { pid: Some(pid), .. }) if pid == holder),
    );
}

fn a_stale_pid_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("x.pid");
    // The pid file is claimed here, so that the child's claim cannot collide with a claim of
    // `wait_until_claimed_by`.
    let mut claimed = PidFile::claim(&path).expect("claimed");
    let first = child(|| {
        claimed.write(this_pid()).expect("written");
        sleep_until_killed()
    });
    claimed.close();
    wait_until_claimed_by(&path, first);
    signal(first, Signal::Kill).map(|_| ()).expect("permitted");
    assert_eq!(wait_for(first).expect("reaped"), killed_by(Signal::Kill));
    assert_eq!(fs::read_to_string(&path).expect("left behind"), format!("{first}\n"));
    PidFile::claim(&path).expect("claimed again").release().expect("removed");
    assert!(!path.exists());
}

fn a_child_that_closes_its_copy() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("x.pid");
    let is_closed = &anonymous::<AtomicU8>(1).expect("mapped")[0];
    let mut claimed = Some(PidFile::claim(&path).expect("claimed"));
    let holder = child(|| {
        claimed.take().expect("a copy").close();
        is_closed.store(1, SeqCst);
        sleep_until_killed()
    });
    eventually("the child has closed its copy", || is_closed.load(SeqCst) == 1);
    let refused = PidFile::claim(&path).expect_err("locked by the parent").to_string();
    assert!(refused.starts_with("already running: pid file "), "{refused}");
    drop(claimed);
    PidFile::claim(&path).expect("claimed while the child is running");
    signal(holder, Signal::Kill).map(|_| ()).expect("permitted");
    assert_eq!(wait_for(holder).expect("reaped"), killed_by(Signal::Kill));
}

fn is_root() -> bool {
    fs::metadata("/proc/self").expect("found").uid() == 0
}

fn nobody() -> Privileges {
    let user = User::named("nobody").expect("found");
    Privileges::of(user).expect("the groups")
}

fn privileges_are_dropped() {
    if !is_root() {
        return println!("skipped: only root can drop privileges");
    }
    let nobody = nobody();
    let dropped = child(|| {
        drop_to(&nobody).expect("dropped");
        let status = fs::read_to_string("/proc/self/status").expect("found");
        let ids = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("a line");
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(ids("Uid:"), vec![nobody.user.uid.to_string(); 4]);
        assert_eq!(ids("Gid:"), vec![nobody.group.gid.to_string(); 4]);
        assert_eq!(ids("Groups:").len(), nobody.supplementary.len());
        assert_eq!(ids("CapEff:"), ["0000000000000000"]);
        fs::read("/etc/shadow").expect_err("only root can read it");
        let again = drop_to(&nobody).expect_err("refused");
        assert!(matches!(again, Error::NotRoot { .. }));
        0
    });
    assert_eq!(wait_for(dropped).expect("reaped"), Exit::Code(0));
    let group = Group::named("daemon").or_else(|_| Group::named("1")).expect("a group");
    let gid = group.gid;
    let other = Privileges::with_group(nobody.user, group).expect("looked up");
    let grouped = child(|| {
        drop_to(&other).expect("dropped");
        i32::from(fs::metadata("/proc/self/status").is_err() || other.group.gid != gid)
    });
    assert_eq!(wait_for(grouped).expect("reaped"), Exit::Code(0));
}

fn only_root_drops_privileges() {
    let nobody = nobody();
    let refused = child(|| {
        if is_root() {
            drop_to(&nobody).expect("dropped");
        }
        let error = drop_to(&nobody).expect_err("refused").to_string();
        assert!(error.starts_with("cannot become user nobody and group "), "{error}");
        assert!(
            error.contains(": only root is allowed to, and this process runs as uid "),
            "{error}"
        );
        0
    });
    assert_eq!(wait_for(refused).expect("reaped"), Exit::Code(0));
}
