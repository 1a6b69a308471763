//! Lists the open descriptors of this process, for diagnostics and leak tests. The function
//! [`take_inherited`] takes ownership of descriptors that this process inherited from its parent,
//! [`close_inherited`] closes them, and [`close_others`] closes those that a forked process does not
//! need.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use crate::error::{Error, Result};

#[cfg(any(not(target_os = "linux"), fallback))]
mod fallback;
mod inherited;
#[cfg(all(target_os = "linux", not(fallback)))]
mod linux;
#[cfg(any(not(target_os = "linux"), fallback))]
use fallback as platform;
#[cfg(all(target_os = "linux", not(fallback)))]
use linux as platform;

pub use inherited::{close_inherited, take_inherited};
/// Whether [`open_fds`] always lists all open descriptors.
pub(crate) use platform::LISTS_ALL;

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

/// Closes all descriptors of this process except standard input, output and error and `keep`.
///
/// Call this function in a forked process that never returns to the code that owns the other
/// descriptors: it ends with [`exit_now`](crate::process::exit_now), so no owner uses or closes its
/// descriptor afterwards.
///
/// # Errors
///
/// The errors of [`open_fds`]; no descriptor is closed then.
pub fn close_others(keep: BorrowedFd<'_>) -> Result<()> {
    for (fd, _target) in open_fds()? {
        if fd > libc::STDERR_FILENO && fd != keep.as_raw_fd() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

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
}
