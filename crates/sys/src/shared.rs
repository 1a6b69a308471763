//! Memory that processes share: made before a fork, or kept in a file that others can look at.
//!
//! Mappings live as long as the process, on purpose: they are made once, at launch, and a
//! reference that can't dangle is worth a leak that never grows.

use std::ffi::c_void;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

use libc::c_int;
use zerocopy::FromBytes;

use crate::error::{Error, Result};
use crate::process::Pid;

/// Maps `count` zeroed values that this process and all that it forks from now on share.
///
/// `T` is to be made of atomics, or of cells with a protocol of their own: any process may change
/// it at any time. It can hold no pointer, which another process could not follow: `FromBytes`
/// sees to it. The mapping begins on a page.
///
/// # Errors
///
/// [`Error::Layout`] if `T` has no size, or a larger alignment than a page, or there are too many;
/// [`Error::Os`] if there is no memory.
///
/// # Examples
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// # fn main() -> Result<(), daemon_sys::error::Error> {
/// let counters: &'static [AtomicU64] = daemon_sys::shared::anonymous(8)?;
/// counters[3].fetch_add(1, Ordering::Relaxed);
/// assert_eq!(counters[3].load(Ordering::Relaxed), 1);
/// # Ok(())
/// # }
/// ```
pub fn anonymous<T: FromBytes + Sync + 'static>(count: usize) -> Result<&'static [T]> {
    let object = "shared memory";
    let length = length_of::<T>(count, object)?;
    let flags = libc::MAP_SHARED | libc::MAP_ANON;
    let start = map(length, flags, -1).map_err(|error| unmapped(object, length, error))?;
    // SAFETY: `start` is a new mapping of that length, zeroed, that is never unmapped.
    Ok(unsafe { values(start, count) })
}

/// Maps `count` zeroed values that are kept in a file, so that another program can look at them.
///
/// The file is written anew under another name, readable by its owner only (mode 0600), and
/// renamed to `path`: who has the former one mapped goes on seeing that. It is not removed at the
/// end of the process.
///
/// The rules of [`anonymous`] for `T` hold; the file must not be shortened, or the next touch is a
/// `SIGBUS`.
///
/// # Errors
///
/// As [`anonymous`], and if the file can't be written.
pub fn in_file<T: FromBytes + Sync + 'static>(
    path: impl AsRef<Path>,
    count: usize,
) -> Result<&'static [T]> {
    let path = path.as_ref();
    let object = path.display().to_string();
    let length = length_of::<T>(count, &object)?;
    let fresh = beside(path);
    let made = make(&fresh, path, length);
    if made.is_err() {
        // It may never have been made; the first error is the one to tell.
        let _ = fs::remove_file(&fresh);
    }
    let file = made.map_err(|error| Error::os(format!("write shared file {object}"), error))?;
    let start = map(length, libc::MAP_SHARED, file.as_raw_fd())
        .map_err(|error| unmapped(&object, length, error))?;
    // SAFETY: `start` is a new mapping of that length, zeroed, that is never unmapped.
    Ok(unsafe { values(start, count) })
}

/// Maps the values that another process keeps in a file by [`in_file`], to look at; how many is
/// told by the file's length.
///
/// What is stored through it stays in this process: the mapping is private. It is writable all the
/// same, because an atomic load from a read-only page is only defined for relaxed loads (std's
/// `atomic` module). Linux shows the other's changes on every page that was not written to here;
/// POSIX leaves it open.
///
/// # Errors
///
/// If the file can't be opened, or [`Error::Layout`] if its length is no multiple of the size of
/// `T`, or nothing.
pub fn open_file<T: FromBytes + Sync + 'static>(path: impl AsRef<Path>) -> Result<&'static [T]> {
    let object = path.as_ref().display().to_string();
    let open = || {
        let file = File::open(&path)?;
        let length = file.metadata()?.size();
        Ok((file, length))
    };
    let (file, length) = open()
        .map_err(|error: io::Error| Error::os(format!("open shared file {object}"), error))?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let count = length.checked_div(size_of::<T>()).unwrap_or(0);
    if length_of::<T>(count, &object)? != length {
        let reason = format!("its {length} bytes are no multiple of {}", size_of::<T>());
        return Err(Error::Layout { object, reason });
    }
    let start = map(length, libc::MAP_PRIVATE, file.as_raw_fd())
        .map_err(|error| unmapped(&object, length, error))?;
    // SAFETY: `start` is a new mapping of that length, that is never unmapped.
    Ok(unsafe { values(start, count) })
}

fn make(fresh: &Path, path: &Path, length: usize) -> io::Result<File> {
    // Left behind by a process that had our pid and was killed just here.
    let _ = fs::remove_file(fresh);
    let mut file =
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(fresh)?;
    // A file that is only said to be so long has no room on a full disk: writing to it through the
    // mapping would be the process' death (SIGBUS, mmap(2)).
    io::copy(&mut io::repeat(0).take(length as u64), &mut file)?;
    fs::rename(fresh, path)?;
    Ok(file)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.new", Pid::this()));
    PathBuf::from(name)
}

fn length_of<T>(count: usize, object: &str) -> Result<usize> {
    let refuse = |reason: &str| Err(Error::Layout { object: object.into(), reason: reason.into() });
    let page = 4096;
    match size_of::<T>().checked_mul(count) {
        Some(0) => refuse("it would be empty"),
        Some(_) if align_of::<T>() > page => refuse("its values are aligned to more than a page"),
        Some(length) if isize::try_from(length).is_ok() => Ok(length),
        Some(_) | None => refuse("it would be larger than the address space"),
    }
}

fn unmapped(object: &str, length: usize, error: io::Error) -> Error {
    Error::os(format!("map {length} bytes of {object}"), error)
}

fn map(length: usize, flags: c_int, fd: c_int) -> io::Result<NonNull<c_void>> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: with no address asked for, mmap lays the mapping where nothing is.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), length, access, flags, fd, 0) };
    match NonNull::new(start) {
        Some(start) if start.as_ptr() != libc::MAP_FAILED => Ok(start),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sees a mapping as values.
///
/// # Safety
///
/// `start` is that of a readable and writable mapping, never unmapped, of at least `count` times
/// the size of `T`.
unsafe fn values<T: FromBytes + Sync + 'static>(
    start: NonNull<c_void>,
    count: usize,
) -> &'static [T] {
    // SAFETY: the mapping is as long as the caller promises, on a page boundary and so aligned, and
    // any bytes are a `T` (`FromBytes`). Changes by other processes are of `T`'s own kind.
    unsafe { std::slice::from_raw_parts(start.as_ptr().cast_const().cast(), count) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::SeqCst};

    use super::*;

    #[test]
    fn who_opens_the_file_sees_what_is_stored_and_harms_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("board");
        let ours = in_file::<AtomicU64>(&path, 1000).expect("maps");
        ours[999].store(7, SeqCst);
        let theirs = open_file::<AtomicU64>(&path).expect("opens");
        assert_eq!((theirs.len(), theirs[999].load(SeqCst)), (1000, 7));
        ours[999].store(8, SeqCst);
        assert_eq!(theirs[999].load(SeqCst), 8);
        theirs[0].store(9, SeqCst);
        assert_eq!(ours[0].load(SeqCst), 0);
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn the_file_has_its_room_on_the_disk_before_it_is_mapped() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("board");
        in_file::<AtomicU64>(&path, 4096).expect("maps");
        let made = fs::metadata(&path).expect("there");
        assert_eq!(made.size(), 32 * 1024);
        assert!(made.blocks() * 512 >= made.size(), "{} blocks", made.blocks());
    }

    #[test]
    fn a_new_file_replaces_the_former_which_stays_mapped() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("board");
        let former = in_file::<AtomicU8>(&path, 10).expect("maps");
        former[0].store(1, SeqCst);
        let new = in_file::<AtomicU8>(&path, 20).expect("maps");
        assert_eq!((former[0].load(SeqCst), new[0].load(SeqCst)), (1, 0));
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 1);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_reason() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("board");
        in_file::<AtomicU8>(&path, 9).expect("maps");
        let odd = open_file::<AtomicU64>(&path).expect_err("refused").to_string();
        assert!(odd.ends_with("its 9 bytes are no multiple of 8"), "{odd}");
        let none = anonymous::<AtomicU64>(0).expect_err("refused").to_string();
        assert_eq!(none, "cannot map shared memory: it would be empty");
        let endless = anonymous::<AtomicU64>(usize::MAX / 4).expect_err("refused").to_string();
        assert!(endless.starts_with("cannot map shared memory: "), "{endless}");
        let nowhere = in_file::<AtomicU8>("/nonexistent/board", 1).expect_err("refused");
        let nowhere = nowhere.to_string();
        assert!(nowhere.starts_with("cannot write shared file /nonexistent/board: no such"));
    }
}
