//! Whether a listener belongs to this daemon alone.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::OnceLock;

use daemon_service::systemd;
use daemon_sys::environment;
use daemon_sys::listen::{SocketId, open_listeners};

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
        let inherited = INHERITED.get().map_or(&[][..], Vec::as_slice);
        let is_inherited = !inherited.is_empty()
            // If the system does not number sockets, it may be any of those that were inherited.
            && SocketId::of(listener).is_none_or(|id| inherited.contains(&Some(id)));
        if is_inherited { ListenerOwnership::Shared } else { ListenerOwnership::Alone }
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

/// The listening sockets that this process has inherited. Children inherit the list.
static INHERITED: OnceLock<Vec<Option<SocketId>>> = OnceLock::new();

/// Records which listening sockets this process has inherited. Call this function before the
/// process id, the environment or the descriptors are changed. Only the first call has an effect.
pub(crate) fn record_inherited_listeners() -> Result<(), daemon_sys::Error> {
    if INHERITED.get().is_none() {
        let variables = environment::initial(["LISTEN_PID", "LISTEN_FDS", "SERVER_STARTER_PORT"]);
        let passed = passed_numbers(std::process::id(), variables);
        let mut open = open_listeners()?;
        open.retain(|open| open.is_inherited || passed.contains(&open.number));
        // Another thread can have recorded the same list.
        let _ = INHERITED.set(open.iter().map(|open| open.id).collect());
    }
    Ok(())
}

/// Returns the numbers of the descriptors that the process `own` was passed, from the values of
/// `LISTEN_PID`, `LISTEN_FDS` and `SERVER_STARTER_PORT`. Invalid values pass none. A library may
/// have set the descriptors close-on-exec already.
fn passed_numbers(own: u32, [pid, count, starter]: [Option<String>; 3]) -> Vec<RawFd> {
    let passed = systemd::fd_numbers(pid.as_deref(), count.as_deref(), own).unwrap_or_default();
    let starter = starter.unwrap_or_default();
    // For example `127.0.0.1:80=3;/run/socket=4`.
    let started = starter.split(';').filter_map(|port| port.rsplit_once('=')?.1.parse().ok());
    passed.chain(started).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn descriptors_are_those_of_the_service_manager_and_of_server_starter() {
        for (variables, expected) in [
            ([None, None, None], &[][..]),
            ([Some("7"), Some("2"), None], &[3, 4]),
            ([Some("8"), Some("2"), None], &[]),
            ([None, Some("2"), None], &[]),
            ([Some("7"), Some("many"), None], &[]),
            ([Some("7"), Some("-2"), None], &[]),
            ([Some("7"), Some("4097"), None], &[]),
            ([None, None, Some("127.0.0.1:80=3;/run/a=b=4;8080=5")], &[3, 4, 5]),
            ([Some("7"), Some("1"), Some("80;=;80=x;[::1]:80=9")], &[3, 9]),
        ] {
            let values = variables.map(|value| value.map(str::to_owned));
            assert_eq!(passed_numbers(7, values), expected, "{variables:?}");
        }
    }

    #[test]
    fn a_listener_that_the_program_has_bound_is_its_own_unless_declared_shared() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(ListenerOwnership::detect(listener.as_fd()), ListenerOwnership::Alone);
        assert_eq!(listener.ownership(), ListenerOwnership::Alone);
        let declared = ListenerOwnership::Shared.declare(listener);
        assert_eq!(declared.ownership(), ListenerOwnership::Shared);
    }
}
