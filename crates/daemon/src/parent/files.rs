//! The files of the parent: the pid file, the control socket and the file of the scoreboard. Cleaners
//! of temporary files and operators can remove them while the daemon runs.

use std::time::Duration;

use actix::fut::WrapFuture;
use actix::{ActorFutureExt, AsyncContext, Context};
use daemon_forkserver::{Transfer, now};
use daemon_sys::ownfile::OwnFile;
use daemon_sys::pidfile::PidFile;
use daemon_sys::process::this_pid;
use slog::{error, info};

use super::DaemonActor;
use crate::blocking::blocking;
use crate::control::ControlServer;
use crate::start_files::StartFiles;

/// How long a check waits for the file system. A check that takes longer is skipped.
const CHECK_MAX: Duration = Duration::from_secs(2);

impl<R: Transfer + Send> DaemonActor<R> {
    /// Restores the files that are missing. Looks for them on another thread, because a file system
    /// can block.
    pub(super) fn check_files(&mut self, ctx: &mut Context<Self>) {
        let files: Vec<OwnFile> = self.files().cloned().collect();
        if files.is_empty() {
            return;
        }
        let check = blocking(CHECK_MAX, move || files.iter().all(OwnFile::is_in_place));
        ctx.spawn(check.into_actor(self).map(|are_in_place, daemon, _ctx| {
            if are_in_place == Some(false) {
                let failures = daemon.restore_files();
                // Otherwise each scan would log what cannot be restored.
                if !failures.is_empty() && daemon.files_log.should_log(now()) {
                    daemon.log_failures(&failures);
                }
            }
        }));
    }

    fn files(&self) -> impl Iterator<Item = &OwnFile> {
        let board = self.processes.fork_server.as_ref().and_then(|server| server.board_file());
        let pidfile = self.files.as_ref().and_then(StartFiles::pidfile).map(PidFile::own_file);
        let control = self.control.as_ref().map(ControlServer::file);
        board.into_iter().chain(pidfile).chain(control)
    }

    /// Brings the control socket and the pid file back if they are not at their paths. Returns what
    /// is not possible.
    pub(super) fn restore_files(&mut self) -> Vec<String> {
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
