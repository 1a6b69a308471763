//! Takes ownership of descriptors that this program has inherited from its parent, or closes them.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::Mutex;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use super::open_fds;
use crate::error::{Error, Result};
use crate::limits::open_files_limit;

/// Serialises calls, so that no descriptor is taken twice.
static TAKING: Mutex<()> = Mutex::new(());

/// Takes ownership of `count` inherited descriptors, starting at `first`, and sets them
/// close-on-exec.
///
/// A descriptor counts as inherited if its close-on-exec flag is not set. Descriptors that this
/// program has opened itself, or has taken already, have this flag.
///
/// # Errors
///
/// If one of the descriptors is not open, was not inherited, or was taken before. No
/// descriptor is taken in these cases.
pub fn take_inherited(first: RawFd, count: usize) -> Result<Vec<OwnedFd>> {
    let taking = TAKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let end = RawFd::try_from(count).ok().and_then(|count| first.checked_add(count));
    let action = || format!("take {count} inherited descriptors from {first}");
    let end = end.ok_or_else(|| Error::os(action(), nix::Error::EBADF))?;
    let wanted = first..end;
    for fd in wanted.clone() {
        let flags = flags(fd)?;
        if flags.contains(FdFlag::FD_CLOEXEC) {
            let reason = "this program has opened it itself, or taken it before";
            return Err(Error::os(
                format!("take inherited descriptor {fd}"),
                std::io::Error::other(reason),
            ));
        }
    }
    let taken = wanted.map(|fd| {
        // SAFETY: the descriptor is open. It was not close-on-exec, so it was inherited, and
        // nothing in this program owns it. It is taken only once, because the next call sets it
        // close-on-exec.
        let owned = unsafe { OwnedFd::from_raw_fd(fd) };
        fcntl(&owned, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))
            .map_err(|error| Error::os("set an inherited descriptor close-on-exec", error))?;
        Ok(owned)
    });
    let taken = taken.collect();
    drop(taking);
    taken
}

/// The number of a descriptor after standard input, output and error.
const FIRST: RawFd = 3;
/// The greatest number that is looked at if the open descriptors cannot be listed.
const NUMBERS_MAX: u64 = 1 << 20;

/// Closes all inherited descriptors except standard input, output and error and those that `keep`
/// accepts. Returns the closed descriptors with their targets, see [`open_fds`].
///
/// A descriptor counts as inherited if its close-on-exec flag is not set, as in [`take_inherited`].
/// Everything that Rust opens has the flag. A descriptor without it that a C library of this
/// program has opened, or from which this program has removed the flag, is closed, too, unless
/// `keep` accepts it.
///
/// # Errors
///
/// If the open descriptors can neither be listed nor be counted.
pub fn close_inherited(keep: impl Fn(RawFd) -> bool) -> Result<Vec<(RawFd, String)>> {
    let taking = TAKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let is_inherited = |fd: RawFd| flags(fd).is_ok_and(|flags| !flags.contains(FdFlag::FD_CLOEXEC));
    let open = match open_fds() {
        Ok(open) if super::LISTS_ALL => open,
        Ok(_) | Err(_) => {
            let limit = open_files_limit()?.min(NUMBERS_MAX);
            let limit = RawFd::try_from(limit).unwrap_or(RawFd::MAX);
            (FIRST..limit).map(|fd| (fd, String::new())).collect()
        }
    };
    let stray = open.into_iter().filter(|(fd, _)| *fd >= FIRST && is_inherited(*fd) && !keep(*fd));
    let closed: Vec<(RawFd, String)> = stray.collect();
    for (fd, _) in &closed {
        // SAFETY: the descriptor is open and was inherited, so nothing in this program owns it. It
        // is closed once, because no other thread takes or closes inherited descriptors meanwhile.
        drop(unsafe { OwnedFd::from_raw_fd(*fd) });
    }
    drop(taking);
    Ok(closed)
}

fn flags(fd: RawFd) -> Result<FdFlag> {
    // SAFETY: fcntl(2) accepts any number, and returns EBADF if it is not an open descriptor.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    nix::Error::result(flags)
        .map(FdFlag::from_bits_truncate)
        .map_err(|error| Error::os(format!("take inherited descriptor {fd}"), error))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::{AsRawFd, IntoRawFd};

    use super::*;

    #[test]
    fn an_inherited_descriptor_can_be_taken_only_once() {
        let file = File::open("/etc/hostname").or_else(|_none| File::open("/etc/passwd"));
        let file = file.expect("a file");
        let own = take_inherited(file.as_raw_fd(), 1).expect_err("opened by this program");
        assert_eq!(
            own.to_string(),
            format!(
                "cannot take inherited descriptor {}: this program has opened it itself, or taken \
                 it before",
                file.as_raw_fd()
            )
        );
        fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty())).expect("changed");
        let fd = file.into_raw_fd();
        let taken = take_inherited(fd, 1).expect("taken");
        assert_eq!(taken.iter().map(AsRawFd::as_raw_fd).collect::<Vec<_>>(), [fd]);
        let again = take_inherited(fd, 1).expect_err("taken already");
        assert_eq!(again.to_string(), own.to_string());
        for descriptor in taken {
            File::from(descriptor).read_to_end(&mut Vec::new()).expect("readable");
        }
    }

    #[test]
    fn a_descriptor_that_is_not_open_is_refused() {
        let closed = take_inherited(100_000, 1).expect_err("not open").to_string();
        let sentence = "cannot take inherited descriptor 100000: bad file ";
        assert!(closed.starts_with(sentence), "{closed}");
        let overflow = take_inherited(RawFd::MAX, 7).expect_err("out of range").to_string();
        let sentence = "cannot take 7 inherited descriptors from 2147483647: bad file ";
        assert!(overflow.starts_with(sentence), "{overflow}");
        assert_eq!(take_inherited(100_000, 0).expect("nothing to take").len(), 0);
    }
}
