//! Output of workers, split into lines.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use daemon_sys::watch;
use tokio::io::unix::AsyncFd;

/// The maximum number of bytes that are kept of a line whose end has not been read yet. A longer
/// unfinished line is emitted in pieces of this length. When the end of a line is read, the kept
/// bytes and the bytes of the last read are emitted together, so such a line can be longer.
const LINE_MAX: usize = 8 * 1024;

/// An output stream of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputStream {
    Stdout,
    Stderr,
}

impl OutputStream {
    pub(crate) fn word(self) -> &'static str {
        match self {
            OutputStream::Stdout => "STDOUT",
            OutputStream::Stderr => "STDERR",
        }
    }
}

/// Splits bytes into lines.
#[derive(Debug, Default)]
pub(crate) struct LineSplitter {
    bytes: Vec<u8>,
}

impl LineSplitter {
    /// Adds bytes, and emits the lines that they complete.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut emit: impl FnMut(&str)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.bytes.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.bytes.pop();
                self.end(&mut emit);
            }
            while self.bytes.len() > LINE_MAX {
                let rest = self.bytes.split_off(LINE_MAX);
                self.end(&mut emit);
                self.bytes = rest;
            }
        }
    }

    /// Emits the remaining bytes, which have no end-of-line character.
    pub(crate) fn finish(&mut self, mut emit: impl FnMut(&str)) {
        if !self.bytes.is_empty() {
            self.end(&mut emit);
        }
    }

    fn end(&mut self, emit: &mut impl FnMut(&str)) {
        emit(String::from_utf8_lossy(&self.bytes).trim_end_matches('\r'));
        self.bytes.clear();
    }
}

/// The read end of a pipe that a worker prints to.
#[derive(Debug)]
pub(crate) struct WorkerOutput {
    watch: AsyncFd<OwnedFd>,
    file: File,
    lines: LineSplitter,
}

/// Whether the pipe can still receive output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PipeState {
    /// The pipe has writers.
    Open,
    /// All writers have closed the pipe, or reading failed.
    Closed,
}

impl WorkerOutput {
    pub(crate) fn new(pipe: OwnedFd) -> io::Result<WorkerOutput> {
        let file = File::from(pipe.try_clone()?);
        let watch = watch::readable(pipe).map_err(io::Error::other)?;
        Ok(WorkerOutput { watch, file, lines: LineSplitter::default() })
    }

    /// Waits until the pipe has data.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.watch.readable().await?.clear_ready();
        Ok(())
    }

    /// Emits the lines that have been received.
    pub(crate) fn read_lines(&mut self, mut emit: impl FnMut(&str)) -> PipeState {
        let mut bytes = [0; 4096];
        loop {
            match self.file.read(&mut bytes) {
                Ok(0) => {
                    self.lines.finish(emit);
                    return PipeState::Closed;
                }
                Ok(length) => self.lines.feed(bytes.get(..length).unwrap_or_default(), &mut emit),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return PipeState::Open,
                Err(_) => return PipeState::Closed,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let (mut splitter, mut lines) = (LineSplitter::default(), Vec::new());
        for piece in pieces {
            splitter.feed(piece, |line| lines.push(line.to_owned()));
        }
        splitter.finish(|line| lines.push(line.to_owned()));
        lines
    }

    #[test]
    fn lines_are_assembled_from_pieces_of_any_size() {
        assert_eq!(lines(&[b"one\ntw", b"o\r\n\nlast"]), ["one", "two", "", "last"]);
        assert_eq!(lines(&[b"", b"\n"]), [""]);
    }

    #[test]
    fn invalid_utf8_is_emitted_with_replacement_characters() {
        assert_eq!(lines(&[b"a\xffb\n"]), ["a\u{fffd}b"]);
    }

    #[test]
    fn a_long_line_without_an_end_is_split_into_pieces() {
        let long = vec![b'x'; LINE_MAX * 2 + 5];
        let lines = lines(&[&long]);
        assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [LINE_MAX, LINE_MAX, 5]);
    }
}
