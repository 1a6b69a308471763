//! Detects other threads on Linux with unshare(2), which needs no file lookup. With the flag
//! `CLONE_THREAD`, unshare(2) returns `EINVAL` in a process with several threads, and does nothing
//! in a process with one thread.
//!
//! Where unshare is forbidden, as in some containers, the link count of `/proc/self/task` is used
//! instead. A directory has two links plus one for each subdirectory, and `task` has a subdirectory
//! for each thread (proc_pid_task(5)).

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use nix::unistd::gettid;

use super::Thread;
use crate::error::{Error, Result};

const TASKS: &str = "/proc/self/task";

pub(super) fn is_alone() -> Result<bool> {
    // SAFETY: with CLONE_THREAD alone, unshare changes nothing: it fails, or the process has one
    // thread and shares nothing that could be unshared (unshare(2)).
    if unsafe { libc::unshare(libc::CLONE_THREAD) } == 0 {
        return Ok(true);
    }
    let refusal = io::Error::last_os_error();
    if refusal.raw_os_error() == Some(libc::EINVAL) {
        return Ok(false);
    }
    by_tasks().map_err(|error| {
        let source =
            io::Error::new(error.kind(), format!("{error}; unshare failed too: {refusal}"));
        Error::os(format!("count the threads of this process in {TASKS}"), source)
    })
}

fn by_tasks() -> io::Result<bool> {
    match fs::metadata(TASKS)?.nlink() {
        links if links >= 3 => Ok(links == 3),
        // Some emulations of /proc do not count the links of directories.
        _ => Ok(fs::read_dir(TASKS)?.count() == 1),
    }
}

pub(super) fn others() -> Vec<Thread> {
    let this = gettid().as_raw();
    let Ok(tasks) = fs::read_dir(TASKS) else {
        return Vec::new();
    };
    let mut others: Vec<Thread> = tasks
        .filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok())
        .filter(|tid| *tid != this)
        .map(|tid| Thread { tid, name: name(tid) })
        .collect();
    others.sort_by_key(|thread| thread.tid);
    others
}

fn name(tid: i32) -> String {
    let bytes = fs::read(format!("{TASKS}/{tid}/comm")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unshare_and_the_link_count_both_detect_other_threads() {
        // The process has at least two threads: the test's own thread and the thread spawned here.
        std::thread::scope(|threads| {
            threads.spawn(|| {
                assert!(!is_alone().expect("the threads are counted"));
                assert!(!by_tasks().expect("the threads are counted"));
            });
        });
    }
}
