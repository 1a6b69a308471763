//! One end of the link between parent and fork server: frames with descriptors over a stream
//! socket.
//!
//! A frame consists of the body's length (u32), the number of descriptors (u8), and the body in
//! postcard format. The descriptors are sent with the frame's first byte, so they arrive with it.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use daemon_sys::link::LinkEnd;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The maximum length of a received body in bytes. A longer body is invalid data.
const BODY_MAX: usize = 64 * 1024;
const HEADER: usize = size_of::<u32>() + size_of::<u8>();
/// The size of a read in bytes, enough for about eighty reports or one command with a small
/// request. The size is small because after each fork, every page that the fork server writes to is
/// copied.
const READ: usize = 1024;

/// Sends `Out` and receives `In`; the other end sends `In` and receives `Out`.
///
/// No method blocks. Bytes that the socket does not accept are kept, and [`Wire::flush`] sends
/// them.
#[derive(Debug)]
pub(crate) struct Wire<Out, In> {
    end: LinkEnd,
    outgoing: VecDeque<Chunk>,
    incoming: Vec<u8>,
    read: usize,
    descriptors: VecDeque<OwnedFd>,
    /// The buffer of the chunk that was sent last, kept for reuse.
    spare: Vec<u8>,
    kinds: PhantomData<fn(Out) -> In>,
}

/// Queued bytes, and the descriptors that are sent with the first of these bytes.
#[derive(Debug, Default)]
struct Chunk {
    bytes: Vec<u8>,
    sent: usize,
    descriptors: Vec<OwnedFd>,
}

/// The result of one read from the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadProgress {
    /// Data was read, and more may be available.
    More,
    /// All available data was read.
    Drained,
    /// The other end is closed.
    Hangup,
}

impl<Out: Serialize, In: DeserializeOwned> Wire<Out, In> {
    pub(crate) fn new(end: LinkEnd) -> Self {
        Wire {
            end,
            outgoing: VecDeque::new(),
            incoming: Vec::new(),
            read: 0,
            descriptors: VecDeque::new(),
            spare: Vec::new(),
            kinds: PhantomData,
        }
    }

    /// Queues a frame without a system call. [`Wire::flush`] then sends consecutive frames with one
    /// system call.
    pub(crate) fn queue(&mut self, message: &Out) -> io::Result<()> {
        if !self.outgoing.back().is_some_and(|chunk| chunk.descriptors.is_empty()) {
            let bytes = std::mem::take(&mut self.spare);
            self.outgoing.push_back(Chunk { bytes, ..Chunk::default() });
        }
        if let Some(chunk) = self.outgoing.back_mut() {
            encode(message, 0, &mut chunk.bytes)?;
        }
        Ok(())
    }

    /// Sends the queued frames and then this frame with its descriptors. Bytes that the socket does
    /// not accept are queued.
    ///
    /// The descriptors are borrowed, and duplicated only if the whole frame is queued.
    pub(crate) fn send(&mut self, message: &Out, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(64);
        encode(message, descriptors.len(), &mut bytes)?;
        let mut sent = 0;
        if self.flush()? == FlushProgress::Complete {
            sent = match self.end.send(&[IoSlice::new(&bytes)], descriptors) {
                Ok(sent) => sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
        }
        if sent < bytes.len() {
            let descriptors = if sent == 0 { descriptors } else { &[] };
            let descriptors = descriptors
                .iter()
                .map(BorrowedFd::try_clone_to_owned)
                .collect::<io::Result<_>>()?;
            self.outgoing.push_back(Chunk { bytes, sent, descriptors });
        }
        Ok(())
    }

    /// Sends queued frames, as far as the socket accepts them.
    pub(crate) fn flush(&mut self) -> io::Result<FlushProgress> {
        while let Some(chunk) = self.outgoing.front_mut() {
            let borrowed: Vec<BorrowedFd<'_>> = chunk.descriptors.iter().map(AsFd::as_fd).collect();
            match self.end.send(&[IoSlice::new(&chunk.bytes[chunk.sent..])], &borrowed) {
                Ok(sent) => {
                    chunk.sent += sent;
                    chunk.descriptors.clear();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(FlushProgress::Partial);
                }
                Err(error) => return Err(error),
            }
            if chunk.sent == chunk.bytes.len()
                && let Some(sent) = self.outgoing.pop_front()
            {
                self.spare = sent.bytes;
                self.spare.clear();
                self.spare.shrink_to(READ);
            }
        }
        Ok(FlushProgress::Complete)
    }

    /// Returns whether bytes are left to send.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Reads once from the socket.
    pub(crate) fn receive(&mut self) -> io::Result<ReadProgress> {
        if self.read == self.incoming.len() {
            self.incoming.clear();
        } else {
            self.incoming.drain(..self.read);
        }
        self.read = 0;
        let kept = self.incoming.len();
        self.incoming.resize(kept + READ, 0);
        let received = self.end.receive(&mut self.incoming[kept..], &mut self.descriptors);
        self.incoming.truncate(kept + received.as_ref().map_or(0, |read| *read));
        match received {
            Ok(0) => Ok(ReadProgress::Hangup),
            // A message with descriptors ends a read early, so a short read means an empty socket
            // only if no descriptors were read.
            Ok(read) if read < READ && self.descriptors.is_empty() => Ok(ReadProgress::Drained),
            Ok(_more) => Ok(ReadProgress::More),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => Ok(ReadProgress::Drained),
                io::ErrorKind::ConnectionReset => Ok(ReadProgress::Hangup),
                io::ErrorKind::Interrupted => Ok(ReadProgress::More),
                _other => Err(error),
            },
        }
    }

    /// Appends bytes that were not read from the socket.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.incoming.drain(..self.read);
        self.read = 0;
        self.incoming.extend_from_slice(bytes);
    }

    /// Returns the next complete frame from the bytes that have been read; `None` if there is none.
    pub(crate) fn next(&mut self) -> io::Result<Option<(In, VecDeque<OwnedFd>)>> {
        let unread = &self.incoming[self.read..];
        let Some((header, rest)) = unread.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let [a, b, c, d, count] = *header;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if length > BODY_MAX {
            return Err(invalid_data(format!("a frame of {length} bytes")));
        }
        let Some(body) = rest.get(..length) else {
            return Ok(None);
        };
        let count = usize::from(count);
        if self.descriptors.len() < count {
            return Err(invalid_data(format!("{count} descriptors, of which some are missing")));
        }
        let message =
            postcard::from_bytes(body).map_err(|error| invalid_data(error.to_string()))?;
        self.read += HEADER + length;
        let descriptors = if count == self.descriptors.len() {
            std::mem::take(&mut self.descriptors)
        } else {
            self.descriptors.drain(..count).collect()
        };
        Ok(Some((message, descriptors)))
    }
}

impl<Out, In> Wire<Out, In> {
    /// Closes descriptors that came with a frame, and keeps their buffer for the next frame.
    pub(crate) fn close(&mut self, mut descriptors: VecDeque<OwnedFd>) {
        descriptors.clear();
        if self.descriptors.is_empty() {
            self.descriptors = descriptors;
        }
    }

    /// Closes this end and the received descriptors without freeing memory. A new child calls this,
    /// because freeing memory would write to pages that it shares with the fork server.
    pub(crate) fn close_without_freeing(self) {
        let Wire { end, outgoing, incoming, mut descriptors, spare, .. } = self;
        drop(end);
        while let Some(unread) = descriptors.pop_front() {
            drop(unread);
        }
        std::mem::forget((outgoing, incoming, descriptors, spare));
    }
}

impl<Out, In> AsFd for Wire<Out, In> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }
}

/// Whether a flush has sent all queued frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FlushProgress {
    Complete,
    Partial,
}

fn encode<M: Serialize>(message: &M, descriptors: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
    let count = u8::try_from(descriptors).map_err(|_too_many| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("a frame cannot carry {descriptors} descriptors"),
        )
    })?;
    let start = bytes.len();
    bytes.extend_from_slice(&[0; HEADER]);
    let written = postcard::to_io(message, &mut *bytes).map_err(io::Error::other);
    let length = written
        .and_then(|bytes| u32::try_from(bytes.len() - start - HEADER).map_err(io::Error::other));
    match length {
        Ok(length) => {
            bytes[start..start + 4].copy_from_slice(&length.to_le_bytes());
            bytes[start + 4] = count;
            Ok(())
        }
        Err(error) => {
            bytes.truncate(start);
            Err(error)
        }
    }
}

fn invalid_data(what: String) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the other end of the link sent invalid data: {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    type WirePair = (Wire<String, u32>, Wire<u32, String>);

    fn ends() -> WirePair {
        let (a, b) = daemon_sys::link::pair().unwrap();
        (Wire::new(a), Wire::new(b))
    }

    #[test]
    fn frames_arrive_whole_and_in_order_with_their_own_descriptors() {
        let (mut near, mut far) = ends();
        let (kept, sent) = UnixStream::pair().unwrap();
        near.queue(&"first".to_owned()).unwrap();
        near.send(&"second".to_owned(), &[sent.as_fd()]).unwrap();
        near.queue(&"third".to_owned()).unwrap();
        near.flush().unwrap();
        drop(sent);
        let mut received = Vec::new();
        while received.len() < 3 {
            assert_ne!(far.receive().unwrap(), ReadProgress::Hangup);
            while let Some((message, fds)) = far.next().unwrap() {
                received.push((message, fds));
            }
        }
        let counts: Vec<_> =
            received.iter().map(|(text, fds)| (text.as_str(), fds.len())).collect();
        assert_eq!(counts, [("first", 0), ("second", 1), ("third", 0)]);
        let mut socket = UnixStream::from(received[1].1.pop_front().unwrap());
        socket.write_all(b"!").unwrap();
        drop((socket, received));
        let mut text = String::new();
        (&kept).read_to_string(&mut text).unwrap();
        assert_eq!(text, "!");
    }

    #[test]
    fn bytes_that_the_socket_does_not_accept_are_sent_later() {
        let (mut near, mut far) = ends();
        let text = "x".repeat(40_000);
        let (_kept, sent) = UnixStream::pair().unwrap();
        for _ in 0..50 {
            near.send(&text, &[sent.as_fd()]).unwrap();
        }
        assert!(near.has_unsent());
        let mut arrived = 0;
        while arrived < 50 {
            near.flush().unwrap();
            far.receive().unwrap();
            while let Some((message, fds)) = far.next().unwrap() {
                assert_eq!((message.len(), fds.len()), (40_000, 1));
                arrived += 1;
            }
        }
        assert!(!near.has_unsent());
    }

    #[test]
    fn receive_reports_a_closed_other_end_as_hangup() {
        let (near, mut far) = ends();
        drop(near);
        assert_eq!(far.receive().unwrap(), ReadProgress::Hangup);
    }

    #[test]
    fn invalid_data_is_an_error_and_never_a_panic() {
        for bytes in [&[255_u8; 40][..], &[4, 0, 0, 0, 0, 9, 9, 9, 9], &[1, 0, 0, 0, 7, 0]] {
            let (raw, end) = daemon_sys::link::pair().unwrap();
            let mut wire: Wire<u32, String> = Wire::new(end);
            raw.send(&[IoSlice::new(bytes)], &[]).unwrap();
            wire.receive().unwrap();
            assert!(wire.next().is_err(), "{bytes:?}");
        }
    }
}
