//! Redirects a daemon's standard input, output and error to its log or to `/dev/null`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::error::{Error, Result};
use crate::privileges::{Privileges, act_as};
use crate::protected;

/// A log file for standard output and error. It can be reopened after a log rotation has renamed
/// it.
///
/// The file is opened for appending, so concurrent writes of several processes do not overwrite
/// each other.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
}

impl LogFile {
    /// Opens the file. If the file does not exist, it is created with mode 0640, reduced by the
    /// umask.
    ///
    /// A relative path is made absolute immediately, so the daemon can change its working directory
    /// later.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened. The error contains the absolute path.
    pub fn open(path: impl AsRef<Path>) -> Result<LogFile> {
        let given = path.as_ref();
        let path = std::path::absolute(given).map_err(|error| open_error(given, error))?;
        let file = open(&path)?;
        Ok(LogFile { path, file })
    }

    /// Opens the file for a daemon that will run as this user, so that the daemon can open it again
    /// after privileges are dropped.
    ///
    /// The file is opened with the user's permissions. If the user may not open it, it is opened
    /// with this process's permissions, and its owner and group are changed to the user's. This
    /// happens only if the user cannot replace the file or one of its directories. Otherwise a
    /// symbolic link that the user has created could give the user any file of the system.
    ///
    /// To create a new file after a log rotation, the user also needs write permission for the
    /// log's directory.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened, or its owner cannot be changed.
    pub fn open_for(path: impl AsRef<Path>, user: &Privileges) -> Result<LogFile> {
        let given = path.as_ref();
        let path = std::path::absolute(given).map_err(|error| open_error(given, error))?;
        let opened = act_as(user, || open(&path))?;
        match opened {
            Ok(file) => return Ok(LogFile { path, file }),
            Err(error) if !is_denied(&error) => return Err(error),
            Err(_denied) => {}
        }
        let is_stream = STANDARD_STREAMS.iter().any(|stream| path == Path::new(stream));
        let file = if is_stream {
            open(&path)?
        } else if protected::is_protected_from(&path, user).map_err(|e| open_error(&path, e))? {
            open_without_links(&path).map_err(|error| open_error(&path, error))?
        } else {
            let reason = format!(
                "user {} may not write it, and could replace it or one of its directories",
                user.user.name
            );
            return Err(open_error(&path, io::Error::other(reason)));
        };
        let log = LogFile { path, file };
        log.chown(user)?;
        Ok(log)
    }

    /// Returns the absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Redirects standard output and error to the file. Rust's buffered output is flushed to the
    /// former standard output first.
    ///
    /// # Errors
    ///
    /// dup2(2) documents no error for open descriptors.
    pub fn redirect(&self) -> Result<()> {
        redirect_to(&self.file)
            .map_err(|error| Error::os(format!("log to {}", self.path.display()), error))
    }

    /// Opens the path again and redirects standard output and error to the opened file. If a log
    /// rotation has renamed the old file, a new file is created.
    ///
    /// Each descriptor is replaced atomically, so a concurrently written line is not lost. It goes
    /// either to the old file or to the new file.
    ///
    /// # Errors
    ///
    /// If the new file cannot be opened. The old file then stays in use.
    pub fn reopen(&self) -> Result<()> {
        let new = open(&self.path)?;
        self.switch_to(&new).and_then(|()| redirect_to(&new)).map_err(|error| self.log_error(error))
    }

    /// Opens the path again for [`append`](LogFile::append) only. Standard output and error are not
    /// changed.
    ///
    /// # Errors
    ///
    /// If the new file cannot be opened. The old file then stays in use.
    pub fn reopen_without_redirect(&self) -> Result<()> {
        let new = open(&self.path)?;
        self.switch_to(&new).map_err(|error| self.log_error(error))
    }

    /// Writes to the file, whether or not standard error is redirected to it.
    ///
    /// # Errors
    ///
    /// The errors of write(2).
    pub fn append(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.file).write_all(bytes)
    }

    fn switch_to(&self, new: &File) -> io::Result<()> {
        // SAFETY: both numbers are descriptors of open files that the caller and `self` own.
        // `self.file` keeps its number, which refers to the new file from now on.
        if unsafe { libc::dup2(new.as_raw_fd(), self.file.as_raw_fd()) } < 0 {
            return Err(io::Error::last_os_error());
        }
        fcntl(&self.file, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        Ok(())
    }

    fn log_error(&self, error: io::Error) -> Error {
        Error::os(format!("log to {}", self.path.display()), error)
    }

    fn chown(&self, new: &Privileges) -> Result<()> {
        fchown(&self.file, Some(new.user.uid), Some(new.group.gid)).map_err(|error| {
            let (file, user) = (self.path.display(), &new.user.name);
            Error::os(format!("change owner of log file {file} to {user}"), error)
        })
    }
}

impl AsFd for LogFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// A copy of standard error that was made before its redirection, for reporting errors during the
/// launch.
#[derive(Debug)]
pub struct SavedStderr(OwnedFd);

impl SavedStderr {
    /// Duplicates standard error. The copy is close-on-exec.
    ///
    /// # Errors
    ///
    /// If standard error is not open, or the system is out of descriptors.
    pub fn save() -> Result<SavedStderr> {
        match io::stderr().as_fd().try_clone_to_owned() {
            Ok(copy) => Ok(SavedStderr(copy)),
            Err(error) => Err(Error::os("duplicate standard error", error)),
        }
    }

    /// Redirects standard error to the saved descriptor.
    ///
    /// # Errors
    ///
    /// dup2(2) documents no error for open descriptors.
    pub fn restore(self) -> Result<()> {
        dup2_stderr(&self.0).map_err(|errno| Error::os("restore standard error", errno))
    }
}

impl From<SavedStderr> for File {
    fn from(saved: SavedStderr) -> File {
        File::from(saved.0)
    }
}

/// Creates a pipe for a process's output. Returns the reading end, which is nonblocking, and the
/// writing end. Both ends are close-on-exec. Standard output that is redirected to the writing end
/// is not close-on-exec.
///
/// # Errors
///
/// If the system is out of descriptors.
pub fn output_pipe() -> Result<(OwnedFd, OwnedFd)> {
    let make = || {
        let (reader, writer) = io::pipe()?;
        let reader = OwnedFd::from(reader);
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok((reader, OwnedFd::from(writer)))
    };
    make().map_err(|error: io::Error| Error::os("create a pipe", error))
}

/// Redirects standard output and error to two other descriptors, for example pipes. Rust's buffered
/// output is flushed to the former standard output first.
///
/// # Errors
///
/// dup2(2) documents no error for open descriptors.
pub fn redirect_outputs(out: OwnedFd, err: OwnedFd) -> Result<()> {
    // A flush error concerns the former output, which is no longer used.
    let _ = io::stdout().flush();
    dup2_stdout(&out)
        .and_then(|()| dup2_stderr(&err))
        .map_err(|errno| Error::os("redirect standard output and error", errno))
}

/// Redirects standard input to `/dev/null`, where a read returns the end of file.
///
/// # Errors
///
/// If there is no `/dev/null`, as in a bare chroot.
pub fn stdin_from_null() -> Result<()> {
    let null = open_null()?;
    dup2_stdin(&null).map_err(|errno| Error::os("redirect standard input to /dev/null", errno))
}

/// Redirects standard input, output and error to `/dev/null`.
///
/// # Errors
///
/// If there is no `/dev/null`.
pub fn all_to_null() -> Result<()> {
    stdin_from_null()?;
    let null = open_null()?;
    redirect_to(&null)
        .map_err(|error| Error::os("redirect standard output and error to /dev/null", error))
}

fn open_null() -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).open("/dev/null").map_err(|e| Error::os("open /dev/null", e))
}

fn open(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o640).open(path).map_err(|e| open_error(path, e))
}

/// Paths of symbolic links that always lead to the streams of the process that opens them.
const STANDARD_STREAMS: [&str; 2] = ["/dev/stdout", "/dev/stderr"];

fn open_without_links(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o640);
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NOCTTY).open(path)
}

fn is_denied(error: &Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM | libc::EROFS))
}

fn open_error(path: &Path, error: io::Error) -> Error {
    Error::os(format!("open log file {}", path.display()), error)
}

fn redirect_to(file: &File) -> io::Result<()> {
    // A flush error concerns the former output, which is no longer used.
    let _ = io::stdout().flush();
    dup2_stdout(file)?;
    dup2_stderr(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_names_a_log_that_cannot_be_opened() {
        let error = LogFile::open("/nonexistent/x.log").expect_err("refused").to_string();
        assert_eq!(error, "cannot open log file /nonexistent/x.log: no such file or directory");
    }
}
