//! The operator's way in: a Unix socket on which the parent answers, and what is said there.
//!
//! Set with [`DaemonBuilder::control`](crate::DaemonBuilder::control). The socket is bound at the launch, with
//! mode 0600, and held by the parent alone; it answers from the start of the daemon's actor until the
//! daemon has stopped, also while its pool cannot be staffed and while it stops.

mod commands;
mod connection;
mod lines;
mod listener;
pub mod protocol;
mod queue;
mod server;

pub(crate) use server::{ControlServer, ControlSocket};
