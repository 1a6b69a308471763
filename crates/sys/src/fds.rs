//! Lists the open descriptors of this process, for diagnostics and leak tests. The function
//! [`take_inherited`] takes ownership of descriptors that this process inherited from its parent,
//! [`close_inherited`] closes them, and [`close_others`] closes those that a forked process does
//! not need.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Mutex;
use std::{fs, io};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use crate::error::{Error, Result};
use crate::limits::open_files_limit;

/// Returns the open descriptors in ascending order, each with its target: a path, or a description
/// such as `socket:[4711]`. On systems other than Linux the target is empty.
///
/// # Errors
///
/// If `/proc/self/fd` (on systems other than Linux `/dev/fd`) cannot be read.
pub fn open_fds() -> Result<Vec<(RawFd, String)>> {
    let mut fds =
        platform::list().map_err(|error| Error::os("list the open descriptors", error))?;
    fds.sort();
    Ok(fds)
}

/// Closes all descriptors of this process except standard input, output and error and `keep`, if
/// any.
///
/// Call this function in a forked process that never returns to the code that owns the other
/// descriptors: it ends with [`exit_now`](crate::process::exit_now), so no owner uses or closes its
/// descriptor afterwards.
///
/// # Errors
///
/// If the open descriptors can neither be listed nor be counted.
pub fn close_others(keep: Option<BorrowedFd<'_>>) -> Result<()> {
    let keep = keep.map(|keep| keep.as_raw_fd());
    for (fd, _target) in list_or_probe()? {
        if fd >= FIRST && Some(fd) != keep {
            // SAFETY: close(2) accepts any number. This process exits without running code that
            // owns the descriptor, see above.
            unsafe { libc::close(fd) };
        }
    }
    Ok(())
}

/// Returns the number of open descriptors.
///
/// # Errors
///
/// The errors of [`open_fds`].
pub fn count() -> Result<usize> {
    open_fds().map(|fds| fds.len())
}

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
                io::Error::other(reason),
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
    let open = list_or_probe()?;
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

/// Returns the open descriptors. If they cannot be listed, tries all numbers after standard error,
/// and leaves out the targets.
pub(crate) fn list_or_probe() -> Result<Vec<(RawFd, String)>> {
    match open_fds() {
        Ok(open) if platform::LISTS_ALL => Ok(open),
        Ok(_) | Err(_) => {
            let limit = open_files_limit()?.min(NUMBERS_MAX);
            let limit = RawFd::try_from(limit).unwrap_or(RawFd::MAX);
            let open = (FIRST..limit).filter(|fd| flags(*fd).is_ok());
            Ok(open.map(|fd| (fd, String::new())).collect())
        }
    }
}

fn flags(fd: RawFd) -> Result<FdFlag> {
    // SAFETY: fcntl(2) accepts any number, and returns EBADF if it is not an open descriptor.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    nix::Error::result(flags)
        .map(FdFlag::from_bits_truncate)
        .map_err(|error| Error::os(format!("take inherited descriptor {fd}"), error))
}

/// Returns the numbers of the descriptors that a directory lists. They include the directory's own
/// descriptor, which is closed afterwards.
fn numbers(directory: &str) -> io::Result<Vec<RawFd>> {
    let names = fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name()));
    // Each entry keeps the directory open, so keep only the names.
    let names: Vec<_> = names.collect::<io::Result<_>>()?;
    Ok(names.iter().filter_map(|name| name.to_str()?.parse().ok()).collect())
}

/// Lists open descriptors with `/proc/self/fd`.
#[cfg(all(target_os = "linux", not(fallback)))]
mod platform {
    use std::os::fd::RawFd;
    use std::{fs, io};

    /// Whether `list` always returns all open descriptors.
    pub(super) const LISTS_ALL: bool = true;

    pub(super) fn list() -> io::Result<Vec<(RawFd, String)>> {
        let target = |fd| {
            let target = fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
            Some((fd, target.display().to_string()))
        };
        Ok(super::numbers("/proc/self/fd")?.into_iter().filter_map(target).collect())
    }
}

/// Lists open descriptors with `/dev/fd`. On FreeBSD this directory contains only the first three
/// descriptors, unless fdescfs is mounted.
#[cfg(any(not(target_os = "linux"), fallback))]
mod platform {
    use std::io;
    use std::os::fd::RawFd;

    pub(super) const LISTS_ALL: bool = false;

    pub(super) fn list() -> io::Result<Vec<(RawFd, String)>> {
        let open = super::numbers("/dev/fd")?.into_iter().filter(|fd| super::flags(*fd).is_ok());
        Ok(open.map(|fd| (fd, String::new())).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::IntoRawFd;

    use super::*;

    #[test]
    fn an_open_file_is_listed_and_a_closed_one_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = File::create(dir.path().join("open")).expect("created");
        let fd = file.as_raw_fd();
        assert!(open_fds().expect("listed").iter().any(|(open, _)| *open == fd));
        assert!(count().expect("counted") > 3);
        drop(file);
        let path = dir.path().join("open").display().to_string();
        assert!(!open_fds().expect("listed").iter().any(|(_, target)| *target == path));
    }

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
