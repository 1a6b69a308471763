//! A connection that the runtime watches only when an operation would block.
//!
//! A client usually sends its request as soon as it is connected. When the daemon accepts such a
//! connection, the request has arrived already, and the response usually fits into the socket's
//! buffer. Registering the connection with the runtime would cost more than serving it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use daemon_forkserver::Transfer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop;

/// A connected socket: std's [`TcpStream`] or [`UnixStream`].
pub trait StreamSocket:
    Transfer + From<OwnedFd> + AsFd + Read + Write + Send + sealed::Sealed
{
    /// The type of the socket after a tokio runtime has started to watch it.
    type Watched: AsyncRead + AsyncWrite + AsFd + Unpin + std::fmt::Debug + 'static;

    /// Registers the socket with this thread's runtime. The socket must be nonblocking.
    ///
    /// # Errors
    ///
    /// If the runtime cannot watch the socket.
    fn watch(self) -> io::Result<Self::Watched>;
}

impl StreamSocket for TcpStream {
    type Watched = tokio::net::TcpStream;

    fn watch(self) -> io::Result<Self::Watched> {
        tokio::net::TcpStream::from_std(self)
    }
}

impl StreamSocket for UnixStream {
    type Watched = tokio::net::UnixStream;

    fn watch(self) -> io::Result<Self::Watched> {
        tokio::net::UnixStream::from_std(self)
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for std::net::TcpStream {}
    impl Sealed for std::os::unix::net::UnixStream {}
}

/// A connection that [`serve`](crate::DaemonBuilder::serve) has accepted.
///
/// It implements [`AsyncRead`] and [`AsyncWrite`], and [`into_tokio`](Connection::into_tokio)
/// converts it into a stream of tokio. The runtime does not watch the connection until an operation
/// would block.
#[derive(Debug)]
pub struct Connection<S: StreamSocket>(ConnectionState<S>);

#[derive(Debug)]
enum ConnectionState<S: StreamSocket> {
    Direct(S),
    Watched(S::Watched),
    /// The registration with the runtime has failed, and the error was returned.
    Failed,
}

impl<S: StreamSocket> Connection<S> {
    /// Wraps a nonblocking socket.
    pub(crate) fn new(socket: S) -> Self {
        Connection(ConnectionState::Direct(socket))
    }

    /// Converts the connection into a stream of tokio.
    ///
    /// # Errors
    ///
    /// If the runtime cannot watch the socket.
    pub fn into_tokio(self) -> io::Result<S::Watched> {
        match self.0 {
            ConnectionState::Direct(socket) => socket.watch(),
            ConnectionState::Watched(stream) => Ok(stream),
            ConnectionState::Failed => Err(gone()),
        }
    }

    fn watched(&mut self) -> io::Result<Pin<&mut S::Watched>> {
        self.0 = match std::mem::replace(&mut self.0, ConnectionState::Failed) {
            ConnectionState::Direct(socket) => ConnectionState::Watched(socket.watch()?),
            known @ (ConnectionState::Watched(_) | ConnectionState::Failed) => known,
        };
        match &mut self.0 {
            ConnectionState::Watched(stream) => Ok(Pin::new(stream)),
            ConnectionState::Direct(_) | ConnectionState::Failed => Err(gone()),
        }
    }

    /// Tries the operation without waiting, if the connection is `Direct`. Returns `None` if the
    /// operation would block or the connection is not `Direct`.
    fn try_now<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut act: impl FnMut(&mut S) -> io::Result<T>,
    ) -> Poll<Option<io::Result<T>>> {
        let ConnectionState::Direct(socket) = &mut self.0 else { return Poll::Ready(None) };
        // A client that sends without pauses must not starve other tasks.
        let progress = ready!(coop::poll_proceed(cx));
        loop {
            match act(socket) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Poll::Ready(None);
                }
                done => {
                    progress.made_progress();
                    return Poll::Ready(Some(done));
                }
            }
        }
    }
}

impl Connection<TcpStream> {
    /// Returns the address of the client.
    ///
    /// # Errors
    ///
    /// If the client has disconnected.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            ConnectionState::Direct(socket) => socket.peer_addr(),
            ConnectionState::Watched(stream) => stream.peer_addr(),
            ConnectionState::Failed => Err(gone()),
        }
    }

    /// Sets `TCP_NODELAY`: with `true`, data is sent immediately and not collected, see tcp(7).
    ///
    /// # Errors
    ///
    /// If the system refuses the option.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        match &self.0 {
            ConnectionState::Direct(socket) => socket.set_nodelay(nodelay),
            ConnectionState::Watched(stream) => stream.set_nodelay(nodelay),
            ConnectionState::Failed => Err(gone()),
        }
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the runtime could not watch the connection")
}

impl<S: StreamSocket> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match ready!(self.try_now(cx, |socket| socket.read(buffer.initialize_unfilled()))) {
            Some(read) => {
                buffer.advance(read?);
                Poll::Ready(Ok(()))
            }
            None => self.watched()?.poll_read(cx, buffer),
        }
    }
}

impl<S: StreamSocket> AsyncWrite for Connection<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match ready!(self.try_now(cx, |socket| socket.write(bytes))) {
            Some(written) => Poll::Ready(written),
            None => self.watched()?.poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match ready!(self.try_now(cx, |socket| socket.write_vectored(bytes))) {
            Some(written) => Poll::Ready(written),
            None => self.watched()?.poll_write_vectored(cx, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Does nothing, because no data is buffered.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watched()?.poll_shutdown(cx)
    }
}

impl<S: StreamSocket> AsFd for Connection<S> {
    /// # Panics
    ///
    /// If an earlier read or write has failed because the runtime could not watch the connection.
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            ConnectionState::Direct(socket) => socket.as_fd(),
            ConnectionState::Watched(stream) => stream.as_fd(),
            ConnectionState::Failed => panic!("{}", gone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn run<T>(test: impl Future<Output = T>) -> T {
        actix_rt::System::new().block_on(test)
    }

    fn pair() -> (Connection<UnixStream>, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        (Connection::new(near), far)
    }

    #[test]
    fn data_that_has_arrived_is_read_without_registering_the_connection() {
        run(async {
            let (mut connection, mut far) = pair();
            far.write_all(b"ping").unwrap();
            let mut received = [0; 4];
            connection.read_exact(&mut received).await.unwrap();
            connection.write_all(b"pong").await.unwrap();
            assert!(matches!(connection.0, ConnectionState::Direct(_)));
            far.read_exact(&mut received).unwrap();
            assert_eq!(&received, b"pong");
        });
    }

    #[test]
    fn data_that_has_not_arrived_is_awaited() {
        run(async {
            let (mut connection, mut far) = pair();
            let mut received = [0; 4];
            let (read, written) = futures::join!(connection.read_exact(&mut received), async {
                tokio::task::yield_now().await;
                far.write_all(b"late")
            });
            read.unwrap();
            written.unwrap();
            assert_eq!(&received, b"late");
            assert!(matches!(connection.0, ConnectionState::Watched(_)));
        });
    }

    #[test]
    fn a_response_larger_than_the_socket_buffer_arrives_complete() {
        run(async {
            let (mut connection, mut far) = pair();
            let answer = vec![7; 4 << 20];
            let reader = std::thread::spawn(move || {
                let mut received = Vec::new();
                far.read_to_end(&mut received).map(|_| received)
            });
            connection.write_all(&answer).await.unwrap();
            connection.shutdown().await.unwrap();
            drop(connection);
            assert_eq!(reader.join().unwrap().unwrap(), answer);
        });
    }
}
