//! The delay before the worker connects again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// The delay between connection attempts: 100 ms, then twice as long each time, up to ten seconds.
/// A response from the server resets it.
#[derive(Debug)]
pub(super) struct ReconnectDelay(Duration);

impl Default for ReconnectDelay {
    fn default() -> Self {
        ReconnectDelay(FIRST)
    }
}

impl ReconnectDelay {
    /// Returns the delay after a failed attempt, and doubles the delay for the next failure.
    pub(super) fn after_failure(&mut self) -> Duration {
        let pause = self.0;
        self.0 = pause.saturating_mul(2).min(LONGEST);
        pause
    }

    /// Resets the delay, after a response from the server.
    pub(super) fn reset(&mut self) {
        *self = ReconnectDelay::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_the_maximum_and_a_response_resets_it() {
        let mut reconnect_delay = ReconnectDelay::default();
        let row: Vec<u128> = (0..9).map(|_| reconnect_delay.after_failure().as_millis()).collect();
        assert_eq!(row, [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
        reconnect_delay.reset();
        assert_eq!(reconnect_delay.after_failure(), FIRST);
    }
}
