//! `bench [NAME...]`: measures the daemon and, in the same run, minimal servers that do the same
//! work without actix. Prints the ratio of their results.
//!
//! The program runs all benchmarks, or the named ones, prints a table and writes the same data to
//! `target/bench/results.json`. A result that misses its required value is reported, but does not
//! change the exit code. The exit code is 1 if a benchmark could not be measured, or if the results
//! could not be written. Each measured daemon is a separate program (`bench-fork`, `bench-pool`,
//! ...) in the directory of this program, and `bench-loop` contains the servers without actix. To
//! run any other server, this program starts itself with `--serve`.

mod benches;
mod clients;
mod duel;
mod peers;
mod placement;
mod proc;
mod running;
mod servers;
mod table;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.split_first() {
        Some((first, server)) if first == running::SERVE => servers::serve(server),
        _ => benches::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            table::say(&format!("bench: {error}"));
            ExitCode::FAILURE
        }
    }
}
