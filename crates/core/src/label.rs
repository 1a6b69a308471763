//! Labels: the texts that children show in their slots, and the guards that detect torn reads.
//!
//! A guard is a sequence lock. Its sequence is odd while the words of the label are written, and
//! the next even number afterwards. The lower 8 bits of the guard are the length of the label. A
//! writer that is killed while it writes leaves the sequence odd.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::atomics::{Ordering, fence};
use crate::line::{ScoreboardLine, slot_word};

/// The maximum length of a label in bytes: 48.
pub const LABEL_MAX: usize = 8 * (slot_word::LABEL.end - slot_word::LABEL.start);

/// The number of attempts to read a label that changes during the read.
const TRIES: usize = if cfg!(loom) { 2 } else { 16 };

const LENGTH_BITS: u32 = 8;

/// The result of reading a label.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Label {
    /// The text that the child has set; empty if it has set none.
    Text(LabelText),
    /// The label was being written at each attempt to read it, or its child was killed while
    /// writing it.
    BeingWritten,
}

/// The bytes of a label, as they were written; not necessarily UTF-8.
#[derive(Copy, Clone, PartialEq, Eq)]
pub struct LabelText {
    bytes: [u8; LABEL_MAX],
    length: usize,
}

impl LabelText {
    /// The empty text.
    pub const EMPTY: LabelText = LabelText { bytes: [0; LABEL_MAX], length: 0 };

    /// Creates a text from as many of the bytes as fit, without splitting a UTF-8 character.
    #[must_use]
    pub fn cut(bytes: &[u8]) -> LabelText {
        let length = cut_at(bytes);
        let mut text = LabelText { length, ..LabelText::EMPTY };
        for (to, from) in text.bytes.iter_mut().zip(bytes).take(length) {
            *to = *from;
        }
        text
    }

    /// Returns the bytes of the text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&self.bytes)
    }

    /// Returns whether the text is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

fn cut_at(bytes: &[u8]) -> usize {
    match bytes.get(LABEL_MAX) {
        None => bytes.len(),
        // A UTF-8 character has at most three continuation bytes.
        Some(_more) => (LABEL_MAX - 3..=LABEL_MAX)
            .rev()
            .find(|end| bytes.get(*end).is_some_and(|byte| byte & 0b1100_0000 != 0b1000_0000))
            .unwrap_or(LABEL_MAX),
    }
}

impl Default for LabelText {
    fn default() -> LabelText {
        LabelText::EMPTY
    }
}

impl fmt::Display for LabelText {
    /// Shows invalid UTF-8 as U+FFFD.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&String::from_utf8_lossy(self.as_bytes()))
    }
}

impl fmt::Debug for LabelText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

impl Serialize for LabelText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

impl Serialize for Label {
    /// Serializes the label as a string, or as null if it was being written.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Label::Text(text) => serializer.serialize_some(text),
            Label::BeingWritten => serializer.serialize_none(),
        }
    }
}

/// Returns whether the last writer of the label has not finished.
pub(crate) fn is_torn(line: &ScoreboardLine) -> bool {
    !sequence(line.words[slot_word::GUARD].load(Ordering::Acquire)).is_multiple_of(2)
}

/// Writes a label. Only the current owner of the slot may call this function.
pub(crate) fn write(line: &ScoreboardLine, text: LabelText) {
    let guard = &line.words[slot_word::GUARD];
    // An odd number that a killed writer has left is kept.
    let odd = sequence(guard.load(Ordering::Relaxed)) | 1;
    guard.store(odd << LENGTH_BITS, Ordering::Relaxed);
    // A reader that sees one of the new words also sees the odd number when it reads the guard
    // again.
    fence(Ordering::Release);
    for (word, bytes) in line.words[slot_word::LABEL].iter().zip(text.bytes.chunks_exact(8)) {
        let mut eight = [0; 8];
        eight.copy_from_slice(bytes);
        word.store(u64::from_ne_bytes(eight), Ordering::Relaxed);
    }
    // A reader that sees the even number sees all of the words.
    let even = odd.wrapping_add(1) << LENGTH_BITS;
    guard.store(even | text.length as u64, Ordering::Release);
}

/// Reads a label. Another process may write the label at the same time.
pub(crate) fn read(line: &ScoreboardLine) -> Label {
    let guard = &line.words[slot_word::GUARD];
    for _try in 0..TRIES {
        let before = guard.load(Ordering::Acquire);
        if !sequence(before).is_multiple_of(2) {
            std::hint::spin_loop();
            continue;
        }
        let mut text = LabelText { length: length(before), ..LabelText::EMPTY };
        let words = &line.words[slot_word::LABEL];
        for (bytes, word) in text.bytes.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        // Pairs with the fence in `write`: if a new word was read above, the load below returns the
        // odd number or a later one.
        fence(Ordering::Acquire);
        if guard.load(Ordering::Relaxed) == before {
            text.bytes.iter_mut().skip(text.length).for_each(|byte| *byte = 0);
            return Label::Text(text);
        }
    }
    Label::BeingWritten
}

fn sequence(guard: u64) -> u64 {
    guard >> LENGTH_BITS
}

/// Returns the length of the label. The length is limited to [`LABEL_MAX`], because shared memory
/// may contain any number.
fn length(guard: u64) -> usize {
    usize::from(guard.to_le_bytes()[0]).min(LABEL_MAX)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn round_trip(bytes: &[u8]) -> Vec<u8> {
        let line = ScoreboardLine::new();
        write(&line, LabelText::cut(bytes));
        match read(&line) {
            Label::Text(text) => text.as_bytes().to_vec(),
            Label::BeingWritten => panic!("there is no writer"),
        }
    }

    #[test]
    fn any_bytes_up_to_the_maximum_length_are_kept() {
        for length in 0..=LABEL_MAX {
            let bytes = (0..length).map(|byte| 0xff - byte as u8).collect::<Vec<_>>();
            assert_eq!(round_trip(&bytes), bytes);
        }
    }

    #[test]
    fn a_long_label_is_truncated_between_characters() {
        assert_eq!(round_trip(&[b'a'; 100]), [b'a'; LABEL_MAX]);
        for (character, width) in [('é', 2), ('€', 3), ('🦀', 4)] {
            for shift in 0..width {
                let label = "x".repeat(shift) + &character.to_string().repeat(30);
                let kept = round_trip(label.as_bytes());
                assert!(LABEL_MAX - kept.len() < width, "{} bytes of {label}", kept.len());
                assert!(std::str::from_utf8(&kept).is_ok_and(|kept| label.starts_with(kept)));
            }
        }
    }

    #[test]
    fn invalid_utf8_is_truncated_at_the_maximum_length() {
        assert_eq!(round_trip(&[0x80; 100]), [0x80; LABEL_MAX]);
    }

    #[test]
    fn a_label_of_a_killed_writer_reads_as_being_written_until_the_next_write() {
        let line = ScoreboardLine::new();
        line.words[slot_word::GUARD].store(7 << LENGTH_BITS, Ordering::Relaxed);
        assert_eq!(read(&line), Label::BeingWritten);
        assert!(is_torn(&line));
        write(&line, LabelText::cut(b"well"));
        assert_eq!(read(&line), Label::Text(LabelText::cut(b"well")));
        assert!(!is_torn(&line));
    }

    #[test]
    fn reading_a_label_with_an_arbitrary_guard_and_words_does_not_panic() {
        let line = ScoreboardLine::new();
        for word in &line.words {
            word.store(u64::MAX << LENGTH_BITS | 0xff, Ordering::Relaxed);
        }
        assert_eq!(read(&line), Label::BeingWritten);
        line.words[slot_word::GUARD].store(0xff, Ordering::Relaxed);
        assert!(matches!(read(&line), Label::Text(text) if text.as_bytes().len() == LABEL_MAX));
    }

    #[test]
    fn invalid_utf8_is_shown_as_replacement_characters() {
        let text = LabelText::cut(b"caf\xe9");
        assert_eq!(text.to_string(), "caf\u{fffd}");
        assert_eq!(format!("{text:?}"), "\"caf\\xe9\"");
    }
}
