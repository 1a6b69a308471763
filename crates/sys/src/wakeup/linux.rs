//! Wakeups with eventfd(2), which has one descriptor and an eight-byte counter.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};

#[derive(Debug)]
pub(super) struct WakeupFd(EventFd);

impl WakeupFd {
    pub(super) fn new() -> io::Result<WakeupFd> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(WakeupFd(EventFd::from_value_and_flags(0, flags)?))
    }

    pub(super) fn wake(&self) {
        while self.0.write(1) == Err(Errno::EINTR) {}
    }

    pub(super) fn writer(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }

    pub(super) fn clear(&self) {
        while self.0.read() == Err(Errno::EINTR) {}
    }
}

impl AsFd for WakeupFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
