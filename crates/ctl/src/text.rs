//! Numbers and foreign words as people read them.

use std::time::Duration;

/// A time in at most five characters: `7s`, `3m07`, `2h05`, `4d`.
pub(crate) fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3_600 => format!("{}m{:02}", seconds / 60, seconds % 60),
        seconds @ 3_600..86_400 => format!("{}h{:02}", seconds / 3_600, seconds / 60 % 60),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// A time as it was asked for: `5 s`, `0.25 s`.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

/// Bytes in at most five characters: `512B`, `1.5K`, `36M`, `1023M`, `2.0G`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["K", "M", "G", "T", "P"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    // What would be rounded to 1024 is one of the next.
    while value >= 1023.5 {
        let Some(next) = units.next() else { break };
        value /= 1024.0;
        unit = next;
    }
    if value < 9.95 { format!("{value:.1}{unit}") } else { format!("{value:.0}{unit}") }
}

/// A rate in at most six characters: `0.4`, `12`, `1234`, `56k`.
pub(crate) fn rate(per_second: f64) -> String {
    match per_second {
        rate if rate >= 99_999.5 => format!("{:.0}k", rate / 1000.0),
        rate if rate >= 9.95 => format!("{rate:.0}"),
        rate => format!("{rate:.1}"),
    }
}

/// Another process's words, with nothing in them that moves a terminal's cursor.
pub(crate) fn clean(words: &str) -> String {
    words.chars().map(|letter| if is_wild(letter) { '?' } else { letter }).collect()
}

/// The same for a text of several lines, which may have tabs too.
pub(crate) fn clean_lines(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' => clean.push('\n'),
            '\t' => clean.push_str("    "),
            wild if is_wild(wild) => clean.push('?'),
            letter => clean.push(letter),
        }
    }
    clean
}

/// Control characters, and those that turn the direction of a line.
fn is_wild(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_bytes_have_at_most_five_characters() {
        let spans = [0, 59, 60, 3_599, 3_600, 86_399, 86_400, 86_400 * 9_999];
        let spans = spans.map(|seconds| span(Duration::from_secs(seconds)));
        assert_eq!(spans, ["0s", "59s", "1m00", "59m59", "1h00", "23h59", "1d", "9999d"]);
        let sizes = [0, 1023, 1024, 10_188, 1_048_063, 1_048_064, 1 << 30, u64::MAX];
        let sizes = sizes.map(bytes);
        assert_eq!(sizes, ["0B", "1023B", "1.0K", "9.9K", "1023K", "1.0M", "1.0G", "16384P"]);
    }

    #[test]
    fn rates_have_a_fraction_only_while_they_are_small() {
        let rates = [0.0, 0.04, 9.94, 9.96, 1234.4, 99_999.4, 123_456.0].map(rate);
        assert_eq!(rates, ["0.0", "0.0", "9.9", "10", "1234", "99999", "123k"]);
    }

    #[test]
    fn what_a_child_calls_itself_moves_no_cursor() {
        assert_eq!(clean("a\x1b[2Jb\nc\u{202e}d"), "a?[2Jb?c?d");
        assert_eq!(clean_lines("a\tb\nc\rd"), "a    b\nc?d");
    }
}
