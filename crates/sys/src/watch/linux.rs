//! Exclusive wakeups with `EPOLLEXCLUSIVE`. With this flag, a new connection does not wake all
//! processes that wait for the same listener.
//!
//! tokio registers descriptors without `EPOLLEXCLUSIVE` and has no option for this flag. With
//! tokio's registration, a new connection wakes all waiting processes. `/proc/self/fdinfo` shows
//! which epoll instance contains the registration, and the registration's token (proc(5)). This
//! module removes tokio's registration. While this process waits, the listener is registered again
//! with the same token and `EPOLLEXCLUSIVE`. `EPOLL_CTL_MOD` cannot be used, because it does not
//! accept this flag.

use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

/// The listener's registration with the runtime's epoll instance; `None` if the registration was
/// not found.
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
        // SAFETY: the descriptor is in the list of this process's open descriptors. It belongs to
        // the runtime of this thread, so no other thread closes it while it is duplicated here.
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
        for line in ["pos:\t0", "tfd:", "tfd: 7 events: x data:", "tfd: 7 events: 1 data: zz pos"] {
            assert_eq!(token_of(line, 7), None, "{line:?}");
        }
    }
}
