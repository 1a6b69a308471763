//! Bytes in a descriptor: what is too long for a message crosses to another process as a file
//! without a name.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::uio::pread;

use crate::error::{Error, Result};

mod segment;
pub use segment::MemorySegment;

#[cfg(all(any(target_os = "linux", target_os = "freebsd"), not(fallback)))]
mod sealed;
#[cfg(any(not(any(target_os = "linux", target_os = "freebsd")), fallback))]
mod unlinked;
#[cfg(all(any(target_os = "linux", target_os = "freebsd"), not(fallback)))]
use sealed as platform;
#[cfg(any(not(any(target_os = "linux", target_os = "freebsd")), fallback))]
use unlinked as platform;

/// Makes a descriptor that holds these bytes. `name` is for people who look at `/proc`.
///
/// On Linux and FreeBSD it is memory that is sealed: nobody can change or shorten it, so a receiver
/// may even map it. Elsewhere it is a temporary file without a name. Closed by an exec.
///
/// # Errors
///
/// If no descriptor or memory is left, or the name is too long (249 bytes on Linux) or holds a zero
/// byte.
///
/// # Examples
///
/// ```
/// use daemon_sys::memfd::{memfd_with, read_all};
///
/// # fn main() -> Result<(), daemon_sys::error::Error> {
/// let letter = memfd_with("letter", b"a long request")?;
/// assert_eq!(read_all(&letter, 100)?, b"a long request");
/// assert!(read_all(&letter, 5).is_err());
/// # Ok(())
/// # }
/// ```
pub fn memfd_with(name: &str, bytes: &[u8]) -> Result<OwnedFd> {
    let action = || format!("put {} bytes in memory file {name}", bytes.len());
    platform::filled(name, bytes).map_err(|error| Error::os(action(), error))
}

/// Reads all bytes of such a descriptor, from its begin, wherever another process has read to.
///
/// # Errors
///
/// [`Error::TooLong`] if there are more than `limit`: the sender is another process, which is not
/// to decide how much memory we take. [`Error::Os`] if it can't be read.
pub fn read_all(fd: impl AsFd, limit: usize) -> Result<Vec<u8>> {
    let fd = fd.as_fd();
    let action = |errno: Errno| Error::os("read memory file", errno);
    let told = nix::sys::stat::fstat(fd).map_err(action)?.st_size;
    let told = usize::try_from(told).unwrap_or(0).min(limit);
    let mut bytes = vec![0; told.saturating_add(1)];
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

/// Reads the first bytes of such a descriptor, exactly so many, into memory of our own.
///
/// What another process does to the file meanwhile cannot harm: that it was shortened is an error.
///
/// # Errors
///
/// [`Error::Os`] if it has fewer bytes, it can't be read, or there is no memory left.
///
/// # Examples
///
/// ```
/// use daemon_sys::memfd::{memfd_with, read_exactly};
///
/// # fn main() -> Result<(), daemon_sys::error::Error> {
/// let letter = memfd_with("letter", b"a long request")?;
/// assert_eq!(read_exactly(&letter, 6)?, b"a long");
/// assert!(read_exactly(&letter, 15).is_err());
/// # Ok(())
/// # }
/// ```
pub fn read_exactly(fd: impl AsFd, length: usize) -> Result<Vec<u8>> {
    let fd = fd.as_fd();
    let action = |error: io::Error| Error::os(format!("read {length} bytes of memory file"), error);
    // Before room is made: how much that is says another process.
    let told = nix::sys::stat::fstat(fd).map_err(|errno| action(errno.into()))?.st_size;
    if usize::try_from(told).unwrap_or(0) < length {
        return Err(action(io::ErrorKind::UnexpectedEof.into()));
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(|_full| action(io::ErrorKind::OutOfMemory.into()))?;
    while bytes.len() < length {
        let before = bytes.len();
        let room: &mut [MaybeUninit<u8>] = bytes.spare_capacity_mut();
        let most = room.len().min(length - before);
        let (place, at) = (room.as_mut_ptr().cast(), before as libc::off_t);
        // SAFETY: the place is room of ours for at least `most` bytes, which are only written to.
        let read = unsafe { libc::pread(fd.as_raw_fd(), place, most, at) };
        match usize::try_from(read) {
            Ok(0) => return Err(action(io::ErrorKind::UnexpectedEof.into())),
            Ok(read) => {
                // SAFETY: pread has filled so many bytes after those that were there.
                unsafe { bytes.set_len(before + read) };
            }
            Err(_negative) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(action(error)),
            },
        }
    }
    Ok(bytes)
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
    fn what_is_put_in_comes_out_more_than_once() {
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|i| i as u8).collect();
        let fd = memfd_with("test", &bytes).expect("room");
        for _ in 0..2 {
            assert_eq!(read_all(&fd, bytes.len()).expect("readable"), bytes);
        }
        let empty = memfd_with("test", b"").expect("room");
        assert_eq!(read_all(&empty, 0).expect("readable"), b"");
    }

    #[test]
    fn more_than_the_limit_is_refused() {
        let fd = memfd_with("test", &[0; 10]).expect("room");
        let refused = read_all(&fd, 9).expect_err("refused").to_string();
        assert_eq!(refused, "cannot read memory file: it is longer than 9 bytes");
    }

    #[test]
    fn so_many_bytes_are_read_and_a_file_that_is_shorter_is_an_error() {
        let bytes: Vec<u8> = (0..300_000_u32).map(|i| i as u8).collect();
        let fd = memfd_with("test", &bytes).expect("room");
        assert!(read_exactly(&fd, 300_000).expect("readable") == bytes);
        assert!(read_exactly(&fd, 100_000).expect("readable") == bytes[..100_000]);
        assert_eq!(read_exactly(&fd, 0).expect("readable"), b"");
        for length in [300_001, usize::MAX] {
            let short = read_exactly(&fd, length).expect_err("short").to_string();
            assert!(short.starts_with(&format!("cannot read {length} bytes of memory")), "{short}");
        }
    }

    #[test]
    fn a_file_that_tells_no_length_is_read_to_its_end() {
        let file = File::open("/proc/self/status").expect("there");
        let status = read_all(&file, 1 << 20).expect("readable");
        assert!(String::from_utf8_lossy(&status).contains("VmSize"));
        let refused = read_all(&file, 10).expect_err("refused").to_string();
        assert_eq!(refused, "cannot read memory file: it is longer than 10 bytes");
    }
}
