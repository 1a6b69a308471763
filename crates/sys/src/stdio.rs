//! Where standard input, output and error of a daemon lead: to its log, or nowhere.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::error::{Error, Result};
use crate::privileges::Privileges;

/// A log file that standard output and error can be led to, and that can be opened anew after it
/// was renamed by whoever rotates logs.
///
/// It is opened for appending: what several processes write to it at once does not overlap.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
}

impl LogFile {
    /// Opens the file, and makes it (mode 0640, less the umask) if it isn't there.
    ///
    /// The path is made absolute now: a daemon that changes its directory still finds it.
    ///
    /// # Errors
    ///
    /// If it can't be opened; the path in the error is the absolute one.
    pub fn open(path: impl AsRef<Path>) -> Result<LogFile> {
        let given = path.as_ref();
        let path = std::path::absolute(given).map_err(|error| unopened(given, error))?;
        let file = open(&path)?;
        Ok(LogFile { path, file })
    }

    /// Returns the absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leads standard output and error to the file. What Rust has buffered for the former output is
    /// written there first.
    ///
    /// # Errors
    ///
    /// None that dup2(2) names for open descriptors.
    pub fn redirect(&self) -> Result<()> {
        outputs_to(&self.file)
            .map_err(|error| Error::os(format!("log to {}", self.path.display()), error))
    }

    /// Opens the path anew and leads standard output and error there: after the file was renamed,
    /// lines go to a new one.
    ///
    /// Each descriptor moves in one step, so no line that is written meanwhile is lost: it goes to
    /// the old file or the new.
    ///
    /// # Errors
    ///
    /// If the new one can't be opened: the old stays in use.
    pub fn reopen(&self) -> Result<()> {
        let new = open(&self.path)?;
        self.turn_to(&new).and_then(|()| outputs_to(&new)).map_err(|error| self.unlogged(error))
    }

    /// Opens the path anew for what is [appended](LogFile::append), and leaves standard output and
    /// error alone: they lead elsewhere.
    ///
    /// # Errors
    ///
    /// If the new one can't be opened: the old stays in use.
    pub fn reopen_apart(&self) -> Result<()> {
        let new = open(&self.path)?;
        self.turn_to(&new).map_err(|error| self.unlogged(error))
    }

    /// Writes to the file itself, wherever standard error leads.
    ///
    /// # Errors
    ///
    /// As write(2).
    pub fn append(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.file).write_all(bytes)
    }

    fn turn_to(&self, new: &File) -> io::Result<()> {
        // SAFETY: both numbers are of files that are open and ours; `self.file` keeps its number,
        // which leads elsewhere from now on.
        if unsafe { libc::dup2(new.as_raw_fd(), self.file.as_raw_fd()) } < 0 {
            return Err(io::Error::last_os_error());
        }
        fcntl(&self.file, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        Ok(())
    }

    fn unlogged(&self, error: io::Error) -> Error {
        Error::os(format!("log to {}", self.path.display()), error)
    }

    /// Makes the file that user's and group's, so that it can be opened anew after privileges are
    /// dropped. To make a new one there he must also be let write the directory.
    ///
    /// # Errors
    ///
    /// If this process may not.
    pub fn give_to(&self, new: &Privileges) -> Result<()> {
        fchown(&self.file, Some(new.user.uid), Some(new.group.gid)).map_err(|error| {
            let (file, user) = (self.path.display(), &new.user.name);
            Error::os(format!("give log file {file} to user {user}"), error)
        })
    }
}

impl AsFd for LogFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Where standard error went before it was redirected, to tell there that something has failed.
#[derive(Debug)]
pub struct Terminal(OwnedFd);

impl Terminal {
    /// Keeps a copy of standard error, closed by an exec.
    ///
    /// # Errors
    ///
    /// If standard error is not open, or no descriptor is left.
    pub fn keep() -> Result<Terminal> {
        match io::stderr().as_fd().try_clone_to_owned() {
            Ok(copy) => Ok(Terminal(copy)),
            Err(error) => Err(Error::os("keep standard error", error)),
        }
    }

    /// Makes it standard error again.
    ///
    /// # Errors
    ///
    /// None that dup2(2) names for open descriptors.
    pub fn restore(self) -> Result<()> {
        dup2_stderr(&self.0).map_err(|errno| Error::os("restore standard error", errno))
    }
}

impl From<Terminal> for File {
    fn from(terminal: Terminal) -> File {
        File::from(terminal.0)
    }
}

/// Makes a pipe for what a process prints, to be read without blocking: reading end first. Both are
/// closed by an exec; the writing end is not once it is standard output.
///
/// # Errors
///
/// If no descriptors are left.
pub fn print_pipe() -> Result<(OwnedFd, OwnedFd)> {
    let make = || {
        let (reader, writer) = io::pipe()?;
        let reader = OwnedFd::from(reader);
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok((reader, OwnedFd::from(writer)))
    };
    make().map_err(|error: io::Error| Error::os("make a pipe", error))
}

/// Leads standard output and error to two other descriptors: pipes, for one. What Rust has buffered
/// for the former output is written there first.
///
/// # Errors
///
/// None that dup2(2) names for open descriptors.
pub fn outputs_apart(out: OwnedFd, err: OwnedFd) -> Result<()> {
    // A failing flush is of the former output, which is being left.
    let _ = io::stdout().flush();
    dup2_stdout(&out)
        .and_then(|()| dup2_stderr(&err))
        .map_err(|errno| Error::os("lead standard output and error elsewhere", errno))
}

/// Leads standard input to `/dev/null`, where a read finds the end at once.
///
/// # Errors
///
/// If there is no `/dev/null`, as in a bare chroot.
pub fn stdin_from_null() -> Result<()> {
    let null = null()?;
    dup2_stdin(&null).map_err(|errno| Error::os("take standard input from /dev/null", errno))
}

/// Leads standard input, output and error to `/dev/null`.
///
/// # Errors
///
/// If there is no `/dev/null`.
pub fn all_to_null() -> Result<()> {
    stdin_from_null()?;
    let null = null()?;
    outputs_to(&null)
        .map_err(|error| Error::os("lead standard output and error to /dev/null", error))
}

fn null() -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).open("/dev/null").map_err(|e| Error::os("open /dev/null", e))
}

fn open(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o640).open(path).map_err(|e| unopened(path, e))
}

fn unopened(path: &Path, error: io::Error) -> Error {
    Error::os(format!("open log file {}", path.display()), error)
}

fn outputs_to(file: &File) -> io::Result<()> {
    // A failing flush is of the former output, which is being left.
    let _ = io::stdout().flush();
    dup2_stdout(file)?;
    dup2_stderr(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_cant_be_opened_is_named() {
        let error = LogFile::open("/nonexistent/x.log").expect_err("refused").to_string();
        assert_eq!(error, "cannot open log file /nonexistent/x.log: no such file or directory");
    }
}
