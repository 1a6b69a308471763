//! `bench-loop NAME [ARGUMENT...]`: runs a server without actix. The servers `bare-fork` and
//! `bare-pool` do only the necessary work. The benchmark compares the daemons and the other servers
//! with these two.
//!
//! This program does not contain the code of the daemons. When a process touches a page of its
//! program's file, the kernel also maps the pages around that page. If this file contained the code
//! of the daemons, pages of that code would be mapped and measured too.

mod bare;
mod plain;
mod prefork;

use std::process::ExitCode;

use bench_server::{Measured, print, run_server};

fn main() -> ExitCode {
    run_server("bench-loop", run)
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
