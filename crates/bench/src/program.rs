//! What the programs of servers have in common: one server by its name, until it ends.

use std::process::ExitCode;

use crate::announce;

/// What a server answers with: nothing, or in words why it has failed.
pub(crate) type Measured<T> = Result<T, Box<dyn std::error::Error>>;

/// Becomes the server that the arguments name.
#[expect(clippy::print_stderr, reason = "it tells why it has failed")]
pub(crate) fn become_one(program: &str, serve: impl FnOnce(&[&str]) -> Measured<()>) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let server: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match announce::mortal().and_then(|()| serve(&server)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{program}: {error}");
            ExitCode::FAILURE
        }
    }
}
