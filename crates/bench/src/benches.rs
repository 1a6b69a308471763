//! All benchmarks by name, in the order in which they run.

mod daemon;
mod dispatch;
mod prefork;
pub(crate) mod report;

use bench_server::Measured;

use crate::table::{self, Row};

/// A benchmark: its name, a short description, and its function.
struct Bench {
    name: &'static str,
    about: &'static str,
    run: fn(&'static str) -> Measured<Vec<Row>>,
}

/// All benchmarks. Those that measure idle processes run before those that keep the processors
/// busy.
const BENCHES: [Bench; 18] = [
    Bench { name: "report", about: "a child's status report", run: report::run },
    Bench {
        name: "memory",
        about: "memory of parent, fork server and 4 idle children",
        run: daemon::memory,
    },
    Bench {
        name: "idle",
        about: "wake-ups of an idle pool of 100 children in 10 s",
        run: daemon::idle,
    },
    Bench {
        name: "launch",
        about: "time from launch until 4 children, and until 32 children, are ready",
        run: daemon::launch,
    },
    Bench {
        name: "replacement",
        about: "time from SIGKILL of one of 4 children until its replacement is ready",
        run: daemon::replacement,
    },
    Bench { name: "fork", about: "one fork per connection, 16 clients", run: daemon::fork },
    Bench {
        name: "fork-300mb",
        about: "one fork per connection, 16 clients, 300 MB touched in the parent",
        run: daemon::fork_large,
    },
    Bench {
        name: "pool",
        about: "a pool of 4 children, one connection per request, 16 clients",
        run: daemon::pool,
    },
    Bench {
        name: "prefork",
        about: "4 workers without actors, one connection per request, 16 clients",
        run: prefork::requests,
    },
    Bench {
        name: "prefork-refill",
        about: "time from SIGKILL of all 4 workers until 4 others run",
        run: prefork::refill,
    },
    Bench {
        name: "prefork-start",
        about: "time from start until 32 workers run",
        run: prefork::start,
    },
    Bench {
        name: "dispatch",
        about: "throughput of no-op tasks on 4 workers, and on Python's pools",
        run: dispatch::rate,
    },
    Bench {
        name: "dispatch-many",
        about: "throughput of 100,000 requests that are sent at once",
        run: dispatch::many,
    },
    Bench {
        name: "dispatch-latency",
        about: "latency of one task at a time",
        run: dispatch::latency,
    },
    Bench {
        name: "dispatch-payload",
        about: "throughput of tasks with 64 KiB in both directions",
        run: dispatch::payload,
    },
    Bench {
        name: "dispatch-kill",
        about: "time from SIGKILL of a worker until the task's caller is notified",
        run: dispatch::kill,
    },
    Bench {
        name: "dispatch-hard",
        about: "time from exceeding the hard limit until the next task is done",
        run: dispatch::hard,
    },
    Bench {
        name: "dispatch-queue",
        about: "memory and throughput with 10,000 and with 1,000,000 requests queued",
        run: dispatch::queue,
    },
];

/// Runs the named benchmarks, or all if no name is given. Prints the results and writes them to a
/// file.
pub(crate) fn run(names: &[String]) -> Measured<()> {
    if let Some(unknown) =
        names.iter().find(|name| BENCHES.iter().all(|bench| bench.name != **name))
    {
        let known = BENCHES.map(|bench| bench.name).join(", ");
        return Err(format!("no benchmark {unknown}; available: {known}").into());
    }
    let (mut rows, mut unmeasured) = (Vec::new(), Vec::new());
    for bench in &BENCHES {
        if !names.is_empty() && !names.iter().any(|name| name == bench.name) {
            continue;
        }
        table::say(&format!("{}: {} ...", bench.name, bench.about));
        match (bench.run)(bench.name) {
            Ok(found) => {
                table::preview(&found);
                rows.extend(found);
            }
            Err(error) => {
                table::say(&format!("  NOT MEASURED: {error}"));
                unmeasured.push(format!("{}: {error}", bench.name));
            }
        }
    }
    table::print(&rows);
    let path = table::write(&rows)?;
    table::say(&format!("written to {}", path.display()));
    let missed = rows.iter().filter(|row| row.holds == Some(false)).count();
    let bars = rows.iter().filter(|row| row.holds.is_some()).count();
    table::say(&match missed {
        0 => format!("all {bars} required values are met"),
        missed => format!("{missed} of {bars} required values are MISSED"),
    });
    table::say(
        "only dispatch-latency pins processes to processors; if other programs ran during a \
         benchmark, measure again",
    );
    if unmeasured.is_empty() {
        Ok(())
    } else {
        Err(format!("cannot measure: {}", unmeasured.join("; ")).into())
    }
}
