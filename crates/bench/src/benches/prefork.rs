//! Measures accept loops in workers that `daemon-prefork` manages: their throughput, and how long
//! it takes to replace killed workers and to start all workers. Compares the results with those of
//! the same loop under the original, `Parallel::Prefork` in Perl, and with those of processes that
//! only accept and echo (`bare`).

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use bench_server::Measured;
use daemon_sys::process::Signal;

use crate::duel::{Contestant, compare_alternating};
use crate::peers;
use crate::running::{Running, ServerProgram, send};
use crate::table::{self, Bar, Row, median};

const CLIENTS: usize = 16;
const WORKERS: usize = 4;
const KILLS: usize = 7;
/// The age at which a worker is killed. `daemon-prefork` immediately replaces a worker that has
/// lived for a second. The original waits about a second before it replaces each killed worker.
const LIFE: Duration = Duration::from_millis(1100);
const MANY: usize = 32;
const STARTS: usize = 15;

const BARE: &str = "bare-pool";
const OURS: &str = "prefork-pool";
const POLITE: &str = "prefork-polite";
const ORIGINAL: &str = "parallel-prefork";

/// Returns the program that contains a server. For `Parallel::Prefork`, this is the
/// benchmark program itself, which then executes perl(1).
fn program(server: &str) -> ServerProgram {
    if server == ORIGINAL { ServerProgram::Bench } else { ServerProgram::Loops }
}

/// Measures the requests per second, with one connection per request.
pub(crate) fn requests(bench: &'static str) -> Measured<Vec<Row>> {
    let start =
        |server| Contestant::start(program(server), &[server, &WORKERS.to_string()], WORKERS);
    let mut contestants = vec![start(BARE)?, start(OURS)?, start(POLITE)?];
    if original_is_there() {
        contestants.push(start(ORIGINAL)?);
    }
    compare_alternating(&mut contestants, CLIENTS)?;
    let [bare, ours, polite, original @ ..] = contestants.as_slice() else {
        return Err("expected at least three servers".into());
    };
    let mut rows = vec![
        ours.row(bench, "prefork, an accept loop", bare).bar(Bar::RatioAtLeast(0.95)),
        polite.row(bench, "prefork, a loop that handles stop signals", bare),
    ];
    rows.extend(original.iter().map(|original| {
        Row::new(bench, "prefork, an accept loop", "/s", ours.rate())
            .against("Parallel::Prefork", original.rate())
            .note(original.note())
    }));
    Ok(rows)
}

/// Measures the time from SIGKILL of all workers until the same number of new workers run.
pub(crate) fn refill(bench: &'static str) -> Measured<Vec<Row>> {
    compare(bench, "prefork, time until 4 killed workers are replaced", 10.0, None, |server| {
        let mut server = Running::start(program(server), &[server, &WORKERS.to_string()])?;
        let mut times = Vec::new();
        let mut workers = up(&mut server, WORKERS)?;
        for _kill in 0..KILLS {
            sleep(LIFE);
            let killed = Instant::now();
            for worker in &workers {
                send(*worker, Signal::Kill)?;
            }
            workers = up(&mut server, WORKERS)?;
            times.push(killed.elapsed().as_secs_f64() * 1e3);
            server.family()?;
        }
        Ok(times)
    })
}

/// Measures the time until all workers run. The measurement begins when the server has printed its
/// port, which it does just before it starts the workers.
pub(crate) fn start(bench: &'static str) -> Measured<Vec<Row>> {
    compare(bench, "prefork, time until 32 workers run", 50.0, Some(BARE), |server| {
        let mut times = Vec::new();
        for _start in 0..STARTS {
            let mut server = Running::start(program(server), &[server, &MANY.to_string()])?;
            server.read_value("PORT")?;
            let begun = Instant::now();
            up(&mut server, MANY)?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
            server.family()?;
        }
        Ok(times)
    })
}

/// Measures times in milliseconds for `daemon-prefork`, for the server `bare` if one is given, and
/// for `Parallel::Prefork` if it is installed.
fn compare(
    bench: &'static str,
    name: &str,
    bar: f64,
    bare: Option<&'static str>,
    measure: impl Fn(&str) -> Measured<Vec<f64>>,
) -> Measured<Vec<Row>> {
    let times = measure(OURS)?;
    let row = || Row::new(bench, name, "ms", median(&times));
    let mut rows = vec![Row::median(bench, name, "ms", &times).bar(Bar::AtMost(bar))];
    if let Some(bare) = bare {
        rows.push(row().against("bare", median(&measure(bare)?)));
    }
    if original_is_there() {
        rows.push(row().against("Parallel::Prefork", median(&measure(ORIGINAL)?)));
    }
    Ok(rows)
}

/// Waits until this many more workers have reported that they run. Returns their pids.
fn up(server: &mut Running, workers: usize) -> Measured<BTreeSet<u32>> {
    (0..workers).map(|_worker| Ok(server.read_value("UP")?.parse()?)).collect()
}

fn original_is_there() -> bool {
    let there = peers::parallel_prefork_is_installed();
    if !there {
        table::say("  Parallel::Prefork is not installed (libparallel-prefork-perl)");
    }
    there
}
