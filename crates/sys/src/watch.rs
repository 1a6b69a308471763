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

#[cfg(not(target_os = "linux"))]
mod fallback;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
use fallback as platform;
#[cfg(target_os = "linux")]
use linux as platform;

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
    // SAFETY: an owner keeps its descriptor open, with the same number, for as long as it lives. The
    // returned `AsyncFd` owns it and gives out only shared references to it.
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
    /// connection by then, so accept without blocking, and then wait again.
    ///
    /// A process that does not call this method is not woken, so it does not delay connections that
    /// a waiting process could accept. Drop the future to stop waiting.
    ///
    /// # Errors
    ///
    /// If the runtime shuts down, or the listener cannot be registered again after it was shut
    /// down.
    pub async fn readable(&self) -> io::Result<()> {
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
        Ok(())
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
