//! Formats events as lines of text or JSON.

use daemon_core::{AcceptState, OperatorPause, format};
use daemon_protocol::{DaemonEvent, DaemonReload};
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

fn parts(event: &DaemonEvent) -> (&'static str, &'static str, String) {
    let neutral = |word, rest: &str| (word, NEUTRAL, rest.to_owned());
    match event {
        DaemonEvent::Start => neutral("start", "the daemon has started"),
        DaemonEvent::Ready => ("ready", GOOD, "the initial children are ready".to_owned()),
        DaemonEvent::Phase { phase } => neutral("phase", phase.word()),
        DaemonEvent::Accepting { state: AcceptState::Accepting } => {
            neutral("accept", "accepting requests")
        }
        DaemonEvent::Accepting { state: AcceptState::Paused } => neutral("accept", "paused"),
        DaemonEvent::OperatorPause { state: OperatorPause::On } => {
            neutral("pause", "paused by operator")
        }
        DaemonEvent::OperatorPause { state: OperatorPause::Off } => {
            neutral("pause", "resumed by operator")
        }
        DaemonEvent::Forked(forked) => {
            let (slot, pid) = (forked.child.slot, forked.pid);
            ("forked", GOOD, format!("slot {slot} pid {pid}"))
        }
        DaemonEvent::Exited(exited) => {
            let (slot, pid, cause) = (exited.child.slot, exited.pid, exited.cause);
            let (requests, lifetime) = (exited.requests, format::duration(exited.lifetime));
            let colour = if cause.is_expected() { NEUTRAL } else { BAD };
            let rest = format!("slot {slot} pid {pid}: {cause}; {requests} requests in {lifetime}");
            ("exited", colour, rest)
        }
        DaemonEvent::Rogue(rogue) => {
            let (slot, pid, step) = (rogue.child.slot, rogue.pid, rogue.step.word());
            ("rogue", BAD, format!("slot {slot} pid {pid}: {step}: {}", rogue.reason()))
        }
        DaemonEvent::ForeignExited(foreign) => {
            ("exited", NEUTRAL, format!("foreign child, pid {}", foreign.pid))
        }
        DaemonEvent::Reload { state: DaemonReload::Started } => neutral("reload", "started"),
        DaemonEvent::Reload { state: DaemonReload::Done } => neutral("reload", "done"),
        DaemonEvent::Hup => neutral("hup", "reopening the logs"),
        DaemonEvent::Shutdown { reason } => neutral("stop", reason.word()),
        DaemonEvent::Missed { events } => {
            ("missed", BAD, format!("{events} events: the reader was too slow"))
        }
        // Events that a later version of the protocol adds.
        added_later => neutral(
            "other",
            &format::clean(&serde_json::to_string(added_later).unwrap_or_default()),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use daemon_core::{
        ChildId, ExitCause, Generation, LadderStep, Phase, Pid, SlotNumber, Violation,
    };
    use daemon_protocol::{
        ChildExited, ChildForked, ForeignExited, RogueChild, RogueStep, ShutdownReason,
    };

    use super::*;

    fn line_of(event: DaemonEvent, color_mode: ColorMode) -> String {
        let at: jiff::Timestamp = "2026-01-02T14:03:12Z".parse().expect("a valid timestamp");
        line(&ReceivedEvent::Known(event), &at.to_zoned(jiff::tz::TimeZone::UTC), color_mode)
    }

    const CHILD: ChildId = ChildId { slot: SlotNumber::new(3), generation: Generation::new(1) };

    fn pid() -> Pid {
        Pid::from_raw(4711).expect("a valid pid")
    }

    #[test]
    fn each_event_is_printed_as_a_line_with_its_time() {
        let cause = ExitCause::Killed { signal: 11, core: false };
        let (step, lifetime) = (RogueStep::Escalated(LadderStep::Term), Duration::from_secs(185));
        let rogue = RogueChild::new(CHILD, pid(), Some(Violation::Cpu), step);
        let events = [
            DaemonEvent::Start,
            DaemonEvent::Ready,
            DaemonEvent::Forked(ChildForked::new(CHILD, pid())),
            DaemonEvent::Exited(ChildExited::new(CHILD, pid(), cause, 12, lifetime)),
            DaemonEvent::Rogue(rogue),
            DaemonEvent::ForeignExited(ForeignExited::new(pid())),
            DaemonEvent::Accepting { state: AcceptState::Paused },
            DaemonEvent::OperatorPause { state: OperatorPause::On },
            DaemonEvent::Reload { state: DaemonReload::Started },
            DaemonEvent::Hup,
            DaemonEvent::Shutdown { reason: ShutdownReason::StoppingNow },
            DaemonEvent::Phase { phase: Phase::Stopping },
            DaemonEvent::Missed { events: 12 },
        ];
        let lines = events.map(|event| line_of(event, ColorMode::Plain));
        assert_eq!(
            lines,
            [
                "14:03:12 start   the daemon has started",
                "14:03:12 ready   the initial children are ready",
                "14:03:12 forked  slot 3 pid 4711",
                "14:03:12 exited  slot 3 pid 4711: killed by signal SEGV; 12 requests in 3m05s",
                "14:03:12 rogue   slot 3 pid 4711: term: CPU time limit exceeded",
                "14:03:12 exited  foreign child, pid 4711",
                "14:03:12 accept  paused",
                "14:03:12 pause   paused by operator",
                "14:03:12 reload  started",
                "14:03:12 hup     reopening the logs",
                "14:03:12 stop    stopping now",
                "14:03:12 phase   stopping",
                "14:03:12 missed  12 events: the reader was too slow",
            ]
        );
    }

    #[test]
    fn the_event_of_a_new_child_is_green_if_colours_are_enabled() {
        let forked = DaemonEvent::Forked(ChildForked::new(CHILD, pid()));
        let line = line_of(forked, ColorMode::Color);
        assert_eq!(line, "14:03:12 \x1b[32mforked \x1b[0m slot 3 pid 4711");
    }
}
