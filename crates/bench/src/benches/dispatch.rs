//! Tasks for workers: throughput, latency, and the cost of a crash or a limit.

use crate::figures::{median, range};
use crate::placement::Placement;
use crate::running::{Running, ServerProgram};
use crate::table::{Bar, Row};
use crate::{Measured, peers};

/// Returns all values that a server of this program prints under this key.
fn read_values(server: &[&str], key: &str) -> Measured<Vec<f64>> {
    let mut server = Running::start(ServerProgram::Bench, server)?;
    let mut figures = Vec::new();
    loop {
        let word = server.read_value(key)?;
        if word == "end" {
            return Ok(figures);
        }
        figures.push(word.parse()?);
    }
}

fn one(server: &[&str], key: &str) -> Measured<f64> {
    Ok(Running::start(ServerProgram::Bench, server)?.read_value(key)?.parse()?)
}

/// No-op tasks of 64 bytes, 1000 outstanding, and Python's pools.
pub(crate) fn rate(bench: &'static str) -> Measured<Vec<Row>> {
    let (mut ours, mut pools, mut executors) = (Vec::new(), Vec::new(), Vec::new());
    for _round in 0..3 {
        ours.extend(read_values(&["dispatch-rate", "nop", "64", "200000", "1000"], "RATE")?);
        pools.push(peers::python("pool", 40_000)?);
        executors.push(peers::python("executor", 8_000)?);
    }
    let (least, most) = range(&ours);
    let rate = median(&ours);
    let row = |name: &str| Row::new(bench, name, "/s", rate);
    Ok(vec![
        row("no-op tasks of 64 bytes, 1000 outstanding")
            .bar(Bar::AtLeast(100_000.0))
            .note(format!("{least:.0} to {most:.0}")),
        row("the same").against("multiprocessing.Pool", median(&pools)).bar(Bar::RatioAtLeast(1.5)),
        row("the same")
            .against("ProcessPoolExecutor", median(&executors))
            .bar(Bar::RatioAtLeast(8.0)),
    ])
}

/// One outstanding task, and a bare ping-pong, in the same placement: both sides on one processor
/// or on two makes a factor of five.
pub(crate) fn latency(bench: &'static str) -> Measured<Vec<Row>> {
    let apart = placed(bench, "across two processors", Placement::Apart)?;
    let together = placed(bench, "on one processor", Placement::Together)?;
    Ok(vec![apart, together])
}

fn placed(bench: &'static str, place: &str, placement: Placement) -> Measured<Row> {
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    // Short rounds, alternating.
    for _round in 0..9 {
        ours.push(one(&["dispatch-latency", "5000", placement.word()], "LATENCY")?);
        bare.push(one(&["ping-pong", "64", "10000", placement.word()], "LATENCY")?);
    }
    let (least, most) = range(&ours);
    let (bare_least, bare_most) = range(&bare);
    let note = format!("{least:.1} to {most:.1}, bare {bare_least:.1} to {bare_most:.1}");
    let name = format!("one task of 64 bytes at a time, {place}");
    Ok(Row::new(bench, name, "us", median(&ours))
        .against("socketpair", median(&bare))
        .bar(Bar::RatioAtMost(1.5))
        .note(note))
}

/// Payloads of 64 KiB in both directions, and a bare ping-pong of the same size.
pub(crate) fn payload(bench: &'static str) -> Measured<Vec<Row>> {
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _round in 0..3 {
        ours.extend(read_values(&["dispatch-rate", "echo", "65536", "20000", "16"], "RATE")?);
        bare.push(one(&["ping-pong", "65536", "20000"], "RATE")?);
    }
    Ok(vec![
        Row::new(bench, "64 KiB in both directions, 16 outstanding", "/s", median(&ours))
            .against("socketpair", median(&bare))
            .bar(Bar::RatioAtLeast(0.5)),
    ])
}

/// A worker that is killed during a task.
pub(crate) fn kill(bench: &'static str) -> Measured<Vec<Row>> {
    let notified = read_values(&["dispatch-kill", "40"], "NOTIFIED")?;
    let (least, most) = range(&notified);
    Ok(vec![
        Row::new(
            bench,
            "SIGKILL of a worker until its caller is notified",
            "ms",
            median(&notified),
        )
        .bar(Bar::AtMost(5.0))
        .note(format!("{least:.2} to {most:.2}")),
    ])
}

/// A task that exceeds its hard limit, with one worker.
pub(crate) fn hard(bench: &'static str) -> Measured<Vec<Row>> {
    let next = read_values(&["dispatch-hard", "40"], "NEXT")?;
    let (least, most) = range(&next);
    Ok(vec![
        Row::new(
            bench,
            "a hard limit is exceeded until the next task is done",
            "ms",
            median(&next),
        )
        .bar(Bar::AtMost(50.0))
        .note(format!("{least:.2} to {most:.2}; one worker")),
    ])
}

/// Ten thousand queued requests, and a million.
pub(crate) fn queue(bench: &'static str) -> Measured<Vec<Row>> {
    let measure = |tasks: &str| -> Measured<(f64, f64)> {
        let mut server = Running::start(ServerProgram::Bench, &["dispatch-queue", tasks])?;
        Ok((server.read_value("EACH")?.parse()?, server.read_value("RATE")?.parse()?))
    };
    let (few, few_rate) = measure("10000")?;
    let (many, many_rate) = measure("1000000")?;
    Ok(vec![
        Row::new(bench, "memory of a queued request, of a million", "bytes", many)
            .against("of 10,000", few)
            .bar(Bar::RatioAtMost(1.5)),
        Row::new(bench, "rate at which a queued million is done", "/s", many_rate)
            .against("10,000", few_rate)
            .bar(Bar::RatioAtLeast(0.8)),
    ])
}
