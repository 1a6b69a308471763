//! All benchmarks by name, in the order in which they run.

mod dispatch;
mod forks;
mod idle;
mod launch;
mod memory;
mod pool;
mod prefork;
mod replacement;
mod report;

use crate::Measured;
use crate::table::{self, Row};

/// A benchmark: its name, a short description, and its function.
struct Bench {
    name: &'static str,
    about: &'static str,
    run: fn(&'static str) -> Measured<Vec<Row>>,
}

/// All benchmarks. Idle ones come before those that leave the machine warm.
const BENCHES: [Bench; 17] = [
    Bench { name: "report", about: "a child's status report", run: report::run },
    Bench {
        name: "memory",
        about: "memory of parent, fork server and 4 idle children",
        run: memory::run,
    },
    Bench {
        name: "idle",
        about: "wake-ups of an idle pool of 100 children in 10 s",
        run: idle::run,
    },
    Bench {
        name: "launch",
        about: "from launch until 4 and 32 children are ready",
        run: launch::run,
    },
    Bench {
        name: "replacement",
        about: "from SIGKILL of one of 4 children until another is ready",
        run: replacement::run,
    },
    Bench { name: "fork", about: "one fork per connection, 16 clients", run: forks::small },
    Bench {
        name: "fork-300mb",
        about: "the same, with 300 MB touched in the parent",
        run: forks::large,
    },
    Bench {
        name: "pool",
        about: "a pool of 4 children, one connection per request, 16 clients",
        run: pool::run,
    },
    Bench {
        name: "prefork",
        about: "4 workers without actors, one connection per request, 16 clients",
        run: prefork::requests,
    },
    Bench {
        name: "prefork-refill",
        about: "from SIGKILL of 4 of 4 workers until 4 others run",
        run: prefork::refill,
    },
    Bench { name: "prefork-start", about: "from start until 32 workers run", run: prefork::start },
    Bench {
        name: "dispatch",
        about: "no-op tasks to 4 workers, and to Python's pools",
        run: dispatch::rate,
    },
    Bench { name: "dispatch-latency", about: "one task at a time", run: dispatch::latency },
    Bench { name: "dispatch-payload", about: "tasks of 64 KiB", run: dispatch::payload },
    Bench {
        name: "dispatch-kill",
        about: "a worker that is killed in a task",
        run: dispatch::kill,
    },
    Bench {
        name: "dispatch-hard",
        about: "a task that exceeds its hard limit",
        run: dispatch::hard,
    },
    Bench { name: "dispatch-queue", about: "10,000 and a million queued", run: dispatch::queue },
];

/// Runs the named benchmarks, or all, and prints their results.
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
        0 => format!("all {bars} bars hold"),
        missed => format!("{missed} of {bars} bars are MISSED"),
    });
    table::say(
        "only the latency of tasks is pinned to processors; run it again if the machine was busy",
    );
    if unmeasured.is_empty() {
        Ok(())
    } else {
        Err(format!("cannot measure: {}", unmeasured.join("; ")).into())
    }
}
