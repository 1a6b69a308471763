//! Tests what a daemon that root starts does with everything that other users can put at its paths,
//! at the start and when the logs are reopened: no file but its own is opened, changed or given
//! away, nothing waits, and the error names what stands there.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;

use crate::harness::{DaemonProcess, Process, Signal, TestProgram, nobody, until};

/// A user who is neither root nor the daemon's user.
const MALLORY: u32 = 4711;

/// What can stand at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thing {
    LinkToRootsFile,
    DanglingLink,
    HardLinkToRootsFile,
    Directory,
    Fifo,
    DeadSocket,
    LiveSocket,
    LinkToFullDevice,
    LinkToTerminal,
    FileOfAnother,
    UnreadableFile,
}

impl Thing {
    const ALL: [Thing; 11] = [
        Thing::LinkToRootsFile,
        Thing::DanglingLink,
        Thing::HardLinkToRootsFile,
        Thing::Directory,
        Thing::Fifo,
        Thing::DeadSocket,
        Thing::LiveSocket,
        Thing::LinkToFullDevice,
        Thing::LinkToTerminal,
        Thing::FileOfAnother,
        Thing::UnreadableFile,
    ];
}

/// Directories in which others have put something, and a directory of root that must not change.
struct Places {
    dir: TempDir,
    owner: u32,
    /// A socket that a process listens on.
    _live: Option<UnixListener>,
}

impl Places {
    fn new(owner: u32) -> Places {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let places = Places { dir, owner, _live: None };
        for (name, owner, mode) in
            [("roots", 0, 0o755), ("theirs", owner, 0o755), ("sticky", 0, 0o1777)]
        {
            let path = places.path(name);
            fs::create_dir(&path).unwrap();
            chown(&path, Some(owner), None).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        }
        fs::write(places.precious(), "precious").unwrap();
        fs::set_permissions(places.precious(), Permissions::from_mode(0o600)).unwrap();
        places
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn precious(&self) -> PathBuf {
        self.path("roots/precious")
    }

    /// Puts a thing at a path.
    fn put(&mut self, thing: Thing, path: &Path) {
        match thing {
            Thing::LinkToRootsFile => symlink(self.precious(), path).unwrap(),
            Thing::DanglingLink => symlink(self.path("roots/new"), path).unwrap(),
            Thing::HardLinkToRootsFile => return fs::hard_link(self.precious(), path).unwrap(),
            Thing::Directory => fs::create_dir(path).unwrap(),
            Thing::Fifo => mkfifo(path, Mode::S_IRWXU).unwrap(),
            Thing::DeadSocket => drop(UnixListener::bind(path).unwrap()),
            Thing::LiveSocket => self._live = Some(UnixListener::bind(path).unwrap()),
            Thing::LinkToFullDevice => symlink("/dev/full", path).unwrap(),
            Thing::LinkToTerminal => symlink("/dev/tty", path).unwrap(),
            Thing::FileOfAnother => {
                fs::write(path, "theirs").unwrap();
                fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
                return lchown(path, Some(MALLORY), Some(MALLORY)).unwrap();
            }
            Thing::UnreadableFile => {
                fs::write(path, "theirs").unwrap();
                fs::set_permissions(path, Permissions::from_mode(0o000)).unwrap();
            }
        }
        lchown(path, Some(self.owner), None).unwrap();
    }

    /// Checks that nothing of root was changed, given away or created.
    #[track_caller]
    fn check(&self, what: &str) {
        let found = fs::metadata(self.precious()).unwrap();
        assert_eq!((found.uid(), found.mode() & 0o777), (0, 0o600), "{what}");
        assert_eq!(fs::read_to_string(self.precious()).unwrap(), "precious", "{what}");
        assert_eq!(fs::read_dir(self.path("roots")).unwrap().count(), 1, "{what}");
        for device in ["/dev/full", "/dev/tty"] {
            assert_eq!(fs::metadata(device).unwrap().uid(), 0, "{what}");
        }
    }
}

/// The settings of the builder that name a file, with the options of the test program.
const SETTINGS: [(&str, &str); 5] = [
    ("logfile", "logfile=PATH"),
    ("slowlog", "babysit=1000 slowlog_after=1000 slowlog=PATH"),
    ("pidfile", "pidfile=PATH"),
    ("control", "control=PATH"),
    ("board_file", "board_file=PATH"),
];

/// Whether a daemon starts although this stands at the path of this setting.
fn starts(setting: &str, thing: Thing, user: &str, directory: &str) -> bool {
    let is_theirs = directory == "theirs";
    match (setting, thing) {
        // A dead socket is replaced by whoever may remove it. The scoreboard is a new file, which
        // replaces the name, but not the contents, of the old one.
        ("control", Thing::DeadSocket)
        | (
            "board_file",
            Thing::HardLinkToRootsFile | Thing::FileOfAnother | Thing::UnreadableFile,
        ) => is_theirs || user.is_empty(),
        // The daemon's user may log to a device.
        ("logfile" | "slowlog", Thing::LinkToFullDevice) => is_theirs,
        _ => false,
    }
}

/// Starts a daemon with each setting and each thing at its path.
fn start_all(user: &str, directory: &str, owner: u32) {
    for (setting, options) in SETTINGS {
        for thing in Thing::ALL {
            let what = format!("{setting} {user} {directory} {thing:?}");
            let mut places = Places::new(owner);
            let path = places.path(directory).join("file");
            places.put(thing, &path);
            let program =
                TestProgram::pool().writable_by_all().options("start=1 min=1 max=1").options(user);
            let program = program.options(&options.replace("PATH", &path.display().to_string()));
            if starts(setting, thing, user, directory) {
                let mut daemon = program.start();
                assert_eq!(daemon.client().ask("echo x"), "x", "{what}");
                daemon.stop();
            } else {
                let failed = program.fail_to_start();
                assert_eq!(failed.status, "code 1", "{what}");
                let error = failed.stderr;
                assert!(error.contains(&path.display().to_string()), "{what}: {error}");
                assert!(!error.contains("panicked"), "{what}: {error}");
            }
            places.check(&what);
        }
    }
}

#[test]
fn a_daemon_that_changes_its_user_is_not_misled_in_a_directory_of_this_user() {
    let Some((uid, _gid)) = nobody() else { return };
    start_all("user=nobody", "theirs", uid);
}

#[test]
fn a_daemon_that_changes_its_user_is_not_misled_in_a_directory_that_all_can_write() {
    let Some(_ids) = nobody() else { return };
    start_all("user=nobody", "sticky", MALLORY);
}

#[test]
fn a_daemon_that_stays_root_is_not_misled_in_a_directory_that_all_can_write() {
    let Some((uid, _gid)) = nobody() else { return };
    start_all("", "sticky", uid);
}

/// Removes what stands at a path.
fn remove(path: &Path) {
    if path.is_dir() && !path.is_symlink() {
        fs::remove_dir(path).unwrap();
    } else {
        fs::remove_file(path).unwrap();
    }
}

/// Returns a running daemon that logs to a file in this directory.
fn logging_daemon(user: &str, path: &Path) -> DaemonProcess {
    let program =
        TestProgram::pool().writable_by_all().options("start=1 min=1 max=1").options(user);
    program.options(&format!("logfile={}", path.display())).start()
}

/// Waits until the parent, the fork server and the child have logged a record with this text.
#[track_caller]
fn all_have_logged(what: &str, log: &Path, texts: [&str; 3]) {
    until(what, || {
        let log = fs::read_to_string(log).unwrap();
        texts.iter().all(|text| log.contains(text)).then_some(())
    });
}

/// Makes a daemon reopen its log for each thing that others put at its path, and then for a file.
fn reopen_all(user: &str, directory: &str, owner: u32) {
    let mut places = Places::new(owner);
    let path = places.path(directory).join("log");
    let daemon = logging_daemon(user, &path);
    let mut client = daemon.client();
    for (number, thing) in Thing::ALL.into_iter().enumerate() {
        let what = format!("{user} {directory} {thing:?}");
        let old = places.path(directory).join(format!("old{number}"));
        fs::rename(&path, &old).unwrap();
        places.put(thing, &path);
        daemon.parent().signal(Signal::SIGHUP);
        let is_open = starts("logfile", thing, user, directory);
        if !is_open {
            all_have_logged(
                &what,
                &old,
                [
                    "ERRO cannot reopen the log file",
                    "ERRO fork server cannot reopen the log file",
                    "ERRO cannot reopen the log, the old log stays in use",
                ],
            );
            assert_eq!(client.ask(&format!("log <{number}>")), "ok");
            assert!(fs::read_to_string(&old).unwrap().contains(&format!("<{number}>")), "{what}");
        }
        places.check(&what);
        remove(&path);
        daemon.parent().signal(Signal::SIGHUP);
        until("all processes log to a new file", || {
            let family = daemon.processes();
            let logs = |fd, process: &Process| {
                process.descriptors().get(&fd).is_some_and(|open| *open == path)
            };
            let all = family.iter().all(|process| logs(1, process) && logs(2, process));
            all.then_some(())
        });
        let made = fs::symlink_metadata(&path).unwrap();
        assert_eq!((made.is_file(), made.mode() & 0o137), (true, 0), "{what}");
    }
    assert_eq!(client.ask("echo x"), "x");
}

#[test]
fn a_daemon_that_changes_its_user_reopens_no_log_that_this_user_may_not_write() {
    let Some((uid, _gid)) = nobody() else { return };
    reopen_all("user=nobody", "theirs", uid);
}

#[test]
fn a_daemon_that_stays_root_reopens_no_log_that_others_have_put_into_a_directory() {
    let Some((uid, _gid)) = nobody() else { return };
    reopen_all("", "sticky", uid);
}

/// Has a daemon restore its control socket or its pid file for each thing that others put there.
fn restore_all(user: &str, directory: &str, owner: u32) {
    for setting in ["control", "pidfile"] {
        let mut places = Places::new(owner);
        let path = places.path(directory).join("file");
        let program = TestProgram::pool().writable_by_all().logged().options("start=1");
        let program = program.options(user).options(&format!("{setting}={}", path.display()));
        let daemon = program.start();
        for thing in Thing::ALL {
            let what = format!("{setting} {user} {directory} {thing:?}");
            let failures = || daemon.log().matches("cannot restore a file").count();
            let before = failures();
            fs::remove_file(&path).unwrap();
            places.put(thing, &path);
            daemon.parent().signal(Signal::SIGHUP);
            if starts(setting, thing, user, directory) {
                until(&what, || UnixStream::connect(&path).ok());
            } else {
                until(&what, || (failures() > before).then_some(()));
            }
            places.check(&what);
            remove(&path);
            daemon.parent().signal(Signal::SIGHUP);
            let restored = until("the file is restored", || fs::symlink_metadata(&path).ok());
            assert_eq!(restored.mode() & 0o777, 0o600, "{what}");
        }
        assert_eq!(daemon.client().ask("echo x"), "x");
    }
}

#[test]
fn a_daemon_that_stays_root_restores_no_file_over_what_others_have_put_into_a_directory() {
    let Some((uid, _gid)) = nobody() else { return };
    restore_all("", "sticky", uid);
    restore_all("", "theirs", uid);
}

#[test]
fn a_daemon_that_changes_its_user_restores_no_file_over_what_this_user_has_put_there() {
    let Some((uid, _gid)) = nobody() else { return };
    restore_all("user=nobody", "theirs", uid);
}

/// Makes a daemon write a record of a slow request for each thing that others put at the path of
/// its slow log.
fn record_all(user: &str, directory: &str, owner: u32) {
    let mut places = Places::new(owner);
    let path = places.path(directory).join("slow");
    let program = TestProgram::pool().writable_by_all().logged().options("start=1 min=1 max=1");
    let program = program.options("babysit=50 slowlog_after=50").options(user);
    let daemon = program.options(&format!("slowlog={}", path.display())).start();
    for (number, thing) in Thing::ALL.into_iter().enumerate() {
        let what = format!("{user} {directory} {thing:?}");
        fs::remove_file(&path).unwrap();
        places.put(thing, &path);
        let enough = daemon.dir().join(format!("enough{number}"));
        let mut client = daemon.client();
        client.send(&format!("block {}\n", enough.display())).unwrap();
        // A record that cannot be written is not lost.
        for text in ["cannot append to the slow log", "reason: slow request, evidence: "] {
            until(&format!("{what}: {text}"), || {
                (daemon.log().matches(text).count() > number).then_some(())
            });
        }
        fs::write(&enough, "").unwrap();
        assert_eq!(client.read().unwrap(), "ok");
        places.check(&what);
        remove(&path);
        fs::write(&path, "").unwrap();
    }
}

#[test]
fn a_daemon_that_changes_its_user_writes_no_slow_log_that_this_user_may_not_write() {
    let Some((uid, _gid)) = nobody() else { return };
    record_all("user=nobody", "theirs", uid);
}

#[test]
fn a_daemon_that_stays_root_writes_no_slow_log_that_others_have_put_into_a_directory() {
    let Some((uid, _gid)) = nobody() else { return };
    record_all("", "sticky", uid);
}

/// The daemon's user owns a directory of the path, and replaces the next one by a link.
#[test]
fn a_directory_that_is_replaced_by_a_link_does_not_mislead_a_daemon_that_reopens_its_log() {
    let Some((uid, _gid)) = nobody() else { return };
    for user in ["", "user=nobody"] {
        let places = Places::new(uid);
        let directory = places.path("theirs/logs");
        fs::create_dir(&directory).unwrap();
        chown(&directory, Some(uid), None).unwrap();
        let path = directory.join("log");
        let daemon = logging_daemon(user, &path);
        fs::rename(&directory, places.path("theirs/moved")).unwrap();
        symlink(places.path("roots"), &directory).unwrap();
        lchown(&directory, Some(uid), None).unwrap();
        daemon.parent().signal(Signal::SIGHUP);
        all_have_logged(
            "the log is not reopened",
            &places.path("theirs/moved/log"),
            ["ERRO cannot reopen the log file", "fork server cannot reopen", "the old log stays"],
        );
        places.check(user);
        assert_eq!(daemon.client().ask("echo x"), "x");
    }
}

/// In a directory of the daemon's user and below it, a link could permit children more than before.
#[test]
fn a_link_that_a_child_can_replace_does_not_extend_the_sandbox_of_the_next_start() {
    let Some((uid, _gid)) = nobody() else { return };
    let places = Places::new(uid);
    let link = places.path("theirs/cache");
    symlink("/", &link).unwrap();
    lchown(&link, Some(uid), None).unwrap();
    let sandboxed = |path: &Path| {
        let program = TestProgram::pool()
            .writable_by_all()
            .options("start=1 user=nobody sandbox best_effort");
        program.options(&format!("may_write={}", path.display()))
    };
    let failed = sandboxed(&link).fail_to_start();
    assert!(failed.stderr.contains("theirs/cache is a symbolic link"), "{}", failed.stderr);
    // A link that root has made is followed.
    symlink(places.path("theirs"), places.path("roots/link")).unwrap();
    sandboxed(&places.path("roots/link")).start();
}

/// The user could enter a directory that is hidden below a directory that only root may enter.
#[test]
fn the_working_directory_is_entered_with_the_permissions_of_the_daemons_user() {
    let Some((uid, _gid)) = nobody() else { return };
    let places = Places::new(uid);
    let secret = places.path("roots/secret");
    fs::create_dir_all(secret.join("inner")).unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o700)).unwrap();
    symlink(secret.join("inner"), places.path("theirs/link")).unwrap();
    lchown(places.path("theirs/link"), Some(uid), None).unwrap();
    let in_directory = |path: &Path| {
        let program = TestProgram::pool().writable_by_all().options("start=1 user=nobody");
        program.options(&format!("workdir={}", path.display()))
    };
    let failed = in_directory(&places.path("theirs/link")).fail_to_start();
    assert!(failed.stderr.contains("cannot change to directory"), "{}", failed.stderr);
    let daemon = in_directory(&secret).start();
    assert_eq!(daemon.parent().workdir(), Some(secret));
}

/// Entering a directory changes nothing, so links are followed as cd follows them.
#[test]
fn the_working_directory_of_a_daemon_that_keeps_its_user_can_be_a_link_of_another_user() {
    let Some((uid, _gid)) = nobody() else { return };
    let places = Places::new(uid);
    let link = places.path("theirs/current");
    symlink(places.path("roots"), &link).unwrap();
    lchown(&link, Some(uid), None).unwrap();
    let options = format!("start=1 workdir={}", link.display());
    let daemon = TestProgram::pool().options(&options).start();
    assert_eq!(daemon.parent().workdir(), Some(places.path("roots")));
}

/// The daemon has dropped the rights that its control socket and its pid file were made with.
#[test]
fn files_that_the_daemons_user_may_not_make_again_are_reported_at_hup() {
    let Some((uid, _gid)) = nobody() else { return };
    let places = Places::new(uid);
    let (control, pidfile) = (places.path("roots/control"), places.path("roots/pid"));
    let options = format!("control={} pidfile={}", control.display(), pidfile.display());
    let program = TestProgram::pool()
        .writable_by_all()
        .logged()
        .options("start=1 user=nobody")
        .options(&options);
    let mut daemon = program.start();
    assert_eq!(fs::metadata(&control).unwrap().uid(), uid);
    fs::remove_file(&control).unwrap();
    fs::remove_file(&pidfile).unwrap();
    daemon.parent().signal(Signal::SIGHUP);
    for path in [control, pidfile] {
        daemon.wait_for_log(&format!("{}: permission denied", path.display()));
    }
    assert_eq!(daemon.client().ask("echo x"), "x");
    daemon.stop();
    places.check("after the stop");
}

/// Where a daemon in a container logs to: a descriptor of its launcher, which may belong to root.
#[test]
fn a_log_to_standard_error_stays_on_the_launchers_descriptor_and_is_not_given_away() {
    let Some(_ids) = nobody() else { return };
    for path in ["/dev/stderr", "/proc/self/fd/2"] {
        let program =
            TestProgram::pool().writable_by_all().options("start=1 min=1 max=1 user=nobody");
        let daemon = program.options(&format!("logfile={path}")).start();
        let stderr = daemon.dir().join("stderr");
        assert_eq!(fs::metadata(&stderr).unwrap().uid(), 0);
        let mut client = daemon.client();
        daemon.parent().signal(Signal::SIGHUP);
        daemon.wait_for_log("reopening logs");
        assert_eq!(client.ask("log after"), "ok");
        daemon.wait_for_log(" after,");
        assert!(!daemon.stderr().contains("cannot reopen"), "{}", daemon.stderr());
        assert_eq!(fs::metadata(&stderr).unwrap().uid(), 0);
    }
}
