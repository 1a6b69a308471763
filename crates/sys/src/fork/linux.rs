//! Counting threads on Linux: by unshare(2), a system call that looks nothing up. It refuses
//! `CLONE_THREAD` with `EINVAL` to a process with several threads and does nothing in a process with
//! one.
//!
//! Where it is forbidden, as in some containers, the link count of `/proc/self/task` tells: a
//! directory has two links and one for each directory in it, and `task` holds a directory for each
//! thread (proc_pid_task(5)).

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use nix::unistd::gettid;

use super::Thread;
use crate::error::{Error, Result};

const TASKS: &str = "/proc/self/task";

pub(super) fn is_alone() -> Result<bool> {
    // SAFETY: with CLONE_THREAD alone unshare changes nothing: it fails, or the process has one
    // thread and shares nothing that could be taken apart (unshare(2)).
    if unsafe { libc::unshare(libc::CLONE_THREAD) } == 0 {
        return Ok(true);
    }
    let refusal = io::Error::last_os_error();
    if refusal.raw_os_error() == Some(libc::EINVAL) {
        return Ok(false);
    }
    by_tasks().map_err(|error| {
        let why = io::Error::new(error.kind(), format!("{error}, and unshare: {refusal}"));
        Error::os(format!("count the threads of this process in {TASKS}"), why)
    })
}

fn by_tasks() -> io::Result<bool> {
    match fs::metadata(TASKS)?.nlink() {
        links if links >= 3 => Ok(links == 3),
        // Some emulations of /proc count no links of directories.
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
    fn both_ways_see_the_threads_of_the_tests() {
        // A runner of tests has a thread besides that of the test; this is one more.
        std::thread::scope(|threads| {
            threads.spawn(|| {
                assert!(!is_alone().expect("it counts"));
                assert!(!by_tasks().expect("it counts"));
            });
        });
    }
}
