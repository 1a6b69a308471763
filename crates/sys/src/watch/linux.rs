//! Waiting in line by `EPOLLEXCLUSIVE`.
//!
//! tokio registers a descriptor for all that happens to it and has no word for "wake only one of
//! us". The kernel tells in `/proc/self/fdinfo` which event queue the registration is in, and the
//! token that it carries (proc(5)); the registration is then taken out, and put back with the same
//! token and the flag for as long as this process waits. `EPOLL_CTL_MOD` does not take the flag.

use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

/// Where in the runtime's event queue the listener is registered; none if it was not found.
#[derive(Debug)]
pub(super) struct Place(Option<Registration>);

#[derive(Debug)]
struct Registration {
    queue: Epoll,
    token: u64,
}

impl Place {
    pub(super) fn of(listener: &OwnedFd) -> Place {
        let place = Place(find(listener.as_raw_fd()));
        place.leave(listener);
        place
    }

    /// Stands in line until the answer is dropped.
    pub(super) fn stand<'a>(&'a self, listener: &'a OwnedFd) -> InLine<'a> {
        if let Some(Registration { queue, token }) = &self.0 {
            let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET | EpollFlags::EPOLLEXCLUSIVE;
            // It was registered here before with the same token, so there is room for it.
            let _ = queue.add(listener, EpollEvent::new(flags, *token));
        }
        InLine { place: self, listener }
    }

    fn leave(&self, listener: &OwnedFd) {
        if let Some(Registration { queue, .. }) = &self.0 {
            // That it stands there no more is what is asked for.
            let _ = queue.delete(listener);
        }
    }
}

/// Somebody who waits for a turn.
#[derive(Debug)]
pub(super) struct InLine<'a> {
    place: &'a Place,
    listener: &'a OwnedFd,
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.place.leave(self.listener);
    }
}

/// Looks for the event queue of this process that watches the listener.
fn find(listener: RawFd) -> Option<Registration> {
    let entries = fs::read_dir("/proc/self/fd").ok()?;
    entries.flatten().find_map(|entry| {
        let queue: RawFd = entry.file_name().to_str()?.parse().ok()?;
        let target = fs::read_link(entry.path()).ok()?;
        if target.as_os_str() != "anon_inode:[eventpoll]" {
            return None;
        }
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{queue}")).ok()?;
        let token = info.lines().find_map(|line| token_of(line, listener))?;
        // SAFETY: the descriptor is in the list of this process' open ones, and it is the runtime's
        // of this very thread, so nobody closes it while it is duplicated here.
        let queue = unsafe { BorrowedFd::borrow_raw(queue) };
        Some(Registration { queue: Epoll(queue.try_clone_to_owned().ok()?), token })
    })
}

/// Reads the token from a line of fdinfo, if it is this descriptor's:
/// `tfd:        7 events: 80002019 data:     7f3ff0a01180  pos:0 ino:5 sdev:8`.
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
    fn the_token_is_read_from_the_kernels_line() {
        let line = "tfd:        7 events: 80002019 data:     7f3ff0a01180  pos:0 ino:5 sdev:8";
        assert_eq!(token_of(line, 7), Some(0x7f3f_f0a0_1180));
        assert_eq!(token_of(line, 8), None);
    }

    #[test]
    fn other_lines_and_garbage_have_no_token() {
        for line in ["pos:\t0", "tfd:", "tfd: 7 events: x data:", "tfd: 7 events: 1 data: zz pos"] {
            assert_eq!(token_of(line, 7), None, "{line:?}");
        }
    }
}
