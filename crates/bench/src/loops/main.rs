//! `bench-loop NAME [ARGUMENT...]`: runs a server without actix. The servers `bare-fork` and
//! `bare-pool` do only the necessary work. The benchmark compares the daemons and the other servers
//! with these two.
//!
//! This program does not contain the code of the daemons. When a process touches a page of its
//! program's file, the kernel also maps the pages around that page. If this file contained the code
//! of the daemons, pages of that code would be mapped and measured too.

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

use announce::print;
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
        other => Err(format!("no server {other:?}").into()),
    }
}

/// Prints this worker's pid, so that the benchmark knows that the worker runs.
fn report_running() -> Measured<()> {
    print("UP", std::process::id())
}
