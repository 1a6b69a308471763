//! Listening Unix sockets at a path: the control socket of a daemon, which is accessible to its
//! owner only, and the listener of a service.
//!
//! A socket that a dead process left behind is replaced. The path counts as in use only if a
//! process is listening on the socket. Files that are not sockets are never removed.

use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use crate::error::{Error, Result};
use crate::ownfile::OwnFile;
pub use crate::place::SOCKET_PATH_MAX;
use crate::place::{FileKind, Place, Trust};
use crate::privileges::{Privileges, act_as};

/// Binds the listening Unix socket of a service, as [`UnixListener::bind`] does, and replaces a
/// socket that nobody listens on.
///
/// The file of a Unix socket stays when its process ends, and [`UnixListener::bind`] then fails with
/// `address already in use`. This function connects to the socket to find out whether a process
/// listens on it, and removes the file if none does. A daemon that is stopping has shut its
/// listener down, so the next start can bind the path while the last requests are completed.
///
/// Every user who may write to the file can connect. The umask decides this: usually only the user
/// of this process can. Use [`set_permissions`](std::fs::set_permissions) to let others connect.
/// Nothing removes or restores the file later.
///
/// Two processes that replace the same socket at the same moment can leave one of them with a
/// socket that no path leads to.
///
/// # Errors
///
/// - [`Error::SocketInUse`] if a process is listening on the socket at this path.
/// - [`Error::NotASocket`] if another kind of file exists at this path, for example a symbolic link.
/// - [`Error::Os`] if a system call fails, or if the path leads through a symbolic link that others
///   can change.
///
/// # Examples
///
/// ```
/// # use daemon_sys::socketfile::bind_unix;
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("socket");
/// let listener = bind_unix(&path)?;
/// assert!(bind_unix(&path).is_err()); // a process is listening on it
/// drop(listener); // the file stays
/// let listener = bind_unix(&path)?;
/// # drop(listener);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn bind_unix(path: impl AsRef<Path>) -> Result<UnixListener> {
    let path = path.as_ref();
    let place = find(path)?;
    remove_if_dead(path, &place)?;
    let bound = UnixListener::bind(place.socket_path(path));
    bound.map_err(|error| bind_error(path, error))
}

fn find(path: &Path) -> Result<Place> {
    Place::find(path, Trust::Own).map_err(|error| bind_error(path, error))
}

fn bind_error(path: &Path, error: io::Error) -> Error {
    Error::os(format!("bind socket {}", path.display()), error)
}

/// A listening Unix socket and its path.
///
/// Forked processes share the listener. Each forked process must drop its copy, or clients can
/// still connect after the daemon has exited, and wait for a reply in vain. Dropping a copy closes
/// its descriptor but does not remove the file.
#[derive(Debug)]
pub struct SocketFile {
    listener: UnixListener,
    file: OwnFile,
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
    /// On systems other than Linux this function changes the umask of the whole process during the
    /// bind, so no other thread may create files at that time. It does not prevent two processes
    /// from replacing the same socket at the same time. To prevent this, use a
    /// [`PidFile`](crate::pidfile::PidFile).
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
        if Place::is_protected_from(owner, path) {
            SocketFile::bind(path, Some(owner))
        } else {
            Err(denied)
        }
    }

    fn bind(path: &Path, owner: Option<&Privileges>) -> Result<SocketFile> {
        SocketFile::bind_at(&find(path)?, path, owner)
    }

    /// Binds a socket at a place, which was found at this path.
    fn bind_at(place: &Place, path: &Path, owner: Option<&Privileges>) -> Result<SocketFile> {
        let action = |error| bind_error(path, error);
        remove_if_dead(path, place)?;
        let listener = platform::bind_for_owner(&place.socket_path(path)).map_err(action)?;
        let ready = || {
            if let Some(owner) = owner {
                place.give_to(owner)?;
            }
            listener.set_nonblocking(true)?;
            match place.entry()? {
                Some(bound) if bound.kind == FileKind::Socket => Ok(OwnFile::new(path, &bound)),
                _ => Err(io::Error::other("its directory has just been replaced")),
            }
        };
        match ready() {
            Ok(file) => Ok(SocketFile { listener, file }),
            Err(error) => {
                // This process has just created the file, so it cannot be another process's socket.
                let _ = place.remove();
                Err(action(error))
            }
        }
    }

    /// Returns the nonblocking listener and its file.
    #[must_use]
    pub fn into_parts(self) -> (OwnedFd, OwnFile) {
        (self.listener.into(), self.file)
    }

    /// Removes the socket file as [`OwnFile::remove`] does, and closes the listener.
    ///
    /// # Errors
    ///
    /// As [`OwnFile::remove`].
    pub fn release(self) -> Result<()> {
        self.file.remove()
    }
}

/// Removes a socket that no process is listening on.
fn remove_if_dead(path: &Path, place: &Place) -> Result<()> {
    let action =
        |action: &str, error| Error::os(format!("{action} socket {}", path.display()), error);
    let Some(existing) = place.entry().map_err(|error| action("check", error))? else {
        return Ok(());
    };
    if existing.kind != FileKind::Socket {
        return Err(Error::NotASocket { path: path.to_owned(), found: existing.to_string() });
    }
    match probe(&place.socket_path(path)) {
        ProbeResult::Dead => place.remove().map_err(|error| action("replace", error)),
        ProbeResult::Alive => Err(Error::SocketInUse { path: path.to_owned() }),
        ProbeResult::Unknown(error) => Err(action("connect to", error)),
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

/// Sets the mode before the file exists. On Linux a new socket file has the mode of its socket.
#[cfg(target_os = "linux")]
mod platform {
    use std::io;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixListener;
    use std::path::Path;

    use nix::sys::socket::{
        AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
    };
    use nix::sys::stat::{Mode, fchmod};

    /// Binds a socket of mode 0600, less the umask.
    pub(super) fn bind_for_owner(path: &Path) -> io::Result<UnixListener> {
        let address = UnixAddr::new(path)?;
        let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
        bind(socket.as_raw_fd(), &address)?;
        listen(&socket, Backlog::MAXALLOWABLE)?;
        Ok(socket.into())
    }
}

/// Sets the mode by the umask of the process.
#[cfg(not(target_os = "linux"))]
mod platform {
    use std::io;
    use std::os::unix::net::UnixListener;
    use std::path::Path;

    use crate::limits::umask;

    /// Reduces the mode of a new socket to that of its owner.
    const OWNER_ONLY: u32 = 0o177;

    /// Binds a socket of mode 0600.
    pub(super) fn bind_for_owner(path: &Path) -> io::Result<UnixListener> {
        let previous = umask(OWNER_ONLY);
        let bound = UnixListener::bind(path);
        umask(previous);
        bound
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

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
            format!(
                "already running: cannot bind socket {}: another process is listening on it",
                path.display()
            )
        );
        drop(first);
        assert!(path.exists());
        SocketFile::claim(&path, None).expect("claimed again").release().expect("removed");
    }

    #[test]
    fn the_socket_of_a_service_is_replaced_when_nobody_listens_although_it_is_still_open() {
        let (_dir, path) = socket_path();
        let first = bind_unix(&path).expect("bound");
        let client = UnixStream::connect(&path).expect("connected");
        let error = bind_unix(&path).expect_err("refused");
        assert!(matches!(error, Error::SocketInUse { .. }), "{error}");
        crate::listen::shut_down(first.as_fd()).expect("shut down");
        let second = bind_unix(&path).expect("bound again");
        let _connected = UnixStream::connect(&path).expect("connected to the second");
        second.set_nonblocking(true).expect("set");
        second.accept().expect("the second has a client");
        first.accept().expect("the client of the first can still be served");
        drop(client);
    }

    #[test]
    fn the_socket_of_a_service_replaces_only_sockets() {
        let (dir, path) = socket_path();
        let socket = dir.path().join("socket");
        drop(UnixListener::bind(&socket).expect("bound"));
        std::os::unix::fs::symlink(&socket, &path).expect("linked");
        let error = bind_unix(&path).expect_err("refused");
        assert!(matches!(error, Error::NotASocket { .. }), "{error}");
        assert!(path.is_symlink() && socket.exists());
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

    #[cfg(target_os = "linux")]
    #[test]
    fn a_directory_that_others_replace_meanwhile_does_not_mislead_the_bind() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("changed");
        let directory = |name| dir.path().join(name);
        for name in ["first", "second"] {
            fs::create_dir(directory(name)).expect("created");
        }
        let path = directory("first").join("control");
        let place = Place::find(&path, Trust::Own).expect("found");
        fs::rename(directory("first"), directory("moved")).expect("renamed");
        std::os::unix::fs::symlink(directory("second"), directory("first")).expect("linked");
        // The second call finds the dead socket of the first.
        for _ in 0..2 {
            let socket = SocketFile::bind_at(&place, &path, None).expect("bound");
            UnixStream::connect(directory("moved").join("control")).expect("connected");
            drop(socket);
        }
        assert_eq!(fs::read_dir(directory("second")).expect("listed").count(), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_socket_whose_directory_nobody_else_can_replace_is_listed_with_its_path() {
        let (_dir, path) = socket_path();
        let (listener, _file) = SocketFile::claim(&path, None).expect("claimed").into_parts();
        let address = UnixListener::from(listener).local_addr().expect("bound");
        assert_eq!(address.as_pathname(), Some(path.as_path()));
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
