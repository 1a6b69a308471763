//! A Unix socket at its place in the file system, for its owner alone.
//!
//! Whether somebody answers is what counts, so a socket that a dead process left behind is no
//! obstacle. Nothing but a socket is ever removed.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, lchown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use crate::error::{Error, Result};
use crate::limits::umask;
use crate::privileges::Privileges;

/// The longest path of a socket in bytes: `sun_path` of unix(7), less its final zero.
pub const PLACE_MAX: usize = 107;

/// The mask that leaves a new socket (mode 0777 otherwise) readable and writable for its owner alone.
const OWNER_ONLY: u32 = 0o177;

/// A Unix socket that listens at its place.
///
/// Processes forked from now on share the listener: each drops its copy, or clients would wait for
/// an answer of a daemon that is gone. Dropped, the socket stays where it is and answers nobody.
#[derive(Debug)]
pub struct SocketFile {
    listener: UnixListener,
    place: Place,
}

/// Where a socket stands, and which one it is.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    /// Binds a socket at this path, with mode 0600 from the first instant, and gives it to a new
    /// owner, if there is one. What a dead process has left there is replaced.
    ///
    /// It changes the process's umask for that instant: call it while there is one thread. Two
    /// processes that replace the same socket at the same time are for a
    /// [`PidFile`](crate::pidfile::PidFile) to keep apart.
    ///
    /// # Errors
    ///
    /// - [`Error::SocketTaken`] if a living process answers there.
    /// - [`Error::NoSocket`] if another kind of file stands there, a symbolic link for one.
    /// - [`Error::Os`] if the system refuses.
    pub fn claim(path: &Path, owner: Option<&Privileges>) -> Result<SocketFile> {
        let act = || format!("bind socket {}", path.display());
        remove_if_dead(path)?;
        let former = umask(OWNER_ONLY);
        let bound = UnixListener::bind(path);
        umask(former);
        let listener = bound.map_err(|error| Error::os(act(), error))?;
        let ready = || {
            if let Some(owner) = owner {
                lchown(path, Some(owner.user.uid), Some(owner.group.gid))?;
            }
            listener.set_nonblocking(true)?;
            fs::symlink_metadata(path)
        };
        match ready() {
            Ok(file) => {
                let place = Place { path: path.to_owned(), identity: identity(&file) };
                Ok(SocketFile { listener, place })
            }
            Err(error) => {
                // It has stood there for an instant: nobody else's can be there.
                let _ = fs::remove_file(path);
                Err(Error::os(act(), error))
            }
        }
    }

    /// Parts the listener, which does not block, from its place.
    #[must_use]
    pub fn into_parts(self) -> (OwnedFd, Place) {
        (self.listener.into(), self.place)
    }

    /// Removes the socket: see [`Place::release`].
    ///
    /// # Errors
    ///
    /// As [`Place::release`].
    pub fn release(self) -> Result<()> {
        self.place.release()
    }
}

impl Place {
    /// Tells where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the socket from its place, if it is still the one that was bound there.
    ///
    /// # Errors
    ///
    /// If the system refuses, as in a directory of root's after privileges were dropped.
    pub fn release(self) -> Result<()> {
        match fs::symlink_metadata(&self.path) {
            Ok(there) if identity(&there) == self.identity => {
                fs::remove_file(&self.path).map_err(|error| {
                    Error::os(format!("remove socket {}", self.path.display()), error)
                })
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// Removes a socket on which nobody answers.
fn remove_if_dead(path: &Path) -> Result<()> {
    let act = |act: &str| format!("{act} socket {}", path.display());
    let there = match fs::symlink_metadata(path) {
        Ok(there) => there,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::os(act("look at"), error)),
    };
    if !there.file_type().is_socket() {
        return Err(Error::NoSocket { place: path.to_owned() });
    }
    match knock(path) {
        Knock::Dead => fs::remove_file(path).map_err(|error| Error::os(act("replace"), error)),
        Knock::Alive => Err(Error::SocketTaken { place: path.to_owned() }),
        Knock::Unknown(error) => Err(Error::os(act("try out"), error)),
    }
}

enum Knock {
    Alive,
    Dead,
    Unknown(io::Error),
}

fn knock(path: &Path) -> Knock {
    match connect_at_once(path) {
        Ok(()) => Knock::Alive,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Knock::Dead,
        // Its queue is full: somebody holds it.
        Err(error) if error.kind() == ErrorKind::WouldBlock => Knock::Alive,
        Err(error) => Knock::Unknown(error),
    }
}

/// Connects, or does not: a daemon that hangs may keep who connects waiting for ever.
fn connect_at_once(path: &Path) -> io::Result<()> {
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

    fn place() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("control");
        (dir, path)
    }

    #[test]
    fn it_is_its_owner_s_alone_and_gone_when_released() {
        let (_dir, path) = place();
        let socket = SocketFile::claim(&path, None).expect("free");
        let mode = fs::symlink_metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        UnixStream::connect(&path).expect("somebody listens");
        socket.release().expect("removed");
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_on_which_somebody_answers_is_refused_and_a_dead_one_replaced() {
        let (_dir, path) = place();
        let first = SocketFile::claim(&path, None).expect("free");
        let error = SocketFile::claim(&path, None).expect_err("refused");
        assert_eq!(
            error.to_string(),
            format!("already running: somebody answers on socket {}", path.display())
        );
        drop(first);
        assert!(path.exists());
        SocketFile::claim(&path, None).expect("free again").release().expect("removed");
    }

    #[test]
    fn a_daemon_that_hangs_with_a_full_queue_is_alive_all_the_same() {
        let (_dir, path) = place();
        let _hangs = SocketFile::claim(&path, None).expect("free");
        // Who connects stays in the queue, gone or not.
        let waiting = (0..100_000).take_while(|_| connect_at_once(&path).is_ok()).count();
        assert!(waiting < 100_000, "the queue has an end");
        let error = SocketFile::claim(&path, None).expect_err("refused");
        assert!(matches!(error, Error::SocketTaken { .. }), "{error}");
    }

    #[test]
    fn what_is_no_socket_is_never_removed() {
        let (dir, path) = place();
        fs::write(&path, "precious").expect("room");
        let error = SocketFile::claim(&path, None).expect_err("refused");
        assert!(matches!(error, Error::NoSocket { .. }), "{error}");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        SocketFile::claim(&link, None).expect_err("refused");
        assert_eq!(fs::read_to_string(&path).expect("there"), "precious");
        assert!(link.is_symlink());
    }

    #[test]
    fn another_s_socket_stays_when_the_former_one_is_released() {
        let (_dir, path) = place();
        let former = SocketFile::claim(&path, None).expect("free");
        fs::remove_file(&path).expect("there");
        let _present = SocketFile::claim(&path, None).expect("free");
        former.release().expect("nothing to do");
        assert!(path.exists());
    }
}
