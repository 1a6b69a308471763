//! The control socket: a Unix socket through which an operator queries and controls the daemon.
//!
//! The control socket is enabled with [`DaemonBuilder::control`](crate::DaemonBuilder::control).
//! The socket is bound at the launch with mode 0600, and only the parent has it open. The parent
//! serves the socket from the start of the daemon's actor until the daemon has stopped, even while
//! the daemon is stopping and while no children can be forked. See [`protocol`] for the messages.

mod clients;
mod server;

pub use daemon_protocol as protocol;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) use server::parse as parse_request;
pub(crate) use server::{ControlServer, ControlSocket, ControlTarget, fault};
