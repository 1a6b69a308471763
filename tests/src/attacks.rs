//! What a hostile child or worker can do to its daemon: a catalogue of attacks. The test programs
//! run an attack when a client sends the line `attack NAME SEED MILLIS`.
//!
//! The attacks run on Linux only. They use only what every child has: its memory, its descriptors,
//! its process and the processes of its user. They contain no unsafe code: a child writes to its
//! memory through `/proc/self/mem`, and duplicates its descriptors with pidfd_getfd(2).
//!
//! Not in the catalogue is what the kernel permits to every process of the same user, and what no
//! program can prevent: signals that end the parent or the fork server, ptrace(2) on them, and
//! writes to their memory through `/proc/PID/mem`.

mod board;
mod descriptors;
mod memory;
mod processes;
mod speech;
mod worker_link;

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use board::BOARD;
use descriptors::DESCRIPTORS;
use memory::MEMORY;
use processes::PROCESSES;
use speech::SPEECH;
use worker_link::WORKER_LINK;

/// An attack of a child on its daemon.
#[derive(Clone, Copy)]
pub struct Attack {
    /// The name, which is unique.
    pub name: &'static str,
    /// What the attack abuses.
    pub kind: AttackKind,
    run: fn(&mut Attacker) -> io::Result<()>,
}

impl Attack {
    /// Returns whether the attack ends or stops other children, as every process of the same user
    /// can, so that their clients are not served any more.
    #[must_use]
    pub fn is_on_siblings(&self) -> bool {
        self.kind == AttackKind::Processes && self.name.starts_with("sibling")
    }
}

impl fmt::Debug for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{}", self.kind, self.name)
    }
}

/// What an attack abuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttackKind {
    /// The scoreboard.
    Board,
    /// The other shared memory, and the child's own memory.
    Memory,
    /// The descriptors that were inherited or received.
    Descriptors,
    /// The processes of the daemon, and the child's own process.
    Processes,
    /// What the child prints, logs and reports.
    Speech,
    /// A worker's link to the dispatcher.
    WorkerLink,
}

macro_rules! attacks {
    ($kind:ident: $($name:ident),+ $(,)?) => {
        &[$($crate::attacks::Attack {
            name: stringify!($name),
            kind: $crate::attacks::AttackKind::$kind,
            run: $name,
        }),+]
    };
}
use attacks;

/// Returns all attacks.
pub fn catalogue() -> impl Iterator<Item = Attack> {
    [BOARD, MEMORY, DESCRIPTORS, PROCESSES, SPEECH, WORKER_LINK].into_iter().flatten().copied()
}

/// Runs the attack `NAME SEED MILLIS`, and returns `done by PID`, or why the attack was not
/// possible. Many attacks do not return. An attack that repeats itself does so for this many
/// milliseconds.
#[must_use]
pub fn attack(command: &str) -> String {
    let mut words = command.split_whitespace();
    let found = words.next().and_then(|name| catalogue().find(|attack| attack.name == name));
    let mut number = || words.next().and_then(|word| word.parse().ok());
    let (Some(attack), Some(seed), Some(millis)) = (found, number(), number()) else {
        return format!("no such attack: {command}");
    };
    let mut attacker = Attacker { random: Random(seed), window: Duration::from_millis(millis) };
    match (attack.run)(&mut attacker) {
        Ok(()) => format!("done by {}", std::process::id()),
        Err(error) => format!("not possible: {error}"),
    }
}

/// The child that attacks.
struct Attacker {
    random: Random,
    window: Duration,
}

impl Attacker {
    /// Repeats a step until the time of the attack is over.
    fn repeat(&mut self, mut step: impl FnMut(&mut Random) -> io::Result<()>) -> io::Result<()> {
        let end = Instant::now() + self.window;
        while Instant::now() < end {
            step(&mut self.random)?;
        }
        Ok(())
    }
}

/// A sequence of random numbers that depends only on its seed (splitmix64).
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    /// Returns the next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`, or 0 if `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end.max(1)
    }

    /// Returns one of these values.
    pub fn one_of<T: Copy>(&mut self, values: &[T]) -> Option<T> {
        values.get(self.below(values.len() as u64) as usize).copied()
    }

    /// Returns this many random bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.number().to_ne_bytes()[..chunk.len()]);
        }
        bytes
    }
}

fn missing(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{what} not found"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_names_of_attacks_are_unique() {
        let names: BTreeSet<_> = catalogue().map(|attack| attack.name).collect();
        assert_eq!(names.len(), catalogue().count());
    }

    #[test]
    fn a_sequence_of_random_numbers_depends_only_on_its_seed() {
        let sequence = |seed| Random(seed).bytes(20);
        assert_eq!(sequence(1), sequence(1));
        assert_ne!(sequence(1), sequence(2));
    }
}
