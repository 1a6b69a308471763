//! Output of workers, split into records.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};
use std::time::Duration;

use daemon_sys::watch;
use tokio::io::unix::AsyncFd;

/// The maximum length of a record in bytes. A longer line becomes several records.
const RECORD_MAX: usize = 8 * 1024;

/// The delay before a pipe that could not be watched is read again.
pub(crate) const WATCH_RETRY: Duration = Duration::from_millis(100);

/// An output stream of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

/// Splits bytes into records. A record is a line, or a piece of a line that is longer than 8 KiB.
#[derive(Debug, Default)]
pub(crate) struct RecordSplitter {
    record: Vec<u8>,
    /// Whether the record was returned. It is removed before the next one is assembled.
    is_complete: bool,
}

impl RecordSplitter {
    /// Removes the bytes of the next record from the start of `bytes`, and returns the record
    /// without its end of line. Returns `None` if `bytes` contains no end of a record; the bytes
    /// are kept for the next call.
    pub(crate) fn next_record(&mut self, bytes: &mut &[u8]) -> Option<&[u8]> {
        self.remove_complete();
        let room = RECORD_MAX.saturating_sub(self.record.len());
        // The end of line may follow a record of the maximum length.
        let window = bytes.get(..=room).unwrap_or(bytes);
        let (taken, removed) = match window.iter().position(|byte| *byte == b'\n') {
            Some(end) => (end, end + 1),
            None if window.len() > room => (room, room),
            None => {
                self.record.extend_from_slice(window);
                *bytes = &[];
                return None;
            }
        };
        self.record.extend_from_slice(window.get(..taken).unwrap_or_default());
        *bytes = bytes.get(removed..).unwrap_or_default();
        self.is_complete = true;
        Some(without_return(&self.record))
    }

    /// Returns the remaining bytes, which have no end of line, if there are any.
    pub(crate) fn last_record(&mut self) -> Option<&[u8]> {
        self.remove_complete();
        self.is_complete = true;
        (!self.record.is_empty()).then(|| without_return(&self.record))
    }

    fn remove_complete(&mut self) {
        if std::mem::take(&mut self.is_complete) {
            self.record.clear();
        }
    }
}

fn without_return(record: &[u8]) -> &[u8] {
    let end = record.iter().rposition(|byte| *byte != b'\r').map_or(0, |last| last + 1);
    record.get(..end).unwrap_or_default()
}

/// Removes all complete lines from the start of `bytes`. Returns their number and their length.
pub(crate) fn skip_lines(bytes: &mut &[u8]) -> (u64, u64) {
    let length = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let (skipped, rest) = bytes.split_at_checked(length).unwrap_or((bytes, &[]));
    *bytes = rest;
    let lines = skipped.iter().filter(|byte| **byte == b'\n').count();
    (lines as u64, skipped.len() as u64)
}

/// The read end of a pipe that a worker prints to.
///
/// Only the parent has this end, so no child can make its reads block by changing its flags.
#[derive(Debug)]
pub(crate) struct OutputPipe {
    file: File,
    watch: Option<AsyncFd<OwnedFd>>,
    /// The descriptor of the watch while the pipe is not watched.
    unwatched: Option<OwnedFd>,
    /// Whether data may be in the pipe although the watch does not report it.
    may_have_data: bool,
}

/// The result of reading from a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputRead {
    /// This number of bytes was read.
    Bytes(usize),
    /// The pipe is empty at present.
    Nothing,
    /// All writers have closed the pipe, or reading failed.
    Closed,
}

impl OutputPipe {
    pub(crate) fn new(pipe: OwnedFd) -> io::Result<OutputPipe> {
        let file = File::from(pipe.try_clone()?);
        Ok(OutputPipe { file, watch: None, unwatched: Some(pipe), may_have_data: false })
    }

    /// Returns whether the pipe may have data. If not, the waker is woken when it has.
    ///
    /// # Errors
    ///
    /// If the pipe cannot be watched. It may have data.
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        if self.may_have_data {
            return Ok(true);
        }
        let watch = match self.watch.take() {
            Some(watch) => watch,
            None => {
                self.may_have_data = true;
                let watch = self.start_watch()?;
                self.may_have_data = false;
                watch
            }
        };
        let ready = match watch.poll_read_ready(cx) {
            Poll::Ready(ready) => {
                ready?.clear_ready();
                true
            }
            Poll::Pending => false,
        };
        self.watch = Some(watch);
        Ok(ready)
    }

    fn start_watch(&mut self) -> io::Result<AsyncFd<OwnedFd>> {
        let descriptor = match self.unwatched.take() {
            Some(descriptor) => descriptor,
            None => OwnedFd::from(self.file.try_clone()?),
        };
        watch::readable(descriptor).map_err(io::Error::other)
    }

    /// Stops watching the pipe until the next call of
    /// [`poll_readable`](OutputPipe::poll_readable). Without this, each small write to the pipe
    /// would wake this process while it does not read.
    pub(crate) fn stop_watching(&mut self) {
        if let Some(watch) = self.watch.take() {
            self.unwatched = Some(watch.into_inner());
        }
    }

    /// Reads once from the pipe.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> OutputRead {
        loop {
            return match self.file.read(buffer) {
                Ok(0) => OutputRead::Closed,
                Ok(length) => {
                    // A short read has emptied the pipe.
                    self.may_have_data = length == buffer.len();
                    OutputRead::Bytes(length)
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.may_have_data = false;
                    OutputRead::Nothing
                }
                Err(_) => OutputRead::Closed,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records(pieces: &[&[u8]]) -> Vec<String> {
        let (mut splitter, mut records) = (RecordSplitter::default(), Vec::new());
        for piece in pieces {
            let mut rest = *piece;
            while let Some(record) = splitter.next_record(&mut rest) {
                records.push(String::from_utf8_lossy(record).into_owned());
            }
            assert!(rest.is_empty());
        }
        let last =
            splitter.last_record().map(|record| String::from_utf8_lossy(record).into_owned());
        records.extend(last);
        assert_eq!(splitter.last_record(), None);
        records
    }

    #[test]
    fn records_are_assembled_from_pieces_of_any_size() {
        assert_eq!(records(&[b"one\ntw", b"o\r\n\nlast"]), ["one", "two", "", "last"]);
        assert_eq!(records(&[b"", b"\n"]), [""]);
    }

    #[test]
    fn a_long_line_is_split_into_records_of_limited_length_with_and_without_an_end() {
        let lengths = |ends: &[u8], length: usize| {
            let line = [vec![b'x'; length], ends.to_vec()].concat();
            records(&[&line]).iter().map(String::len).collect::<Vec<_>>()
        };
        for end in ["", "\n"] {
            let end = end.as_bytes();
            assert_eq!(lengths(end, RECORD_MAX), [RECORD_MAX]);
            assert_eq!(lengths(end, RECORD_MAX + 1), [RECORD_MAX, 1]);
            assert_eq!(lengths(end, RECORD_MAX * 2 + 5), [RECORD_MAX, RECORD_MAX, 5]);
        }
    }

    #[test]
    fn complete_lines_are_skipped_and_counted() {
        let table: [(&[u8], _, &[u8]); 4] = [
            (b"", (0, 0), b""),
            (b"abc", (0, 0), b"abc"),
            (b"a\nb\n", (2, 4), b""),
            (b"a\n\nbc", (2, 3), b"bc"),
        ];
        for (bytes, counts, rest) in table {
            let mut left = bytes;
            assert_eq!((skip_lines(&mut left), left), (counts, rest), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_and_no_record_is_too_long(
            lines in prop::collection::vec(0..3 * RECORD_MAX, 0..6), cut in 1..20_000_usize,
        ) {
            let bytes: Vec<u8> =
                lines.iter().flat_map(|length| [vec![b'x'; *length], vec![b'\n']].concat()).collect();
            let pieces: Vec<&[u8]> = bytes.chunks(cut).collect();
            let records = records(&pieces);
            prop_assert!(records.iter().all(|record| record.len() <= RECORD_MAX));
            let length: usize = records.iter().map(String::len).sum();
            prop_assert_eq!(length, lines.iter().sum::<usize>());
            // How the bytes arrive makes no difference.
            prop_assert_eq!(&records, &super::tests::records(&[&bytes]));
        }
    }
}
