//! Frames with descriptors over one end of a link. The fork server's link to its parent is such a
//! channel, and so are the links of `actix-dispatch` to its workers.
//!
//! A frame consists of the length of the remaining bytes (4 bytes, little-endian), a head in the
//! postcard format, and a body of the remaining length. The descriptors of a frame arrive no later
//! than its first byte; the head says how many they are.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use daemon_sys::link::{FDS_MAX, LinkEnd, no_free_descriptor};
use serde::{Deserialize, Serialize};

/// The size of a frame's length field in bytes.
const LENGTH: usize = size_of::<u32>();

/// What a channel accepts from its other end, and how it reads.
#[derive(Debug, Clone, Copy)]
pub struct ChannelLimits {
    /// The size of a read in bytes.
    pub read_size: usize,
    /// The maximum length of a received frame in bytes, without its length field.
    pub frame_max: usize,
    /// The maximum number of received descriptors whose frames have not been decoded.
    ///
    /// The descriptors of one send arrive together. The next descriptors are sent only after all
    /// bytes of the frames of the previous descriptors, so one read can return at most the last of
    /// these bytes together with the next descriptors. All complete frames are decoded before the
    /// next read. So twice the number of descriptors of a send is enough.
    pub waiting_max: usize,
}

/// A file that is sent together with a frame.
pub trait Attachment {
    /// Returns the descriptor to send.
    ///
    /// # Errors
    ///
    /// If there is no descriptor at present. The send of the frame then fails, and can be repeated.
    fn descriptor(&self) -> io::Result<AttachedFd<'_>>;
}

impl Attachment for OwnedFd {
    fn descriptor(&self) -> io::Result<AttachedFd<'_>> {
        Ok(AttachedFd::Borrowed(self.as_fd()))
    }
}

/// A descriptor to send.
#[derive(Debug)]
pub enum AttachedFd<'a> {
    /// Stays open.
    Borrowed(BorrowedFd<'a>),
    /// Opened for the send, and closed after it.
    Owned(OwnedFd),
}

impl AsFd for AttachedFd<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            AttachedFd::Borrowed(fd) => *fd,
            AttachedFd::Owned(fd) => fd.as_fd(),
        }
    }
}

/// The result of one read from a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// Data was read, and there may be more.
    More,
    /// All available data was read.
    Drained,
    /// The other end is closed.
    Closed,
}

/// Why received data is not a valid frame. The channel cannot be used any more.
#[derive(Debug, thiserror::Error)]
enum FrameError {
    #[error("frame of {length} bytes exceeds the maximum of {limit}")]
    TooLong { length: usize, limit: usize },
    #[error("cannot decode the head of a frame: {0}")]
    Head(#[source] postcard::Error),
    #[error("a frame has {count} descriptors, of which some are missing")]
    MissingDescriptors { count: usize },
    #[error("received {count} descriptors without their frames, the maximum is {limit}")]
    ExtraDescriptors { count: usize, limit: usize },
}

impl From<FrameError> for io::Error {
    fn from(error: FrameError) -> io::Error {
        io::Error::other(error)
    }
}

/// One end of a link that sends and receives frames. No method blocks.
///
/// Bytes from the other end cost bounded memory, and result in frames or in an error.
///
/// # Examples
///
/// ```
/// use std::os::fd::{AsFd, OwnedFd};
/// use daemon_forkserver::channel::{Channel, ChannelLimits};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let limits = ChannelLimits { read_size: 1024, frame_max: 4096, waiting_max: 2 };
/// let (one, other) = daemon_forkserver::sys::link::pair()?;
/// let mut sender: Channel<OwnedFd> = Channel::new(one, limits);
/// let mut receiver: Channel<OwnedFd> = Channel::new(other, limits);
///
/// sender.send(&("a head", 7_u32), b"a body", &[std::io::stdin().as_fd()])?;
/// receiver.receive()?;
/// let (head, rest) = receiver.next::<(String, u32)>()?.ok_or("no frame")?;
/// assert_eq!((head.0.as_str(), head.1, rest.bytes), ("a head", 7, b"a body".as_slice()));
/// assert_eq!(rest.descriptors.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Channel<A> {
    end: LinkEnd,
    limits: ChannelLimits,
    incoming: Vec<u8>,
    /// The start of the data that is not decoded yet.
    read: usize,
    /// The end of the data that is not decoded yet.
    filled: usize,
    descriptors: VecDeque<OwnedFd>,
    /// Whether descriptors of the last read were lost.
    has_lost: bool,
    /// Whether the next frame, of which a part has been received, has lost its descriptors.
    is_next_lost: bool,
    /// The descriptors of such a frame.
    none: VecDeque<OwnedFd>,
    outgoing: Vec<u8>,
    sent: usize,
    /// The descriptors of all frames before this position have been sent.
    covered: usize,
    /// The files that have not been sent, each with the start of its frame.
    attached: VecDeque<(usize, A)>,
    /// The starts of all frames since the last complete flush, and their numbers.
    frames: Vec<(usize, u64)>,
}

/// A received frame without its head.
#[derive(Debug)]
pub struct FrameBody<'a> {
    /// The body.
    pub bytes: &'a [u8],
    /// The descriptors that have been received. Those of this frame are the first ones, and must be
    /// removed.
    pub descriptors: &'a mut VecDeque<OwnedFd>,
    /// Whether descriptors of this frame may have been [lost](Channel::receive_or_lose). If one is
    /// missing, it was.
    pub has_lost: bool,
}

impl FrameBody<'_> {
    /// Appends the body to `copy`, and removes and returns the descriptors of this frame.
    ///
    /// # Errors
    ///
    /// If fewer descriptors have been received: `EMFILE` if the others were
    /// [lost](Channel::receive_or_lose). Those that were received are closed then.
    pub fn take(self, count: usize, copy: &mut Vec<u8>) -> io::Result<VecDeque<OwnedFd>> {
        copy.extend_from_slice(self.bytes);
        Ok(if count == 0 {
            VecDeque::new()
        } else if self.descriptors.len() == count {
            std::mem::take(self.descriptors)
        } else if self.descriptors.len() > count {
            self.descriptors.drain(..count).collect()
        } else if self.has_lost {
            self.descriptors.clear();
            return Err(no_free_descriptor());
        } else {
            return Err(FrameError::MissingDescriptors { count }.into());
        })
    }
}

impl<A> Channel<A> {
    /// Creates the channel.
    #[must_use]
    pub const fn new(end: LinkEnd, limits: ChannelLimits) -> Channel<A> {
        Channel {
            end,
            limits,
            incoming: Vec::new(),
            read: 0,
            filled: 0,
            descriptors: VecDeque::new(),
            has_lost: false,
            is_next_lost: false,
            none: VecDeque::new(),
            outgoing: Vec::new(),
            sent: 0,
            covered: 0,
            attached: VecDeque::new(),
            frames: Vec::new(),
        }
    }

    /// Returns this end of the link.
    #[must_use]
    pub const fn end(&self) -> &LinkEnd {
        &self.end
    }

    /// Returns whether the start of a frame has been received, but not the whole frame. All
    /// complete frames must have been decoded.
    #[must_use]
    pub const fn is_in_frame(&self) -> bool {
        self.read != self.filled
    }

    /// Returns and removes the descriptors whose frames have not been decoded.
    pub fn take_descriptors(&mut self) -> VecDeque<OwnedFd> {
        std::mem::take(&mut self.descriptors)
    }

    /// Closes descriptors that came with a frame, and keeps their buffer for the next ones.
    pub fn recycle(&mut self, mut descriptors: VecDeque<OwnedFd>) {
        descriptors.clear();
        if self.descriptors.is_empty() {
            self.descriptors = descriptors;
        }
    }

    /// Reads once from the link.
    ///
    /// # Errors
    ///
    /// If the link fails, if more descriptors wait for their frames than the limit, or if descriptors
    /// were lost because this process has reached its limit of open descriptors. Nothing more can be
    /// read then. The descriptors that were received are [still there](Self::take_descriptors).
    pub fn receive(&mut self) -> io::Result<Received> {
        let received = self.receive_or_lose()?;
        if self.has_lost { Err(lost()) } else { Ok(received) }
    }

    /// Reads like [`receive`](Self::receive), but losing descriptors costs only
    /// [their frames](FrameBody::has_lost). All complete frames must have been decoded.
    ///
    /// # Errors
    ///
    /// The other errors of `receive`.
    pub fn receive_or_lose(&mut self) -> io::Result<Received> {
        if self.has_lost && self.is_in_frame() {
            // A read ends in the send that brings descriptors, and the first frame of that send has
            // them: this frame or an earlier one. The later ones of that send have none.
            self.descriptors.clear();
            self.is_next_lost = true;
        }
        self.has_lost = false;
        self.reserve();
        let free = &mut self.incoming[self.filled..];
        let before = self.descriptors.len();
        let received = self.end.receive_or_lose(free, &mut self.descriptors);
        let received = received.map(|(length, has_lost)| {
            self.has_lost = has_lost;
            length
        });
        let (count, limit) = (self.descriptors.len(), self.limits.waiting_max);
        if count > limit {
            return Err(FrameError::ExtraDescriptors { count, limit }.into());
        }
        match received {
            Ok(0) => Ok(Received::Closed),
            Ok(length) => {
                // A read ends at a message with descriptors, even if more data follows.
                let is_cut = length == free.len() || count > before || self.has_lost;
                self.filled += length;
                Ok(if is_cut { Received::More } else { Received::Drained })
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Received::Drained),
            // The other end was closed although it had unread data.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(Received::Closed),
            Err(error) => Err(error),
        }
    }

    /// Appends bytes that were not read from the link.
    #[cfg(any(test, feature = "fuzz"))]
    #[doc(hidden)]
    pub fn feed(&mut self, bytes: &[u8]) {
        self.incoming.truncate(self.filled);
        self.incoming.extend_from_slice(bytes);
        self.filled = self.incoming.len();
    }

    fn reserve(&mut self) {
        let read_size = self.limits.read_size;
        if self.read == self.filled {
            (self.read, self.filled) = (0, 0);
        } else if self.read > read_size {
            self.incoming.copy_within(self.read..self.filled, 0);
            self.filled -= self.read;
            self.read = 0;
        }
        if self.incoming.len() < self.filled + read_size {
            self.incoming.resize(self.filled + read_size, 0);
        }
    }

    /// Returns the head and the rest of the next frame. Returns `None` if no complete frame has
    /// been received.
    ///
    /// # Errors
    ///
    /// If the received data is not a valid frame. Nothing more can be decoded then.
    pub fn next<'a, H: Deserialize<'a>>(&'a mut self) -> io::Result<Option<(H, FrameBody<'a>)>> {
        let left = self.incoming.get(self.read..self.filled).unwrap_or_default();
        let Some((length, rest)) = left.split_first_chunk::<LENGTH>() else { return Ok(None) };
        let (length, limit) = (u32::from_le_bytes(*length) as usize, self.limits.frame_max);
        if length > limit {
            return Err(FrameError::TooLong { length, limit }.into());
        }
        let Some(frame) = rest.get(..length) else { return Ok(None) };
        self.read += LENGTH + length;
        let (head, bytes) = postcard::take_from_bytes(frame).map_err(FrameError::Head)?;
        let body = if std::mem::take(&mut self.is_next_lost) {
            // Those that have been received since belong to later frames.
            FrameBody { bytes, descriptors: &mut self.none, has_lost: true }
        } else {
            FrameBody { bytes, descriptors: &mut self.descriptors, has_lost: self.has_lost }
        };
        Ok(Some((head, body)))
    }

    /// Queues a frame without a system call. Its attachment, if any, is sent with it. `number`
    /// identifies the frame in [`retain`](Channel::retain).
    ///
    /// # Errors
    ///
    /// If the head cannot be encoded. Nothing is queued then.
    pub fn queue<H: Serialize>(
        &mut self,
        number: u64,
        head: &H,
        body: &[u8],
        attachment: Option<A>,
    ) -> postcard::Result<()> {
        let start = self.outgoing.len();
        encode(head, body, &mut self.outgoing)?;
        self.frames.push((start, number));
        self.attached.extend(attachment.map(|file| (start, file)));
        Ok(())
    }

    /// Returns whether bytes are left to send.
    #[must_use]
    pub const fn has_unsent(&self) -> bool {
        self.sent < self.outgoing.len()
    }

    /// Returns the number of frames since the last complete flush.
    #[must_use]
    pub const fn frame_count(&self) -> usize {
        self.frames.len()
    }

    /// Returns the number of the frame whose descriptor is sent next, if one is left to send.
    #[must_use]
    pub fn next_attached(&self) -> Option<u64> {
        let (of, _file) = self.attached.front()?;
        self.frames.iter().find(|(start, _number)| start == of).map(|(_start, number)| *number)
    }

    /// Removes the frames that need not be sent: those whose number `is_needed` rejects. Keeps a
    /// frame if a part of it, or one of its descriptors, has been sent. Forgets the frames that
    /// have been sent.
    pub fn retain(&mut self, mut is_needed: impl FnMut(u64) -> bool) {
        let fixed = self.sent.max(self.covered);
        let ends = self.frames.iter().skip(1).map(|(start, _number)| *start);
        let ends: Vec<usize> = ends.chain([self.outgoing.len()]).collect();
        let mut attached = std::mem::take(&mut self.attached);
        let (mut outgoing, mut frames) = (Vec::new(), Vec::new());
        // A frame that has been sent in part keeps its place in front of the others.
        let mut covered = self.covered.saturating_sub(self.sent);
        for ((start, number), end) in self.frames.drain(..).zip(ends) {
            let is_kept = end > self.sent && (start < fixed || is_needed(number));
            let at = outgoing.len();
            let count = attached.iter().take_while(|(of, _file)| *of == start).count();
            let own = attached.drain(..count).filter(|_file| is_kept);
            self.attached.extend(own.map(|(_start, file)| (at, file)));
            if is_kept {
                let unsent = start.max(self.sent)..end;
                outgoing.extend_from_slice(self.outgoing.get(unsent).unwrap_or_default());
                if start < self.sent {
                    covered = covered.max(outgoing.len());
                }
                frames.push((at, number));
            }
        }
        (self.sent, self.covered) = (0, covered);
        (self.outgoing, self.frames) = (outgoing, frames);
    }

    /// Returns this end and the descriptors whose frames have not been decoded.
    #[must_use]
    pub fn into_descriptors(self) -> (LinkEnd, VecDeque<OwnedFd>) {
        (self.end, self.descriptors)
    }

    /// Closes this end and the received descriptors without freeing memory. A new child calls this,
    /// because freeing memory would write to pages that it shares with the fork server.
    pub fn close_without_freeing(self) {
        let Channel { end, mut descriptors, incoming, outgoing, attached, frames, .. } = self;
        drop(end);
        while let Some(unread) = descriptors.pop_front() {
            drop(unread);
        }
        std::mem::forget((incoming, descriptors, outgoing, attached, frames));
    }
}

impl<A: Attachment> Channel<A> {
    /// Sends as many queued frames as the link accepts.
    ///
    /// # Errors
    ///
    /// If the link fails, or if the descriptor of an attachment is not available. Frames that were
    /// not sent stay queued.
    pub fn flush(&mut self) -> io::Result<()> {
        let kept = 16 * self.limits.read_size;
        while self.has_unsent() {
            match self.send_queued() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.sent > kept && self.sent > self.outgoing.len() / 2 {
                        self.retain(|_number| true);
                    }
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        self.outgoing.clear();
        self.outgoing.shrink_to(kept);
        self.frames.clear();
        (self.sent, self.covered) = (0, 0);
        Ok(())
    }

    fn send_queued(&mut self) -> io::Result<()> {
        if self.sent < self.covered {
            // The frames whose descriptors have been sent are completed before further descriptors
            // are sent, because the number of descriptors that wait at the other end is limited.
            let bytes = self.outgoing.get(self.sent..self.covered).unwrap_or_default();
            self.sent += self.end.send(&[IoSlice::new(bytes)], &[])?;
            return Ok(());
        }
        if let Some((start, _file)) = self.attached.front()
            && self.sent < *start
        {
            // The frames before the one with the next descriptors are sent without them.
            let bytes = self.outgoing.get(self.sent..*start).unwrap_or_default();
            self.sent += self.end.send(&[IoSlice::new(bytes)], &[])?;
            return Ok(());
        }
        // The descriptors are sent with the first byte of their frame. So none arrives later, and
        // if they are lost, it is known whose they were.
        let found = descriptors(&self.attached)?;
        let count = found.len();
        let until = self.attached.get(count).map_or(self.outgoing.len(), |(start, _file)| *start);
        let bytes = self.outgoing.get(self.sent..until).unwrap_or_default();
        let borrowed: Vec<BorrowedFd<'_>> = found.iter().map(AsFd::as_fd).collect();
        let sent = self.end.send(&[IoSlice::new(bytes)], &borrowed)?;
        drop(found);
        self.attached.drain(..count);
        self.covered = if count == 0 { self.sent } else { until };
        self.sent += sent;
        Ok(())
    }
}

impl Channel<OwnedFd> {
    /// Sends the queued frames and then this frame with its descriptors. What the link does not
    /// accept is queued.
    ///
    /// The descriptors are borrowed, and duplicated only if they are queued.
    ///
    /// # Errors
    ///
    /// If the link fails, if the head cannot be encoded, or for more than [`FDS_MAX`] descriptors.
    /// The frame is not queued then.
    pub fn send<H: Serialize>(
        &mut self,
        head: &H,
        body: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        self.flush()?;
        let start = self.outgoing.len();
        self.queue(0, head, body, None).map_err(io::Error::other)?;
        let sent = self.send_or_attach(start, descriptors);
        if sent.is_err() {
            self.outgoing.truncate(start);
            self.frames.pop();
        }
        sent
    }

    fn send_or_attach(&mut self, start: usize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        if descriptors.len() > FDS_MAX {
            // One send could not carry all of them.
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if start == 0 {
            match self.end.send(&[IoSlice::new(&self.outgoing)], descriptors) {
                Ok(sent) => {
                    (self.sent, self.covered) = (sent, self.outgoing.len());
                    return self.flush();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        let copies = descriptors.iter().map(BorrowedFd::try_clone_to_owned);
        let copies = copies.collect::<io::Result<Vec<_>>>()?;
        self.attached.extend(copies.into_iter().map(|file| (start, file)));
        Ok(())
    }
}

impl<A> AsFd for Channel<A> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }
}

/// Returns the descriptors of the next send: those of the next frame that has some.
///
/// # Errors
///
/// If one of them is not available.
fn descriptors<A: Attachment>(attached: &VecDeque<(usize, A)>) -> io::Result<Vec<AttachedFd<'_>>> {
    let next = attached.front().map(|(start, _file)| *start);
    let of_next = attached.iter().take_while(|(start, _file)| Some(*start) == next);
    of_next.map(|(_start, file)| file.descriptor()).collect()
}

fn lost() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "descriptors were lost")
}

/// Appends a frame to the bytes.
///
/// # Errors
///
/// If the head cannot be encoded. Nothing is appended then.
pub fn encode<H: Serialize>(head: &H, body: &[u8], bytes: &mut Vec<u8>) -> postcard::Result<()> {
    let start = bytes.len();
    bytes.extend_from_slice(&[0; LENGTH]);
    if let Err(error) = postcard::to_extend(head, Appender(bytes)) {
        bytes.truncate(start);
        return Err(error);
    }
    bytes.extend_from_slice(body);
    let length = u32::try_from(bytes.len() - start - LENGTH).unwrap_or(u32::MAX);
    bytes[start..start + LENGTH].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// Appends encoded bytes to a buffer, which keeps its bytes if the encoding fails.
struct Appender<'a>(&'a mut Vec<u8>);

impl Extend<u8> for Appender<'_> {
    fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
        self.0.extend(bytes);
    }
}

#[cfg(test)]
mod tests;
