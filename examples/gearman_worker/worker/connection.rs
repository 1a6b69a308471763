//! A connection to the Gearman server, in which every operation has a timeout; the waits for the
//! server, and the delay before the worker connects again.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use daemon_sys::poll::{Interest, Ready, wait};

use crate::protocol::{PacketTooLong, Response, ResponseBuffer, WorkerRequest};

use super::problem::ConnectionError;

/// The size of a read in bytes.
const CHUNK: usize = 64 << 10;
/// The first and the longest delay before the worker connects again.
const DELAYS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// A connection to the server. Its descriptor is only for poll(2). Because poll(2) does not report
/// bytes that are already in the buffer, call [`has_unread`](Connection::has_unread) first.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    /// Queued requests. The answer to a job stays here until it is sent together with the
    /// next request.
    out: Vec<u8>,
    buffer: ResponseBuffer,
    chunk: Box<[u8]>,
    timeout: Duration,
}

impl Connection {
    /// Connects to the first of the server's addresses that accepts the connection. The timeout
    /// applies to each address, and to each later read and write.
    pub(super) fn to(server: &str, timeout: Duration) -> Result<Connection, ConnectionError> {
        let stream = connect(server, timeout).map_err(ConnectionError::Connect)?;
        let ready = stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(Some(timeout)))
            .and_then(|()| stream.set_write_timeout(Some(timeout)));
        ready.map_err(ConnectionError::Connect)?;
        let (out, buffer) = (Vec::new(), ResponseBuffer::default());
        Ok(Connection { stream, out, buffer, chunk: vec![0; CHUNK].into(), timeout })
    }

    /// Queues a request, which the next [`flush`](Connection::flush) sends.
    pub(super) fn queue(&mut self, request: &WorkerRequest<'_>) -> Result<(), PacketTooLong> {
        request.append_to(&mut self.out)
    }

    /// Sends queued requests.
    pub(super) fn flush(&mut self) -> Result<(), ConnectionError> {
        self.stream.write_all(&self.out).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => ConnectionError::Timeout(self.timeout),
            _ => ConnectionError::Write(error),
        })?;
        self.out.clear();
        Ok(())
    }

    /// Waits for the next response.
    pub(super) fn receive(&mut self) -> Result<Response, ConnectionError> {
        loop {
            if let Some(response) = self.buffer.take()? {
                return Ok(response);
            }
            match self.stream.read(&mut self.chunk) {
                Ok(0) => return Err(ConnectionError::Closed),
                Ok(read) => self.buffer.add(&self.chunk[..read]),
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                        return Err(ConnectionError::Timeout(self.timeout));
                    }
                    _ => return Err(ConnectionError::Read(error)),
                },
            }
        }
    }

    /// Returns whether the buffer contains bytes. poll(2) does not report these bytes.
    pub(super) fn has_unread(&self) -> bool {
        !self.buffer.is_empty()
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn connect(server: &str, timeout: Duration) -> io::Result<TcpStream> {
    let mut refused = io::Error::new(ErrorKind::NotFound, "the host name has no address");
    for address in server.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// Waits for this time, or until a stop is requested. Returns whether a stop is requested.
pub(super) fn wait_for_stop(
    time: Duration,
    stop: Option<BorrowedFd<'_>>,
) -> daemon_sys::Result<bool> {
    let ready = match stop {
        Some(stop) => wait(&[(stop, Interest::Read)], Some(time))?[0],
        None => wait(&[], Some(time)).map(|[]| Ready::default())?,
    };
    Ok(ready.is_readable())
}

/// Waits for this time, or until the server sends something or a stop is requested. Returns the
/// readiness of the server's connection.
pub(super) fn wait_for_server(
    time: Duration,
    connection: &Connection,
    stop: Option<BorrowedFd<'_>>,
) -> daemon_sys::Result<Ready> {
    let server = (connection.as_fd(), Interest::Read);
    Ok(match stop {
        Some(stop) => wait(&[server, (stop, Interest::Read)], Some(time))?[0],
        None => wait(&[server], Some(time))?[0],
    })
}

/// The delay between connection attempts: 100 ms, then twice as long each time, up to ten seconds.
/// A response from the server resets it.
#[derive(Debug)]
pub(super) struct ReconnectDelay(Duration);

impl Default for ReconnectDelay {
    fn default() -> Self {
        ReconnectDelay(DELAYS.0)
    }
}

impl ReconnectDelay {
    /// Returns the delay after a failed attempt, and doubles the delay for the next failure.
    pub(super) fn after_failure(&mut self) -> Duration {
        let pause = self.0;
        self.0 = pause.saturating_mul(2).min(DELAYS.1);
        pause
    }

    /// Resets the delay, after a response from the server.
    pub(super) fn reset(&mut self) {
        *self = ReconnectDelay::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_the_maximum_and_a_response_resets_it() {
        let mut reconnect_delay = ReconnectDelay::default();
        let row: Vec<u128> = (0..9).map(|_| reconnect_delay.after_failure().as_millis()).collect();
        assert_eq!(row, [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
        reconnect_delay.reset();
        assert_eq!(reconnect_delay.after_failure(), DELAYS.0);
    }
}
