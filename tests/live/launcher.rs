//! What the process that launches a daemon hands down: signal mask, ignored signals, timers,
//! descriptors, environment and limits; and signals that foreign tools send.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::harness::{DaemonProcess, Process, Signal, TestProgram, during, nobody, until};

/// The functions that create a test program of each model.
const MODELS: [fn() -> TestProgram; 3] =
    [TestProgram::pool, TestProgram::postfork, TestProgram::solo];

/// Returns the numbers of the signals in a mask of `/proc/PID/status`, except 32 and 33, which the
/// C library uses itself.
fn signals_in(process: Process, mask: &str) -> Vec<u32> {
    let mask = u64::from_str_radix(&process.status(mask)[0], 16).unwrap();
    (1..=31).chain(34..=64).filter(|number| mask & (1 << (number - 1)) != 0).collect()
}

/// Waits until the process has no blocked signal.
fn wait_until_unblocked(process: Process) {
    until("no signal is blocked", || signals_in(process, "SigBlk").is_empty().then_some(()));
}

/// Sends a signal by its number.
fn send(process: Process, number: u32) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{number} {}", process.0)]).status();
    assert!(sent.unwrap().success(), "signal {number}");
}

const PIPE: u32 = 13;
const TTIN: u32 = 21;
const TTOU: u32 = 22;

#[test]
fn signals_that_the_launcher_has_blocked_work() {
    for model in MODELS {
        for options in ["", "detach"] {
            let start = model().logged().options(&format!("start=1 min=1 {options}"));
            let mut daemon = start.launched_with("block=all").start();
            let parent = daemon.parent();
            wait_until_unblocked(parent);
            parent.signal(Signal::SIGHUP);
            daemon.wait_for_log("reopening logs");
            parent.signal(Signal::SIGUSR2);
            daemon.wait_for_log("peek");
            if has_pool(&daemon) {
                let child = daemon.wait_for_children(1)[0];
                wait_until_unblocked(child);
                child.signal(Signal::SIGTERM);
                until("the child is replaced", || (!child.is_alive()).then_some(()));
                daemon.wait_for_children(1);
            }
            let ended = daemon.stop();
            assert_eq!(ended[&parent], "code 0");
        }
    }
}

/// Returns whether the daemon has a pool of children.
fn has_pool(daemon: &DaemonProcess) -> bool {
    daemon.parent().title().starts_with("pool:")
}

#[test]
fn signals_that_the_launcher_has_ignored_work_and_are_not_passed_on() {
    let ignored = "HUP,INT,QUIT,ABRT,USR1,USR2,ALRM,TERM,CHLD,CONT,TSTP,TTIN,TTOU,URG,WINCH";
    let start = TestProgram::pool().logged().options("start=1 min=1 detach");
    let mut daemon = start.launched_with(&format!("ignore={ignored}")).start();
    let parent = daemon.parent();
    assert_eq!(signals_in(parent, "SigIgn"), [PIPE]);
    for process in [daemon.fork_server(), daemon.children()[0]] {
        assert_eq!(signals_in(process, "SigIgn"), [PIPE, TTIN, TTOU]);
    }
    let mut client = daemon.client();
    let run = client.ask("run grep Sig /proc/self/status");
    let field = |name: &str| {
        let (_before, after) = run.split_once(name).expect(&run);
        u64::from_str_radix(after.trim_start_matches(':').trim().split('|').next().unwrap(), 16)
    };
    let bit = |number: u32| 1_u64 << (number - 1);
    assert_eq!(field("SigBlk"), Ok(0), "{run}");
    let of_c_library = bit(32) | bit(33);
    let ignored = field("SigIgn").map(|mask| mask & !of_c_library);
    assert_eq!(ignored, Ok(bit(TTIN) | bit(TTOU)), "{run}");
    drop(client);
    parent.signal(Signal::SIGHUP);
    daemon.wait_for_log("reopening logs");
    parent.signal(Signal::SIGINT);
    assert_eq!(daemon.wait_until_gone()[&parent], "code 0");
}

#[test]
fn a_launcher_that_ignores_the_exits_of_its_children_does_not_hide_the_result() {
    let detached = TestProgram::pool().logged().options("detach").launched_with("ignore=CHLD");
    drop(detached.start());
    for options in ["", "detach", "preload_panics", "preload_exits", "detach preload_exits"] {
        let start = TestProgram::pool().logged().options(options);
        let (start, reason) = match options.contains("preload") {
            false => (start.options("preload_fails=no_table"), "preload failed: no_table"),
            true => (start, "it ended before it was ready: "),
        };
        let failed = start.launched_with("ignore=CHLD").fail_to_start();
        assert_eq!(failed.status, "code 1", "{options}");
        assert!(failed.stderr.contains(reason), "{options}: {}", failed.stderr);
        assert!(!failed.stderr.contains("unknown"), "{options}: {}", failed.stderr);
    }
}

#[test]
fn standard_descriptors_that_the_launcher_has_closed_are_open_on_null() {
    for options in ["", "detach"] {
        let start = TestProgram::pool().logged().options(options);
        let daemon = start.launched_with("close=0,2").start();
        for process in daemon.processes() {
            let open = process.descriptors();
            assert_eq!(open[&0].to_str(), Some("/dev/null"));
            assert_eq!(open[&2], daemon.logfile());
        }
    }
    let daemon = TestProgram::pool().launched_with("close=0,2").start();
    for process in daemon.processes() {
        assert_eq!(process.descriptors()[&2].to_str(), Some("/dev/null"));
    }
}

#[test]
fn signals_that_are_pending_at_the_launch_are_handled_after_it() {
    let pending = "block=all pending=USR1 pending=ALRM pending=HUP";
    let daemon = TestProgram::pool().logged().options("start=1").launched_with(pending).start();
    daemon.wait_for_log("reopening logs");
    assert_eq!(daemon.client().ask("echo served"), "served");
}

#[test]
fn the_parent_does_not_adopt_orphans_although_the_launcher_has_asked_for_it() {
    for model in MODELS {
        let mut daemon = model().logged().launched_with("subreaper=on").start();
        let parent = daemon.parent();
        let dir = daemon.dir().display().to_string();
        // The process in the background loses its parent.
        daemon.ask(&format!(
            "foreign (until test -e {dir}/go; do sleep 0.01; done; exit 3) & echo $! > {dir}/orphan"
        ));
        daemon.wait_for_log("received: ForeignExited");
        let orphan = fs::read_to_string(daemon.dir().join("orphan")).unwrap();
        let orphan = Process(orphan.trim().parse().unwrap());
        assert!(orphan.is_alive() && !parent.children().contains(&orphan));
        fs::write(daemon.dir().join("go"), "").unwrap();
        until("the orphan is reaped", || daemon.reaped().remove(&orphan).filter(|s| s == "code 3"));
        daemon.stop();
    }
}

#[test]
fn a_death_signal_that_the_launcher_has_asked_for_is_kept_unless_the_daemon_leaves_it() {
    let users = nobody().map(|_ids| "user=nobody");
    for options in ["", "detach"].into_iter().chain(users) {
        let start = TestProgram::pool().logged().writable_by_all().options("start=1");
        let start = start.options(options).launched_with("under=launcher death_signal=TERM");
        let mut daemon = start.start();
        daemon.launcher().signal(Signal::SIGKILL);
        until("the launcher has ended", || daemon.launcher_status());
        if options.is_empty() {
            daemon.wait_until_gone();
            assert!(daemon.log().contains("received: DaemonShutdown"), "{}", daemon.log());
        } else {
            // The parent handles its signals in order.
            daemon.parent().signal(Signal::SIGUSR2);
            daemon.wait_for_log("peek");
            assert_eq!(daemon.report()["phase"], "running", "{options}");
            daemon.stop();
        }
    }
}

#[test]
fn what_the_administrator_has_chosen_is_kept_in_every_process() {
    let start = TestProgram::pool().options("start=2");
    let daemon = start.launched_with("umask=037 nice=3 limit=core:0 limit=open_files:200").start();
    for process in daemon.processes() {
        assert_eq!(process.status("Umask"), ["0037"]);
        assert_eq!(process.nice(), Some(3));
        assert_eq!(process.limit("Max core file size").as_deref(), Some("0"));
        assert_eq!(process.limit("Max open files").as_deref(), Some("200"));
    }
}

#[test]
fn a_removed_working_directory_prevents_only_relative_paths() {
    let start = TestProgram::pool().logged().options("pidfile=DIR/pid control=DIR/control");
    fs::create_dir(start.dir().join("gone")).unwrap();
    drop(start.launched_with("cd=DIR/gone").start());
    for path in ["pidfile=pid", "logfile=log", "control=control", "board_file=board"] {
        let start = TestProgram::pool().options(path);
        fs::create_dir(start.dir().join("gone")).unwrap();
        let failed = start.launched_with("cd=DIR/gone").fail_to_start();
        assert_eq!(failed.status, "code 1");
        let stderr = failed.stderr.to_lowercase();
        assert!(stderr.contains("no such file"), "{path}: {}", failed.stderr);
        assert!(!failed.stderr.contains("panicked"), "{path}: {}", failed.stderr);
    }
}

#[test]
fn a_pending_alarm_of_the_launcher_does_not_end_the_daemon() {
    for program in [TestProgram::pool(), TestProgram::workers()] {
        let mut daemon = program.options("start=1 min=1").launched_with("alarm=3").launch();
        let parent = daemon.parent();
        during(Duration::from_millis(3300), || assert!(parent.is_alive()));
        assert_eq!(daemon.client().ask("echo served"), "served");
        assert_eq!(daemon.stop()[&parent], "code 0");
    }
}

/// The signals whose default action is to end or to stop a process, and that have no meaning for
/// the parent or for children: USR1, ALRM, STKFLT, XFSZ, VTALRM, PROF, IO, PWR.
const UNUSED: [u32; 8] = [10, 14, 16, 25, 26, 27, 29, 30];

#[test]
fn signals_without_a_meaning_do_nothing() {
    for model in MODELS {
        let mut daemon = model().logged().options("start=2 min=2").start();
        let before = daemon.processes();
        let real_time = (34..=64).step_by(10);
        for number in UNUSED.into_iter().chain(real_time).chain([PIPE, 17, 23, 28]) {
            for process in &before {
                send(*process, number);
            }
        }
        // Stop signals of a terminal have no effect on children.
        if has_pool(&daemon) {
            for child in daemon.children() {
                for signal in [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU] {
                    child.signal(signal);
                }
            }
            assert_eq!(daemon.client().ask("echo served"), "served");
        }
        // The parent handles its signals in order, so it has survived the others.
        daemon.parent().signal(Signal::SIGUSR2);
        daemon.wait_for_log("peek");
        for process in before {
            assert!(matches!(process.state(), Some('R' | 'S')), "{process:?}");
        }
        daemon.stop();
    }
}

#[test]
fn faults_and_the_limit_of_processor_time_still_end_a_process() {
    let daemon = TestProgram::pool().logged().options("start=1 min=1").start();
    for signal in [
        Signal::SIGFPE,
        Signal::SIGILL,
        Signal::SIGSYS,
        Signal::SIGTRAP,
        Signal::SIGABRT,
        Signal::SIGXCPU,
    ] {
        let child = daemon.client().pid();
        wait_until_unblocked(child);
        child.signal(signal);
        until("the child has ended", || (!child.is_alive()).then_some(()));
    }
}

#[test]
fn no_process_of_the_daemon_sees_the_variables_of_the_supervisor() {
    let variables = [
        ("NOTIFY_SOCKET", "DIR/notify"),
        ("WATCHDOG_USEC", "60000000"),
        ("LISTEN_FDNAMES", "web"),
        ("FDSTORE", "3"),
        ("MAINPID", "1"),
        ("MANAGERPID", "1"),
        ("MONITOR_UNIT", "x.service"),
        ("SERVER_STARTER_PORT", "80=3"),
        ("SERVER_STARTER_GENERATION", "2"),
        ("EINHORN_MASTER_PID", "1"),
    ];
    for options in ["", "environment=keep", "environment=PATH,*"] {
        let mut start = TestProgram::pool().options("start=1").options(options);
        let socket = start.dir().join("notify");
        let _manager = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
        for (name, value) in variables {
            let value = value.replace("DIR", &start.dir().display().to_string());
            start = start.environment(name, value);
        }
        let daemon = start.environment("OWN_VARIABLE", "kept").start();
        let mut client = daemon.client();
        for seen in [client.ask("variables"), client.ask("run env"), daemon.ask("variables")] {
            assert!(seen.contains("OWN_VARIABLE=kept"), "{seen}");
            for (name, _value) in variables {
                assert!(!seen.contains(&format!("{name}=")), "{options}: {name}: {seen}");
            }
        }
    }
    let start = TestProgram::pool().options("start=1 environment=FDSTORE,PATH");
    let daemon = start.environment("FDSTORE", "3").start();
    assert!(daemon.client().ask("variables").contains("FDSTORE=3"));
}

#[test]
fn a_manager_of_workers_resets_the_same() {
    let start = TestProgram::workers().options("start=2");
    let mut daemon = start.launched_with("block=all ignore=INT,CHLD,USR1,TSTP,HUP").launch();
    let manager = daemon.parent();
    let workers = daemon.wait_for_workers(2);
    for process in workers.iter().copied().chain([manager]) {
        wait_until_unblocked(process);
        assert_eq!(signals_in(process, "SigIgn"), [PIPE]);
        for number in UNUSED {
            send(process, number);
        }
    }
    assert_eq!(daemon.client().ask("echo served"), "served");
    assert_eq!(manager.children(), workers);
    assert_eq!(daemon.stop()[&manager], "code 0");
}
