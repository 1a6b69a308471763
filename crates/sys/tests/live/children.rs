//! Live tests of forking, reaping and signalling.

use std::fs::File;
use std::hash::Hash;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use daemon_core::MonotonicTime;
use daemon_sys::fork::{fork, other_threads};
use daemon_sys::poll::{Interest, wait};
use daemon_sys::process::{
    SignalOutcome, become_group_leader, die_with_parent, exit_now, signal, signal_group, this_pid,
};
use daemon_sys::reap::{ChildTable, Exit, ExitedChild, peek_exit, reap, reap_any, wait_for};
use daemon_sys::signals::{
    SignalBlockGuard, SignalListener, SignalQueue, block_all, ignore, restore_default, unblock,
};
use daemon_sys::wakeup::Wakeup;
use daemon_sys::{Error, Pid, Signal};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::helpers::{child, killed_by, sleep_until_killed};
use crate::scenarios::{Scenario, eventually};

pub(crate) const SCENARIOS: &[Scenario] = &[
    (
        "forking_with_other_threads_is_refused_and_the_error_names_them",
        forking_with_other_threads_is_refused,
    ),
    ("a_joined_thread_does_not_count_as_running", a_joined_thread_does_not_count),
    ("children_are_reaped_one_by_one_until_none_is_left", children_are_reaped_until_none_is_left),
    ("a_child_can_still_be_reaped_after_peek_exit", a_peeked_exit_can_still_be_reaped),
    ("only_the_exited_children_of_a_table_are_reaped", only_exited_children_are_reaped),
    ("the_exit_status_of_a_child_reaped_by_other_code_is_unknown", reaped_by_other_code),
    ("a_child_without_a_pidfd_is_reaped_by_its_pid", without_a_descriptor),
    ("a_process_group_can_be_signalled_until_its_last_process_is_reaped", a_group_is_signalled),
    ("a_table_of_all_children_reaps_every_child_and_finds_missing_ones", all_children),
    ("a_late_child_is_killed_once_and_checked_until_it_is_gone", late_children),
    ("a_child_dies_with_its_parent", a_child_dies_with_its_parent),
    ("die_with_parent_fails_if_the_parent_has_exited", an_exited_parent_is_an_error),
    ("a_signal_sent_to_a_child_before_it_listens_is_not_lost", no_signal_is_lost),
    ("a_signal_queue_returns_each_pending_signal_once", signals_are_read_from_the_queue),
    ("dropping_a_block_guard_keeps_queue_signals_blocked", a_guard_keeps_queue_signals_blocked),
    ("a_signal_listener_reports_a_repeated_signal_once_and_refuses_sigkill", reported_once),
    ("an_ignored_signal_is_ignored_until_its_default_action_is_restored", ignored_until_restored),
    ("a_child_wakes_its_parent_with_a_shared_wakeup", a_child_wakes_its_parent),
];

fn forking_with_other_threads_is_refused() {
    let (stop, stopped) = channel::<()>();
    let (start, started) = channel();
    let other = thread::Builder::new()
        .name("other".into())
        .spawn(move || {
            start.send(()).expect("sent");
            stopped.recv().expect_err("the sender is dropped");
        })
        .expect("spawned");
    started.recv().expect("started");
    let error = fork().expect_err("refused");
    let Error::OtherThreads(other_threads) = &error else { panic!("{error}") };
    assert_eq!(other_threads.threads.len(), 1);
    assert_eq!(other_threads.threads[0].name, "other");
    let tid = other_threads.threads[0].tid;
    assert_eq!(
        error.to_string(),
        format!("refusing to fork: 1 other thread is running: \"other\" (tid {tid})")
    );
    drop(stop);
    other.join().expect("joined");
}

fn a_joined_thread_does_not_count() {
    for _ in 0..200 {
        thread::spawn(|| {}).join().expect("joined");
        assert_eq!(other_threads().expect("counted"), None);
    }
}

fn children_are_reaped_until_none_is_left() {
    assert_eq!(reap_any().expect("no children, no error"), None);
    let mut forked: Vec<(Pid, Exit)> =
        (0..5).map(|code| (child(|| code), Exit::Code(code))).collect();
    let mut reaped = Vec::new();
    eventually("all children are reaped", || {
        reaped.extend(reap_any().expect("a result"));
        reaped.len() == 5
    });
    forked.sort_by_key(|(pid, _)| *pid);
    reaped.sort_by_key(|(pid, _)| *pid);
    assert_eq!(forked, reaped);
    assert_eq!(reap_any().expect("a result"), None);
}

fn a_peeked_exit_can_still_be_reaped() {
    let sleeper = child(|| sleep_until_killed());
    assert_eq!(peek_exit(sleeper).expect("a result"), None);
    assert_eq!(reap(sleeper).expect("a result"), None);
    assert_eq!(signal(sleeper, Signal::Kill).expect("permitted"), SignalOutcome::Delivered);
    let killed = killed_by(Signal::Kill);
    eventually("the child is dead", || peek_exit(sleeper).expect("a result") == Some(killed));
    assert_eq!(signal(sleeper, Signal::Kill).expect("a zombie"), SignalOutcome::Delivered);
    assert_eq!(reap(sleeper).expect("a result"), Some(killed));
    assert_eq!(signal(sleeper, Signal::Kill).expect("a result"), SignalOutcome::NoSuchProcess);
}

/// Waits until at least `count` children have exited and been reaped, and returns them.
fn reap_some<K: Copy + Eq + Hash>(
    children: &mut ChildTable<K>,
    count: usize,
) -> Vec<ExitedChild<K>> {
    let mut exited = Vec::new();
    eventually("the children have exited", || {
        exited.extend(children.reap().expect("reaped"));
        exited.len() >= count
    });
    exited
}

fn only_exited_children_are_reaped() {
    let mut children = ChildTable::of_own().expect("created");
    let mut unrelated = Command::new("true").spawn().expect("true starts");
    let pids: Vec<Pid> = (0..100).map(|_child| child(|| sleep_until_killed())).collect();
    pids.iter().for_each(|pid| children.add(*pid, *pid));
    assert_eq!(children.reap().expect("reaped"), []);
    // This child inherits copies of all descriptors and keeps them open.
    let remaining = child(|| sleep_until_killed());
    for pid in &pids[..70] {
        assert_eq!(
            children.signal(*pid, Signal::Kill).expect("permitted"),
            SignalOutcome::Delivered
        );
    }
    let mut exited = reap_some(&mut children, 70);
    exited.sort_by_key(|child| child.pid);
    assert!(exited.iter().map(|child| child.pid).eq(pids[..70].iter().copied()));
    assert!(exited.iter().all(|child| child.exit == killed_by(Signal::Kill)));
    assert_eq!(children.reap().expect("reaped"), []);
    assert_eq!(
        children.signal(pids[0], Signal::Kill).expect("a result"),
        SignalOutcome::NoSuchProcess
    );
    assert!(unrelated.wait().expect("not reaped by the table").success());
    for pid in pids[70..].iter().chain([&remaining]) {
        assert_eq!(signal(*pid, Signal::Kill).expect("permitted"), SignalOutcome::Delivered);
    }
    reap_some(&mut children, 30);
    wait_for(remaining).expect("reaped");
}

fn reaped_by_other_code() {
    let mut children = ChildTable::of_own().expect("created");
    let pid = child(|| 3);
    children.add(pid, pid);
    wait_for(pid).expect("reaped");
    assert_eq!(
        reap_some(&mut children, 1),
        [ExitedChild { id: pid, pid, exit: Exit::Unknown, is_group_killed: false }]
    );
    assert_eq!(children.reap().expect("reaped"), []);
}

fn without_a_descriptor() {
    let mut children = ChildTable::of_own().expect("created");
    let mut files = Vec::new();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, 64, hard).expect("lowered");
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    let pid = child(|| sleep_until_killed());
    children.add(pid, pid);
    assert_eq!(children.reap().expect("reaped"), []);
    assert_eq!(children.signal(pid, Signal::Term).expect("permitted"), SignalOutcome::Delivered);
    let exited = reap_some(&mut children, 1);
    assert!(exited[0].pid == pid && exited[0].exit == killed_by(Signal::Term));
}

fn all_children() {
    let mut children = ChildTable::of_all();
    assert!(children.descriptor().is_none() && children.reap().expect("reaped").is_empty());
    let unknown = child(|| 1);
    let [exiting, sleeping] = [child(|| 3), child(|| sleep_until_killed())];
    children.add("exiting", exiting);
    children.add("sleeping", sleeping);
    let exited = reap_some(&mut children, 1);
    assert_eq!(
        exited,
        [ExitedChild { id: "exiting", pid: exiting, exit: Exit::Code(3), is_group_killed: false }]
    );
    eventually("the child that is not in the table is reaped too", || {
        assert_eq!(children.reap().expect("reaped"), []);
        peek_exit(unknown).is_err()
    });
    assert_eq!(children.check("sleeping"), None);
    let signal =
        |children: &mut ChildTable<_>, id| children.signal(id, Signal::Kill).expect("sent");
    assert_eq!(signal(&mut children, "exiting"), SignalOutcome::NoSuchProcess);
    assert_eq!(signal(&mut children, "sleeping"), SignalOutcome::Delivered);
    wait_for(sleeping).expect("reaped by other code");
    assert_eq!(signal(&mut children, "sleeping"), SignalOutcome::NoSuchProcess);
    assert_eq!(children.reap().expect("reaped"), []);
    let missing =
        ExitedChild { id: "sleeping", pid: sleeping, exit: Exit::Unknown, is_group_killed: false };
    assert_eq!(children.check("sleeping"), Some(missing));
    assert!(children.is_empty());
}

fn late_children() {
    let at = |seconds| MonotonicTime::from_since_boot(Duration::from_secs(seconds));
    for mut children in [ChildTable::of_all(), ChildTable::of_own().expect("created")] {
        let pids = [0, 1, 2, 3].map(|_child| child(|| sleep_until_killed()));
        (0..).zip(pids).for_each(|(id, pid)| children.add(id, pid));
        // The earliest deadline counts, and a table without deadlines kills no child.
        children.late_at(0, at(3));
        children.clear_deadlines();
        assert_eq!(children.next_deadline(), None);
        for (id, time) in [(0, 5), (1, 7), (1, 4), (1, 6), (2, 9)] {
            children.late_at(id, at(time));
        }
        assert_eq!(children.next_deadline(), Some(at(4)));
        assert!(children.kill_late(at(3)).killed.is_empty());
        let mut killed = children.kill_late(at(5)).killed;
        killed.sort_by_key(|(id, _sent)| *id);
        assert!(matches!(
            killed[..],
            [(0, Ok(SignalOutcome::Delivered)), (1, Ok(SignalOutcome::Delivered))]
        ));
        for pid in &pids[..2] {
            assert_eq!(wait_for(*pid).expect("reaped by other code"), killed_by(Signal::Kill));
        }
        // More time has no effect, and the children are found to be gone.
        children.late_at(0, at(20));
        let late = children.kill_late(at(6));
        assert!(late.killed.is_empty());
        let mut missing: Vec<_> = late.exited.iter().map(|one| (one.id, one.exit)).collect();
        missing.sort_by_key(|(id, _exit)| *id);
        assert_eq!(missing, [(0, Exit::Unknown), (1, Exit::Unknown)]);
        assert_eq!(children.next_deadline(), Some(at(9)));
        for id in [2, 3] {
            let sent = children.signal(id, Signal::Kill).expect("permitted");
            assert_eq!(sent, SignalOutcome::Delivered);
        }
        assert_eq!(reap_some(&mut children, 2).len(), 2);
        assert!(children.is_empty() && children.next_deadline().is_none());
    }
}

fn a_group_is_signalled() {
    let (mut reader, mut writer) = io::pipe().expect("a pipe");
    let leader = child(|| {
        become_group_leader().expect("a new group");
        let member = child(|| sleep_until_killed());
        writer.write_all(&member.as_raw().to_ne_bytes()).expect("transferred");
        0
    });
    reader.read_exact(&mut [0; 4]).expect("transferred");
    assert_eq!(wait_for(leader).expect("reaped"), Exit::Code(0));
    assert_eq!(signal_group(leader, Signal::Kill).expect("permitted"), SignalOutcome::Delivered);
    eventually("the group is empty", || {
        signal_group(leader, Signal::Cont).expect("a result") == SignalOutcome::NoSuchProcess
    });
}

fn a_child_dies_with_its_parent() {
    if !cfg!(all(target_os = "linux", not(fallback))) {
        return println!("skipped: this system has no parent death signal");
    }
    let (end, open) = io::pipe().expect("a pipe");
    let (mut reader, mut writer) = io::pipe().expect("a pipe");
    let parent = child(|| {
        let parent = this_pid();
        child(|| {
            die_with_parent(Signal::Kill, parent).expect("set");
            writer.write_all(b".").expect("transferred");
            sleep_until_killed()
        });
        sleep_until_killed()
    });
    drop(open);
    reader.read_exact(&mut [0]).expect("transferred");
    assert_eq!(signal(parent, Signal::Kill).expect("permitted"), SignalOutcome::Delivered);
    let limit = Some(Duration::from_secs(10));
    let ends = wait(&[(end.as_fd(), Interest::Read)], limit).expect("polled");
    assert!(ends[0].is_closed(), "all copies of the writing end are closed");
    assert_eq!(wait_for(parent).expect("reaped"), killed_by(Signal::Kill));
}

fn an_exited_parent_is_an_error() {
    let other = Pid::from_raw(i32::MAX).expect("positive");
    let error = die_with_parent(Signal::Term, other).expect_err("refused").to_string();
    assert_eq!(
        error,
        "cannot set a parent death signal: parent process 2147483647 has already exited"
    );
}

fn no_signal_is_lost() {
    let blocked = block_all().expect("blocked");
    let not_listening_yet = child(|| {
        let queue = SignalQueue::new(&[Signal::Term]).expect("opened");
        wait(&[(queue.as_fd(), Interest::Read)], Some(Duration::from_secs(10))).expect("polled");
        i32::from(queue.drain().expect("read") != [Signal::Term])
    });
    assert_eq!(
        signal(not_listening_yet, Signal::Term).expect("permitted"),
        SignalOutcome::Delivered
    );
    assert_eq!(wait_for(not_listening_yet).expect("reaped"), Exit::Code(0));
    let masked = child(|| {
        drop(blocked);
        sleep_until_killed()
    });
    assert_eq!(signal(masked, Signal::Term).expect("permitted"), SignalOutcome::Delivered);
    assert_eq!(wait_for(masked).expect("reaped"), killed_by(Signal::Term));
}

fn signals_are_read_from_the_queue() {
    let queue = SignalQueue::new(&[Signal::Hup, Signal::Usr1, Signal::Child]).expect("opened");
    assert_eq!(queue.drain().expect("read"), []);
    for _ in 0..3 {
        assert_eq!(signal(this_pid(), Signal::Hup).expect("permitted"), SignalOutcome::Delivered);
    }
    let exiting = child(|| 0);
    let mut received = Vec::new();
    eventually("both signals have arrived", || {
        wait(&[(queue.as_fd(), Interest::Read)], Some(Duration::from_secs(1))).expect("polled");
        received.extend(queue.drain().expect("read"));
        received.len() >= 2
    });
    received.sort();
    assert_eq!(received, [Signal::Hup, Signal::Child]);
    assert_eq!(wait_for(exiting).expect("reaped"), Exit::Code(0));
}

fn a_guard_keeps_queue_signals_blocked() {
    let blocked = block_all().expect("blocked");
    let queue = SignalQueue::new(&[Signal::Term]).expect("opened");
    drop(blocked);
    assert_eq!(signal(this_pid(), Signal::Term).expect("permitted"), SignalOutcome::Delivered);
    assert_eq!(queue.drain().expect("read"), [Signal::Term]);
    let killed = child(|| {
        restore_default(Signal::Term).expect("restored");
        unblock(&[Signal::Term]).expect("unblocked");
        assert_eq!(signal(this_pid(), Signal::Term).expect("permitted"), SignalOutcome::Delivered);
        exit_now(0)
    });
    assert_eq!(wait_for(killed).expect("reaped"), killed_by(Signal::Term));
}

fn reported_once() {
    let error = SignalListener::open(&[Signal::Kill]).expect_err("refused").to_string();
    assert!(error.starts_with("cannot handle KILL"), "{error}");
    let listener = SignalListener::open(&[Signal::Usr1, Signal::Usr2]).expect("listener");
    for _ in 0..2 {
        assert_eq!(signal(this_pid(), Signal::Usr2).expect("permitted"), SignalOutcome::Delivered);
    }
    let ready = wait(&[(listener.as_fd(), Interest::Read)], None).expect("polled");
    assert!(ready[0].is_readable());
    assert_eq!(listener.drain(), [Signal::Usr2]);
    assert_eq!(listener.drain(), []);
}

fn ignored_until_restored() {
    ignore(Signal::Usr1).expect("ignored");
    assert_eq!(signal(this_pid(), Signal::Usr1).expect("permitted"), SignalOutcome::Delivered);
    let blocked = SignalBlockGuard::block(&[Signal::Usr1]).expect("blocked");
    let default = child(|| {
        restore_default(Signal::Usr1).expect("restored");
        assert_eq!(signal(this_pid(), Signal::Usr1).expect("permitted"), SignalOutcome::Delivered);
        unblock(&[Signal::Usr1]).expect("unblocked");
        exit_now(0)
    });
    assert_eq!(wait_for(default).expect("reaped"), killed_by(Signal::Usr1));
    drop(blocked);
}

fn a_child_wakes_its_parent() {
    let wakeup = Wakeup::new().expect("created");
    let waker = child(|| {
        (0..100_000).for_each(|_| wakeup.wake());
        0
    });
    let fds = [(wakeup.as_fd(), Interest::Read)];
    assert!(wait(&fds, Some(Duration::from_secs(10))).expect("polled")[0].is_readable());
    assert_eq!(wait_for(waker).expect("reaped"), Exit::Code(0));
    wakeup.clear();
    assert!(wait(&fds, Some(Duration::ZERO)).expect("polled")[0].is_empty());
}
