//! The signal queue with signalfd(2).

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::process::{Signal, number_of};
use crate::signals::mask::set_of;

/// The size of a signalfd record in bytes; the kernel returns only whole records. The first four
/// bytes are the signal's number.
const RECORD: usize = size_of::<libc::signalfd_siginfo>();
const RECORDS: usize = 16;

thread_local! {
    /// The signals that queues of this thread require to be blocked, with one bit for each signal
    /// number. The variable is thread-local, like the signal mask. A forked child writes to its
    /// thread-locals anyway, so changing this variable does not copy an additional page.
    static RESERVED: Cell<u64> = const { Cell::new(0) };
}

#[derive(Debug)]
pub(super) struct SignalSource(SignalFd);

impl SignalSource {
    pub(super) fn new(signals: &[Signal]) -> io::Result<SignalSource> {
        let set = set_of(signals);
        let queue = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        RESERVED.set(RESERVED.get() | bits(signals));
        set.thread_block()?;
        Ok(SignalSource(queue))
    }

    pub(super) fn drain(&self) -> io::Result<Vec<Signal>> {
        let mut signals = Vec::new();
        self.read(|signal| signals.push(signal))?;
        Ok(signals)
    }

    pub(super) fn clear(&self) -> io::Result<()> {
        self.read(drop)
    }

    fn read(&self, mut each: impl FnMut(Signal)) -> io::Result<()> {
        let mut records = [0_u8; RECORD * RECORDS];
        loop {
            match nix::unistd::read(&self.0, &mut records) {
                Ok(length) => {
                    records[..length].chunks_exact(RECORD).filter_map(signal).for_each(&mut each);
                    if length < records.len() {
                        return Ok(());
                    }
                }
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

pub(super) fn is_reserved(signal: Signal) -> bool {
    RESERVED.get() & bits(&[signal]) != 0
}

pub(super) fn has_reserved() -> bool {
    RESERVED.get() != 0
}

pub(super) fn release(signals: &[Signal]) {
    RESERVED.set(RESERVED.get() & !bits(signals));
}

fn bits(signals: &[Signal]) -> u64 {
    signals.iter().fold(0, |bits, signal| bits | 1_u64 << number_of(*signal))
}

fn signal(record: &[u8]) -> Option<Signal> {
    let number = u32::from_ne_bytes(*record.first_chunk()?);
    let number = i32::try_from(number).ok()?;
    Signal::ALL.into_iter().find(|signal| number_of(*signal) == number)
}

impl AsFd for SignalSource {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
