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

/// The most bytes that follow a header, in either direction: 64 MiB.
pub(crate) const BODY_MAX: usize = 64 << 20;
/// The longest name, of a worker or a function: gearmand keeps 127 bytes of a worker's.
pub(crate) const NAME_MAX: usize = 127;
/// The longest handle: the protocol grants it 64 bytes with the NUL.
const HANDLE_MAX: usize = 63;
/// Magic, type and size.
const HEADER: usize = 12;
const REQUEST: &[u8; 4] = b"\0REQ";
const RESPONSE: &[u8; 4] = b"\0RES";

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

/// What a server says to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Response {
    /// There may be a job: ask for it.
    Noop,
    /// There is none.
    NoJob,
    /// There is one, and it is yours.
    JobAssign(Assigned),
    /// The bytes that were to come back.
    Echo(Vec<u8>),
    /// Something was wrong with a request.
    Error {
        /// A word for it.
        code: String,
        /// Words for it.
        text: String,
    },
}

impl Response {
    /// What the protocol calls it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Response::Noop => "NOOP",
            Response::NoJob => "NO_JOB",
            Response::JobAssign(_) => "JOB_ASSIGN",
            Response::Echo(_) => "ECHO_RES",
            Response::Error { .. } => "ERROR",
        }
    }
}

/// A job, as it is handed to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assigned {
    /// What the server calls it.
    pub(crate) handle: Handle,
    /// The function that it is for.
    pub(crate) function: Vec<u8>,
    /// What it is about.
    pub(crate) workload: Vec<u8>,
}

/// Bytes of a server that are no packet for a worker. What follows them cannot be understood either.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// Another protocol, or a packet that is meant for a server.
    #[error("a packet begins with {:?}, not with \"\\0RES\"", String::from_utf8_lossy(.0))]
    Magic(Vec<u8>),
    /// A type that a worker is not sent.
    #[error("a packet of type {0}, which is none for a worker")]
    Kind(u32),
    /// More than is taken.
    #[error("a packet of type {kind} with {size} bytes: {BODY_MAX} are the most")]
    TooLong {
        /// Its type.
        kind: u32,
        /// What its header promises.
        size: u32,
    },
    /// Fewer arguments than its type has.
    #[error("{packet} ends before {argument}")]
    Short {
        /// The type's name.
        packet: &'static str,
        /// The first that is missing.
        argument: &'static str,
    },
    /// A handle of no byte, or of more than the protocol grants.
    #[error("JOB_ASSIGN with a handle of {0} bytes: 1 to {HANDLE_MAX} are right")]
    Handle(usize),
}

/// What has come from a server and is not understood yet. It never holds more than a packet and what
/// was read along with it.
#[derive(Debug, Default)]
pub(crate) struct Inbox(Vec<u8>);

impl Inbox {
    /// Adds bytes as they come, cut anywhere.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Says whether there is nothing in it, not even a part of a packet.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the next packet; `None` if it has not come whole.
    ///
    /// # Errors
    ///
    /// When what has come is none, as soon as that is certain; nothing is taken any more then.
    pub(crate) fn take(&mut self) -> Result<Option<Response>, Malformed> {
        let begun = &self.0[..self.0.len().min(RESPONSE.len())];
        if !RESPONSE.starts_with(begun) {
            return Err(Malformed::Magic(begun.to_vec()));
        }
        let Some((header, rest)) = self.0.split_first_chunk::<HEADER>() else { return Ok(None) };
        let [_, _, _, _, a, b, c, d, e, f, g, h] = *header;
        let kind = Kind::of(u32::from_be_bytes([a, b, c, d]))?;
        let size = u32::from_be_bytes([e, f, g, h]);
        let length = usize::try_from(size).ok().filter(|length| *length <= BODY_MAX);
        let length = length.ok_or(Malformed::TooLong { kind: kind.number(), size })?;
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let response = kind.response(body)?;
        self.0.drain(..HEADER + length);
        Ok(Some(response))
    }
}

/// The types of what a worker is sent.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Noop,
    NoJob,
    JobAssign,
    EchoRes,
    Error,
}

impl Kind {
    const ALL: [Kind; 5] = [Kind::Noop, Kind::NoJob, Kind::JobAssign, Kind::EchoRes, Kind::Error];

    fn of(number: u32) -> Result<Kind, Malformed> {
        let kind = Kind::ALL.into_iter().find(|kind| kind.number() == number);
        kind.ok_or(Malformed::Kind(number))
    }

    fn number(self) -> u32 {
        match self {
            Kind::Noop => 6,
            Kind::NoJob => 10,
            Kind::JobAssign => 11,
            Kind::EchoRes => 17,
            Kind::Error => 19,
        }
    }

    /// What it says. Data that the type has not is passed over.
    fn response(self, body: &[u8]) -> Result<Response, Malformed> {
        match self {
            Kind::Noop => Ok(Response::Noop),
            Kind::NoJob => Ok(Response::NoJob),
            Kind::EchoRes => Ok(Response::Echo(body.to_vec())),
            Kind::JobAssign => {
                let short = |argument| Malformed::Short { packet: "JOB_ASSIGN", argument };
                let (handle, rest) = cut(body).ok_or(short("its function"))?;
                let (function, workload) = cut(rest).ok_or(short("its workload"))?;
                if !(1..=HANDLE_MAX).contains(&handle.len()) {
                    return Err(Malformed::Handle(handle.len()));
                }
                Ok(Response::JobAssign(Assigned {
                    handle: Handle(handle.to_vec()),
                    function: function.to_vec(),
                    workload: workload.to_vec(),
                }))
            }
            Kind::Error => {
                let short = Malformed::Short { packet: "ERROR", argument: "its text" };
                let (code, text) = cut(body).ok_or(short)?;
                let read = |bytes| String::from_utf8_lossy(bytes).into_owned();
                Ok(Response::Error { code: read(code), text: read(text) })
            }
        }
    }
}

/// An argument, and what follows its NUL.
fn cut(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let nul = body.iter().position(|byte| *byte == 0)?;
    Some((&body[..nul], &body[nul + 1..]))
}

#[cfg(test)]
mod tests;
