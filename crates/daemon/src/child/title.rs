//! The process title of a child, which ps(1) shows: `name: child 3 [r] label`.

use std::rc::Rc;

use daemon_core::{SlotNumber, Status};
use daemon_sys::title::Title;

/// The capacity in bytes for the text after the prefix `name: child `.
const ROOM: usize = 128;

/// A placeholder for the status letter, followed by the closing bracket.
const SHOWN: &str = " ]";

/// The process title of a child. Setting the title copies memory and needs no system call.
///
/// The fork server allocates the text with enough capacity, so that a child can complete the text
/// without an allocation, unless its label is long.
#[derive(Debug)]
pub(crate) struct ProcessTitle {
    title: Rc<Title>,
    text: String,
    /// The position of the status letter in the text.
    status_at: usize,
}

impl ProcessTitle {
    /// Creates the title of a child that has no slot yet.
    pub(crate) fn new(title: Rc<Title>, name: &str) -> Self {
        let begin = [name, ": child "].concat();
        let mut text = String::with_capacity(begin.len() + ROOM);
        text.push_str(&begin);
        ProcessTitle { title, text, status_at: begin.len() }
    }

    /// Inserts the slot.
    #[inline]
    pub(super) fn seat(&mut self, slot: SlotNumber) {
        push_number(&mut self.text, slot.get());
        self.text.push_str(" [");
        self.status_at = self.text.len();
        self.text.push_str(SHOWN);
    }

    #[inline]
    pub(super) fn show(&mut self, status: Status) {
        let at = self.status_at;
        // If there is no label, nothing follows the status.
        if self.text.len() == at + SHOWN.len() {
            self.text.truncate(at);
            self.text.push(status.letter());
            self.text.push(']');
        } else {
            self.text.replace_range(at..=at, status.letter().encode_utf8(&mut [0; 4]));
        }
        self.title.set(&self.text);
    }

    pub(super) fn label(&mut self, label: &str) {
        self.text.truncate(self.status_at + SHOWN.len());
        if !label.is_empty() {
            self.text.push(' ');
            self.text.push_str(label);
        }
        self.title.set(&self.text);
    }

    #[cfg(test)]
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// Appends a number without `format!`. A child that serves one request needs the code of `format!`
/// for nothing else, so avoiding it saves page faults.
#[inline]
fn push_number(text: &mut String, number: u32) {
    let mut unit = 1;
    while number / unit >= 10 {
        unit *= 10;
    }
    while unit > 0 {
        text.extend(char::from_digit(number / unit % 10, 10));
        unit /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_decimal() {
        for number in [0, 7, 10, 99, 100, 1_000_001, u32::MAX] {
            let mut text = String::new();
            push_number(&mut text, number);
            assert_eq!(text, number.to_string());
        }
    }
}
