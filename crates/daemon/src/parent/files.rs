//! The files of the parent: the pid file, the control socket and the file of the scoreboard.
//! Cleaners of temporary files and operators can remove them while the daemon runs.

use std::time::Duration;

use actix::fut::WrapFuture;
use actix::{ActorFutureExt, AsyncContext, Context};
use daemon_forkserver::{Transfer, now};
use daemon_sys::ownfile::OwnFile;
use daemon_sys::process::this_pid;
use slog::{error, info};

use super::DaemonActor;
use crate::blocking::{BlockingCalls, NoResult};
use crate::control::ControlServer;
use crate::start_files::StartFiles;

/// Checks of files. One that does not return prevents further checks, and nothing else.
static CHECKS: BlockingCalls = BlockingCalls::new();

/// How long a check waits for the file system.
const CHECK_MAX: Duration = Duration::from_secs(2);

impl<R: Transfer + Send> DaemonActor<R> {
    /// Checks the files, and restores those that are missing.
    pub(super) fn check_files(&mut self, ctx: &mut Context<Self>) {
        let check = self.are_files_intact().into_actor(self);
        ctx.spawn(check.map(|are_intact, daemon, _ctx| {
            let failures = daemon.restore_files(are_intact);
            // Otherwise each scan would log what cannot be restored.
            if !failures.is_empty() && daemon.files_log.should_log(now()) {
                daemon.log_failures(&failures);
            }
        }));
    }

    /// Returns whether the files are at their paths, and the pid file contains the pid. Finds out
    /// on another thread, because a file system can block.
    pub(super) fn are_files_intact(&self) -> impl Future<Output = Result<bool, NoResult>> + use<R> {
        let board = self.processes.fork_server.as_ref().and_then(|server| server.board_file());
        let control = self.control.as_ref().map(ControlServer::file);
        let files: Vec<OwnFile> = board.into_iter().chain(control).cloned().collect();
        let pidfile = self.files.as_ref().and_then(StartFiles::pidfile);
        let pidfile = pidfile.map(|pidfile| pidfile.check(this_pid()));
        CHECKS.run(CHECK_MAX, move || {
            files.iter().all(OwnFile::is_in_place) && pidfile.is_none_or(|check| check())
        })
    }

    /// Restores the control socket and the pid file, unless the files are intact. Returns what is
    /// not possible.
    pub(super) fn restore_files(&mut self, are_intact: Result<bool, NoResult>) -> Vec<String> {
        match are_intact {
            Ok(true) => return Vec::new(),
            Ok(false) => {}
            Err(error) => return vec![format!("cannot check the files: {error}")],
        }
        let mut failures = Vec::new();
        let log = &self.log;
        let mut restored = |path: String, result: Result<bool, daemon_sys::Error>| match result {
            Ok(true) => info!(log, "file restored"; "path" => path),
            Ok(false) => {}
            Err(error) => failures.push(error.to_string()),
        };
        if let Some(control) = &mut self.control {
            restored(control.file().path().display().to_string(), control.restore());
        }
        if let Some(pidfile) = self.files.as_mut().and_then(StartFiles::pidfile_mut) {
            let path = pidfile.own_file().path().display().to_string();
            restored(path, pidfile.restore(this_pid()));
        }
        let board = self.processes.fork_server.as_ref().and_then(|server| server.board_file());
        if let Some(board) = board.filter(|board| !board.is_in_place()) {
            failures.push(format!(
                "board file {} was removed or replaced; the next start writes a new one",
                board.path().display()
            ));
        }
        failures
    }

    pub(super) fn log_failures(&self, failures: &[String]) {
        for failure in failures {
            error!(self.log, "cannot restore a file"; "error" => failure);
        }
    }
}
