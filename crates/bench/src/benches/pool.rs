//! Compares a daemon that has a pool of 4 children with `bare`, which is 4 processes without actix
//! that only accept connections and echo a line. Each request has its own connection.

use crate::Measured;
use crate::duel::{Contestant, compare_alternating};
use crate::running::ServerProgram;
use crate::table::{Bar, Row};

const CLIENTS: usize = 16;

pub(crate) fn run(bench: &'static str) -> Measured<Vec<Row>> {
    let mut contestants = [
        Contestant::start_contestant(ServerProgram::Loops, &["bare-pool", "4"], 4)?,
        Contestant::start_contestant(ServerProgram::Pool, &["4"], 5)?,
    ];
    compare_alternating(&mut contestants, CLIENTS)?;
    let [bare, ours] = &contestants;
    Ok(vec![
        Row::new(bench, "pool of 4, throughput", "/s", ours.rate())
            .against("bare", bare.rate())
            .bar(Bar::RatioAtLeast(0.7))
            .failed(ours.failed())
            .note(ours.note()),
        Row::new(bench, "pool of 4, processor time per request", "us", ours.cost())
            .against("bare", bare.cost())
            .bar(Bar::RatioAtMost(1.3))
            .note(format!("bare: {}", bare.note())),
    ])
}
