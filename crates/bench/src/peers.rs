//! Runs a Python script that measures the process pools of Python's standard library, for
//! comparison with the dispatcher.

use std::process::Command;

use crate::Measured;

const SCRIPT: &str = r#"
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
        Command::new("python3").args(["-c", SCRIPT, kind]).arg(tasks.to_string()).output()?;
    let figure = String::from_utf8_lossy(&output.stdout).trim().parse::<f64>();
    figure.map_err(|_no_number| {
        format!("cannot measure with python3: {}", String::from_utf8_lossy(&output.stderr)).into()
    })
}
