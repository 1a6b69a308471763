//! Forking, which is refused while other threads are running.
//!
//! A forked child has only the calling thread, but a copy of every lock. A lock that another thread
//! holds during the fork, for example the allocator's, stays locked in the child forever. [`fork`]
//! is a safe function because it counts the threads first and refuses to fork if there are others.

use std::fmt;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::process::Pid;

#[cfg(not(any(target_os = "linux", target_os = "freebsd", target_os = "macos")))]
mod fallback;
#[cfg(target_os = "freebsd")]
mod freebsd;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "macos")]
mod macos;
#[cfg(not(any(target_os = "linux", target_os = "freebsd", target_os = "macos")))]
use fallback as platform;
#[cfg(target_os = "freebsd")]
use freebsd as platform;
#[cfg(target_os = "linux")]
use linux as platform;
#[cfg(target_os = "macos")]
use macos as platform;

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

/// A thread of this process other than the calling thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// The kernel's thread id.
    pub tid: i32,
    /// The thread's name, at most 15 bytes; empty if the thread exited before its name was read.
    pub name: String,
}

/// The other threads that prevent a fork.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherThreads {
    /// The other threads. Empty if the system reports that other threads exist, but does not list
    /// them.
    pub threads: Vec<Thread>,
}

impl fmt::Display for OtherThreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.threads.len() {
            0 => return f.write_str("refusing to fork: other threads are running"),
            1 => f.write_str("refusing to fork: 1 other thread is running: ")?,
            n => write!(f, "refusing to fork: {n} other threads are running: ")?,
        }
        for (i, Thread { tid, name }) in self.threads.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}\"{name}\" (tid {tid})")?;
        }
        Ok(())
    }
}

/// Forks this process.
///
/// This function calls the C library's fork, which runs the functions registered with
/// `pthread_atfork`. The child has copies of all descriptors, of the signal mask and of buffers
/// that are not flushed yet (see [`flush_c_streams`]). Counting the threads costs one system call.
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
        -1 => Err(Error::last("fork")),
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

/// Flushes all buffers of C's `stdio`, so that a fork does not duplicate the buffered output of C
/// code. Does not flush Rust's own `stdout`.
pub fn flush_c_streams() {
    // SAFETY: fflush takes a null pointer, which means every output stream (fflush(3)).
    unsafe { libc::fflush(std::ptr::null_mut()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threads_named(names: &[&str]) -> OtherThreads {
        let thread =
            |(i, name): (usize, &&str)| Thread { tid: 12 + i as i32, name: (*name).into() };
        OtherThreads { threads: names.iter().enumerate().map(thread).collect() }
    }

    #[test]
    fn the_error_names_every_thread() {
        assert_eq!(
            threads_named(&["tokio-runtime-w", "log"]).to_string(),
            "refusing to fork: 2 other threads are running: \
             \"tokio-runtime-w\" (tid 12), \"log\" (tid 13)"
        );
        assert_eq!(
            threads_named(&["log"]).to_string(),
            "refusing to fork: 1 other thread is running: \"log\" (tid 12)"
        );
        assert_eq!(threads_named(&[]).to_string(), "refusing to fork: other threads are running");
    }
}
