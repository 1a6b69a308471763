//! A pool of 4 children, a connection for each request: the bare accept loop and the daemon.

use crate::Measured;
use crate::duel::{Fighter, fight};
use crate::running::Home;
use crate::table::{Bar, Row};

const CLIENTS: usize = 16;

pub(crate) fn run(bench: &'static str) -> Measured<Vec<Row>> {
    let mut fighters = [
        Fighter::enter(Home::Loops, &["bare-pool", "4"], 4)?,
        Fighter::enter(Home::Pool, &["4"], 5)?,
    ];
    fight(&mut fighters, CLIENTS)?;
    let [bare, ours] = &fighters;
    Ok(vec![
        Row::new(bench, "pool of 4", "/s", ours.rate())
            .against("bare", bare.rate())
            .bar(Bar::RatioAtLeast(0.7))
            .failed(ours.failed())
            .note(ours.note()),
        Row::new(bench, "pool of 4, processor a request", "us", ours.cost())
            .against("bare", bare.cost())
            .bar(Bar::RatioAtMost(1.3))
            .note(format!("bare: {}", bare.note())),
    ])
}
