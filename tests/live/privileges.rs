//! Tests what is left of root's privileges in the processes of a daemon that changes its user, and
//! what its children can do to the files that were opened while it was privileged.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use tempfile::TempDir;

use crate::harness::{
    DaemonProcess, GuardedProgram, Process, Signal, TestProgram, nobody, skipped, until,
};

/// Returns a pool whose directory the daemon's user can write.
fn pool_of_nobody() -> TestProgram {
    let start = TestProgram::pool().writable_by_all().logged();
    start.options("start=1 min=1 max=2 user=nobody")
}

/// Creates a directory of this owner in a test's directory.
fn directory(start: &TestProgram, name: &str, owner: u32) {
    let path = start.dir().join(name);
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    chown(&path, Some(owner), None).unwrap();
}

/// Creates a directory that only root can write, in a directory that only root can change.
fn directory_of_root() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

const NONE: &str = "0000000000000000";
const NET_BIND_SERVICE: &str = "0000000000000400";

#[track_caller]
fn check_capabilities(daemon: &DaemonProcess, sets: [(&str, &str); 5]) {
    for process in daemon.processes_with_children() {
        for (set, expected) in sets {
            assert_eq!(process.status(set), [expected], "{set} of {}", process.title());
        }
    }
}

#[test]
fn no_capability_is_left_in_any_set_of_any_process() {
    if nobody().is_none() {
        return;
    }
    let daemon = pool_of_nobody().start();
    let sets = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
    check_capabilities(&daemon, sets.map(|set| (set, NONE)));
    for process in daemon.processes_with_children() {
        assert_eq!(process.status("NoNewPrivs"), ["1"], "{}", process.title());
    }
}

#[test]
fn a_kept_capability_works_in_a_child_and_all_others_are_dropped() {
    if nobody().is_none() {
        return;
    }
    let daemon = pool_of_nobody().options("keep_capabilities=CAP_NET_BIND_SERVICE").start();
    check_capabilities(
        &daemon,
        [
            ("CapInh", NONE),
            ("CapPrm", NET_BIND_SERVICE),
            ("CapEff", NET_BIND_SERVICE),
            ("CapBnd", NET_BIND_SERVICE),
            ("CapAmb", NONE),
        ],
    );
    let mut client = daemon.client();
    // Any port below 1024 that is free will do.
    let bound = (600..700).any(|port| client.ask(&format!("try bind 127.0.0.1:{port}")) == "ok");
    assert!(bound, "{}", client.ask("try bind 127.0.0.1:600"));
    assert_eq!(client.ask("root"), "Err(EPERM)");
    let daemon = pool_of_nobody().start();
    if fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap().trim() == "1024"
    {
        assert_eq!(daemon.client().ask("try bind 127.0.0.1:600"), "EACCES");
    }
}

#[test]
fn capabilities_that_cannot_be_kept_are_refused_before_anything_is_forked() {
    if nobody().is_none() {
        return;
    }
    let refused = |start: TestProgram, options: &str, sentence: &str| {
        let failed = start.options(options).fail_to_start();
        assert_eq!((failed.status.as_str(), failed.processes), ("code 1", 1), "{}", failed.stderr);
        assert!(failed.stderr.contains(sentence), "{}", failed.stderr);
    };
    let without_user = "keep_capabilities is CAP_KILL: it requires a user";
    refused(TestProgram::pool(), "keep_capabilities=CAP_KILL", without_user);
    let root_again = "keep_capabilities is CAP_SETUID: the daemon could become root again with it";
    refused(pool_of_nobody(), "keep_capabilities=CAP_CHOWN,CAP_SETUID", root_again);
    let has = Process(std::process::id()).status("CapPrm").join("");
    let has = u64::from_str_radix(&has, 16).unwrap();
    // CAP_SYS_RESOURCE, which this machine may withhold from root.
    if has & (1 << 24) == 0 {
        let missing = "keep_capabilities is CAP_SYS_RESOURCE: this process does not have it";
        refused(pool_of_nobody(), "keep_capabilities=CAP_SYS_RESOURCE", missing);
    }
}

#[test]
fn no_new_privs_can_be_switched_on_and_off() {
    let daemon = TestProgram::pool().options("start=1 no_new_privs=true").start();
    assert!(
        daemon
            .processes_with_children()
            .iter()
            .all(|process| process.status("NoNewPrivs") == ["1"])
    );
    if nobody().is_some() {
        let daemon = pool_of_nobody().options("no_new_privs=false").start();
        assert!(
            daemon
                .processes_with_children()
                .iter()
                .all(|process| process.status("NoNewPrivs") == ["0"])
        );
    }
    let daemon = TestProgram::pool().options("start=1").start();
    let own = Process(std::process::id()).status("NoNewPrivs");
    assert!(
        daemon.processes_with_children().iter().all(|process| process.status("NoNewPrivs") == own)
    );
}

const SECRET: &str = "TEST_SECRET_OF_THE_LAUNCHER";

#[test]
fn the_environment_of_the_launcher_is_not_inherited_and_not_left_in_memory() {
    if nobody().is_none() {
        return;
    }
    let start = pool_of_nobody().environment(SECRET, "xyzzy").environment("LC_ALL", "C");
    let socket = start.dir().join("notify");
    let _manager = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
    let daemon = start.environment("NOTIFY_SOCKET", socket).start();
    let variables = daemon.client().ask("variables");
    for kept in ["LC_ALL=C", "PATH=", "USER=nobody", "LOGNAME=nobody", "HOME="] {
        assert!(variables.contains(kept), "{kept}: {variables}");
    }
    for dropped in [SECRET, "NOTIFY_SOCKET", "HOME=/root"] {
        assert!(!variables.contains(dropped), "{dropped}: {variables}");
    }
    for process in daemon.processes_with_children() {
        let memory = fs::read(format!("/proc/{}/environ", process.0)).unwrap();
        assert!(!String::from_utf8_lossy(&memory).contains(SECRET), "{}", process.title());
    }
    assert!(!heap_contains(daemon.client().pid(), b"xyzzy"), "the value is left on the heap");
}

/// Returns whether the heap of a process contains these bytes.
fn heap_contains(process: Process, bytes: &[u8]) -> bool {
    use std::os::unix::fs::FileExt;
    let maps = fs::read_to_string(format!("/proc/{}/maps", process.0)).unwrap();
    let heap = maps.lines().find(|line| line.ends_with("[heap]")).expect("the process has a heap");
    let (start, rest) = heap.split_once('-').unwrap();
    let (end, _rest) = rest.split_once(' ').unwrap();
    let number = |text: &str| u64::from_str_radix(text, 16).unwrap();
    let mut memory = vec![0; usize::try_from(number(end) - number(start)).unwrap()];
    let file = fs::File::open(format!("/proc/{}/mem", process.0)).unwrap();
    file.read_exact_at(&mut memory, number(start)).unwrap();
    memory.windows(bytes.len()).any(|window| window == bytes)
}

#[test]
fn the_environment_can_be_kept_and_chosen() {
    let variables = |start: TestProgram, options: &str| {
        let daemon =
            start.environment(SECRET, "x").environment("APP_A", "1").options(options).start();
        daemon.client().ask("variables")
    };
    assert!(variables(TestProgram::pool(), "").contains(SECRET));
    let chosen = variables(TestProgram::pool(), "environment=APP_*");
    assert_eq!(chosen, "APP_A=1");
    if nobody().is_some() {
        assert!(variables(pool_of_nobody(), "environment=keep").contains(SECRET));
        let chosen = variables(pool_of_nobody(), "environment=APP_*");
        assert!(chosen.contains("APP_A=1") && chosen.contains("USER=nobody"), "{chosen}");
        assert!(!chosen.contains("PATH="), "{chosen}");
    }
}

/// Returns which of the descriptors 7, 8 and 9, which a shell opens before it executes the daemon,
/// each process has.
#[track_caller]
fn stray_descriptors(start: TestProgram, options: &str) -> Vec<u32> {
    let start = start.after_shell_command("exec 7</etc/passwd 8</etc/passwd 9</etc/passwd");
    let daemon = start.options(options).start();
    let passwd = fs::canonicalize("/etc/passwd").unwrap();
    let open = |process: Process| -> Vec<u32> {
        let open = process.descriptors().into_iter();
        open.filter(|(_, target)| *target == passwd).map(|(fd, _)| fd).collect()
    };
    let parents = open(daemon.parent());
    for process in daemon.processes_with_children() {
        assert_eq!(open(process), parents, "{}", process.title());
    }
    if parents.is_empty() {
        let record = daemon.wait_for_log("closed inherited descriptors");
        assert!(record.contains("7 /etc/passwd, 8 /etc/passwd, 9 /etc/passwd"), "{record}");
    }
    parents
}

#[test]
fn stray_descriptors_of_the_launcher_are_closed_unless_they_are_kept() {
    assert_eq!(stray_descriptors(TestProgram::pool().logged(), "start=1"), [7, 8, 9]);
    let chosen = stray_descriptors(TestProgram::pool().logged(), "start=1 descriptors=8");
    assert_eq!(chosen, [8]);
    if nobody().is_some() {
        assert!(stray_descriptors(pool_of_nobody(), "").is_empty());
        assert_eq!(stray_descriptors(pool_of_nobody(), "descriptors=keep"), [7, 8, 9]);
    }
}

#[test]
fn descriptors_that_systemd_passes_are_kept() {
    if nobody().is_none() {
        return;
    }
    let start = pool_of_nobody().after_shell_command(
        "exec 3</etc/passwd 4</etc/passwd 5</etc/passwd; export LISTEN_PID=$$ LISTEN_FDS=2",
    );
    let daemon = start.start();
    let passwd = fs::canonicalize("/etc/passwd").unwrap();
    let child = daemon.client().pid().descriptors();
    let kept: Vec<u32> =
        child.into_iter().filter(|(_, target)| *target == passwd).map(|(fd, _)| fd).collect();
    assert_eq!(kept, [3, 4]);
}

#[test]
fn a_child_cannot_read_the_memory_of_other_processes_of_its_user() {
    let memory_of = |daemon: &DaemonProcess, process: Process| {
        daemon.client().ask(&format!("try open_memory {}", process.0))
    };
    if let Some(_ids) = nobody() {
        let daemon = pool_of_nobody().start();
        for process in [daemon.parent(), daemon.fork_server()] {
            assert_eq!(memory_of(&daemon, process), "EACCES", "{}", process.title());
        }
        // Tracing is permitted for children only.
        let daemon = pool_of_nobody().options("ptrace=true").start();
        assert_eq!(memory_of(&daemon, daemon.parent()), "EACCES");
        assert_eq!(memory_of(&daemon, daemon.fork_server()), "EACCES");
        let mut client = daemon.client();
        let own = client.pid();
        // While one child is busy, there is a spare one.
        let other = until("there is another child", || {
            daemon.children().into_iter().find(|child| *child != own)
        });
        until("the other child may be traced", || {
            (client.ask(&format!("try open_memory {}", other.0)) == "ok").then_some(())
        });
        let daemon = pool_of_nobody().options("core_dumps=false").start();
        assert!(daemon.processes_with_children().iter().all(|process| {
            process.limit("Max core file size").as_deref() == Some("0")
                && fs::metadata(format!("/proc/{}/mem", process.0)).unwrap().uid() == 0
        }));
    }
}

#[test]
fn only_children_that_may_dump_core_do() {
    if nobody().is_none() {
        return;
    }
    let crash = |options: &str| {
        let options = format!("{options} workdir=DIR verbose");
        let daemon = pool_of_nobody().options(&options).start();
        let mut client = daemon.client();
        let child = client.pid();
        client.send("abort\n").unwrap();
        assert_eq!(client.rest(), "");
        daemon.wait_for_log(&format!("ChildExited {} killed by signal ABRT", child.0))
    };
    assert!(!crash("").contains("core dumped"));
    assert!(!crash("core_dumps=false").contains("core dumped"));
    // The hard limit of this process may forbid core dumps.
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    if line.split_whitespace().nth(5) != Some("0") && !pattern.trim().is_empty() {
        assert!(crash("core_dumps=true").contains("core dumped"));
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let failed = TestProgram::pool().options("core_dumps=true ptrace=false").fail_to_start();
    let sentence = "core_dumps is true: ptrace is false, which forbids core dumps, too";
    assert!(failed.stderr.contains(sentence), "{}", failed.stderr);
    assert_eq!(failed.processes, 1);
}

#[test]
fn a_child_can_neither_lock_change_nor_remove_the_pid_file_of_root() {
    if nobody().is_none() {
        return;
    }
    let run = directory_of_root();
    let path = run.path().join("pid");
    let mut daemon = pool_of_nobody().options(&format!("pidfile={}", path.display())).start();
    let found = fs::metadata(&path).unwrap();
    assert_eq!((found.uid(), found.mode() & 0o777), (0, 0o600));
    for action in ["lock", "read", "write", "set_length_0", "remove"] {
        let answer = daemon.client().ask(&format!("try {action} {}", path.display()));
        assert_eq!(answer, "EACCES", "{action}");
    }
    daemon.stop();
}

/// In a directory of the daemon's user, a child can prepare any path for the next start.
#[test]
fn links_in_a_directory_of_the_daemons_user_do_not_make_root_touch_other_files() {
    let Some((uid, _gid)) = nobody() else { return };
    let start = pool_of_nobody();
    directory(&start, "theirs", uid);
    directory(&start, "roots", 0);
    let (theirs, roots) = (start.dir().join("theirs"), start.dir().join("roots"));
    let precious = roots.join("precious");
    fs::write(&precious, "precious").unwrap();
    fs::set_permissions(&precious, fs::Permissions::from_mode(0o600)).unwrap();
    let refused = |options: &str, prepare: &dyn Fn()| {
        for name in fs::read_dir(&theirs).unwrap() {
            fs::remove_file(name.unwrap().path()).unwrap();
        }
        prepare();
        let options = options.replace("THEIRS", &theirs.display().to_string());
        let again = TestProgram::pool().writable_by_all().options("user=nobody start=1");
        let failed = again.options(&options).fail_to_start();
        assert_eq!((failed.status.as_str(), failed.processes), ("code 1", 1), "{options}");
        let found = fs::metadata(&precious).unwrap();
        assert_eq!((found.uid(), found.mode() & 0o777), (0, 0o600), "{options}");
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious", "{options}");
        assert_eq!(fs::read_dir(&roots).unwrap().count(), 1, "{options}");
        failed.stderr
    };
    let settings = ["logfile", "pidfile", "control"];
    for setting in settings {
        let options = format!("{setting}=THEIRS/file");
        refused(&options, &|| symlink(&precious, theirs.join("file")).unwrap());
        refused(&options, &|| fs::hard_link(&precious, theirs.join("file")).unwrap());
        // A directory of the path is replaced by a link to a directory of root.
        let options = format!("{setting}=THEIRS/directory/new");
        let error = refused(&options, &|| symlink(&roots, theirs.join("directory")).unwrap());
        assert!(error.contains("theirs/directory/new"), "{error}");
    }
    let slowlog = "babysit=1000 slowlog_after=1000 slowlog=THEIRS/file";
    refused(slowlog, &|| symlink(&precious, theirs.join("file")).unwrap());
}

#[test]
fn files_in_a_directory_of_the_daemons_user_belong_to_this_user() {
    let Some((uid, gid)) = nobody() else { return };
    let start = pool_of_nobody();
    directory(&start, "theirs", uid);
    let options = "pidfile=DIR/theirs/pid control=DIR/theirs/control board_file=DIR/theirs/board \
                   logfile=DIR/theirs/log";
    let daemon = start.options(options).start();
    for (name, mode) in [("pid", 0o600), ("control", 0o600), ("board", 0o600), ("log", 0o640)] {
        let found = fs::symlink_metadata(daemon.dir().join("theirs").join(name)).unwrap();
        let owner = (found.uid(), found.gid(), found.mode() & 0o777 & !0o027);
        assert_eq!(owner, (uid, gid, mode & !0o027), "{name}");
    }
}

#[test]
fn files_in_a_directory_of_root_are_created_for_the_daemons_user() {
    let Some((uid, _gid)) = nobody() else { return };
    let roots = directory_of_root();
    let (control, log) = (roots.path().join("control"), roots.path().join("log"));
    let options = format!("control={} logfile={}", control.display(), log.display());
    let start = TestProgram::pool().writable_by_all().options("start=1 user=nobody");
    let mut daemon = start.options(&options).start();
    let owner = |path: &Path| fs::symlink_metadata(path).unwrap().uid();
    assert_eq!((owner(&control), owner(&log)), (uid, uid));
    // The next start replaces the socket that this one cannot remove.
    daemon.stop();
    assert!(control.exists());
    assert_eq!(owner(&log), uid);
}

#[test]
fn a_child_that_truncates_the_scoreboards_file_does_not_end_the_parent() {
    let options = "start=2 min=2 board_file=DIR/board grace=2000";
    let mut daemon = TestProgram::pool().logged().options(options).start();
    let board = daemon.dir().join("board");
    let length = fs::metadata(&board).unwrap().len();
    let mut client = daemon.client();
    let (parent, fork_server, child) = (daemon.parent(), daemon.fork_server(), client.pid());
    for length_left in [0, 1, 64] {
        let file = fs::File::options().write(true).open(&board).unwrap();
        file.set_len(length_left).unwrap();
        let truncated = client.ask(&format!("try set_length_0 {}", board.display()));
        assert_eq!(truncated, "ok");
        // The parent reads the whole board for the report, and the child writes its label.
        daemon.ask("status");
        assert_eq!(client.ask("label on"), "ok");
        assert_eq!(fs::metadata(&board).unwrap().len(), length);
    }
    assert_eq!((daemon.parent(), daemon.fork_server(), client.pid()), (parent, fork_server, child));
    daemon.stop();
}

#[test]
fn children_of_another_user_do_not_have_the_launchers_terminal() {
    const SCRIPT: &str = "/usr/bin/script";
    if nobody().is_none() {
        return;
    }
    if !Path::new(SCRIPT).exists() {
        return skipped("script(1), which gives a program a terminal, is not installed");
    }
    let terminals = |options: &str| -> Vec<bool> {
        let directory = directory_of_root();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let socket = directory.path().join("commands");
        let command = format!(
            "{} command_socket={} start=1 min=1 max=2 {options}",
            env!("CARGO_BIN_EXE_pool"),
            socket.display()
        );
        let mut launcher = GuardedProgram::program(SCRIPT, &["-qec", &command, "/dev/null"]);
        let find = |title: &str| {
            until(title, || {
                let mut running = launcher.process().descendants().into_iter();
                running.find(|process| process.title().starts_with(title))
            })
        };
        let family = ["pool: parent", "pool: fork server", "pool: child 0"].map(find);
        let has_terminal = |process: Process| process.terminal().unwrap() != "0";
        let found = family.map(has_terminal).to_vec();
        assert!(family[0].signal(Signal::SIGTERM));
        launcher.wait_until_gone();
        found
    };
    assert_eq!(terminals("user=nobody"), [true, false, false]);
    assert_eq!(terminals(""), [true, true, true]);
}
