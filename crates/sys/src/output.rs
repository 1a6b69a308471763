//! Output that never waits for its reader: the log of a daemon.
//!
//! A daemon's standard error can be a pipe that nobody reads, a terminal that is stopped with
//! Ctrl-S, or a socket of a service manager. The flag `O_NONBLOCK` belongs to the open file
//! description, which the daemon shares with its launcher and with the programs that the launcher
//! starts later. So the flag is never changed here.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::sys::stat::{FileStat, SFlag, fstat};

use crate::error::Result;
use crate::poll::{Interest, wait};

/// The maximum length of a write after the descriptor was polled. A pipe that is writable accepts
/// at least this much.
const POLLED_MAX: usize = libc::PIPE_BUF;

/// Writes to a descriptor without waiting for its reader, and without changing its flags.
///
/// A write that would wait fails with [`WouldBlock`](io::ErrorKind::WouldBlock). A write to a file
/// takes as long as the file system takes. The descriptor may be replaced with dup2(2), see
/// [`examine`](NonblockingOutput::examine).
#[derive(Debug)]
pub struct NonblockingOutput<F> {
    to: F,
    way: Way,
    /// The file of the descriptor when it was last examined.
    file: Option<Identity>,
}

/// How to write without waiting.
#[derive(Debug)]
enum Way {
    /// A file, or a device that is not a terminal. They have no reader for which a write waits.
    Plain,
    /// A socket has a flag for each call.
    Socket,
    /// A pipe or a terminal that this process has opened again, with `O_NONBLOCK` for itself.
    Own { file: File, of: Identity },
    /// A pipe or a terminal that this process may not open: it belongs to another user, or `/proc`
    /// is missing.
    Shared,
}

/// The device and the inode of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity(libc::dev_t, libc::ino_t);

impl From<FileStat> for Identity {
    fn from(stat: FileStat) -> Identity {
        Identity(stat.st_dev, stat.st_ino)
    }
}

impl Identity {
    fn of(fd: BorrowedFd<'_>) -> Option<Identity> {
        fstat(fd).ok().map(Identity::from)
    }
}

impl Way {
    fn of(fd: BorrowedFd<'_>) -> Way {
        let Ok(stat) = fstat(fd) else { return Way::Plain };
        let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
        match kind {
            SFlag::S_IFSOCK => Way::Socket,
            SFlag::S_IFIFO => Way::own(fd),
            SFlag::S_IFCHR if nix::unistd::isatty(fd) == Ok(true) => Way::own(fd),
            _ => Way::Plain,
        }
    }

    fn own(fd: BorrowedFd<'_>) -> Way {
        let open = || {
            let file = platform::open_again(fd).ok()?;
            // A terminal's path can lead to another terminal.
            let of = Identity::from(fstat(&file).ok()?);
            (of == fstat(fd).ok()?.into()).then_some(Way::Own { file, of })
        };
        open().unwrap_or(Way::Shared)
    }
}

impl<F: AsFd> NonblockingOutput<F> {
    /// Creates an output to this descriptor. A pipe or a terminal is opened again if possible, so
    /// this costs one more descriptor. Call this before the process gives up privileges.
    #[must_use]
    pub fn new(to: F) -> NonblockingOutput<F> {
        let way = Way::of(to.as_fd());
        let file = Identity::of(to.as_fd());
        NonblockingOutput { to, way, file }
    }

    /// Examines the descriptor again, and returns whether it is another file now. Call this after it
    /// was replaced with dup2(2).
    ///
    /// Without this call, the replacement of a pipe, a terminal or a socket is noticed at the next
    /// write. After the replacement of a file, writes can wait.
    pub fn examine(&mut self) -> bool {
        self.way = Way::of(self.to.as_fd());
        let before = std::mem::replace(&mut self.file, Identity::of(self.to.as_fd()));
        self.file != before
    }

    /// Replaces the descriptor, and returns whether the new one is another file.
    pub fn set(&mut self, to: F) -> bool {
        let before = self.file;
        *self = NonblockingOutput::new(to);
        self.file != before
    }

    /// Waits after a write that would have waited, until the reader accepts more or this time has
    /// passed.
    ///
    /// # Errors
    ///
    /// If the system is out of memory (poll(2)).
    pub fn wait_writable(&self, limit: Duration) -> Result<()> {
        wait(&[(self.as_fd(), Interest::Write)], Some(limit)).map(|[_ready]| ())
    }

    /// Returns the descriptor.
    #[must_use]
    pub fn get_ref(&self) -> &F {
        &self.to
    }

    /// Writes once. Returns `None` if the descriptor has another kind than before.
    fn write_once(&self, bytes: &[u8]) -> Option<io::Result<usize>> {
        let fd = self.to.as_fd();
        match &self.way {
            Way::Plain => Some(write(fd, bytes)),
            Way::Socket => match platform::send(fd, bytes) {
                Err(error) if error.raw_os_error() == Some(libc::ENOTSOCK) => None,
                sent => Some(sent),
            },
            Way::Own { file, of } => match fstat(fd) {
                Ok(stat) if Identity::from(stat) == *of => Some(write(file.as_fd(), bytes)),
                Ok(_) | Err(_) => None,
            },
            Way::Shared => Some(match platform::write_nowait(fd, bytes) {
                Err(error) if is_unsupported(&error) => write_polled(fd, bytes),
                written => written,
            }),
        }
    }
}

impl<F: AsFd> AsFd for NonblockingOutput<F> {
    /// Returns the descriptor to watch after a write that would have waited.
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.way {
            Way::Own { file, .. } => file.as_fd(),
            Way::Plain | Way::Socket | Way::Shared => self.to.as_fd(),
        }
    }
}

impl<F: AsFd> Write for NonblockingOutput<F> {
    /// Writes a part of the bytes, or all of them. A write to a pipe of at most `PIPE_BUF` bytes is
    /// atomic.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(written) = self.write_once(bytes) {
            return written;
        }
        self.examine();
        // If the descriptor is replaced at the same time once more, the bytes are not written.
        self.write_once(bytes).unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    Ok(nix::unistd::write(fd, bytes)?)
}

/// Returns whether the system cannot write to this kind of descriptor without waiting.
fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL))
}

/// Polls the descriptor and then writes to it. The write can still wait, if another process fills
/// the pipe or stops the terminal between the two calls.
fn write_polled(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let [ready] = wait(&[(fd, Interest::Write)], Some(Duration::ZERO)).map_err(io::Error::other)?;
    match ready.is_writable() {
        true => write(fd, &bytes[..bytes.len().min(POLLED_MAX)]),
        false => Err(io::ErrorKind::WouldBlock.into()),
    }
}

#[cfg(all(target_os = "linux", not(fallback)))]
mod platform {
    use std::fs::{File, OpenOptions};
    use std::io;
    use std::os::fd::{AsRawFd, BorrowedFd};
    use std::os::unix::fs::OpenOptionsExt;

    /// Opens the file of a descriptor again, so that it has flags of its own.
    pub(super) fn open_again(fd: BorrowedFd<'_>) -> io::Result<File> {
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        OpenOptions::new().write(true).custom_flags(flags).open(path)
    }

    /// Sends to a socket without waiting and without `SIGPIPE`.
    pub(super) fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        super::send(fd, bytes, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
    }

    /// Writes without waiting, if the system can do this for this kind of descriptor: for pipes
    /// since Linux 6.5.
    pub(super) fn write_nowait(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        let space =
            libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        // The offset -1, in two halves, is the current one.
        let (count, offset): (libc::c_long, libc::c_long) = (1, -1);
        // SAFETY: the vector's only entry is `bytes`, which the call only reads; the descriptor is
        // open.
        let written = unsafe {
            libc::syscall(
                libc::SYS_pwritev2,
                libc::c_long::from(fd.as_raw_fd()),
                &raw const space,
                count,
                offset,
                offset,
                libc::c_long::from(libc::RWF_NOWAIT),
            )
        };
        usize::try_from(written).map_err(|_negative| io::Error::last_os_error())
    }
}

/// Systems on which a descriptor cannot be opened again with other flags, and which have no flag
/// for a single write. Rust's runtime already ignores `SIGPIPE`.
#[cfg(any(not(target_os = "linux"), fallback))]
mod platform {
    use std::fs::File;
    use std::io;
    use std::os::fd::BorrowedFd;

    pub(super) fn open_again(_: BorrowedFd<'_>) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        super::send(fd, bytes, libc::MSG_DONTWAIT)
    }

    pub(super) fn write_nowait(_: BorrowedFd<'_>, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP))
    }
}

fn send(fd: BorrowedFd<'_>, bytes: &[u8], flags: libc::c_int) -> io::Result<usize> {
    // SAFETY: the pointer and the length are those of `bytes`, which the call only reads.
    let sent = unsafe { libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) };
    usize::try_from(sent).map_err(|_negative| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;
    #[cfg(target_os = "linux")]
    use std::os::unix::fs::OpenOptionsExt;
    use std::os::unix::net::UnixStream;

    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    #[cfg(target_os = "linux")]
    use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
    #[cfg(target_os = "linux")]
    use nix::sys::termios::{FlowArg, SetArg, cfmakeraw, tcflow, tcgetattr, tcsetattr};

    use super::*;

    /// Writes lines until one would have waited. Returns their length.
    fn fill<F: AsFd>(output: &mut NonblockingOutput<F>) -> usize {
        let line = [b'x'; 1000];
        let mut length = 0;
        loop {
            match output.write(&line) {
                Ok(written) => length += written,
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    return length;
                }
            }
        }
    }

    fn flags(fd: impl AsFd) -> OFlag {
        OFlag::from_bits_truncate(fcntl(fd, FcntlArg::F_GETFL).expect("the flags"))
    }

    /// Fills an output, checks that the flags of its descriptor have not changed, and that it can
    /// be written again when `reader` has read.
    fn check<F: AsFd>(mut output: NonblockingOutput<F>, mut reader: impl Read) {
        let mut length = fill(&mut output);
        assert!(!flags(output.get_ref()).contains(OFlag::O_NONBLOCK));
        let mut buffer = [0; 4096];
        while length > 0 {
            length -= reader.read(&mut buffer).expect("readable");
        }
        assert_eq!(output.write(b"more").expect("writable again"), 4);
        assert_eq!(reader.read(&mut buffer).expect("readable"), 4);
    }

    #[test]
    fn a_full_pipe_is_not_waited_for_however_it_is_written() {
        for way in [None, Some(Way::Shared)] {
            let (reader, writer) = io::pipe().expect("a pipe");
            let mut output = NonblockingOutput::new(writer);
            output.way = way.unwrap_or(output.way);
            check(output, reader);
        }
    }

    #[test]
    fn a_full_pipe_is_not_waited_for_if_it_can_only_be_polled() {
        let (_reader, writer) = io::pipe().expect("a pipe");
        let line = [b'x'; 3 * POLLED_MAX];
        let full = loop {
            match write_polled(writer.as_fd(), &line) {
                Ok(written) => assert!(written <= POLLED_MAX),
                Err(full) => break full,
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_full_socket_is_not_waited_for() {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        check(NonblockingOutput::new(ours), theirs);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_terminal_that_is_stopped_or_whose_other_side_does_not_read_is_not_waited_for() {
        for is_own in [cfg!(all(target_os = "linux", not(fallback))), false] {
            let screen = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY).expect("a terminal");
            grantpt(&screen).expect("granted");
            unlockpt(&screen).expect("unlocked");
            let name = ptsname_r(&screen).expect("a name");
            let mut options = File::options();
            options.read(true).write(true).custom_flags(libc::O_NOCTTY);
            let terminal = options.open(name).expect("opened");
            let mut settings = tcgetattr(&terminal).expect("the settings");
            cfmakeraw(&mut settings);
            tcsetattr(&terminal, SetArg::TCSANOW, &settings).expect("raw");
            let mut output = NonblockingOutput::new(&terminal);
            assert!(matches!(output.way, Way::Own { .. }) || !is_own);
            if !is_own {
                output.way = Way::Shared;
            }
            tcflow(&terminal, FlowArg::TCOOFF).expect("stopped");
            assert_eq!(fill(&mut output), 0);
            tcflow(&terminal, FlowArg::TCOON).expect("continued");
            if is_own {
                check(output, File::from(OwnedFd::from(screen)));
            } else {
                assert_eq!(output.write(b"line").expect("written"), 4);
            }
        }
    }

    #[test]
    fn a_pipe_without_a_reader_is_an_error_and_not_the_end_of_the_process() {
        for way in [None, Some(Way::Shared)] {
            let (reader, writer) = io::pipe().expect("a pipe");
            let mut output = NonblockingOutput::new(writer);
            output.way = way.unwrap_or(output.way);
            drop(reader);
            let gone = output.write(b"line").expect_err("there is no reader");
            assert_eq!(gone.kind(), io::ErrorKind::BrokenPipe);
        }
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        drop(theirs);
        let gone = NonblockingOutput::new(ours).write(b"line").expect_err("there is no reader");
        assert_eq!(gone.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_descriptor_that_is_replaced_is_noticed() {
        let kinds = || -> [(OwnedFd, OwnedFd); 2] {
            let (reader, writer) = io::pipe().expect("a pipe");
            let (ours, theirs) = UnixStream::pair().expect("a socket pair");
            [(writer.into(), reader.into()), (ours.into(), theirs.into())]
        };
        for before in 0..2 {
            for after in 0..2 {
                let (writer, _reader) = &kinds()[before];
                let target = writer.try_clone().expect("duplicated");
                let mut output = NonblockingOutput::new(target);
                output.write_all(b"before").expect("written");
                let (writer, reader) = &kinds()[after];
                let target = output.get_ref().as_raw_fd();
                // SAFETY: both descriptors are open, and `output` keeps the number of its own.
                assert!(unsafe { libc::dup2(writer.as_raw_fd(), target) } >= 0);
                output.write_all(b"after").expect("written");
                let mut reader = File::from(reader.try_clone().expect("duplicated"));
                let mut buffer = [0; 16];
                let length = reader.read(&mut buffer).expect("readable");
                assert_eq!(&buffer[..length], b"after");
            }
        }
    }

    #[test]
    fn a_file_is_written_with_one_call_and_without_another_descriptor() {
        let mut file = tempfile::tempfile().expect("a file");
        let output = NonblockingOutput::new(file.try_clone().expect("duplicated"));
        assert!(matches!(output.way, Way::Plain));
        let null =
            NonblockingOutput::new(File::options().write(true).open("/dev/null").expect("null"));
        assert!(matches!(null.way, Way::Plain));
        let line = vec![b'x'; 100_000];
        let mut output = output;
        assert_eq!(output.write(&line).expect("written"), line.len());
        io::Seek::rewind(&mut file).expect("at the start");
        let mut text = Vec::new();
        file.read_to_end(&mut text).expect("readable");
        assert_eq!(text.len(), line.len());
    }
}
