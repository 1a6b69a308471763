//! `bench-loop NAME [ARGUMENT...]`: the servers without actix that are measured, and the bare loops that are
//! their limits. A program of their own for the same reason as the daemons: what a process touches of its
//! program's file is mapped with what lies around it.

#[path = "../announce.rs"]
mod announce;
mod bare;
mod echo;
#[path = "../listening.rs"]
mod listening;
mod plain;
mod prefork;

use std::process::ExitCode;

use announce::{mortal, tell};
use listening::{listen, touch};

/// What a server answers with: nothing, or in words why it has failed.
type Measured<T> = Result<T, Box<dyn std::error::Error>>;

#[expect(clippy::print_stderr, reason = "it tells why it has failed")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-loop: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(server: &[&str]) -> Measured<()> {
    mortal()?;
    match server {
        ["bare-fork", megabytes] => bare::fork_for_each(megabytes.parse()?),
        ["plain-fork", megabytes] => plain::fork_for_each(megabytes.parse()?),
        ["bare-pool", children] => bare::pool(children.parse()?),
        ["prefork-pool", workers] => prefork::pool(workers.parse()?),
        ["prefork-polite", workers] => prefork::polite_pool(workers.parse()?),
        other => Err(format!("there is no server {other:?}").into()),
    }
}

/// Tells who measures that a worker is at work.
fn tell_up() -> Measured<()> {
    tell("UP", std::process::id())
}
