//! Memory files. Data that is too long for a message is written to an unnamed file, whose
//! descriptor is then sent to the other process.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::uio::pread;

use crate::error::{Error, Result};

mod received;
mod segment;
pub use received::ReceivedFile;
pub use segment::MemorySegment;

#[cfg(all(any(target_os = "linux", target_os = "freebsd"), not(fallback)))]
mod sealed;
#[cfg(any(not(any(target_os = "linux", target_os = "freebsd")), fallback))]
mod unlinked;
#[cfg(all(any(target_os = "linux", target_os = "freebsd"), not(fallback)))]
use sealed as platform;
#[cfg(any(not(any(target_os = "linux", target_os = "freebsd")), fallback))]
use unlinked as platform;

/// Creates a memory file with these contents. `name` is shown in `/proc`.
///
/// On Linux and FreeBSD the file is sealed: no process can change or truncate it, so a receiver can
/// also map it. On other systems it is an unnamed temporary file. The descriptor is close-on-exec.
///
/// # Errors
///
/// If the system is out of descriptors or memory, or the name is too long (more than 249 bytes on
/// Linux) or contains a zero byte.
///
/// # Examples
///
/// ```
/// use daemon_sys::memfd::{memfd_with, read_all};
///
/// # fn main() -> Result<(), daemon_sys::error::Error> {
/// let file = memfd_with("request", b"a long request")?;
/// assert_eq!(read_all(&file, 100)?, b"a long request");
/// assert!(read_all(&file, 5).is_err());
/// # Ok(())
/// # }
/// ```
pub fn memfd_with(name: &str, bytes: &[u8]) -> Result<OwnedFd> {
    let action = || format!("write {} bytes to memory file {name}", bytes.len());
    platform::filled(name, bytes).map_err(|error| Error::os(action(), error))
}

/// Reads a whole memory file from its start. The file position, which other processes share, is
/// neither used nor changed.
///
/// # Errors
///
/// [`Error::TooLong`] if the file is longer than `limit` bytes. The limit protects against a sender
/// that tries to use up this process's memory. [`Error::Os`] if the file cannot be read.
pub fn read_all(fd: impl AsFd, limit: usize) -> Result<Vec<u8>> {
    let fd = fd.as_fd();
    let action = |errno: Errno| Error::os("read memory file", errno);
    let size = nix::sys::stat::fstat(fd).map_err(action)?.st_size;
    let size = usize::try_from(size).unwrap_or(0).min(limit);
    let mut bytes = vec![0; size.saturating_add(1)];
    let mut length = 0;
    loop {
        match pread(fd, &mut bytes[length..], length as libc::off_t) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(action(errno)),
        }
        if length > limit {
            return Err(Error::TooLong { object: "memory file".into(), limit });
        }
        if length == bytes.len() {
            bytes.resize(length.saturating_mul(2).min(limit.saturating_add(1)), 0);
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// Reads exactly this many bytes from the start of a memory file.
///
/// The bytes are copied, so concurrent changes by another process are harmless. If the file was
/// truncated, an error is returned.
///
/// # Errors
///
/// [`Error::Os`] if the file is shorter or cannot be read, or if the system is out of memory.
///
/// # Examples
///
/// ```
/// use daemon_sys::memfd::{memfd_with, read_exactly};
///
/// # fn main() -> Result<(), daemon_sys::error::Error> {
/// let file = memfd_with("request", b"a long request")?;
/// assert_eq!(read_exactly(&file, 6)?, b"a long");
/// assert!(read_exactly(&file, 15).is_err());
/// # Ok(())
/// # }
/// ```
pub fn read_exactly(fd: impl AsFd, length: usize) -> Result<Vec<u8>> {
    let fd = fd.as_fd();
    let action = |error: io::Error| Error::os(format!("read {length} bytes of memory file"), error);
    // Check the size before the allocation, because another process has chosen `length`.
    let size = nix::sys::stat::fstat(fd).map_err(|errno| action(errno.into()))?.st_size;
    if usize::try_from(size).unwrap_or(0) < length {
        return Err(action(io::ErrorKind::UnexpectedEof.into()));
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(|_full| action(io::ErrorKind::OutOfMemory.into()))?;
    read_until(fd, &mut bytes, length).map_err(action)?;
    Ok(bytes)
}

/// Appends bytes of the file until there are `length` bytes. The existing bytes are those at the
/// start of the file. The capacity must be at least `length`.
fn read_until(fd: BorrowedFd<'_>, bytes: &mut Vec<u8>, length: usize) -> io::Result<()> {
    while bytes.len() < length {
        let before = bytes.len();
        let spare: &mut [MaybeUninit<u8>] = bytes.spare_capacity_mut();
        let count = spare.len().min(length - before);
        let (start, offset) = (spare.as_mut_ptr().cast(), before as libc::off_t);
        // SAFETY: `start` points to our own memory for at least `count` bytes, which are only
        // written to.
        let read = unsafe { libc::pread(fd.as_raw_fd(), start, count, offset) };
        match usize::try_from(read) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                // SAFETY: pread has filled `read` bytes after the existing ones.
                unsafe { bytes.set_len(before + read) };
            }
            Err(_negative) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
    Ok(())
}

fn write_all(fd: impl AsFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match nix::unistd::write(fd.as_fd(), bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_memory_file_can_be_read_more_than_once() {
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|i| i as u8).collect();
        let fd = memfd_with("test", &bytes).expect("created");
        for _ in 0..2 {
            assert_eq!(read_all(&fd, bytes.len()).expect("read"), bytes);
        }
        let empty = memfd_with("test", b"").expect("created");
        assert_eq!(read_all(&empty, 0).expect("read"), b"");
    }

    #[test]
    fn a_file_longer_than_the_limit_is_refused() {
        let fd = memfd_with("test", &[0; 10]).expect("created");
        let refused = read_all(&fd, 9).expect_err("refused").to_string();
        assert_eq!(refused, "cannot read memory file: it is longer than 9 bytes");
    }

    #[test]
    fn read_exactly_fails_if_the_file_is_shorter_than_requested() {
        let bytes: Vec<u8> = (0..300_000_u32).map(|i| i as u8).collect();
        let fd = memfd_with("test", &bytes).expect("created");
        assert!(read_exactly(&fd, 300_000).expect("read") == bytes);
        assert!(read_exactly(&fd, 100_000).expect("read") == bytes[..100_000]);
        assert_eq!(read_exactly(&fd, 0).expect("read"), b"");
        for length in [300_001, usize::MAX] {
            let short = read_exactly(&fd, length).expect_err("too short").to_string();
            assert!(short.starts_with(&format!("cannot read {length} bytes of memory")), "{short}");
        }
    }

    #[test]
    fn a_file_without_a_size_is_read_to_its_end() {
        let file = File::open("/proc/self/status").expect("the file exists");
        let status = read_all(&file, 1 << 20).expect("read");
        assert!(String::from_utf8_lossy(&status).contains("VmSize"));
        let refused = read_all(&file, 10).expect_err("refused").to_string();
        assert_eq!(refused, "cannot read memory file: it is longer than 10 bytes");
    }
}
