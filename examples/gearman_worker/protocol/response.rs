//! Decodes responses of the Gearman server. The bytes come from the network and may be invalid.

use super::{BODY_MAX, HANDLE_MAX, HEADER, JobHandle};

const RESPONSE: &[u8; 4] = b"\0RES";

/// A response from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Response {
    /// There may be a job to request.
    Noop,
    /// There is no job.
    NoJob,
    /// A job is assigned to this worker.
    JobAssign(AssignedJob),
    /// The answer to an echo request: the same bytes.
    Echo(Vec<u8>),
    /// A request was invalid.
    Error {
        /// The error code.
        code: String,
        /// The error message.
        text: String,
    },
}

impl Response {
    /// Returns the name of the response in the protocol.
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

/// A job that is assigned to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AssignedJob {
    /// The server's identifier of the job.
    pub(crate) handle: JobHandle,
    /// The name of the function.
    pub(crate) function: Vec<u8>,
    /// The input of the job.
    pub(crate) workload: Vec<u8>,
}

/// Why bytes from the server are not a valid packet. The bytes after them cannot be decoded either.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// The magic is wrong, because the bytes are of another protocol or of a request.
    #[error("packet begins with {:?}, expected \"\\0RES\"", String::from_utf8_lossy(.0))]
    Magic(Vec<u8>),
    /// The server does not send packets of this type to workers.
    #[error("unexpected packet type {0}")]
    Kind(u32),
    /// The packet is too long.
    #[error("packet of type {kind} has {size} bytes: the limit is {BODY_MAX} bytes")]
    TooLong {
        /// The packet type.
        kind: u32,
        /// The size in the header.
        size: u32,
    },
    /// Arguments are missing.
    #[error("{packet} ends before {argument}")]
    Short {
        /// The name of the packet type.
        packet: &'static str,
        /// The first missing argument.
        argument: &'static str,
    },
    /// The handle is empty or too long.
    #[error("JOB_ASSIGN has a handle of {0} bytes: expected 1 to {HANDLE_MAX}")]
    Handle(usize),
}

/// Received bytes that are not decoded yet. The connection reads more bytes only when the buffer
/// contains no complete packet, so the buffer never holds more than a part of one packet and the
/// bytes of one read.
#[derive(Debug, Default)]
pub(crate) struct ResponseBuffer(Vec<u8>);

impl ResponseBuffer {
    /// Appends received bytes, which may end anywhere in a packet.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Returns whether the buffer is empty: it does not contain even a part of a packet.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the next packet, or `None` if it is incomplete.
    ///
    /// # Errors
    ///
    /// If the bytes cannot be a packet. Every later call returns an error too.
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

/// The types of packets that a server sends to a worker.
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

    /// Decodes a body of this type. The body of a type without arguments is ignored.
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
                Ok(Response::JobAssign(AssignedJob {
                    handle: JobHandle(handle.to_vec()),
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

/// Returns the argument before the first NUL, and the rest after the NUL.
fn cut(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let nul = body.iter().position(|byte| *byte == 0)?;
    Some((&body[..nul], &body[nul + 1..]))
}
