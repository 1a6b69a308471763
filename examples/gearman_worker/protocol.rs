//! Gearman's binary protocol, as far as a worker speaks it: requests to bytes, bytes to responses.
//!
//! A packet is a magic of four bytes (`\0REQ` to the server, `\0RES` from it), a type and the size
//! of what follows, both of four bytes, big-endian, and then arguments with a NUL between each two; the
//! last one may hold NULs itself. See `PROTOCOL` in gearmand's sources. Nothing here reads or writes
//! a socket.
//!
//! It is here since no crate that is kept speaks it well. rustygear 0.15 loses answers: a failure goes
//! out marked as a response, a result into a channel whose end nobody waits for. gearman-worker 0.3
//! takes a NOOP that comes late for an error, allocates whatever size a header promises, leaves jobs
//! of functions that it does not know without an answer, and cannot be told to stop.

use std::fmt;

pub(crate) use response::{Assigned, Inbox, Malformed, Response};

mod response;

/// The most bytes that follow a header, in either direction: 64 MiB.
pub(crate) const BODY_MAX: usize = 64 << 20;
/// The longest name, of a worker or a function: gearmand keeps 127 bytes of a worker's.
pub(crate) const NAME_MAX: usize = 127;
/// The longest handle: the protocol grants it 64 bytes with the NUL.
const HANDLE_MAX: usize = 63;
/// Magic, type and size.
const HEADER: usize = 12;
const REQUEST: &[u8; 4] = b"\0REQ";

/// The name of a worker or of a function: 1 to 127 bytes of text, no blanks, no control characters, since
/// gearmand's own lists are made of words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name(String);

impl Name {
    /// Makes it.
    ///
    /// # Errors
    ///
    /// When the text is no such name.
    pub(crate) fn new(text: &str) -> Result<Name, BadName> {
        let is_word = |letter: char| !letter.is_whitespace() && !letter.is_control();
        if (1..=NAME_MAX).contains(&text.len()) && text.chars().all(is_word) {
            Ok(Name(text.to_owned()))
        } else {
            Err(BadName(text.to_owned()))
        }
    }

    /// The bytes, as they are sent.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// What cannot be a [`Name`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no name for gearmand: 1 to {NAME_MAX} bytes without blanks and control characters are"
)]
pub(crate) struct BadName(String);

/// What the server calls a job: 1 to 63 bytes without a NUL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Handle(Vec<u8>);

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// What a worker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request<'a> {
    /// Who it is, in the server's list of workers.
    SetClientId(&'a Name),
    /// It performs this function.
    CanDo(&'a Name),
    /// It performs none any more.
    ResetAbilities,
    /// It asks for a job: answered with `NO_JOB` or `JOB_ASSIGN`.
    GrabJob,
    /// It wants a `NOOP` when there is a job.
    PreSleep,
    /// How far a job is: so many parts of so many.
    WorkStatus {
        /// The job.
        handle: &'a Handle,
        /// Parts that are done.
        done: u32,
        /// Parts there are.
        of: u32,
    },
    /// Words for who waits for the job.
    WorkWarning {
        /// The job.
        handle: &'a Handle,
        /// The words.
        words: &'a [u8],
    },
    /// The job is done.
    WorkComplete {
        /// The job.
        handle: &'a Handle,
        /// What it has come to.
        result: &'a [u8],
    },
    /// The job has failed.
    WorkFail {
        /// The job.
        handle: &'a Handle,
    },
    /// It wants these bytes back, in their turn: whatever was said before has been taken in by then.
    Echo(&'a [u8]),
}

impl Request<'_> {
    /// Appends the packet.
    ///
    /// # Errors
    ///
    /// When it were longer than [`BODY_MAX`]; nothing is appended then.
    pub(crate) fn append_to(&self, out: &mut Vec<u8>) -> Result<(), TooLong> {
        match *self {
            Request::CanDo(name) => packet(out, 1, &[name.as_bytes()]),
            Request::ResetAbilities => packet(out, 3, &[]),
            Request::PreSleep => packet(out, 4, &[]),
            Request::GrabJob => packet(out, 9, &[]),
            Request::WorkStatus { handle, done, of } => {
                let (done, of) = (done.to_string(), of.to_string());
                packet(out, 12, &[&handle.0, done.as_bytes(), of.as_bytes()])
            }
            Request::WorkComplete { handle, result } => packet(out, 13, &[&handle.0, result]),
            Request::WorkFail { handle } => packet(out, 14, &[&handle.0]),
            Request::Echo(bytes) => packet(out, 16, &[bytes]),
            Request::SetClientId(name) => packet(out, 22, &[name.as_bytes()]),
            Request::WorkWarning { handle, words } => packet(out, 29, &[&handle.0, words]),
        }
    }
}

fn packet(out: &mut Vec<u8>, kind: u32, arguments: &[&[u8]]) -> Result<(), TooLong> {
    let nuls = arguments.len().saturating_sub(1);
    let size = arguments.iter().map(|argument| argument.len()).sum::<usize>() + nuls;
    let told = u32::try_from(size).ok().filter(|_| size <= BODY_MAX).ok_or(TooLong(size))?;
    out.reserve(HEADER + size);
    out.extend_from_slice(REQUEST);
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&told.to_be_bytes());
    for (place, argument) in arguments.iter().enumerate() {
        if place > 0 {
            out.push(0);
        }
        out.extend_from_slice(argument);
    }
    Ok(())
}

/// A packet that is too long to be sent.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a packet of {0} bytes is too long: {BODY_MAX} are the most")]
pub(crate) struct TooLong(usize);

#[cfg(test)]
mod tests;
