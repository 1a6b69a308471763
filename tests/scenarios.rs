//! Scenarios are tests with real processes. Each scenario runs in its own single-threaded process,
//! which libtest cannot provide. Test programs include this file by its path.
//!
//! The test program `live` runs all scenarios, and `live PART` runs those whose name contains PART.
//! For each scenario the program starts itself again, in a new process group and with the name of
//! the scenario in the environment. A scenario ends when its output is closed, so a process that it
//! leaves behind delays the end. After five minutes the remaining processes of the scenario are
//! killed, and the scenario fails.

#[path = "patience.rs"]
mod patience;

use std::env;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use patience::until;

/// A scenario's name and function. The scenario fails if the function panics.
pub(crate) type Scenario = (&'static str, fn());

const NAME: &str = "LIVE_SCENARIO";
/// The longest time a scenario may take on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Runs the scenarios that the arguments select, or the one that the environment names.
pub(crate) fn run(groups: &[&[Scenario]]) -> ExitCode {
    let scenarios: Vec<Scenario> = groups.concat();
    if let Ok(name) = env::var(NAME) {
        let (_, run) =
            scenarios.iter().find(|(known, _)| *known == name).expect("a scenario has this name");
        run();
        return ExitCode::SUCCESS;
    }
    let parts: Vec<String> = env::args().skip(1).filter(|part| !part.starts_with('-')).collect();
    let wanted =
        |name: &str| parts.is_empty() || parts.iter().any(|part| name.contains(part.as_str()));
    let (chosen, left): (Vec<Scenario>, Vec<_>) =
        scenarios.into_iter().partition(|(name, _)| wanted(name));
    if env::args().any(|flag| flag == "--list") {
        chosen.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", chosen.len());
    let begun = Instant::now();
    let (mut passed, mut failed) = (0, 0);
    for (name, _) in chosen {
        let (Output { status, stdout, stderr }, timeliness) = output(name);
        let is_passed = status.success() && timeliness == Timeliness::InTime;
        let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        match stdout.lines().find_map(|line| line.strip_prefix("skipped: ")) {
            Some(reason) if is_passed => println!("test {name} ... ok (skipped: {reason})"),
            None if is_passed => println!("test {name} ... ok"),
            Some(_) | None => {
                println!("test {name} ... FAILED ({status})\n{stdout}{stderr}");
                failed += 1;
                continue;
            }
        }
        passed += 1;
    }
    let result = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {result}. {passed} passed; {failed} failed; 0 ignored; 0 measured; \
         {} filtered out; finished in {:.2}s\n",
        left.len(),
        begun.elapsed().as_secs_f64()
    );
    ExitCode::from(u8::from(failed > 0))
}

/// Whether a scenario and all processes that it started have ended before the timeout.
#[derive(PartialEq)]
enum Timeliness {
    InTime,
    Killed,
}

/// Runs a scenario to its end or until its timeout.
fn output(name: &str) -> (Output, Timeliness) {
    let mut scenario = again(name);
    scenario.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let scenario = scenario.spawn().expect("the scenario starts");
    let group = format!("-{}", scenario.id());
    let (ended, end) = channel::<()>();
    let watch = thread::spawn(move || {
        if end.recv_timeout(TIMEOUT) != Err(RecvTimeoutError::Timeout) {
            return Timeliness::InTime;
        }
        println!("killed: not finished within {TIMEOUT:?}");
        let mut kill = Command::new("kill");
        kill.args(["-KILL", "--", &group]).status().expect("kill(1) runs");
        Timeliness::Killed
    });
    let output = scenario.wait_with_output().expect("the scenario ends");
    drop(ended);
    (output, watch.join().expect("the watching thread does not panic"))
}

/// Returns the command that runs a scenario in its own process.
pub(crate) fn again(name: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("the program has a path"));
    command.env(NAME, name);
    command
}

/// Waits until a condition is true.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    until(what, || is_so().then_some(()));
}
