//! The rules of a forking daemon, as pure functions and state machines.
//!
//! (front page to come)

mod atomics;
mod backoff;
mod board;
mod census;
mod departure;
mod dirty;
mod door;
mod label;
mod line;
mod moment;
mod phase;
mod pool;
mod quota;
mod rollover;
mod scoreboard;
mod seat;
mod signals;
mod status;

pub use backoff::{Backoff, BackoffRules, Death, Trouble, TroubleKind};
pub use board::{Board, BoardError, Entry, Fault, lines_for};
pub use census::Census;
pub use departure::{Calling, Cause, Dismissal, Exit, explain};
pub use door::{Admission, Door, Hold, Swing, Traffic, admit};
pub use label::{LABEL_MAX, Label, Text};
pub use line::{Generation, Line, MAX_SLOTS, SlotNumber};
pub use moment::Moment;
pub use phase::{IllegalPhase, Phase};
pub use pool::{Pool, PoolError, PoolRules, PoolVerdict, Resize};
pub use quota::{Jitter, JitterError, Left, Quota, Requests};
pub use rollover::{Turn, Turnover, away_at_once};
pub use scoreboard::{Armed, Scoreboard};
pub use seat::{Bell, ReportError, Seat};
pub use signals::{ChildIntention, Manner, ParentIntention, Signal, in_child, in_parent};
pub use status::{Refused, Status, Step};
