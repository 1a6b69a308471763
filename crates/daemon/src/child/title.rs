//! What ps(1) shows of a child: `name: child 3 [r] label`.

use std::rc::Rc;

use daemon_core::{SlotNumber, Status};
use daemon_sys::title::Title;

/// How much longer than its beginning a sign is at least meant to become.
const ROOM: usize = 128;

/// A status and what follows it.
const SHOWN: &str = " ]";

/// A child's process title. Setting it is a copy within memory.
///
/// It is made in the fork server, with room for all that comes: a child makes nothing, it fills in.
#[derive(Debug)]
pub(crate) struct ProcessTitle {
    title: Rc<Title>,
    text: String,
    /// Where the status stands in the text.
    status_at: usize,
}

impl ProcessTitle {
    /// The sign of a child that has no slot yet.
    pub(crate) fn new(title: Rc<Title>, name: &str) -> Self {
        let begin = [name, ": child "].concat();
        let mut text = String::with_capacity(begin.len() + ROOM);
        text.push_str(&begin);
        ProcessTitle { title, text, status_at: begin.len() }
    }

    /// Fills in the slot.
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
        // As a child begins, there is no label: nothing needs to be moved.
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

/// Writes a number without the machinery of `format!`: that lies in parts of the program which a child
/// that lives for one request would have mapped for this alone.
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
