//! Notifications that the service manager has not received yet, because its queue was full or
//! because it is being restarted. They are sent again, in their order, until they have gone.

use std::collections::VecDeque;
use std::time::Duration;

/// The first delay before another attempt. Each further failure doubles it.
const FIRST_DELAY: Duration = Duration::from_millis(10);
/// The longest delay before another attempt.
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// The maximum number of notifications that wait. A service that is reloaded again and again
/// meanwhile forgets the oldest reloads.
const WAITING_MAX: usize = 9;

/// The notifications that wait, and when to try again.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// Each notification is several lines of `NAME=value`.
    waiting: VecDeque<String>,
    /// Whether `WATCHDOG=1` waits.
    has_watchdog: bool,
    delay: Duration,
}

impl Default for Outbox {
    fn default() -> Outbox {
        Outbox { waiting: VecDeque::new(), has_watchdog: false, delay: FIRST_DELAY }
    }
}

impl Outbox {
    /// Adds a notification. It replaces the one before it unless that one announces a state.
    pub(crate) fn push(&mut self, lines: String) {
        match self.waiting.back_mut() {
            Some(last) if !announces_state(last) => *last = lines,
            Some(_) | None => self.waiting.push_back(lines),
        }
        if self.waiting.len() > WAITING_MAX {
            // The first one says that the service is ready or reloads; the next two are the oldest
            // end and begin of a reload.
            self.waiting.drain(1..3);
        }
    }

    /// Adds the notification of the watchdog, which is sent last, and once.
    pub(crate) fn push_watchdog(&mut self) {
        self.has_watchdog = true;
    }

    /// Removes the notification of the watchdog if it waits, because it is no longer true.
    pub(crate) fn withdraw_watchdog(&mut self) {
        self.has_watchdog = false;
    }

    /// Sends what waits until a notification cannot be sent, and returns that error.
    pub(crate) fn send<E>(&mut self, mut send: impl FnMut(&str) -> Result<(), E>) -> Result<(), E> {
        let sent = self.try_send(&mut send);
        self.delay = match &sent {
            Ok(()) => FIRST_DELAY,
            Err(_) => (self.delay * 2).min(LONGEST_DELAY),
        };
        sent
    }

    fn try_send<E>(&mut self, send: &mut impl FnMut(&str) -> Result<(), E>) -> Result<(), E> {
        while let Some(lines) = self.waiting.front() {
            send(lines)?;
            self.waiting.pop_front();
        }
        if self.has_watchdog {
            send("WATCHDOG=1\n")?;
            self.has_watchdog = false;
        }
        Ok(())
    }

    /// Returns the delay before the next attempt, or `None` if nothing waits.
    pub(crate) fn retry_in(&self) -> Option<Duration> {
        (self.has_watchdog || !self.waiting.is_empty()).then_some(self.delay)
    }
}

/// Returns whether a notification announces a state that the service manager waits for, and not
/// only a text or an extended timeout, which the next notification replaces.
fn announces_state(lines: &str) -> bool {
    lines.lines().any(|line| matches!(line, "READY=1" | "RELOADING=1" | "STOPPING=1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends everything, and returns what was sent.
    fn sent(outbox: &mut Outbox) -> Vec<String> {
        let mut sent = Vec::new();
        let all = outbox.send(|lines| {
            sent.push(lines.to_owned());
            Ok::<(), ()>(())
        });
        assert_eq!((all, outbox.retry_in()), (Ok(()), None));
        sent
    }

    #[test]
    fn states_keep_their_order_and_the_last_text_wins() {
        let table: [(&[&str], &[&str]); 4] = [
            (&["STATUS=a\n", "STATUS=b\n"], &["STATUS=b\n"]),
            (&["STATUS=a\n", "READY=1\nSTATUS=b\n"], &["READY=1\nSTATUS=b\n"]),
            (
                &["READY=1\nSTATUS=a\n", "STATUS=b\n", "STATUS=c\n", "STOPPING=1\n"],
                &["READY=1\nSTATUS=a\n", "STOPPING=1\n"],
            ),
            (&["RELOADING=1\n", "READY=1\n"], &["RELOADING=1\n", "READY=1\n"]),
        ];
        for (pushed, expected) in table {
            let mut outbox = Outbox::default();
            for lines in pushed {
                outbox.push((*lines).to_owned());
                assert_eq!(outbox.send(|_| Err("full")), Err("full"));
            }
            assert_eq!(sent(&mut outbox), expected);
        }
    }

    #[test]
    fn the_watchdog_is_notified_once_and_after_the_states() {
        let mut outbox = Outbox::default();
        outbox.push_watchdog();
        outbox.push_watchdog();
        outbox.push("READY=1\n".to_owned());
        assert_eq!(sent(&mut outbox), ["READY=1\n", "WATCHDOG=1\n"]);
    }

    #[test]
    fn the_watchdog_is_not_notified_later_of_a_service_that_is_no_longer_healthy() {
        let mut outbox = Outbox::default();
        outbox.push("READY=1\n".to_owned());
        outbox.push_watchdog();
        assert!(outbox.send(|_| Err(())).is_err());
        outbox.withdraw_watchdog();
        assert_eq!(sent(&mut outbox), ["READY=1\n"]);
        outbox.push_watchdog();
        outbox.withdraw_watchdog();
        assert_eq!(outbox.retry_in(), None);
    }

    #[test]
    fn a_service_that_is_reloaded_without_end_keeps_its_first_and_its_last_state() {
        let mut outbox = Outbox::default();
        outbox.push("READY=1\nSTATUS=first\n".to_owned());
        for _reload in 0..1000 {
            outbox.push("RELOADING=1\n".to_owned());
            outbox.push("READY=1\n".to_owned());
        }
        outbox.push("STOPPING=1\n".to_owned());
        let sent = sent(&mut outbox);
        assert!(sent.len() <= WAITING_MAX);
        assert_eq!(sent[..3], ["READY=1\nSTATUS=first\n", "RELOADING=1\n", "READY=1\n"]);
        assert_eq!(sent[sent.len() - 1], "STOPPING=1\n");
    }

    #[test]
    fn the_delay_doubles_up_to_its_maximum_and_starts_again_after_a_success() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.retry_in(), None);
        outbox.push("READY=1\n".to_owned());
        let mut delays = Vec::new();
        for _attempt in 0..12 {
            assert!(outbox.send(|_| Err(())).is_err());
            delays.push(outbox.retry_in().unwrap());
        }
        assert_eq!(delays[..2], [FIRST_DELAY * 2, FIRST_DELAY * 4]);
        assert_eq!(delays[11], LONGEST_DELAY);
        sent(&mut outbox);
        outbox.push("STOPPING=1\n".to_owned());
        assert_eq!(outbox.retry_in(), Some(FIRST_DELAY));
    }
}
