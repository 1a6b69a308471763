//! Redirects a daemon's standard input, output and error to its log or to `/dev/null`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::fs::fchown;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::error::{Error, Result};
use crate::place::{Entry, FileKind, Location, Place, Trust};
use crate::privileges::{Privileges, act_as};

/// A log file for standard output and error. It can be reopened after a log rotation has renamed
/// it.
///
/// The file is opened for appending, so concurrent writes of several processes do not overwrite
/// each other. Opening it never waits.
///
/// The path may lead to a regular file, to a device such as `/dev/null`, to a FIFO that a process
/// reads, or to a descriptor of this process, such as `/dev/stderr`. The descriptor is then
/// duplicated, and stays in use when the log is reopened. In a directory that users other than root
/// and the user of this process can write to, the log must be a regular file with one name that
/// belongs to this user, to root or to the owner of the directory, and symbolic links are refused.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
    source: LogSource,
}

/// Whether a log can be opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LogSource {
    Path,
    /// A descriptor that the launcher has passed.
    Descriptor,
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
    /// If the file cannot be opened, or is refused. The error contains the absolute path.
    pub fn open(path: impl AsRef<Path>) -> Result<LogFile> {
        let path = absolute(path.as_ref())?;
        let (file, source) = open(&path)?;
        Ok(LogFile { path, file, source })
    }

    /// Opens the file for a daemon that will run as this user, so that the daemon can open it again
    /// after privileges are dropped.
    ///
    /// The file is opened with the user's permissions. If the user may not open it and it does not
    /// exist, it is created with this process's permissions, and given to the user. This happens
    /// only if the user cannot replace the file or one of its directories. A file that exists is
    /// never given away.
    ///
    /// To create a new file after a log rotation, the user also needs write permission for the
    /// log's directory.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened or created, or is refused.
    pub fn open_for(path: impl AsRef<Path>, user: &Privileges) -> Result<LogFile> {
        let path = absolute(path.as_ref())?;
        let opened = act_as(user, || open(&path))?;
        let (file, source) = match opened {
            Err(error) if is_denied(&error) => {
                let created = create_for(&path, user).map_err(|error| open_error(&path, error))?;
                (created, LogSource::Path)
            }
            opened => opened?,
        };
        Ok(LogFile { path, file, source })
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
        let Some(new) = self.open_again()? else { return Ok(()) };
        self.switch_to(&new).and_then(|()| redirect_to(&new)).map_err(|error| self.log_error(error))
    }

    /// Opens the path again for [`append`](LogFile::append) only. Standard output and error are not
    /// changed.
    ///
    /// # Errors
    ///
    /// If the new file cannot be opened. The old file then stays in use.
    pub fn reopen_without_redirect(&self) -> Result<()> {
        let Some(new) = self.open_again()? else { return Ok(()) };
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

    /// Opens the path again; returns `None` if the log is a descriptor that the launcher passed.
    fn open_again(&self) -> Result<Option<File>> {
        match self.source {
            LogSource::Path => open(&self.path).map(|(file, _source)| Some(file)),
            LogSource::Descriptor => Ok(None),
        }
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

/// Opens those of the descriptors 0, 1 and 2 that are closed on `/dev/null`. Otherwise the next
/// file or socket that is opened would get one of these numbers, and output would be written to it.
///
/// Rust's runtime does the same before `main`, unless `main` is a function of another language.
///
/// # Errors
///
/// If there is no `/dev/null`.
pub fn open_standard_descriptors() -> Result<()> {
    for number in [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO] {
        // SAFETY: fcntl(2) accepts any number, and returns EBADF if it is not an open descriptor.
        if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
            // A new descriptor gets the lowest free number. The lower numbers are open.
            let null = open_null()?.into_raw_fd();
            // SAFETY: the number is the one of the descriptor that was just opened, which nothing
            // owns, and which stays open like every standard descriptor.
            let standard = unsafe { BorrowedFd::borrow_raw(null) };
            fcntl(standard, FcntlArg::F_SETFD(FdFlag::empty()))
                .map_err(|errno| Error::os("open a standard descriptor on /dev/null", errno))?;
        }
    }
    Ok(())
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

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| open_error(path, error))
}

/// Opens a log with the permissions of this process.
fn open(path: &Path) -> Result<(File, LogSource)> {
    try_open(path).map_err(|error| open_error(path, error))
}

fn try_open(path: &Path) -> io::Result<(File, LogSource)> {
    let place = match Location::find(path, Trust::Own)? {
        Location::Place(place) => place,
        Location::Descriptor(fd) => return Ok((duplicate(fd)?, LogSource::Descriptor)),
    };
    let file = match place.open(APPEND | OFlag::O_CREAT, MODE) {
        Ok(file) => file,
        Err(error) => return Err(explain(error, &place)),
    };
    match place.check(&file)? {
        Entry { kind: FileKind::Regular | FileKind::CharacterDevice | FileKind::Fifo, .. } => {}
        other => return Err(io::Error::other(format!("it is {other}"))),
    }
    // Code that prints expects to wait.
    fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
    Ok((file, LogSource::Path))
}

/// Adds what stands at a place to an error that does not say it.
fn explain(error: io::Error, place: &Place) -> io::Error {
    let entry = place.entry().ok().flatten();
    match (error.raw_os_error(), entry) {
        (Some(libc::ENXIO), Some(entry)) if entry.kind == FileKind::Fifo => {
            io::Error::other(format!("it is {entry} that no process reads; start its reader first"))
        }
        (Some(libc::ENXIO | libc::ELOOP | libc::ENODEV | libc::EISDIR), Some(entry)) => {
            io::Error::other(format!("it is {entry}; remove it"))
        }
        (_, _) => error,
    }
}

/// Creates a log that this user may not create, and gives it to the user.
fn create_for(path: &Path, user: &Privileges) -> io::Result<File> {
    let name = &user.user.name;
    let place = Place::find(path, Trust::NotThisUser(user))?;
    if let Some(entry) = place.entry()? {
        return Err(io::Error::other(format!(
            "it is {entry}, and user {name} may not write it; give it to the user or remove it"
        )));
    }
    if !place.is_protected() {
        return Err(io::Error::other(format!(
            "user {name} may not create it, and others can change its directory"
        )));
    }
    let file = place.create(APPEND, MODE)?;
    fchown(&file, Some(user.user.uid), Some(user.group.gid))?;
    fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
    Ok(file)
}

/// How a log is opened.
const APPEND: OFlag = OFlag::O_WRONLY.union(OFlag::O_APPEND);

/// The mode of a new log, before the umask reduces it.
const MODE: u32 = 0o640;

/// Duplicates a descriptor of this process.
fn duplicate(fd: RawFd) -> io::Result<File> {
    // SAFETY: fcntl takes numbers only, and fails if the descriptor is not open.
    match unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) } {
        copy if copy < 0 => Err(io::Error::last_os_error()),
        // SAFETY: fcntl has just created this descriptor, so nobody else owns it.
        copy => Ok(File::from(unsafe { OwnedFd::from_raw_fd(copy) })),
    }
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
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use nix::sys::stat::Mode;
    use nix::unistd::{geteuid, mkfifo};

    use super::*;

    #[test]
    fn the_error_names_a_log_that_cannot_be_opened() {
        let error = LogFile::open("/nonexistent/x.log").expect_err("refused").to_string();
        assert_eq!(error, "cannot open log file /nonexistent/x.log: no such file or directory");
    }

    /// What can stand at the path of a log.
    const THERE: [&str; 8] =
        ["nothing", "a file", "link", "dangling link", "hard link", "directory", "FIFO", "socket"];

    /// Puts something at a path. The descriptor keeps a socket alive.
    fn put(what: &str, path: &Path, other: &Path) -> Option<OwnedFd> {
        match what {
            "nothing" => {}
            "a file" => fs::write(path, "").expect("written"),
            "link" => symlink(other, path).expect("linked"),
            "dangling link" => symlink(path.with_extension("new"), path).expect("linked"),
            "hard link" => fs::hard_link(other, path).expect("linked"),
            "directory" => fs::create_dir(path).expect("created"),
            "FIFO" => mkfifo(path, Mode::S_IRWXU).expect("created"),
            "socket" => return Some(UnixListener::bind(path).expect("bound").into()),
            _ => unreachable!(),
        }
        None
    }

    /// Returns what the log says about each thing that can stand at its path, in a directory with
    /// this mode.
    fn opened(mode: u32) -> Vec<String> {
        THERE
            .into_iter()
            .map(|what| {
                let dir = tempfile::tempdir().expect("a directory");
                let (path, other) = (dir.path().join("log"), dir.path().join("other"));
                fs::write(&other, "").expect("written");
                let _kept = put(what, &path, &other);
                fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).expect("changed");
                let answer = match LogFile::open(&path) {
                    Ok(log) => {
                        log.append(b"line").expect("written");
                        assert_eq!(fs::read_to_string(&path).expect("readable"), "line");
                        "opened".to_owned()
                    }
                    Err(error) => error.to_string().rsplit_once("log: ").expect("a path").1.into(),
                };
                let answer = answer.replace(&path.display().to_string(), "LOG");
                format!("{what}: {}", answer.replace(&format!("uid {}", geteuid()), "uid U"))
            })
            .collect()
    }

    #[test]
    fn a_log_is_opened_or_refused_with_what_stands_at_its_path() {
        let fifo = "FIFO: it is a FIFO of uid U that no process reads; start its reader first";
        let own = [
            "nothing: opened",
            "a file: opened",
            "link: opened",
            "dangling link: opened",
            "hard link: opened",
            "directory: it is a directory of uid U; remove it",
            fifo,
            "socket: it is a socket of uid U; remove it",
        ];
        assert_eq!(opened(0o755), own);
        let link = "LOG is a symbolic link of uid U, which others can change; remove it";
        let links = [format!("link: {link}"), format!("dangling link: {link}")];
        let several = "hard link: it is a file of uid U with 2 names (hard links) in a directory \
                       that others can change; remove it";
        let open = [own[0], own[1], &links[0], &links[1], several, own[5], fifo, own[7]];
        assert_eq!(opened(0o777), open);
    }

    #[test]
    fn devices_and_fifos_with_a_reader_can_be_logs_where_only_their_owner_put_them() {
        for device in ["/dev/null", "/dev/full"] {
            LogFile::open(device).expect("opened").reopen_without_redirect().expect("opened");
        }
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        mkfifo(&path, Mode::S_IRWXU).expect("created");
        let reader = nix::fcntl::open(&path, OFlag::O_RDONLY | OFlag::O_NONBLOCK, Mode::empty())
            .expect("opened");
        LogFile::open(&path).expect("opened").append(b"line").expect("written");
        let mut line = [0; 4];
        assert_eq!(nix::unistd::read(&reader, &mut line), Ok(4));
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).expect("changed");
        let refused = LogFile::open(&path).expect_err("refused").to_string();
        assert!(refused.contains("it is a FIFO of uid"), "{refused}");
    }

    #[test]
    fn a_log_to_a_descriptor_is_a_copy_of_it_even_if_its_path_cannot_be_opened() {
        let (reader, writer) = std::os::unix::net::UnixStream::pair().expect("created");
        let log = LogFile::open(format!("/dev/fd/{}", writer.as_raw_fd()));
        if cfg!(target_os = "linux") {
            let log = log.expect("duplicated");
            drop(writer);
            log.reopen_without_redirect().expect("kept");
            log.append(b"line").expect("written");
            drop(log);
            assert_eq!(io::read_to_string(reader).expect("read"), "line");
        }
    }
}
