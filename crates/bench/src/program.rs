//! The common part of the `main` functions of the server programs.

use std::process::ExitCode;

use crate::announce;

/// The result of a server, or the reason for its failure.
pub(crate) type Measured<T> = Result<T, Box<dyn std::error::Error>>;

/// Runs `serve` with the arguments of this program, and prints an error to standard error. When the
/// benchmark ends, the kernel sends TERM to this process.
#[expect(clippy::print_stderr, reason = "a server prints why it failed")]
pub(crate) fn become_one(program: &str, serve: impl FnOnce(&[&str]) -> Measured<()>) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let server: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match announce::die_with_benchmark().and_then(|()| serve(&server)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{program}: {error}");
            ExitCode::FAILURE
        }
    }
}
