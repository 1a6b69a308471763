//! The commands that the supervisor sends to the fork server. They are a trait, so that tests can run
//! the supervisor with a fake that only records them.

use daemon_core::ScoreboardReader;
use daemon_forkserver::{ChildId, ForkError, ForkServer, ForkServerError, Transfer};
use daemon_sys::process::Signal;

use super::oom_kills::OomKillCounter;

/// Carries out what the supervisor decides.
pub(crate) trait ProcessControl<R> {
    /// Requests a fork of a child with this request.
    fn fork(&mut self, request: R) -> Result<ChildId, ForkError<R>>;
    /// Signals one child.
    fn signal(&mut self, child: ChildId, signal: Signal);
    /// Signals all children.
    fn signal_all(&mut self, signal: Signal);
    /// Notifies the fork server that no more children will be forked.
    fn release(&mut self);
    /// Has the fork server check whether a child still exists, and report its exit if it does not.
    fn check_child(&mut self, child: ChildId);
    /// Returns whether the OOM killer has killed a process since the last call.
    fn oom_kills(&mut self) -> OomKills;
    /// Returns the scoreboard.
    fn board(&self) -> ScoreboardReader;
}

/// Whether there is an OOM kill that no exit accounts for yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OomKills {
    /// The counter of OOM kills has increased.
    New,
    /// The counter has not increased, or cannot be read.
    Unchanged,
}

/// The real implementation: a fork server. `lost` keeps its first failure until the actor takes it.
#[derive(Debug)]
pub(crate) struct ForkServerControl<R> {
    pub(crate) fork_server: ForkServer<R>,
    pub(crate) lost: Option<ForkServerError>,
    pub(crate) oom_kills: OomKillCounter,
}

impl<R: Transfer> ForkServerControl<R> {
    fn keep_error(&mut self, done: Result<(), ForkServerError>) {
        if let Err(error) = done {
            self.lost.get_or_insert(error);
        }
    }
}

impl<R: Transfer> ProcessControl<R> for ForkServerControl<R> {
    fn fork(&mut self, request: R) -> Result<ChildId, ForkError<R>> {
        self.fork_server.fork(request)
    }

    fn signal(&mut self, child: ChildId, signal: Signal) {
        let done = self.fork_server.signal(child, signal);
        self.keep_error(done);
    }

    fn signal_all(&mut self, signal: Signal) {
        let done = self.fork_server.signal_all(signal);
        self.keep_error(done);
    }

    fn release(&mut self) {
        let done = self.fork_server.release();
        self.keep_error(done);
    }

    fn check_child(&mut self, child: ChildId) {
        let done = self.fork_server.check_child(child);
        self.keep_error(done);
    }

    fn oom_kills(&mut self) -> OomKills {
        self.oom_kills.claim()
    }

    fn board(&self) -> ScoreboardReader {
        self.fork_server.board()
    }
}
