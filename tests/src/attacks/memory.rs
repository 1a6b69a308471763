//! Attacks on the shared memory besides the scoreboard (the claims of workers, the pages for
//! backtraces, shared buffers), and on the child's own memory.

use std::fs::{self, File};
use std::hint::black_box;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use nix::sys::resource::{Resource, setrlimit};

use super::{Attack, Attacker, attacks, missing};

pub(super) const MEMORY: &[Attack] = attacks![Memory:
    shared_memory_zeroed, shared_memory_ones, shared_memory_random, shared_memory_changing,
    board_file_truncated, own_heap_random, own_code_zeroed, stack_overflowed, memory_exhausted,
];

/// The first word of a scoreboard.
const MAGIC: u64 = u64::from_be_bytes(*b"actdmn\x00\x02");

/// A mapping of this process that it can write to.
#[derive(Debug)]
pub(super) struct Mapping {
    memory: File,
    start: u64,
    length: u64,
    path: String,
}

impl Mapping {
    /// Returns the mappings that `wanted` accepts by their permissions and path.
    pub(super) fn find(wanted: impl Fn(&str, &str) -> bool) -> io::Result<Vec<Mapping>> {
        let maps = fs::read_to_string("/proc/self/maps")?;
        let mut found = Vec::new();
        for line in maps.lines() {
            let mut words = line.split_whitespace();
            let range = words.next().and_then(|range| range.split_once('-'));
            let (Some((start, end)), Some(permissions)) = (range, words.next()) else { continue };
            let path = words.nth(3).unwrap_or_default();
            let number = |word| u64::from_str_radix(word, 16).map_err(io::Error::other);
            let (start, end) = (number(start)?, number(end)?);
            if wanted(permissions, path) {
                let memory = File::options().read(true).write(true).open("/proc/self/mem")?;
                let path = path.to_owned();
                found.push(Mapping { memory, start, length: end - start, path });
            }
        }
        Ok(found)
    }

    /// Returns the mappings that this process shares with other processes.
    pub(super) fn shared() -> io::Result<Vec<Mapping>> {
        Mapping::find(|permissions, _path| permissions == "rw-s")
    }

    /// Returns the mapping of the whole scoreboard: the header, and the rest, which is writable.
    pub(super) fn board() -> io::Result<Mapping> {
        let mut all = Mapping::find(|permissions, _path| permissions.ends_with('s'))?;
        let is_board = |mapping: &Mapping| mapping.read(0).is_ok_and(|first| first == MAGIC);
        let board = all.iter().position(is_board).map(|nth| all.swap_remove(nth));
        let board = board.ok_or_else(|| missing("the scoreboard"))?;
        let rest = all.iter().find(|other| board.start + board.length == other.start);
        let length = board.length + rest.map_or(0, |rest| rest.length);
        Ok(Mapping { length, ..board })
    }

    /// Returns whether this mapping is a part of another.
    fn is_part_of(&self, other: &Mapping) -> bool {
        (other.start..other.start + other.length).contains(&self.start)
    }

    /// Returns the length in words of 8 bytes.
    pub(super) fn words(&self) -> u64 {
        self.length / 8
    }

    pub(super) fn read(&self, word: u64) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.memory.read_exact_at(&mut bytes, self.start + word * 8)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    pub(super) fn write(&self, word: u64, value: u64) -> io::Result<()> {
        self.fill(word, &value.to_ne_bytes())
    }

    /// Writes bytes from this word on.
    pub(super) fn fill(&self, word: u64, bytes: &[u8]) -> io::Result<()> {
        let length = bytes.len().min((self.length - word * 8) as usize);
        self.memory.write_all_at(&bytes[..length], self.start + word * 8)
    }
}

/// Returns the shared mappings without the scoreboard.
fn other_shared() -> io::Result<Vec<Mapping>> {
    let mut found = Mapping::shared()?;
    let board = Mapping::board()?;
    found.retain(|mapping| !mapping.is_part_of(&board));
    if found.is_empty() { Err(missing("shared memory besides the scoreboard")) } else { Ok(found) }
}

fn fill_other_shared(mut bytes: impl FnMut(usize) -> Vec<u8>) -> io::Result<()> {
    other_shared()?.iter().try_for_each(|mapping| mapping.fill(0, &bytes(mapping.length as usize)))
}

/// Fills the shared memory with zeros.
fn shared_memory_zeroed(_attacker: &mut Attacker) -> io::Result<()> {
    fill_other_shared(|length| vec![0; length])
}

/// Fills the shared memory with ones.
fn shared_memory_ones(_attacker: &mut Attacker) -> io::Result<()> {
    fill_other_shared(|length| vec![0xff; length])
}

/// Fills the shared memory at random.
fn shared_memory_random(attacker: &mut Attacker) -> io::Result<()> {
    fill_other_shared(|length| attacker.random.bytes(length))
}

/// Fills the shared memory at random, again and again.
fn shared_memory_changing(attacker: &mut Attacker) -> io::Result<()> {
    attacker.repeat(|random| fill_other_shared(|length| random.bytes(length)))
}

/// Truncates the files of shared memory, so that access to them raises SIGBUS.
fn board_file_truncated(_attacker: &mut Attacker) -> io::Result<()> {
    let paths: Vec<PathBuf> = Mapping::shared()?
        .iter()
        .map(|mapping| PathBuf::from(&mapping.path))
        .filter(|path| path.is_file())
        .collect();
    if paths.is_empty() {
        return Err(missing("a file of shared memory"));
    }
    paths.iter().try_for_each(|path| File::options().write(true).open(path)?.set_len(0))
}

/// Fills its heap at random.
fn own_heap_random(attacker: &mut Attacker) -> io::Result<()> {
    let heaps = Mapping::find(|_permissions, path| path == "[heap]")?;
    heaps.iter().try_for_each(|heap| heap.fill(0, &attacker.random.bytes(heap.length as usize)))
}

/// Overwrites its code with zeros, so that it crashes with a real SIGSEGV or SIGILL.
fn own_code_zeroed(_attacker: &mut Attacker) -> io::Result<()> {
    let program = std::env::current_exe()?.display().to_string();
    let code = Mapping::find(|permissions, path| permissions == "r-xp" && path == program)?;
    code.iter().try_for_each(|code| code.fill(0, &vec![0; code.length as usize]))
}

/// Overflows its stack.
fn stack_overflowed(_attacker: &mut Attacker) -> io::Result<()> {
    fn deeper(level: u64) -> u64 {
        let frame = black_box([level; 512]);
        if level == u64::MAX {
            return level;
        }
        deeper(level + 1).wrapping_add(frame[level as usize % 512])
    }
    black_box(deeper(0));
    Ok(())
}

/// Allocates all memory that its limit permits.
fn memory_exhausted(_attacker: &mut Attacker) -> io::Result<()> {
    setrlimit(Resource::RLIMIT_AS, 1 << 30, 1 << 30)?;
    let mut leaked = Vec::new();
    loop {
        leaked.push(black_box(vec![7_u8; 16 << 20]));
    }
}
