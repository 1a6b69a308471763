//! How many connections wait in the backlog of a listening socket.

use std::os::fd::BorrowedFd;

/// Returns how many connections wait in the backlog of a listening socket; `None` if the number is
/// unknown. Only Linux reports it, for TCP sockets.
#[must_use]
pub fn length(listener: BorrowedFd<'_>) -> Option<u32> {
    platform::length(listener)
}

#[cfg(target_os = "linux")]
mod platform {
    use std::mem::size_of;
    use std::os::fd::{AsRawFd, BorrowedFd};

    /// The state of a TCP socket that listens: `TCP_LISTEN` of the kernel.
    const LISTEN: u8 = 10;

    pub(super) fn length(listener: BorrowedFd<'_>) -> Option<u32> {
        // SAFETY: all fields of `tcp_info` are integers, for which zeroes are valid.
        let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
        let mut size = size_of::<libc::tcp_info>() as libc::socklen_t;
        let target = (&raw mut info).cast();
        // SAFETY: `target` has `size` bytes, and the kernel writes at most `size` bytes to it.
        let done = unsafe {
            libc::getsockopt(
                listener.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                target,
                &raw mut size,
            )
        };
        // In a socket that listens, this field has the length of the backlog (tcp_get_info).
        (done == 0 && info.tcpi_state == LISTEN).then_some(info.tcpi_unacked)
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use std::os::fd::BorrowedFd;

    pub(super) fn length(_listener: BorrowedFd<'_>) -> Option<u32> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn the_length_is_the_number_of_connections_that_were_not_accepted() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("an address");
        assert_eq!(length(listener.as_fd()), Some(0));
        let clients: Vec<_> = (0..7).map(|_| TcpStream::connect(address)).collect();
        assert_eq!(length(listener.as_fd()), Some(7));
        let (connection, _peer) = listener.accept().expect("accepted");
        assert_eq!(length(listener.as_fd()), Some(6));
        assert_eq!(length(connection.as_fd()), None, "this socket does not listen");
        drop(clients);
    }

    #[test]
    fn the_length_of_a_unix_backlog_is_unknown() {
        let dir = tempfile::tempdir().expect("a directory");
        let listener = UnixListener::bind(dir.path().join("socket")).expect("bound");
        assert_eq!(length(listener.as_fd()), None);
    }
}
