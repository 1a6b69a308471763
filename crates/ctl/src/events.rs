//! What happens, a line each.

use actix_daemon::control::protocol::Event;
use jiff::Zoned;

use crate::client::Happened;
use crate::picture;
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

fn parts(event: &Event) -> (&'static str, &'static str, String) {
    match event {
        Event::Born { slot, pid } => ("born", GOOD, format!("slot {slot} pid {pid}")),
        Event::Gone { slot, pid, cause, text, requests, lived } => {
            let colour = if cause.is_regular() { NOTED } else { BAD };
            let text = text::clean(text);
            let lived = text::span(*lived);
            let rest = format!("slot {slot} pid {pid}: {text}; {requests} requests in {lived}");
            ("gone", colour, rest)
        }
        Event::Rogue { slot, pid, step, text } => {
            let (step, text) = (text::clean(step), text::clean(text));
            ("rogue", BAD, format!("slot {slot} pid {pid}: {step}: {text}"))
        }
        Event::AcceptState { state } => ("door", NOTED, picture::door(*state).replace("door ", "")),
        Event::Phase { phase } => ("phase", NOTED, phase.word().to_owned()),
        Event::Missed { events } => {
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

    use actix_daemon::{DoorState, ExitCause};
    use daemon_core::{Phase, SlotNumber};

    use super::*;

    fn told(event: Event, paint: Paint) -> String {
        let at: jiff::Timestamp = "2026-01-02T14:03:12Z".parse().expect("a moment");
        line(&Happened::Event(event), &at.to_zoned(jiff::tz::TimeZone::UTC), paint)
    }

    #[test]
    fn each_event_is_a_line_with_its_time_of_day() {
        let slot = SlotNumber::new(3);
        let gone = Event::Gone {
            slot,
            pid: 4711,
            cause: ExitCause::Killed { signal: 11, core: false },
            text: "signal 11 (SEGV)\n\x1b[2J".to_owned(),
            requests: 12,
            lived: Duration::from_secs(185),
        };
        let rogue = Event::Rogue {
            slot,
            pid: 4711,
            step: "term".to_owned(),
            text: "more processor time than it may use".to_owned(),
        };
        let events = [
            Event::Born { slot, pid: 4711 },
            gone,
            rogue,
            Event::AcceptState { state: DoorState::Shut },
            Event::Phase { phase: Phase::Stopping },
            Event::Missed { events: 12 },
        ];
        let lines = events.map(|event| told(event, Paint::Plain));
        assert_eq!(
            lines,
            [
                "14:03:12 born    slot 3 pid 4711",
                "14:03:12 gone    slot 3 pid 4711: signal 11 (SEGV)??[2J; 12 requests in 3m05",
                "14:03:12 rogue   slot 3 pid 4711: term: more processor time than it may use",
                "14:03:12 door    shut",
                "14:03:12 phase   stopping",
                "14:03:12 missed  12 events: this reader was too slow",
            ]
        );
    }

    #[test]
    fn a_birth_is_green_where_colours_are_wanted() {
        let born = Event::Born { slot: SlotNumber::new(0), pid: 1 };
        let line = told(born, Paint::Coloured);
        assert_eq!(line, "14:03:12 \x1b[32mborn   \x1b[0m slot 0 pid 1");
    }
}
