//! Encodes requests and decodes responses, for the part of Gearman's binary protocol that a worker
//! uses. This module does not read or write sockets.
//!
//! A packet begins with a magic of four bytes: `\0REQ` in a request, `\0RES` in a response. The
//! packet's type and the size of its body follow, each as four bytes in big-endian order. The body
//! consists of arguments that are separated by NUL. Only the last argument may contain NULs. See
//! `PROTOCOL` in gearmand's sources.
//!
//! The example has its own implementation because no maintained crate implements the protocol
//! correctly. rustygear 0.15 loses answers, because it sends a failure with the magic of a
//! response, and sends a result into a channel whose receiving end is never awaited. gearman-worker
//! 0.3 treats a late NOOP as an error, allocates any size that a header claims, does not answer
//! jobs of unknown functions, and cannot be stopped.

use std::fmt;

pub(crate) use response::{AssignedJob, Malformed, Response, ResponseBuffer};

mod response;

/// The maximum number of bytes after a header, in either direction: 64 MiB.
pub(crate) const BODY_MAX: usize = 64 << 20;
/// The maximum length of a name in bytes: gearmand stores 127 bytes of a worker's name.
pub(crate) const NAME_MAX: usize = 127;
/// The maximum length of a handle in bytes: the protocol allows 64 with the NUL.
const HANDLE_MAX: usize = 63;
/// The number of bytes in a header: magic, type and size.
const HEADER: usize = 12;
const REQUEST: &[u8; 4] = b"\0REQ";

/// The name of a worker or of a function: 1 to 127 bytes of text without whitespace and control
/// characters. Whitespace separates the fields of gearmand's own lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GearmanName(String);

impl GearmanName {
    /// Creates a name.
    ///
    /// # Errors
    ///
    /// If the text is not a valid name.
    pub(crate) fn new(text: &str) -> Result<GearmanName, InvalidName> {
        let is_word = |letter: char| !letter.is_whitespace() && !letter.is_control();
        if (1..=NAME_MAX).contains(&text.len()) && text.chars().all(is_word) {
            Ok(GearmanName(text.to_owned()))
        } else {
            Err(InvalidName(text.to_owned()))
        }
    }

    /// Returns the bytes of the name.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// A text that is not a valid [`GearmanName`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid gearmand name {0:?}: expected 1 to {NAME_MAX} bytes without whitespace and control characters"
)]
pub(crate) struct InvalidName(String);

/// The server's identifier of a job: 1 to 63 bytes without a NUL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobHandle(Vec<u8>);

impl fmt::Display for JobHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// A request from a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorkerRequest<'a> {
    /// Sets the worker's name in the server's list.
    SetClientId(&'a GearmanName),
    /// Registers a function.
    CanDo(&'a GearmanName),
    /// Withdraws the registration of all functions.
    ResetAbilities,
    /// Requests a job. The server responds with `NO_JOB` or `JOB_ASSIGN`.
    GrabJob,
    /// Requests a `NOOP` as soon as there is a job.
    PreSleep,
    /// Reports the progress of a job.
    WorkStatus {
        /// The job.
        handle: &'a JobHandle,
        /// The number of parts that are done.
        done: u32,
        /// The number of all parts.
        of: u32,
    },
    /// Sends a message to the client of a job.
    WorkWarning {
        /// The job.
        handle: &'a JobHandle,
        /// The message.
        text: &'a [u8],
    },
    /// Reports that a job is done.
    WorkComplete {
        /// The job.
        handle: &'a JobHandle,
        /// The result of the job.
        result: &'a [u8],
    },
    /// Reports that a job has failed.
    WorkFail {
        /// The job.
        handle: &'a JobHandle,
    },
    /// Requests that these bytes are sent back. The response confirms that the server has read all
    /// earlier requests.
    Echo(&'a [u8]),
}

impl WorkerRequest<'_> {
    /// Appends the packet of this request to `out`.
    ///
    /// # Errors
    ///
    /// If the body is longer than [`BODY_MAX`]. Nothing is appended then.
    pub(crate) fn append_to(&self, out: &mut Vec<u8>) -> Result<(), PacketTooLong> {
        match *self {
            WorkerRequest::CanDo(name) => packet(out, 1, &[name.as_bytes()]),
            WorkerRequest::ResetAbilities => packet(out, 3, &[]),
            WorkerRequest::PreSleep => packet(out, 4, &[]),
            WorkerRequest::GrabJob => packet(out, 9, &[]),
            WorkerRequest::WorkStatus { handle, done, of } => {
                let (done, of) = (done.to_string(), of.to_string());
                packet(out, 12, &[&handle.0, done.as_bytes(), of.as_bytes()])
            }
            WorkerRequest::WorkComplete { handle, result } => packet(out, 13, &[&handle.0, result]),
            WorkerRequest::WorkFail { handle } => packet(out, 14, &[&handle.0]),
            WorkerRequest::Echo(bytes) => packet(out, 16, &[bytes]),
            WorkerRequest::SetClientId(name) => packet(out, 22, &[name.as_bytes()]),
            WorkerRequest::WorkWarning { handle, text } => packet(out, 29, &[&handle.0, text]),
        }
    }
}

fn packet(out: &mut Vec<u8>, kind: u32, arguments: &[&[u8]]) -> Result<(), PacketTooLong> {
    let nuls = arguments.len().saturating_sub(1);
    let size = arguments.iter().map(|argument| argument.len()).sum::<usize>() + nuls;
    let body_size =
        u32::try_from(size).ok().filter(|_| size <= BODY_MAX).ok_or(PacketTooLong(size))?;
    out.reserve(HEADER + size);
    out.extend_from_slice(REQUEST);
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&body_size.to_be_bytes());
    for (place, argument) in arguments.iter().enumerate() {
        if place > 0 {
            out.push(0);
        }
        out.extend_from_slice(argument);
    }
    Ok(())
}

/// A packet is too long to be sent. The number is the size of its body in bytes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a packet of {0} bytes is too long: the limit is {BODY_MAX} bytes")]
pub(crate) struct PacketTooLong(usize);

#[cfg(test)]
mod tests;
