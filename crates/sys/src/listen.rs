//! Operations on listening sockets that std does not provide.

mod handshake;
mod inherited;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::socket::{
    AddressFamily, Shutdown, SockaddrLike, SockaddrStorage, bind, getsockname, getsockopt,
    shutdown, sockopt,
};
use nix::sys::stat::fstat;

use crate::error::{Error, Result};
use crate::fds::list_or_probe;
use crate::poll::{Interest, wait};

pub use inherited::{is_inherited, record_inherited};

/// The interval at which to check whether handshakes are in progress.
const HANDSHAKE_INTERVAL: Duration = Duration::from_millis(2);

/// The identity of a socket, which is the same for all descriptors of the socket, in all processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(u64);

impl SocketId {
    /// Returns the identity of the socket; `None` if the system does not number sockets.
    #[must_use]
    pub fn of(socket: BorrowedFd<'_>) -> Option<SocketId> {
        let inode = fstat(socket).ok()?.st_ino;
        (inode != 0).then_some(SocketId(inode))
    }

    /// Returns the identity as bytes, for a message to another process.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 8] {
        self.0.to_ne_bytes()
    }

    /// Returns the identity that [`to_bytes`](SocketId::to_bytes) has converted.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 8]) -> SocketId {
        SocketId(u64::from_ne_bytes(bytes))
    }
}

/// An open listening socket of this process.
#[derive(Debug)]
pub struct OpenListener {
    /// The identity of the socket, as [`SocketId::of`] returns it.
    pub id: Option<SocketId>,
    /// The number of the descriptor that was found.
    pub number: RawFd,
    /// Whether the descriptor is not close-on-exec, as a descriptor that this program has inherited
    /// from the process that executed it.
    pub is_inherited: bool,
    /// A duplicate of the descriptor.
    pub fd: OwnedFd,
}

/// Returns the listening sockets that this process has open.
///
/// # Errors
///
/// If the open descriptors cannot be listed, or no descriptor is free.
pub fn open_listeners() -> Result<Vec<OpenListener>> {
    let mut found = Vec::new();
    for (number, _target) in list_or_probe()? {
        // SAFETY: the number was in the list of open descriptors. It is only used for the next
        // calls, which fail if another thread has closed the descriptor.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        if !is_listening(fd) {
            continue;
        }
        let action = || format!("duplicate the listening descriptor {number}");
        // Another thread may have closed it.
        let Ok(flags) = fcntl(fd, FcntlArg::F_GETFD) else { continue };
        let is_inherited = !FdFlag::from_bits_retain(flags).contains(FdFlag::FD_CLOEXEC);
        let fd = fd.try_clone_to_owned().map_err(|error| Error::os(action(), error))?;
        found.push(OpenListener { id: SocketId::of(fd.as_fd()), number, is_inherited, fd });
    }
    Ok(found)
}

/// Returns whether the descriptor is a socket that listens.
#[must_use]
pub fn is_listening(fd: BorrowedFd<'_>) -> bool {
    getsockopt(&fd, sockopt::AcceptConn) == Ok(true)
}

/// Returns whether a connection waits in the backlog of a listening socket.
///
/// # Errors
///
/// The errors of poll(2).
pub fn has_pending(listener: BorrowedFd<'_>) -> Result<bool> {
    let [ready] = wait(&[(listener, Interest::Read)], Some(Duration::ZERO))?;
    Ok(ready.is_readable())
}

/// Makes a listening socket stop listening, in all processes that have it open: new connections are
/// refused, and another socket can be bound to its address.
///
/// Connections that wait in the backlog of a TCP socket are reset, so accept them first. Those in
/// the backlog of a Unix socket can still be accepted, without waiting. A TCP socket can
/// [`listen_again`]. A Unix socket stays shut down.
///
/// # Errors
///
/// If the descriptor is not a socket that listens. Systems other than Linux do not support this for
/// TCP sockets.
pub fn shut_down(listener: BorrowedFd<'_>) -> Result<()> {
    let action = || format!("shut down the listening descriptor {}", listener.as_raw_fd());
    shutdown(listener.as_raw_fd(), Shutdown::Read).map_err(|errno| Error::os(action(), errno))
}

/// Keeps new clients out of the backlog of a listening socket, in all processes that have it open.
/// Connections that are in the backlog already can still be accepted.
///
/// To stop without dropping a client, call this function first, then
/// [wait](wait_for_handshakes) for the clients that are about to be connected, accept the remaining
/// connections, and [`shut_down`] the listener. A Unix socket is shut down here. New clients of a
/// TCP socket are not answered, so they try again after a second. If the system has no means for
/// this, the backlog is reduced to the system's minimum. On Linux all processes that have the
/// listener can [see](refuses_new_connections) this.
///
/// # Errors
///
/// If the descriptor is not a listening socket.
pub fn refuse_new_connections(listener: BorrowedFd<'_>) -> Result<()> {
    let is_unix = ListenAddress::of(listener)?.is_unix();
    // A Unix socket has no packets, so its filter is only seen by other processes.
    let filtered = handshake::refuse(listener);
    match is_unix {
        true => shut_down(listener),
        false => filtered.or_else(|_unsupported| shrink_backlog(listener)),
    }
}

/// Returns whether [`refuse_new_connections`] was called for a socket, in any process that has it
/// open. Always `false` on systems other than Linux.
#[must_use]
pub fn refuses_new_connections(listener: BorrowedFd<'_>) -> bool {
    handshake::are_refused(listener)
}

/// How long a listener that [refuses new connections](refuse_new_connections) should wait for
/// clients in the middle of the handshake. It takes as long as a packet needs to the client and
/// back, and the client of a scan or an attack never finishes it.
pub const HANDSHAKE_MAX: Duration = Duration::from_millis(200);

/// Returns whether a client of a TCP listener is in the middle of its handshake: it will be in the
/// backlog soon, and believes already that it is connected. Always `false` on systems other than
/// Linux, for a Unix socket, and if the process must not use netlink.
#[must_use]
pub fn has_handshakes(listener: BorrowedFd<'_>) -> bool {
    handshake::are_in_progress(listener)
}

/// Waits until no client of these listeners, which refuse new ones, is in the middle of its
/// handshake, at most [`HANDSHAKE_MAX`]. Does not wait if there is none.
pub fn wait_for_handshakes(listeners: &[BorrowedFd<'_>]) {
    let until = Instant::now() + HANDSHAKE_MAX;
    while listeners.iter().any(|listener| has_handshakes(*listener)) && Instant::now() < until {
        std::thread::sleep(HANDSHAKE_INTERVAL);
    }
}

/// Reduces the backlog of a listening socket to the system's minimum, so that most new connections
/// are refused, or retried by the client, instead of waiting in the backlog.
///
/// Connections that are in the backlog already can still be accepted.
///
/// # Errors
///
/// If the descriptor is not a listening socket.
pub fn shrink_backlog(listener: BorrowedFd<'_>) -> Result<()> {
    set_backlog(listener, 0, "reduce the backlog of")
}

/// The address of a listener.
#[derive(Debug, Clone)]
pub struct ListenAddress(SockaddrStorage);

impl ListenAddress {
    /// Returns the address that a socket is bound to.
    ///
    /// # Errors
    ///
    /// If the descriptor is not a socket.
    pub fn of(listener: BorrowedFd<'_>) -> Result<ListenAddress> {
        let action = || format!("read the address of descriptor {}", listener.as_raw_fd());
        getsockname(listener.as_raw_fd())
            .map(ListenAddress)
            .map_err(|errno| Error::os(action(), errno))
    }

    /// Returns whether the listener is a Unix socket.
    #[must_use]
    pub fn is_unix(&self) -> bool {
        self.0.family() == Some(AddressFamily::Unix)
    }
}

/// Makes a bound socket listen again, for example after another process that shares the socket has
/// called shutdown(2) on it. Then accept(2) fails with `EINVAL` in all processes until the socket
/// listens again.
///
/// The socket listens on `address` again, with the largest backlog that the system permits. A Unix
/// socket that was shut down stays so.
///
/// # Errors
///
/// If the descriptor is not a socket that can listen.
pub fn listen_again(listener: BorrowedFd<'_>, address: &ListenAddress) -> Result<()> {
    // A socket is still bound, unless the system had chosen its port.
    let _ = bind(listener.as_raw_fd(), &address.0);
    set_backlog(listener, libc::c_int::MAX, "listen again on")
}

fn set_backlog(listener: BorrowedFd<'_>, backlog: libc::c_int, action: &str) -> Result<()> {
    // SAFETY: listen accepts any number as a descriptor and touches no memory of ours; the borrow
    // keeps the descriptor open.
    match unsafe { libc::listen(listener.as_raw_fd(), backlog) } {
        0 => Ok(()),
        _ => Err(Error::last(format!("{action} descriptor {}", listener.as_raw_fd()))),
    }
}

/// Sets the descriptor nonblocking (`true`) or blocking (`false`).
///
/// The setting belongs to the open file description, so it changes for every process that inherited
/// the descriptor.
///
/// # Errors
///
/// fcntl(2) documents no error for an open descriptor.
pub fn set_nonblocking(fd: BorrowedFd<'_>, on: bool) -> Result<()> {
    let mode = if on { "nonblocking" } else { "blocking" };
    let action = || format!("set descriptor {} {mode}", fd.as_raw_fd());
    let flags = fcntl(fd, FcntlArg::F_GETFL).map_err(|errno| Error::os(action(), errno))?;
    let mut flags = OFlag::from_bits_retain(flags);
    flags.set(OFlag::O_NONBLOCK, on);
    fcntl(fd, FcntlArg::F_SETFL(flags))
        .map_err(|errno| Error::os(action(), io::Error::from(errno)))?;
    Ok(())
}

/// How many failed connections in a row [`accept`] skips. A rule of the system that forbids this
/// process to accept makes each attempt fail, and may leave the connection in the backlog.
const CONNECTION_FAILURES_MAX: u32 = 64;

/// Accepts one pending connection. Returns `None` if no connection is pending.
///
/// The listener is made nonblocking first if it is not: all processes that share it share this
/// flag, so another process may have changed it, and the call would then wait for a connection. The
/// new descriptor is nonblocking and close-on-exec.
///
/// # Errors
///
/// The errors of accept4(2), such as `EMFILE`. An error of a single connection, such as
/// `ECONNABORTED` if the client has aborted it, is not returned; the next connection is accepted
/// instead. If many connections in a row fail, the last error is returned.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    let flags = OFlag::from_bits_retain(fcntl(listener, FcntlArg::F_GETFL)?);
    if !flags.contains(OFlag::O_NONBLOCK) {
        fcntl(listener, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    }
    let mut failures = 0;
    loop {
        match platform::accept(listener) {
            Ok(connection) => return Ok(Some(connection)),
            // Only a blocking accept is interrupted: another process has changed the flags of the
            // listener. Let the caller handle the signal.
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
            // Errors of the connection rather than the listener (accept(2), "Error handling").
            // EPERM is that of a firewall rule.
            Err(
                Errno::ECONNABORTED
                | Errno::EPROTO
                | Errno::ENOPROTOOPT
                | Errno::ENETDOWN
                | Errno::EHOSTDOWN
                | Errno::EHOSTUNREACH
                | Errno::ENETUNREACH
                | Errno::EOPNOTSUPP
                | Errno::ETIMEDOUT
                | Errno::EPERM,
            ) if failures < CONNECTION_FAILURES_MAX => failures += 1,
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Returns whether an error of [`accept`] is a shortage of the whole system, such as `ENFILE`, and
/// not only of this process, such as `EMFILE`.
#[must_use]
pub fn is_system_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// Accepts a connection with accept4(2), which sets the flags `O_NONBLOCK` and `FD_CLOEXEC`
/// atomically.
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
mod platform {
    use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

    use nix::errno::Errno;
    use nix::sys::socket::{SockFlag, accept4};

    pub(super) fn accept(listener: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let raw = accept4(listener.as_raw_fd(), flags)?;
        // SAFETY: accept4 has just made this descriptor, and no other code owns it.
        Ok(unsafe { OwnedFd::from_raw_fd(raw) })
    }
}

/// Accepts a connection with accept(2), and makes it close-on-exec and nonblocking afterwards.
#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
mod platform {
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

    use nix::errno::Errno;
    use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
    use nix::sys::socket;

    pub(super) fn accept(listener: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
        let raw = socket::accept(listener.as_raw_fd())?;
        // SAFETY: accept has just made this descriptor, and no other code owns it.
        let connection = unsafe { OwnedFd::from_raw_fd(raw) };
        fcntl(connection.as_fd(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        let flags = OFlag::from_bits_retain(fcntl(connection.as_fd(), FcntlArg::F_GETFL)?);
        fcntl(connection.as_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        Ok(connection)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn accept_does_not_wait_although_the_listener_was_made_blocking() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        set_nonblocking(listener.as_fd(), false).expect("changed");
        assert!(accept(listener.as_fd()).expect("no error").is_none());
    }

    #[test]
    fn a_listener_that_was_shut_down_listens_again_on_its_port() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("an address");
        let bound = ListenAddress::of(listener.as_fd()).expect("a socket");
        set_nonblocking(listener.as_fd(), true).expect("changed");
        let copy = listener.as_fd().try_clone_to_owned().expect("a copy");
        let _ = TcpStream::from(copy).shutdown(Shutdown::Both);
        let refused = accept(listener.as_fd()).expect_err("shut down");
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        listen_again(listener.as_fd(), &bound).expect("listens");
        let _client = TcpStream::connect(address).expect("connected");
        assert!(accept(listener.as_fd()).expect("accepted").is_some());
    }
    #[test]
    #[cfg(target_os = "linux")]
    fn a_tcp_listener_that_is_shut_down_frees_its_port_although_a_copy_stays_open() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("an address");
        let _copy = listener.try_clone().expect("a copy");
        let client = TcpStream::connect(address).expect("connected");
        assert!(has_pending(listener.as_fd()).expect("polled"));
        let accepted = accept(listener.as_fd()).expect("accepted");
        assert!(!has_pending(listener.as_fd()).expect("polled"));
        shut_down(listener.as_fd()).expect("shut down");
        assert!(!is_listening(listener.as_fd()));
        let refused = TcpStream::connect(address).expect_err("refused");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let again = TcpListener::bind(address).expect("the port is free");
        drop((again, accepted, client));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn new_connections_of_a_tcp_listener_are_refused_and_those_in_the_backlog_are_accepted() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("an address");
        let first = TcpStream::connect(address).expect("connected");
        assert!(!refuses_new_connections(listener.as_fd()));
        refuse_new_connections(listener.as_fd()).expect("refused");
        assert!(refuses_new_connections(listener.as_fd()));
        let late = std::thread::spawn(move || TcpStream::connect(address));
        let accepted = accept(listener.as_fd()).expect("accepted").expect("a connection");
        let peer = TcpStream::from(accepted).peer_addr().expect("connected");
        assert_eq!(peer, first.local_addr().expect("connected"));
        assert!(accept(listener.as_fd()).expect("no error").is_none());
        shut_down(listener.as_fd()).expect("shut down");
        assert!(refuses_new_connections(listener.as_fd()), "still");
        let refused = late.join().expect("the thread connects").expect_err("refused");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    /// Keeps clients of a listener in the middle of the handshake until they send data (tcp(7)).
    #[cfg(target_os = "linux")]
    fn defer(listener: &TcpListener) {
        let seconds: libc::c_int = 60;
        let (level, name) = (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT);
        let (value, size) = ((&raw const seconds).cast(), size_of_val(&seconds));
        // SAFETY: the option takes an int, and setsockopt only reads it.
        let done = unsafe {
            libc::setsockopt(listener.as_raw_fd(), level, name, value, size as libc::socklen_t)
        };
        assert_eq!(done, 0);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_client_in_the_middle_of_its_handshake_is_waited_for_and_accepted() {
        for address in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let port = listener.local_addr().expect("an address").port();
            let other = TcpListener::bind(address).expect("bound");
            assert!(!has_handshakes(listener.as_fd()), "{address}");
            defer(&listener);
            let host = if address.starts_with("[::1]") { "::1" } else { "127.0.0.1" };
            let mut client = TcpStream::connect((host, port)).expect("connected");
            assert!(has_handshakes(listener.as_fd()), "{address}");
            assert!(!has_handshakes(other.as_fd()), "{address}");
            refuse_new_connections(listener.as_fd()).expect("refused");
            assert!(accept(listener.as_fd()).expect("no error").is_none());
            let late = std::thread::spawn(move || TcpStream::connect((host, port)));
            client.write_all(b"x").expect("sent");
            wait_for_handshakes(&[listener.as_fd()]);
            assert!(!has_handshakes(listener.as_fd()), "{address}");
            let accepted = accept(listener.as_fd()).expect("accepted").expect("a connection");
            TcpStream::from(accepted).read_exact(&mut [0]).expect("received");
            assert!(accept(listener.as_fd()).expect("no error").is_none(), "{address}");
            shut_down(listener.as_fd()).expect("shut down");
            late.join().expect("the thread connects").expect_err("refused");
        }
    }

    #[test]
    fn the_backlog_of_a_unix_listener_that_is_shut_down_can_still_be_accepted() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("socket");
        let listener = UnixListener::bind(&path).expect("bound");
        let client = UnixStream::connect(&path).expect("connected");
        refuse_new_connections(listener.as_fd()).expect("shut down");
        assert_eq!(refuses_new_connections(listener.as_fd()), cfg!(target_os = "linux"));
        let refused = UnixStream::connect(&path).expect_err("refused");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let accepted = accept(listener.as_fd()).expect("accepted").expect("a connection");
        assert!(accept(listener.as_fd()).expect("no error").is_none());
        (&client).write_all(b"x").expect("sent");
        UnixStream::from(accepted).read_exact(&mut [0]).expect("received");
    }

    #[test]
    fn open_listeners_are_found_and_have_the_identity_of_their_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let copy = listener.try_clone().expect("a copy");
        let id = SocketId::of(listener.as_fd()).expect("an identity");
        assert_eq!(SocketId::of(copy.as_fd()), Some(id));
        assert_eq!(SocketId::from_bytes(id.to_bytes()), id);
        let found = open_listeners().expect("listed");
        let own: Vec<_> = found.iter().filter(|found| found.id == Some(id)).collect();
        let mut numbers: Vec<_> = own.iter().map(|found| found.number).collect();
        numbers.sort_unstable();
        let mut expected = [listener.as_raw_fd(), copy.as_raw_fd()];
        expected.sort_unstable();
        assert_eq!(numbers, expected);
        assert!(own.iter().all(|found| !found.is_inherited));
        fcntl(&copy, FcntlArg::F_SETFD(FdFlag::empty())).expect("changed");
        let found = open_listeners().expect("listed");
        let inherited = found.iter().find(|found| found.is_inherited && found.id == Some(id));
        assert_eq!(inherited.map(|found| found.number), Some(copy.as_raw_fd()));
    }
}
