//! The rules of a forking daemon, as pure functions and state machines.
//!
//! A daemon that forks has to decide how many children it needs, when to fork them and when to
//! retire them, which requests to reject, when to stop forking for a while, and why a child exited.
//! This crate makes these decisions and does nothing else: it performs no I/O, reads no clock, and
//! needs neither threads nor a runtime. Times are arguments, and actions are returned as values for
//! the caller to carry out. Therefore the rules can run in a simulation, under loom and under miri,
//! and any program can use them.
//!
//! # Theory of operation
//!
//! The parent and its children share a **scoreboard**: memory with one slot for each child. The
//! parent *opens* an empty slot for a child, the child takes its *seat* in this slot and *reports*
//! each change of its [`Status`], and the parent *closes* the slot after the child has exited. Each
//! report marks the slot as changed, so that the parent finds changes without scanning all slots.
//! If the parent has armed the wakeup before going to sleep, the report also wakes the parent
//! through [`WakeParent`].
//!
//! The parent counts the children by status ([`Counts`]) and applies its rules: a [`Pool`] decides
//! how many children to fork and how many to retire, the [`AcceptState`] of a post-forking daemon
//! decides whether to accept requests, and a [`Backoff`] decides whether to fork at all.
//!
//! The rules for the size of a pool and for accepting requests are applied again after every
//! change. They compare the actual state with the required state, so they do not depend on having
//! seen a particular event.
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
//! // In a daemon, the lines are in shared memory, and the time comes from a clock.
//! let lines: Vec<ScoreboardLine> = (0..lines_for(8)?).map(|_| ScoreboardLine::new()).collect();
//! let now = MonotonicTime::from_since_boot(Duration::from_secs(1));
//! let scoreboard = Scoreboard::format(lines.leak(), 8, now)?;
//!
//! // The parent asks its pool how many children to fork, and opens a slot for each.
//! let mut pool = Pool::new(PoolRules::from_parts(2, Some(1), Some(2), Some(8))?);
//! let mut counts = Counts::default();
//! let decision = pool.decide(&counts, now);
//! assert_eq!((decision.fork, decision.retire), (2, 0));
//! let mut seats = Vec::new();
//! for slot in (0..decision.fork).map(SlotNumber::new) {
//!     let generation = scoreboard.open_slot(slot, now)?;
//!     counts.record_fork();
//!     // The child takes its seat after the fork.
//!     seats.push(Seat::take(scoreboard.reader(), slot, generation, 4711, now, NoWakeup)?);
//! }
//!
//! // The children report their statuses.
//! let mut quota = Quota::new(RequestLimit::AtMost(NonZeroU32::MIN), Jitter::NONE, 0);
//! assert_eq!(seats[0].report(Status::Fresh, now)?, Transition::BecameReady);
//! assert_eq!(seats[1].report(Status::Serving, now)?, Transition::RequestStarted);
//! seats[1].set_label(b"GET /");
//! assert_eq!(quota.consume(), QuotaState::Exhausted);
//! assert!(seats[0].report(Status::Waiting, now).is_err());
//! assert_eq!(scoreboard.letters(), ".r      ");
//!
//! // The parent processes the changes, and asks its pool again.
//! scoreboard.drain_changes(|slot| {
//!     let status = scoreboard.read(slot).status.unwrap_or(Status::Empty);
//!     counts.record_transition(Status::Forking, status);
//! });
//! assert_eq!((counts.idle(), counts.busy()), (1, 1));
//! assert_eq!(pool.decide(&counts, now).fork, 0);
//!
//! // The parent closes the slot of a child that has exited.
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
//! | the memory of the scoreboard | [`ScoreboardLine`], [`lines_for`], [`slots_for`], [`HEADER_LINES`], [`MAX_SLOTS`], [`LABEL_MAX`] |
//! | the scoreboard, as any process reads it | [`ScoreboardReader`], [`SlotEntry`], [`Label`], [`SlotFault`] |
//! | the scoreboard, as the parent writes it | [`Scoreboard`], [`ArmResult`], [`FaultCount`] |
//! | the scoreboard, as a child writes it | [`Seat`], [`WakeParent`], [`ReportError`] |
//! | number of children by status | [`Counts`] |
//! | size of a pool | [`Pool`], [`PoolRules`], [`PoolDecision`], [`Resize`] |
//! | size of a pool by demand | [`DemandScaler`], [`DemandRules`] |
//! | ownership of a task sent to a worker | [`Claim`], [`StartResult`], [`RevokeResult`], [`FinishResult`], [`AbortResult`], [`Owner`] |
//! | rolling replacement | [`RollingReplace`], [`RollingStep`] |
//! | accepting requests in a post-forking daemon | [`AcceptState`], [`PoolLoad`], [`admit`] |
//! | requests of one child | [`Quota`], [`RequestLimit`], [`Jitter`] |
//! | limits of a child, and steps against a rogue | [`Limits`], [`MAX_EXTENSION`], [`Ladder`], [`Babysitter`] |
//! | limits on rates | [`TokenBucket`], [`LogThrottle`], [`LogLimit`], [`LimitedRecord`] |
//! | delays after failures | [`Backoff`], [`Death`], [`BackoffState`] |
//! | why a child exited | [`classify_exit`], [`Exit`], [`ExitCause`], [`StopReason`], [`ChildKind`] |
//! | processes, children | [`Pid`], [`ChildId`] |
//! | the daemon's phases and signals | [`Phase`], [`Signal`], [`parent_action`], [`child_action`], [`StopMode`] |
//! | durations and sizes on screens | [`mod@format`] |
//!
//! `docs/scoreboard.md` in the repository describes the layout of the scoreboard and the
//! transitions between statuses.
//!
//! # Limitations
//!
//! - A scoreboard has a fixed number of slots, at most [`MAX_SLOTS`]. Its memory must stay valid
//!   until the process ends, because it is borrowed as `&'static [ScoreboardLine]`.
//! - The scoreboard needs 64-bit atomics. Its layout depends on the byte order of the processor.
//!   Another program on the same system can read a scoreboard file. On a system with another byte
//!   order, opening the file fails with an error.
//! - The slots are not protected from other children: a faulty child can overwrite the slots of
//!   other children. The parent's view detects and repairs what cannot be true, a child writes its
//!   own values again with its next report, and no damage makes a reader panic. Until then a
//!   plausible wrong value, for example the status of an idle child that is shown as serving, is
//!   not detected. A view of another process detects only an invalid status.

mod accepting;
mod babysitter;
mod backoff;
mod claim;
mod counts;
mod demand;
mod descendants;
mod dirty;
mod entry;
mod exit_cause;
pub mod format;
#[cfg(all(any(test, feature = "fuzz"), not(loom)))]
#[doc(hidden)]
pub mod fuzz;
mod label;
mod ladder;
mod limits;
mod line;
mod log_limit;
mod monotonic;
mod phase;
mod pool;
mod process;
mod quota;
mod reader;
mod record;
mod rolling;
mod scoreboard;
mod seat;
#[cfg(test)]
mod sentences;
mod signals;
mod status;
mod throttle;
mod wakeup_word;

/// The atomics for shared memory: those of the standard library, or those of loom in a loom model.
mod atomics {
    #[cfg(loom)]
    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};
    #[cfg(not(loom))]
    pub(crate) use std::sync::atomic::{AtomicU64, Ordering, fence};
}

pub use accepting::{AcceptChange, AcceptState, Admission, OperatorPause, PoolLoad, admit};
pub use babysitter::{
    Action, ActionKind, Babysitter, Confirmation, Presence, ProcessSample, ScanResult,
};
pub use backoff::{Backoff, BackoffRules, BackoffState, Death, FailureKind, FailureReason};
pub use claim::{AbortResult, Claim, FinishResult, Owner, RevokeResult, StartResult};
pub use counts::Counts;
pub use demand::{DemandRules, DemandScaler};
pub use descendants::Descendants;
pub use entry::{SlotEntry, SlotFault};
pub use exit_cause::{
    ChildKind, Exit, ExitCause, KillReason, RecycleReason, StopReason, Violation, classify_exit,
    signal_name,
};
pub use label::{LABEL_MAX, Label, LabelText};
pub use ladder::{Ladder, LadderError, LadderStep};
pub use limits::{Assessment, Limits, Usage};
pub use line::{Generation, MAX_SLOTS, ScoreboardLine, SlotNumber};
pub use log_limit::{LimitedRecord, LogLimit};
pub use monotonic::MonotonicTime;
pub use phase::Phase;
pub use pool::{Pool, PoolDecision, PoolError, PoolRules, Resize};
pub use process::{ChildId, Pid};
pub use quota::{Jitter, JitterError, Quota, QuotaState, RequestLimit};
pub use reader::{HEADER_LINES, ScoreboardError, ScoreboardReader, lines_for, slots_for};
pub use record::MAX_EXTENSION;
pub use rolling::{RollingReplace, RollingStep, default_max_unavailable};
pub use scoreboard::{ArmResult, FaultCount, Scoreboard};
pub use seat::{ReportError, Seat, WakeParent};
pub use signals::{ChildAction, ParentAction, Signal, StopMode, child_action, parent_action};
pub use status::{IllegalTransition, Status, StatusKind, Transition};
pub use throttle::{LogThrottle, TokenBucket};
