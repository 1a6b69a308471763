//! Reads signals from a descriptor, so that an event loop handles them like other events.

use std::os::fd::{AsFd, BorrowedFd};

use crate::error::{Error, Result};
use crate::process::Signal;

pub(super) use platform::{release, reserved};

/// A descriptor that is readable when one of its signals has arrived.
///
/// On Linux it is a signalfd(2), on other systems a pipe that a handler writes to. A signal that
/// arrives several times before it is read is reported once, as usual for signals.
///
/// On Linux the signals are blocked in the calling thread. They stay blocked when a
/// [`SignalBlockGuard`](super::SignalBlockGuard) or the queue is dropped, because unblocking a
/// pending signal can kill the process. To stop using the queue, first [ignore](super::ignore) its
/// signals or [restore](super::restore_default) their default action, and then
/// [unblock](super::unblock) them. A forked child that keeps the descriptor reads its own signals
/// from it, not its parent's.
///
/// On other systems the signals are unblocked, so that the handler runs.
#[derive(Debug)]
pub struct SignalQueue {
    source: platform::SignalSource,
}

impl SignalQueue {
    /// Creates a queue of these signals.
    ///
    /// On systems other than Linux a process can have only one queue at a time, and a second queue
    /// replaces the first.
    ///
    /// # Errors
    ///
    /// If the system is out of descriptors.
    pub fn new(signals: &[Signal]) -> Result<SignalQueue> {
        match platform::SignalSource::new(signals) {
            Ok(source) => Ok(SignalQueue { source }),
            Err(error) => Err(Error::os("create a signal queue", error)),
        }
    }

    /// Returns and removes the signals that have arrived; the result is empty if no signal has
    /// arrived. Does not block.
    ///
    /// # Errors
    ///
    /// If read(2) fails with an error other than EAGAIN or EINTR, which is not expected.
    pub fn drain(&self) -> Result<Vec<Signal>> {
        self.source.drain().map_err(|error| Error::os("read the signal queue", error))
    }

    /// Removes the signals that have arrived and does not return them. This is enough for a queue
    /// of one signal.
    ///
    /// # Errors
    ///
    /// As [`drain`](SignalQueue::drain).
    pub fn clear(&self) -> Result<()> {
        self.source.clear().map_err(|error| Error::os("read the signal queue", error))
    }
}

impl AsFd for SignalQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

/// The signal queue with signal handlers, for any Unix.
#[cfg(any(not(target_os = "linux"), fallback))]
mod platform {
    use std::io;
    use std::os::fd::{AsFd, BorrowedFd};

    use crate::process::Signal;
    use crate::signals::{SignalListener, unblock};

    #[derive(Debug)]
    pub(super) struct SignalSource {
        listener: SignalListener,
    }

    impl SignalSource {
        pub(super) fn new(signals: &[Signal]) -> io::Result<SignalSource> {
            let listener = SignalListener::open(signals).map_err(io::Error::other)?;
            unblock(signals).map_err(io::Error::other)?;
            Ok(SignalSource { listener })
        }

        pub(super) fn drain(&self) -> io::Result<Vec<Signal>> {
            Ok(self.listener.drain())
        }

        pub(super) fn clear(&self) -> io::Result<()> {
            self.listener.drain();
            Ok(())
        }
    }

    impl AsFd for SignalSource {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.listener.as_fd()
        }
    }

    /// Returns none: the handler of this queue runs only if the signal is not blocked.
    pub(in crate::signals) fn reserved() -> impl Iterator<Item = Signal> {
        std::iter::empty()
    }

    pub(in crate::signals) fn release(_: &[Signal]) {}
}

/// The signal queue with signalfd(2).
#[cfg(all(target_os = "linux", not(fallback)))]
mod platform {
    use std::cell::Cell;
    use std::io;
    use std::os::fd::{AsFd, BorrowedFd};

    use nix::errno::Errno;
    use nix::sys::signalfd::{SfdFlags, SignalFd};

    use super::super::set_of;
    use crate::process::{Signal, number_of};

    /// The size of a signalfd record in bytes; the kernel returns only whole records. The first
    /// four bytes are the signal's number.
    const RECORD: usize = size_of::<libc::signalfd_siginfo>();
    const RECORDS: usize = 16;

    thread_local! {
        /// The signals that queues of this thread require to be blocked, with one bit for each
        /// signal number. The variable is thread-local, like the signal mask. A forked child writes
        /// to its thread-locals anyway, so changing this variable does not copy an additional page.
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
                        records[..length]
                            .chunks_exact(RECORD)
                            .filter_map(signal)
                            .for_each(&mut each);
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

    /// Returns the signals that the queues of this thread require to be blocked. Restoring a signal
    /// mask must not unblock them.
    pub(in crate::signals) fn reserved() -> impl Iterator<Item = Signal> {
        let reserved = RESERVED.get();
        Signal::ALL.into_iter().filter(move |signal| reserved & bits(&[*signal]) != 0)
    }

    /// Allows these signals to be unblocked again.
    pub(in crate::signals) fn release(signals: &[Signal]) {
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
}
