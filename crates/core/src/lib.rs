//! The rules of a forking daemon, as pure functions and state machines.
//!
//! A daemon that forks has to decide how many children it needs, when to fork and when to retire
//! them, which requests to reject, when to stop forking for a while, and why a child exited. This
//! crate makes these decisions and does nothing else: no I/O, no clock, no threads, no runtime.
//! Times are arguments, and actions are returned as values for the caller to carry out. So the
//! rules can run in a simulation, under loom and under miri, and any program can use them.
//!
//! # Theory of operation
//!
//! Parent and children share a **scoreboard**: memory with a slot for each child. The parent
//! *opens* an empty slot for a child, the child takes its *seat* there and *reports* each change of
//! its [`Status`], and the parent *closes* the slot after the child has exited. Each report marks
//! the slot, so that the parent finds changes without scanning all slots, and wakes the parent
//! through [`WakeParent`] if the parent has announced that it is going to sleep.
//!
//! The parent keeps [`Counts`] of what it reads and applies its rules to them: a [`Pool`] decides
//! how many children to fork and to retire, the [`AcceptState`] of a post-forking daemon whether to
//! accept requests, a [`Backoff`] whether to fork at all.
//!
//! All rules are applied again after every change, and compare the actual with the required state.
//! None depends on having seen a particular event.
//!
//! ```
//! use std::num::NonZeroU32;
//! use std::time::Duration;
//!
//! use daemon_core::{
//!     Counts, Jitter, MonotonicTime, Pool, PoolRules, Quota, QuotaState, RequestLimit, Scoreboard,
//!     ScoreboardLine, Seat, SlotNumber, Status, Transition, WakeParent, lines_for,
//! };
//!
//! struct NoWakeup;
//! impl WakeParent for NoWakeup {
//!     fn wake(&self) {}
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // In a daemon this is shared memory, and the time comes from a clock.
//! let lines: Vec<ScoreboardLine> = (0..lines_for(8)?).map(|_| ScoreboardLine::new()).collect();
//! let now = MonotonicTime::from_since_boot(Duration::from_secs(1));
//! let scoreboard = Scoreboard::format(lines.leak(), 8, now)?;
//!
//! // The parent asks its pool, and opens slots for the missing children.
//! let mut pool = Pool::new(PoolRules::from_parts(2, Some(1), Some(2), Some(8))?);
//! let mut counts = Counts::default();
//! let decision = pool.decide(&counts, now);
//! assert_eq!((decision.fork, decision.retire), (2, 0));
//! let mut seats = Vec::new();
//! for slot in (0..decision.fork).map(SlotNumber::new) {
//!     let generation = scoreboard.open_slot(slot, now)?;
//!     counts.record_fork();
//!     // The child does this, after the fork.
//!     seats.push(Seat::take(scoreboard.reader(), slot, generation, 4711, now, NoWakeup)?);
//! }
//!
//! // The children report.
//! let mut quota = Quota::new(RequestLimit::AtMost(NonZeroU32::MIN), Jitter::NONE, 0);
//! assert_eq!(seats[0].report(Status::Fresh, now)?, Transition::BecameReady);
//! assert_eq!(seats[1].report(Status::Serving, now)?, Transition::RequestStarted);
//! seats[1].set_label(b"GET /");
//! assert_eq!(quota.consume(), QuotaState::Exhausted);
//! assert!(seats[0].report(Status::Waiting, now).is_err());
//! assert_eq!(scoreboard.letters(), ".r      ");
//!
//! // The parent processes the changes, and decides again.
//! scoreboard.drain_changes(|slot| {
//!     let status = scoreboard.read(slot).status.unwrap_or(Status::Empty);
//!     counts.record_transition(Status::Forking, status);
//! });
//! assert_eq!((counts.idle(), counts.busy()), (1, 1));
//! assert_eq!(pool.decide(&counts, now).fork, 0);
//!
//! // A child has exited.
//! let last = scoreboard.close_slot(SlotNumber::new(1), now);
//! assert_eq!((last.requests, last.status), (1, Some(Status::Serving)));
//! # Ok(())
//! # }
//! ```
//!
//! # Map
//!
//! | topic | names |
//! | --- | --- |
//! | time | [`MonotonicTime`] |
//! | status of a child | [`Status`], [`StatusKind`], [`Transition`], [`IllegalTransition`] |
//! | the scoreboard: memory | [`ScoreboardLine`], [`lines_for`], [`slots_for`], [`MAX_SLOTS`], [`LABEL_MAX`] |
//! | read by any process | [`ScoreboardReader`], [`SlotEntry`], [`Label`], [`SlotFault`] |
//! | written by the parent | [`Scoreboard`], [`ArmResult`] |
//! | written by a child | [`Seat`], [`WakeParent`], [`ReportError`] |
//! | number of children by status | [`Counts`] |
//! | size of a pool | [`Pool`], [`PoolRules`], [`PoolDecision`], [`PoolResize`] |
//! | size of a pool by demand | [`DemandScaler`], [`DemandRules`] |
//! | ownership of a task sent to a worker | [`Claim`], [`StartResult`], [`RevokeResult`], [`FinishResult`], [`AbortResult`], [`Owner`] |
//! | rolling replacement | [`RollingReplace`], [`RollingStep`] |
//! | accepting requests in a post-forking daemon | [`AcceptState`], [`PoolLoad`], [`admit`] |
//! | requests of one child | [`Quota`], [`RequestLimit`], [`Jitter`] |
//! | limits of a child, and steps against a rogue | [`Limits`], [`Ladder`], [`Babysitter`] |
//! | delays after failures | [`Backoff`], [`Death`], [`BackoffState`] |
//! | why a child exited | [`classify_exit`], [`Exit`], [`ExitCause`], [`StopReason`], [`ChildKind`] |
//! | the daemon's phases and signals | [`Phase`], [`Signal`], [`parent_action`], [`child_action`], [`StopMode`] |
//! | durations and sizes on screens | [`mod@format`] |
//!
//! `docs/scoreboard.md` in the repository describes the scoreboard's layout and its table of
//! transitions.
//!
//! # Limitations
//!
//! - A scoreboard has a fixed number of slots, at most [`MAX_SLOTS`], and lives as long as its
//!   process: it is built on `&'static [ScoreboardLine]`.
//! - It needs 64-bit atomics. Its layout depends on the byte order: another program on the same
//!   machine can read a scoreboard file; a machine of the other byte order rejects it with an
//!   error.
//! - It isolates correct writers from each other. A child that overwrites shared memory is detected
//!   if it damages a status; other damage shows up in what is displayed, but makes no reader panic.

mod accepting;
mod atomics;
mod backoff;
mod claim;
mod counts;
mod demand;
mod dirty;
mod exit_cause;
pub mod format;
mod label;
mod line;
mod monotonic;
mod phase;
mod pool;
mod quota;
mod reader;
mod rogue;
mod rolling;
mod scoreboard;
mod seat;
#[cfg(test)]
mod sentences;
mod signals;
mod status;

pub use accepting::{AcceptChange, AcceptState, Admission, OperatorPause, PoolLoad, admit};
pub use backoff::{Backoff, BackoffRules, BackoffState, Death, FailureKind, FailureReason};
pub use claim::{AbortResult, Claim, FinishResult, Owner, RevokeResult, StartResult};
pub use counts::Counts;
pub use demand::{DemandRules, DemandScaler};
pub use exit_cause::{
    ChildKind, Exit, ExitCause, KillReason, RecycleReason, StopReason, Violation, classify_exit,
};
pub use label::{LABEL_MAX, Label, LabelText};
pub use line::{Generation, MAX_SLOTS, ScoreboardLine, SlotNumber};
pub use monotonic::MonotonicTime;
pub use phase::{IllegalPhaseChange, Phase};
pub use pool::{Pool, PoolDecision, PoolError, PoolResize, PoolRules};
pub use quota::{Jitter, JitterError, Quota, QuotaState, RequestLimit};
pub use reader::{ScoreboardError, ScoreboardReader, SlotEntry, SlotFault, lines_for, slots_for};
pub use rogue::{
    Action, ActionKind, Assessment, Babysitter, Confirmation, Ladder, LadderError, LadderStep,
    Limits, Presence, ProcessSample, ScanResult, Usage,
};
pub use rolling::{RollingReplace, RollingStep, default_max_unavailable};
pub use scoreboard::{ArmResult, Scoreboard};
pub use seat::{ReportError, Seat, WakeParent};
pub use signals::{ChildAction, ParentAction, Signal, StopMode, child_action, parent_action};
pub use status::{IllegalTransition, Status, StatusKind, Transition};
