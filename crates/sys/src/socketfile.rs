//! A listening Unix socket at a path, accessible to its owner only.
//!
//! A socket that a dead process left behind is replaced. The path counts as in use only if a
//! process is listening on the socket. Files that are not sockets are never removed.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, lchown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use crate::error::{Error, Result};
use crate::limits::umask;
use crate::privileges::{Privileges, act_as};
use crate::protected;

/// The maximum length of a socket's path in bytes. This is the size of `sun_path` in unix(7) on
/// Linux, without the final zero byte.
pub const SOCKET_PATH_MAX: usize = 107;

/// The umask for a socket that is accessible to its owner only. The mode of a new socket is 0777,
/// reduced by the umask.
const OWNER_ONLY: u32 = 0o177;

/// A listening Unix socket and its path.
///
/// Forked processes share the listener. Each forked process must drop its copy, or clients can
/// still connect after the daemon has exited, and wait for a reply in vain. Dropping a copy closes
/// its descriptor but does not remove the file.
#[derive(Debug)]
pub struct SocketFile {
    listener: UnixListener,
    path: SocketPath,
}

/// The path of a bound socket, and the identity of its file.
#[derive(Debug)]
pub struct SocketPath {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    /// Binds a socket at this path, with mode 0600 from the beginning. Replaces a socket that a
    /// dead process left behind.
    ///
    /// If `owner` is given, the socket belongs to this user. It is bound with the user's
    /// permissions. If the user may not create it, it is bound with this process's permissions and
    /// its owner is changed. This happens only if the user cannot replace the socket or one of its
    /// directories, because otherwise the user could get any other file instead.
    ///
    /// This function changes the process's umask during the bind, so call it while the process has
    /// only one thread. It does not prevent two processes from replacing the same socket at the
    /// same time. To prevent this, use a [`PidFile`](crate::pidfile::PidFile).
    ///
    /// # Errors
    ///
    /// - [`Error::SocketInUse`] if a process is listening on the socket at this path.
    /// - [`Error::NotASocket`] if another kind of file exists at this path, for example a symbolic
    ///   link.
    /// - [`Error::Os`] if a system call fails.
    pub fn claim(path: &Path, owner: Option<&Privileges>) -> Result<SocketFile> {
        let Some(owner) = owner else {
            return SocketFile::bind(path, None);
        };
        let denied = match act_as(owner, || SocketFile::bind(path, None))? {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM)) => error,
            bound => return bound,
        };
        match protected::is_protected_from(path, owner) {
            Ok(true) => SocketFile::bind(path, Some(owner)),
            Ok(false) | Err(_) => Err(denied),
        }
    }

    fn bind(path: &Path, owner: Option<&Privileges>) -> Result<SocketFile> {
        let action = || format!("bind socket {}", path.display());
        remove_if_dead(path)?;
        let previous = umask(OWNER_ONLY);
        let bound = UnixListener::bind(path);
        umask(previous);
        let listener = bound.map_err(|error| Error::os(action(), error))?;
        let ready = || {
            if let Some(owner) = owner {
                lchown(path, Some(owner.user.uid), Some(owner.group.gid))?;
            }
            listener.set_nonblocking(true)?;
            fs::symlink_metadata(path)
        };
        match ready() {
            Ok(file) => {
                let path = SocketPath { path: path.to_owned(), identity: identity(&file) };
                Ok(SocketFile { listener, path })
            }
            Err(error) => {
                // This process has just created the file, so it cannot be another process's socket.
                let _ = fs::remove_file(path);
                Err(Error::os(action(), error))
            }
        }
    }

    /// Returns the nonblocking listener and its path.
    #[must_use]
    pub fn into_parts(self) -> (OwnedFd, SocketPath) {
        (self.listener.into(), self.path)
    }

    /// Closes the listener and removes the socket file as [`SocketPath::release`] does.
    ///
    /// # Errors
    ///
    /// As [`SocketPath::release`].
    pub fn release(self) -> Result<()> {
        self.path.release()
    }
}

impl SocketPath {
    /// Returns the path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the socket file. If another file has replaced the socket at the path, that file is
    /// kept.
    ///
    /// # Errors
    ///
    /// If the file cannot be removed, for example because its directory belongs to root, and the
    /// process has dropped its privileges.
    pub fn release(self) -> Result<()> {
        match fs::symlink_metadata(&self.path) {
            Ok(existing) if identity(&existing) == self.identity => fs::remove_file(&self.path)
                .map_err(|error| {
                    Error::os(format!("remove socket {}", self.path.display()), error)
                }),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// Removes a socket that no process is listening on.
fn remove_if_dead(path: &Path) -> Result<()> {
    let action = |action: &str| format!("{action} socket {}", path.display());
    let existing = match fs::symlink_metadata(path) {
        Ok(existing) => existing,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::os(action("check"), error)),
    };
    if !existing.file_type().is_socket() {
        return Err(Error::NotASocket { path: path.to_owned() });
    }
    match probe(path) {
        ProbeResult::Dead => {
            fs::remove_file(path).map_err(|error| Error::os(action("replace"), error))
        }
        ProbeResult::Alive => Err(Error::SocketInUse { path: path.to_owned() }),
        ProbeResult::Unknown(error) => Err(Error::os(action("connect to"), error)),
    }
}

enum ProbeResult {
    Alive,
    Dead,
    Unknown(io::Error),
}

fn probe(path: &Path) -> ProbeResult {
    match connect_nonblocking(path) {
        Ok(()) => ProbeResult::Alive,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => ProbeResult::Dead,
        // The socket's backlog is full, so a process has the socket open.
        Err(error) if error.kind() == ErrorKind::WouldBlock => ProbeResult::Alive,
        Err(error) => ProbeResult::Unknown(error),
    }
}

/// Connects without blocking, because a connect to a hanging daemon could block forever.
fn connect_nonblocking(path: &Path) -> io::Result<()> {
    let address = UnixAddr::new(path)?;
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None)?;
    let socket = UnixStream::from(socket);
    socket.set_nonblocking(true)?;
    Ok(connect(socket.as_raw_fd(), &address)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn socket_path() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("control");
        (dir, path)
    }

    #[test]
    fn the_socket_has_mode_0600_and_release_removes_it() {
        let (_dir, path) = socket_path();
        let socket = SocketFile::claim(&path, None).expect("claimed");
        let mode = fs::symlink_metadata(&path).expect("the file exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        UnixStream::connect(&path).expect("connected");
        socket.release().expect("removed");
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_in_use_is_refused_and_a_dead_one_is_replaced() {
        let (_dir, path) = socket_path();
        let first = SocketFile::claim(&path, None).expect("claimed");
        let error = SocketFile::claim(&path, None).expect_err("refused");
        assert_eq!(
            error.to_string(),
            format!("already running: another process is listening on socket {}", path.display())
        );
        drop(first);
        assert!(path.exists());
        SocketFile::claim(&path, None).expect("claimed again").release().expect("removed");
    }

    #[test]
    fn a_hanging_daemon_with_a_full_backlog_counts_as_alive() {
        let (_dir, path) = socket_path();
        let _hangs = SocketFile::claim(&path, None).expect("claimed");
        // A connection stays in the backlog even after the client has closed it.
        let waiting = (0..100_000).take_while(|_| connect_nonblocking(&path).is_ok()).count();
        assert!(waiting < 100_000, "the backlog is limited");
        let error = SocketFile::claim(&path, None).expect_err("refused");
        assert!(matches!(error, Error::SocketInUse { .. }), "{error}");
    }

    #[test]
    fn files_that_are_not_sockets_are_never_removed() {
        let (dir, path) = socket_path();
        fs::write(&path, "precious").expect("written");
        let error = SocketFile::claim(&path, None).expect_err("refused");
        assert!(matches!(error, Error::NotASocket { .. }), "{error}");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).expect("linked");
        SocketFile::claim(&link, None).expect_err("refused");
        assert_eq!(fs::read_to_string(&path).expect("the file exists"), "precious");
        assert!(link.is_symlink());
    }

    #[test]
    fn releasing_a_replaced_socket_keeps_the_new_one() {
        let (_dir, path) = socket_path();
        let previous = SocketFile::claim(&path, None).expect("claimed");
        fs::remove_file(&path).expect("the file exists");
        let _present = SocketFile::claim(&path, None).expect("claimed");
        previous.release().expect("released");
        assert!(path.exists());
    }
}
