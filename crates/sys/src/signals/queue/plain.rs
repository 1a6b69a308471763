//! A queue of signals by a handler that writes to a pipe: any Unix.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use libc::c_int;
use nix::errno::Errno;

use crate::listen::set_nonblocking;
use crate::process::Signal;
use crate::signals::unblock;

/// Where the handler writes; -1 while there is no queue.
static MOUTH: AtomicI32 = AtomicI32::new(-1);

#[derive(Debug)]
pub(super) struct Source {
    signals: Vec<Signal>,
    reader: PipeReader,
    writer: PipeWriter,
}

impl Source {
    pub(super) fn of(signals: &[Signal]) -> io::Result<Source> {
        let (reader, writer) = io::pipe()?;
        set_nonblocking(reader.as_fd(), true).map_err(io::Error::other)?;
        set_nonblocking(writer.as_fd(), true).map_err(io::Error::other)?;
        MOUTH.store(writer.as_raw_fd(), Ordering::SeqCst);
        let source = Source {
            signals: signals.to_vec(),
            reader,
            writer,
        };
        for signal in signals {
            set(*signal, write_down as *const () as libc::sighandler_t)?;
        }
        unblock(signals).map_err(io::Error::other)?;
        Ok(source)
    }

    pub(super) fn drain(&self) -> io::Result<Vec<Signal>> {
        let mut come = Vec::new();
        let mut numbers = [0_u8; 64];
        loop {
            match nix::unistd::read(&self.reader, &mut numbers) {
                Ok(0) | Err(Errno::EAGAIN) => return Ok(come),
                Ok(length) => {
                    for number in &numbers[..length] {
                        let signal = Signal::from_number(i32::from(*number));
                        come.extend(signal.filter(|signal| !come.contains(signal)));
                    }
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let ours = self.writer.as_raw_fd();
        // A later queue may have taken the signals over.
        if MOUTH
            .compare_exchange(ours, -1, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
        {
            for signal in &self.signals {
                // It was set before, so it can be set again.
                let _ = set(*signal, libc::SIG_DFL);
            }
        }
    }
}

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

/// The handler runs only if the signal is not blocked: none is kept so.
pub(super) fn is_kept(_: Signal) -> bool {
    false
}

pub(super) fn give_up(_: &[Signal]) {}

extern "C" fn write_down(number: c_int) {
    let byte = number as u8;
    let errno = Errno::last_raw();
    // SAFETY: write(2) is async-signal-safe, the pointer is to one byte, and a descriptor that is
    // closed or full is only an error.
    unsafe { libc::write(MOUTH.load(Ordering::SeqCst), (&raw const byte).cast(), 1) };
    Errno::set_raw(errno);
}

fn set(signal: Signal, handler: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: sigaction is made of integers and an optional function pointer: zeroes are a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the pointer is to a whole sigaction, whose handler does only what a handler may.
    match unsafe { libc::sigaction(signal.number(), &raw const action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
