//! The events of a daemon.

use std::sync::Arc;
use std::time::Duration;

use daemon_core::{
    AcceptState, ChildId, ExitCause, LadderStep, OperatorPause, Phase, Pid, Violation,
};
use serde::{Deserialize, Serialize};

use crate::evidence::Evidence;

/// An event of a daemon: what the daemon tells its sessions and the clients of its control socket.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "actix", derive(actix::Message), rtype(result = "()"))]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DaemonEvent {
    /// The daemon's actor has started.
    Start,
    /// The initial children are ready, or the daemon starts without children.
    Ready,
    /// The daemon has entered another phase.
    Phase {
        /// The new phase.
        phase: Phase,
    },
    /// The daemon has started or stopped accepting requests.
    Accepting {
        /// Whether the daemon accepts requests now.
        state: AcceptState,
    },
    /// The operator has paused or resumed the daemon.
    OperatorPause {
        /// Whether the operator has paused the daemon.
        state: OperatorPause,
    },
    /// A child was forked.
    Forked(ChildForked),
    /// A child has exited and was reaped.
    Exited(ChildExited),
    /// The babysitter took action against a child, or recorded evidence of a slow request.
    Rogue(RogueChild),
    /// A process that the program has started itself has exited.
    ForeignExited(ForeignExited),
    /// A reload has started or is done.
    Reload {
        /// How far the reload is.
        state: DaemonReload,
    },
    /// The daemon reopens its logs.
    Hup,
    /// The daemon shuts down.
    Shutdown {
        /// Why the daemon shuts down.
        reason: ShutdownReason,
    },
    /// Events were dropped because the receiver is too slow.
    Missed {
        /// The number of dropped events.
        events: u64,
    },
}

/// Why a process of the daemon shuts down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShutdownReason {
    /// The whole daemon stops. Connections in the listener's backlog are still served.
    Stopping,
    /// The whole daemon stops immediately. Requests in progress are lost.
    StoppingNow,
    /// This child is surplus or is replaced. Other children continue to accept requests.
    Retired,
    /// This child has reached its quota of requests.
    Recycled,
    /// This child has finished the one request or task for which it was forked.
    Done,
}

impl ShutdownReason {
    /// Returns the word for the reason: `stopping`, `stopping now`, `retired`, `recycled` or
    /// `done`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            ShutdownReason::Stopping => "stopping",
            ShutdownReason::StoppingNow => "stopping now",
            ShutdownReason::Retired => "retired",
            ShutdownReason::Recycled => "recycled",
            ShutdownReason::Done => "done",
        }
    }
}

/// Broadcast in the parent when a reload starts and when it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "actix", derive(actix::Message), rtype(result = "()"))]
#[serde(rename_all = "kebab-case")]
pub enum DaemonReload {
    /// A reload has started, or a reload in progress has been restarted.
    Started,
    /// All children that were forked before the reload have exited or are about to exit.
    Done,
}

/// Broadcast in the parent for each child that has been forked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "actix", derive(actix::Message), rtype(result = "()"))]
#[non_exhaustive]
pub struct ChildForked {
    /// The child's slot and generation.
    #[serde(flatten)]
    pub child: ChildId,
    /// The child's pid.
    pub pid: Pid,
}

impl ChildForked {
    /// Creates the event of this child.
    #[must_use]
    pub const fn new(child: ChildId, pid: Pid) -> ChildForked {
        ChildForked { child, pid }
    }
}

/// Broadcast in the parent for each child that has exited and was reaped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "actix", derive(actix::Message), rtype(result = "()"))]
#[serde(from = "ExitedFields", into = "ExitedFields")]
#[non_exhaustive]
pub struct ChildExited {
    /// The child's slot and generation.
    pub child: ChildId,
    /// The child's pid.
    pub pid: Pid,
    /// Why the child exited.
    pub cause: ExitCause,
    /// The number of requests that the child started.
    pub requests: u64,
    /// The time from the command to fork the child until its exit.
    pub lifetime: Duration,
}

impl ChildExited {
    /// Creates the event of this child.
    #[must_use]
    pub const fn new(
        child: ChildId,
        pid: Pid,
        cause: ExitCause,
        requests: u64,
        lifetime: Duration,
    ) -> ChildExited {
        ChildExited { child, pid, cause, requests, lifetime }
    }
}

/// The JSON of [`ChildExited`], which also contains the cause as text.
#[derive(Serialize, Deserialize)]
struct ExitedFields {
    #[serde(flatten)]
    child: ChildId,
    pid: Pid,
    cause: ExitCause,
    #[serde(skip_deserializing)]
    text: String,
    requests: u64,
    #[serde(with = "crate::seconds")]
    lifetime: Duration,
}

impl From<ChildExited> for ExitedFields {
    fn from(exited: ChildExited) -> Self {
        let ChildExited { child, pid, cause, requests, lifetime } = exited;
        ExitedFields { child, pid, cause, text: cause.to_string(), requests, lifetime }
    }
}

impl From<ExitedFields> for ChildExited {
    fn from(fields: ExitedFields) -> Self {
        let ExitedFields { child, pid, cause, text: _, requests, lifetime } = fields;
        ChildExited { child, pid, cause, requests, lifetime }
    }
}

/// Broadcast in the parent for each action against a rogue child, when a rogue child has recovered,
/// and for each slow request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "actix", derive(actix::Message), rtype(result = "()"))]
#[serde(from = "RogueFields", into = "RogueFields")]
#[non_exhaustive]
pub struct RogueChild {
    /// The child's slot and generation.
    pub child: ChildId,
    /// The child's pid.
    pub pid: Pid,
    /// The limit that the child violates; `None` if its request is only slow.
    pub violation: Option<Violation>,
    /// What the daemon does about the child.
    pub step: RogueStep,
    /// The evidence that was collected before the first step or for a slow request; `None` for
    /// later steps and for a recovery. The JSON does not contain the evidence.
    pub evidence: Option<Arc<Evidence>>,
}

impl RogueChild {
    /// Creates the event of this child, without evidence.
    #[must_use]
    pub const fn new(
        child: ChildId,
        pid: Pid,
        violation: Option<Violation>,
        step: RogueStep,
    ) -> RogueChild {
        RogueChild { child, pid, violation, step, evidence: None }
    }

    /// Returns the reason for the step in words: the violation, or `a slow request`.
    #[must_use]
    pub fn reason(&self) -> String {
        self.violation.map_or_else(|| "a slow request".to_owned(), |why| why.to_string())
    }
}

/// The JSON of [`RogueChild`], which also contains the reason as text.
#[derive(Serialize, Deserialize)]
struct RogueFields {
    #[serde(flatten)]
    child: ChildId,
    pid: Pid,
    step: RogueStep,
    #[serde(skip_deserializing)]
    text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    violation: Option<Violation>,
}

impl From<RogueChild> for RogueFields {
    fn from(rogue: RogueChild) -> Self {
        let text = rogue.reason();
        let RogueChild { child, pid, violation, step, evidence: _ } = rogue;
        RogueFields { child, pid, step, text, violation }
    }
}

impl From<RogueFields> for RogueChild {
    fn from(fields: RogueFields) -> Self {
        RogueChild::new(fields.child, fields.pid, fields.violation, fields.step)
    }
}

/// What the daemon does about a rogue child or a slow request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RogueStep {
    /// The child has recovered.
    Recovered,
    /// The request is slow. Only evidence is recorded.
    Slow,
    /// The daemon takes this step of the ladder.
    #[serde(untagged)]
    Escalated(LadderStep),
}

impl RogueStep {
    /// Returns the word for the step: `int`, `term`, `quit`, `kill`, `given-up`, `recovered`,
    /// `slow`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            RogueStep::Escalated(step) => step.word(),
            RogueStep::Recovered => "recovered",
            RogueStep::Slow => "slow",
        }
    }
}

/// Broadcast in the parent when a process that the program has started itself has exited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "actix", derive(actix::Message), rtype(result = "()"))]
#[non_exhaustive]
pub struct ForeignExited {
    /// The pid of the process. The process that started the foreign child still has to collect its
    /// exit status.
    pub pid: Pid,
}

impl ForeignExited {
    /// Creates the event of this process.
    #[must_use]
    pub const fn new(pid: Pid) -> ForeignExited {
        ForeignExited { pid }
    }
}

#[cfg(test)]
mod tests {
    use daemon_core::{Generation, SlotNumber};

    use super::*;

    const SEGV: ExitCause = ExitCause::Killed { signal: 11, core: true };

    /// Returns an event of each kind with its JSON.
    fn all() -> Vec<(DaemonEvent, &'static str)> {
        let child = ChildId { slot: SlotNumber::new(3), generation: Generation::new(2) };
        let pid = Pid::from_raw(4711).unwrap();
        let lifetime = Duration::from_millis(1_500);
        let rogue =
            |violation, step| DaemonEvent::Rogue(RogueChild::new(child, pid, violation, step));
        vec![
            (DaemonEvent::Start, r#"{"event":"start"}"#),
            (DaemonEvent::Ready, r#"{"event":"ready"}"#),
            (
                DaemonEvent::Phase { phase: Phase::Running },
                r#"{"event":"phase","phase":"running"}"#,
            ),
            (
                DaemonEvent::Accepting { state: AcceptState::Paused },
                r#"{"event":"accepting","state":"paused"}"#,
            ),
            (
                DaemonEvent::OperatorPause { state: OperatorPause::On },
                r#"{"event":"operator-pause","state":"on"}"#,
            ),
            (
                DaemonEvent::Forked(ChildForked::new(child, pid)),
                r#"{"event":"forked","slot":3,"generation":2,"pid":4711}"#,
            ),
            (
                DaemonEvent::Exited(ChildExited::new(child, pid, SEGV, 9, lifetime)),
                r#"{"event":"exited","slot":3,"generation":2,"pid":4711,"cause":{"killed":{"signal":11,"core":true}},"text":"killed by signal SEGV, core dumped","requests":9,"lifetime":1.5}"#,
            ),
            (
                rogue(Some(Violation::Time), RogueStep::Escalated(LadderStep::GiveUp)),
                r#"{"event":"rogue","slot":3,"generation":2,"pid":4711,"step":"given-up","text":"request timeout exceeded","violation":"time"}"#,
            ),
            (
                rogue(Some(Violation::Hung), RogueStep::Recovered),
                r#"{"event":"rogue","slot":3,"generation":2,"pid":4711,"step":"recovered","text":"no heartbeat","violation":"hung"}"#,
            ),
            (
                rogue(None, RogueStep::Slow),
                r#"{"event":"rogue","slot":3,"generation":2,"pid":4711,"step":"slow","text":"a slow request"}"#,
            ),
            (
                DaemonEvent::ForeignExited(ForeignExited::new(pid)),
                r#"{"event":"foreign-exited","pid":4711}"#,
            ),
            (
                DaemonEvent::Reload { state: DaemonReload::Done },
                r#"{"event":"reload","state":"done"}"#,
            ),
            (DaemonEvent::Hup, r#"{"event":"hup"}"#),
            (
                DaemonEvent::Shutdown { reason: ShutdownReason::StoppingNow },
                r#"{"event":"shutdown","reason":"stopping-now"}"#,
            ),
            (DaemonEvent::Missed { events: 17 }, r#"{"event":"missed","events":17}"#),
        ]
    }

    #[test]
    fn each_event_survives_a_round_trip_through_json() {
        for (event, json) in all() {
            assert_eq!(serde_json::to_string(&event).unwrap(), json);
            let back: DaemonEvent = serde_json::from_str(json).unwrap();
            assert_eq!(format!("{back:?}"), format!("{event:?}"));
        }
    }

    #[test]
    fn the_words_of_the_steps_are_those_of_the_json() {
        use LadderStep::{GiveUp, Int, Kill, Quit, Term};

        let steps = [Int, Term, Quit, Kill, GiveUp].map(RogueStep::Escalated);
        for step in steps.into_iter().chain([RogueStep::Recovered, RogueStep::Slow]) {
            assert_eq!(serde_json::to_value(step).unwrap(), step.word());
        }
    }

    #[test]
    fn events_without_the_newer_fields_are_parsed() {
        let json = r#"{"event":"forked","slot":3,"pid":4711}"#;
        let DaemonEvent::Forked(forked) = serde_json::from_str(json).unwrap() else { panic!() };
        assert_eq!(forked.child.slot, SlotNumber::new(3));
        let json = r#"{"event":"rogue","slot":3,"pid":1,"step":"slow","text":"a slow request"}"#;
        let DaemonEvent::Rogue(rogue) = serde_json::from_str(json).unwrap() else { panic!() };
        assert_eq!((rogue.step, rogue.violation), (RogueStep::Slow, None));
    }

    #[test]
    fn pids_that_are_not_positive_are_refused() {
        for pid in ["0", "-1", "4294967296"] {
            let json = format!(r#"{{"event":"foreign-exited","pid":{pid}}}"#);
            assert!(serde_json::from_str::<DaemonEvent>(&json).is_err(), "{pid}");
        }
    }
}
