//! Live tests of shared memory, links, memory files and the process title.

use std::collections::VecDeque;
use std::env;
use std::fs;
use std::io::IoSlice;
use std::os::fd::AsFd;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::time::Duration;

use daemon_sys::Pid;
use daemon_sys::fds;
use daemon_sys::link::pair;
use daemon_sys::memfd::{memfd_with, read_all};
use daemon_sys::poll::{Interest, wait};
use daemon_sys::process::this_pid;
use daemon_sys::reap::{Exit, wait_for};
use daemon_sys::shared::{self, SharedMemory};
use daemon_sys::signals::block_all;
use daemon_sys::title::Title;

use super::helpers::child;
use crate::scenarios::Scenario;
use crate::small_disk::SmallDisk;

pub(crate) const SCENARIOS: &[Scenario] = &[
    (
        "changes_to_shared_memory_by_children_are_visible_in_the_parent",
        stores_of_children_are_visible,
    ),
    (
        "values_in_a_file_are_still_shared_after_it_was_truncated_on_a_full_disk",
        values_on_a_full_disk_are_shared,
    ),
    (
        "a_truncation_is_survived_while_all_signals_are_blocked",
        a_truncation_is_survived_with_blocked_signals,
    ),
    ("a_link_carries_memory_files_in_both_directions", a_memory_file_is_sent_over_a_link),
    ("a_link_ends_when_the_process_at_its_other_end_exits", a_dead_peer_ends_the_link),
    ("dropping_a_link_closes_all_its_descriptors", a_link_leaves_no_descriptor_behind),
    (
        "open_fds_omits_the_descriptor_of_the_directory_that_it_reads",
        the_descriptor_of_the_listing_is_not_listed,
    ),
    ("a_title_longer_than_the_arguments_is_shown_completely", a_long_title_is_shown),
    (
        "arguments_and_environment_are_unchanged_after_setting_the_title",
        arguments_and_environment_stay,
    ),
    ("only_the_first_title_claimed_in_a_process_is_shown", a_second_title_is_not_shown),
];

const LIMIT: Option<Duration> = Some(Duration::from_secs(10));

fn stores_of_children_are_visible() {
    let counters = shared::anonymous::<AtomicU64>(1000).expect("mapped");
    assert!(counters.iter().all(|counter| counter.load(SeqCst) == 0));
    let children: Vec<Pid> = (0..4)
        .map(|_| {
            child(|| {
                counters.iter().for_each(|counter| {
                    counter.fetch_add(1, SeqCst);
                });
                0
            })
        })
        .collect();
    for pid in children {
        assert_eq!(wait_for(pid).expect("reaped"), Exit::Code(0));
    }
    assert!(counters.iter().all(|counter| counter.load(SeqCst) == 4));
}

fn values_on_a_full_disk_are_shared() {
    let Some(disk) = SmallDisk::mount(64) else { return };
    let path = disk.root().join("counters");
    let memory = SharedMemory::<AtomicU64>::in_file(&path, 4096).expect("mapped");
    memory.make_read_only(512).expect("changed");
    let values = memory.values();
    values[4095].store(7, SeqCst);
    let file = fs::File::options().write(true).open(&path).expect("opened");
    file.set_len(0).expect("truncated");
    disk.fill();
    // Each process finds the page missing, and replaces it by the same page of the reserve.
    let first = child(|| {
        values[4095].store(8, SeqCst);
        i32::from(values[0].load(Relaxed) != 0)
    });
    assert_eq!(wait_for(first).expect("reaped"), Exit::Code(0));
    assert_eq!((values[4095].load(SeqCst), values[0].load(Relaxed)), (8, 0));
    let second = child(|| i32::from(values[4095].fetch_add(1, SeqCst) != 8));
    assert_eq!(wait_for(second).expect("reaped"), Exit::Code(0));
    assert_eq!(values[4095].load(SeqCst), 9);
    // The start stays read-only.
    let writer = child(|| {
        values[0].store(1, SeqCst);
        0
    });
    assert!(matches!(wait_for(writer).expect("reaped"), Exit::Signal { .. }));
    assert_eq!(values[0].load(Relaxed), 0);
}

fn a_truncation_is_survived_with_blocked_signals() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("counters");
    let values = shared::in_file::<AtomicU64>(&path, 4096).expect("mapped");
    let blocked = block_all().expect("blocked");
    let file = fs::File::options().write(true).open(&path).expect("opened");
    file.set_len(0).expect("truncated");
    let forked = child(|| {
        values[4095].store(8, SeqCst);
        0
    });
    assert_eq!(wait_for(forked).expect("reaped"), Exit::Code(0));
    assert_eq!(values[4095].load(SeqCst), 8);
    drop(blocked);
}

fn a_memory_file_is_sent_over_a_link() {
    let (ours, theirs) = pair().expect("a socket pair");
    let echo = child(|| {
        let (mut byte, mut fds) = ([0; 1], VecDeque::new());
        wait(&[(theirs.as_fd(), Interest::Read)], LIMIT).expect("polled");
        assert_eq!(theirs.receive(&mut byte, &mut fds).expect("received"), 1);
        let request = read_all(fds.pop_front().expect("a file"), 1 << 20).expect("read");
        let reply = memfd_with("reply", &request.repeat(2)).expect("created");
        theirs.send(&[IoSlice::new(&byte)], &[reply.as_fd()]).expect("sent");
        0
    });
    let request = memfd_with("request", b"ding").expect("created");
    ours.send(&[IoSlice::new(b"!")], &[request.as_fd()]).expect("sent");
    let (mut byte, mut fds) = ([0; 8], VecDeque::new());
    wait(&[(ours.as_fd(), Interest::Read)], LIMIT).expect("polled");
    assert_eq!(ours.receive(&mut byte, &mut fds).expect("received"), 1);
    assert_eq!(read_all(&fds[0], 100).expect("read"), b"dingding");
    assert_eq!(wait_for(echo).expect("reaped"), Exit::Code(0));
}

fn a_dead_peer_ends_the_link() {
    let (ours, theirs) = pair().expect("a socket pair");
    let peer = child(|| 0);
    drop(theirs);
    assert!(wait(&[(ours.as_fd(), Interest::Read)], LIMIT).expect("polled")[0].is_closed());
    assert_eq!(ours.receive(&mut [0; 8], &mut VecDeque::new()).expect("the end"), 0);
    assert_eq!(wait_for(peer).expect("reaped"), Exit::Code(0));
}

fn a_link_leaves_no_descriptor_behind() {
    let before = fds::open_fds().expect("listed");
    for _ in 0..100 {
        let (one, other) = pair().expect("a socket pair");
        one.send(&[IoSlice::new(b"x")], &[one.as_fd(), other.as_fd()]).expect("sent");
        let mut fds = VecDeque::new();
        other.receive(&mut [0; 8], &mut fds).expect("received");
        one.send(&[IoSlice::new(b"never read")], &[one.as_fd()]).expect("sent");
    }
    assert_eq!(fds::open_fds().expect("listed"), before);
}

fn cmdline(pid: Pid) -> String {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("the file exists")
}

fn a_long_title_is_shown() {
    let title = Title::claim();
    if title.capacity() == 0 {
        return println!("skipped: this system has no process title");
    }
    let arguments: usize = env::args().map(|argument| argument.len() + 1).sum();
    assert!(title.capacity() > arguments + 10, "{} bytes are too few", title.capacity());
    for length in (0..arguments + 10).chain([title.capacity()]).rev() {
        let long = "x".repeat(length);
        title.set(&long);
        let shown = cmdline(this_pid());
        assert_eq!(shown.trim_end_matches('\0'), long, "a title of {length} bytes");
        title.set("short");
        assert_eq!(cmdline(this_pid()).trim_end_matches('\0'), "short", "after {length} bytes");
    }
    title.set(&"é".repeat(5000));
    assert_eq!(cmdline(this_pid()).trim_matches(['é', '\0']), "");
    title.set("parent");
    let named = child(|| {
        title.set("child 3");
        i32::from(cmdline(this_pid()) != "child 3\0")
    });
    assert_eq!(wait_for(named).expect("reaped"), Exit::Code(0));
    assert_eq!(cmdline(this_pid()), "parent\0");
}

fn arguments_and_environment_stay() {
    let current = || (env::args_os().collect::<Vec<_>>(), env::vars_os().collect::<Vec<_>>());
    let before = current();
    let title = Title::claim();
    title.set(&"x".repeat(title.capacity()));
    assert_eq!(current(), before);
    assert!(env::current_exe().expect("known").exists());
}

fn a_second_title_is_not_shown() {
    let first = Title::claim();
    first.set("first");
    let second = Title::claim();
    second.set("second");
    assert_eq!(second.capacity(), 0);
    assert!(!cmdline(this_pid()).contains("second"));
}

fn the_descriptor_of_the_listing_is_not_listed() {
    let open = fds::open_fds().expect("listed");
    assert!(open.iter().all(|(_, target)| !target.ends_with("/fd")), "{open:?}");
}
