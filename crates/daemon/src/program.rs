//! The trait that a program implements to run as a daemon.

use std::error::Error;

use actix::{Addr, Recipient};
use daemon_forkserver::Transfer;

use crate::child::ChildActor;
use crate::messages::DaemonChild;
use crate::parent::DaemonActor;

/// A program that runs as a daemon.
///
/// Before the launch there is one value of this type. After the launch the parent and each child
/// have a copy, because fork(2) copies memory. Each process uses the parts that it needs and drops
/// the others. For example, a listener that is bound before the launch is open in every process
/// until the process drops it.
///
/// # Examples
///
/// See the [crate's front page](crate).
pub trait Program: Sized + 'static {
    /// The request that a child receives when it is forked; `()` if the children accept their
    /// requests themselves.
    type Request: Transfer + Send;

    /// Loads data that all children share. Runs once in the fork server, before the first child is
    /// forked.
    ///
    /// The data takes no memory in the parent. This method must not start threads.
    ///
    /// # Errors
    ///
    /// If this method returns an error, the launch fails and
    /// [`DaemonBuilder::launch`](crate::DaemonBuilder::launch) returns the error.
    fn preload(&mut self) -> Result<(), Box<dyn Error>> {
        Ok(())
    }

    /// Starts the parent's sessions, inside the parent's System. The daemon's actor is running
    /// already.
    ///
    /// The parent may keep or drop the program. A pre-forking parent does not need the listener. If
    /// the parent drops the listener here, the listener stays open only in the fork server and in
    /// the children, which accept the connections.
    fn parent(self, daemon: Addr<DaemonActor<Self::Request>>) {
        let _nothing_to_start = (self, daemon);
    }

    /// Starts the session of a child, inside the child's own System, and returns the recipient of
    /// its [`DaemonChild`].
    ///
    /// A post-forked child does not need the listener. If the child drops the listener here, the
    /// listener is closed in this child before the request is handled.
    fn child(self, daemon: Addr<ChildActor>) -> Recipient<DaemonChild<Self::Request>>;
}
