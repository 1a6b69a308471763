//! The pid file, which contains the daemon's pid and is locked while the daemon is running.
//!
//! Only the lock decides whether a daemon is running. The system releases the lock when its holder
//! exits for any reason, so a stale file does not prevent a start.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use crate::error::{Error, Result};
use crate::privileges::{Privileges, act_as};
use crate::process::Pid;
use crate::protected;

/// A pid file that this process has locked.
///
/// Forked processes share the lock, which is held as long as any process has a copy of the
/// `PidFile`. Each forked process must therefore call [`close`](PidFile::close). Otherwise a daemon
/// that has died cannot be restarted while one of its forked processes still runs. Dropping the
/// last copy releases the lock but does not remove the file.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    file: File,
}

impl PidFile {
    /// Opens and locks the file for a daemon that will run as this user.
    ///
    /// The file belongs to this process's user, normally root, so that the daemon's user can
    /// neither lock nor change it. In a directory in which the daemon's user could replace the file
    /// anyway, it is claimed with the permissions of that user, because root must not write to a
    /// path that another user controls.
    ///
    /// # Errors
    ///
    /// As for [`claim`](PidFile::claim).
    pub fn claim_for(path: impl AsRef<Path>, user: &Privileges) -> Result<PidFile> {
        let given = path.as_ref();
        let protected = protected::is_protected_from(given, user)
            .map_err(|error| Error::os(format!("claim pid file {}", given.display()), error))?;
        if protected { PidFile::claim(given) } else { act_as(user, || PidFile::claim(given))? }
    }

    /// Opens and locks the file. It has mode 0600, because every user who may read a file may also
    /// lock it. The contents do not change until [`write`](PidFile::write) is called.
    ///
    /// Claim the pid file before detaching, so that an error is printed to the terminal. Symbolic
    /// links are not followed, because in a directory that other users can write to, a link could
    /// make root write to any file. For the same reason a file that belongs to another user, has
    /// other names (hard links), or is not a regular file is refused.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyRunning`] if another process holds the lock. [`Error::Os`] if the file
    /// cannot be opened or locked, or is refused.
    pub fn claim(path: impl AsRef<Path>) -> Result<PidFile> {
        let given = path.as_ref();
        let action = || format!("claim pid file {}", given.display());
        let path = std::path::absolute(given).map_err(|error| Error::os(action(), error))?;
        loop {
            let mut file = open(&path).map_err(|error| Error::os(action(), error))?;
            make_own(&file).map_err(|error| Error::os(action(), error))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let pid = read_pid(&mut file);
                    return Err(Error::AlreadyRunning { file: path, pid });
                }
                Err(TryLockError::Error(error)) => return Err(Error::os(action(), error)),
            }
            // The previous holder may have removed the file between the open and the lock.
            let claimed = PidFile { path: path.clone(), file };
            if claimed.is_in_place() {
                return Ok(claimed);
            }
        }
    }

    /// Replaces the file's contents with this pid.
    ///
    /// # Errors
    ///
    /// If the write fails, for example because the disk is full.
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

    /// Removes the file. Call this method when the daemon exits. If the file cannot be removed, for
    /// example because only root may write to its directory, it is truncated instead. If
    /// another file has replaced the pid file at the path, that file is kept.
    ///
    /// # Errors
    ///
    /// If the file cannot be truncated either.
    pub fn release(self) -> Result<()> {
        if !self.is_in_place() || fs::remove_file(&self.path).is_ok() {
            return Ok(());
        }
        let action = || format!("truncate pid file {}", self.path.display());
        self.file.set_len(0).map_err(|error| Error::os(action(), error))
    }

    /// Closes this process's copy. The lock stays held as long as another process has a copy.
    pub fn close(self) {
        drop(self);
    }

    fn is_in_place(&self) -> bool {
        let identity = |file: fs::Metadata| (file.dev(), file.ino());
        match (fs::symlink_metadata(&self.path), self.file.metadata()) {
            (Ok(at_path), Ok(open)) => identity(at_path) == identity(open),
            (Err(_), _) | (_, Err(_)) => false,
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NOCTTY | libc::O_NONBLOCK).open(path)
}

/// Refuses a file that other users can change, and makes the file inaccessible to other users.
fn make_own(file: &File) -> io::Result<()> {
    let found = file.metadata()?;
    let refuse = |reason: String| Err(io::Error::other(reason));
    if !found.is_file() {
        return refuse("it is not a regular file".into());
    }
    if found.uid() != geteuid().as_raw() {
        return refuse(format!("it belongs to user {}; remove it first", found.uid()));
    }
    // A file that the previous holder has just removed has no name.
    if found.nlink() > 1 {
        return refuse(format!("it has {} names (hard links)", found.nlink()));
    }
    if found.mode() & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

fn read_pid(file: &mut File) -> Option<Pid> {
    let mut bytes = Vec::new();
    file.take(32).read_to_end(&mut bytes).ok()?;
    parse_pid(&bytes)
}

/// Returns the pid in the contents of a pid file.
pub(crate) fn parse_pid(bytes: &[u8]) -> Option<Pid> {
    Pid::from_raw(str::from_utf8(bytes).ok()?.trim().parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::this_pid;

    fn pid_path() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.pid");
        (dir, path)
    }

    #[test]
    fn a_second_claim_is_refused_with_the_pid_of_the_holder() {
        let (_dir, path) = pid_path();
        let mut first = PidFile::claim(&path).expect("claimed");
        let early = PidFile::claim(&path).expect_err("refused");
        assert!(matches!(early, Error::AlreadyRunning { pid: None, .. }), "{early}");
        first.write(this_pid()).expect("written");
        let error = PidFile::claim(&path).expect_err("refused").to_string();
        let (pid, file) = (this_pid(), path.display());
        assert_eq!(error, format!("already running as process {pid}: pid file {file} is locked"));
    }

    #[test]
    fn a_stale_file_is_claimed_and_invalid_contents_are_not_read_as_a_pid() {
        let (_dir, path) = pid_path();
        fs::write(&path, "12345678 and more than a number").expect("written");
        let mut claimed = PidFile::claim(&path).expect("claimed");
        let error = PidFile::claim(&path).expect_err("refused");
        assert!(matches!(error, Error::AlreadyRunning { pid: None, .. }), "{error}");
        claimed.write(this_pid()).expect("written");
        assert_eq!(
            fs::read_to_string(&path).expect("the file exists"),
            format!("{}\n", this_pid())
        );
        drop(claimed);
        assert!(path.exists());
        PidFile::claim(&path).expect("claimed again");
    }

    #[test]
    fn release_removes_the_file_unless_it_was_replaced() {
        let (_dir, path) = pid_path();
        PidFile::claim(&path).expect("claimed").release().expect("removed");
        assert!(!path.exists());
        let previous = PidFile::claim(&path).expect("claimed");
        fs::remove_file(&path).expect("the file exists");
        let _present = PidFile::claim(&path).expect("claimed");
        previous.release().expect("released");
        assert!(path.exists());
    }

    #[test]
    fn a_file_with_several_names_or_of_another_kind_is_refused_and_stays_as_it_is() {
        let (dir, path) = pid_path();
        let precious = dir.path().join("precious");
        fs::write(&precious, "12").expect("written");
        fs::hard_link(&precious, &path).expect("linked");
        let refused = PidFile::claim(&path).expect_err("refused").to_string();
        assert!(refused.ends_with(": it has 2 names (hard links)"), "{refused}");
        assert_eq!(fs::read_to_string(&precious).expect("the file exists"), "12");
        let refused = PidFile::claim("/dev/null").expect_err("refused").to_string();
        assert_eq!(refused, "cannot claim pid file /dev/null: it is not a regular file");
    }

    #[test]
    fn other_users_may_not_read_the_file_so_they_cannot_lock_it() {
        let (_dir, path) = pid_path();
        fs::write(&path, "1").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("changed");
        let _claimed = PidFile::claim(&path).expect("claimed");
        let mode = fs::metadata(&path).expect("the file exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_symbolic_link_is_not_followed() {
        let (dir, path) = pid_path();
        std::os::unix::fs::symlink(dir.path().join("precious"), &path).expect("linked");
        PidFile::claim(&path).expect_err("refused");
        assert!(!dir.path().join("precious").exists());
    }
}
