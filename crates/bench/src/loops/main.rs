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
#[path = "../program.rs"]
mod program;
#[path = "../touching.rs"]
mod touching;

use std::process::ExitCode;

use announce::tell;
use listening::listen;
use program::Measured;
use touching::touch;

fn main() -> ExitCode {
    program::become_one("bench-loop", run)
}

fn run(server: &[&str]) -> Measured<()> {
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
