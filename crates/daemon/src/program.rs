//! The trait that a program implements to run as a daemon.

use std::error::Error;

use actix::{Addr, Recipient};
use daemon_forkserver::Transfer;

use crate::child::ChildActor;
use crate::messages::DaemonChild;
use crate::parent::DaemonActor;

/// A program that runs as a daemon.
///
/// Before the launch there is one value. After it the parent and each child have a copy, because fork(2)
/// copies memory. Each process uses the parts that it needs and drops the others. A listener that is
/// bound before the launch is therefore open in every process, and closed in those that drop it.
///
/// # Examples
///
/// See the [crate's front page](crate).
pub trait Program: Sized + 'static {
    /// The request that a post-forked child receives; `()` in the other models.
    type Request: Transfer + Send;

    /// Loads what all children share. Runs once in the fork server, before the first child is forked.
    ///
    /// What is loaded here takes no memory in the parent. It must not start threads.
    ///
    /// # Errors
    ///
    /// An error makes the launch fail: [`DaemonBuilder::launch`](crate::DaemonBuilder::launch) returns it.
    fn preload(&mut self) -> Result<(), Box<dyn Error>> {
        Ok(())
    }

    /// Starts the sessions of the parent, inside its System. The daemon's actor is running already.
    ///
    /// The parent may keep or drop the program. A pre-forking parent does not need the listener: if it is
    /// dropped here, it remains open only in the children, which accept from it.
    fn parent(self, daemon: Addr<DaemonActor<Self::Request>>) {
        let _nothing_to_start = (self, daemon);
    }

    /// Starts the session of a child, inside the child's own System, and returns the recipient of its
    /// [`DaemonChild`].
    ///
    /// A post-forked child does not need the listener: if it is dropped here, it is closed before the
    /// request is handled.
    fn child(self, daemon: Addr<ChildActor>) -> Recipient<DaemonChild<Self::Request>>;
}
