//! Forking, and the refusal to fork in company.
//!
//! A fork copies one thread and every lock. A lock that another thread held, the allocator's for
//! one, stays locked in the child for ever. So [`fork`] counts threads itself, and is safe to call.

use std::fmt;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::process::Pid;

#[cfg(target_os = "freebsd")]
mod freebsd;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "macos")]
mod macos;
#[cfg(not(any(target_os = "linux", target_os = "freebsd", target_os = "macos")))]
mod plain;
#[cfg(target_os = "freebsd")]
use freebsd as platform;
#[cfg(target_os = "linux")]
use linux as platform;
#[cfg(target_os = "macos")]
use macos as platform;
#[cfg(not(any(target_os = "linux", target_os = "freebsd", target_os = "macos")))]
use plain as platform;

/// How long a thread that is found beside ours may take to leave. `pthread_join` returns a moment
/// before the kernel takes the joined thread off its list.
const LEAVING: Duration = Duration::from_millis(5);

/// Which of the two processes this is, after a fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum ForkResult {
    /// The process that forked; here is its new child's pid.
    Parent(Pid),
    /// The new process.
    Child,
}

/// A thread of this process, other than the one that asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// The kernel's number for it.
    pub tid: i32,
    /// Its name, at most 15 bytes; empty if it ended while we looked.
    pub name: String,
}

/// The other threads that stand in the way of a fork.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherThreads {
    /// Who they are. Empty if the system tells that there are some, but not which.
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
/// It is the C library's fork, so that what was registered with `pthread_atfork` runs. The child
/// has a copy of all descriptors, of the signal mask and of unwritten buffers: see
/// [`flush_c_streams`]. Counting the threads costs one system call.
///
/// # Errors
///
/// - [`Error::OtherThreads`] if the process has another thread, named in the error.
/// - [`Error::Os`] if the system can't: [`Error::is_shortage`] tells whether it may later. Also if
///   the threads can't be counted, on Linux if neither `/proc` nor unshare(2) is at hand: not
///   knowing is no leave to fork.
///
/// # Examples
///
/// ```standalone_crate
/// use daemon_sys::{fork::{Fork, fork}, process::exit_now, reap::{Exit, wait_for}};
///
/// # fn main() -> Result<(), daemon_sys::error::Error> {
/// match fork() {
///     Ok(Fork::Child) => exit_now(7),
///     Ok(Fork::Parent(child)) => assert_eq!(wait_for(child)?, Exit::Code(7)),
///     Err(refusal) => println!("{refusal}"),
/// }
/// # Ok(())
/// # }
/// ```
#[inline]
pub fn fork() -> Result<ForkResult> {
    if let Some(company) = company()? {
        return Err(Error::OtherThreads(company));
    }
    // SAFETY: fork's condition is that the child of a process with several threads calls only
    // async-signal-safe functions. This process has one thread, counted just above, and nobody but
    // that thread, which is here, could start a second.
    match unsafe { libc::fork() } {
        -1 => Err(Error::last("fork")),
        0 => Ok(ForkResult::Child),
        child => match Pid::from_raw(child) {
            Some(pid) => Ok(ForkResult::Parent(pid)),
            None => Err(Error::os("fork", io::Error::other("the child has no number"))),
        },
    }
}

/// Looks for other threads of this process; `None` if the caller is alone.
///
/// A thread that is on its way out is given a few milliseconds to leave.
///
/// # Errors
///
/// If the threads can't be counted.
pub fn company() -> Result<Option<OtherThreads>> {
    if platform::is_alone()? {
        return Ok(None);
    }
    let deadline = Instant::now() + LEAVING;
    while Instant::now() < deadline {
        thread::sleep(Duration::from_micros(100));
        if platform::is_alone()? {
            return Ok(None);
        }
    }
    Ok(Some(OtherThreads { threads: platform::others() }))
}

/// Writes out all buffers of C's `stdio`, so that a fork does not make two copies of what a C
/// library has printed and not yet written. Rust's own `stdout` is flushed by its `flush`.
pub fn flush_c_streams() {
    // SAFETY: fflush takes a null pointer, which means every output stream (fflush(3)).
    unsafe { libc::fflush(std::ptr::null_mut()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn company_of(names: &[&str]) -> OtherThreads {
        let thread =
            |(i, name): (usize, &&str)| Thread { tid: 12 + i as i32, name: (*name).into() };
        OtherThreads { threads: names.iter().enumerate().map(thread).collect() }
    }

    #[test]
    fn the_refusal_names_every_thread() {
        assert_eq!(
            company_of(&["tokio-runtime-w", "log"]).to_string(),
            "refusing to fork: 2 other threads are running: \
             \"tokio-runtime-w\" (tid 12), \"log\" (tid 13)"
        );
        assert_eq!(
            company_of(&["log"]).to_string(),
            "refusing to fork: 1 other thread is running: \"log\" (tid 12)"
        );
        assert_eq!(company_of(&[]).to_string(), "refusing to fork: other threads are running");
    }
}
