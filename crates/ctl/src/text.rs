//! Formatting of rates, and sanitizing of text from other processes.

/// Returns a rate in at most six characters: `0.4`, `12`, `1234`, `123k`.
pub(crate) fn rate(per_second: f64) -> String {
    match per_second {
        rate if rate >= 99_999.5 => format!("{:.0}k", rate / 1000.0),
        rate if rate >= 9.95 => format!("{rate:.0}"),
        rate => format!("{rate:.1}"),
    }
}

/// Replaces each character that could control the terminal with `?`.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|letter| if is_unsafe(letter) { '?' } else { letter }).collect()
}

/// Replaces each character that could control the terminal with `?`, but keeps line breaks, and
/// replaces each tab with four blanks.
pub(crate) fn clean_lines(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' => clean.push('\n'),
            '\t' => clean.push_str("    "),
            letter if is_unsafe(letter) => clean.push('?'),
            letter => clean.push(letter),
        }
    }
    clean
}

/// Returns whether a character is a control character, or changes the direction of the text.
fn is_unsafe(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_below_10_have_one_decimal_and_large_rates_are_in_thousands() {
        let rates = [0.0, 0.04, 9.94, 9.96, 1234.4, 99_999.4, 123_456.0].map(rate);
        assert_eq!(rates, ["0.0", "0.0", "9.9", "10", "1234", "99999", "123k"]);
    }

    #[test]
    fn control_characters_are_replaced() {
        assert_eq!(clean("a\x1b[2Jb\nc\u{202e}d"), "a?[2Jb?c?d");
        assert_eq!(clean_lines("a\tb\nc\rd"), "a    b\nc?d");
    }
}
