//! `bench-daemon NAME [ARGUMENT...]`: the daemons that are measured. A program of their own, as a user's
//! is: what else lay in its file would be mapped with it, and be counted as theirs.

#[path = "../announce.rs"]
mod announce;
mod echo;
mod launch;
#[path = "../listening.rs"]
mod listening;
mod serve;

use std::process::ExitCode;

/// What a daemon answers with: nothing, or in words why it has failed.
type Measured<T> = Result<T, Box<dyn std::error::Error>>;

#[expect(clippy::print_stderr, reason = "it tells why it has failed")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-daemon: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(daemon: &[&str]) -> Measured<()> {
    announce::mortal()?;
    match daemon {
        ["actix-fork"] => serve::fork_for_each(),
        ["actix-fork", megabytes] => serve::fork_from_a_large_parent(megabytes.parse()?),
        ["actix-pool", children] => serve::pool(children.parse()?, None),
        ["actix-pool", children, board] => serve::pool(children.parse()?, Some(board)),
        ["launch", children] => launch::until_up(children.parse()?),
        other => Err(format!("there is no daemon {other:?}").into()),
    }
}
