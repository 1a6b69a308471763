//! What is told of the ledger to who asks.

/// What has become of a wish to cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelOutcome {
    /// It had not begun, and will not.
    Dequeued,
    /// It ran: its worker is being killed.
    Terminated,
    /// It runs, and goes on.
    StillRunning,
    /// It is answered already, or was never there; or it is still on its way, and is answered as
    /// cancelled when it comes.
    Unknown,
}

/// How many requests there were, and what has become of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Taken: into the queue, to be run in place, or by the fallback.
    pub admitted: u64,
    /// Answered by a method, or by the fallback: with a value, an error, a panic.
    pub answered: u64,
    /// Answered otherwise: lost, put aside, timed out, cancelled, rejected when they waited.
    pub failed: u64,
    /// Tried again because a worker died.
    pub retried: u64,
    /// Sent ahead to a worker, and taken back before it began them.
    pub reclaimed: u64,
    /// Answers that came when nobody waited for them any more.
    pub late: u64,
    /// How many wait now.
    pub queued: usize,
    /// How many are with workers now.
    pub in_flight: usize,
}
