//! A memory file of another process, read where it lies.

use std::ffi::c_void;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;

use super::{platform, read_all};
use crate::error::{Error, Result};

/// The bytes of a sealed memory file, mapped and not copied; of one that is not sealed, a copy.
///
/// # Examples
///
/// ```
/// use daemon_sys::memfd::{Mapped, memfd_with};
///
/// # fn main() -> Result<(), daemon_sys::error::Error> {
/// let letter = memfd_with("letter", b"a long request")?;
/// assert_eq!(&*Mapped::open(&letter, 100)?, b"a long request");
/// assert!(Mapped::open(&letter, 5).is_err());
/// # Ok(())
/// # }
/// ```
pub struct Mapped(Place);

enum Place {
    Copied(Vec<u8>),
    Mapped { start: NonNull<c_void>, length: usize },
}

// SAFETY: the mapping is this value's alone, and only ever read.
unsafe impl Send for Mapped {}
// SAFETY: as above; nobody can write to what it maps.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Maps all of it.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`] if there are more than `limit` bytes, [`Error::Os`] if they cannot be had.
    pub fn open(fd: impl AsFd, limit: usize) -> Result<Mapped> {
        let fd = fd.as_fd();
        if !platform::is_sealed(fd) {
            // A file that is shortened under a reader's eyes is a SIGBUS.
            return Ok(Mapped(Place::Copied(read_all(fd, limit)?)));
        }
        let told =
            nix::sys::stat::fstat(fd).map_err(|errno| Error::os("map memory file", errno))?;
        let length = usize::try_from(told.st_size).unwrap_or(usize::MAX);
        if length > limit {
            return Err(Error::TooLong { object: "memory file".into(), limit });
        }
        if length == 0 {
            return Ok(Mapped(Place::Copied(Vec::new())));
        }
        let (null, number) = (std::ptr::null_mut(), fd.as_raw_fd());
        // SAFETY: with no address asked for, mmap lays the mapping where nothing is.
        let start = unsafe { libc::mmap(null, length, libc::PROT_READ, FLAGS, number, 0) };
        match NonNull::new(start) {
            Some(start) if start.as_ptr() != libc::MAP_FAILED => {
                Ok(Mapped(Place::Mapped { start, length }))
            }
            _ => Err(Error::os("map memory file", io::Error::last_os_error())),
        }
    }
}

/// Its pages are there already: all at once is cheaper than one by one.
#[cfg(target_os = "linux")]
const FLAGS: libc::c_int = libc::MAP_SHARED | libc::MAP_POPULATE;
#[cfg(not(target_os = "linux"))]
const FLAGS: libc::c_int = libc::MAP_SHARED;

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Place::Copied(bytes) => bytes,
            Place::Mapped { start, length } => {
                // SAFETY: the mapping is that long, readable, and lives as long as this value; it is
                // sealed, so that nobody writes to it or shortens it.
                unsafe { std::slice::from_raw_parts(start.as_ptr().cast_const().cast(), *length) }
            }
        }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        if let Place::Mapped { start, length } = &self.0 {
            // SAFETY: it is a mapping of that length, and nobody has a reference into it any more.
            unsafe { libc::munmap(start.as_ptr(), *length) };
        }
    }
}

impl fmt::Debug for Mapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapped").field("length", &self.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Draft, memfd_with};
    use super::*;

    #[test]
    fn what_was_drafted_piece_by_piece_is_read_where_it_lies() {
        let mut draft = Draft::begin("test").expect("room");
        draft.append(b"one, ").expect("room");
        draft.append(&[b'x'; 100_000]).expect("room");
        let length = draft.length();
        let mapped = Mapped::open(draft.seal().expect("sealed"), length).expect("maps");
        assert_eq!((mapped.len(), &mapped[..6]), (100_005, b"one, x".as_slice()));
    }

    #[test]
    fn what_is_not_sealed_is_copied() {
        let mut file = tempfile::tempfile().expect("a file");
        io::Write::write_all(&mut file, b"loose").expect("room");
        let copied = Mapped::open(&file, 10).expect("readable");
        assert_eq!(&*copied, b"loose");
        file.set_len(0).expect("shortened");
        assert_eq!(&*copied, b"loose");
    }

    #[test]
    fn nothing_is_mapped_as_nothing_and_too_much_is_refused() {
        let empty = memfd_with("test", b"").expect("room");
        assert!(Mapped::open(&empty, 0).expect("empty").is_empty());
        let long = memfd_with("test", &[0; 10]).expect("room");
        let refused = Mapped::open(&long, 9).expect_err("refused").to_string();
        assert_eq!(refused, "cannot read memory file: it is longer than 9 bytes");
    }
}
