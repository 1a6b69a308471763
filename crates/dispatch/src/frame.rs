//! The messages on the link between parent and worker, and how their bodies are sent.
//!
//! A message is the head of a frame of the link's [`Channel`]. If the message has a body, the body
//! is the body of the frame, or it is in a memory file, whose descriptor is sent with the frame.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use daemon_forkserver::channel::{AttachedFd, Attachment, Channel, ChannelLimits, FrameBody};
use daemon_sys::link::{self, FDS_MAX};
use daemon_sys::memfd::{ReceivedFile, memfd_with};
use serde::{Deserialize, Serialize};

use crate::body::{BODY_MAX, Body, SHARED_FROM, SharedBuffer};

/// The limits of the socket for answers. A worker sends each answer on its own, so one send has at
/// most one descriptor. A frame has 64 KiB for the head, and the largest body that is not in a
/// memory file.
pub(crate) const ANSWER_LIMITS: ChannelLimits =
    ChannelLimits { read_size: 64 * 1024, frame_max: SHARED_FROM + 64 * 1024, waiting_max: 2 };

/// The limits of the socket for tasks.
pub(crate) const ORDER_LIMITS: ChannelLimits =
    ChannelLimits { waiting_max: 2 * FDS_MAX, ..ANSWER_LIMITS };

/// One direction of the link between parent and worker.
pub(crate) type LinkChannel = Channel<SharedBody>;

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

/// Why the body of a received frame cannot be read. The link cannot be used any more.
#[derive(Debug, thiserror::Error)]
enum BodyError {
    #[error("the shared memory of a frame is missing")]
    MissingDescriptor,
    #[error("cannot read the shared memory of a frame: {0}")]
    SharedMemory(#[source] daemon_sys::Error),
    #[error("frame body of {length} bytes exceeds the maximum of {limit}")]
    TooLong { length: u64, limit: usize },
}

impl From<BodyError> for io::Error {
    fn from(error: BodyError) -> io::Error {
        io::Error::other(error)
    }
}

/// A received body.
#[derive(Debug)]
pub(crate) enum OpenedBody {
    InFrame(Body),
    /// In a memory file that has not been read.
    Shared(ReceivedFile),
}

impl BodyLocation {
    pub(crate) fn of(body: &Body) -> BodyLocation {
        if body.fits_in_frame() {
            BodyLocation::InFrame
        } else {
            BodyLocation::Shared(body.bytes().len() as u64)
        }
    }

    /// Returns whether the body was lost, because this process had no free descriptor.
    pub(crate) fn is_lost(self, frame: &FrameBody<'_>) -> bool {
        match self {
            BodyLocation::InFrame => false,
            BodyLocation::Shared(_) => frame.has_lost && frame.descriptors.is_empty(),
        }
    }

    /// Discards the body of a received frame. Returns its descriptor, if it has one.
    pub(crate) fn discard(self, frame: FrameBody<'_>) -> Option<OwnedFd> {
        match self {
            BodyLocation::InFrame => None,
            BodyLocation::Shared(_) => frame.descriptors.pop_front(),
        }
    }

    /// Opens the body of a received frame. Reads and allocates nothing for a body in a memory file.
    /// Such a body must have at most `limit` bytes.
    pub(crate) fn open(self, frame: FrameBody<'_>, limit: usize) -> io::Result<OpenedBody> {
        match self {
            BodyLocation::InFrame => {
                Ok(OpenedBody::InFrame(Body::Heap(frame.bytes.to_vec().into())))
            }
            BodyLocation::Shared(claimed) => {
                let length = usize::try_from(claimed).unwrap_or(usize::MAX);
                if length > limit {
                    return Err(BodyError::TooLong { length: claimed, limit }.into());
                }
                let fd = frame.descriptors.pop_front().ok_or(BodyError::MissingDescriptor)?;
                ReceivedFile::new(fd, length).map(OpenedBody::Shared).map_err(|(fd, error)| {
                    frame.descriptors.push_front(fd);
                    BodyError::SharedMemory(error).into()
                })
            }
        }
    }

    /// Reads the body of a received frame. A body in a memory file is copied before it is decoded,
    /// because the sender could still write to the file.
    pub(crate) fn read(self, frame: FrameBody<'_>) -> io::Result<Body> {
        match self.open(frame, BODY_MAX)? {
            OpenedBody::InFrame(body) => Ok(body),
            OpenedBody::Shared(file) => {
                let bytes = file.read().map_err(BodyError::SharedMemory)?;
                Ok(Body::Heap(bytes.into()))
            }
        }
    }
}

/// A body that is not stored in its frame.
#[derive(Debug)]
pub(crate) enum SharedBody {
    /// In a memory file.
    Buffer(Arc<SharedBuffer>),
    /// In heap memory, because no memory file was available when the body was encoded. A memory
    /// file is created when the body is sent.
    Heap(bytes::Bytes),
}

impl Attachment for SharedBody {
    fn descriptor(&self) -> io::Result<AttachedFd<'_>> {
        match self {
            SharedBody::Buffer(buffer) => {
                // The descriptor stays open until the buffer is dropped.
                buffer.fd().map(AttachedFd::Borrowed).ok_or(io::ErrorKind::NotFound.into())
            }
            SharedBody::Heap(bytes) => match memfd_with("task", bytes) {
                Ok(fd) => Ok(AttachedFd::Owned(fd)),
                Err(error) => Err(match error.raw_os_error() {
                    Some(number) => io::Error::from_raw_os_error(number),
                    None => io::Error::other(error),
                }),
            },
        }
    }
}

/// Queues a message and its body. `number` identifies it in [`Channel::retain`]. If the message
/// cannot be encoded, nothing is queued.
pub(crate) fn queue<M: Serialize>(
    channel: &mut LinkChannel,
    number: u64,
    message: &M,
    body: &Body,
) -> postcard::Result<()> {
    if body.fits_in_frame() {
        return channel.queue(number, message, body.bytes(), None);
    }
    let shared = match body {
        Body::Heap(bytes) => SharedBody::Heap(bytes.clone()),
        Body::Shared(buffer) => SharedBody::Buffer(Arc::clone(buffer)),
    };
    channel.queue(number, message, &[], Some(shared))
}

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

/// After how many failed sends in a row, which take about half a second, a message whose body finds no
/// free descriptor is given up.
pub(crate) const FAILED_SENDS_MAX: u32 = 8;

/// The first retry delay, and the longest one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(250));

/// Returns the delay before a failed send is retried. `failed_sends` is the number of sends that
/// failed consecutively before this send.
pub(crate) fn retry_delay(failed_sends: u32) -> Duration {
    let (first, longest) = PAUSES;
    first.saturating_mul(2_u32.saturating_pow(failed_sends)).min(longest)
}

#[cfg(test)]
mod tests;
