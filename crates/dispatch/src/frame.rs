//! Frames on the link between parent and worker: what is said, and how it is told from bytes.
//!
//! A frame is the length of the rest, 4 bytes, the lower first; a head in the postcard format; a body
//! of whatever length is left. Where a body is in a memory file its descriptor comes no later than
//! the first byte of its frame.

mod send_failure;
mod shared_body;

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use daemon_sys::link::{FDS_MAX, LinkEnd};
use daemon_sys::memfd::read_exactly;
use serde::{Deserialize, Serialize};

use crate::body::{BODY_MAX, Body, SHARED_FROM};
pub(crate) use send_failure::{SendFailure, retry_delay};
use shared_body::{SharedBody, descriptors};

/// The longest frame that is taken: a body that is just not worth a memory file, and a head.
pub(crate) const FRAME_MAX: usize = SHARED_FROM + 64 * 1024;

/// How many descriptors are sent at once.
const DESCRIPTORS_AT_ONCE: usize = 60;

/// How many descriptors may wait for their frames: those of two sendings. Those of one come at once, and
/// those of the next not before all bytes of the former have come, and been read.
const WAITING_MAX: usize = 2 * FDS_MAX;

/// The length of a frame's length.
const LENGTH: usize = 4;

/// Parent to worker: do this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TaskOrder<'a> {
    /// The claim by which it may be taken back.
    pub(crate) turn: u64,
    pub(crate) id: u64,
    pub(crate) attempt: u32,
    /// Its number in the table of methods.
    pub(crate) method: u16,
    /// What the request calls it.
    pub(crate) name: &'a str,
    /// Who asks.
    pub(crate) from: &'a str,
    /// After how long the handler is told that it takes too long.
    pub(crate) soft: Option<Duration>,
    pub(crate) body: BodyLocation,
}

/// Worker to parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum WorkerMessage {
    /// It is set up, and takes orders.
    Ready,
    /// It begins nothing more than what it does now.
    Leaving,
    /// The order of this turn is done.
    Finished(FinishedTask),
}

/// How an order was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FinishedTask {
    pub(crate) turn: u64,
    pub(crate) id: u64,
    pub(crate) attempt: u32,
    /// How long it took.
    pub(crate) took: Duration,
    pub(crate) end: CompletionKind,
    pub(crate) body: BodyLocation,
}

/// How a handler has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum CompletionKind {
    /// With a value, which is the body.
    Value,
    /// With an error; its words are the body.
    Error,
    /// It has panicked; words and backtrace are the body.
    Panicked,
    /// It has given up when it was told that it takes too long; its words are the body.
    TimedOut,
    /// The parameters were not its own; why is the body.
    BadParams,
}

/// Where a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum BodyLocation {
    /// It is the rest of the frame.
    InFrame,
    /// In a memory file: its first bytes, so many.
    Shared(u64),
}

impl BodyLocation {
    pub(crate) fn of(body: &Body) -> BodyLocation {
        if body.fits_in_frame() {
            BodyLocation::InFrame
        } else {
            BodyLocation::Shared(body.bytes().len() as u64)
        }
    }
}

/// Why what has come is no frame. The link is of no more use then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    /// It would be longer than any that is sent.
    #[error("a frame of {length} bytes: the longest has {FRAME_MAX}")]
    TooLong {
        /// What it says.
        length: usize,
    },
    /// Its head cannot be read.
    #[error("a frame that cannot be read: {0}")]
    Head(#[source] postcard::Error),
    /// Its body's descriptor has not come.
    #[error("a frame whose memory is missing")]
    MissingDescriptor,
    /// More descriptors have come than frames can want.
    #[error("{count} descriptors without their frames: {WAITING_MAX} may wait")]
    ExtraDescriptors {
        /// How many there are.
        count: usize,
    },
    /// Its body's memory is not what it says.
    #[error("a frame whose memory cannot be had: {0}")]
    SharedMemory(#[source] daemon_sys::Error),
    /// Its body would be longer than any that is taken.
    #[error("a frame whose body has {length} bytes: the longest has {BODY_MAX}")]
    BodyTooLong {
        /// What it says.
        length: u64,
    },
}

/// What has come over a link, and is made into frames.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    bytes: Vec<u8>,
    /// Where what is not read yet begins and ends.
    read: usize,
    filled: usize,
    descriptors: VecDeque<OwnedFd>,
}

/// What a look at a link has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// Bytes, and there may be more.
    More,
    /// All there was.
    Drained,
    /// The other end is closed.
    Closed,
}

impl FrameReader {
    /// How much is asked of the system at once.
    const ROOM: usize = 64 * 1024;

    /// Takes in once what has come.
    pub(crate) fn receive(&mut self, link: &LinkEnd) -> io::Result<Received> {
        self.make_room();
        let room = &mut self.bytes[self.filled..];
        let before = self.descriptors.len();
        match link.receive(room, &mut self.descriptors) {
            Ok(0) => Ok(Received::Closed),
            Ok(length) => {
                // The system stops where descriptors are, whatever comes after them.
                let is_cut = length == room.len() || self.descriptors.len() > before;
                self.filled += length;
                let count = self.descriptors.len();
                if count > WAITING_MAX {
                    self.descriptors.clear();
                    return Err(io::Error::other(FrameError::ExtraDescriptors { count }));
                }
                Ok(if is_cut { Received::More } else { Received::Drained })
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Received::Drained),
            // It was closed with something unread.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(Received::Closed),
            Err(error) => Err(error),
        }
    }

    /// Takes in bytes that were had otherwise.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.bytes.truncate(self.filled);
        self.bytes.extend_from_slice(bytes);
        self.filled = self.bytes.len();
    }

    fn make_room(&mut self) {
        if self.read == self.filled {
            (self.read, self.filled) = (0, 0);
        } else if self.read > Self::ROOM {
            self.bytes.copy_within(self.read..self.filled, 0);
            self.filled -= self.read;
            self.read = 0;
        }
        if self.bytes.len() < self.filled + Self::ROOM {
            self.bytes.resize(self.filled + Self::ROOM, 0);
        }
    }

    /// Takes the next whole frame: its head and what follows it.
    pub(crate) fn next<'a, H: Deserialize<'a>>(
        &'a mut self,
    ) -> Result<Option<(H, FrameBody<'a>)>, FrameError> {
        let left = self.bytes.get(self.read..self.filled).unwrap_or_default();
        let Some((length, rest)) = left.split_first_chunk::<LENGTH>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length > FRAME_MAX {
            return Err(FrameError::TooLong { length });
        }
        let Some(frame) = rest.get(..length) else { return Ok(None) };
        self.read += LENGTH + length;
        let (head, bytes) = postcard::take_from_bytes(frame).map_err(FrameError::Head)?;
        Ok(Some((head, FrameBody { bytes, descriptors: &mut self.descriptors })))
    }
}

/// What follows a head.
#[derive(Debug)]
pub(crate) struct FrameBody<'a> {
    bytes: &'a [u8],
    descriptors: &'a mut VecDeque<OwnedFd>,
}

impl FrameBody<'_> {
    /// Does without the body.
    pub(crate) fn discard(self, place: BodyLocation) {
        match place {
            BodyLocation::InFrame => {}
            BodyLocation::Shared(_) => drop(self.descriptors.pop_front()),
        }
    }

    /// Takes the body from where the head says that it is. What is in a memory file is copied before
    /// anybody looks at it: who has sent it could write on.
    pub(crate) fn body(self, place: BodyLocation) -> Result<Body, FrameError> {
        match place {
            BodyLocation::InFrame => Ok(Body::Heap(self.bytes.to_vec().into())),
            BodyLocation::Shared(claimed) => {
                let fd = self.descriptors.pop_front().ok_or(FrameError::MissingDescriptor)?;
                let length = usize::try_from(claimed).unwrap_or(usize::MAX);
                if length > BODY_MAX {
                    return Err(FrameError::BodyTooLong { length: claimed });
                }
                let bytes = read_exactly(fd, length).map_err(FrameError::SharedMemory)?;
                Ok(Body::Heap(bytes.into()))
            }
        }
    }
}

/// What is to go over a link.
#[derive(Debug, Default)]
pub(crate) struct FrameWriter {
    bytes: Vec<u8>,
    sent: usize,
    /// Up to here the descriptors of frames are sent already.
    covered: usize,
    /// Memory, and where the frame that it belongs to begins.
    shared_bodies: VecDeque<(usize, SharedBody)>,
}

/// What has become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// All is sent.
    All,
    /// The link takes no more at present.
    WouldBlock,
}

impl FrameWriter {
    /// Adds a frame.
    pub(crate) fn push<H: Serialize>(&mut self, head: &H, body: &Body) -> postcard::Result<()> {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(&[0; LENGTH]);
        self.bytes = postcard::to_extend(head, std::mem::take(&mut self.bytes))?;
        match SharedBody::of(body) {
            None => self.bytes.extend_from_slice(body.bytes()),
            Some(shared) => self.shared_bodies.push_back((begin, shared)),
        }
        let length = self.bytes.len() - begin - LENGTH;
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        if let Some(place) = self.bytes.get_mut(begin..begin + LENGTH) {
            place.copy_from_slice(&length.to_le_bytes());
        }
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// Sends as much as the link takes.
    pub(crate) fn flush(&mut self, link: &LinkEnd) -> io::Result<Flushed> {
        while !self.is_empty() {
            match self.send(link) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Flushed::WouldBlock);
                }
                Err(error) => return Err(error),
            }
        }
        self.bytes.clear();
        (self.sent, self.covered) = (0, 0);
        Ok(Flushed::All)
    }

    fn send(&mut self, link: &LinkEnd) -> io::Result<()> {
        if self.sent < self.covered {
            // No more descriptors before all frames of those that are sent have gone: there is a most
            // that may wait at the other end.
            let bytes = self.bytes.get(self.sent..self.covered).unwrap_or_default();
            self.sent += link.send(&[IoSlice::new(bytes)], &[])?;
            return Ok(());
        }
        // A descriptor goes with the first byte that is sent now, which is not after its frame's.
        let most = self.shared_bodies.iter().take(DESCRIPTORS_AT_ONCE);
        let found = descriptors(most.map(|(_begin, shared)| shared))?;
        let now = found.len();
        let until = self.shared_bodies.get(now).map_or(self.bytes.len(), |(begin, _memory)| *begin);
        let bytes = self.bytes.get(self.sent..until).unwrap_or_default();
        let bytes = IoSlice::new(bytes);
        let fds: Vec<BorrowedFd<'_>> = found.iter().map(AsFd::as_fd).collect();
        let sent = link.send(&[bytes], &fds)?;
        drop(found);
        self.shared_bodies.drain(..now);
        self.covered = if now == 0 { self.sent } else { until };
        self.sent += sent;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
