//! Forking, which is refused while other threads are running.
//!
//! A forked child has only the calling thread, but a copy of every lock. A lock that another thread
//! holds during the fork, for example the allocator's, stays locked in the child forever. [`fork`]
//! is a safe function because it counts the threads first and refuses to fork if there are others.

use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
pub use crate::error::{OtherThreads, Thread};
use crate::process::Pid;

/// How long to wait for another thread to exit. `pthread_join` can return shortly before the kernel
/// removes the joined thread from the process.
const THREAD_EXIT_TIMEOUT: Duration = Duration::from_millis(5);

/// The result of a fork, which says whether this process is the parent or the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum ForkResult {
    /// This process is the parent. The field is the pid of the new child.
    Parent(Pid),
    /// This process is the new child.
    Child,
}

/// Forks this process.
///
/// This function calls the C library's fork, which runs the functions registered with
/// `pthread_atfork`. The child has copies of all descriptors, of the signal mask and of buffers
/// that are not flushed yet (see [`flush_streams`]). Counting the threads costs one system call.
///
/// # Errors
///
/// - [`Error::OtherThreads`] if the process has other threads. The error lists them if the
///   system does.
/// - [`Error::Os`] if the fork fails. The same call may succeed later if
///   [`Error::is_resource_shortage`] returns true.
/// - [`Error::Os`] if the threads cannot be counted. On Linux this happens if neither `/proc` nor
///   unshare(2) is available.
/// - [`Error::Unsupported`] on systems other than Linux, FreeBSD and macOS.
///
/// # Examples
///
/// ```standalone_crate
/// use daemon_sys::{fork::{ForkResult, fork}, process::exit_now, reap::{Exit, wait_for}};
///
/// # fn main() -> Result<(), daemon_sys::error::Error> {
/// match fork() {
///     Ok(ForkResult::Child) => exit_now(7),
///     Ok(ForkResult::Parent(child)) => assert_eq!(wait_for(child)?, Exit::Code(7)),
///     Err(error) => println!("{error}"),
/// }
/// # Ok(())
/// # }
/// ```
#[inline]
pub fn fork() -> Result<ForkResult> {
    if let Some(other_threads) = other_threads()? {
        return Err(Error::OtherThreads(other_threads));
    }
    // SAFETY: fork(2) restricts the child to async-signal-safe functions only if the process has
    // several threads. The count above shows that this process has one thread, and only this thread
    // could start another.
    match unsafe { libc::fork() } {
        -1 => Err(Error::fork(io::Error::last_os_error())),
        0 => Ok(ForkResult::Child),
        child => match Pid::from_raw(child) {
            Some(pid) => Ok(ForkResult::Parent(pid)),
            None => Err(Error::os("fork", io::Error::other("the system returned an invalid pid"))),
        },
    }
}

/// Returns the other threads of this process; `None` if the calling thread is the only one.
///
/// Waits up to 5 ms for threads that are exiting.
///
/// # Errors
///
/// If the threads cannot be counted.
pub fn other_threads() -> Result<Option<OtherThreads>> {
    if platform::is_alone()? {
        return Ok(None);
    }
    let deadline = Instant::now() + THREAD_EXIT_TIMEOUT;
    while Instant::now() < deadline {
        thread::sleep(Duration::from_micros(100));
        if platform::is_alone()? {
            return Ok(None);
        }
    }
    Ok(Some(OtherThreads { threads: platform::others() }))
}

/// Flushes Rust's `stdout` and all buffers of C's `stdio`, so that a fork does not duplicate
/// buffered output. Output that cannot be flushed may be written by both processes.
pub fn flush_streams() {
    let _ = std::io::stdout().flush();
    // SAFETY: fflush takes a null pointer, which means every output stream (fflush(3)).
    unsafe { libc::fflush(std::ptr::null_mut()) };
}

/// Refuses every fork, on systems on which this crate cannot count the threads of a process.
#[cfg(not(any(target_os = "linux", target_os = "freebsd", target_os = "macos")))]
mod platform {
    use super::Thread;
    use crate::error::{Error, Result};

    pub(super) fn is_alone() -> Result<bool> {
        Err(Error::Unsupported { action: "count the threads of this process".into() })
    }

    pub(super) fn others() -> Vec<Thread> {
        Vec::new()
    }
}

/// Counts threads on FreeBSD with sysctl(3), which does not return their names.
#[cfg(target_os = "freebsd")]
mod platform {
    use std::mem::MaybeUninit;

    use super::Thread;
    use crate::error::{Error, Result};
    use crate::process::this_pid;

    pub(super) fn is_alone() -> Result<bool> {
        let name = [libc::CTL_KERN, libc::KERN_PROC, libc::KERN_PROC_PID, this_pid().as_raw()];
        let mut info = MaybeUninit::<libc::kinfo_proc>::zeroed();
        let mut length = size_of::<libc::kinfo_proc>();
        // SAFETY: `name` has the stated number of entries, `info` the stated number of bytes; no
        // new value is passed.
        let result = unsafe {
            libc::sysctl(
                name.as_ptr(),
                name.len() as libc::c_uint,
                info.as_mut_ptr().cast(),
                &raw mut length,
                std::ptr::null(),
                0,
            )
        };
        if result != 0 {
            return Err(Error::last("count the threads of this process"));
        }
        // SAFETY: kinfo_proc is made of integers and pointers; it was zeroed and then filled in.
        let info = unsafe { info.assume_init() };
        Ok(info.ki_numthreads == 1)
    }

    pub(super) fn others() -> Vec<Thread> {
        Vec::new()
    }
}

/// Detects other threads on Linux with unshare(2), which needs no file lookup. With the flag
/// `CLONE_THREAD`, unshare(2) returns `EINVAL` in a process with several threads, and does nothing
/// in a process with one thread.
///
/// Where unshare is forbidden, as in some containers, the link count of `/proc/self/task` is used
/// instead. A directory has two links plus one for each subdirectory, and `task` has a subdirectory
/// for each thread (proc_pid_task(5)).
#[cfg(target_os = "linux")]
mod platform {
    use std::fs;
    use std::io;
    use std::os::unix::fs::MetadataExt;

    use nix::unistd::gettid;

    use super::Thread;
    use crate::error::{Error, Result};

    const TASKS: &str = "/proc/self/task";

    pub(super) fn is_alone() -> Result<bool> {
        // SAFETY: with CLONE_THREAD alone, unshare changes nothing: it fails, or the process has
        // one thread and shares nothing that could be unshared (unshare(2)).
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
            // The process has at least two threads: the test's own thread and the thread spawned
            // here.
            std::thread::scope(|threads| {
                threads.spawn(|| {
                    assert!(!is_alone().expect("the threads are counted"));
                    assert!(!by_tasks().expect("the threads are counted"));
                });
            });
        }
    }
}

/// Counts threads on macOS with proc_pidinfo(PROC_PIDTASKINFO), which returns the number of threads
/// but not their names.
#[cfg(target_os = "macos")]
mod platform {
    use std::mem::MaybeUninit;

    use super::Thread;
    use crate::error::{Error, Result};
    use crate::process::this_pid;

    pub(super) fn is_alone() -> Result<bool> {
        let mut info = MaybeUninit::<libc::proc_taskinfo>::zeroed();
        let length = size_of::<libc::proc_taskinfo>() as libc::c_int;
        let this = this_pid().as_raw();
        // SAFETY: `info` has the stated number of bytes.
        let result = unsafe {
            libc::proc_pidinfo(this, libc::PROC_PIDTASKINFO, 0, info.as_mut_ptr().cast(), length)
        };
        if result != length {
            return Err(Error::last("count the threads of this process"));
        }
        // SAFETY: proc_taskinfo is made of integers; it was zeroed and then filled in.
        let info = unsafe { info.assume_init() };
        Ok(info.pti_threadnum == 1)
    }

    pub(super) fn others() -> Vec<Thread> {
        Vec::new()
    }
}
