//! Looks up the functions at the addresses of backtraces, in a short-lived process that the fork
//! server forks.
//!
//! To look up a function, the program's debug information must be parsed, which takes memory that
//! the allocator keeps afterwards. The process that parses it has the same memory map as the
//! children, needs no slot and no seat, writes each result to a pipe, and exits.
//!
//! The addresses come from a child and the results from another process, so neither are trusted.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use daemon_core::format;
use daemon_sys::limits::{self, Resource};
use daemon_sys::listen::set_nonblocking;
use daemon_sys::process::{self, Signal};
use daemon_sys::signals::{restore_all_defaults, terminate_after, unblock_all};
use daemon_sys::trace::{StackFrame, return_addresses, symbolise_each};
use daemon_sys::{Error, fds};
use serde::{Deserialize, Serialize};

use crate::child_program::{EXIT_PANIC, EXIT_SOFTWARE, ServerSettings};

/// The maximum number of different addresses of a lookup: enough for sixteen whole backtraces.
/// Further addresses are not looked up.
pub(crate) const ADDRESSES_MAX: usize = 1024;

/// The time after which a lookup is killed. A cold lookup in a program with much debug information
/// takes some seconds.
pub const SYMBOL_LOOKUP_MAX: Duration = Duration::from_secs(10);

/// The maximum size of a lookup's output in bytes. The results that exceed it are left out.
const OUTPUT_MAX: usize = 64 * 1024;

/// The maximum length of a function's or a file's name in characters.
const NAME_MAX: usize = 512;

/// The maximum number of frames for one address: its function and those that are inlined there.
const INLINED_MAX: usize = 64;

/// How much the address space of a lookup may grow in bytes.
const ADDITIONAL_MEMORY_MAX: u64 = 4 << 30;

/// The score that makes the kernel's OOM killer kill a lookup first.
const OOM_SCORE: i32 = 1000;

/// A frame, as the lookup writes it to the pipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct FrameRecord {
    /// The index of the frame's address among the addresses of the lookup.
    index: u32,
    function: Option<String>,
    file: Option<String>,
    line: Option<u32>,
}

/// The result of a lookup, in the process that has requested it. Returned by
/// [`ForkServer::look_up_symbols`](crate::ForkServer::look_up_symbols).
///
/// Its descriptor is readable when [`read`](SymbolLookup::read) can make progress. The lookup ends
/// by itself after [`SYMBOL_LOOKUP_MAX`]. Dropping this value abandons it.
#[derive(Debug)]
pub struct SymbolLookup {
    output: io::PipeReader,
    backtraces: Vec<Vec<usize>>,
    /// The return addresses that are looked up, without duplicates.
    addresses: Vec<usize>,
    received: Vec<u8>,
}

/// Whether a lookup has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SymbolLookupProgress {
    /// The lookup runs.
    Running,
    /// The lookup has ended, successfully or not.
    Ended,
}

impl SymbolLookup {
    /// Creates a lookup, and returns the end of the pipe to which its process writes.
    pub(crate) fn new(backtraces: Vec<Vec<usize>>) -> Result<(SymbolLookup, OwnedFd), Error> {
        let error = |error| Error::os("create a pipe for a symbol lookup", error);
        let (output, input) = io::pipe().map_err(error)?;
        // Only this process has this end of the pipe, so no other process can change its mode.
        set_nonblocking(output.as_fd(), true)?;
        let addresses = distinct_addresses(&backtraces);
        let lookup = SymbolLookup { output, backtraces, addresses, received: Vec::new() };
        Ok((lookup, input.into()))
    }

    /// Returns the addresses that are looked up.
    pub(crate) fn addresses(&self) -> &[usize] {
        &self.addresses
    }

    /// Reads the results that have arrived. Does not block.
    pub fn read(&mut self) -> SymbolLookupProgress {
        let mut buffer = [0; 4096];
        while self.received.len() < OUTPUT_MAX {
            match self.output.read(&mut buffer) {
                Ok(0) => return SymbolLookupProgress::Ended,
                Ok(read) => self.received.extend_from_slice(buffer.get(..read).unwrap_or_default()),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return SymbolLookupProgress::Running,
                    io::ErrorKind::Interrupted => {}
                    _other => return SymbolLookupProgress::Ended,
                },
            }
        }
        SymbolLookupProgress::Ended
    }

    /// Returns the frames of each backtrace. An address that has not been looked up, or whose
    /// function is unknown, results in a frame with the address only.
    #[must_use]
    pub fn into_frames(self) -> Vec<Vec<StackFrame>> {
        let found = decode(&self.received, &self.addresses);
        self.backtraces.iter().map(|backtrace| frames_of(backtrace, &found)).collect()
    }
}

impl AsFd for SymbolLookup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.output.as_fd()
    }
}

/// Returns the return addresses of these backtraces without duplicates, at most
/// [`ADDRESSES_MAX`].
fn distinct_addresses(backtraces: &[Vec<usize>]) -> Vec<usize> {
    let mut seen = HashMap::new();
    let all = backtraces.iter().flat_map(|backtrace| return_addresses(backtrace));
    all.filter(|address| seen.insert(*address, ()).is_none()).take(ADDRESSES_MAX).collect()
}

/// Returns the frames of a backtrace, given the records of the return addresses that were looked
/// up.
fn frames_of(backtrace: &[usize], found: &HashMap<usize, Vec<FrameRecord>>) -> Vec<StackFrame> {
    let mut frames = Vec::with_capacity(backtrace.len());
    for (address, return_address) in backtrace.iter().zip(return_addresses(backtrace)) {
        let Some(records) = found.get(&return_address) else {
            frames.push(StackFrame::at(*address));
            continue;
        };
        frames.extend(records.iter().map(|record| {
            let mut frame = StackFrame::at(*address);
            frame.function = record.function.as_deref().map(printable);
            frame.file = record.file.as_deref().map(printable);
            frame.line = record.line;
            frame
        }));
    }
    frames
}

/// Returns the records of these return addresses. Ignores everything from the first invalid record
/// on.
fn decode(mut bytes: &[u8], addresses: &[usize]) -> HashMap<usize, Vec<FrameRecord>> {
    let mut found: HashMap<usize, Vec<FrameRecord>> = HashMap::new();
    while let Ok((record, rest)) = postcard::take_from_bytes::<FrameRecord>(bytes) {
        bytes = rest;
        let index = usize::try_from(record.index).unwrap_or(usize::MAX);
        let Some(address) = addresses.get(index) else {
            break;
        };
        let records = found.entry(*address).or_default();
        if records.len() < INLINED_MAX {
            records.push(record);
        }
    }
    found
}

/// Escapes control characters, and cuts a name after [`NAME_MAX`] characters.
fn printable(name: &str) -> String {
    let end = name.char_indices().nth(NAME_MAX).map_or(name.len(), |(end, _)| end);
    format::escaped(&name[..end]).to_string()
}

/// Looks up the addresses in this process, which was forked for it, and exits.
///
/// Nothing of the fork server's state is dropped: dropping it would run the program's code.
pub(crate) fn run_lookup(addresses: &[u64], output: OwnedFd, settings: &ServerSettings) -> ! {
    let code = match catch_unwind(AssertUnwindSafe(|| look_up(addresses, output, settings))) {
        Ok(Ok(())) => 0,
        Ok(Err(_parent_sees_the_missing_result)) => EXIT_SOFTWARE,
        Err(_panic) => EXIT_PANIC,
    };
    process::exit_now(code)
}

fn look_up(
    addresses: &[u64],
    output: OwnedFd,
    settings: &ServerSettings,
) -> Result<(), Box<dyn std::error::Error>> {
    process::die_with_parent(Signal::Kill, settings.fork_server)?;
    fds::close_others(Some(output.as_fd()))?;
    // A hook that the program has set must not run here.
    drop(std::panic::take_hook());
    // The alarm ends the process even if the fork server is stopped.
    terminate_after(SYMBOL_LOOKUP_MAX);
    restore_all_defaults();
    unblock_all()?;
    limits::set_limit(Resource::Core, 0, 0)?;
    let seconds = SYMBOL_LOOKUP_MAX.as_secs();
    // These limits protect the system, and a lookup may run without them: not every system has
    // them, and a lower limit may be set already.
    let _ = limits::set_limit(Resource::Cpu, seconds, seconds);
    let _ = limits::limit_additional_memory(ADDITIONAL_MEMORY_MAX);
    let _ = limits::oom_score_adj(OOM_SCORE);
    if let Some((title, text)) = &settings.title {
        title.set(&format!("{text}, symbol lookup"));
    }
    let addresses: Vec<usize> = addresses
        .iter()
        .take(ADDRESSES_MAX)
        .map(|address| usize::try_from(*address).unwrap_or_default())
        .collect();
    write_frames(&addresses, &mut io::PipeWriter::from(output))?;
    Ok(())
}

/// Writes a record for each frame of these addresses as soon as it is known. Writes at most
/// [`OUTPUT_MAX`] bytes.
fn write_frames(addresses: &[usize], output: &mut impl Write) -> io::Result<()> {
    let mut room = OUTPUT_MAX;
    let mut written = Ok(());
    symbolise_each(addresses, |index, frame| {
        let record = FrameRecord {
            index: u32::try_from(index).unwrap_or(u32::MAX),
            function: frame.function.as_deref().map(printable),
            file: frame.file.as_deref().map(printable),
            line: frame.line,
        };
        let encoded = postcard::to_allocvec(&record).map_err(io::Error::other);
        let next = encoded.and_then(|bytes| {
            room = room.checked_sub(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
            output.write_all(&bytes)
        });
        if let (Ok(()), Err(error)) = (&written, next) {
            room = 0;
            written = Err(error);
        }
    });
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(index: u32, function: &str) -> FrameRecord {
        let file = Some("src/main.rs".to_owned());
        FrameRecord { index, function: Some(function.to_owned()), file, line: Some(7) }
    }

    fn encoded(records: &[FrameRecord]) -> Vec<u8> {
        records.iter().flat_map(|record| postcard::to_allocvec(record).unwrap()).collect()
    }

    fn texts(frames: &[StackFrame]) -> Vec<String> {
        frames.iter().map(ToString::to_string).collect()
    }

    /// The last address equals the return address that is looked up for the first one.
    const BACKTRACE: [usize; 4] = [0x10, 0x20, usize::MAX, 0x11];

    /// The return addresses of [`BACKTRACE`].
    const LOOKED_UP: [usize; 3] = [0x11, 0x20, usize::MAX];

    fn decoded(bytes: &[u8]) -> Vec<StackFrame> {
        frames_of(&BACKTRACE, &decode(bytes, &LOOKED_UP))
    }

    #[test]
    fn addresses_are_looked_up_once_and_the_executed_address_is_one_further() {
        let backtraces = [BACKTRACE.to_vec(), Vec::new(), vec![0x1f, 0x11, 0x30]];
        assert_eq!(distinct_addresses(&backtraces), [0x11, 0x20, usize::MAX, 0x30]);
        let long: Vec<usize> = (0..5000).collect();
        assert_eq!(distinct_addresses(&[long]).len(), ADDRESSES_MAX);
    }

    #[test]
    fn each_address_has_its_frames_and_an_unknown_one_has_only_its_address() {
        let bytes = encoded(&[record(0, "inlined"), record(0, "outer"), record(2, "main")]);
        let frames = decoded(&bytes);
        let at = |name: &str| format!("{name} at src/main.rs:7");
        assert_eq!(
            texts(&frames),
            [at("inlined"), at("outer"), "0x20".into(), at("main"), at("inlined"), at("outer")]
        );
        let addresses: Vec<usize> = frames.iter().map(|frame| frame.address).collect();
        assert_eq!(addresses, [0x10, 0x10, 0x20, usize::MAX, 0x11, 0x11]);
    }

    #[test]
    fn the_complete_records_of_incomplete_output_are_used() {
        let bytes = encoded(&[record(0, "first"), record(1, "second"), record(2, "third")]);
        let whole = decoded(&bytes);
        for length in 0..bytes.len() {
            let frames = decoded(&bytes[..length]);
            assert_eq!(frames.len(), BACKTRACE.len());
            for (number, frame) in frames.iter().enumerate() {
                let unknown = StackFrame::at(BACKTRACE[number]);
                assert!(*frame == whole[number] || *frame == unknown, "{length}: {frame}");
            }
        }
    }

    #[test]
    fn records_of_other_addresses_and_everything_behind_them_are_ignored() {
        let bytes = encoded(&[record(0, "real"), record(3, "forged"), record(1, "late")]);
        let frames = decoded(&bytes);
        assert_eq!(texts(&frames)[1..3], ["0x20".to_owned(), format!("{:#x}", usize::MAX)]);
        assert!(decode(&bytes, &[]).is_empty());
    }

    #[test]
    fn names_are_bounded_and_their_control_characters_are_escaped() {
        let bytes = encoded(&[record(0, "a\n\u{1b}[2J"), record(1, &"é".repeat(NAME_MAX * 2))]);
        let frames = decoded(&bytes);
        assert_eq!(frames[0].function.as_deref(), Some(r"a\n\u{1b}[2J"));
        let long = frames[1].function.as_deref().expect("a name");
        assert_eq!(long.chars().count(), NAME_MAX);
    }

    #[test]
    fn frames_that_are_inlined_at_one_address_are_bounded() {
        let bytes = encoded(&vec![record(1, "f"); 5000]);
        assert_eq!(decoded(&bytes).len(), INLINED_MAX + 3);
    }

    #[test]
    fn arbitrary_bytes_result_in_the_addresses_and_never_in_a_panic() {
        let mut state = 7_u64;
        for round in 0..20_000_usize {
            let bytes: Vec<u8> = (0..round % 60)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    // Small numbers are likely to be valid tags and lengths.
                    ((state >> 33) % if round.is_multiple_of(2) { 4 } else { 256 }) as u8
                })
                .collect();
            let frames = decoded(&bytes);
            let mut addresses: Vec<usize> = frames.iter().map(|frame| frame.address).collect();
            addresses.dedup();
            assert_eq!(addresses, BACKTRACE, "{bytes:?}");
        }
    }

    #[test]
    fn the_frames_that_a_lookup_writes_are_read() {
        let here = the_frames_that_a_lookup_writes_are_read as fn() as usize;
        let backtrace = [here, 1];
        let addresses = distinct_addresses(&[backtrace.to_vec()]);
        let mut bytes = Vec::new();
        write_frames(&addresses, &mut bytes).unwrap();
        let frames = frames_of(&backtrace, &decode(&bytes, &addresses));
        let name = "the_frames_that_a_lookup_writes_are_read";
        assert!(texts(&frames).iter().any(|text| text.contains(name)), "{frames:?}");
        assert_eq!(frames.last(), Some(&StackFrame::at(1)));
    }

    #[test]
    fn a_lookup_writes_no_more_than_the_limit() {
        let here = a_lookup_writes_no_more_than_the_limit as fn() as usize;
        let addresses = vec![here + 1; 20_000];
        let mut bytes = Vec::new();
        let error = write_frames(&addresses, &mut bytes).expect_err("too much");
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert!(bytes.len() <= OUTPUT_MAX && bytes.len() > OUTPUT_MAX / 2, "{}", bytes.len());
    }

    #[test]
    fn output_beyond_the_limit_is_not_read() {
        let (mut lookup, input) = SymbolLookup::new(vec![vec![1]]).unwrap();
        assert_eq!(lookup.read(), SymbolLookupProgress::Running);
        let writer = std::thread::spawn(move || {
            // The write fails when the reader is dropped.
            io::PipeWriter::from(input).write_all(&vec![0; OUTPUT_MAX * 8])
        });
        while lookup.read() == SymbolLookupProgress::Running {
            std::thread::yield_now();
        }
        assert!(lookup.received.len() < OUTPUT_MAX + 4096);
        assert_eq!(lookup.into_frames()[0].len(), INLINED_MAX);
        assert!(writer.join().unwrap().is_err());
    }
}
