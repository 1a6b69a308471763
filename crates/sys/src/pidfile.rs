//! The pid file, which contains the daemon's pid and is locked while the daemon is running.
//!
//! Only the lock decides whether a daemon is running. The system releases the lock when its holder
//! exits for any reason, so a stale file does not prevent a start.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::unistd::geteuid;

use crate::error::{Error, Result};
use crate::ownfile::OwnFile;
use crate::place::{Entry, FileKind, Place, Trust};
use crate::privileges::{Privileges, act_as};
use crate::process::Pid;

/// How long a refused claim waits for the pid of the lock's holder, which writes it shortly after
/// it has locked the file.
const PID_WAIT: Duration = Duration::from_millis(500);
/// The interval at which a refused claim reads the pid.
const PID_CHECK_INTERVAL: Duration = Duration::from_millis(5);

/// A pid file that this process has locked.
///
/// Forked processes share the lock, which is held as long as any process has a copy of the
/// `PidFile`. Each forked process must therefore call [`close`](PidFile::close). Otherwise a daemon
/// that has died cannot be restarted while one of its forked processes still runs. Dropping the
/// last copy releases the lock but does not remove the file.
#[derive(Debug)]
pub struct PidFile {
    own: OwnFile,
    file: Arc<File>,
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
        if Place::is_protected_from(user, given) {
            PidFile::claim(given)
        } else {
            act_as(user, || PidFile::claim(given))?
        }
    }

    /// Opens and locks the file. It has mode 0600, because every user who may read a file may also
    /// lock it. It is empty until [`write`](PidFile::write) is called.
    ///
    /// Claim the pid file before detaching, so that an error is printed to the terminal. A file
    /// that belongs to another user, has other names (hard links), or is not a regular file is
    /// refused, and so is a symbolic link that another user could have put there.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyRunning`] if another process holds the lock. If that process has only just
    /// started, this function waits up to half a second for its pid. [`Error::Os`] if the file
    /// cannot be opened or locked, or is refused.
    pub fn claim(path: impl AsRef<Path>) -> Result<PidFile> {
        PidFile::claim_within(path.as_ref(), PID_WAIT)
    }

    /// Claims the file. If another process has locked it, waits this long for the pid of that
    /// process.
    fn claim_within(given: &Path, pid_wait: Duration) -> Result<PidFile> {
        let action = || format!("claim pid file {}", given.display());
        let path = std::path::absolute(given).map_err(|error| Error::os(action(), error))?;
        let deadline = Instant::now() + pid_wait;
        loop {
            let (mut file, own) = open(&path).map_err(|error| Error::os(action(), error))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let pid = read_pid(&mut file).filter(|pid| platform::has_open(*pid, &file));
                    if pid.is_none() && Instant::now() < deadline {
                        thread::sleep(PID_CHECK_INTERVAL);
                        continue;
                    }
                    return Err(Error::AlreadyRunning { file: path, pid });
                }
                Err(TryLockError::Error(error)) => return Err(Error::os(action(), error)),
            }
            // The previous holder may have removed the file between the open and the lock.
            if own.is_in_place() {
                // The pid of a previous holder must not be taken for the one of this daemon.
                file.set_len(0).map_err(|error| Error::os(action(), error))?;
                return Ok(PidFile { own, file: Arc::new(file) });
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
            Error::os(format!("write pid {pid} to {}", self.own.path().display()), error)
        })
    }

    /// Returns the path of the file, and whether the path leads to it.
    #[must_use]
    pub fn own_file(&self) -> &OwnFile {
        &self.own
    }

    /// Makes sure that the path leads to the locked file, and that the file contains this pid. If
    /// the file was removed, or replaced by a file of the same user that no process has locked,
    /// claims the path again. Returns whether anything had to be done.
    ///
    /// # Errors
    ///
    /// As for [`claim`](PidFile::claim) and [`write`](PidFile::write). The lock on the previous
    /// file is then kept.
    pub fn restore(&mut self, pid: Pid) -> Result<bool> {
        if self.check(pid)() {
            return Ok(false);
        }
        if !self.own.is_in_place() {
            *self = PidFile::claim_within(self.own.path(), Duration::ZERO)?;
        }
        self.write(pid)?;
        Ok(true)
    }

    /// Returns a function that returns whether the path leads to the locked file, and the file
    /// contains this pid. Another thread can call it, because the file system may block.
    ///
    /// The function has a copy of the file, so the lock is held until it is dropped.
    pub fn check(&self, pid: Pid) -> impl FnOnce() -> bool + Send + use<> {
        let (own, file) = (self.own.clone(), Arc::clone(&self.file));
        move || {
            let mut bytes = [0; PID_MAX];
            let read = file.read_at(&mut bytes, 0);
            own.is_in_place() && read.is_ok_and(|length| parse_pid(&bytes[..length]) == Some(pid))
        }
    }

    /// Removes the file. Call this method when the daemon exits. If the file cannot be removed, for
    /// example because only root may write to its directory, it is truncated instead. If
    /// another file has replaced the pid file at the path, that file is kept.
    ///
    /// # Errors
    ///
    /// If the file cannot be truncated either.
    pub fn release(self) -> Result<()> {
        if self.own.remove().is_ok() {
            return Ok(());
        }
        let action = || format!("truncate pid file {}", self.own.path().display());
        self.file.set_len(0).map_err(|error| Error::os(action(), error))
    }

    /// Closes this process's copy. The lock stays held as long as another process has a copy.
    pub fn close(self) {
        drop(self);
    }
}

/// Opens a file that other users cannot change, and makes it inaccessible to them.
fn open(path: &Path) -> io::Result<(File, OwnFile)> {
    let place = Place::find(path, Trust::Own)?;
    let refuse =
        |entry: Entry, why: &str| Err(io::Error::other(format!("it is {entry}{why}; remove it")));
    // Opening another kind of file can have an effect.
    if let Some(entry) = place.entry()?
        && entry.kind != FileKind::Regular
    {
        return refuse(entry, "");
    }
    let file = place.open(OFlag::O_RDWR | OFlag::O_CREAT, 0o600)?;
    let entry = Entry::of(&file)?;
    if entry.kind != FileKind::Regular || entry.uid != geteuid().as_raw() {
        return refuse(entry, "");
    }
    // A file that the previous holder has just removed has no name.
    if entry.names > 1 {
        return refuse(entry, &format!(" with {} names (hard links)", entry.names));
    }
    if entry.mode & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    let own = OwnFile::new(path, &entry);
    Ok((file, own))
}

/// The longest contents of a pid file that are read.
const PID_MAX: usize = 32;

fn read_pid(file: &mut File) -> Option<Pid> {
    let mut bytes = Vec::new();
    file.take(PID_MAX as u64).read_to_end(&mut bytes).ok()?;
    parse_pid(&bytes)
}

/// Returns the pid in the contents of a pid file.
pub(crate) fn parse_pid(bytes: &[u8]) -> Option<Pid> {
    Pid::from_raw(str::from_utf8(bytes).ok()?.trim().parse().ok()?)
}

/// Accepts each pid on systems on which the open files of another process cannot be examined.
#[cfg(any(not(target_os = "linux"), fallback))]
mod platform {
    use std::fs::File;

    use crate::process::{Pid, exists};

    pub(super) fn has_open(pid: Pid, _: &File) -> bool {
        exists(pid)
    }
}

/// Examines the open files of another process with `/proc`.
#[cfg(all(target_os = "linux", not(fallback)))]
mod platform {
    use std::fs::{self, File};
    use std::io;
    use std::os::unix::fs::MetadataExt;

    use crate::process::Pid;

    /// Returns whether a process has a file open, or whether this process may not know.
    pub(super) fn has_open(pid: Pid, file: &File) -> bool {
        let Ok(file) = file.metadata() else { return true };
        let open = match fs::read_dir(format!("/proc/{pid}/fd")) {
            Ok(open) => open,
            Err(error) => return error.kind() == io::ErrorKind::PermissionDenied,
        };
        open.flatten()
            .filter_map(|descriptor| fs::metadata(descriptor.path()).ok())
            .any(|other| (other.dev(), other.ino()) == (file.dev(), file.ino()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

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
    fn a_pid_of_a_process_that_does_not_have_the_file_open_is_not_named() {
        let (_dir, path) = pid_path();
        let _holder = PidFile::claim(&path).expect("claimed");
        let other = std::process::Command::new("sleep").arg("1000").spawn();
        let mut other = other.expect("the program starts");
        fs::write(&path, format!("{}\n", other.id())).expect("written");
        let error = PidFile::claim(&path).expect_err("refused");
        other.kill().and_then(|()| other.wait()).expect("ended");
        // Other systems cannot find out who has the file open.
        let is_found_out = cfg!(all(target_os = "linux", not(fallback)));
        let is_unnamed = matches!(error, Error::AlreadyRunning { pid: None, .. });
        assert!(is_unnamed || !is_found_out, "{error}");
        fs::write(&path, "").expect("written");
        let error = PidFile::claim(&path).expect_err("refused");
        assert!(matches!(error, Error::AlreadyRunning { pid: None, .. }), "{error}");
    }

    #[test]
    fn a_claimed_file_does_not_contain_the_pid_of_a_previous_holder() {
        let (_dir, path) = pid_path();
        fs::write(&path, "1\n").expect("written");
        let _claimed = PidFile::claim(&path).expect("claimed");
        assert_eq!(fs::read_to_string(&path).expect("the file exists"), "");
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
        assert!(refused.ends_with(" with 2 names (hard links); remove it"), "{refused}");
        assert_eq!(fs::read_to_string(&precious).expect("the file exists"), "12");
        let refused = PidFile::claim("/dev/null").expect_err("refused").to_string();
        let expected =
            "cannot claim pid file /dev/null: it is a character device of uid 0; remove it";
        assert_eq!(refused, expected);
        for path in ["/dev/stdin", "/dev/fd/0"] {
            PidFile::claim(path).expect_err("refused");
        }
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

    #[test]
    fn a_removed_or_replaced_file_is_restored_unless_another_process_has_claimed_it() {
        let (_dir, path) = pid_path();
        let mut ours = PidFile::claim(&path).expect("claimed");
        ours.write(this_pid()).expect("written");
        assert!(ours.check(this_pid())());
        assert!(!ours.restore(this_pid()).expect("in place"));
        fs::write(&path, "1\n").expect("written");
        assert!(!ours.check(this_pid())());
        assert!(ours.restore(this_pid()).expect("written again"));
        fs::remove_file(&path).expect("the file exists");
        assert!(!ours.check(this_pid())());
        assert!(ours.restore(this_pid()).expect("restored"));
        assert!(ours.check(this_pid())());
        fs::remove_file(&path).expect("the file exists");
        fs::write(&path, "1\n").expect("written");
        assert!(ours.restore(this_pid()).expect("restored"));
        assert_eq!(read_pid(&mut File::open(&path).expect("opened")), Some(this_pid()));
        PidFile::claim(&path).expect_err("locked");
        fs::remove_file(&path).expect("the file exists");
        let _other = PidFile::claim(&path).expect("claimed");
        let error = ours.restore(this_pid()).expect_err("refused");
        assert!(matches!(error, Error::AlreadyRunning { .. }), "{error}");
        ours.release().expect("nothing to do");
        assert!(path.exists());
    }
}
