//! Entry points of the fuzz targets, see `fuzz/` in the repository: the scoreboard and the claims
//! as memory that another process can write.
//!
//! An input must never cause a panic or an endless loop. The entry points also check what the
//! parent relies on whatever the memory contains.

use std::cell::RefCell;

use zerocopy::FromBytes;

use crate::atomics::Ordering;
use crate::claim::Claim;
use crate::exit_cause::ExitCause;
use crate::label::{LABEL_MAX, Label, LabelText};
use crate::line::{Generation, ScoreboardLine, SlotNumber, WORDS};
use crate::monotonic::MonotonicTime;
use crate::phase::Phase;
use crate::reader::{HEADER_LINES, ScoreboardReader, lines_for};
use crate::record::Record;
use crate::scoreboard::Scoreboard;
use crate::seat::{Seat, WakeParent};
use crate::status::Status;

/// The number of lines in the memory of [`board_file`].
const FILE_LINES: usize = HEADER_LINES + 96;

/// The numbers of slots of the scoreboards that [`board`] damages. The last one has two lines of
/// dirty bits.
const SLOTS: [u32; 4] = [1, 16, 70, 1030];

/// A time after the start of every daemon.
const NOW: MonotonicTime = MonotonicTime::from_nanos(1 << 40);

/// The memory of a scoreboard, and the parent's record of it.
type BoardMemory = (&'static [ScoreboardLine], &'static Record);

struct FuzzWakeup;

impl WakeParent for FuzzWakeup {
    fn wake(&self) {}
}

/// Reads memory with arbitrary contents as a scoreboard, as daemonctl does with a scoreboard file.
pub fn board_file(bytes: &[u8]) {
    thread_local! {
        static LINES: &'static [ScoreboardLine] = lines(FILE_LINES);
    }
    let lines = LINES.with(|lines| *lines);
    let count = (HEADER_LINES - 1) + bytes.len().div_ceil(size_of::<ScoreboardLine>());
    let lines = lines.get(..count).unwrap_or(lines);
    fill(lines, bytes);
    if let Ok(board) = ScoreboardReader::open(lines) {
        read_all(&board);
    }
}

/// Returns a scoreboard of 16 slots whose memory contains these bytes and zeros.
#[must_use]
pub fn damaged_board(bytes: &[u8]) -> ScoreboardReader {
    thread_local! {
        static LINES: &'static [ScoreboardLine] = lines(FILE_LINES);
    }
    let lines = LINES.with(|lines| *lines);
    fill(lines, bytes);
    ScoreboardReader::over(lines, 16).expect("there are enough lines")
}

/// Damages a scoreboard as a child can, in between the actions of the parent and of the children.
///
/// The input is a number of slots (one byte, an index), then steps of eleven bytes: what to do (one
/// byte), which word (two bytes), and a value (eight bytes).
pub fn board(bytes: &[u8]) {
    thread_local! {
        static BOARDS: RefCell<[Option<BoardMemory>; SLOTS.len()]> =
            const { RefCell::new([None; SLOTS.len()]) };
    }
    let Some((size, steps)) = bytes.split_first() else { return };
    let nth = usize::from(*size) % SLOTS.len();
    let slots = SLOTS[nth];
    // Scoreboards live as long as the program, so they are reused.
    let (lines, record) = BOARDS.with_borrow_mut(|all| {
        *all[nth].get_or_insert_with(|| {
            let lines = lines(lines_for(slots).expect("the number is valid"));
            (lines, Box::leak(Box::new(Record::new(slots))))
        })
    });
    let board = Scoreboard::format_with(lines, slots, record, NOW).expect("there are enough lines");
    let mut seats = Vec::new();
    for step in steps.chunks_exact(11) {
        let [action, low, high, value @ ..] = step else { return };
        let position = usize::from(u16::from_le_bytes([*low, *high]));
        let value = value.try_into().map_or(0, u64::from_le_bytes);
        let slot = SlotNumber::new(position as u32 % (slots + 1));
        act(&board, lines, &mut seats, Step { action: *action, position, slot, value });
    }
    read_all(&board);
    board.drain_changes(|slot| assert!(slot.get() < slots, "a slot that exists"));
    let _armed = board.arm_wakeup();
    // Whatever the children wrote, the parent can close every slot.
    for slot in (0..slots).map(SlotNumber::new) {
        board.close_slot(slot, NOW);
        assert_eq!(board.read(slot).status, Some(Status::Empty), "slot {slot} is closed");
    }
    assert_eq!(board.empty_slots(), slots);
}

#[derive(Debug, Clone, Copy)]
struct Step {
    action: u8,
    position: usize,
    slot: SlotNumber,
    value: u64,
}

fn act(
    board: &Scoreboard,
    lines: &'static [ScoreboardLine],
    seats: &mut Vec<Seat<FuzzWakeup>>,
    step: Step,
) {
    let Step { action, position, slot, value } = step;
    let word = &lines[position / WORDS % lines.len()].words[position % WORDS];
    let at = MonotonicTime::from_nanos(value);
    let seat = seats.get(position % seats.len().max(1));
    match action % 16 {
        0..=3 => word.store(value, Ordering::Relaxed),
        4 | 5 => {
            word.fetch_xor(1 << (value % 64), Ordering::Relaxed);
        }
        6 => {
            if let Ok(generation) = board.open_slot(slot, at) {
                seats.extend(Seat::take(board.reader(), slot, generation, 1, at, FuzzWakeup));
            }
        }
        7 => {
            board.close_slot(slot, at);
            board.record_exit(slot, ExitCause::unpack(value as u16).unwrap_or(ExitCause::Missing));
        }
        8 => {
            board.drain_changes(|slot| assert!(slot.get() < board.slots(), "a slot that exists"));
        }
        9 => {
            let _armed = board.arm_wakeup();
        }
        10 => {
            if let Some(status) = Status::from_code(value as u8) {
                let _reported = seat.map(|seat| seat.report(status, at));
            }
        }
        11 => {
            if let Some(seat) = seat {
                seat.set_label(&value.to_ne_bytes());
                seat.heartbeat(at);
                seat.extend_deadline(at);
                let _status = (seat.status(), seat.requests());
            }
        }
        12 => read_all(board),
        13 => {
            let generation = Generation::new(value as u32);
            let _refused = Seat::take(board.reader(), slot, generation, 1, at, FuzzWakeup);
        }
        14 => board.set_visible_slots(value as u32),
        _ => board.set_phase(Phase::from_code(value as u8).unwrap_or(Phase::Running)),
    }
}

/// Reads labels of arbitrary bytes, and the texts that are made of them.
pub fn label(bytes: &[u8]) {
    let text = LabelText::cut(bytes);
    assert!(text.as_bytes().len() <= LABEL_MAX);
    assert!(bytes.starts_with(text.as_bytes()));
    let _shown = format!("{text} {text:?} {text:60}");
    let _cut_again = LabelText::cut(text.as_bytes());
}

/// Changes the cell of a task's ownership as a worker can, in between the actions of the sender.
///
/// The input consists of steps of nine bytes: what to do (one byte), and a value (eight bytes).
pub fn claim(bytes: &[u8]) {
    let mut cell = Claim::new();
    for step in bytes.chunks_exact(9) {
        let Some((action, value)) = step.split_first() else { return };
        let value = value.try_into().map_or(0, u64::from_le_bytes);
        // Numbers that fit in the cell, as the numbers of a slot's tasks do.
        let task = value >> 3;
        match action % 8 {
            0 => cell = damaged_claim(value),
            1 => cell.offer(task),
            2 => {
                let _started = cell.start(task, MonotonicTime::from_nanos(value));
            }
            3 => {
                let _revoked = cell.revoke(task);
            }
            4 => {
                let _finished = cell.finish(task);
            }
            5 => cell.acknowledge(task),
            6 => {
                let _aborted = cell.abort(task);
            }
            _ => {
                let _seen = (cell.owner(task), cell.is_acknowledged(task));
            }
        }
    }
}

fn damaged_claim(value: u64) -> Claim {
    let bytes = [value.to_ne_bytes(), value.rotate_left(7).to_ne_bytes()];
    Claim::read_from_bytes(bytes.as_flattened()).unwrap_or_default()
}

fn lines(count: usize) -> &'static [ScoreboardLine] {
    Box::leak((0..count).map(|_line| ScoreboardLine::new()).collect())
}

/// Writes the bytes to the header's first line and to the lines after the header.
fn fill(lines: &[ScoreboardLine], bytes: &[u8]) {
    let mut words = bytes.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
        u64::from_ne_bytes(word)
    });
    let used = lines.iter().enumerate().filter(|(nth, _)| *nth == 0 || *nth >= HEADER_LINES);
    for word in used.flat_map(|(_, line)| &line.words) {
        word.store(words.next().unwrap_or(0), Ordering::Relaxed);
    }
}

/// Reads everything that a scoreboard shows.
fn read_all(board: &ScoreboardReader) {
    let slots = board.slots() as usize;
    let letters = board.letters();
    assert!(letters.chars().count() <= slots, "one letter for each slot");
    assert!(board.visible_slots() as usize <= slots && board.empty_slots() as usize <= slots);
    let _header = (board.phase(), board.operator_pause(), board.started_at());
    for entry in board.entries() {
        assert!(entry.status.is_some() || entry.letter() == '?');
        if let Label::Text(text) = entry.label {
            let _shown = text.to_string();
        }
        let _age = NOW.saturating_since(entry.since);
        let _time = entry.deadline.map(|deadline| deadline.saturating_since(NOW));
        for cause in board.exit_causes(entry.slot) {
            let _shown = cause.to_string();
        }
    }
    let _shown = format!("{board:?}");
}

#[cfg(test)]
#[path = "../../../tests/fuzzing.rs"]
mod fuzzing;

#[cfg(test)]
mod tests {
    use super::fuzzing::decodes_any_bytes;

    #[test]
    fn a_scoreboard_file_with_arbitrary_contents_is_read() {
        decodes_any_bytes("board_file", super::board_file);
    }

    #[test]
    fn a_scoreboard_that_children_damage_is_read_and_closed() {
        decodes_any_bytes("board", super::board);
    }

    #[test]
    fn labels_of_arbitrary_bytes_are_cut_and_shown() {
        decodes_any_bytes("label", super::label);
    }

    #[test]
    fn claims_that_workers_damage_are_read() {
        decodes_any_bytes("claim", super::claim);
    }
}
