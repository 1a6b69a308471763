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

/// Creates memory files with memfd_create(2): `filled` creates a sealed file, and `empty` creates a
/// file that can be sealed later.
#[cfg(all(any(target_os = "linux", target_os = "freebsd"), not(fallback)))]
mod platform {
    use std::io;
    use std::os::fd::OwnedFd;

    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    use nix::sys::memfd::{MFdFlags, memfd_create};

    pub(super) fn filled(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
        let fd = empty(name)?;
        super::write_all(&fd, bytes)?;
        fcntl(&fd, FcntlArg::F_ADD_SEALS(SealFlag::all()))?;
        Ok(fd)
    }

    pub(super) fn empty(name: &str) -> io::Result<OwnedFd> {
        Ok(memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?)
    }

    #[cfg(test)]
    mod tests {
        use std::os::fd::AsFd;

        use super::*;

        #[test]
        fn a_sealed_file_cannot_be_changed() {
            let fd = filled("test", b"data").expect("created");
            let refused = super::super::write_all(fd.as_fd(), b"other").expect_err("refused");
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
            assert_eq!(nix::unistd::ftruncate(&fd, 0), Err(nix::errno::Errno::EPERM));
        }
    }
}

/// Creates memory files as temporary files that are unlinked immediately.
#[cfg(any(not(any(target_os = "linux", target_os = "freebsd")), fallback))]
mod platform {
    use std::env;
    use std::fs::{self, OpenOptions};
    use std::io;
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::OpenOptionsExt;
    use std::sync::atomic::{AtomicU32, Ordering};

    use crate::process::this_pid;

    static CREATED: AtomicU32 = AtomicU32::new(0);

    pub(super) fn filled(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
        let file = empty(name)?;
        super::write_all(&file, bytes)?;
        Ok(file)
    }

    pub(super) fn empty(name: &str) -> io::Result<OwnedFd> {
        if name.contains(['/', '\0']) {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let number = CREATED.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!(".{name}.{}.{number}", this_pid()));
        let file =
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        fs::remove_file(&path)?;
        Ok(file.into())
    }
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
    fn a_file_without_a_size_is_read_to_its_end() {
        let file = File::open("/proc/self/status").expect("the file exists");
        let status = read_all(&file, 1 << 20).expect("read");
        assert!(String::from_utf8_lossy(&status).contains("VmSize"));
        let refused = read_all(&file, 10).expect_err("refused").to_string();
        assert_eq!(refused, "cannot read memory file: it is longer than 10 bytes");
    }
}
