//! What an error of a link means to who sends.

use std::io;
use std::time::Duration;

/// What an error means for what is still to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendFailure {
    /// Nobody is at the other end any more: nothing is sent again.
    PeerClosed,
    /// The system is short of something: nothing is lost, and it is tried again.
    Transient,
}

impl SendFailure {
    pub(crate) fn of(error: &io::Error) -> SendFailure {
        let ends = [
            io::ErrorKind::BrokenPipe,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::NotConnected,
        ];
        if ends.contains(&error.kind()) { SendFailure::PeerClosed } else { SendFailure::Transient }
    }
}

/// The first pause, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(250));

/// How long to wait before it is tried again, after so many that were in vain.
pub(crate) fn retry_delay(vain: u32) -> Duration {
    let (first, longest) = PAUSES;
    first.saturating_mul(2_u32.saturating_pow(vain)).min(longest)
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;

    #[test]
    fn the_end_of_the_other_side_is_told_from_what_the_system_is_short_of() {
        let table = [
            (Errno::EPIPE, SendFailure::PeerClosed),
            (Errno::ECONNRESET, SendFailure::PeerClosed),
            (Errno::ENOTCONN, SendFailure::PeerClosed),
            (Errno::ETOOMANYREFS, SendFailure::Transient),
            (Errno::ENOBUFS, SendFailure::Transient),
            (Errno::ENOMEM, SendFailure::Transient),
            (Errno::EMFILE, SendFailure::Transient),
            (Errno::ENFILE, SendFailure::Transient),
        ];
        for (errno, expected) in table {
            assert_eq!(SendFailure::of(&errno.into()), expected, "{errno}");
        }
    }

    #[test]
    fn pauses_grow_and_are_never_long() {
        let millis = [0, 1, 2, 6, 7, 31, 32, u32::MAX].map(|vain| retry_delay(vain).as_millis());
        assert_eq!(millis, [2, 4, 8, 128, 250, 250, 250, 250]);
    }
}
