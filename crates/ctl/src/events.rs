//! Formats events as lines of text or JSON.

use actix_daemon::control::protocol::ControlEvent;
use actix_daemon::{AcceptState, OperatorPause};
use daemon_core::format;
use jiff::Zoned;

use crate::client::ReceivedEvent;

const GOOD: &str = "32";
const NEUTRAL: &str = "36";
const BAD: &str = "31";

/// Whether the output has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColorMode {
    /// With colours.
    Color,
    /// Without colours: the output is not a terminal, or the user has disabled colours.
    Plain,
}

/// Returns an event as a line of JSON.
///
/// # Errors
///
/// Returns an error if the event cannot be serialized.
pub(crate) fn json(event: &ReceivedEvent) -> serde_json::Result<String> {
    match event {
        ReceivedEvent::Known(known) => serde_json::to_string(known),
        ReceivedEvent::Unknown(value) => serde_json::to_string(value),
    }
}

/// Returns an event as a line of text that begins with the time of day `at`.
pub(crate) fn line(event: &ReceivedEvent, at: &Zoned, color_mode: ColorMode) -> String {
    let (word, colour, rest) = match event {
        ReceivedEvent::Known(event) => parts(event),
        ReceivedEvent::Unknown(value) => ("other", NEUTRAL, format::clean(&value.to_string())),
    };
    let word = match color_mode {
        ColorMode::Color => format!("\x1b[{colour}m{word:<7}\x1b[0m"),
        ColorMode::Plain => format!("{word:<7}"),
    };
    format!("{} {word} {rest}", at.strftime("%H:%M:%S"))
}

fn parts(event: &ControlEvent) -> (&'static str, &'static str, String) {
    match event {
        ControlEvent::Forked { slot, pid } => ("forked", GOOD, format!("slot {slot} pid {pid}")),
        ControlEvent::Exited { slot, pid, cause, text, requests, lifetime } => {
            let colour = if cause.is_expected() { NEUTRAL } else { BAD };
            let text = format::clean(text);
            let lifetime = format::duration(*lifetime);
            let rest = format!("slot {slot} pid {pid}: {text}; {requests} requests in {lifetime}");
            ("exited", colour, rest)
        }
        ControlEvent::Rogue { slot, pid, step, text } => {
            let (step, text) = (format::clean(step), format::clean(text));
            ("rogue", BAD, format!("slot {slot} pid {pid}: {step}: {text}"))
        }
        ControlEvent::Accepting { state: AcceptState::Accepting } => {
            ("accept", NEUTRAL, "accepting requests".to_owned())
        }
        ControlEvent::Accepting { state: AcceptState::Paused } => {
            ("accept", NEUTRAL, "paused".to_owned())
        }
        ControlEvent::OperatorPause { state: OperatorPause::On } => {
            ("pause", NEUTRAL, "paused by operator".to_owned())
        }
        ControlEvent::OperatorPause { state: OperatorPause::Off } => {
            ("pause", NEUTRAL, "resumed by operator".to_owned())
        }
        ControlEvent::Phase { phase } => ("phase", NEUTRAL, phase.word().to_owned()),
        ControlEvent::Missed { events } => {
            ("missed", BAD, format!("{events} events: the reader was too slow"))
        }
        // Events that a later version of the protocol adds.
        added_later => {
            let event = serde_json::to_string(added_later).unwrap_or_default();
            ("other", NEUTRAL, format::clean(&event))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix_daemon::ExitCause;
    use daemon_core::{Phase, SlotNumber};

    use super::*;

    fn line_of(event: ControlEvent, color_mode: ColorMode) -> String {
        let at: jiff::Timestamp = "2026-01-02T14:03:12Z".parse().expect("a valid timestamp");
        line(&ReceivedEvent::Known(event), &at.to_zoned(jiff::tz::TimeZone::UTC), color_mode)
    }

    #[test]
    fn each_event_is_printed_as_a_line_with_its_time() {
        let slot = SlotNumber::new(3);
        let gone = ControlEvent::Exited {
            slot,
            pid: 4711,
            cause: ExitCause::Killed { signal: 11, core: false },
            text: "signal 11 (SEGV)\n\x1b[2J".to_owned(),
            requests: 12,
            lifetime: Duration::from_secs(185),
        };
        let rogue = ControlEvent::Rogue {
            slot,
            pid: 4711,
            step: "term".to_owned(),
            text: "CPU limit exceeded".to_owned(),
        };
        let events = [
            ControlEvent::Forked { slot, pid: 4711 },
            gone,
            rogue,
            ControlEvent::Accepting { state: AcceptState::Paused },
            ControlEvent::OperatorPause { state: OperatorPause::On },
            ControlEvent::Phase { phase: Phase::Stopping },
            ControlEvent::Missed { events: 12 },
        ];
        let lines = events.map(|event| line_of(event, ColorMode::Plain));
        assert_eq!(
            lines,
            [
                "14:03:12 forked  slot 3 pid 4711",
                "14:03:12 exited  slot 3 pid 4711: signal 11 (SEGV)??[2J; 12 requests in 3m05s",
                "14:03:12 rogue   slot 3 pid 4711: term: CPU limit exceeded",
                "14:03:12 accept  paused",
                "14:03:12 pause   paused by operator",
                "14:03:12 phase   stopping",
                "14:03:12 missed  12 events: the reader was too slow",
            ]
        );
    }

    #[test]
    fn the_event_of_a_new_child_is_green_if_colours_are_enabled() {
        let forked = ControlEvent::Forked { slot: SlotNumber::new(0), pid: 1 };
        let line = line_of(forked, ColorMode::Color);
        assert_eq!(line, "14:03:12 \x1b[32mforked \x1b[0m slot 0 pid 1");
    }
}
