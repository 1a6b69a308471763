//! The connections that the manager has taken from a listener that it shuts down, for the workers
//! that are left.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use daemon_sys::link::{self, LinkEnd, OneMessage, is_shortage};
use daemon_sys::listen::accept;
use daemon_sys::poll::{Interest, wait};

/// The manager's side: a socket pair that workers inherit.
///
/// A worker that is asked to stop leaves when the queue of its listener is empty. If the manager
/// only took connections from there, a worker could leave while the manager holds one. Therefore
/// the manager first makes the listener refuse new connections, which workers can see, and a worker
/// that finds an empty queue then waits for the end of the handover.
#[derive(Debug)]
pub(crate) struct Handover {
    sender: LinkEnd,
    receiver: LinkEnd,
    /// A connection for which there was no space.
    held: Option<OwnedFd>,
}

/// The side of a worker.
#[derive(Debug)]
pub(crate) struct HandoverReceiver(LinkEnd);

impl Handover {
    pub(crate) fn new() -> Result<Handover, daemon_sys::Error> {
        let (sender, receiver) = link::pair()?;
        sender.grow_send_buffer();
        Ok(Handover { sender, receiver, held: None })
    }

    /// Takes the connections that wait in the queue of the listener. Returns `false` if some are
    /// left because there is no space or no free descriptor.
    pub(crate) fn take_all(&mut self, listener: BorrowedFd<'_>) -> bool {
        loop {
            let connection =
                match self.held.take().map_or_else(|| accept(listener), |c| Ok(Some(c))) {
                    Ok(Some(connection)) => connection,
                    Ok(None) => return true,
                    Err(error) => return !is_shortage(&error),
                };
            if self.sender.send_one(connection.as_fd()).is_err() {
                self.held = Some(connection);
                return false;
            }
        }
    }

    /// Closes the connections that no worker has taken, and returns how many there were.
    pub(crate) fn discard(&mut self) -> usize {
        let queued = std::iter::from_fn(|| match self.receiver.receive_one() {
            Ok(OneMessage::Descriptor(connection)) => Some(connection),
            Ok(OneMessage::Byte | OneMessage::Closed) | Err(_) => None,
        });
        queued.chain(self.held.take()).count()
    }

    /// Tells workers that no connection follows.
    pub(crate) fn end(&self) -> Result<(), daemon_sys::Error> {
        link::shutdown_write(&self.sender)
    }

    /// Returns the side of a new worker. Only the manager keeps the sender open, so a worker also
    /// sees the end if the manager is killed.
    pub(crate) fn into_receiver(self) -> HandoverReceiver {
        HandoverReceiver(self.receiver)
    }
}

impl HandoverReceiver {
    /// Returns the next connection that the manager hands over, and waits for it. Returns `None`
    /// after the last one.
    pub(crate) fn next(&self) -> io::Result<Option<OwnedFd>> {
        loop {
            match self.0.receive_one() {
                Ok(OneMessage::Descriptor(connection)) => return Ok(Some(connection)),
                Ok(OneMessage::Byte | OneMessage::Closed) => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    wait(&[(self.0.as_fd(), Interest::Read)], None).map_err(io::Error::other)?;
                }
                Err(error) => return Err(error),
            }
        }
    }
}
