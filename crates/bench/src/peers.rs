//! Other products, with which ours are compared: the process pools of Python's standard library,
//! and `Parallel::Prefork` in Perl, the original of `daemon-prefork`.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use bench_server::Measured;

const PYTHON: &str = r#"
import sys, time, multiprocessing, concurrent.futures

def nop(data):
    return None

def main(kind, tasks):
    data = [b"x" * 64] * tasks
    if kind == "pool":
        with multiprocessing.get_context("fork").Pool(4) as pool:
            for _ in pool.imap_unordered(nop, data[:500]): pass
            begun = time.perf_counter()
            for _ in pool.imap_unordered(nop, data): pass
            print(tasks / (time.perf_counter() - begun))
    else:
        with concurrent.futures.ProcessPoolExecutor(4) as pool:
            for _ in concurrent.futures.as_completed([pool.submit(nop, d) for d in data[:500]]): pass
            begun = time.perf_counter()
            waiting = set()
            for d in data:
                waiting.add(pool.submit(nop, d))
                if len(waiting) >= 1000:
                    _, waiting = concurrent.futures.wait(waiting, return_when="FIRST_COMPLETED")
            concurrent.futures.wait(waiting)
            print(tasks / (time.perf_counter() - begun))

main(sys.argv[1], int(sys.argv[2]))
"#;

/// Returns the tasks per second of `multiprocessing.Pool.imap_unordered` if `kind` is `pool`,
/// otherwise of `ProcessPoolExecutor`.
pub(crate) fn python(kind: &str, tasks: usize) -> Measured<f64> {
    let output =
        Command::new("python3").args(["-c", PYTHON, kind]).arg(tasks.to_string()).output()?;
    let figure = String::from_utf8_lossy(&output.stdout).trim().parse::<f64>();
    figure.map_err(|_no_number| {
        format!("cannot measure with python3: {}", String::from_utf8_lossy(&output.stderr)).into()
    })
}

const PERL: &str = include_str!("parallel_prefork.pl");

/// Returns whether `Parallel::Prefork` is installed (Debian's package libparallel-prefork-perl).
pub(crate) fn parallel_prefork_is_installed() -> bool {
    let mut perl = Command::new("perl");
    perl.args(["-MParallel::Prefork", "-e", "1"]).stdin(Stdio::null()).stderr(Stdio::null());
    perl.status().is_ok_and(|status| status.success())
}

/// Replaces this process with Perl, which runs the accept loop of the server `prefork-pool`.
/// Returns only if Perl cannot be executed.
pub(crate) fn parallel_prefork(workers: &str) -> Measured<()> {
    Err(Command::new("perl").args(["-e", PERL, workers]).exec().into())
}
