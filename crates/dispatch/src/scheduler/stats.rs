//! Public results and statistics of the scheduler.

/// The result of a [`Cancel`](crate::Cancel) message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelOutcome {
    /// The request had not started, and will not start.
    Dequeued,
    /// The request was running. Its worker is being killed.
    Terminated,
    /// The request is running and continues to run.
    StillRunning,
    /// The request has been answered already, does not exist, or has not arrived yet. A request
    /// that has not arrived yet is answered as cancelled when it arrives. Requests that are not run
    /// by workers at all (those of the fallback, or run in the parent process) are also unknown.
    Unknown,
}

/// Counts of the requests since the start of the dispatcher, and of the current requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Requests that were accepted: queued, run in the parent process, or passed to the
    /// [fallback](crate::DispatcherBuilder::fallback).
    pub admitted: u64,
    /// Requests that a method or the fallback answered with a value, an error or a panic.
    pub answered: u64,
    /// Requests that failed without such an answer: lost, dead-lettered, stopped at the hard limit,
    /// cancelled, or rejected while they were queued.
    pub failed: u64,
    /// Retries because a worker died.
    pub retried: u64,
    /// Tasks that were sent to a worker and revoked before it started them.
    pub reclaimed: u64,
    /// Answers of workers that arrived after their request had already failed, for example because
    /// it was cancelled or reached its hard limit.
    pub late: u64,
    /// The number of requests in the queue at present.
    pub queued: usize,
    /// The number of requests at workers at present.
    pub in_flight: usize,
    /// Bytes that workers printed and that were dropped, because they exceeded the
    /// [limit](crate::DispatcherBuilder::output_limit) or because the talkback recipient was too
    /// slow. Ends of lines between dropped lines are included.
    pub dropped_output_bytes: u64,
    /// Lines that workers printed and that were dropped for these reasons.
    pub dropped_output_lines: u64,
    /// Events of the dispatcher that were not sent to the talkback recipient, because it was too
    /// slow.
    pub dropped_events: u64,
}
