//! The files that a start claims or creates. A start that fails leaves none of them.

use std::path::Path;

use daemon_sys::new_file::{NewFile, RemoveIf};
use daemon_sys::pidfile::PidFile;
use daemon_sys::privileges::Privileges;
use daemon_sys::process::{Pid, this_pid};
use daemon_sys::socketfile::SocketFile;

/// The files that a start has claimed or created.
///
/// Dropping this value in the process that owns it removes the files, as far as they were not taken
/// or kept. Other processes have copies because they were forked; dropping a copy only closes its
/// descriptors.
#[derive(Debug)]
pub(crate) struct StartFiles {
    owner: Pid,
    user: Option<Privileges>,
    pidfile: Option<PidFile>,
    control: Option<SocketFile>,
    created: Vec<(NewFile, RemoveIf)>,
}

impl StartFiles {
    /// Creates an empty set, which this process owns. `user` is the user that the daemon runs as,
    /// if it changes its user.
    pub(crate) fn new(user: Option<&Privileges>) -> Self {
        StartFiles {
            owner: this_pid(),
            user: user.cloned(),
            pidfile: None,
            control: None,
            created: Vec::new(),
        }
    }

    /// Makes this process the owner, because it was forked from the previous owner, which exits.
    pub(crate) fn own(&mut self) {
        self.owner = this_pid();
    }

    pub(crate) fn add_pidfile(&mut self, pidfile: PidFile) {
        self.pidfile = Some(pidfile);
    }

    pub(crate) fn add_control(&mut self, control: SocketFile) {
        self.control = Some(control);
    }

    /// Adds a log that will be created if nothing exists at this path. It is removed only while it
    /// is empty, because its contents may say why the start failed.
    pub(crate) fn add_log(&mut self, path: &Path) {
        self.created.extend(NewFile::absent(path).map(|file| (file, RemoveIf::Empty)));
    }

    /// Adds a board file that will be created if nothing exists at this path.
    pub(crate) fn add_board(&mut self, path: &Path) {
        self.created.extend(NewFile::absent(path).map(|file| (file, RemoveIf::Always)));
    }

    pub(crate) fn pidfile(&self) -> Option<&PidFile> {
        self.pidfile.as_ref()
    }

    pub(crate) fn pidfile_mut(&mut self) -> Option<&mut PidFile> {
        self.pidfile.as_mut()
    }

    /// Takes the control socket, which its server removes from then on.
    pub(crate) fn take_control(&mut self) -> Option<SocketFile> {
        self.control.take()
    }

    /// Keeps the created files, because the daemon is ready.
    pub(crate) fn keep_created(&mut self) {
        self.created.clear();
    }

    /// Removes the files, as dropping does.
    ///
    /// # Errors
    ///
    /// The errors of [`PidFile::release`].
    pub(crate) fn finish(mut self) -> Result<(), daemon_sys::Error> {
        self.remove()
    }

    fn remove(&mut self) -> Result<(), daemon_sys::Error> {
        if this_pid() != self.owner {
            return Ok(());
        }
        // The error of the start is more important than a file that cannot be removed, for example
        // because the daemon has dropped its privileges. The next start replaces such a file.
        if let Some(control) = self.control.take() {
            let _ = control.release();
        }
        for (file, condition) in self.created.drain(..) {
            let _ = file.remove(condition, self.user.as_ref());
        }
        // Last, because the lock prevents a second start that would use the other files.
        self.pidfile.take().map_or(Ok(()), PidFile::release)
    }
}

impl Drop for StartFiles {
    fn drop(&mut self) {
        // The next start claims a pid file that cannot be removed, because it is not locked.
        let _ = self.remove();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::thread;

    use super::*;

    #[test]
    fn the_created_files_are_removed_before_another_start_can_claim_the_pid_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let pidfile = dir.path().join("pid");
        let boards: Vec<_> = (0..500).map(|board| dir.path().join(board.to_string())).collect();
        let mut files = StartFiles::new(None);
        let mut claimed = PidFile::claim(&pidfile).expect("claimed");
        // The second start does not wait for the pid.
        claimed.write(this_pid()).expect("written");
        files.add_pidfile(claimed);
        for board in &boards {
            files.add_board(board);
            fs::write(board, "").expect("written");
        }
        let second = thread::spawn(move || {
            let _claimed = loop {
                if let Ok(claimed) = PidFile::claim(&pidfile) {
                    break claimed;
                }
            };
            boards.into_iter().filter(|board| board.exists()).count()
        });
        files.finish().expect("removed");
        assert_eq!(second.join().expect("the thread ends"), 0);
    }
}
