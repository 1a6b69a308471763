//! Shared memory that is created before a fork, or in a file that other programs can map.
//!
//! Mappings are deliberately never unmapped, so references to them cannot dangle. A daemon creates
//! its mappings only at launch. daemonctl maps a file again only if another file has replaced it,
//! which happens once for each restart of the daemon.

use std::ffi::c_void;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::ptr::NonNull;

use libc::c_int;
use nix::fcntl::OFlag;
use zerocopy::FromBytes;

use crate::error::{Error, Result};
use crate::ownfile::OwnFile;
use crate::place::{Entry, FileKind, Place, Trust};
use crate::process::this_pid;

mod truncation;

/// Shared memory whose start can be made read-only.
///
/// The process that maps the memory can write to all of it. It then forks, and the forked process
/// calls [`make_read_only`](SharedMemory::make_read_only), so that only the first process can write
/// to the start of the memory.
///
/// # Examples
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use daemon_sys::shared::SharedMemory;
///
/// # fn main() -> Result<(), daemon_sys::error::Error> {
/// let memory = SharedMemory::<AtomicU64>::anonymous(8)?;
/// memory.values()[3].fetch_add(1, Ordering::Relaxed);
/// // Eight values are less than a page, so nothing is made read-only.
/// memory.make_read_only(8)?;
/// assert_eq!(memory.values()[3].fetch_add(1, Ordering::Relaxed), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SharedMemory<T: 'static> {
    values: &'static [T],
    /// The memory as a file from which no writable mapping can be made, if the system has that.
    backing: Option<OwnedFd>,
    /// The path of the file, if it has one.
    file: Option<OwnFile>,
}

impl<T: FromBytes + Sync + 'static> SharedMemory<T> {
    /// Maps `count` zeroed values that this process shares with all processes that it forks from
    /// now on. `T` must meet the conditions of [`anonymous`](fn@anonymous).
    ///
    /// On Linux the memory is a sealed memory file: no process can truncate it.
    ///
    /// # Errors
    ///
    /// The errors of [`anonymous`](fn@anonymous).
    pub fn anonymous(count: usize) -> Result<SharedMemory<T>> {
        let object = "shared memory";
        let length = length_of::<T>(count, object)?;
        let start = platform::map_anonymous(length);
        let (start, backing) = start.map_err(|error| map_error(object, length, error))?;
        // SAFETY: `start` is a new mapping of that length, zeroed, that is never unmapped.
        let values = unsafe { values(start, count) };
        Ok(SharedMemory { values, backing, file: None })
    }

    /// Maps `count` zeroed values in a file, as [`in_file`](fn@in_file) does.
    ///
    /// # Errors
    ///
    /// The errors of [`in_file`](fn@in_file).
    pub fn in_file(path: impl AsRef<Path>, count: usize) -> Result<SharedMemory<T>> {
        let path = path.as_ref();
        let object = path.display().to_string();
        let length = length_of::<T>(count, &object)?;
        let (file, read_only, own) = create(path, length)
            .map_err(|error| Error::os(format!("write shared file {object}"), error))?;
        let mapped = map(length, libc::MAP_SHARED, file.as_raw_fd())
            .and_then(|start| truncation::survive(file, start, length).map(|()| start));
        let start = mapped.map_err(|error| {
            // The error that is returned says more than one of the removal.
            let _ = own.remove();
            map_error(&object, length, error)
        })?;
        // SAFETY: `start` is a new mapping of that length, zeroed, that is never unmapped.
        let values = unsafe { values(start, count) };
        Ok(SharedMemory { values, backing: Some(read_only.into()), file: Some(own) })
    }

    /// Returns the file in which the values are, if they are in a file.
    #[must_use]
    pub fn file(&self) -> Option<&OwnFile> {
        self.file.as_ref()
    }

    /// Returns the values.
    #[must_use]
    pub fn values(&self) -> &'static [T] {
        self.values
    }

    /// Makes the first `count` values read-only in this process and in all processes that it forks
    /// from now on, as far as these values fill whole pages. A write to them raises `SIGSEGV`.
    ///
    /// On Linux these processes cannot make the values writable again. On other systems they can,
    /// unless the memory is a file, so only accidental writes are prevented.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] if the system refuses the change.
    pub fn make_read_only(&self, count: usize) -> Result<()> {
        let values = self.values.get(..count).unwrap_or(self.values);
        let length = whole_pages(size_of_val(values));
        if length == 0 {
            return Ok(());
        }
        let start = values.as_ptr().cast_mut().cast();
        let protected = match &self.backing {
            Some(file) => {
                let (access, flags) = (libc::PROT_READ, libc::MAP_SHARED | libc::MAP_FIXED);
                let fd = file.as_fd().as_raw_fd();
                // SAFETY: the new mapping replaces the start of our own mapping by the same pages
                // of the same file, so references to them stay valid. Atomics on read-only pages
                // may be loaded.
                let mapped = unsafe { libc::mmap(start, length, access, flags, fd, 0) };
                mapped != libc::MAP_FAILED
            }
            // SAFETY: `start` is the start of our own mapping, which has at least that length.
            None => unsafe { libc::mprotect(start, length, libc::PROT_READ) == 0 },
        };
        if protected {
            if self.file.is_some() {
                truncation::set_read_only(start, length);
            }
            return Ok(());
        }
        let action = format!("make {length} bytes of shared memory read-only");
        Err(Error::os(action, io::Error::last_os_error()))
    }
}

/// Returns the part of a length that fills whole pages.
fn whole_pages(length: usize) -> usize {
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
    let page = page.ok().flatten().and_then(|page| usize::try_from(page).ok());
    page.map_or(0, |page| length - length % page)
}

/// Maps `count` zeroed values that this process shares with all processes that it forks from now
/// on.
///
/// `T` must consist of atomics, because any process can change the values at any time. `FromBytes`
/// ensures that `T` contains no pointers, which would be invalid in another process. The mapping
/// starts on a page boundary.
///
/// # Errors
///
/// [`Error::Layout`] if `count` or the size of `T` is zero, if the alignment of `T` is greater than
/// a page, or if `count` is too large. [`Error::Os`] if the system is out of memory.
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
    let start = map(length, flags, -1).map_err(|error| map_error(object, length, error))?;
    // SAFETY: `start` is a new mapping of that length, zeroed, that is never unmapped.
    Ok(unsafe { values(start, count) })
}

/// Maps `count` zeroed values in a file, so that another program can read them.
///
/// A new file is written under another name, accessible to its owner only (mode 0600), and renamed
/// to `path`. A process that has mapped the previous file at `path` keeps its mapping of that file.
/// The file is not removed when the process exits.
///
/// `T` must meet the conditions of [`anonymous`]. Every process of the file's owner can truncate
/// the file. This process and those that it forks survive that: a handler of `SIGBUS` extends the
/// file again, or replaces its pages if the disk is full, and the values are then zero. The file
/// stays open for this purpose. Code that installs another handler of `SIGBUS`, or blocks the
/// signal, gives this up for its process.
///
/// # Errors
///
/// The errors of [`anonymous`], and [`Error::Os`] if the file cannot be written.
pub fn in_file<T: FromBytes + Sync + 'static>(
    path: impl AsRef<Path>,
    count: usize,
) -> Result<&'static [T]> {
    SharedMemory::in_file(path, count).map(|memory| memory.values)
}

/// Maps the values of a file for reading. Another process has created the file with [`in_file`].
/// The file's length determines the number of values.
///
/// The mapping is private, so stores to it are not visible to other processes. It is writable,
/// because on read-only pages Rust allows only relaxed atomic loads (module [`std::sync::atomic`]).
/// On Linux the changes of the other process are visible on every page that this process has not
/// written to. POSIX does not specify whether they are visible. If the file is truncated, an access
/// to the values ends this process; [`FileCopy`] can read the file of a process that may do that.
///
/// # Errors
///
/// [`Error::Os`] if the file cannot be opened or mapped. [`Error::Layout`] if its length is zero or
/// not a multiple of the size of `T`.
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
        let reason =
            format!("its length of {length} bytes is not a multiple of {}", size_of::<T>());
        return Err(Error::Layout { object, reason });
    }
    let start = map(length, libc::MAP_PRIVATE, file.as_raw_fd())
        .map_err(|error| map_error(&object, length, error))?;
    // SAFETY: `start` is a new mapping of that length, that is never unmapped.
    Ok(unsafe { values(start, count) })
}

/// A copy of the values of a file that another process has created with [`in_file`]. Unlike a
/// mapping of the file, the copy can be read whatever happens to the file.
#[derive(Debug, Default)]
pub struct FileCopy<T: 'static> {
    values: &'static [T],
}

impl<T: FromBytes + Sync + 'static> FileCopy<T> {
    /// Copies the file, and returns the values. A file that contains more than `most` values is
    /// refused. Values that change during the copy may be partly old and partly new.
    ///
    /// `T` must meet the conditions of [`anonymous`]: the next call changes the returned values. If
    /// the length of the file differs from that of the last call, the values get new memory, and
    /// the old memory is not freed, because it may still be in use.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] if the path does not lead to a regular file that can be read.
    /// [`Error::Layout`] if the length of the file is zero, not a multiple of the size of `T` or
    /// too large, or if the file has become shorter.
    pub fn read(&mut self, path: impl AsRef<Path>, most: usize) -> Result<&'static [T]> {
        let object = path.as_ref().display().to_string();
        let failed = |error| Error::os(format!("read shared file {object}"), error);
        let layout = |reason: String| Error::Layout { object: object.clone(), reason };
        let mut options = File::options();
        // Opening a FIFO would wait otherwise.
        options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
        let file = options.open(&path).map_err(failed)?;
        let entry = Entry::of(&file).map_err(failed)?;
        if entry.kind != FileKind::Regular {
            return Err(failed(io::Error::other(format!("it is {entry}"))));
        }
        let length = file.metadata().map_err(failed)?.size();
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let count = length / size_of::<T>().max(1);
        if count == 0 || count * size_of::<T>() != length {
            let size = size_of::<T>();
            let reason = format!("its length of {length} bytes is not a multiple of {size}");
            return Err(layout(reason));
        }
        if count > most {
            return Err(layout(format!("it has {length} bytes, more than {most} values")));
        }
        if self.values.len() != count {
            self.values = anonymous(count)?;
        }
        if read_into(&file, self.values).map_err(failed)? != length {
            return Err(layout("it has just been truncated".to_owned()));
        }
        Ok(self.values)
    }
}

/// Reads the start of a file into memory that only [`anonymous`] has returned. Returns the number
/// of bytes.
fn read_into<T: FromBytes + Sync + 'static>(
    file: &File,
    values: &'static [T],
) -> io::Result<usize> {
    let (start, length) = (values.as_ptr().cast::<u8>().cast_mut(), size_of_val(values));
    let mut read = 0;
    while read < length {
        // SAFETY: `read` is less than the length of the memory.
        let next = unsafe { start.add(read) };
        let offset = libc::off_t::try_from(read).map_err(io::Error::other)?;
        // SAFETY: the rest of the memory is writable shared memory, whose values may change at any
        // time, and any bytes are valid values.
        let count = unsafe { libc::pread(file.as_raw_fd(), next.cast(), length - read, offset) };
        match usize::try_from(count) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(read)
}

/// Creates the file. Returns it opened for writing, once more for reading only, and its path.
fn create(path: &Path, length: usize) -> io::Result<(File, File, OwnFile)> {
    let path = std::path::absolute(path)?;
    let place = Place::find(&path, Trust::Own)?;
    if let Some(entry) = place.entry()?
        && entry.kind != FileKind::Regular
    {
        return Err(io::Error::other(format!("it is {entry}; remove it")));
    }
    let temporary = place.sibling(&format!(".{}.new", this_pid()))?;
    // An earlier process with the same pid may have left the file behind when it was killed.
    let _ = temporary.remove();
    let mut file = temporary.create(OFlag::O_RDWR, 0o600)?;
    let mut fill = || {
        // Setting only the length would allocate no disk blocks. On a full disk, a write through
        // the mapping would then kill the process (SIGBUS, mmap(2)).
        io::copy(&mut io::repeat(0).take(length as u64), &mut file)?;
        let read_only = temporary.open(OFlag::O_RDONLY, 0)?;
        let entry = Entry::of(&file)?;
        if Entry::of(&read_only)?.identity != entry.identity {
            return Err(io::Error::other("another process has replaced the new file"));
        }
        temporary.rename_to(&place)?;
        Ok((read_only, OwnFile::new(&path, &entry)))
    };
    match fill() {
        Ok((read_only, own)) => Ok((file, read_only, own)),
        Err(error) => {
            // The error that is returned says more than one of the removal.
            let _ = temporary.remove();
            Err(error)
        }
    }
}

fn length_of<T>(count: usize, object: &str) -> Result<usize> {
    let refuse = |reason: &str| Err(Error::Layout { object: object.into(), reason: reason.into() });
    let page = 4096;
    match size_of::<T>().checked_mul(count) {
        Some(0) => refuse("its size is zero"),
        Some(_) if align_of::<T>() > page => {
            refuse("the alignment of its values is greater than a page")
        }
        Some(length) if isize::try_from(length).is_ok() => Ok(length),
        Some(_) | None => refuse("it is larger than the address space"),
    }
}

fn map_error(object: &str, length: usize, error: io::Error) -> Error {
    Error::os(format!("map {length} bytes of {object}"), error)
}

fn map(length: usize, flags: c_int, fd: c_int) -> io::Result<NonNull<c_void>> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: without a requested address mmap places the mapping in unused address space.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), length, access, flags, fd, 0) };
    match NonNull::new(start) {
        Some(start) if start.as_ptr() != libc::MAP_FAILED => Ok(start),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Returns a mapping as a slice of values.
///
/// # Safety
///
/// `start` is the start of a readable and writable mapping of at least `count` times the size of
/// `T`, which is never unmapped.
unsafe fn values<T: FromBytes + Sync + 'static>(
    start: NonNull<c_void>,
    count: usize,
) -> &'static [T] {
    // SAFETY: the mapping has the length that the caller guarantees, is aligned to a page, and any
    // bytes are a valid `T` (`FromBytes`). `T` is designed for changes by other processes.
    unsafe { std::slice::from_raw_parts(start.as_ptr().cast_const().cast(), count) }
}

/// Shared memory as an anonymous mapping, mmap(2).
#[cfg(any(not(target_os = "linux"), fallback))]
mod platform {
    use std::ffi::c_void;
    use std::io;
    use std::os::fd::OwnedFd;
    use std::ptr::NonNull;

    use super::map;

    /// Maps zeroed memory that can be written to. There is no file.
    pub(super) fn map_anonymous(length: usize) -> io::Result<(NonNull<c_void>, Option<OwnedFd>)> {
        Ok((map(length, libc::MAP_SHARED | libc::MAP_ANON, -1)?, None))
    }
}

/// Shared memory as a sealed memory file, memfd_create(2).
#[cfg(all(target_os = "linux", not(fallback)))]
mod platform {
    use std::ffi::c_void;
    use std::io;
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::ptr::NonNull;

    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use nix::unistd::ftruncate;

    use super::map;

    /// Maps zeroed memory that can be written to. Its file permits no further writable mapping.
    pub(super) fn map_anonymous(length: usize) -> io::Result<(NonNull<c_void>, Option<OwnedFd>)> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let file = memfd_create(c"shared memory", flags)?;
        ftruncate(&file, libc::off_t::try_from(length).map_err(io::Error::other)?)?;
        let start = map(length, libc::MAP_SHARED, file.as_raw_fd())?;
        let future_write = SealFlag::from_bits_retain(libc::F_SEAL_FUTURE_WRITE);
        let fixed_size = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        // Linux before 5.1 has no F_SEAL_FUTURE_WRITE. The memory can then be made writable again.
        fcntl(&file, FcntlArg::F_ADD_SEALS(future_write | fixed_size))
            .or_else(|_old| fcntl(&file, FcntlArg::F_ADD_SEALS(fixed_size)))?;
        Ok((start, Some(file)))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::SeqCst};

    use super::*;

    #[test]
    fn a_reader_of_the_file_sees_the_writers_stores_and_cannot_change_the_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("counters");
        let ours = in_file::<AtomicU64>(&path, 1000).expect("mapped");
        ours[999].store(7, SeqCst);
        let theirs = open_file::<AtomicU64>(&path).expect("mapped");
        assert_eq!((theirs.len(), theirs[999].load(SeqCst)), (1000, 7));
        ours[999].store(8, SeqCst);
        assert_eq!(theirs[999].load(SeqCst), 8);
        theirs[0].store(9, SeqCst);
        assert_eq!(ours[0].load(SeqCst), 0);
        let mode = fs::metadata(&path).expect("the file exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    /// Returns whether this process could make the page at `values` writable.
    fn is_writable<T>(values: &[T]) -> bool {
        let maps = fs::read_to_string("/proc/self/maps").expect("readable");
        let start = values.as_ptr().addr();
        let line = maps.lines().find(|line| {
            let (from, to) =
                line.split_once(' ').and_then(|(range, _)| range.split_once('-')).expect("a range");
            let number = |text| usize::from_str_radix(text, 16).expect("a number");
            (number(from)..number(to)).contains(&start)
        });
        line.expect("mapped").split(' ').nth(1).is_some_and(|access| access.contains('w'))
    }

    #[test]
    fn the_start_of_the_memory_becomes_read_only_and_the_rest_stays_writable() {
        let dir = tempfile::tempdir().expect("a directory");
        let count = 3 * whole_pages(1 << 16) / 8;
        for memory in [
            SharedMemory::<AtomicU64>::anonymous(count).expect("mapped"),
            SharedMemory::in_file(dir.path().join("memory"), count).expect("mapped"),
        ] {
            let values = memory.values();
            values[0].store(7, SeqCst);
            memory.make_read_only(count / 3).expect("changed");
            let last = values.last().expect("there are values");
            last.store(8, SeqCst);
            assert_eq!(
                (values[0].load(std::sync::atomic::Ordering::Relaxed), last.load(SeqCst)),
                (7, 8)
            );
            if cfg!(target_os = "linux") {
                assert!(!is_writable(&values[..1]) && is_writable(&values[count - 1..]));
            }
        }
    }

    #[test]
    fn the_disk_blocks_are_allocated_before_the_file_is_mapped() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("counters");
        in_file::<AtomicU64>(&path, 4096).expect("mapped");
        let metadata = fs::metadata(&path).expect("the file exists");
        assert_eq!(metadata.size(), 32 * 1024);
        assert!(metadata.blocks() * 512 >= metadata.size(), "{} blocks", metadata.blocks());
    }

    #[test]
    fn a_new_file_replaces_the_previous_one_which_stays_mapped() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("counters");
        let previous = in_file::<AtomicU8>(&path, 10).expect("mapped");
        previous[0].store(1, SeqCst);
        let new = in_file::<AtomicU8>(&path, 20).expect("mapped");
        assert_eq!((previous[0].load(SeqCst), new[0].load(SeqCst)), (1, 0));
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 1);
    }

    #[test]
    fn a_file_is_extended_as_often_as_it_is_truncated_and_is_still_shared() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("counters");
        let ours = in_file::<AtomicU64>(&path, 4096).expect("mapped");
        for length in [0, 1, 4096].into_iter().cycle().take(300) {
            ours[4095].store(7, SeqCst);
            let file = OpenOptions::new().write(true).open(&path).expect("opened");
            file.set_len(length).expect("truncated");
            assert_eq!(ours[4095].load(SeqCst), 0);
            assert_eq!(file.metadata().expect("found").size(), 32 * 1024);
        }
        let theirs = open_file::<AtomicU64>(&path).expect("mapped");
        ours[4095].store(8, SeqCst);
        assert_eq!(theirs[4095].load(SeqCst), 8);
    }

    #[test]
    fn a_copy_of_a_file_is_refreshed_and_survives_what_happens_to_the_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("counters");
        let ours = in_file::<AtomicU64>(&path, 1000).expect("mapped");
        let mut copy = FileCopy::<AtomicU64>::default();
        ours[999].store(7, SeqCst);
        let values = copy.read(&path, 1000).expect("copied");
        assert_eq!((values.len(), values[999].load(SeqCst)), (1000, 7));
        ours[999].store(8, SeqCst);
        assert_eq!(copy.read(&path, 1000).expect("copied")[999].load(SeqCst), 8);
        let refused = |copy: &mut FileCopy<AtomicU64>, most: usize| {
            copy.read(&path, most).expect_err("refused").to_string()
        };
        assert!(refused(&mut copy, 999).ends_with("it has 8000 bytes, more than 999 values"));
        let file = OpenOptions::new().write(true).open(&path).expect("opened");
        file.set_len(0).expect("truncated");
        assert!(refused(&mut copy, 1000).ends_with("0 bytes is not a multiple of 8"));
        assert_eq!(values[999].load(SeqCst), 8);
        file.set_len(4000).expect("extended");
        assert_eq!(copy.read(&path, 1000).expect("copied").len(), 500);
        fs::remove_file(&path).expect("removed");
        assert!(refused(&mut copy, 1000).contains("no such file"));
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("created");
        assert!(refused(&mut copy, 1000).contains("it is a FIFO of uid"));
    }

    #[test]
    fn invalid_sizes_are_refused_with_a_reason() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("counters");
        in_file::<AtomicU8>(&path, 9).expect("mapped");
        let odd = open_file::<AtomicU64>(&path).expect_err("refused").to_string();
        assert!(odd.ends_with("its length of 9 bytes is not a multiple of 8"), "{odd}");
        let none = anonymous::<AtomicU64>(0).expect_err("refused").to_string();
        assert_eq!(none, "cannot map shared memory: its size is zero");
        let too_large = anonymous::<AtomicU64>(usize::MAX / 4).expect_err("refused").to_string();
        assert!(too_large.starts_with("cannot map shared memory: "), "{too_large}");
        let missing = in_file::<AtomicU8>("/nonexistent/counters", 1).expect_err("refused");
        let missing = missing.to_string();
        assert!(missing.starts_with("cannot write shared file /nonexistent/counters: no such"));
    }
}
