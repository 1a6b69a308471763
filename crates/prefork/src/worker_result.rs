//! Converts the result of a worker's closure into an exit code.

use std::fmt;

use slog::{Logger, error};

/// A return type for the closure of [`start`](crate::Prefork::start): `()`, an exit code, or a
/// `Result`, whose error is logged and becomes exit code 1.
pub trait WorkerResult {
    /// Returns the exit code, and logs the error if there is one.
    fn exit_code(self, log: &Logger) -> i32;
}

impl WorkerResult for () {
    fn exit_code(self, _: &Logger) -> i32 {
        0
    }
}

/// The exit code itself. The system keeps only its lower 8 bits (exit(3)).
impl WorkerResult for i32 {
    fn exit_code(self, _: &Logger) -> i32 {
        self
    }
}

impl<O: WorkerResult, E: fmt::Display> WorkerResult for Result<O, E> {
    fn exit_code(self, log: &Logger) -> i32 {
        match self {
            Ok(outcome) => outcome.exit_code(log),
            Err(error) => {
                error!(log, "worker failed"; "error" => error.to_string());
                1
            }
        }
    }
}

/// For closures that never return.
impl WorkerResult for std::convert::Infallible {
    fn exit_code(self, _: &Logger) -> i32 {
        match self {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_converted_to_exit_codes() {
        let log = Logger::root(slog::Discard, slog::o!());
        assert_eq!(().exit_code(&log), 0);
        assert_eq!(7.exit_code(&log), 7);
        assert_eq!(Ok::<_, String>(3).exit_code(&log), 3);
        assert_eq!(Err::<(), _>("no disk").exit_code(&log), 1);
    }
}
