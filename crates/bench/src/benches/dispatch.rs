//! Benchmarks of the dispatcher: throughput, latency, and the time that a crash or an exceeded
//! limit costs.

use bench_server::Measured;

use crate::peers;
use crate::placement::Placement;
use crate::running::{Running, ServerProgram};
use crate::table::{Bar, Row, median, span};

/// Starts a server that this program contains. Returns the values that the server prints with this
/// key, up to the value `end`.
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

/// Measures the throughput of no-op tasks of 64 bytes with 1000 outstanding tasks, and compares it
/// with the process pools of Python's standard library.
pub(crate) fn rate(bench: &'static str) -> Measured<Vec<Row>> {
    let (mut ours, mut pools, mut executors) = (Vec::new(), Vec::new(), Vec::new());
    for _round in 0..3 {
        ours.extend(read_values(&["dispatch-rate", "nop", "64", "200000", "1000"], "RATE")?);
        pools.push(peers::python("pool", 40_000)?);
        executors.push(peers::python("executor", 8_000)?);
    }
    let name = "no-op tasks of 64 bytes, 1000 outstanding";
    let row = || Row::new(bench, name, "/s", median(&ours));
    Ok(vec![
        Row::median(bench, name, "/s", &ours).bar(Bar::AtLeast(100_000.0)),
        row().against("multiprocessing.Pool", median(&pools)).bar(Bar::RatioAtLeast(1.5)),
        row().against("ProcessPoolExecutor", median(&executors)).bar(Bar::RatioAtLeast(8.0)),
    ])
}

/// Measures the latency of one task at a time, and compares it with a ping-pong between two
/// processes over a socketpair. Both are measured on one processor and on two processors, because
/// their latencies differ by up to a factor of five.
pub(crate) fn latency(bench: &'static str) -> Measured<Vec<Row>> {
    let apart = placed(bench, "across two processors", Placement::Apart)?;
    let together = placed(bench, "on one processor", Placement::Together)?;
    Ok(vec![apart, together])
}

fn placed(bench: &'static str, place: &str, placement: Placement) -> Measured<Row> {
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    // Alternate short rounds of both measurements, so that other load affects both figures.
    for _round in 0..9 {
        ours.push(one(&["dispatch-latency", "5000", placement.word()], "LATENCY")?);
        bare.push(one(&["ping-pong", "64", "10000", placement.word()], "LATENCY")?);
    }
    let name = format!("one task of 64 bytes at a time, {place}");
    Ok(Row::median(bench, name, "us", &ours)
        .against("socketpair", median(&bare))
        .bar(Bar::RatioAtMost(1.5))
        .note(format!("socketpair {}", span(&bare))))
}

/// Measures the throughput of tasks with payloads of 64 KiB in both directions, and compares it
/// with a ping-pong of the same size over a socketpair.
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

/// Measures the throughput of requests that are all sent at once, and compares it with that of 1000
/// outstanding requests.
pub(crate) fn many(bench: &'static str) -> Measured<Vec<Row>> {
    let (mut at_once, mut few) = (Vec::new(), Vec::new());
    for _round in 0..3 {
        at_once.extend(read_values(&["dispatch-many", "100000"], "RATE")?);
        few.extend(read_values(&["dispatch-rate", "nop", "64", "100000", "1000"], "RATE")?);
    }
    Ok(vec![
        Row::median(bench, "no-op tasks of 64 bytes, 100,000 sent at once", "/s", &at_once)
            .against("1000 outstanding", median(&few))
            .bar(Bar::RatioAtLeast(0.8)),
    ])
}

/// Measures the time from SIGKILL of a worker until the task's caller is notified.
pub(crate) fn kill(bench: &'static str) -> Measured<Vec<Row>> {
    let notified = read_values(&["dispatch-kill", "40"], "NOTIFIED")?;
    let name = "time from SIGKILL of a worker until the task's caller is notified";
    Ok(vec![Row::median(bench, name, "ms", &notified).bar(Bar::AtMost(5.0))])
}

/// Measures the time from when a task exceeds its hard time limit until the next task is done. The
/// dispatcher has one worker, which is killed and replaced.
pub(crate) fn hard(bench: &'static str) -> Measured<Vec<Row>> {
    let next = read_values(&["dispatch-hard", "40"], "NEXT")?;
    let name = "time from exceeding the hard limit until the next task is done";
    Ok(vec![Row::median(bench, name, "ms", &next).bar(Bar::AtMost(50.0)).note("one worker")])
}

/// Measures the memory per queued request, and the throughput, with 10,000 and with 1,000,000
/// queued requests.
pub(crate) fn queue(bench: &'static str) -> Measured<Vec<Row>> {
    let measure = |tasks: &str| -> Measured<(f64, f64)> {
        let mut server = Running::start(ServerProgram::Bench, &["dispatch-queue", tasks])?;
        Ok((server.read_value("EACH")?.parse()?, server.read_value("RATE")?.parse()?))
    };
    let (few, few_rate) = measure("10000")?;
    let (many, many_rate) = measure("1000000")?;
    Ok(vec![
        Row::new(bench, "memory per queued request, 1,000,000 queued", "bytes", many)
            .against("10,000 queued", few)
            .bar(Bar::RatioAtMost(1.5)),
        Row::new(bench, "throughput with 1,000,000 requests queued", "/s", many_rate)
            .against("10,000 queued", few_rate)
            .bar(Bar::RatioAtLeast(0.8)),
    ])
}
