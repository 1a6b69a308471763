//! A memory file that another process has sent, and that process can be hostile.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::segment::check_received;
use crate::error::{Error, Result};

/// A file that is so much larger than its body is refused, because freeing it takes time.
const SIZE_RATIO_MAX: usize = 4;

/// A received memory file with a body of known length at its start.
///
/// Nothing that another process does with the file makes a read wait, end early, or raise a signal.
/// The bytes are copied, so concurrent changes of the contents are harmless.
///
/// # Examples
///
/// ```
/// use daemon_sys::memfd::{ReceivedFile, memfd_with};
///
/// # fn main() -> Result<(), daemon_sys::error::Error> {
/// let sent = memfd_with("request", b"a long request")?;
/// let received = ReceivedFile::new(sent, 6).map_err(|(_descriptor, error)| error)?;
/// assert_eq!(received.read()?, b"a long");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ReceivedFile {
    fd: OwnedFd,
    length: usize,
}

impl ReceivedFile {
    /// Checks that the descriptor is a memory file with a body of `length` bytes. Reads nothing and
    /// allocates nothing.
    ///
    /// On Linux the file must have been created with memfd_create(2), and be sealed against a
    /// change of its size. Other files could be on a file system that does not answer.
    ///
    /// # Errors
    ///
    /// Returns the descriptor with the error, because even closing it can take long if it is not a
    /// memory file. [`Error::Os`] if it is not such a file, if it is shorter than `length`, or if
    /// it is more than four times as long.
    pub fn new(fd: OwnedFd, length: usize) -> std::result::Result<ReceivedFile, (OwnedFd, Error)> {
        match check(&fd, length) {
            Ok(()) => Ok(ReceivedFile { fd, length }),
            Err(error) => {
                let action = format!("use a received file as {length} bytes of memory");
                Err((fd, Error::os(action, error)))
            }
        }
    }

    /// Returns the length of the body in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Reads the whole body.
    ///
    /// # Errors
    ///
    /// As [`read_more`](ReceivedFile::read_more).
    pub fn read(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read_more(&mut bytes, self.length)?;
        Ok(bytes)
    }

    /// Reads up to `count` further bytes of the body. `bytes` must be empty at the first call, and
    /// unchanged since the previous call afterwards. The body is complete when `bytes` has its
    /// length.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] if the file cannot be read, or if the system is out of memory.
    pub fn read_more(&self, bytes: &mut Vec<u8>, count: usize) -> Result<()> {
        let action = |error: io::Error| {
            Error::os(format!("read {} bytes of memory file", self.length), error)
        };
        let end = bytes.len().saturating_add(count).min(self.length);
        let missing = self.length.saturating_sub(bytes.len());
        bytes
            .try_reserve_exact(missing)
            .map_err(|_full| action(io::ErrorKind::OutOfMemory.into()))?;
        super::read_until(self.fd.as_fd(), bytes, end).map_err(action)
    }
}

fn check(fd: &OwnedFd, length: usize) -> io::Result<()> {
    check_received(fd.as_fd())?;
    let size = nix::sys::stat::fstat(fd)?.st_size;
    let size = usize::try_from(size).unwrap_or(0);
    if size < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if size / SIZE_RATIO_MAX > length {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(())
}

impl From<ReceivedFile> for OwnedFd {
    fn from(file: ReceivedFile) -> OwnedFd {
        file.fd
    }
}

#[cfg(test)]
mod tests {
    use super::super::{MemorySegment, memfd_with};
    use super::*;

    fn refused(fd: OwnedFd, length: usize) -> String {
        ReceivedFile::new(fd, length).expect_err("refused").1.to_string()
    }

    #[test]
    fn sealed_files_and_segments_are_read_at_once_or_in_pieces() {
        let bytes: Vec<u8> = (0..300_000_u32).map(|i| i as u8).collect();
        let mut segment = MemorySegment::new("test", 1 << 19).expect("created");
        segment.write(0, &bytes).expect("written");
        let segment = segment.as_fd().try_clone_to_owned().expect("a copy");
        for fd in [memfd_with("test", &bytes).expect("created"), segment] {
            let file = ReceivedFile::new(fd, 299_999).expect("accepted");
            assert!(file.read().expect("read") == bytes[..299_999]);
            let mut pieces = Vec::new();
            while pieces.len() < file.length() {
                let before = pieces.len();
                file.read_more(&mut pieces, 1 << 16).expect("read");
                assert!((1..=1 << 16).contains(&(pieces.len() - before)));
            }
            assert!(pieces == bytes[..299_999]);
        }
    }

    #[test]
    fn a_file_that_is_shorter_or_much_longer_than_its_body_is_refused() {
        let file = |size| memfd_with("test", &vec![0; size]).expect("created");
        assert!(refused(file(99), 100).contains("cannot use a received file as 100 bytes"));
        assert!(ReceivedFile::new(file(403), 100).is_ok());
        refused(file(404), 100);
        assert!(refused(file(1), usize::MAX).contains("unexpected end of file"));
    }

    #[test]
    fn descriptors_of_other_kinds_are_refused() {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let directory = std::fs::File::open("/proc/self").expect("a directory");
        let device = std::fs::File::open("/dev/zero").expect("a device");
        let other = [reader.into(), writer.into(), directory.into(), device.into()];
        for fd in other {
            refused(fd, 0);
        }
    }
}
