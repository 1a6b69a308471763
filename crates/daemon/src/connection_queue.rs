//! The connections that a stopping pool still has to serve, in the order in which they arrived.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use daemon_sys::limits::open_files_limit;
use daemon_sys::link::{self, LinkEnd, OneMessage};
use daemon_sys::listen::SocketId;
use daemon_sys::poll::{Interest, wait};

/// A message without a descriptor: the receiver tries to accept from the listener.
const TRY_TO_ACCEPT: &[u8] = b"t";
/// How many connections are put into the queue at most: Linux's default for the longest backlog.
const CONNECTIONS_MAX: u64 = 4096;
/// How many messages are read at a time, so that a damaged child that sends without end cannot keep
/// the reader busy.
const MESSAGES_MAX: usize = 8192;
/// The longest list of listeners that the fork server reads.
const ANNOUNCEMENTS_MAX: usize = 64 * 1024;

/// A queue of accepted connections that the processes of a pool share: a socket pair, made before
/// the fork server is forked.
///
/// When the daemon stops, the fork server moves the connections that wait at the listener into this
/// queue, so that the listener can be shut down. Each child takes one connection at a time. Before
/// that, children announce here from which listeners they accept, and wake each other when one of
/// them cannot accept.
#[derive(Debug)]
pub(crate) struct ConnectionQueue {
    /// The end into which connections are put, and where announcements are read.
    sender: LinkEnd,
    /// The end from which connections are taken.
    receiver: LinkEnd,
    /// How many connections this process has put into the queue.
    put: Cell<u64>,
}

/// What a child takes from the queue.
#[derive(Debug)]
enum Taken {
    /// A connection.
    Connection(OwnedFd),
    /// A sibling could not accept a connection, which may still wait at the listener.
    TryToAccept,
}

impl ConnectionQueue {
    /// Creates an empty queue.
    pub(crate) fn new() -> Result<Self, daemon_sys::Error> {
        let (sender, receiver) = link::pair()?;
        // With the default size it has space for some hundred connections.
        sender.grow_send_buffer();
        Ok(ConnectionQueue { sender, receiver, put: Cell::new(0) })
    }

    /// Announces that this child accepts from a listener that belongs to the daemon alone.
    pub(crate) fn announce(&self, listener: SocketId) {
        // If there is no space, earlier children have announced the listener.
        let _ = self.receiver.send(&[IoSlice::new(&listener.to_bytes())], &[]);
    }

    /// Returns the listeners that children have announced. What children send may be damaged.
    pub(crate) fn announced(&self) -> Vec<SocketId> {
        let (mut bytes, mut fds) = (Vec::new(), VecDeque::new());
        let mut buffer = [0; 4096];
        while bytes.len() < ANNOUNCEMENTS_MAX
            && let Ok(length @ 1..) = self.sender.receive(&mut buffer, &mut fds)
        {
            bytes.extend_from_slice(&buffer[..length]);
            fds.clear();
        }
        let mut announced: Vec<SocketId> =
            bytes.as_chunks().0.iter().map(|id| SocketId::from_bytes(*id)).collect();
        announced.sort_unstable();
        announced.dedup();
        announced
    }

    /// Wakes all idle siblings, so that one of them accepts the connection for which this child was
    /// woken.
    pub(crate) fn wake_siblings(&self) {
        // If there is no space, the siblings have been woken already.
        let _ = self.sender.send(&[IoSlice::new(TRY_TO_ACCEPT)], &[]);
    }

    /// Returns whether another connection can be put into the queue. Between processes, no more
    /// descriptors can be on their way than one process may have open.
    pub(crate) fn has_space(&self) -> bool {
        let limit = open_files_limit().map_or(0, |limit| limit.min(CONNECTIONS_MAX));
        let is_within_limit = self.put.get() < limit;
        // A child may have shut down the socket.
        let ready = wait(&[(self.sender.as_fd(), Interest::Write)], Some(Duration::ZERO));
        let is_open = ready.is_ok_and(|[ready]| !ready.is_closed());
        is_within_limit && is_open && self.sender.has_send_space()
    }

    /// Puts a connection into the queue.
    pub(crate) fn put(&self, connection: BorrowedFd<'_>) -> io::Result<()> {
        self.sender.send_one(connection)?;
        self.put.update(|put| put + 1);
        Ok(())
    }

    /// Takes the next message. Returns `None` if there is none, or this process has no free
    /// descriptor for a connection.
    fn take(&self) -> Option<Taken> {
        match self.receiver.receive_one() {
            Ok(OneMessage::Descriptor(connection)) => Some(Taken::Connection(connection)),
            Ok(OneMessage::Byte) => Some(Taken::TryToAccept),
            Ok(OneMessage::Closed) | Err(_) => None,
        }
    }

    /// Takes the next connection. Returns `None` if there is none.
    pub(crate) fn next_connection(&self) -> Option<OwnedFd> {
        (0..MESSAGES_MAX).map_while(|_message| self.take()).find_map(|taken| match taken {
            Taken::Connection(connection) => Some(connection),
            Taken::TryToAccept => None,
        })
    }

    /// Closes the connections that no child has taken, and returns how many there were.
    pub(crate) fn discard(&self) -> usize {
        let taken = (0..MESSAGES_MAX).map_while(|_message| self.take());
        taken.filter(|taken| matches!(taken, Taken::Connection(_))).count()
    }

    /// Returns the descriptor that becomes readable with each message.
    pub(crate) fn watched(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn connections_are_taken_in_order_and_the_rest_is_counted() {
        let queue = ConnectionQueue::new().unwrap();
        let pairs: Vec<_> = (0..4).map(|_pair| UnixStream::pair().unwrap()).collect();
        assert!(queue.take().is_none());
        for (near, _far) in &pairs {
            assert!(queue.has_space());
            queue.put(near.as_fd()).unwrap();
        }
        queue.wake_siblings();
        for (near, _far) in &pairs[..2] {
            let Some(Taken::Connection(taken)) = queue.take() else { panic!("a connection") };
            assert_eq!(SocketId::of(taken.as_fd()), SocketId::of(near.as_fd()));
        }
        assert_eq!(queue.discard(), 2);
        queue.wake_siblings();
        assert!(matches!(queue.take(), Some(Taken::TryToAccept)));
        assert!(queue.take().is_none());
    }

    #[test]
    fn the_queue_has_space_for_the_backlog_of_a_listener_of_std_and_is_limited() {
        let queue = ConnectionQueue::new().unwrap();
        let (near, _far) = UnixStream::pair().unwrap();
        let mut put = 0;
        while queue.has_space() {
            queue.put(near.as_fd()).unwrap();
            put += 1;
        }
        assert!(put > 128, "{put}");
        assert_eq!(queue.discard(), put);
    }

    #[test]
    fn a_queue_that_a_child_has_shut_down_takes_no_connection() {
        let queue = ConnectionQueue::new().unwrap();
        assert!(queue.has_space());
        let receiver = queue.receiver.as_fd().try_clone_to_owned().unwrap();
        UnixStream::from(receiver).shutdown(std::net::Shutdown::Both).unwrap();
        assert!(!queue.has_space());
        assert!(queue.take().is_none());
        assert_eq!(queue.announced(), []);
    }

    #[test]
    fn announced_listeners_are_read_once_and_damaged_announcements_do_no_harm() {
        let queue = ConnectionQueue::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let id = SocketId::of(listener.as_fd()).unwrap();
        assert_eq!(queue.announced(), []);
        queue.announce(id);
        queue.announce(id);
        assert_eq!(queue.announced(), [id]);
        queue.receiver.send(&[IoSlice::new(b"abc")], &[listener.as_fd()]).unwrap();
        assert_eq!(queue.announced(), []);
        queue.announce(id);
        assert_eq!(queue.announced(), [id]);
    }
}
