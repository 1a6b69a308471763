//! Tests of daemons as process 1 of a pid namespace, as in a container. They need root, and are
//! skipped otherwise.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{GuardedProgram, LineClient, Process, Signal, skipped, until};

/// The number of processes that lose their parent.
const ORPHANS: usize = 50;

/// Starts a program as process 1 of a new pid namespace. Returns `None` if this is not permitted.
fn start(program: &str, unshare: &[&str], options: &str) -> Option<GuardedProgram> {
    let permitted = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "true"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !permitted {
        skipped("new pid namespaces are not permitted");
        return None;
    }
    let arguments = ["--pid", "--fork", "--kill-child"];
    let arguments: Vec<&str> = arguments
        .into_iter()
        .chain(unshare.iter().copied())
        .chain([program])
        .chain(options.split_whitespace())
        .collect();
    Some(GuardedProgram::program("/usr/bin/unshare", &arguments))
}

fn pool(options: &str) -> Option<GuardedProgram> {
    let options = format!("command_socket=DIR/commands {options}");
    start(env!("CARGO_BIN_EXE_pool"), &["--mount-proc"], &options)
}

/// Returns process 1 of the namespace.
fn init(program: &GuardedProgram) -> Process {
    until("process 1 runs", || program.process().children().first().copied())
}

/// Returns the parent of the daemon, which is the child of process 1.
fn parent(program: &GuardedProgram) -> Process {
    let init = init(program);
    until("the parent runs", || {
        init.children().into_iter().find(|child| child.title().contains(": parent"))
    })
}

fn client(program: &GuardedProgram) -> LineClient {
    let port = until("the port is printed", || {
        let stdout = program.stdout();
        let (_, rest) = stdout.split_once("PORT=")?;
        rest.lines().next()?.parse().ok()
    });
    LineClient::connect(port)
}

fn wait_until_ready(program: &GuardedProgram) {
    until("the daemon is ready", || program.stderr().contains("daemon ready").then_some(()));
}

/// Returns the number of zombies among the children of a process.
fn zombies(process: Process) -> usize {
    let path = format!("/proc/{0}/task/{0}/children", process.0);
    let children = std::fs::read_to_string(path).unwrap_or_default();
    let pids = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    pids.filter(|pid| Process(*pid).state() == Some('Z')).count()
}

/// Starts processes in the namespace whose parent exits, waits until they were adopted, and ends
/// them.
fn make_orphans(init: Process) {
    let before = init.children();
    let script = format!("for i in $(seq {ORPHANS}); do sleep 1000 & done");
    let made = Command::new("nsenter")
        .args(["--target", &init.0.to_string(), "--pid", "sh", "-c", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    assert!(made.unwrap().success());
    let orphans = until("the orphans are adopted", || {
        let children = init.children();
        (children.len() == before.len() + ORPHANS).then_some(children)
    });
    for orphan in orphans.iter().filter(|process| !before.contains(process)) {
        assert!(orphan.signal(Signal::SIGKILL));
    }
}

#[test]
fn process_1_reaps_processes_that_lost_their_parent_and_exits_with_the_code_of_the_daemon() {
    let Some(mut program) = pool("start=2 max=4") else { return };
    wait_until_ready(&program);
    let (init, parent) = (init(&program), parent(&program));
    assert!(init.title().contains(": init"), "{}", init.title());
    make_orphans(init);
    until("no zombie is left", || (init.children().len() == 1 && zombies(init) == 0).then_some(()));
    assert_eq!((zombies(parent), init.children()), (0, vec![parent]));
    assert_eq!(client(&program).ask("echo on"), "on");
    assert!(init.signal(Signal::SIGTERM));
    assert_eq!(program.wait_until_gone(), "code 0");
    assert!(program.stderr().contains("daemon stopped"));
}

#[test]
fn process_1_forwards_each_signal_once() {
    let Some(mut program) = pool("start=1 max=1") else { return };
    wait_until_ready(&program);
    let init = init(&program);
    assert!(init.signal(Signal::SIGHUP));
    until("the log is reopened", || program.stderr().contains("reopening logs").then_some(()));
    let mut serving = client(&program);
    serving.pid();
    assert!(init.signal(Signal::SIGTERM));
    until("the daemon stops", || program.stderr().contains("daemon stopping").then_some(()));
    // A second TERM would have made the stop immediate.
    assert_eq!(serving.ask("echo still here"), "still here");
    assert_eq!(serving.ask("done"), "ok");
    assert_eq!(program.wait_until_gone(), "code 0");
}

#[test]
fn process_1_keeps_no_descriptor_of_the_daemon() {
    let Some(program) = pool("start=1 max=1") else { return };
    wait_until_ready(&program);
    let open: Vec<u32> = init(&program).descriptors().into_keys().collect();
    assert_eq!(open, [0, 1, 2]);
}

#[test]
fn a_failed_start_in_process_1_exits_with_its_code_and_its_error() {
    let Some(mut program) = pool("preload_fails=nothing") else { return };
    assert_eq!(program.wait_until_gone(), "code 1");
    assert!(program.stderr().contains("preload failed: nothing"), "{}", program.stderr());
}

#[test]
fn children_finish_their_requests_when_the_daemon_in_a_container_is_killed() {
    let Some(mut program) = pool("start=1 max=1 grace=20000") else { return };
    wait_until_ready(&program);
    let mut serving = client(&program);
    serving.pid();
    assert!(parent(&program).signal(Signal::SIGKILL));
    until("the child stops", || program.stderr().contains("DaemonShutdown").then_some(()));
    assert_eq!(serving.ask("echo still here"), "still here");
    assert_eq!(serving.ask("done"), "ok");
    assert_eq!(program.wait_until_gone(), "code 137");
}

#[test]
fn a_daemon_that_would_detach_stays_in_the_container() {
    let options = "start=1 max=1 detach logfile=DIR/log pidfile=DIR/pid";
    let Some(mut program) = pool(options) else { return };
    until("the daemon is ready", || program.read("log").contains("daemon ready").then_some(()));
    assert_eq!(program.read("pid").trim(), "2", "the pid file has the pid in the container");
    assert_eq!(client(&program).ask("echo on"), "on");
    assert!(init(&program).signal(Signal::SIGTERM));
    assert_eq!(program.wait_until_gone(), "code 0");
}

#[test]
fn a_manager_of_workers_leaves_process_1_too() {
    let Some(mut program) = start(env!("CARGO_BIN_EXE_workers"), &["--mount-proc"], "start=2")
    else {
        return;
    };
    assert_eq!(client(&program).ask("echo on"), "on");
    let init = init(&program);
    make_orphans(init);
    until("no zombie is left", || (init.children().len() == 1).then_some(()));
    assert!(init.signal(Signal::SIGTERM));
    assert_eq!(program.wait_until_gone(), "code 0");
}

#[test]
fn a_daemon_runs_in_a_root_directory_with_nothing_but_its_program() {
    let root = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_pool"));
    for file in libraries(program).iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_pool")]) {
        let place = root.path().join(file.trim_start_matches('/'));
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::copy(file, place).unwrap();
    }
    std::fs::create_dir(root.path().join("run")).unwrap();
    // No /proc, no /dev, no /etc: the user is a number.
    let at = format!("--root={}", root.path().display());
    let unshare = [at.as_str(), "--setgid=65534", "--setuid=65534"];
    std::os::unix::fs::chown(root.path().join("run"), Some(65_534), Some(65_534)).ok();
    let options = "start=2 max=4 command_socket=/run/commands control=/run/control";
    let Some(mut program) = start(env!("CARGO_BIN_EXE_pool"), &unshare, options) else { return };
    wait_until_ready(&program);
    assert_eq!(client(&program).ask("echo on"), "on");
    assert!(init(&program).signal(Signal::SIGTERM));
    assert_eq!(program.wait_until_gone(), "code 0");
}

/// Returns the shared libraries that a program needs, and its loader.
fn libraries(program: &Path) -> Vec<String> {
    let output = Command::new("ldd").arg(program).output().expect("ldd runs");
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let path = |word: &&str| word.starts_with('/');
    output
        .lines()
        .filter_map(|line| line.split_whitespace().find(path).map(str::to_owned))
        .collect()
}
