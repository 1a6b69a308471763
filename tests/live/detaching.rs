//! Leaving the terminal: the launching process tells how it went, and a failed start leaves nobody.

use std::fs;
use std::net::TcpListener;

use crate::harness::{Process, Signal, Start, until};

#[test]
fn a_daemon_that_has_detached_has_no_terminal_and_another_session() {
    for start in [Start::pool(), Start::each(), Start::solo()] {
        let daemon = start.logged().options("start=2 detach").up();
        let parent = daemon.parent();
        let ours = Process(std::process::id());
        assert_ne!(parent.session(), ours.session());
        assert_ne!(parent.session(), Some(parent.0), "a leader could get a terminal");
        for process in daemon.family() {
            assert_eq!(process.session(), parent.session());
            assert_eq!(process.terminal().as_deref(), Some("0"));
            let open = process.descriptors();
            assert_eq!(open[&0].to_str(), Some("/dev/null"));
            assert_eq!((&open[&1], &open[&2]), (&daemon.logfile(), &daemon.logfile()));
        }
    }
}

#[test]
fn the_launching_process_ends_well_only_when_the_first_children_are_up() {
    let daemon = Start::pool().logged().options("start=3 detach").up();
    assert!(daemon.log().contains("told: DaemonParent"));
    assert_eq!(daemon.children().len(), 3);
}

#[test]
fn a_port_in_use_ends_the_start_with_a_message() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for name in ["preforking", "forking"] {
        let failed = Start::example_on(name, port).fails();
        assert_eq!(failed.status, "code 1");
        assert!(failed.error.contains("in use"), "{}", failed.error);
        assert_eq!(failed.processes, 1, "nothing was forked");
    }
}

#[test]
fn a_preload_that_fails_ends_the_start_with_its_words() {
    for start in [Start::pool(), Start::pool().logged().options("detach")] {
        let failed = start.options("preload_fails=no_table").fails();
        assert_eq!(failed.status, "code 1");
        assert!(failed.error.contains("preload failed: no_table"), "{}", failed.error);
    }
}

#[test]
fn children_that_die_at_birth_end_the_start_with_the_reason() {
    let start = Start::pool().logged();
    let failed = start.options("start=2 max=4 detach stillborn_while=/").fails();
    assert_eq!(failed.status, "code 1");
    assert!(failed.error.contains("the initial children do not come up"), "{}", failed.error);
}

#[test]
fn a_second_start_is_refused_and_names_the_running_pid() {
    let mut first = Start::pool().logged().options("detach pidfile=DIR/pid").up();
    let pidfile = first.dir().join("pid");
    let parent = first.parent();
    assert_eq!(fs::read_to_string(&pidfile).unwrap(), format!("{}\n", parent.0));
    for options in ["detach", ""] {
        let pidfile = format!("{options} pidfile={}", pidfile.display());
        let second = Start::pool().logged().options(&pidfile).fails();
        assert_eq!(second.status, "code 1");
        assert!(second.error.contains(&parent.0.to_string()), "{}", second.error);
        assert_eq!(second.processes, 1, "nothing was forked");
    }
    assert!(matches!(first.client().pid().state(), Some('S' | 'R')), "the first one serves");
    first.stop();
    assert!(!pidfile.exists());
}

#[test]
fn a_pid_file_that_a_killed_daemon_has_left_is_no_obstacle() {
    let mut first = Start::pool().options("pidfile=DIR/pid").up();
    let pidfile = first.dir().join("pid");
    assert!(first.parent().signal(Signal::SIGKILL));
    first.ended();
    assert!(pidfile.exists());
    let second = Start::pool().options(&format!("pidfile={}", pidfile.display())).up();
    assert_eq!(fs::read_to_string(&pidfile).unwrap(), format!("{}\n", second.parent().0));
}

#[test]
fn the_pid_file_is_free_again_while_children_of_a_killed_parent_still_go() {
    let mut first = Start::pool().options("pidfile=DIR/pid grace=2000").up();
    let mut client = first.client();
    client.pid();
    let parent = first.parent();
    assert!(parent.signal(Signal::SIGKILL));
    until("the parent is gone", || (!parent.is_alive()).then_some(()));
    let pidfile = first.dir().join("pid");
    let second = Start::pool().options(&format!("pidfile={}", pidfile.display())).up();
    assert_eq!(client.ask("echo still here"), "still here");
    assert_eq!(client.ask("done"), "ok");
    first.ended();
    drop(second);
}
