//! `bench-daemon NAME [ARGUMENT...]`: the daemons that are measured. A program of their own, as a user's
//! is: what else lay in its file would be mapped with it, and be counted as theirs.

#[path = "../announce.rs"]
mod announce;
mod echo;
mod launch;
#[path = "../listening.rs"]
mod listening;
#[path = "../program.rs"]
mod program;
mod serve;

use std::process::ExitCode;

use program::Measured;

fn main() -> ExitCode {
    program::become_one("bench-daemon", run)
}

fn run(daemon: &[&str]) -> Measured<()> {
    match daemon {
        ["actix-fork"] => serve::fork_for_each(),
        ["actix-fork", megabytes] => serve::fork_from_a_large_parent(megabytes.parse()?),
        ["actix-pool", children] => serve::pool(children.parse()?, None),
        ["actix-pool", children, board] => serve::pool(children.parse()?, Some(board)),
        ["launch", children] => launch::until_up(children.parse()?),
        other => Err(format!("there is no daemon {other:?}").into()),
    }
}
