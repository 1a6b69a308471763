//! Detaching from the terminal: the launching process reports the result, and a failed start leaves
//! no process.

use std::fs;
use std::net::TcpListener;

use crate::harness::{Process, Signal, TestProgram, until};

#[test]
fn a_detached_daemon_has_no_terminal_and_its_own_session() {
    for start in [TestProgram::pool(), TestProgram::postfork(), TestProgram::solo()] {
        let daemon = start.logged().options("start=2 detach").start();
        let parent = daemon.parent();
        let ours = Process(std::process::id());
        assert_ne!(parent.session(), ours.session());
        assert_ne!(parent.session(), Some(parent.0), "a session leader could get a terminal");
        for process in daemon.processes() {
            assert_eq!(process.session(), parent.session());
            assert_eq!(process.terminal().as_deref(), Some("0"));
            let open = process.descriptors();
            assert_eq!(open[&0].to_str(), Some("/dev/null"));
            assert_eq!((&open[&1], &open[&2]), (&daemon.logfile(), &daemon.logfile()));
        }
    }
}

#[test]
fn the_launching_process_exits_with_0_only_after_the_first_children_are_ready() {
    let daemon = TestProgram::pool().logged().options("start=3 detach").start();
    assert!(daemon.log().contains("received: DaemonParent"));
    assert_eq!(daemon.children().len(), 3);
}

#[test]
fn a_start_on_a_port_in_use_fails_with_a_message() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for name in ["preforking", "forking"] {
        let failed = TestProgram::example_on(name, port).fail_to_start();
        assert_eq!(failed.status, "code 1");
        assert!(failed.stderr.contains("in use"), "{}", failed.stderr);
        assert_eq!(failed.processes, 1, "no child was forked");
    }
}

#[test]
fn a_start_whose_preload_fails_reports_the_error() {
    for start in [TestProgram::pool(), TestProgram::pool().logged().options("detach")] {
        let failed = start.options("preload_fails=no_table").fail_to_start();
        assert_eq!(failed.status, "code 1");
        assert!(failed.stderr.contains("preload failed: no_table"), "{}", failed.stderr);
    }
}

#[test]
fn a_detached_start_fails_with_the_reason_when_the_initial_children_exit() {
    let start = TestProgram::pool().logged();
    let failed = start.options("start=2 max=4 detach exit_at_start_while=/").fail_to_start();
    assert_eq!(failed.status, "code 1");
    assert!(failed.stderr.contains("the initial children failed to start"), "{}", failed.stderr);
}

#[test]
fn a_second_start_is_refused_with_the_pid_of_the_running_daemon() {
    let mut first = TestProgram::pool().logged().options("detach pidfile=DIR/pid").start();
    let pidfile = first.dir().join("pid");
    let parent = first.parent();
    assert_eq!(fs::read_to_string(&pidfile).unwrap(), format!("{}\n", parent.0));
    for options in ["detach", ""] {
        let pidfile = format!("{options} pidfile={}", pidfile.display());
        let second = TestProgram::pool().logged().options(&pidfile).fail_to_start();
        assert_eq!(second.status, "code 1");
        assert!(second.stderr.contains(&parent.0.to_string()), "{}", second.stderr);
        assert_eq!(second.processes, 1, "no child was forked");
    }
    assert!(matches!(first.client().pid().state(), Some('S' | 'R')), "the first daemon serves");
    first.stop();
    assert!(!pidfile.exists());
}

#[test]
fn a_stale_pid_file_is_replaced() {
    let mut first = TestProgram::pool().options("pidfile=DIR/pid").start();
    let pidfile = first.dir().join("pid");
    assert!(first.parent().signal(Signal::SIGKILL));
    first.wait_until_gone();
    assert!(pidfile.exists());
    let second = TestProgram::pool().options(&format!("pidfile={}", pidfile.display())).start();
    assert_eq!(fs::read_to_string(&pidfile).unwrap(), format!("{}\n", second.parent().0));
}

#[test]
fn a_new_daemon_can_lock_the_pid_file_while_children_of_a_killed_parent_still_run() {
    let mut first = TestProgram::pool().options("pidfile=DIR/pid grace=2000").start();
    let mut client = first.client();
    client.pid();
    let parent = first.parent();
    assert!(parent.signal(Signal::SIGKILL));
    until("the parent is gone", || (!parent.is_alive()).then_some(()));
    let pidfile = first.dir().join("pid");
    let second = TestProgram::pool().options(&format!("pidfile={}", pidfile.display())).start();
    assert_eq!(client.ask("echo still here"), "still here");
    assert_eq!(client.ask("done"), "ok");
    first.wait_until_gone();
    drop(second);
}
