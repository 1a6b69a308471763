//! Forking, which is refused while other threads are running.
//!
//! A fork copies one thread and every lock. A lock that another thread holds, for example the
//! allocator's, stays locked in the child forever. So [`fork`] counts the threads itself, which
//! makes it safe to call.

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

/// How long to wait for another thread to exit. `pthread_join` returns shortly before the kernel
/// removes the joined thread from its list.
const THREAD_EXIT_TIMEOUT: Duration = Duration::from_millis(5);

/// The result of a fork: which of the two processes this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum ForkResult {
    /// The forking process, with the pid of the new child.
    Parent(Pid),
    /// The new child process.
    Child,
}

/// A thread of this process other than the calling thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// The kernel's thread id.
    pub tid: i32,
    /// The thread's name, at most 15 bytes; empty if it exited before its name was read.
    pub name: String,
}

/// The other threads that prevent a fork.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherThreads {
    /// The threads. Empty if the system reports that there are some, but not which.
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
/// It calls the C library's fork, which runs the functions registered with `pthread_atfork`. The
/// child has copies of all descriptors, of the signal mask and of unwritten buffers: see
/// [`flush_c_streams`]. Counting the threads costs one system call.
///
/// # Errors
///
/// - [`Error::OtherThreads`] if the process has other threads. The error names them.
/// - [`Error::Os`] if the fork fails; it may succeed later if [`Error::is_resource_shortage`]
///   returns true. Also if the threads cannot be counted, on Linux if neither `/proc` nor
///   unshare(2) is available.
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
    // SAFETY: fork's condition is that the child of a process with several threads calls only
    // async-signal-safe functions. This process has one thread, counted just above, and only that
    // thread, which is here, could start a second.
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
/// It waits a few milliseconds for threads that are exiting.
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

/// Flushes all buffers of C's `stdio`, so that a fork does not duplicate buffered output of a C
/// library. It does not flush Rust's own `stdout`.
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
