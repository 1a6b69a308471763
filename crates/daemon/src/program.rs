//! The user's program, as the daemon sees it.

use std::error::Error;

use actix::{Addr, Recipient};
use daemon_forkserver::Transfer;

use crate::child::ChildActor;
use crate::messages::DaemonChild;
use crate::parent::DaemonActor;

/// A program that a daemon does the housework for.
///
/// There is one value before the launch. Then the parent owns one copy and each child another, as
/// fork(2) copies memory, and each uses what it needs and drops the rest: a listener bound before
/// the launch is in every child for free, and is closed where it is dropped.
///
/// # Examples
///
/// See the [crate's front page](crate).
pub trait Program: Sized + 'static {
    /// What a post-forked child is handed; `()` in the other models.
    type Request: Transfer + Send;

    /// Runs once in the process that forks, before the first child: load here what all children
    /// share, and the parent stays small. It must not start threads.
    ///
    /// # Errors
    ///
    /// An error ends the launch, and [`DaemonBuilder::launch`](crate::DaemonBuilder::launch) answers with it.
    fn preload(&mut self) -> Result<(), Box<dyn Error>> {
        Ok(())
    }

    /// Starts the parent's sessions, inside its System. The daemon has started.
    ///
    /// The program is the parent's to keep or drop. A pre-forking parent has no use for the
    /// listener: dropped here, it is open only where connections are accepted.
    fn parent(self, daemon: Addr<DaemonActor<Self::Request>>) {
        let _nothing_to_start = (self, daemon);
    }

    /// Starts a child's session, inside the child's own System, and answers with where its
    /// [`DaemonChild`] goes.
    ///
    /// A post-forked child has no use for the listener either: dropped here, it is closed before
    /// the request comes.
    fn child(self, daemon: Addr<ChildActor>) -> Recipient<DaemonChild<Self::Request>>;
}
