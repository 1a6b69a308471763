//! Classifies the errors of sends over the link between the parent and a worker.

use std::io;
use std::time::Duration;

use daemon_sys::link;

/// Whether the remaining data can still be sent after a failed send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendFailure {
    /// The other end is closed, so nothing more can be sent.
    PeerClosed,
    /// The system is short of memory, space or descriptors. No data is lost, and the send is
    /// retried.
    Transient,
    /// Any other error. It does not pass, so nothing more can be sent.
    Permanent,
}

impl SendFailure {
    pub(crate) fn of(error: &io::Error) -> SendFailure {
        let ends = [
            io::ErrorKind::BrokenPipe,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::NotConnected,
        ];
        if ends.contains(&error.kind()) {
            SendFailure::PeerClosed
        } else if link::is_shortage(error) {
            SendFailure::Transient
        } else {
            SendFailure::Permanent
        }
    }
}

/// The first retry delay, and the longest one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(250));

/// Returns the delay before a failed send is retried. `failed_sends` is the number of sends that
/// failed consecutively before this send.
pub(crate) fn retry_delay(failed_sends: u32) -> Duration {
    let (first, longest) = PAUSES;
    first.saturating_mul(2_u32.saturating_pow(failed_sends)).min(longest)
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;

    #[test]
    fn errors_of_a_closed_link_are_distinguished_from_shortages_of_system_resources() {
        let table = [
            (Errno::EPIPE, SendFailure::PeerClosed),
            (Errno::ECONNRESET, SendFailure::PeerClosed),
            (Errno::ENOTCONN, SendFailure::PeerClosed),
            (Errno::ETOOMANYREFS, SendFailure::Transient),
            (Errno::ENOBUFS, SendFailure::Transient),
            (Errno::ENOMEM, SendFailure::Transient),
            (Errno::EMFILE, SendFailure::Transient),
            (Errno::ENFILE, SendFailure::Transient),
            (Errno::ENOSPC, SendFailure::Transient),
            (Errno::EBADF, SendFailure::Permanent),
            (Errno::ENOTSOCK, SendFailure::Permanent),
            (Errno::EINVAL, SendFailure::Permanent),
            (Errno::EMSGSIZE, SendFailure::Permanent),
        ];
        for (errno, expected) in table {
            assert_eq!(SendFailure::of(&errno.into()), expected, "{errno}");
        }
    }

    #[test]
    fn retry_delays_grow_up_to_a_limit() {
        let millis = [0, 1, 2, 6, 7, 31, 32, u32::MAX]
            .map(|failed_sends| retry_delay(failed_sends).as_millis());
        assert_eq!(millis, [2, 4, 8, 128, 250, 250, 250, 250]);
    }
}
