//! Two servers measured in turns, so that what disturbs the machine disturbs both.

use std::net::SocketAddr;
use std::time::Duration;

use crate::clients::{self, Round};
use crate::figures::{median, range};
use crate::running::{Home, Running};
use crate::{Measured, proc};

/// How many rounds each server has: many short ones, since a disturbance is longer than one of them.
const ROUNDS: usize = 15;
/// How long a round is.
const ROUND: Duration = Duration::from_millis(500);
/// A round that is not counted, for caches and queues to fill.
const WARM_UP: Duration = Duration::from_millis(300);

/// A server that takes part.
#[derive(Debug)]
pub(crate) struct Fighter {
    server: Running,
    address: SocketAddr,
    rates: Vec<f64>,
    costs: Vec<f64>,
    failed: u64,
}

impl Fighter {
    /// Starts a server that so many processes descend from while nothing happens.
    pub(crate) fn enter(home: Home, server: &[&str], descendants: usize) -> Measured<Fighter> {
        let mut server = Running::start(home, server)?;
        let address = server.up(descendants)?;
        Ok(Fighter { server, address, rates: Vec::new(), costs: Vec::new(), failed: 0 })
    }

    fn round(&mut self, clients: usize) -> Measured<()> {
        let before = proc::processor_time(self.server.pid())?;
        let round: Round = clients::round(self.address, clients, ROUND)?;
        let spent = proc::processor_time(self.server.pid())?.saturating_sub(before);
        self.rates.push(round.rate());
        self.costs.push(spent.as_secs_f64() * 1e6 / round.answered as f64);
        self.failed += round.failed;
        Ok(())
    }

    /// Answers a second: the median of its rounds.
    pub(crate) fn rate(&self) -> f64 {
        median(&self.rates)
    }

    /// Microseconds of processor time an answer: the median of its rounds.
    pub(crate) fn cost(&self) -> f64 {
        median(&self.costs)
    }

    /// How many requests were not answered, or wrongly.
    pub(crate) fn failed(&self) -> u64 {
        self.failed
    }

    /// How its rounds differ, and what failed.
    pub(crate) fn note(&self) -> String {
        let (least, most) = range(&self.rates);
        let failed = match self.failed {
            0 => String::new(),
            failed => format!(", {failed} FAILED"),
        };
        format!("{least:.0} to {most:.0}, {:.0} us of processor each{failed}", self.cost())
    }
}

/// Gives each of them its rounds, in turns.
pub(crate) fn fight(fighters: &mut [Fighter], clients: usize) -> Measured<()> {
    for fighter in fighters.iter() {
        clients::round(fighter.address, clients, WARM_UP)?;
    }
    for _round in 0..ROUNDS {
        for fighter in fighters.iter_mut() {
            fighter.round(clients)?;
        }
    }
    Ok(())
}
