//! The commands that the supervisor sends to the fork server. They form a trait, so that tests can
//! run the supervisor with a fake that only records the commands.

use daemon_core::ScoreboardReader;
use daemon_forkserver::{ChildId, ForkError, ForkServer, ForkServerError, Transfer};
use daemon_sys::process::Signal;

use super::oom_kills::OomKillCounter;

/// Carries out the decisions of the supervisor.
pub(crate) trait ProcessControl<R> {
    /// Requests the fork of a child that serves this request. If the fork cannot be requested, the
    /// error contains the request.
    fn fork(&mut self, request: R) -> Result<ChildId, ForkError<R>>;
    /// Signals one child.
    fn signal(&mut self, child: ChildId, signal: Signal);
    /// Signals all children.
    fn signal_all(&mut self, signal: Signal);
    /// Notifies the fork server that no more children will be forked.
    fn release(&mut self);
    /// Makes the fork server check whether a child still exists. If the child is gone, the fork
    /// server reports its exit.
    fn check_child(&mut self, child: ChildId);
    /// Claims one OOM kill for the exit of one child. Returns whether there was an unclaimed kill.
    fn oom_kills(&mut self) -> OomKills;
    /// Returns a reader of the scoreboard.
    fn board(&self) -> ScoreboardReader;
}

/// Whether there was an OOM kill that no child's exit had claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OomKills {
    /// There was such a kill, and it is claimed now.
    New,
    /// There was no such kill, or the counter of OOM kills cannot be read.
    Unchanged,
}

/// Implements [`ProcessControl`] with a fork server. `lost` keeps the first failure of the fork
/// server until the actor takes it.
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
