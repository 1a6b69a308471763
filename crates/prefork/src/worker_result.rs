//! What a worker's work returns, as an exit code.

use std::fmt;

use slog::{Logger, error};

/// What the closure of [`start`](crate::Prefork::start) may return: nothing, an exit code, or a
/// result, whose error is logged and exits with 1.
pub trait WorkerResult {
    /// Tells the exit code, and logs why if it is a failure.
    fn exit_code(self, log: &Logger) -> i32;
}

impl WorkerResult for () {
    fn exit_code(self, _: &Logger) -> i32 {
        0
    }
}

/// The code itself, of which the system keeps the lower 8 bits (exit(3)).
impl WorkerResult for i32 {
    fn exit_code(self, _: &Logger) -> i32 {
        self
    }
}

impl<O: WorkerResult, E: fmt::Display> WorkerResult for Result<O, E> {
    fn exit_code(self, log: &Logger) -> i32 {
        match self {
            Ok(outcome) => outcome.exit_code(log),
            Err(reason) => {
                error!(log, "worker failed: {reason}");
                1
            }
        }
    }
}

/// For work that never returns.
impl WorkerResult for std::convert::Infallible {
    fn exit_code(self, _: &Logger) -> i32 {
        match self {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_failure_exits_with_another_code_than_it_says() {
        let log = Logger::root(slog::Discard, slog::o!());
        assert_eq!(().exit_code(&log), 0);
        assert_eq!(7.exit_code(&log), 7);
        assert_eq!(Ok::<_, String>(3).exit_code(&log), 3);
        assert_eq!(Err::<(), _>("no disk").exit_code(&log), 1);
    }
}
