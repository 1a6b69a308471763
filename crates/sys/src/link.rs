//! A link between two processes: a socket pair that carries bytes and descriptors.
//!
//! The callers define the message format.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::socket::{getsockopt, setsockopt, sockopt};

use crate::error::{Error, Result};

/// The size in bytes that [`LinkEnd::grow_send_buffer`] asks for.
const SEND_BUFFER: usize = 4 << 20;

/// The maximum number of descriptors in one call of [`LinkEnd::send`]. Linux's limit is 253
/// (unix(7)).
pub const FDS_MAX: usize = 64;

/// Space for a control message of `FDS_MAX` descriptors and its header. The elements are `u64`,
/// because they have the alignment that the header needs.
type ControlBuffer = [u64; (FDS_MAX * size_of::<RawFd>() + 64) / size_of::<u64>()];

/// One end of a link.
///
/// The socket is close-on-exec, and no call waits, whatever the flags of the socket are: another
/// process that has this end could change them. Only [`receive`](Self::receive) waits after
/// [`wait_in_receive`](Self::wait_in_receive). After this end is dropped, the other end reads
/// end-of-file, unless a forked process holds a copy of this end. A child must therefore close
/// the ends that it does not use.
#[derive(Debug)]
pub struct LinkEnd {
    socket: OwnedFd,
    receive_flags: libc::c_int,
}

/// Creates a link and returns its two ends, which are equivalent.
///
/// # Errors
///
/// If the system is out of descriptors.
pub fn pair() -> Result<(LinkEnd, LinkEnd)> {
    let make = || {
        let (one, other) = UnixStream::pair()?;
        one.set_nonblocking(true)?;
        other.set_nonblocking(true)?;
        Ok((LinkEnd::from(OwnedFd::from(one)), LinkEnd::from(OwnedFd::from(other))))
    };
    make().map_err(|error: io::Error| Error::os("create a socket pair", error))
}

/// Shuts down writing on this end and all its copies. The other end then reads end-of-file. This
/// end can still receive data from the other end.
///
/// # Errors
///
/// On systems other than Linux, if the other end is closed already. On Linux this is not an error.
pub fn shutdown_write(end: &LinkEnd) -> Result<()> {
    use nix::sys::socket::{Shutdown, shutdown};
    shutdown(end.raw(), Shutdown::Write).map_err(|errno| Error::os("shut down a socket", errno))
}

/// What [`LinkEnd::receive_one`] returns.
#[derive(Debug)]
pub enum OneMessage {
    /// A message with a descriptor.
    Descriptor(OwnedFd),
    /// A message without a descriptor.
    Byte,
    /// All copies of the other end are closed, or shut down for writing.
    Closed,
}

/// Returns the error of a call for which the process has no free descriptor, `EMFILE`.
#[must_use]
pub fn no_free_descriptor() -> io::Error {
    io::Error::from_raw_os_error(libc::EMFILE)
}

/// Returns whether a call on a socket failed because the process or the system is short of memory,
/// space or descriptors. Such a call can succeed later. A send cannot after any other error, except
/// `WouldBlock`.
#[must_use]
pub fn is_shortage(error: &io::Error) -> bool {
    let passing = [
        libc::EMFILE,
        libc::ENFILE,
        libc::ENOBUFS,
        libc::ENOMEM,
        libc::ENOSPC,
        libc::EDQUOT,
        libc::ETOOMANYREFS,
    ];
    error.raw_os_error().is_some_and(|number| passing.contains(&number))
}

impl LinkEnd {
    /// Sends bytes, with copies of these descriptors attached to the first byte. Returns the number
    /// of bytes sent.
    ///
    /// A partial send has already sent all descriptors, so send the remaining bytes without them.
    ///
    /// # Errors
    ///
    /// - `WouldBlock` if the socket buffer is full; nothing was sent.
    /// - `BrokenPipe` if the other end is closed. No signal is raised.
    /// - `InvalidInput` for descriptors without at least one byte, or for more than [`FDS_MAX`]
    ///   descriptors.
    pub fn send(&self, bytes: &[IoSlice<'_>], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        if fds.len() > FDS_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors"));
        }
        if !fds.is_empty() && bytes.iter().all(|slice| slice.is_empty()) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "descriptors need at least one byte",
            ));
        }
        if let (&[bytes], []) = (bytes, fds) {
            return retry(|| {
                // SAFETY: the pointer and the length are those of the slice, which send only reads.
                unsafe {
                    libc::send(self.raw(), bytes.as_ptr().cast(), bytes.len(), platform::SEND)
                }
            });
        }
        let mut control: ControlBuffer = [0; _];
        let mut message = empty_message();
        message.msg_iov = bytes.as_ptr().cast_mut().cast();
        message.msg_iovlen = bytes.len() as _;
        if !fds.is_empty() {
            attach(&mut message, &mut control, fds);
        }
        retry(|| {
            // SAFETY: the header's pointers are to `bytes`, whose slices have the layout of iovec,
            // and to `control`, with their true lengths; sendmsg only reads them.
            unsafe { libc::sendmsg(self.raw(), &raw const message, platform::SEND) }
        })
    }

    /// Sends one descriptor, as a message that [`receive_one`](Self::receive_one) returns.
    ///
    /// # Errors
    ///
    /// The errors of [`send`](Self::send).
    pub fn send_one(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.send(&[IoSlice::new(b"f")], &[fd]).map(drop)
    }

    /// Receives a message of one byte, with the descriptor that was sent with it. Several processes
    /// may receive from the same end: each message goes to one of them.
    ///
    /// # Errors
    ///
    /// - `WouldBlock` if there is no message.
    /// - `EMFILE` if this process has no free descriptor. The message then stays, so that a process
    ///   that has one receives it.
    pub fn receive_one(&self) -> io::Result<OneMessage> {
        // Without a free descriptor, the one that was sent would be lost.
        drop(self.as_fd().try_clone_to_owned()?);
        let mut fds = VecDeque::new();
        Ok(match self.receive(&mut [0], &mut fds)? {
            0 => OneMessage::Closed,
            _ => fds.pop_front().map_or(OneMessage::Byte, OneMessage::Descriptor),
        })
    }

    /// Makes the buffer for sent data as large as the system permits without privileges.
    pub fn grow_send_buffer(&self) {
        // The system limits the size. A smaller buffer is full earlier.
        let _ = setsockopt(&self.socket, sockopt::SndBuf, &SEND_BUFFER);
    }

    /// Returns whether a short message can be sent now. On systems other than Linux this is only
    /// known after the attempt.
    #[must_use]
    pub fn has_send_space(&self) -> bool {
        match (platform::unsent(&self.socket), getsockopt(&self.socket, sockopt::SndBuf)) {
            (Some(unsent), Ok(size)) => unsent < size,
            (None, _) | (_, Err(_)) => true,
        }
    }

    /// Makes [`receive`](Self::receive) wait for data until about this time has passed, or until
    /// the process receives a signal. The system rounds the time up, by at most a few milliseconds.
    ///
    /// On systems other than Linux, `receive` still does not wait.
    ///
    /// # Errors
    ///
    /// If the time is longer than the system can represent.
    pub fn wait_in_receive(&mut self, time: Duration) -> io::Result<()> {
        platform::set_receive_timeout(&self.socket, time)?;
        self.receive_flags = platform::RECEIVE_WAITING;
        Ok(())
    }

    /// Receives bytes into `buf`, appends the received descriptors to `fds`, and returns the number
    /// of bytes. The number is 0 if the other end is closed or `buf` is empty.
    ///
    /// The call that receives the first byte of a send also receives all descriptors of that send,
    /// in the order in which they were sent. The same call may receive earlier bytes too, but never
    /// the descriptors of two sends. The descriptors are close-on-exec.
    ///
    /// # Errors
    ///
    /// - `WouldBlock` if there is no data, also if a wait for data has ended without any.
    /// - `InvalidData` if descriptors were lost because this process has reached its limit of open
    ///   descriptors. The received descriptors cannot be assigned to messages any more, so the link
    ///   is unusable.
    pub fn receive(&self, buf: &mut [u8], fds: &mut VecDeque<OwnedFd>) -> io::Result<usize> {
        match self.receive_or_lose(buf, fds)? {
            (length, false) => Ok(length),
            (_, true) => Err(io::Error::new(io::ErrorKind::InvalidData, "descriptors were lost")),
        }
    }

    /// Receives like [`receive`](Self::receive), but losing descriptors is not an error. Returns the
    /// number of bytes, and whether descriptors were lost. Those that were received are the first of
    /// their send.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is no data, also if a wait for data has ended without any.
    pub fn receive_or_lose(
        &self,
        buf: &mut [u8],
        fds: &mut VecDeque<OwnedFd>,
    ) -> io::Result<(usize, bool)> {
        let mut control: ControlBuffer = [0; _];
        let mut space = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
        let mut message = empty_message();
        message.msg_iov = &raw mut space;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of::<ControlBuffer>() as _;
        let receive = || {
            // SAFETY: the header's pointers are to `space`, which is `buf`, and to `control`, both
            // ours to write, with their true lengths.
            unsafe { libc::recvmsg(self.raw(), &raw mut message, self.receive_flags) }
        };
        let length =
            if self.receive_flags == platform::RECEIVE { retry(receive) } else { once(receive) }?;
        detach(&message, fds)?;
        Ok((length, message.msg_flags & libc::MSG_CTRUNC != 0))
    }

    fn raw(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

fn retry(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        if let Ok(length) = usize::try_from(call()) {
            return Ok(length);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Makes a call that can wait. A signal ends the wait as if the time had passed.
fn once(call: impl FnOnce() -> isize) -> io::Result<usize> {
    usize::try_from(call()).map_err(|_negative| {
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::Interrupted => io::ErrorKind::WouldBlock.into(),
            _ => error,
        }
    })
}

fn empty_message() -> libc::msghdr {
    // SAFETY: msghdr is made of integers and pointers, for which zero is valid.
    unsafe { std::mem::zeroed() }
}

fn attach(message: &mut libc::msghdr, control: &mut ControlBuffer, fds: &[BorrowedFd<'_>]) {
    let bytes = size_of_val(fds) as libc::c_uint;
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: CMSG_SPACE only computes a length.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(bytes) } as _;
    // SAFETY: CMSG_LEN only computes a length.
    let length = unsafe { libc::CMSG_LEN(bytes) };
    // SAFETY: the message has a control buffer, larger than a header.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const *message) };
    // SAFETY: the header is at the start of the control buffer, which is aligned for it.
    let first = unsafe { &mut *header };
    first.cmsg_level = libc::SOL_SOCKET;
    first.cmsg_type = libc::SCM_RIGHTS;
    first.cmsg_len = length as _;
    // SAFETY: the header is valid, as above.
    let data = unsafe { libc::CMSG_DATA(header) };
    // SAFETY: BorrowedFd has the layout of a descriptor's number. The control buffer has space for
    // FDS_MAX of them after the header, and `fds` is no longer than that, as `send` has checked.
    unsafe { std::ptr::copy_nonoverlapping(fds.as_ptr().cast::<u8>(), data, bytes as usize) };
}

fn detach(message: &libc::msghdr, fds: &mut VecDeque<OwnedFd>) -> io::Result<()> {
    // SAFETY: recvmsg has filled in the message, whose control buffer still exists.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: the pointer is not null, so it points to a header that recvmsg wrote in the
        // buffer.
        let fields = unsafe { *header };
        if (fields.cmsg_level, fields.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            // SAFETY: the header is valid, as above.
            let data = unsafe { libc::CMSG_DATA(header) }.cast::<RawFd>();
            // SAFETY: CMSG_LEN only computes a length.
            let before = unsafe { libc::CMSG_LEN(0) } as usize;
            for i in 0..(fields.cmsg_len as usize).saturating_sub(before) / size_of::<RawFd>() {
                // SAFETY: the index is within the length that the header states.
                let entry = unsafe { data.add(i) };
                // SAFETY: as above; data need not be aligned.
                let number = unsafe { entry.read_unaligned() };
                // SAFETY: the kernel opened this descriptor for us and no other code owns it.
                let fd = unsafe { OwnedFd::from_raw_fd(number) };
                platform::close_on_exec(&fd)?;
                fds.push_back(fd);
            }
        }
        // SAFETY: recvmsg has filled in both the message and the header.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    Ok(())
}

impl AsFd for LinkEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The socket must be a Unix stream socket. It should be nonblocking, because some systems ignore
/// `MSG_DONTWAIT` when they send.
impl From<OwnedFd> for LinkEnd {
    fn from(socket: OwnedFd) -> LinkEnd {
        LinkEnd { socket, receive_flags: platform::RECEIVE }
    }
}

impl From<LinkEnd> for OwnedFd {
    fn from(end: LinkEnd) -> OwnedFd {
        end.socket
    }
}

/// Flags for send(2), sendmsg(2) and recvmsg(2): no call waits. Close-on-exec is set after
/// recvmsg(2), and Rust's runtime already ignores `SIGPIPE`.
#[cfg(any(not(target_os = "linux"), fallback))]
mod platform {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    use libc::c_int;
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};

    pub(super) const SEND: c_int = libc::MSG_DONTWAIT;
    pub(super) const RECEIVE: c_int = libc::MSG_DONTWAIT;
    pub(super) const RECEIVE_WAITING: c_int = RECEIVE;

    /// Does nothing: the socket must stay nonblocking, because some systems ignore `MSG_DONTWAIT`
    /// when they send.
    #[expect(clippy::unnecessary_wraps, reason = "the same signature as on Linux")]
    pub(super) fn set_receive_timeout(_: &OwnedFd, _: Duration) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn unsent(_: &OwnedFd) -> Option<usize> {
        None
    }

    pub(super) fn close_on_exec(fd: &OwnedFd) -> io::Result<()> {
        fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        Ok(())
    }
}

/// Flags for send(2), sendmsg(2) and recvmsg(2) on Linux: no call waits, sending raises no
/// `SIGPIPE`, and received descriptors are close-on-exec.
#[cfg(all(target_os = "linux", not(fallback)))]
mod platform {
    use std::io;
    use std::os::fd::{AsFd, AsRawFd, OwnedFd};
    use std::time::Duration;

    use libc::c_int;
    use nix::sys::socket::{setsockopt, sockopt::ReceiveTimeout};
    use nix::sys::time::TimeVal;

    use crate::listen::set_nonblocking;

    pub(super) const SEND: c_int = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    pub(super) const RECEIVE: c_int = RECEIVE_WAITING | libc::MSG_DONTWAIT;
    pub(super) const RECEIVE_WAITING: c_int = libc::MSG_CMSG_CLOEXEC;

    /// Makes the socket blocking, with a timeout.
    pub(super) fn set_receive_timeout(socket: &OwnedFd, time: Duration) -> io::Result<()> {
        let seconds = time.as_secs().try_into().map_err(io::Error::other)?;
        let time = TimeVal::new(seconds, time.subsec_micros().into());
        setsockopt(socket, ReceiveTimeout, &time)?;
        set_nonblocking(socket.as_fd(), false).map_err(io::Error::other)
    }

    /// Returns the size of the data that the other end has not received, as the system counts it.
    pub(super) fn unsent(socket: &OwnedFd) -> Option<usize> {
        let mut unsent: c_int = 0;
        // SAFETY: for a socket, this request writes one number to the pointer, which is valid.
        let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut unsent) };
        (done == 0).then(|| usize::try_from(unsent).unwrap_or(0))
    }

    #[expect(clippy::unnecessary_wraps, reason = "the same signature as on other systems")]
    pub(super) fn close_on_exec(_: &OwnedFd) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn receive(end: &LinkEnd, capacity: usize) -> (Vec<u8>, VecDeque<OwnedFd>) {
        let (mut buf, mut fds) = (vec![0; capacity], VecDeque::new());
        let length = end.receive(&mut buf, &mut fds).expect("data");
        buf.truncate(length);
        (buf, fds)
    }

    #[test]
    fn bytes_and_descriptors_are_sent_in_both_directions() {
        let (one, other) = pair().expect("a socket pair");
        for (from, to) in [(&one, &other), (&other, &one)] {
            let (reader, mut writer) = io::pipe().expect("a pipe");
            let bytes = [IoSlice::new(b"he"), IoSlice::new(b"llo")];
            assert_eq!(from.send(&bytes, &[reader.as_fd()]).expect("sent"), 5);
            drop(reader);
            let (bytes, mut fds) = receive(to, 16);
            assert_eq!((bytes.as_slice(), fds.len()), (b"hello".as_slice(), 1));
            writer.write_all(b"through").expect("written");
            drop(writer);
            let mut through = String::new();
            let mut reader = io::PipeReader::from(fds.pop_front().expect("a descriptor"));
            reader.read_to_string(&mut through).expect("readable");
            assert_eq!(through, "through");
        }
    }

    #[test]
    fn descriptors_are_received_with_the_first_byte_of_their_send() {
        let (one, other) = pair().expect("a socket pair");
        one.send(&[IoSlice::new(b"first")], &[]).expect("sent");
        let many = vec![one.as_fd(); FDS_MAX];
        one.send(&[IoSlice::new(b"second")], &many).expect("sent");
        one.send(&[IoSlice::new(b"third")], &[one.as_fd()]).expect("sent");
        let (bytes, fds) = receive(&other, 5);
        assert_eq!((bytes.as_slice(), fds.len()), (b"first".as_slice(), 0));
        let (bytes, fds) = receive(&other, 2);
        assert_eq!((bytes.as_slice(), fds.len()), (b"se".as_slice(), FDS_MAX));
        let (bytes, fds) = receive(&other, 64);
        assert_eq!((bytes.as_slice(), fds.len()), (b"condthird".as_slice(), 1));
    }

    #[test]
    fn send_and_receive_report_a_full_an_empty_and_a_closed_link() {
        let (one, other) = pair().expect("a socket pair");
        let mut fds = VecDeque::new();
        let empty = other.receive(&mut [0; 8], &mut fds).expect_err("no data");
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        let kilobyte = [0_u8; 1024];
        let full = loop {
            if let Err(full) = one.send(&[IoSlice::new(&kilobyte)], &[]) {
                break full;
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        drop(other);
        let gone = one.send(&[IoSlice::new(b"x")], &[]).expect_err("the other end is closed");
        assert_eq!(gone.kind(), io::ErrorKind::BrokenPipe);
        let (one, other) = pair().expect("a socket pair");
        drop(one);
        assert_eq!(other.receive(&mut [0; 8], &mut fds).expect("the end of the stream"), 0);
    }

    #[test]
    fn no_call_waits_even_if_the_socket_is_blocking() {
        use nix::fcntl::{FcntlArg, OFlag, fcntl};
        let (one, other) = pair().expect("a socket pair");
        for end in [&one, &other] {
            fcntl(end, FcntlArg::F_SETFL(OFlag::empty())).expect("the flags are cleared");
        }
        let empty = other.receive(&mut [0; 8], &mut VecDeque::new()).expect_err("no data");
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        let kilobyte = [0_u8; 1024];
        for fds in [&[][..], &[one.as_fd()]] {
            let full = loop {
                if let Err(full) = one.send(&[IoSlice::new(&kilobyte)], fds) {
                    break full;
                }
            };
            assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        }
    }

    #[test]
    #[cfg(all(target_os = "linux", not(fallback)))]
    fn receive_waits_for_data_until_the_time_has_passed_and_nothing_else_waits() {
        let (one, mut other) = pair().expect("a socket pair");
        let time = Duration::from_millis(1);
        other.wait_in_receive(time).expect("a timeout");
        let begun = std::time::Instant::now();
        let empty = other.receive(&mut [0; 8], &mut VecDeque::new()).expect_err("no data");
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        assert!(begun.elapsed() >= time, "{:?}", begun.elapsed());
        other.wait_in_receive(Duration::from_secs(60)).expect("a timeout");
        let sender = std::thread::spawn(move || {
            one.send(&[IoSlice::new(b"x")], &[]).expect("sent");
            one
        });
        assert_eq!(receive(&other, 8).0, b"x");
        let one = sender.join().expect("the thread sends");
        let kilobyte = [0_u8; 1024];
        while other.send(&[IoSlice::new(&kilobyte)], &[]).is_ok() {}
        drop(one);
        assert_eq!(
            other.receive(&mut [0; 8], &mut VecDeque::new()).expect_err("unread data").kind(),
            io::ErrorKind::ConnectionReset
        );
    }

    #[test]
    fn descriptors_without_a_byte_and_too_many_descriptors_are_refused() {
        let (one, _other) = pair().expect("a socket pair");
        let bare = one.send(&[IoSlice::new(b"")], &[one.as_fd()]).expect_err("refused");
        assert_eq!(bare.kind(), io::ErrorKind::InvalidInput);
        let many = vec![one.as_fd(); FDS_MAX + 1];
        let refused = one.send(&[IoSlice::new(b"x")], &many).expect_err("refused");
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    }
}
