//! Counting threads on Linux: by the link count of `/proc/self/task`, one system call.
//!
//! A directory has two links and one for each directory in it, and `task` holds a directory for
//! each thread (proc_pid_task(5)). Where `/proc` is not mounted, as in some chroots, unshare(2)
//! tells: it refuses `CLONE_THREAD` with `EINVAL` to a process with several threads and does
//! nothing in a process with one.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use nix::unistd::gettid;

use super::Thread;
use crate::error::{Error, Result};

const TASKS: &str = "/proc/self/task";

pub(super) fn is_alone() -> Result<bool> {
    match fs::metadata(TASKS).map(|task| task.nlink()) {
        Ok(links) if links >= 3 => Ok(links == 3),
        // Some emulations of /proc count no links of directories.
        Ok(_) => fs::read_dir(TASKS).map(|tasks| tasks.count() == 1).or_else(|_| by_unshare()),
        Err(_) => by_unshare(),
    }
}

fn by_unshare() -> Result<bool> {
    // SAFETY: with CLONE_THREAD alone unshare changes nothing: it fails, or the process has one
    // thread and shares nothing that could be taken apart (unshare(2)).
    if unsafe { libc::unshare(libc::CLONE_THREAD) } == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::EINVAL) {
        return Ok(false);
    }
    Err(Error::os(format!("count the threads of this process without {TASKS}"), error))
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
