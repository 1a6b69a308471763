//! What comes from a server: bytes to responses. They may be any bytes.

use super::{BODY_MAX, HANDLE_MAX, HEADER, Handle};

const RESPONSE: &[u8; 4] = b"\0RES";

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
