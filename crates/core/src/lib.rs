//! The rules of a forking daemon, as pure functions and state machines.
//!
//! A daemon that forks has to know how many children it has and what each does, when to fork more
//! and when to retire some, whom to refuse, when to give up for a while, and why a child is gone.
//! Here are the answers, without the forking: no I/O, no clock, no threads, no runtime. Moments
//! come in as arguments, and what is to be done goes out as a value for somebody else to do. So
//! the rules can be run in a simulator, under loom and under miri, and used by any program.
//!
//! # Theory of operation
//!
//! Parent and children share a **scoreboard**: memory with a slot for each child. The parent
//! *orders* a child into an empty slot, the child takes its *seat* there and *reports* each change
//! of its [`Status`]; when it is gone, the parent *closes* the slot. Each report marks the slot, so
//! that the parent finds changes without looking at all slots, and rings a [`WakeParent`] if the parent
//! has said that it is going to sleep.
//!
//! From what it reads, the parent keeps a [`Counts`] and puts it to its rules: a [`Pool`] of
//! standing children says how many to fork and to retire, the [`AcceptState`] of a post-forking daemon
//! whether to take requests, a [`Backoff`] whether to fork at all.
//!
//! All rules are asked anew whenever something has changed, and compare what there is with what
//! there shall be. None depends on having seen each event.
//!
//! ```
//! use std::num::NonZeroU32;
//! use std::time::Duration;
//!
//! use daemon_core::{
//!     WakeParent, Counts, Jitter, Left, Line, MonotonicTime, Pool, PoolRules, Quota, RequestLimit, Scoreboard,
//!     Seat, SlotNumber, Status, Step, lines_for,
//! };
//!
//! struct NoWakeup;
//! impl WakeParent for NoWakeup {
//!     fn wake(&self) {}
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // In a daemon this is shared memory, and the time comes from a clock.
//! let lines: Vec<Line> = (0..lines_for(8)?).map(|_| Line::new()).collect();
//! let now = MonotonicTime::from_since_boot(Duration::from_secs(1));
//! let scoreboard = Scoreboard::format(lines.leak(), 8, now)?;
//!
//! // The parent asks its pool, and orders what is missing.
//! let mut pool = Pool::new(PoolRules::from_parts(2, Some(1), Some(2), Some(8))?);
//! let mut census = Counts::default();
//! let verdict = pool.decide(&census, now);
//! assert_eq!((verdict.fork, verdict.retire), (2, 0));
//! let mut seats = Vec::new();
//! for slot in (0..decision.fork).map(SlotNumber::new) {
//!     let generation = scoreboard.order(slot, now)?;
//!     census.opened();
//!     // This is the child's, after the fork.
//!     seats.push(Seat::take(scoreboard.reader(), slot, generation, 4711, now, NoWakeup)?);
//! }
//!
//! // The children report.
//! let mut quota = Quota::deal(RequestLimit::AtMost(NonZeroU32::MIN), Jitter::NONE, 0);
//! assert_eq!(seats[0].report(Status::Fresh, now)?, Step::BecameReady);
//! assert_eq!(seats[1].report(Status::Serving, now)?, Step::RequestStarted);
//! seats[1].set_label(b"GET /");
//! assert_eq!(quota.spend(), Left::Exhausted);
//! assert!(seats[0].report(Status::Waiting, now).is_err());
//! assert_eq!(scoreboard.letters(), ".r      ");
//!
//! // The parent takes in what has changed, and decides again.
//! scoreboard.drain_changes(|slot| {
//!     let status = scoreboard.read(slot).status.unwrap_or(Status::Empty);
//!     census.moved(Status::Forking, status);
//! });
//! assert_eq!((census.idle(), census.busy()), (1, 1));
//! assert_eq!(pool.decide(&census, now).fork, 0);
//!
//! // A child is gone.
//! let last = scoreboard.close(SlotNumber::new(1), now);
//! assert_eq!((last.requests, last.status), (1, Some(Status::Serving)));
//! # Ok(())
//! # }
//! ```
//!
//! # Map
//!
//! | what | names |
//! | --- | --- |
//! | time | [`MonotonicTime`] |
//! | what a child does | [`Status`], [`StatusKind`], [`Transition`], [`IllegalTransition`] |
//! | the scoreboard: memory | [`ScoreboardLine`], [`lines_for`], [`slots_for`], [`MAX_SLOTS`], [`LABEL_MAX`] |
//! | read by anyone | [`ScoreboardReader`], [`SlotEntry`], [`Label`], [`SlotFault`] |
//! | written by the parent | [`Scoreboard`], [`ArmResult`] |
//! | written by a child | [`Seat`], [`WakeParent`], [`ReportError`] |
//! | how many children there are | [`Counts`] |
//! | how many there shall be | [`Pool`], [`PoolRules`], [`PoolDecision`], [`Resize`] |
//! | how many where work is given to each | [`DemandScaler`], [`DemandRules`] |
//! | whose a piece of work is that was sent ahead | [`Claim`], [`StartResult`], [`RevokeResult`], [`FinishResult`], [`AbortResult`], [`Owner`] |
//! | replacing them all | [`RollingReplace`], [`RollingStep`] |
//! | taking requests in a post-forking daemon | [`AcceptState`], [`PoolLoad`], [`admit`] |
//! | requests of one child | [`Quota`], [`RequestLimit`], [`Jitter`] |
//! | when things go wrong | [`Backoff`], [`Death`], [`BackoffState`] |
//! | why a child is gone | [`classify_exit`], [`Exit`], [`ExitCause`], [`StopReason`], [`ChildKind`] |
//! | the daemon's life | [`Phase`], [`Signal`], [`parent_action`], [`child_action`], [`StopMode`] |
//!
//! `docs/scoreboard.md` in the repository shows the scoreboard's layout and its table of moves.
//!
//! # Limitations
//!
//! - A scoreboard has a fixed number of slots, at most [`MAX_SLOTS`], and lives as long as its
//!   process: it is built on `&'static [ScoreboardLine]`.
//! - It needs 64-bit atomics. Its layout is that of one machine: a file of it can be read by another
//!   program there, but not on a machine of the other byte order, which is told.
//! - It keeps honest writers apart. A child that scribbles over shared memory is noticed if it hits
//!   a status, and harms what is shown, but makes no reader panic.

mod accepting;
mod atomics;
mod backoff;
mod board;
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
pub use board::{ScoreboardError, ScoreboardReader, SlotEntry, SlotFault, lines_for, slots_for};
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
pub use pool::{Pool, PoolDecision, PoolError, PoolRules, Resize};
pub use quota::{Jitter, JitterError, Quota, QuotaState, RequestLimit};
pub use rogue::{
    Action, ActionKind, Assessment, Babysitter, Confirmation, Ladder, LadderError, LadderStep,
    Limits, Presence, ProcessSample, ScanResult, Usage,
};
pub use rolling::{RollingReplace, RollingStep, default_max_unavailable};
pub use scoreboard::{ArmResult, Scoreboard};
pub use seat::{ReportError, Seat, WakeParent};
pub use signals::{ChildAction, ParentAction, Signal, StopMode, child_action, parent_action};
pub use status::{IllegalTransition, Status, StatusKind, Transition};
