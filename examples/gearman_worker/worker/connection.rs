//! A connection to the server: requests out, responses in, nothing that waits for ever.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use crate::protocol::{Inbox, Request, Response, TooLong};

use super::trouble::Lost;

/// How much is read at a time, in bytes.
const CHUNK: usize = 64 << 10;

/// A connection. Its descriptor is for poll(2) alone, and tells nothing while
/// [`has_unread`](Connection::has_unread).
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    /// What was said and not sent: an answer goes out with the next question.
    out: Vec<u8>,
    inbox: Inbox,
    chunk: Box<[u8]>,
    patience: Duration,
}

impl Connection {
    /// Connects to the first of the server's addresses that answers; `patience` is for each of them,
    /// and for whatever is waited for later.
    pub(super) fn to(server: &str, patience: Duration) -> Result<Connection, Lost> {
        let stream = connect(server, patience).map_err(Lost::Connect)?;
        let ready = stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(Some(patience)))
            .and_then(|()| stream.set_write_timeout(Some(patience)));
        ready.map_err(Lost::Connect)?;
        let (out, inbox) = (Vec::new(), Inbox::default());
        Ok(Connection { stream, out, inbox, chunk: vec![0; CHUNK].into(), patience })
    }

    /// Says something; it is sent with the next [`flush`](Connection::flush).
    pub(super) fn say(&mut self, request: &Request<'_>) -> Result<(), TooLong> {
        request.append_to(&mut self.out)
    }

    /// Sends what was said.
    pub(super) fn flush(&mut self) -> Result<(), Lost> {
        self.stream.write_all(&self.out).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Lost::Silent(self.patience),
            _ => Lost::Write(error),
        })?;
        self.out.clear();
        Ok(())
    }

    /// Waits for the next response.
    pub(super) fn hear(&mut self) -> Result<Response, Lost> {
        loop {
            if let Some(response) = self.inbox.take()? {
                return Ok(response);
            }
            match self.stream.read(&mut self.chunk) {
                Ok(0) => return Err(Lost::Closed),
                Ok(read) => self.inbox.add(&self.chunk[..read]),
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                        return Err(Lost::Silent(self.patience));
                    }
                    _ => return Err(Lost::Read(error)),
                },
            }
        }
    }

    /// Says whether there is something to hear that no poll tells of.
    pub(super) fn has_unread(&self) -> bool {
        !self.inbox.is_empty()
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn connect(server: &str, patience: Duration) -> io::Result<TcpStream> {
    let mut refused = io::Error::new(ErrorKind::NotFound, "its name has no address");
    for address in server.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(stream) => return Ok(stream),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}
