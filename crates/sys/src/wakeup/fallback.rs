//! Wakeups with a pipe, on any Unix.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;

use crate::listen::set_nonblocking;

#[derive(Debug)]
pub(super) struct WakeupFd {
    reader: PipeReader,
    writer: PipeWriter,
}

impl WakeupFd {
    pub(super) fn new() -> io::Result<WakeupFd> {
        let (reader, writer) = io::pipe()?;
        set_nonblocking(reader.as_fd(), true).map_err(io::Error::other)?;
        set_nonblocking(writer.as_fd(), true).map_err(io::Error::other)?;
        Ok(WakeupFd { reader, writer })
    }

    pub(super) fn wake(&self) {
        while nix::unistd::write(&self.writer, &[1]) == Err(Errno::EINTR) {}
    }

    pub(super) fn writer(&self) -> RawFd {
        self.writer.as_raw_fd()
    }

    pub(super) fn clear(&self) {
        let mut bytes = [0_u8; 4096];
        loop {
            match nix::unistd::read(&self.reader, &mut bytes) {
                Ok(length) if length == bytes.len() => {}
                Err(Errno::EINTR) => {}
                Ok(_) | Err(_) => return,
            }
        }
    }
}

impl AsFd for WakeupFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}
