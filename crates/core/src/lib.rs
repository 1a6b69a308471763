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
//! that the parent finds changes without looking at all slots, and rings a [`Bell`] if the parent
//! has said that it is going to sleep.
//!
//! From what it reads, the parent keeps a [`Census`] and puts it to its rules: a [`Pool`] of
//! standing children says how many to fork and to retire, the [`Door`] of a post-forking daemon
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
//!     Bell, Census, Jitter, Left, Line, Moment, Pool, PoolRules, Quota, Requests, Scoreboard,
//!     Seat, SlotNumber, Status, Step, lines_for,
//! };
//!
//! struct NoBell;
//! impl Bell for NoBell {
//!     fn ring(&self) {}
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // In a daemon this is shared memory, and the time comes from a clock.
//! let lines: Vec<Line> = (0..lines_for(8)?).map(|_| Line::new()).collect();
//! let now = Moment::from_since_boot(Duration::from_secs(1));
//! let scoreboard = Scoreboard::format(lines.leak(), 8, now)?;
//!
//! // The parent asks its pool, and orders what is missing.
//! let mut pool = Pool::new(PoolRules::from_parts(2, Some(1), Some(2), Some(8))?);
//! let mut census = Census::default();
//! let verdict = pool.decide(&census, now);
//! assert_eq!((verdict.fork, verdict.retire), (2, 0));
//! let mut seats = Vec::new();
//! for slot in (0..verdict.fork).map(SlotNumber::new) {
//!     let generation = scoreboard.order(slot, now)?;
//!     census.opened();
//!     // This is the child's, after the fork.
//!     seats.push(Seat::take(scoreboard.board(), slot, generation, 4711, now, NoBell)?);
//! }
//!
//! // The children report.
//! let mut quota = Quota::deal(Requests::Of(NonZeroU32::MIN), Jitter::NONE, 0);
//! assert_eq!(seats[0].report(Status::Fresh, now)?, Step::Readied);
//! assert_eq!(seats[1].report(Status::Serving, now)?, Step::RequestBegun);
//! seats[1].label(b"GET /");
//! assert_eq!(quota.spend(), Left::Nothing);
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
//! | time | [`Moment`] |
//! | what a child does | [`Status`], [`Standing`], [`Step`], [`Refused`] |
//! | the scoreboard: memory | [`Line`], [`lines_for`], [`slots_for`], [`MAX_SLOTS`], [`LABEL_MAX`] |
//! | read by anyone | [`Board`], [`Entry`], [`Label`], [`Fault`] |
//! | written by the parent | [`Scoreboard`], [`Armed`] |
//! | written by a child | [`Seat`], [`Bell`], [`ReportError`] |
//! | how many children there are | [`Census`] |
//! | how many there shall be | [`Pool`], [`PoolRules`], [`PoolVerdict`], [`Resize`] |
//! | how many where work is given to each | [`Growth`], [`GrowthRules`] |
//! | whose a piece of work is that was sent ahead | [`Claim`], [`Begun`], [`TakenBack`], [`Ended`], [`Condemned`], [`Owner`] |
//! | replacing them all | [`Turnover`], [`Turn`] |
//! | taking requests in a post-forking daemon | [`Door`], [`Traffic`], [`admit`] |
//! | requests of one child | [`Quota`], [`Requests`], [`Jitter`] |
//! | when things go wrong | [`Backoff`], [`Death`], [`Trouble`] |
//! | why a child is gone | [`explain`], [`Exit`], [`Cause`], [`Dismissal`], [`Calling`] |
//! | the daemon's life | [`Phase`], [`Signal`], [`in_parent`], [`in_child`], [`Manner`] |
//!
//! `docs/scoreboard.md` in the repository shows the scoreboard's layout and its table of moves.
//!
//! # Limitations
//!
//! - A scoreboard has a fixed number of slots, at most [`MAX_SLOTS`], and lives as long as its
//!   process: it is built on `&'static [Line]`.
//! - It needs 64-bit atomics. Its layout is that of one machine: a file of it can be read by another
//!   program there, but not on a machine of the other byte order, which is told.
//! - It keeps honest writers apart. A child that scribbles over shared memory is noticed if it hits
//!   a status, and harms what is shown, but makes no reader panic.

mod atomics;
mod backoff;
mod board;
mod census;
mod claim;
mod departure;
mod dirty;
mod door;
mod growth;
mod label;
mod line;
mod moment;
mod phase;
mod pool;
mod quota;
mod rogue;
mod rollover;
mod scoreboard;
mod seat;
#[cfg(test)]
mod sentences;
mod signals;
mod status;

pub use backoff::{Backoff, BackoffRules, Death, Trouble, TroubleKind};
pub use board::{Board, BoardError, Entry, Fault, lines_for, slots_for};
pub use census::Census;
pub use claim::{Begun, Claim, Condemned, Ended, Owner, TakenBack};
pub use departure::{Calling, Cause, Dismissal, Exit, Killing, Offence, Spent, explain};
pub use door::{Admission, Door, Hold, Swing, Traffic, admit};
pub use growth::{Growth, GrowthRules};
pub use label::{LABEL_MAX, Label, Text};
pub use line::{Generation, Line, MAX_SLOTS, SlotNumber};
pub use moment::Moment;
pub use phase::{IllegalPhase, Phase};
pub use pool::{Pool, PoolError, PoolRules, PoolVerdict, Resize};
pub use quota::{Jitter, JitterError, Left, Quota, Requests};
pub use rogue::{
    Babysitter, Confirmed, Errand, Finding, Ladder, LadderError, Limits, Looked, Measure, Presence,
    Sample, Usage, Why,
};
pub use rollover::{Turn, Turnover, away_at_once};
pub use scoreboard::{Armed, Scoreboard};
pub use seat::{Bell, ReportError, Seat};
pub use signals::{ChildIntention, Manner, ParentIntention, Signal, in_child, in_parent};
pub use status::{Refused, Standing, Status, Step};
