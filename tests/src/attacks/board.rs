//! Attacks on the scoreboard. `docs/scoreboard.md` and `crates/core/src/line.rs` describe its
//! layout.

use std::io;
use std::thread::sleep;
use std::time::Duration;

use super::memory::Mapping;
use super::{Attack, Attacker, Random, attacks, missing};

pub(super) const BOARD: &[Attack] = attacks![Board:
    own_line_bits, own_line_inverted, own_line_random, own_line_zeroed, own_generation_bit,
    own_statuses, own_pid_of_parent, own_pid_of_init, own_pid_of_sibling, own_pid_zero,
    sibling_line_bits, sibling_line_inverted, sibling_line_random, sibling_line_zeroed,
    sibling_generation_bit, sibling_statuses, sibling_pid_of_parent, all_siblings_empty,
    all_siblings_leaving, all_siblings_serving,
    free_line_bits, free_line_random, free_line_claimed, free_line_status_invalid,
    all_free_lines_status_invalid, all_free_lines_claimed, all_free_lines_generation_last,
    counters_at_maximum, times_in_the_future, times_at_zero, deadlines_at_maximum, guards_odd,
    label_bytes, exit_causes_random, lines_copied,
    header_bits, header_random, header_zeroed, header_magic, header_slots_zero,
    header_slots_maximum, header_phases, header_phase_stopping, header_phase_invalid,
    wakeup_disarmed, wakeup_armed, wakeup_maximum, header_started, header_visible_zero,
    header_visible_maximum, header_paused,
    summary_bits, summary_ones, summary_zeroed, marks_bits, marks_ones, marks_zeroed,
    marks_changing, board_random, board_ones, board_zeroed, board_changing,
];

/// The number of words in a line.
const WORDS: u64 = 16;

/// The line with the wakeup. The lines before it are the header, which is read-only.
const WAKEUP: u64 = 128;
/// The line with the summary of the change marks.
const SUMMARY: u64 = 129;
/// The first line of the change marks.
const MARKS: u64 = 130;

/// Words of the header.
const SLOTS: u64 = 1;
const PHASE: u64 = 2;
const STARTED: u64 = 3;
const VISIBLE: u64 = 4;
const PAUSED: u64 = 5;

/// Words of a slot's line.
const STATE: u64 = 0;
const STARTED_AT: u64 = 1;
const SINCE: u64 = 2;
const REQUESTS: u64 = 3;
const GUARD: u64 = 4;
const HEARTBEAT: u64 = 11;
const DEADLINE: u64 = 12;
const EXIT_CAUSES: u64 = 13;

/// How long a value stays before the attack replaces it: long enough for the parent to read it.
const SHORT: Duration = Duration::from_micros(100);

/// The scoreboard in this process's memory.
struct Board {
    memory: Mapping,
    slots: u64,
    /// The line of the first slot.
    first: u64,
}

impl Board {
    fn find() -> io::Result<Board> {
        let memory = Mapping::board()?;
        let slots = memory.read(SLOTS)?;
        let first = MARKS + slots.div_ceil(1024);
        if (first + slots) * WORDS > memory.words() {
            return Err(missing("the end of the scoreboard"));
        }
        Ok(Board { memory, slots, first })
    }

    fn word(&self, line: u64, word: u64) -> io::Result<u64> {
        self.memory.read(line * WORDS + word)
    }

    fn set(&self, line: u64, word: u64, value: u64) -> io::Result<()> {
        self.memory.write(line * WORDS + word, value)
    }

    fn lines(&self) -> std::ops::Range<u64> {
        self.first..self.first + self.slots
    }

    /// Returns the lines whose state `wanted` accepts by the status code and the pid.
    fn lines_with(&self, wanted: impl Fn(u64, u64) -> bool) -> io::Result<Vec<u64>> {
        let mut found = Vec::new();
        for line in self.lines() {
            let state = self.word(line, STATE)?;
            if wanted(state >> 56, state & 0xffff_ffff) {
                found.push(line);
            }
        }
        Ok(found)
    }

    fn own(&self) -> io::Result<u64> {
        let own = u64::from(std::process::id());
        let found = self.lines_with(|_code, pid| pid == own)?;
        found.first().copied().ok_or_else(|| missing("the own slot"))
    }

    fn siblings(&self) -> io::Result<Vec<u64>> {
        let own = u64::from(std::process::id());
        self.lines_with(|code, pid| code != 0 && pid != own)
    }

    fn sibling(&self, random: &mut Random) -> io::Result<u64> {
        random.one_of(&self.siblings()?).ok_or_else(|| missing("the slot of a sibling"))
    }

    fn free(&self) -> io::Result<Vec<u64>> {
        self.lines_with(|code, _pid| code == 0)
    }

    /// Flips each bit of a line in turn, and restores it.
    fn flip_bits(&self, line: u64) -> io::Result<()> {
        for word in 0..WORDS {
            for bit in 0..64 {
                let value = self.word(line, word)?;
                self.set(line, word, value ^ 1 << bit)?;
                if bit % 8 == 0 {
                    sleep(SHORT);
                }
                self.set(line, word, value)?;
            }
        }
        Ok(())
    }

    fn invert(&self, line: u64) -> io::Result<()> {
        (0..WORDS).try_for_each(|word| self.set(line, word, !self.word(line, word)?))
    }

    fn fill(&self, lines: std::ops::Range<u64>, bytes: impl Fn(usize) -> u8) -> io::Result<()> {
        let count = (lines.end - lines.start) * WORDS * 8;
        let bytes: Vec<u8> = (0..count as usize).map(bytes).collect();
        self.memory.fill(lines.start * WORDS, &bytes)
    }

    fn fill_random(&self, lines: std::ops::Range<u64>, random: &mut Random) -> io::Result<()> {
        let bytes = random.bytes(((lines.end - lines.start) * WORDS * 8) as usize);
        self.memory.fill(lines.start * WORDS, &bytes)
    }

    /// Sets the status of a slot to this code, valid or not.
    fn set_status(&self, line: u64, code: u64) -> io::Result<()> {
        let state = self.word(line, STATE)?;
        self.set(line, STATE, state & !(0xff << 56) | code << 56)?;
        self.mark(line)
    }

    fn set_pid(&self, line: u64, pid: u64) -> io::Result<()> {
        let state = self.word(line, STATE)?;
        self.set(line, STATE, state & !0xffff_ffff | pid)?;
        self.mark(line)
    }

    fn flip_generation(&self, line: u64, random: &mut Random) -> io::Result<()> {
        let state = self.word(line, STATE)?;
        self.set(line, STATE, state ^ 1 << (32 + random.below(24)))?;
        self.mark(line)
    }

    /// Marks a slot as changed, so that the parent reads it.
    fn mark(&self, line: u64) -> io::Result<()> {
        let slot = line - self.first;
        let marks = MARKS * WORDS + slot / 64;
        self.memory.write(marks, self.memory.read(marks)? | 1 << (slot % 64))?;
        let summary = self.word(SUMMARY, slot / 4096)? | 1 << (slot / 64 % 64);
        self.set(SUMMARY, slot / 4096, summary)
    }

    fn summary() -> std::ops::Range<u64> {
        SUMMARY..MARKS
    }

    fn marks(&self) -> std::ops::Range<u64> {
        MARKS..self.first
    }

    /// Returns the lines that are writable.
    fn all(&self) -> std::ops::Range<u64> {
        WAKEUP..self.first + self.slots
    }
}

fn parent_pid() -> io::Result<u64> {
    u64::try_from(super::processes::daemon_parent()?.as_raw()).map_err(io::Error::other)
}

fn each(lines: Vec<u64>, act: impl FnMut(u64) -> io::Result<()>) -> io::Result<()> {
    lines.into_iter().try_for_each(act)
}

/// Flips each bit of its own line in turn.
fn own_line_bits(_attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    board.flip_bits(board.own()?)
}

/// Inverts its own line.
fn own_line_inverted(_attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    board.invert(board.own()?)
}

/// Fills its own line at random.
fn own_line_random(attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    let own = board.own()?;
    board.fill_random(own..own + 1, &mut attacker.random)
}

/// Fills its own line with zeros.
fn own_line_zeroed(_attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    let own = board.own()?;
    board.fill(own..own + 1, |_byte| 0)
}

/// Flips one bit of its generation.
fn own_generation_bit(attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    board.flip_generation(board.own()?, &mut attacker.random)
}

/// Sets its status to each code, and at last to an invalid one.
fn own_statuses(_attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    let own = board.own()?;
    for code in 0..256 {
        board.set_status(own, code)?;
        sleep(SHORT);
    }
    Ok(())
}

/// Claims to be the parent of the daemon.
fn own_pid_of_parent(_attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    board.set_pid(board.own()?, parent_pid()?)
}

/// Claims to be init.
fn own_pid_of_init(_attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    board.set_pid(board.own()?, 1)
}

/// Claims to be one of its siblings.
fn own_pid_of_sibling(attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    let sibling = board.word(board.sibling(&mut attacker.random)?, STATE)?;
    board.set_pid(board.own()?, sibling & 0xffff_ffff)
}

/// Claims to have no process.
fn own_pid_zero(_attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    board.set_pid(board.own()?, 0)
}

/// Flips each bit of a sibling's line in turn.
fn sibling_line_bits(attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    board.flip_bits(board.sibling(&mut attacker.random)?)
}

/// Inverts a sibling's line.
fn sibling_line_inverted(attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    board.invert(board.sibling(&mut attacker.random)?)
}

/// Fills a sibling's line at random.
fn sibling_line_random(attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    let sibling = board.sibling(&mut attacker.random)?;
    board.fill_random(sibling..sibling + 1, &mut attacker.random)
}

/// Fills a sibling's line with zeros.
fn sibling_line_zeroed(attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    let sibling = board.sibling(&mut attacker.random)?;
    board.fill(sibling..sibling + 1, |_byte| 0)
}

/// Flips one bit of a sibling's generation.
fn sibling_generation_bit(attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    let sibling = board.sibling(&mut attacker.random)?;
    board.flip_generation(sibling, &mut attacker.random)
}

/// Sets the status of a sibling to each code, and at last to an invalid one.
fn sibling_statuses(attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    let sibling = board.sibling(&mut attacker.random)?;
    for code in 0..256 {
        board.set_status(sibling, code)?;
        sleep(SHORT);
    }
    Ok(())
}

/// Makes a sibling appear to be the parent of the daemon.
fn sibling_pid_of_parent(attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    board.set_pid(board.sibling(&mut attacker.random)?, parent_pid()?)
}

/// Makes all siblings appear to have ended.
fn all_siblings_empty(_attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    each(board.siblings()?, |line| board.set_status(line, 0))
}

/// Makes all siblings appear to be leaving.
fn all_siblings_leaving(_attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    each(board.siblings()?, |line| board.set_status(line, 7))
}

/// Makes all siblings appear to be busy.
fn all_siblings_serving(_attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    each(board.siblings()?, |line| board.set_status(line, 5))
}

/// Flips each bit of a free line in turn.
fn free_line_bits(_attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    let free = board.free()?;
    board.flip_bits(*free.first().ok_or_else(|| missing("a free slot"))?)
}

/// Fills a free line at random.
fn free_line_random(attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    let free = *board.free()?.first().ok_or_else(|| missing("a free slot"))?;
    board.fill_random(free..free + 1, &mut attacker.random)
}

/// Claims a free slot for itself.
fn free_line_claimed(_attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    let free = *board.free()?.first().ok_or_else(|| missing("a free slot"))?;
    board.set_pid(free, std::process::id().into())?;
    board.set_status(free, 5)
}

/// Gives a free slot an invalid status.
fn free_line_status_invalid(_attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    let free = board.free()?;
    board.set_status(*free.first().ok_or_else(|| missing("a free slot"))?, 0xff)
}

/// Gives all free slots an invalid status.
fn all_free_lines_status_invalid(_attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    each(board.free()?, |line| board.set_status(line, 0xff))
}

/// Makes all free slots appear to have an idle child.
fn all_free_lines_claimed(_attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    each(board.free()?, |line| board.set_status(line, 4))
}

/// Sets the generation of all free slots to the last one before it wraps.
fn all_free_lines_generation_last(_attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    each(board.free()?, |line| board.set(line, STATE, 0x00ff_ffff << 32))
}

fn set_everywhere(words: &[u64], value: u64) -> io::Result<()> {
    let board = Board::find()?;
    for line in board.lines() {
        for word in words {
            board.set(line, *word, value)?;
        }
        board.mark(line)?;
    }
    Ok(())
}

/// Sets the request counters of all lines to the maximum.
fn counters_at_maximum(_attacker: &mut Attacker) -> io::Result<()> {
    set_everywhere(&[REQUESTS], u64::MAX)
}

/// Sets all times of all lines to the end of time.
fn times_in_the_future(_attacker: &mut Attacker) -> io::Result<()> {
    set_everywhere(&[STARTED_AT, SINCE, HEARTBEAT], u64::MAX)
}

/// Sets all times of all lines to zero.
fn times_at_zero(_attacker: &mut Attacker) -> io::Result<()> {
    set_everywhere(&[STARTED_AT, SINCE, HEARTBEAT, DEADLINE], 0)
}

/// Extends the deadlines of all requests to the end of time.
fn deadlines_at_maximum(_attacker: &mut Attacker) -> io::Result<()> {
    set_everywhere(&[DEADLINE], u64::MAX)
}

/// Leaves the guards of all labels as a killed writer does.
fn guards_odd(_attacker: &mut Attacker) -> io::Result<()> {
    set_everywhere(&[GUARD], 0x01ff)
}

/// Fills its label with terminal escapes, and gives it an impossible length.
fn label_bytes(_attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    let own = board.own()?;
    let label = b"\x1b[2J\x1b]0;owned\x07\xff\xfe\0\r\n".repeat(3);
    board.memory.fill(own * WORDS + GUARD + 1, &label[..48])?;
    board.set(own, GUARD, 0x02ff)
}

/// Fills the exit causes of all lines at random.
fn exit_causes_random(attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    board.lines().try_for_each(|line| board.set(line, EXIT_CAUSES, attacker.random.number()))
}

/// Copies its line over all others.
fn lines_copied(_attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    let own = board.own()?;
    for line in board.lines() {
        for word in 0..WORDS {
            board.set(line, word, board.word(own, word)?)?;
        }
        board.mark(line)?;
    }
    Ok(())
}

/// Flips each bit of the header in turn.
fn header_bits(_attacker: &mut Attacker) -> io::Result<()> {
    Board::find()?.flip_bits(0)
}

/// Fills the header at random.
fn header_random(attacker: &mut Attacker) -> io::Result<()> {
    Board::find()?.fill_random(0..1, &mut attacker.random)
}

/// Fills the header with zeros.
fn header_zeroed(_attacker: &mut Attacker) -> io::Result<()> {
    Board::find()?.fill(0..1, |_byte| 0)
}

/// Overwrites the magic number.
fn header_magic(attacker: &mut Attacker) -> io::Result<()> {
    Board::find()?.set(0, 0, attacker.random.number())
}

/// Sets the number of slots to zero.
fn header_slots_zero(_attacker: &mut Attacker) -> io::Result<()> {
    Board::find()?.set(0, SLOTS, 0)
}

/// Sets the number of slots to the maximum.
fn header_slots_maximum(_attacker: &mut Attacker) -> io::Result<()> {
    Board::find()?.set(0, SLOTS, u64::MAX)
}

/// Sets the phase of the daemon to each code, and at last to an invalid one.
fn header_phases(_attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    for code in 0..256 {
        board.set(0, PHASE, code)?;
        sleep(SHORT);
    }
    Ok(())
}

/// Makes the daemon appear to be stopping.
fn header_phase_stopping(_attacker: &mut Attacker) -> io::Result<()> {
    Board::find()?.set(0, PHASE, 2)
}

/// Sets the phase to an invalid code.
fn header_phase_invalid(_attacker: &mut Attacker) -> io::Result<()> {
    Board::find()?.set(0, PHASE, u64::MAX)
}

/// Disarms the wakeup of the parent, again and again.
fn wakeup_disarmed(attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    attacker.repeat(|random| board.set(WAKEUP, 0, random.number() & !1))
}

/// Arms the wakeup of the parent, again and again.
fn wakeup_armed(attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    attacker.repeat(|random| board.set(WAKEUP, 0, random.number() | 1))
}

/// Sets the word of the wakeup to the maximum.
fn wakeup_maximum(_attacker: &mut Attacker) -> io::Result<()> {
    Board::find()?.set(WAKEUP, 0, u64::MAX)
}

/// Sets the start of the daemon to the end of time.
fn header_started(_attacker: &mut Attacker) -> io::Result<()> {
    Board::find()?.set(0, STARTED, u64::MAX)
}

/// Hides all slots.
fn header_visible_zero(_attacker: &mut Attacker) -> io::Result<()> {
    Board::find()?.set(0, VISIBLE, 0)
}

/// Shows more slots than there are.
fn header_visible_maximum(_attacker: &mut Attacker) -> io::Result<()> {
    Board::find()?.set(0, VISIBLE, u64::MAX)
}

/// Pauses the daemon, as only the operator may.
fn header_paused(_attacker: &mut Attacker) -> io::Result<()> {
    Board::find()?.set(0, PAUSED, 1)
}

/// Flips each bit of the summary of the change marks in turn.
fn summary_bits(_attacker: &mut Attacker) -> io::Result<()> {
    Board::find()?.flip_bits(SUMMARY)
}

/// Sets all bits of the summary, for slots that exist and for others.
fn summary_ones(_attacker: &mut Attacker) -> io::Result<()> {
    Board::find()?.fill(Board::summary(), |_byte| 0xff)
}

/// Clears the summary, again and again.
fn summary_zeroed(attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    attacker.repeat(|_random| board.fill(Board::summary(), |_byte| 0))
}

/// Flips each bit of the change marks in turn.
fn marks_bits(_attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    board.marks().try_for_each(|line| board.flip_bits(line))
}

/// Marks all slots as changed, also those that do not exist.
fn marks_ones(_attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    board.fill(board.marks(), |_byte| 0xff)?;
    board.fill(Board::summary(), |_byte| 0xff)
}

/// Clears the change marks, again and again.
fn marks_zeroed(attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    attacker.repeat(|_random| board.fill(board.marks(), |_byte| 0))
}

/// Marks all slots as changed, again and again, and arms the wakeup.
fn marks_changing(attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    attacker.repeat(|random| {
        board.fill(board.marks(), |_byte| 0xff)?;
        board.fill(Board::summary(), |_byte| 0xff)?;
        board.set(WAKEUP, 0, random.number() | 1)
    })
}

/// Fills the whole scoreboard, except the header, at random.
fn board_random(attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    board.fill_random(board.all(), &mut attacker.random)
}

/// Fills the whole scoreboard, except the header, with ones.
fn board_ones(_attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    board.fill(board.all(), |_byte| 0xff)
}

/// Fills the whole scoreboard, except the header, with zeros.
fn board_zeroed(_attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    board.fill(board.all(), |_byte| 0)
}

/// Fills the whole scoreboard at random, again and again.
fn board_changing(attacker: &mut Attacker) -> io::Result<()> {
    let board = Board::find()?;
    attacker.repeat(|random| board.fill_random(board.all(), random))
}
