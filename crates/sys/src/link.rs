//! A link between two processes: a stream of bytes on which descriptors travel too.
//!
//! What the bytes mean, and how messages are told apart, is for the callers.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use crate::error::{Error, Result};

#[cfg(all(target_os = "linux", not(plain_means)))]
mod linux;
#[cfg(any(not(target_os = "linux"), plain_means))]
mod plain;
#[cfg(all(target_os = "linux", not(plain_means)))]
use linux as platform;
#[cfg(any(not(target_os = "linux"), plain_means))]
use plain as platform;

/// The most descriptors that [`LinkEnd::send`] takes in one call. Linux's own limit is 253 (unix(7)).
pub const FDS_MAX: usize = 64;

/// Room for a control message of `FDS_MAX` descriptors and its header, in units that have the
/// header's alignment.
type Control = [u64; (FDS_MAX * size_of::<RawFd>() + 64) / size_of::<u64>()];

/// One end of a link.
///
/// Nonblocking, and closed by an exec. Dropped, it tells the other end that nobody is here any
/// more, unless a forked process holds a copy: close what a child must not keep.
#[derive(Debug)]
pub struct LinkEnd {
    socket: OwnedFd,
}

/// Makes a link and returns both its ends, which are alike.
///
/// # Errors
///
/// If no descriptors are left.
pub fn pair() -> Result<(LinkEnd, LinkEnd)> {
    let make = || {
        let (one, other) = UnixStream::pair()?;
        one.set_nonblocking(true)?;
        other.set_nonblocking(true)?;
        Ok((LinkEnd::from(OwnedFd::from(one)), LinkEnd::from(OwnedFd::from(other))))
    };
    make().map_err(|error: io::Error| Error::os("open a link", error))
}

/// Tells the other end that nothing more comes from this one, though others hold copies of it. What
/// the other end says is still heard.
///
/// # Errors
///
/// If the other end is gone already.
pub fn shut(end: &LinkEnd) -> Result<()> {
    use nix::sys::socket::{Shutdown, shutdown};
    shutdown(end.raw(), Shutdown::Write).map_err(|errno| Error::os("shut a link", errno))
}

impl LinkEnd {
    /// Sends bytes, and with the first of them copies of these descriptors; returns how many bytes
    /// went.
    ///
    /// If it is fewer than asked, all descriptors are gone with them: send the rest of the bytes
    /// without.
    ///
    /// # Errors
    ///
    /// - `WouldBlock` if there is no room at present; nothing was sent.
    /// - `BrokenPipe` if nobody holds the other end. No signal is raised.
    /// - `InvalidInput` for descriptors without a byte, or more than [`FDS_MAX`].
    pub fn send(&self, bytes: &[IoSlice<'_>], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        if fds.len() > FDS_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors"));
        }
        if !fds.is_empty() && bytes.iter().all(|slice| slice.is_empty()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "descriptors need a byte"));
        }
        if let (&[bytes], []) = (bytes, fds) {
            return again(|| {
                // SAFETY: the pointer is to the slice, with its true length; send only reads it.
                unsafe {
                    libc::send(self.raw(), bytes.as_ptr().cast(), bytes.len(), platform::SEND)
                }
            });
        }
        let mut control: Control = [0; _];
        let mut message = empty_message();
        message.msg_iov = bytes.as_ptr().cast_mut().cast();
        message.msg_iovlen = bytes.len() as _;
        if !fds.is_empty() {
            put(&mut message, &mut control, fds);
        }
        again(|| {
            // SAFETY: the header's pointers are to `bytes`, whose slices have the layout of iovec,
            // and to `control`, with their true lengths; sendmsg only reads them.
            unsafe { libc::sendmsg(self.raw(), &raw const message, platform::SEND) }
        })
    }

    /// Receives bytes into `buf`, appends the descriptors that came with them, and returns how many
    /// bytes came: 0 means that nobody holds the other end (or that `buf` is empty).
    ///
    /// Descriptors come in the call that brings the first byte they were sent with, in the order of
    /// sending. Earlier bytes may come in the same call, descriptors of two sends never do. They
    /// are closed by an exec.
    ///
    /// # Errors
    ///
    /// - `WouldBlock` if nothing has come.
    /// - `InvalidData` if descriptors were lost because this process may have no more open: what
    ///   came can't be put in order again, and the link is of no more use.
    pub fn receive(&self, buf: &mut [u8], fds: &mut VecDeque<OwnedFd>) -> io::Result<usize> {
        let mut control: Control = [0; _];
        let mut room = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
        let mut message = empty_message();
        message.msg_iov = &raw mut room;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of::<Control>() as _;
        let length = again(|| {
            // SAFETY: the header's pointers are to `room`, which is `buf`, and to `control`, both
            // ours to write, with their true lengths.
            unsafe { libc::recvmsg(self.raw(), &raw mut message, platform::RECEIVE) }
        })?;
        take(&message, fds)?;
        if message.msg_flags & libc::MSG_CTRUNC != 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "descriptors were lost"));
        }
        Ok(length)
    }

    fn raw(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

fn again(mut call: impl FnMut() -> isize) -> io::Result<usize> {
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

fn empty_message() -> libc::msghdr {
    // SAFETY: msghdr is made of integers and pointers, for which zeroes are a value.
    unsafe { std::mem::zeroed() }
}

fn put(message: &mut libc::msghdr, control: &mut Control, fds: &[BorrowedFd<'_>]) {
    let bytes = size_of_val(fds) as libc::c_uint;
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: CMSG_SPACE only computes.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(bytes) } as _;
    // SAFETY: CMSG_LEN only computes.
    let length = unsafe { libc::CMSG_LEN(bytes) };
    // SAFETY: the message has a control buffer, larger than a header.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const *message) };
    // SAFETY: the header lies at the begin of the control buffer, which is aligned for it.
    let first = unsafe { &mut *header };
    first.cmsg_level = libc::SOL_SOCKET;
    first.cmsg_type = libc::SCM_RIGHTS;
    first.cmsg_len = length as _;
    // SAFETY: the header is valid, as above.
    let data = unsafe { libc::CMSG_DATA(header) };
    // SAFETY: BorrowedFd has the layout of a descriptor's number. The control buffer has room for
    // FDS_MAX of them after the header, and `fds` is no longer than that, as `send` has checked.
    unsafe { std::ptr::copy_nonoverlapping(fds.as_ptr().cast::<u8>(), data, bytes as usize) };
}

fn take(message: &libc::msghdr, fds: &mut VecDeque<OwnedFd>) -> io::Result<()> {
    // SAFETY: recvmsg has filled in the message, whose control buffer still lives.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: not null, so it is a header that recvmsg wrote in the buffer.
        let found = unsafe { *header };
        if (found.cmsg_level, found.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            // SAFETY: the header is valid, as above.
            let data = unsafe { libc::CMSG_DATA(header) }.cast::<RawFd>();
            // SAFETY: CMSG_LEN only computes.
            let before = unsafe { libc::CMSG_LEN(0) } as usize;
            for i in 0..(found.cmsg_len as usize).saturating_sub(before) / size_of::<RawFd>() {
                // SAFETY: the index is within what the header says that it holds.
                let at = unsafe { data.add(i) };
                // SAFETY: as above; data need not be aligned.
                let number = unsafe { at.read_unaligned() };
                // SAFETY: the kernel opened this descriptor for us and nobody else knows of it.
                let fd = unsafe { OwnedFd::from_raw_fd(number) };
                platform::close_on_exec(&fd)?;
                fds.push_back(fd);
            }
        }
        // SAFETY: both are what recvmsg filled in.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    Ok(())
}

impl AsFd for LinkEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Takes a stream socket of the Unix family that is nonblocking already.
impl From<OwnedFd> for LinkEnd {
    fn from(socket: OwnedFd) -> LinkEnd {
        LinkEnd { socket }
    }
}

impl From<LinkEnd> for OwnedFd {
    fn from(end: LinkEnd) -> OwnedFd {
        end.socket
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn receive(end: &LinkEnd, room: usize) -> (Vec<u8>, VecDeque<OwnedFd>) {
        let (mut buf, mut fds) = (vec![0; room], VecDeque::new());
        let length = end.receive(&mut buf, &mut fds).expect("something came");
        buf.truncate(length);
        (buf, fds)
    }

    #[test]
    fn bytes_and_descriptors_go_both_ways() {
        let (one, other) = pair().expect("a link");
        for (from, to) in [(&one, &other), (&other, &one)] {
            let (reader, mut writer) = io::pipe().expect("a pipe");
            let bytes = [IoSlice::new(b"he"), IoSlice::new(b"llo")];
            assert_eq!(from.send(&bytes, &[reader.as_fd()]).expect("room"), 5);
            drop(reader);
            let (bytes, mut fds) = receive(to, 16);
            assert_eq!((bytes.as_slice(), fds.len()), (b"hello".as_slice(), 1));
            writer.write_all(b"through").expect("room");
            drop(writer);
            let mut through = String::new();
            let mut reader = io::PipeReader::from(fds.pop_front().expect("one"));
            reader.read_to_string(&mut through).expect("readable");
            assert_eq!(through, "through");
        }
    }

    #[test]
    fn descriptors_come_with_their_first_byte_in_a_partial_read() {
        let (one, other) = pair().expect("a link");
        one.send(&[IoSlice::new(b"first")], &[]).expect("room");
        let many = vec![one.as_fd(); FDS_MAX];
        one.send(&[IoSlice::new(b"second")], &many).expect("room");
        one.send(&[IoSlice::new(b"third")], &[one.as_fd()]).expect("room");
        let (bytes, fds) = receive(&other, 5);
        assert_eq!((bytes.as_slice(), fds.len()), (b"first".as_slice(), 0));
        let (bytes, fds) = receive(&other, 2);
        assert_eq!((bytes.as_slice(), fds.len()), (b"se".as_slice(), FDS_MAX));
        let (bytes, fds) = receive(&other, 64);
        assert_eq!((bytes.as_slice(), fds.len()), (b"condthird".as_slice(), 1));
    }

    #[test]
    fn a_full_link_an_empty_one_and_an_abandoned_one_say_so() {
        let (one, other) = pair().expect("a link");
        let mut fds = VecDeque::new();
        let empty = other.receive(&mut [0; 8], &mut fds).expect_err("nothing came");
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        let kilobyte = [0_u8; 1024];
        let full = loop {
            if let Err(full) = one.send(&[IoSlice::new(&kilobyte)], &[]) {
                break full;
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        drop(other);
        let gone = one.send(&[IoSlice::new(b"x")], &[]).expect_err("nobody is there");
        assert_eq!(gone.kind(), io::ErrorKind::BrokenPipe);
        let (one, other) = pair().expect("a link");
        drop(one);
        assert_eq!(other.receive(&mut [0; 8], &mut fds).expect("the end"), 0);
    }

    #[test]
    fn descriptors_without_a_byte_and_too_many_are_refused() {
        let (one, _other) = pair().expect("a link");
        let bare = one.send(&[IoSlice::new(b"")], &[one.as_fd()]).expect_err("refused");
        assert_eq!(bare.kind(), io::ErrorKind::InvalidInput);
        let many = vec![one.as_fd(); FDS_MAX + 1];
        let refused = one.send(&[IoSlice::new(b"x")], &many).expect_err("refused");
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    }
}
