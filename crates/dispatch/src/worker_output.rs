//! What workers print, made into lines.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use daemon_sys::watch;
use tokio::io::unix::AsyncFd;

/// A line that is longer is cut in pieces of this many bytes.
const LINE_MAX: usize = 8 * 1024;

/// Which of the two streams.
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

/// Bytes on their way to be lines.
#[derive(Debug, Default)]
pub(crate) struct LineSplitter {
    bytes: Vec<u8>,
}

impl LineSplitter {
    /// Takes in bytes, and tells the lines that they complete.
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

    /// Tells what is left without an end of line.
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

/// A pipe that a worker prints into.
#[derive(Debug)]
pub(crate) struct WorkerOutput {
    watch: AsyncFd<OwnedFd>,
    file: File,
    lines: LineSplitter,
}

/// What a look at the pipe has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PipeState {
    /// More may come.
    Open,
    /// Nobody holds the other end any more.
    Closed,
}

impl WorkerOutput {
    pub(crate) fn new(pipe: OwnedFd) -> io::Result<WorkerOutput> {
        let file = File::from(pipe.try_clone()?);
        let watch = watch::readable(pipe).map_err(io::Error::other)?;
        Ok(WorkerOutput { watch, file, lines: LineSplitter::default() })
    }

    /// Waits until something is printed.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.watch.readable().await?.clear_ready();
        Ok(())
    }

    /// Tells the lines that have come.
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
    fn lines_are_whole_however_they_come() {
        assert_eq!(lines(&[b"one\ntw", b"o\r\n\nlast"]), ["one", "two", "", "last"]);
        assert_eq!(lines(&[b"", b"\n"]), [""]);
    }

    #[test]
    fn what_is_no_text_is_told_all_the_same() {
        assert_eq!(lines(&[b"a\xffb\n"]), ["a\u{fffd}b"]);
    }

    #[test]
    fn a_line_without_end_is_cut_in_pieces() {
        let long = vec![b'x'; LINE_MAX * 2 + 5];
        let lines = lines(&[&long]);
        assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [LINE_MAX, LINE_MAX, 5]);
    }
}
