//! Measures several servers in alternating rounds, so that a disturbance by other programs affects
//! all of them.

use std::net::SocketAddr;
use std::time::Duration;

use bench_server::Measured;

use crate::clients::{self, Round};
use crate::proc;
use crate::running::{Running, ServerProgram};
use crate::table::{Row, median, span};

/// The number of counted rounds of each server. The rounds are shorter than most disturbances by
/// other programs, so that a disturbance affects all servers.
const ROUNDS: usize = 15;
/// The length of a round.
const ROUND: Duration = Duration::from_millis(500);
/// The length of the warm-up round, which fills caches and queues and is not counted.
const WARM_UP: Duration = Duration::from_millis(300);

/// A measured server, with its results.
#[derive(Debug)]
pub(crate) struct Contestant {
    server: Running,
    address: SocketAddr,
    rates: Vec<f64>,
    costs: Vec<f64>,
    failed: u64,
}

impl Contestant {
    /// Starts a server, and waits until it has `descendants` descendant processes.
    pub(crate) fn start(
        program: ServerProgram,
        server: &[&str],
        descendants: usize,
    ) -> Measured<Contestant> {
        let mut server = Running::start(program, server)?;
        let address = server.up(descendants)?;
        Ok(Contestant { server, address, rates: Vec::new(), costs: Vec::new(), failed: 0 })
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

    /// Returns a row with the median of the answers per second, compared with those of `bare`.
    pub(crate) fn row(&self, bench: &'static str, name: &str, bare: &Contestant) -> Row {
        Row::new(bench, name, "/s", self.rate())
            .against("bare", bare.rate())
            .failed(self.failed)
            .note(self.note())
    }

    /// Returns the median of the answers per second.
    pub(crate) fn rate(&self) -> f64 {
        median(&self.rates)
    }

    /// Returns the median of the processor time per answer, in microseconds.
    pub(crate) fn cost(&self) -> f64 {
        median(&self.costs)
    }

    /// Returns, as one line of text, the range of the answers per second, the processor time per
    /// answer, and the number of failures if there were any.
    pub(crate) fn note(&self) -> String {
        let failed = match self.failed {
            0 => String::new(),
            failed => format!(", {failed} FAILED"),
        };
        let (range, cost) = (span(&self.rates), self.cost());
        format!("{range}, {cost:.0} us of processor time per answer{failed}")
    }
}

/// Runs one uncounted warm-up round for each server, then [`ROUNDS`] counted rounds in which the
/// servers alternate.
pub(crate) fn compare_alternating(contestants: &mut [Contestant], clients: usize) -> Measured<()> {
    for contestant in contestants.iter() {
        clients::round(contestant.address, clients, WARM_UP)?;
    }
    for _round in 0..ROUNDS {
        for contestant in contestants.iter_mut() {
            contestant.round(clients)?;
        }
    }
    Ok(())
}
