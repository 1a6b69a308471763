//! How long to wait before the server is tried again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// The pauses between tries: a tenth of a second, then twice as long each time, up to ten seconds. A
/// server that has answered ends the row.
#[derive(Debug)]
pub(super) struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Pauses(FIRST)
    }
}

impl Pauses {
    /// The pause after a try that came to nothing.
    pub(super) fn after_failure(&mut self) -> Duration {
        let pause = self.0;
        self.0 = pause.saturating_mul(2).min(LONGEST);
        pause
    }

    /// Notes that the server has answered.
    pub(super) fn answered(&mut self) {
        *self = Pauses::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_double_up_to_the_longest_and_begin_anew_after_an_answer() {
        let mut pauses = Pauses::default();
        let row: Vec<u128> = (0..9).map(|_| pauses.after_failure().as_millis()).collect();
        assert_eq!(row, [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
        pauses.answered();
        assert_eq!(pauses.after_failure(), FIRST);
    }
}
