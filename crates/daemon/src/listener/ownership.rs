//! Whether a listener belongs to this daemon alone.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use daemon_sys::listen::is_inherited;

use super::{Listen, sealed};

/// Whether a listener belongs to this daemon alone, which decides what happens to the queue of the
/// listener when the daemon stops gracefully.
///
/// By default, a listener that the process inherited when it was executed is shared: the listener
/// of a socket unit of systemd (`LISTEN_FDS`), one of Server::Starter (`SERVER_STARTER_PORT`), and
/// every other one that was open then. A listener that the program has bound itself is not,
/// also if it has the option `SO_REUSEPORT`, because such a listener has a queue of its own. Use
/// [`declare`](ListenerOwnership::declare) if this default is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListenerOwnership {
    /// No other program accepts connections from the listener. When the daemon stops, it refuses
    /// new connections, frees the address, and serves the connections that wait in the queue.
    Alone,
    /// Another program has the listener, too: the service manager, or another generation of the
    /// daemon. When the daemon stops, it closes the listener and leaves its queue alone. The
    /// connections in the queue wait for the other program.
    Shared,
}

impl ListenerOwnership {
    /// Returns the listener with this ownership in place of the default. Declare a listener
    /// [`Shared`](ListenerOwnership::Shared) that the program binds itself and then gives to
    /// another process, for example to systemd's descriptor store.
    pub fn declare<L: Listen>(self, listener: L) -> DeclaredListener<L> {
        DeclaredListener { listener, ownership: self }
    }

    /// Returns the ownership of a listener, as far as this process can know it.
    #[must_use]
    pub fn detect(listener: BorrowedFd<'_>) -> ListenerOwnership {
        if is_inherited(listener) { ListenerOwnership::Shared } else { ListenerOwnership::Alone }
    }
}

/// A listener whose ownership the program has declared, see [`ListenerOwnership::declare`].
#[derive(Debug)]
pub struct DeclaredListener<L> {
    listener: L,
    ownership: ListenerOwnership,
}

impl<L: Listen> From<DeclaredListener<L>> for OwnedFd {
    fn from(declared: DeclaredListener<L>) -> OwnedFd {
        declared.listener.into()
    }
}

impl<L: Listen> AsFd for DeclaredListener<L> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl<L: Listen> sealed::Sealed for DeclaredListener<L> {}

impl<L: Listen> Listen for DeclaredListener<L> {
    type Socket = L::Socket;

    fn ownership(&self) -> ListenerOwnership {
        self.ownership
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listener_that_the_program_has_bound_is_its_own_unless_declared_shared() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(ListenerOwnership::detect(listener.as_fd()), ListenerOwnership::Alone);
        assert_eq!(listener.ownership(), ListenerOwnership::Alone);
        let declared = ListenerOwnership::Shared.declare(listener);
        assert_eq!(declared.ownership(), ListenerOwnership::Shared);
    }
}
