//! Frames on the link between parent and worker: the messages and their encoding.
//!
//! A frame consists of the length of the remaining bytes (4 bytes, little-endian), a head in the
//! postcard format, and a body of the remaining length. If the body is in a memory file, the
//! descriptor of the file arrives no later than the first byte of the frame.

mod send_failure;
mod shared_body;

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use daemon_sys::link::{FDS_MAX, LinkEnd};
use daemon_sys::memfd::ReceivedFile;
use serde::{Deserialize, Serialize};

use crate::body::{BODY_MAX, Body, SHARED_FROM};
pub(crate) use send_failure::{SendFailure, retry_delay};
use shared_body::{SharedBody, descriptors};

/// The maximum length of a received frame in bytes: 64 KiB for the head, plus the largest body that
/// is not in a memory file.
pub(crate) const FRAME_MAX: usize = SHARED_FROM + 64 * 1024;

/// The maximum number of descriptors that one system call sends.
const DESCRIPTORS_AT_ONCE: usize = 60;

/// The maximum number of descriptors from the parent whose frames have not been decoded: the
/// descriptors of two sends. The descriptors of one send arrive together. The next descriptors are
/// sent only after all bytes of the frames of the previous descriptors, so one read can return at
/// most the last of these bytes together with the next descriptors. All complete frames are decoded
/// before the next read.
const WAITING_MAX: usize = 2 * FDS_MAX;

/// The maximum number of descriptors from a worker whose frames have not been decoded. A worker
/// sends each answer on its own, so one send has at most one descriptor.
const WAITING_FROM_WORKER_MAX: usize = 2;

/// The size of a frame's length field in bytes.
const LENGTH: usize = 4;

/// A message from the parent to a worker: the task to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TaskOrder<'a> {
    /// The number of this task among the tasks of its slot. It selects the task's
    /// [claim](daemon_core::Claim).
    pub(crate) turn: u64,
    pub(crate) id: u64,
    pub(crate) attempt: u32,
    /// The method's index in the method table.
    pub(crate) method: u16,
    /// The name by which the request calls the method.
    pub(crate) name: &'a str,
    /// The sender's name.
    pub(crate) from: &'a str,
    /// The soft time limit.
    pub(crate) soft: Option<Duration>,
    pub(crate) body: BodyLocation,
}

/// A message from a worker to the parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum WorkerMessage {
    /// The worker is set up and accepts tasks.
    Ready,
    /// The worker starts no further task.
    Leaving,
    /// A task has finished.
    Finished(FinishedTask),
}

/// A finished task and its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FinishedTask {
    pub(crate) turn: u64,
    pub(crate) id: u64,
    pub(crate) attempt: u32,
    /// The handler's run time.
    pub(crate) took: Duration,
    pub(crate) kind: CompletionKind,
    pub(crate) body: BodyLocation,
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum CompletionKind {
    /// The handler returned a value, which is the body.
    Value,
    /// The handler returned an error; the body is the error's message.
    Error,
    /// The handler panicked; the body is the message and the backtrace.
    Panicked,
    /// The handler returned an error after the soft limit had passed; the body is the error's
    /// message.
    TimedOut,
    /// The handler was not called, because the parameters could not be decoded; the body is the
    /// reason.
    BadParams,
}

/// Where a frame's body is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum BodyLocation {
    /// In the frame, after the head.
    InFrame,
    /// At the start of a memory file. The value is the length of the body in bytes.
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

/// Why received data is not a valid frame. The link cannot be used any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    /// The frame is longer than the maximum.
    #[error("frame of {length} bytes exceeds the maximum of {FRAME_MAX}")]
    TooLong {
        /// The value of the frame's length field.
        length: usize,
    },
    /// The head cannot be decoded.
    #[error("cannot decode the head of a frame: {0}")]
    Head(#[source] postcard::Error),
    /// The descriptor of the body was not received.
    #[error("the shared memory of a frame is missing")]
    MissingDescriptor,
    /// More descriptors were received than can wait for their frames.
    #[error("received {count} descriptors without their frames, the maximum is {limit}")]
    ExtraDescriptors {
        /// The number of descriptors whose frames have not been decoded.
        count: usize,
        /// The maximum number.
        limit: usize,
    },
    /// The shared memory of the body cannot be read.
    #[error("cannot read the shared memory of a frame: {0}")]
    SharedMemory(#[source] daemon_sys::Error),
    /// The body is longer than the maximum.
    #[error("frame body of {length} bytes exceeds the maximum of {limit}")]
    BodyTooLong {
        /// The length in the frame's head.
        length: u64,
        /// The maximum length.
        limit: usize,
    },
}

/// Decodes frames from the data that a link receives.
#[derive(Debug)]
pub(crate) struct FrameReader {
    bytes: Vec<u8>,
    /// The start of the data that is not decoded yet.
    read: usize,
    /// The end of the data that is not decoded yet.
    filled: usize,
    descriptors: VecDeque<OwnedFd>,
    /// The maximum number of descriptors whose frames have not been decoded.
    waiting_max: usize,
}

/// The result of one read from a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// Data was read, and there may be more.
    More,
    /// All available data was read.
    Drained,
    /// The other end is closed.
    Closed,
}

impl FrameReader {
    /// The minimum free space for a read, in bytes.
    const READ_SIZE: usize = 64 * 1024;

    /// Creates a reader for frames from the parent.
    pub(crate) fn from_parent() -> FrameReader {
        FrameReader::new(WAITING_MAX)
    }

    /// Creates a reader for frames from a worker.
    pub(crate) fn from_worker() -> FrameReader {
        FrameReader::new(WAITING_FROM_WORKER_MAX)
    }

    fn new(waiting_max: usize) -> FrameReader {
        let (bytes, descriptors) = (Vec::new(), VecDeque::new());
        FrameReader { bytes, read: 0, filled: 0, descriptors, waiting_max }
    }

    /// Returns whether the start of a frame has been received, but not the whole frame. All
    /// complete frames must have been decoded.
    pub(crate) fn is_in_frame(&self) -> bool {
        self.read != self.filled
    }

    /// Returns and removes the descriptors whose frames have not been decoded.
    pub(crate) fn take_descriptors(&mut self) -> VecDeque<OwnedFd> {
        std::mem::take(&mut self.descriptors)
    }

    /// Reads once from the link. After an error nothing more can be read. The caller must close the
    /// [descriptors](FrameReader::take_descriptors) that were received.
    pub(crate) fn receive(&mut self, link: &LinkEnd) -> io::Result<Received> {
        self.reserve();
        let free = &mut self.bytes[self.filled..];
        let before = self.descriptors.len();
        let received = link.receive(free, &mut self.descriptors);
        let (count, limit) = (self.descriptors.len(), self.waiting_max);
        if count > limit {
            return Err(io::Error::other(FrameError::ExtraDescriptors { count, limit }));
        }
        match received {
            Ok(0) => Ok(Received::Closed),
            Ok(length) => {
                // A read ends at a message with descriptors, even if more data follows.
                let is_cut = length == free.len() || count > before;
                self.filled += length;
                Ok(if is_cut { Received::More } else { Received::Drained })
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Received::Drained),
            // The other end was closed although it had unread data.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(Received::Closed),
            Err(error) => Err(error),
        }
    }

    /// Appends bytes that were not read from a link.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.bytes.truncate(self.filled);
        self.bytes.extend_from_slice(bytes);
        self.filled = self.bytes.len();
    }

    fn reserve(&mut self) {
        if self.read == self.filled {
            (self.read, self.filled) = (0, 0);
        } else if self.read > Self::READ_SIZE {
            self.bytes.copy_within(self.read..self.filled, 0);
            self.filled -= self.read;
            self.read = 0;
        }
        if self.bytes.len() < self.filled + Self::READ_SIZE {
            self.bytes.resize(self.filled + Self::READ_SIZE, 0);
        }
    }

    /// Returns the head and the body of the next frame. Returns `None` if no complete frame has
    /// been received.
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

/// The part of a frame after its head.
#[derive(Debug)]
pub(crate) struct FrameBody<'a> {
    bytes: &'a [u8],
    descriptors: &'a mut VecDeque<OwnedFd>,
}

/// A received body.
#[derive(Debug)]
pub(crate) enum OpenedBody {
    InFrame(Body),
    /// In a memory file that has not been read.
    Shared(ReceivedFile),
}

impl FrameBody<'_> {
    /// Discards the body. Returns its descriptor, if it has one.
    pub(crate) fn discard(self, location: BodyLocation) -> Option<OwnedFd> {
        match location {
            BodyLocation::InFrame => None,
            BodyLocation::Shared(_) => self.descriptors.pop_front(),
        }
    }

    /// Opens the body at the location in the head. Reads and allocates nothing for a body in a
    /// memory file. Such a body must have at most `limit` bytes.
    pub(crate) fn open(
        self,
        location: BodyLocation,
        limit: usize,
    ) -> Result<OpenedBody, FrameError> {
        match location {
            BodyLocation::InFrame => {
                Ok(OpenedBody::InFrame(Body::Heap(self.bytes.to_vec().into())))
            }
            BodyLocation::Shared(claimed) => {
                let length = usize::try_from(claimed).unwrap_or(usize::MAX);
                if length > limit {
                    return Err(FrameError::BodyTooLong { length: claimed, limit });
                }
                let fd = self.descriptors.pop_front().ok_or(FrameError::MissingDescriptor)?;
                ReceivedFile::new(fd, length).map(OpenedBody::Shared).map_err(|(fd, error)| {
                    self.descriptors.push_front(fd);
                    FrameError::SharedMemory(error)
                })
            }
        }
    }

    /// Reads the body at the location in the head. A body in a memory file is copied before it is
    /// decoded, because the sender could still write to the file.
    pub(crate) fn read(self, location: BodyLocation) -> Result<Body, FrameError> {
        match self.open(location, BODY_MAX)? {
            OpenedBody::InFrame(body) => Ok(body),
            OpenedBody::Shared(file) => {
                let bytes = file.read().map_err(FrameError::SharedMemory)?;
                Ok(Body::Heap(bytes.into()))
            }
        }
    }
}

/// Encodes frames and sends them over a link.
#[derive(Debug, Default)]
pub(crate) struct FrameWriter {
    bytes: Vec<u8>,
    sent: usize,
    /// The descriptors of all frames before this position have been sent.
    covered: usize,
    /// Shared bodies that have not been sent, each with the start of its frame.
    shared_bodies: VecDeque<(usize, SharedBody)>,
    /// The starts of all frames since the last complete flush, and their numbers.
    frames: Vec<(usize, u64)>,
}

/// Appends encoded bytes to a buffer, which keeps its bytes if the encoding fails.
struct Appender<'a>(&'a mut Vec<u8>);

impl Extend<u8> for Appender<'_> {
    fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
        self.0.extend(bytes);
    }
}

/// The result of a flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// All data is sent.
    All,
    /// The link accepts no more data at present.
    WouldBlock,
}

impl FrameWriter {
    /// Adds a frame. `number` identifies it in [`retain`](FrameWriter::retain). If the head cannot be
    /// encoded, nothing is added.
    pub(crate) fn push<H: Serialize>(
        &mut self,
        number: u64,
        head: &H,
        body: &Body,
    ) -> postcard::Result<()> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; LENGTH]);
        if let Err(error) = postcard::to_extend(head, Appender(&mut self.bytes)) {
            self.bytes.truncate(start);
            return Err(error);
        }
        self.frames.push((start, number));
        match SharedBody::of(body) {
            None => self.bytes.extend_from_slice(body.bytes()),
            Some(shared) => self.shared_bodies.push_back((start, shared)),
        }
        let length = self.bytes.len() - start - LENGTH;
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        if let Some(field) = self.bytes.get_mut(start..start + LENGTH) {
            field.copy_from_slice(&length.to_le_bytes());
        }
        Ok(())
    }

    /// Returns the encoded frames.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// Returns the number of frames since the last complete flush.
    pub(crate) fn frame_count(&self) -> usize {
        self.frames.len()
    }

    /// Removes the frames that need not be sent: those whose number `is_needed` rejects. Keeps a
    /// frame if a part of it, or its descriptor, has been sent. Forgets the frames that have been
    /// sent.
    pub(crate) fn retain(&mut self, mut is_needed: impl FnMut(u64) -> bool) {
        let fixed = self.sent.max(self.covered);
        let ends = self.frames.iter().skip(1).map(|(start, _number)| *start);
        let ends: Vec<usize> = ends.chain([self.bytes.len()]).collect();
        let mut shared_bodies = std::mem::take(&mut self.shared_bodies);
        let (mut bytes, mut frames) = (Vec::new(), Vec::new());
        for ((start, number), end) in self.frames.drain(..).zip(ends) {
            let shared = match shared_bodies.front() {
                Some((at, _shared)) if *at == start => shared_bodies.pop_front(),
                Some(_) | None => None,
            };
            if end <= self.sent || (start >= fixed && !is_needed(number)) {
                continue;
            }
            let at = bytes.len();
            let unsent = start.max(self.sent)..end;
            bytes.extend_from_slice(self.bytes.get(unsent).unwrap_or_default());
            frames.push((at, number));
            self.shared_bodies.extend(shared.map(|(_start, shared)| (at, shared)));
        }
        self.covered = self.covered.saturating_sub(self.sent);
        self.sent = 0;
        (self.bytes, self.frames) = (bytes, frames);
    }

    /// Sends as much data as the link accepts.
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
        self.frames.clear();
        (self.sent, self.covered) = (0, 0);
        Ok(Flushed::All)
    }

    fn send(&mut self, link: &LinkEnd) -> io::Result<()> {
        if self.sent < self.covered {
            // The frames whose descriptors have been sent are completed before further descriptors
            // are sent, because the number of descriptors that wait at the other end is limited.
            let bytes = self.bytes.get(self.sent..self.covered).unwrap_or_default();
            self.sent += link.send(&[IoSlice::new(bytes)], &[])?;
            return Ok(());
        }
        // The descriptors are sent with the first byte of this send, so no descriptor arrives after
        // the first byte of its frame.
        let next = self.shared_bodies.iter().take(DESCRIPTORS_AT_ONCE);
        let found = descriptors(next.map(|(_start, shared)| shared))?;
        let count = found.len();
        let until =
            self.shared_bodies.get(count).map_or(self.bytes.len(), |(start, _shared)| *start);
        let bytes = self.bytes.get(self.sent..until).unwrap_or_default();
        let bytes = IoSlice::new(bytes);
        let fds: Vec<BorrowedFd<'_>> = found.iter().map(AsFd::as_fd).collect();
        let sent = link.send(&[bytes], &fds)?;
        drop(found);
        self.shared_bodies.drain(..count);
        self.covered = if count == 0 { self.sent } else { until };
        self.sent += sent;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
