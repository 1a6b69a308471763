//! The processes of the daemon as the parent controls them: the fork server with the children, and
//! the foreign children, which the program has started itself.

use std::time::Duration;

use daemon_core::{OperatorPause, Phase, ScoreboardReader};
use daemon_forkserver::{ChildId, ForkError, ForkServer, ForkServerError, Transfer};
use daemon_sys::pidfd::PidFd;
use daemon_sys::process::{Pid, Signal};
use slog::{Logger, warn};

use super::oom_kills::OomKillCounter;
use crate::messages::ForeignChildError;
use crate::panics::Containment;
use crate::supervisor::ProcessControl;

/// Carries out the decisions of the supervisor.
#[derive(Debug)]
pub(crate) struct Processes<R> {
    /// The fork server; `None` in a daemon without children.
    pub(crate) fork_server: Option<ForkServer<R>>,
    /// The first failure of the fork server, until the actor takes it.
    pub(super) lost: Option<ForkServerError>,
    pub(super) oom_kills: OomKillCounter,
    /// The foreign children whose exit has not been detected yet.
    foreign: Vec<PidFd>,
    log: Logger,
}

impl<R: Transfer> Processes<R> {
    pub(crate) fn new(fork_server: Option<ForkServer<R>>, log: Logger) -> Self {
        let oom_kills = OomKillCounter::of_this_cgroup();
        Processes { fork_server, lost: None, oom_kills, foreign: Vec::new(), log }
    }

    /// Runs a command of the fork server, and keeps its error. Does nothing without a fork server.
    pub(super) fn command(
        &mut self,
        command: impl FnOnce(&mut ForkServer<R>) -> Result<(), ForkServerError>,
    ) {
        if let Some(fork_server) = &mut self.fork_server
            && let Err(error) = command(fork_server)
        {
            self.lost.get_or_insert(error);
        }
    }

    /// Makes the fork server check whether a child still exists. If the child is gone, the fork
    /// server reports its exit.
    pub(super) fn check_child(&mut self, child: ChildId) {
        self.command(|fork_server| fork_server.check_child(child));
    }

    /// Adds a foreign child and returns its pidfd. The pidfd refers to this process even after the
    /// pid is reused.
    pub(super) fn adopt_foreign(&mut self, pid: Pid) -> Result<&PidFd, ForeignChildError> {
        let handle = PidFd::open(pid).map_err(|source| ForeignChildError { pid, source })?;
        self.foreign.retain(|known| known.pid() != pid);
        self.foreign.push(handle);
        Ok(&self.foreign[self.foreign.len() - 1])
    }

    /// Removes the foreign children that have exited and returns their pids.
    pub(super) fn remove_exited_foreign(&mut self) -> Vec<Pid> {
        let has_exited = |handle: &mut PidFd| handle.has_exited().unwrap_or(false);
        self.foreign.extract_if(.., has_exited).map(|handle| handle.pid()).collect()
    }

    pub(super) fn foreign_pids(&self) -> Vec<Pid> {
        self.foreign.iter().map(PidFd::pid).collect()
    }
}

impl<R: Transfer> ProcessControl<R> for Processes<R> {
    fn fork(&mut self, request: R) -> Result<ChildId, ForkError<R>> {
        match &mut self.fork_server {
            Some(fork_server) => {
                // A panic in `encode` is an error of this request.
                let _contained = Containment::enter();
                fork_server.fork(request)
            }
            None => Err(ForkError { request, reason: ForkServerError::Full { slots: 0 } }),
        }
    }

    fn signal(&mut self, child: ChildId, signal: Signal) {
        self.command(|fork_server| fork_server.signal(child, signal));
    }

    fn signal_all(&mut self, signal: Signal) {
        self.command(|fork_server| fork_server.signal_all(signal));
    }

    fn signal_foreign(&mut self, signal: Signal) {
        for handle in &self.foreign {
            // The process may have exited already, or may belong to another user now. Both errors
            // are ignored.
            let _ = handle.signal(signal);
        }
    }

    fn has_foreign(&self) -> bool {
        !self.foreign.is_empty()
    }

    fn release(&mut self) {
        self.command(ForkServer::release);
    }

    fn shut_down(&mut self, grace: Duration) {
        self.command(|fork_server| fork_server.shut_down(grace));
    }

    fn reap_fork_server(&mut self) -> bool {
        match self.fork_server.as_ref().map(ForkServer::reap) {
            None | Some(Ok(Some(_))) => true,
            Some(Ok(None)) => false,
            Some(Err(error)) => {
                warn!(self.log, "cannot reap the fork server"; "error" => error.to_string());
                true
            }
        }
    }

    fn signal_orphans(&mut self, signal: Signal) {
        if let Some(fork_server) = &mut self.fork_server
            && let Err(error) = fork_server.signal_orphaned(signal)
        {
            warn!(self.log, "cannot signal orphaned children"; "error" => error.to_string());
        }
    }

    fn orphans_are_gone(&mut self) -> bool {
        self.fork_server.as_mut().is_none_or(ForkServer::orphaned_are_gone)
    }

    fn take_pending(&mut self) -> Vec<(ChildId, R)> {
        self.fork_server.as_mut().map(ForkServer::take_pending).unwrap_or_default()
    }

    fn claim_oom_kill(&mut self) -> bool {
        self.oom_kills.claim()
    }

    fn publish(&mut self, phase: Phase, pause: OperatorPause) {
        if let Some(fork_server) = &self.fork_server {
            fork_server.scoreboard().set_phase(phase);
            fork_server.scoreboard().set_operator_pause(pause);
        }
    }

    fn board(&self) -> Option<ScoreboardReader> {
        self.fork_server.as_ref().map(ForkServer::board)
    }
}
