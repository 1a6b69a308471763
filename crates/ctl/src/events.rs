//! What happens, a line each.

use actix_daemon::control::protocol::ControlEvent;
use actix_daemon::{AcceptState, OperatorPause};
use jiff::Zoned;

use crate::client::Happened;
use crate::text;

const GOOD: &str = "32";
const NOTED: &str = "36";
const BAD: &str = "31";

/// Whether lines may be coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    /// They may.
    Coloured,
    /// They go to a file, or the user wants none.
    Plain,
}

/// An event for programs.
///
/// # Errors
///
/// None that an event has.
pub(crate) fn json(happened: &Happened) -> serde_json::Result<String> {
    match happened {
        Happened::Event(event) => serde_json::to_string(event),
        Happened::Added(event) => serde_json::to_string(event),
    }
}

/// An event for people, with its time of day.
pub(crate) fn line(happened: &Happened, at: &Zoned, paint: Paint) -> String {
    let (word, colour, rest) = match happened {
        Happened::Event(event) => parts(event),
        Happened::Added(event) => ("other", NOTED, text::clean(&event.to_string())),
    };
    let word = match paint {
        Paint::Coloured => format!("\x1b[{colour}m{word:<7}\x1b[0m"),
        Paint::Plain => format!("{word:<7}"),
    };
    format!("{} {word} {rest}", at.strftime("%H:%M:%S"))
}

fn parts(event: &ControlEvent) -> (&'static str, &'static str, String) {
    match event {
        ControlEvent::Born { slot, pid } => ("born", GOOD, format!("slot {slot} pid {pid}")),
        ControlEvent::Exited { slot, pid, cause, text, requests, lifetime } => {
            let colour = if cause.is_expected() { NOTED } else { BAD };
            let text = text::clean(text);
            let lifetime = text::span(*lifetime);
            let rest = format!("slot {slot} pid {pid}: {text}; {requests} requests in {lifetime}");
            ("exited", colour, rest)
        }
        ControlEvent::Rogue { slot, pid, step, text } => {
            let (step, text) = (text::clean(step), text::clean(text));
            ("rogue", BAD, format!("slot {slot} pid {pid}: {step}: {text}"))
        }
        ControlEvent::Accepting { state: AcceptState::Accepting } => {
            ("accept", NOTED, "accepting requests".to_owned())
        }
        ControlEvent::Accepting { state: AcceptState::Paused } => {
            ("accept", NOTED, "paused".to_owned())
        }
        ControlEvent::OperatorPause { state: OperatorPause::On } => {
            ("pause", NOTED, "paused by operator".to_owned())
        }
        ControlEvent::OperatorPause { state: OperatorPause::Off } => {
            ("pause", NOTED, "resumed by operator".to_owned())
        }
        ControlEvent::Phase { phase } => ("phase", NOTED, phase.word().to_owned()),
        ControlEvent::Missed { events } => {
            ("missed", BAD, format!("{events} events: this reader was too slow"))
        }
        // The protocol's list may grow.
        added_later => {
            let event = serde_json::to_string(added_later).unwrap_or_default();
            ("other", NOTED, text::clean(&event))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix_daemon::ExitCause;
    use daemon_core::{Phase, SlotNumber};

    use super::*;

    fn told(event: ControlEvent, paint: Paint) -> String {
        let at: jiff::Timestamp = "2026-01-02T14:03:12Z".parse().expect("a moment");
        line(&Happened::Event(event), &at.to_zoned(jiff::tz::TimeZone::UTC), paint)
    }

    #[test]
    fn each_event_is_a_line_with_its_time_of_day() {
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
            text: "more processor time than it may use".to_owned(),
        };
        let events = [
            ControlEvent::Born { slot, pid: 4711 },
            gone,
            rogue,
            ControlEvent::Accepting { state: AcceptState::Paused },
            ControlEvent::OperatorPause { state: OperatorPause::On },
            ControlEvent::Phase { phase: Phase::Stopping },
            ControlEvent::Missed { events: 12 },
        ];
        let lines = events.map(|event| told(event, Paint::Plain));
        assert_eq!(
            lines,
            [
                "14:03:12 born    slot 3 pid 4711",
                "14:03:12 exited  slot 3 pid 4711: signal 11 (SEGV)??[2J; 12 requests in 3m05",
                "14:03:12 rogue   slot 3 pid 4711: term: more processor time than it may use",
                "14:03:12 accept  paused",
                "14:03:12 pause   paused by operator",
                "14:03:12 phase   stopping",
                "14:03:12 missed  12 events: this reader was too slow",
            ]
        );
    }

    #[test]
    fn a_birth_is_green_where_colours_are_wanted() {
        let born = ControlEvent::Born { slot: SlotNumber::new(0), pid: 1 };
        let line = told(born, Paint::Coloured);
        assert_eq!(line, "14:03:12 \x1b[32mborn   \x1b[0m slot 0 pid 1");
    }
}
