//! The pid file: a lock that says that a daemon runs, and a number that says which.
//!
//! The lock is what counts. It goes with its holder, however that one ends, so a file that was left
//! behind is no obstacle.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::process::Pid;

/// A pid file that this process has locked.
///
/// Processes forked from now on share the lock, and hold it as long as they have their copy: each
/// calls [`close`](PidFile::close), or a daemon that died can't be started anew. Dropped, it
/// stays where it is, with its lock gone.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    file: File,
}

impl PidFile {
    /// Opens and locks the file, and makes it (mode 0644, less the umask) if it isn't there. What
    /// stands in it stays until [`write`](PidFile::write).
    ///
    /// Claim it before detaching, so that the refusal reaches the terminal. A symbolic link is not
    /// followed: in a directory that others may write it would lead root to any file.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyRunning`] if another process holds the lock; [`Error::Os`] if the file can't
    /// be opened.
    pub fn claim(path: impl AsRef<Path>) -> Result<PidFile> {
        let given = path.as_ref();
        let action = || format!("claim pid file {}", given.display());
        let path = std::path::absolute(given).map_err(|error| Error::os(action(), error))?;
        loop {
            let mut file = open(&path).map_err(|error| Error::os(action(), error))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let pid = written(&mut file);
                    return Err(Error::AlreadyRunning { file: path, pid });
                }
                Err(TryLockError::Error(error)) => return Err(Error::os(action(), error)),
            }
            // Its former holder may have removed it after we opened it and before we had the lock.
            let claimed = PidFile { path: path.clone(), file };
            if claimed.is_in_place() {
                return Ok(claimed);
            }
        }
    }

    /// Writes this number, in place of what stands there.
    ///
    /// # Errors
    ///
    /// If the disk is full, for one.
    pub fn write(&mut self, pid: Pid) -> Result<()> {
        let line = format!("{pid}\n");
        let write = || {
            self.file.write_all_at(line.as_bytes(), 0)?;
            self.file.set_len(line.len() as u64)
        };
        write().map_err(|error| {
            Error::os(format!("write pid {pid} to {}", self.path.display()), error)
        })
    }

    /// Removes the file, at the daemon's end. If that is not permitted, as in a directory of root's
    /// after privileges were dropped, it is emptied instead.
    ///
    /// # Errors
    ///
    /// If it can't be emptied either.
    pub fn release(self) -> Result<()> {
        if !self.is_in_place() || fs::remove_file(&self.path).is_ok() {
            return Ok(());
        }
        let action = || format!("empty pid file {}", self.path.display());
        self.file.set_len(0).map_err(|error| Error::os(action(), error))
    }

    /// Closes this process's copy; the lock stays with the others that have one.
    pub fn close(self) {
        drop(self);
    }

    fn is_in_place(&self) -> bool {
        let identity = |file: fs::Metadata| (file.dev(), file.ino());
        match (fs::symlink_metadata(&self.path), self.file.metadata()) {
            (Ok(there), Ok(ours)) => identity(there) == identity(ours),
            (Err(_), _) | (_, Err(_)) => false,
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o644);
    options.custom_flags(libc::O_NOFOLLOW).open(path)
}

fn written(file: &mut File) -> Option<Pid> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    Pid::from_raw(text.trim().parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.pid");
        (dir, path)
    }

    #[test]
    fn a_second_claim_is_refused_with_the_pid_of_the_first() {
        let (_dir, path) = place();
        let mut first = PidFile::claim(&path).expect("free");
        let early = PidFile::claim(&path).expect_err("refused");
        assert!(matches!(early, Error::AlreadyRunning { pid: None, .. }), "{early}");
        first.write(Pid::this()).expect("room");
        let error = PidFile::claim(&path).expect_err("refused").to_string();
        let (pid, file) = (Pid::this(), path.display());
        assert_eq!(error, format!("already running as process {pid}: pid file {file} is locked"));
    }

    #[test]
    fn a_file_left_behind_is_taken_over_and_garbage_in_it_is_no_pid() {
        let (_dir, path) = place();
        fs::write(&path, "12345678 and more than a number").expect("room");
        let mut claimed = PidFile::claim(&path).expect("free");
        let error = PidFile::claim(&path).expect_err("refused");
        assert!(matches!(error, Error::AlreadyRunning { pid: None, .. }), "{error}");
        claimed.write(Pid::this()).expect("room");
        assert_eq!(fs::read_to_string(&path).expect("there"), format!("{}\n", Pid::this()));
        drop(claimed);
        assert!(path.exists());
        PidFile::claim(&path).expect("free again");
    }

    #[test]
    fn released_it_is_gone_unless_it_is_another_s() {
        let (_dir, path) = place();
        PidFile::claim(&path).expect("free").release().expect("removed");
        assert!(!path.exists());
        let former = PidFile::claim(&path).expect("free");
        fs::remove_file(&path).expect("there");
        let _present = PidFile::claim(&path).expect("free");
        former.release().expect("nothing to do");
        assert!(path.exists());
    }

    #[test]
    fn a_symbolic_link_is_not_followed() {
        let (dir, path) = place();
        std::os::unix::fs::symlink(dir.path().join("precious"), &path).expect("a link");
        PidFile::claim(&path).expect_err("refused");
        assert!(!dir.path().join("precious").exists());
    }
}
