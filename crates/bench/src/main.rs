//! `bench [NAME...]`: measures the daemon against bare loops, both in one run, and tells the ratios.
//!
//! It runs all benches, or those named, prints a table and writes the same to
//! `target/bench/results.json`. A bar that is missed is said so, and is no failure of the run: the
//! exit code is 1 only if something could not be measured. The servers it measures lie
//! beside it: each daemon is a program, the loops without actix are `bench-loop`; the others are this
//! same program, started with `--serve`.

mod announce;
mod benches;
mod clients;
mod duel;
mod figures;
mod peers;
mod placement;
mod proc;
mod running;
mod servers;
mod table;

use std::process::ExitCode;

/// What a measurement answers with: its value, or in words why there is none.
type Measured<T> = Result<T, Box<dyn std::error::Error>>;

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
