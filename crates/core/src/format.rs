//! Formats durations and sizes, and text of other processes, in the same way for all screens, logs
//! and reports.
//!
//! [`duration`] and [`size`] return [`Display`](fmt::Display) newtypes, which allocate nothing and
//! honour the width and alignment of a format string. [`clean`], [`clean_lines`] and [`escaped`]
//! keep the text of other processes from controlling a terminal.
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//! use daemon_core::format;
//!
//! assert_eq!(format::duration(Duration::from_secs(187)).to_string(), "3m07s");
//! assert_eq!(format::size(5_662_310).to_string(), "5.4M");
//! assert_eq!(format!("{:>6}", format::duration(Duration::from_millis(120))), " 120ms");
//! ```

use std::fmt::{self, Write as _};
use std::time::Duration;

/// A duration as people read it; see [`duration`].
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FormattedDuration(Duration);

/// A number of bytes as people read it; see [`size`].
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FormattedSize(u64);

/// Formats a duration with its one or two largest units, rounded down: `120ms`, `8s`, `3m07s`,
/// `2h05m`, `4d03h`.
///
/// Durations below a second are in milliseconds, those below a millisecond in microseconds; zero is
/// `0s`. The text has at most six characters for durations up to 99 days.
#[must_use]
pub const fn duration(duration: Duration) -> FormattedDuration {
    FormattedDuration(duration)
}

/// Formats a number of bytes in powers of 1024. From 1K on, a number below 10 has one decimal:
/// `512B`, `9.9K`, `980K`, `5.4M`, `36M`, `1.2G`.
///
/// The text has at most five characters.
#[must_use]
pub const fn size(bytes: u64) -> FormattedSize {
    FormattedSize(bytes)
}

impl fmt::Display for FormattedDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (time, mut text) = (self.0, ShortText::default());
        let seconds = time.as_secs();
        match seconds {
            0 if time.is_zero() => text.write_str("0s"),
            0 if time.as_millis() == 0 => write!(text, "{}us", time.as_micros()),
            0 => write!(text, "{}ms", time.as_millis()),
            1..60 => write!(text, "{seconds}s"),
            60..3_600 => write!(text, "{}m{:02}s", seconds / 60, seconds % 60),
            3_600..86_400 => write!(text, "{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
            86_400.. => write!(text, "{}d{:02}h", seconds / 86_400, seconds / 3_600 % 24),
        }?;
        f.pad(text.as_str())
    }
}

impl fmt::Display for FormattedSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [char; 6] = ['K', 'M', 'G', 'T', 'P', 'E'];
        let mut text = ShortText::default();
        if self.0 < 1024 {
            write!(text, "{}B", self.0)?;
            return f.pad(text.as_str());
        }
        let mut value = self.0 as f64 / 1024.0;
        let mut unit = 0;
        // A value that rounds to 1024 belongs to the next unit.
        while value >= 1023.5 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        let decimals = usize::from(value < 9.95);
        write!(text, "{value:.decimals$}{}", UNITS[unit])?;
        f.pad(text.as_str())
    }
}

/// Returns whether a character could control a terminal, or changes the direction of the text after
/// it.
#[must_use]
pub fn is_control(character: char) -> bool {
    character.is_control() || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Replaces each [control character](is_control) with `?`, so that the text takes one line and
/// cannot control a terminal.
#[must_use]
pub fn clean(text: &str) -> String {
    text.replace(is_control, "?")
}

/// Replaces each [control character](is_control) with `?`, but keeps line breaks, and replaces each
/// tab with four blanks.
#[must_use]
pub fn clean_lines(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => clean.push('\n'),
            '\t' => clean.push_str("    "),
            character if is_control(character) => clean.push('?'),
            character => clean.push(character),
        }
    }
    clean
}

/// A text whose control characters are escaped; see [`escaped`].
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct EscapedText<'a>(&'a str);

/// Escapes each [control character](is_control) as in Rust's source code, so that the text takes
/// one line and no information is lost: `\n`, `\u{1b}`.
#[must_use]
pub const fn escaped(text: &str) -> EscapedText<'_> {
    EscapedText(text)
}

impl fmt::Display for EscapedText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            if is_control(character) {
                write!(f, "{}", character.escape_default())?;
            } else {
                f.write_char(character)?;
            }
        }
        Ok(())
    }
}

/// A text of at most 32 bytes. The text is written completely first, and then padded to the width
/// that the format string requests.
#[derive(Default)]
struct ShortText {
    bytes: [u8; 32],
    length: usize,
}

impl ShortText {
    fn as_str(&self) -> &str {
        self.bytes
            .get(..self.length)
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .unwrap_or_default()
    }
}

impl fmt::Write for ShortText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        let room = self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown_with_at_most_two_units() {
        let micros = |micros| Duration::from_micros(micros);
        let table = [
            (Duration::ZERO, "0s"),
            (micros(1), "1us"),
            (micros(999), "999us"),
            (micros(120_000), "120ms"),
            (micros(999_999), "999ms"),
            (Duration::from_secs(1), "1s"),
            (micros(7_900_000), "7s"),
            (Duration::from_secs(59), "59s"),
            (Duration::from_secs(60), "1m00s"),
            (Duration::from_secs(187), "3m07s"),
            (Duration::from_secs(3_599), "59m59s"),
            (Duration::from_secs(7_500), "2h05m"),
            (Duration::from_secs(86_399), "23h59m"),
            (Duration::from_secs(356_400), "4d03h"),
            (Duration::from_secs(99 * 86_400), "99d00h"),
            (Duration::MAX, "213503982334601d07h"),
        ];
        for (time, shown) in table {
            assert_eq!(duration(time).to_string(), shown);
        }
    }

    #[test]
    fn sizes_have_at_most_five_characters() {
        let table = [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.0K"),
            (10_188, "9.9K"),
            (980 << 10, "980K"),
            (1_048_063, "1023K"),
            (1_048_064, "1.0M"),
            (7 << 19, "3.5M"),
            (5_662_310, "5.4M"),
            (36 << 20, "36M"),
            (5 << 28, "1.2G"),
            (u64::MAX, "16E"),
        ];
        for (bytes, shown) in table {
            assert_eq!(size(bytes).to_string(), shown);
        }
    }

    #[test]
    fn control_characters_are_replaced() {
        assert_eq!(clean("a\x1b[2Jb\nc\u{202e}d\u{7f}"), "a?[2Jb?c?d?");
        assert_eq!(clean_lines("a\tb\nc\rd"), "a    b\nc?d");
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(escaped("é\x1b[2J\n\u{2066}").to_string(), r"é\u{1b}[2J\n\u{2066}");
    }

    #[test]
    fn width_and_alignment_apply_to_the_whole_text() {
        assert_eq!(format!("{:>6}|", duration(Duration::from_secs(8))), "    8s|");
        assert_eq!(format!("{:<6}|", size(512)), "512B  |");
    }
}
