//! A fork for each connection: a bare loop, the fork server alone, and the daemon, in turns.

use crate::Measured;
use crate::duel::{Fighter, fight};
use crate::running::Home;
use crate::table::{Bar, Row};

const CLIENTS: usize = 16;

/// What bare loop and fork server do with little memory.
pub(crate) fn small(bench: &'static str) -> Measured<Vec<Row>> {
    let mut fighters = [
        Fighter::enter(Home::Loops, &["bare-fork", "0"], 0)?,
        Fighter::enter(Home::Loops, &["plain-fork", "0"], 1)?,
        Fighter::enter(Home::Fork, &[], 1)?,
    ];
    fight(&mut fighters, CLIENTS)?;
    let [bare, plain, actix] = &fighters;
    Ok(vec![
        Row::new(bench, "fork each, child a function", "/s", plain.rate())
            .against("bare", bare.rate())
            .bar(Bar::RatioAtLeast(0.75))
            .failed(plain.failed())
            .note(plain.note()),
        Row::new(bench, "fork each, child with a System", "/s", actix.rate())
            .against("bare", bare.rate())
            .bar(Bar::RatioAtLeast(0.5))
            .failed(actix.failed())
            .note(actix.note()),
        Row::new(bench, "fork each, processor a connection, function", "us", plain.cost())
            .against("bare", bare.cost()),
        Row::new(bench, "fork each, processor a connection, System", "us", actix.cost())
            .against("bare", bare.cost())
            .note(format!("bare: {}", bare.note())),
    ])
}

/// The same with a large parent.
pub(crate) fn large(bench: &'static str) -> Measured<Vec<Row>> {
    let mut fighters = [
        Fighter::enter(Home::Loops, &["bare-fork", "300"], 0)?,
        Fighter::enter(Home::Loops, &["plain-fork", "300"], 1)?,
        Fighter::enter(Home::Large, &["300"], 1)?,
    ];
    fight(&mut fighters, CLIENTS)?;
    let [bare, plain, actix] = &fighters;
    Ok(vec![
        Row::new(bench, "fork each, 300 MB, child a function", "/s", plain.rate())
            .against("bare", bare.rate())
            .bar(Bar::RatioAtLeast(20.0))
            .failed(plain.failed())
            .note(plain.note()),
        Row::new(bench, "fork each, 300 MB, child with a System", "/s", actix.rate())
            .against("bare", bare.rate())
            .failed(actix.failed())
            .note(actix.note()),
    ])
}
