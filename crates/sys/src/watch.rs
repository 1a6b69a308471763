//! Registers descriptors with a tokio runtime. Requires the feature `tokio`.
//!
//! This is the only module of the crate that depends on a runtime. It is in this crate because
//! tokio's function for the registration is unsafe: its caller must guarantee that the descriptor
//! stays open.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::error::{Error, Result};

/// Registers the descriptor for reading with the runtime of the current thread.
///
/// The returned registration owns the descriptor and closes it when dropped.
///
/// # Errors
///
/// If the system cannot watch the descriptor. For example, epoll_ctl(2) refuses regular files.
///
/// # Panics
///
/// If called outside of a tokio runtime with I/O enabled.
pub fn readable(descriptor: OwnedFd) -> Result<AsyncFd<OwnedFd>> {
    watch(descriptor, Interest::READABLE)
}

/// Registers the descriptor for writing with the runtime of the current thread. Keep the
/// registration only while a write is blocked, because a socket becomes writable after each read at
/// its other end and wakes the runtime each time.
///
/// # Errors
///
/// As [`readable`].
///
/// # Panics
///
/// As [`readable`].
pub fn writable(descriptor: OwnedFd) -> Result<AsyncFd<OwnedFd>> {
    watch(descriptor, Interest::WRITABLE)
}

fn watch<D: Owner>(descriptor: D, interest: Interest) -> Result<AsyncFd<D>> {
    let number = descriptor.as_raw_fd();
    // SAFETY: an owner keeps its descriptor open, with the same number, for as long as it lives.
    // The returned `AsyncFd` owns it and gives out only shared references to it.
    let watch = unsafe { AsyncFd::register_with_interest(descriptor, interest) };
    watch.map_err(|error| {
        let (_descriptor, cause) = error.into_parts();
        Error::os(format!("watch descriptor {number}"), cause)
    })
}

/// The owner of a descriptor, or one of its owners.
trait Owner: AsRawFd {}

impl Owner for OwnedFd {}
impl Owner for Rc<OwnedFd> {}

/// A listening socket shared by several processes. A new connection wakes only one of the waiting
/// processes, not all of them.
///
/// On Linux this uses `EPOLLEXCLUSIVE` (epoll_ctl(2)) if the runtime's epoll instance can be found
/// in `/proc`. Otherwise all waiting processes are woken, one accepts, and the others wait again.
#[derive(Debug)]
pub struct SharedListener {
    listener: Rc<OwnedFd>,
    registered: RefCell<Option<Rc<Registered>>>,
}

/// A registration with the runtime.
#[derive(Debug)]
struct Registered {
    watch: AsyncFd<Rc<OwnedFd>>,
    registration: platform::EpollRegistration,
}

impl SharedListener {
    /// Registers the listener with the runtime of the current thread.
    ///
    /// # Errors
    ///
    /// As [`readable`].
    ///
    /// # Panics
    ///
    /// As [`readable`].
    pub fn new(listener: OwnedFd) -> Result<SharedListener> {
        let listener = Rc::new(listener);
        let registered = Registered::of(&listener)?;
        Ok(SharedListener { listener, registered: RefCell::new(Some(Rc::new(registered))) })
    }

    /// Returns the listening socket.
    #[must_use]
    pub fn listener(&self) -> &OwnedFd {
        &self.listener
    }

    /// Waits until this process is woken for a connection. Another process may have accepted the
    /// connection by then, so accept without blocking, and then wait again. Returns whether the
    /// listener was shut down instead.
    ///
    /// A process that does not call this method is not woken, so it does not delay connections that
    /// a waiting process could accept. Drop the future to stop waiting.
    ///
    /// # Errors
    ///
    /// If the runtime shuts down, or the listener cannot be registered again after it was shut
    /// down.
    pub async fn readable(&self) -> io::Result<bool> {
        let registered = self.registered()?;
        let was_shut_down = {
            let _wait = registered.registration.wait(&self.listener);
            let mut ready = registered.watch.readable().await?;
            let was_shut_down = ready.ready().is_read_closed();
            ready.clear_ready();
            was_shut_down
        };
        // For the runtime, a closed descriptor stays closed. A listener that another process has
        // shut down can listen again, so register it anew.
        if was_shut_down {
            self.registered.replace(None);
        }
        Ok(was_shut_down)
    }

    fn registered(&self) -> io::Result<Rc<Registered>> {
        if let Some(registered) = &*self.registered.borrow() {
            return Ok(Rc::clone(registered));
        }
        let registered = Rc::new(Registered::of(&self.listener).map_err(io::Error::other)?);
        self.registered.replace(Some(Rc::clone(&registered)));
        Ok(registered)
    }
}

impl Registered {
    fn of(listener: &Rc<OwnedFd>) -> Result<Registered> {
        let watch = watch(Rc::clone(listener), Interest::READABLE)?;
        let registration = platform::EpollRegistration::of(listener);
        Ok(Registered { watch, registration })
    }
}

/// Exclusive wakeups with `EPOLLEXCLUSIVE`. With this flag, a new connection does not wake all
/// processes that wait for the same listener.
///
/// tokio registers descriptors without `EPOLLEXCLUSIVE` and has no option for this flag.
/// `/proc/self/fdinfo` shows which epoll instance contains the registration, and the registration's
/// token (proc(5)). This module removes tokio's registration. While this process waits, the
/// listener is registered again with the same token and `EPOLLEXCLUSIVE`. `EPOLL_CTL_MOD` does not
/// accept this flag.
///
/// The flag has an effect only in the epoll instance in which the thread waits: for the kernel, an
/// epoll instance that is watched by another one is not a waiting process (docs/adr/0009).
#[cfg(target_os = "linux")]
mod platform {
    use std::fs;
    use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

    use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

    /// The listener's registration with the runtime's epoll instance; `None` if the registration
    /// was not found.
    #[derive(Debug)]
    pub(super) struct EpollRegistration(Option<Registration>);

    #[derive(Debug)]
    struct Registration {
        epoll: Epoll,
        token: u64,
    }

    impl EpollRegistration {
        pub(super) fn of(listener: &OwnedFd) -> EpollRegistration {
            let registration = EpollRegistration(find(listener.as_raw_fd()));
            registration.remove(listener);
            registration
        }

        /// Registers the listener until the returned guard is dropped.
        pub(super) fn wait<'a>(&'a self, listener: &'a OwnedFd) -> WaitGuard<'a> {
            if let Some(Registration { epoll, token }) = &self.0 {
                let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET | EpollFlags::EPOLLEXCLUSIVE;
                // This registration takes the place of the removed one, so it does not exceed the
                // limit on epoll watches.
                let _ = epoll.add(listener, EpollEvent::new(flags, *token));
            }
            WaitGuard { registration: self, listener }
        }

        fn remove(&self, listener: &OwnedFd) {
            if let Some(Registration { epoll, .. }) = &self.0 {
                // This fails only if the listener is not registered any more.
                let _ = epoll.delete(listener);
            }
        }
    }

    /// Removes the registration when dropped.
    #[derive(Debug)]
    pub(super) struct WaitGuard<'a> {
        registration: &'a EpollRegistration,
        listener: &'a OwnedFd,
    }

    impl Drop for WaitGuard<'_> {
        fn drop(&mut self) {
            self.registration.remove(self.listener);
        }
    }

    /// Finds the epoll instance of this process that watches the listener.
    fn find(listener: RawFd) -> Option<Registration> {
        let entries = fs::read_dir("/proc/self/fd").ok()?;
        entries.flatten().find_map(|entry| {
            let epoll: RawFd = entry.file_name().to_str()?.parse().ok()?;
            let target = fs::read_link(entry.path()).ok()?;
            if target.as_os_str() != "anon_inode:[eventpoll]" {
                return None;
            }
            let info = fs::read_to_string(format!("/proc/self/fdinfo/{epoll}")).ok()?;
            let token = info.lines().find_map(|line| token_of(line, listener))?;
            // SAFETY: the descriptor is in the list of this process's open descriptors. It belongs
            // to the runtime of this thread, so no other thread closes it while it is duplicated
            // here.
            let epoll = unsafe { BorrowedFd::borrow_raw(epoll) };
            Some(Registration { epoll: Epoll(epoll.try_clone_to_owned().ok()?), token })
        })
    }

    /// Returns the token in a line of fdinfo, if the line is about this descriptor. An example of a
    /// line: `tfd:        7 events: 80002019 data:     7f3ff0a01180  pos:0 ino:5 sdev:8`.
    fn token_of(line: &str, wanted: RawFd) -> Option<u64> {
        let rest = line.strip_prefix("tfd:")?;
        let (descriptor, rest) = rest.split_once("events:")?;
        let (_events, rest) = rest.split_once("data:")?;
        if descriptor.trim().parse() != Ok(wanted) {
            return None;
        }
        u64::from_str_radix(rest.split_whitespace().next()?, 16).ok()
    }

    #[cfg(test)]
    mod tests {
        use super::token_of;

        #[test]
        fn the_token_is_read_only_from_the_line_of_the_wanted_descriptor() {
            let line = "tfd:        7 events: 80002019 data:     7f3ff0a01180  pos:0 ino:5 sdev:8";
            assert_eq!(token_of(line, 7), Some(0x7f3f_f0a0_1180));
            assert_eq!(token_of(line, 8), None);
        }

        #[test]
        fn malformed_lines_and_lines_without_a_descriptor_have_no_token() {
            for line in
                ["pos:\t0", "tfd:", "tfd: 7 events: x data:", "tfd: 7 events: 1 data: zz pos"]
            {
                assert_eq!(token_of(line, 7), None, "{line:?}");
            }
        }
    }
}

/// Keeps tokio's registration, so a new connection wakes all processes that wait for the listener.
#[cfg(not(target_os = "linux"))]
mod platform {
    use std::os::fd::OwnedFd;

    /// Stores nothing, because tokio keeps the registration.
    #[derive(Debug)]
    pub(super) struct EpollRegistration;

    impl EpollRegistration {
        pub(super) fn of(_listener: &OwnedFd) -> EpollRegistration {
            EpollRegistration
        }

        pub(super) fn wait(&self, _listener: &OwnedFd) -> WaitGuard {
            WaitGuard
        }
    }

    /// Does nothing when dropped.
    #[derive(Debug)]
    pub(super) struct WaitGuard;
}
