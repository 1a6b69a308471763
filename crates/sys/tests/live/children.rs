//! Scenarios of forking, reaping and signalling.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use daemon_sys::fork::{fork, other_threads};
use daemon_sys::poll::{Interest, wait};
use daemon_sys::process::{
    SignalOutcome, become_group_leader, die_with_parent, exit_now, group_is_empty, signal,
    signal_group,
};
use daemon_sys::reap::{ChildSet, Exit, ExitedChild, peek_exit, reap, reap_any, wait_for};
use daemon_sys::signals::{
    SignalBlockGuard, SignalListener, SignalQueue, block_all, ignore, restore_default, unblock,
};
use daemon_sys::wakeup::Wakeup;
use daemon_sys::{Error, Pid, Signal};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::asks::{child, sleep_until_killed};
use crate::scenarios::{Scenario, eventually};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("a_fork_in_company_is_refused_with_names", a_fork_in_company_is_refused_with_names),
    ("a_joined_thread_is_no_company", a_joined_thread_is_no_company),
    ("children_are_reaped_one_by_one_until_none_is_left", children_are_reaped_until_none_is_left),
    ("a_peeked_exit_can_still_be_reaped", a_peeked_exit_can_still_be_reaped),
    ("of_many_children_those_that_have_ended_are_taken_and_no_others", of_many_children),
    ("a_child_that_somebody_else_has_reaped_is_told_as_such", reaped_by_another),
    ("a_child_for_which_no_descriptor_is_left_is_asked_by_its_number", without_a_descriptor),
    ("a_group_is_empty_when_its_last_process_is_reaped", a_group_is_empty),
    ("a_child_dies_with_its_parent", a_child_dies_with_its_parent),
    ("a_parent_that_is_gone_already_is_told", a_parent_that_is_gone_already_is_told),
    ("a_signal_sent_to_a_child_before_it_listens_is_not_lost", no_signal_is_lost),
    ("signals_are_read_from_the_queue", signals_are_read_from_the_queue),
    ("a_guard_that_goes_leaves_the_queue_s_signals_to_the_queue", a_guard_leaves_the_queue_alone),
    ("a_signal_that_came_twice_is_heard_once_and_kill_never", heard_once),
    ("an_ignored_signal_is_ignored_until_its_default_is_restored", ignored_until_restored),
    ("a_bell_rung_by_a_child_is_heard_by_its_parent", a_bell_is_heard),
];

fn a_fork_in_company_is_refused_with_names() {
    let (leave, stay) = channel::<()>();
    let (here, is_here) = channel();
    let companion = thread::Builder::new()
        .name("companion".into())
        .spawn(move || {
            here.send(()).expect("heard");
            stay.recv().expect_err("hung up");
        })
        .expect("starts");
    is_here.recv().expect("it is here");
    let refusal = fork().expect_err("refused");
    let Error::OtherThreads(other_threads) = &refusal else { panic!("{refusal}") };
    assert_eq!(other_threads.threads.len(), 1);
    assert_eq!(other_threads.threads[0].name, "companion");
    let tid = other_threads.threads[0].tid;
    assert_eq!(
        refusal.to_string(),
        format!("refusing to fork: 1 other thread is running: \"companion\" (tid {tid})")
    );
    drop(leave);
    companion.join().expect("ends");
}

fn a_joined_thread_is_no_company() {
    for _ in 0..200 {
        thread::spawn(|| {}).join().expect("ends");
        assert_eq!(other_threads().expect("counted"), None);
    }
}

fn children_are_reaped_until_none_is_left() {
    assert_eq!(reap_any().expect("no children, no error"), None);
    let mut born: Vec<(Pid, Exit)> =
        (0..5).map(|code| (child(|| code), Exit::Code(code))).collect();
    let mut gone = Vec::new();
    eventually("all are reaped", || {
        gone.extend(reap_any().expect("answers"));
        gone.len() == 5
    });
    born.sort_by_key(|(pid, _)| *pid);
    gone.sort_by_key(|(pid, _)| *pid);
    assert_eq!(born, gone);
    assert_eq!(reap_any().expect("answers"), None);
}

fn a_peeked_exit_can_still_be_reaped() {
    let sleeper = child(|| sleep_until_killed());
    assert_eq!(peek_exit(sleeper).expect("answers"), None);
    assert_eq!(reap(sleeper).expect("answers"), None);
    assert_eq!(signal(sleeper, Signal::Kill).expect("ours"), SignalOutcome::Delivered);
    let killed = Exit::Signal { number: Signal::Kill.number(), core: false };
    eventually("it is dead", || peek_exit(sleeper).expect("answers") == Some(killed));
    assert_eq!(signal(sleeper, Signal::Kill).expect("a zombie"), SignalOutcome::Delivered);
    assert_eq!(reap(sleeper).expect("answers"), Some(killed));
    assert_eq!(signal(sleeper, Signal::Kill).expect("answers"), SignalOutcome::NoSuchProcess);
}

/// Takes those that end until there are so many.
fn taken(children: &mut ChildSet, how_many: usize) -> Vec<ExitedChild> {
    let mut taken = Vec::new();
    eventually("all have ended", || {
        taken.extend(children.reap_exited().expect("looked"));
        taken.len() >= how_many
    });
    taken
}

fn of_many_children() {
    let mut children = ChildSet::new().expect("a set");
    let mut stranger = Command::new("true").spawn().expect("true starts");
    let pids: Vec<Pid> = (0..100).map(|_child| child(|| sleep_until_killed())).collect();
    pids.iter().for_each(|pid| children.add(*pid));
    assert_eq!(children.reap_exited().expect("looked"), []);
    // This one inherits copies of all descriptors, and keeps them.
    let heir = child(|| sleep_until_killed());
    for pid in &pids[..70] {
        assert_eq!(children.signal(*pid, Signal::Kill).expect("ours"), SignalOutcome::Delivered);
    }
    let mut ended = taken(&mut children, 70);
    ended.sort_by_key(|ended| ended.pid);
    assert!(ended.iter().map(|ended| ended.pid).eq(pids[..70].iter().copied()));
    assert!(ended.iter().all(|ended| ended.exit.is_some_and(|exit| exit == Signal::Kill)));
    assert_eq!(children.reap_exited().expect("looked"), []);
    assert_eq!(
        children.signal(pids[0], Signal::Kill).expect("answers"),
        SignalOutcome::NoSuchProcess
    );
    assert!(stranger.wait().expect("it was not reaped by us").success());
    for pid in pids[70..].iter().chain([&heir]) {
        assert_eq!(signal(*pid, Signal::Kill).expect("ours"), SignalOutcome::Delivered);
    }
    taken(&mut children, 30);
    wait_for(heir).expect("reaped");
}

fn reaped_by_another() {
    let mut children = ChildSet::new().expect("a set");
    let pid = child(|| 3);
    children.add(pid);
    wait_for(pid).expect("reaped");
    assert_eq!(taken(&mut children, 1), [ExitedChild { pid, exit: None }]);
    assert_eq!(children.reap_exited().expect("looked"), []);
}

fn without_a_descriptor() {
    let mut children = ChildSet::new().expect("a set");
    let mut hoard = Vec::new();
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, 64, most).expect("lowered");
    while let Ok(file) = File::open("/dev/null") {
        hoard.push(file);
    }
    let pid = child(|| sleep_until_killed());
    children.add(pid);
    assert_eq!(children.reap_exited().expect("looked"), []);
    assert_eq!(children.signal(pid, Signal::Term).expect("ours"), SignalOutcome::Delivered);
    let ended = taken(&mut children, 1);
    assert!(ended[0].pid == pid && ended[0].exit.is_some_and(|exit| exit == Signal::Term));
}

fn a_group_is_empty() {
    let (mut told, mut tell) = io::pipe().expect("a pipe");
    let leader = child(|| {
        become_group_leader().expect("leads");
        let member = child(|| sleep_until_killed());
        tell.write_all(&member.as_raw().to_ne_bytes()).expect("told");
        0
    });
    told.read_exact(&mut [0; 4]).expect("told");
    assert_eq!(wait_for(leader).expect("reaped"), Exit::Code(0));
    assert!(!group_is_empty(leader).expect("answers"));
    assert_eq!(signal_group(leader, Signal::Kill).expect("ours"), SignalOutcome::Delivered);
    eventually("the group is empty", || group_is_empty(leader).expect("answers"));
    assert_eq!(signal_group(leader, Signal::Kill).expect("answers"), SignalOutcome::NoSuchProcess);
}

fn a_child_dies_with_its_parent() {
    if !cfg!(all(target_os = "linux", not(fallback))) {
        return println!("skipped: no parent death signal here");
    }
    let (end, alive) = io::pipe().expect("a pipe");
    let (mut told, mut tell) = io::pipe().expect("a pipe");
    let parent = child(|| {
        let parent = Pid::this();
        child(|| {
            die_with_parent(Signal::Kill, parent).expect("set");
            tell.write_all(b".").expect("told");
            sleep_until_killed()
        });
        sleep_until_killed()
    });
    drop(alive);
    told.read_exact(&mut [0]).expect("told");
    assert_eq!(signal(parent, Signal::Kill).expect("ours"), SignalOutcome::Delivered);
    let limit = Some(Duration::from_secs(10));
    let ends = wait(&[(end.as_fd(), Interest::Read)], limit).expect("waits");
    assert!(ends[0].is_closed(), "all copies are closed");
    assert_eq!(wait_for(parent).expect("reaped"), Signal::Kill);
}

fn a_parent_that_is_gone_already_is_told() {
    let other = Pid::from_raw(i32::MAX).expect("positive");
    let error = die_with_parent(Signal::Term, other).expect_err("refused").to_string();
    assert_eq!(
        error,
        "cannot set a parent death signal: parent process 2147483647 has already exited"
    );
}

fn no_signal_is_lost() {
    let blocked = block_all().expect("blocks");
    let early = child(|| {
        let queue = SignalQueue::new(&[Signal::Term]).expect("opens");
        wait(&[(queue.as_fd(), Interest::Read)], Some(Duration::from_secs(10))).expect("waits");
        i32::from(queue.drain().expect("read") != [Signal::Term])
    });
    assert_eq!(signal(early, Signal::Term).expect("ours"), SignalOutcome::Delivered);
    assert_eq!(wait_for(early).expect("reaped"), Exit::Code(0));
    let unready = child(|| {
        drop(blocked);
        sleep_until_killed()
    });
    assert_eq!(signal(unready, Signal::Term).expect("ours"), SignalOutcome::Delivered);
    assert_eq!(wait_for(unready).expect("reaped"), Signal::Term);
}

fn signals_are_read_from_the_queue() {
    let queue = SignalQueue::new(&[Signal::Hup, Signal::Usr1, Signal::Child]).expect("opens");
    assert_eq!(queue.drain().expect("read"), []);
    for _ in 0..3 {
        assert_eq!(signal(Pid::this(), Signal::Hup).expect("ours"), SignalOutcome::Delivered);
    }
    let ended = child(|| 0);
    let mut come = Vec::new();
    eventually("both have come", || {
        wait(&[(queue.as_fd(), Interest::Read)], Some(Duration::from_secs(1))).expect("waits");
        come.extend(queue.drain().expect("read"));
        come.len() >= 2
    });
    come.sort();
    assert_eq!(come, [Signal::Hup, Signal::Child]);
    assert_eq!(wait_for(ended).expect("reaped"), Exit::Code(0));
}

fn a_guard_leaves_the_queue_alone() {
    let blocked = block_all().expect("blocks");
    let queue = SignalQueue::new(&[Signal::Term]).expect("opens");
    drop(blocked);
    assert_eq!(signal(Pid::this(), Signal::Term).expect("ours"), SignalOutcome::Delivered);
    assert_eq!(queue.drain().expect("read"), [Signal::Term]);
    let killed = child(|| {
        restore_default(Signal::Term).expect("restored");
        unblock(&[Signal::Term]).expect("unblocks");
        assert_eq!(signal(Pid::this(), Signal::Term).expect("ours"), SignalOutcome::Delivered);
        exit_now(0)
    });
    assert_eq!(wait_for(killed).expect("reaped"), Signal::Term);
}

fn heard_once() {
    let error = SignalListener::open(&[Signal::Kill]).expect_err("refused").to_string();
    assert!(error.starts_with("cannot handle SIGKILL"), "{error}");
    let ears = SignalListener::open(&[Signal::Usr1, Signal::Usr2]).expect("ears");
    for _ in 0..2 {
        assert_eq!(signal(Pid::this(), Signal::Usr2).expect("ours"), SignalOutcome::Delivered);
    }
    let ready = wait(&[(ears.as_fd(), Interest::Read)], None).expect("waits");
    assert!(ready[0].is_readable());
    assert_eq!(ears.drain(), [Signal::Usr2]);
    assert_eq!(ears.drain(), []);
}

fn ignored_until_restored() {
    ignore(Signal::Usr1).expect("ignored");
    assert_eq!(signal(Pid::this(), Signal::Usr1).expect("ours"), SignalOutcome::Delivered);
    let blocked = SignalBlockGuard::block(&[Signal::Usr1]).expect("blocks");
    let default = child(|| {
        restore_default(Signal::Usr1).expect("restored");
        assert_eq!(signal(Pid::this(), Signal::Usr1).expect("ours"), SignalOutcome::Delivered);
        unblock(&[Signal::Usr1]).expect("unblocks");
        exit_now(0)
    });
    assert_eq!(wait_for(default).expect("reaped"), Signal::Usr1);
    drop(blocked);
}

fn a_bell_is_heard() {
    let bell = Wakeup::new().expect("hung up");
    let ringer = child(|| {
        (0..100_000).for_each(|_| bell.wake());
        0
    });
    let ear = [(bell.as_fd(), Interest::Read)];
    assert!(wait(&ear, Some(Duration::from_secs(10))).expect("waits")[0].is_readable());
    assert_eq!(wait_for(ringer).expect("reaped"), Exit::Code(0));
    bell.clear();
    assert!(wait(&ear, Some(Duration::ZERO)).expect("waits")[0].is_empty());
}
