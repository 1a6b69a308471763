//! Tests the number of children: spares, resizing by signal and by command, and replacing.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::harness::{
    DaemonProcess, LineClient, Process, Signal, TestProgram, during, run_clients, until,
};

#[test]
fn a_pool_keeps_a_spare_child_up_to_max_children_and_retires_surplus_spares() {
    let options = "start=1 min=1 max_spare=2 max=6 retire_delay=50";
    let daemon = TestProgram::pool().logged().options(options).start();
    let mut clients: Vec<LineClient> = Vec::new();
    for busy in 1..=5 {
        let mut client = daemon.client();
        client.pid();
        clients.push(client);
        daemon.wait_for_children(busy + 1);
    }
    let mut sixth = daemon.client();
    sixth.pid();
    clients.push(sixth);
    daemon.wait_for_log("max_children reached");
    for mut client in clients {
        assert_eq!(client.ask("done"), "ok");
    }
    daemon.wait_for_children(2);
}

#[test]
fn a_pool_of_equal_sizes_keeps_its_children_and_is_not_reported_as_full() {
    let daemon = TestProgram::pool().logged().options("start=4 max=4 retire_delay=10").start();
    daemon.wait_for_children(4);
    let mut clients: Vec<LineClient> = (0..4).map(|_| daemon.client()).collect();
    let pids: HashSet<_> = clients.iter_mut().map(LineClient::pid).collect();
    assert_eq!(pids.len(), 4, "each child serves a client");
    for mut client in clients {
        assert_eq!(client.ask("done"), "ok");
    }
    during(Duration::from_millis(200), || {
        assert_eq!(daemon.report()["children"].as_array().map(Vec::len), Some(4));
    });
    assert!(!daemon.log().contains("max_children reached"), "{}", daemon.log());
    daemon.parent().signal(Signal::SIGTTIN);
    daemon.wait_for_children(5);
}

#[test]
fn ttin_and_ttou_resize_the_pool() {
    let daemon = TestProgram::pool()
        .logged()
        .options("start=1 min=1 max_spare=1 max=4 retire_delay=50")
        .start();
    daemon.wait_for_children(1);
    daemon.parent().signal(Signal::SIGTTIN);
    daemon.wait_for_log("resized");
    daemon.wait_for_children(2);
    daemon.parent().signal(Signal::SIGTTIN);
    daemon.wait_for_children(3);
    daemon.parent().signal(Signal::SIGTTOU);
    daemon.wait_for_children(2);
    assert_eq!(daemon.client().ask("echo on"), "on");
}

#[test]
fn ttin_and_ttou_change_max_children_of_a_post_forking_daemon() {
    let daemon = TestProgram::postfork().options("max=1").start();
    let most = |wanted: u64| {
        until("max_children has changed", || {
            (daemon.report()["max_children"].as_u64() == Some(wanted)).then_some(())
        });
    };
    let mut first = daemon.client();
    first.pid();
    let mut second = daemon.client();
    second.send("pid\n").unwrap();
    assert!(!second.is_answered_within(Duration::from_millis(50)));
    daemon.parent().signal(Signal::SIGTTIN);
    most(2);
    second.read().unwrap();
    daemon.parent().signal(Signal::SIGTTOU);
    most(1);
    daemon.parent().signal(Signal::SIGTTOU);
    // The minimum is 1. The log shows that the signal was handled.
    daemon.wait_for_log("cannot resize to 0");
    most(1);
}

#[test]
fn an_impossible_resize_or_reload_is_refused_with_the_reason() {
    let daemon = TestProgram::postfork().options("max=2").start();
    let answer = daemon.ask("resize 5000");
    assert!(answer.contains("refused: cannot resize to 5000"), "{answer}");
    assert!(daemon.ask("resize 5").contains("max_children: 5"));
    let answer = daemon.ask("reload");
    assert!(answer.contains("refused: cannot reload"), "{answer}");
}

/// Stops the clients of `replaced_under_load` when this value is dropped, also when a failed
/// assertion unwinds the stack. Otherwise `thread::scope` would wait for the clients for ever.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn replaced_under_load(daemon: &DaemonProcess, reload: impl FnOnce()) {
    let before: HashSet<Process> = daemon.children().into_iter().collect();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            run_clients(4, |number| {
                let mut served = 0;
                while !done.load(Ordering::Relaxed) {
                    let mut client = daemon.client();
                    let word = format!("{number}-{served}");
                    assert_eq!(client.ask(&format!("echo {word}")), word);
                    served += 1;
                }
                served
            })
        });
        let stop = StopOnDrop(&done);
        reload();
        until("all children are new", || {
            let now = daemon.children();
            (!now.is_empty() && now.iter().all(|child| !before.contains(child))).then_some(())
        });
        daemon.wait_for_log("reload finished");
        drop(stop);
        assert!(load.join().unwrap().into_iter().all(|served| served > 0));
    });
}

#[test]
fn a_reload_replaces_all_children_and_no_request_fails() {
    let daemon = TestProgram::pool().logged().options("start=6 min=2 max=10").start();
    replaced_under_load(&daemon, || {
        let answer = daemon.ask("reload");
        assert!(answer.contains("ReloadStarted"), "{answer}");
    });
}

#[test]
fn hup_reloads_the_pool_if_reload_on_hup_is_set() {
    let daemon = TestProgram::pool().logged().options("start=4 min=2 max=8 reload_on_hup").start();
    replaced_under_load(&daemon, || {
        daemon.parent().signal(Signal::SIGHUP);
    });
}

#[test]
fn a_full_daemon_pauses_and_resumes_repeatedly() {
    let daemon = TestProgram::postfork().logged().options("max=2").start();
    let count = |what: &str| daemon.log().matches(&format!("received: {what},")).count();
    for _round in 0..5 {
        let mut busy = [daemon.client(), daemon.client()];
        for client in &mut busy {
            client.pid();
        }
        until("the daemon is full", || (daemon.report()["accepting"] == "paused").then_some(()));
        let mut waiting = daemon.client();
        waiting.send("echo served\n").unwrap();
        assert_eq!(busy[0].ask("done"), "ok");
        assert_eq!(waiting.read().unwrap(), "served");
        drop((busy, waiting));
        until("all children are gone", || daemon.children().is_empty().then_some(()));
        until("the daemon accepts again", || {
            (daemon.report()["accepting"] == "accepting").then_some(())
        });
    }
    assert!(count("DaemonPause") >= 5);
    assert_eq!(count("DaemonAccept"), count("DaemonPause"));
}

#[test]
fn an_idle_post_forking_daemon_forks_no_child() {
    let daemon = TestProgram::postfork().options("max=4").start();
    // This daemon does not poll: if it forked a child by mistake, it would do so immediately, so
    // 300 ms are enough.
    during(Duration::from_millis(300), || {
        assert!(daemon.children().is_empty());
    });
}
