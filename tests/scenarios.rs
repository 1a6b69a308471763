//! Scenarios: tests with real processes, each alone in a process of one thread, which libtest's tests
//! don't have. A program of them includes this file by its path.
//!
//! `live` runs them all, `live PART` those whose name has PART in it. A scenario is the same program
//! again, with its name in the environment, in a process group of its own. It has ended when its output
//! has, so that one that leaves a process behind is found out; after five minutes all that is left of it is
//! killed.

#[path = "patience.rs"]
mod patience;

use std::env;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use patience::until;

/// A scenario: it has gone well unless it panics.
pub(crate) type Scenario = (&'static str, fn());

const NAME: &str = "LIVE_SCENARIO";
/// How long a scenario may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// Runs those that are asked for by the program's arguments, or the one that this process is.
pub(crate) fn run(rooms: &[&[Scenario]]) -> ExitCode {
    let scenarios: Vec<Scenario> = rooms.concat();
    if let Ok(name) = env::var(NAME) {
        let (_, run) = scenarios.iter().find(|(known, _)| *known == name).expect("a known name");
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
        let Output { status, stdout, stderr } = output(name);
        let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        match stdout.lines().find_map(|line| line.strip_prefix("skipped: ")) {
            Some(why) if status.success() => println!("test {name} ... ok (skipped: {why})"),
            None if status.success() => println!("test {name} ... ok"),
            Some(_) | None => {
                println!("test {name} ... FAILED ({status})\n{stdout}{stderr}");
                failed += 1;
                continue;
            }
        }
        passed += 1;
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {passed} passed; {failed} failed; 0 ignored; 0 measured; \
         {} filtered out; finished in {:.2}s\n",
        left.len(),
        begun.elapsed().as_secs_f64()
    );
    ExitCode::from(u8::from(failed > 0))
}

/// Runs a scenario to its end, or until it has taken too long.
fn output(name: &str) -> Output {
    let mut scenario = again(name);
    scenario.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let scenario = scenario.spawn().expect("it starts again");
    let group = format!("-{}", scenario.id());
    let (ended, end) = channel::<()>();
    let watch = thread::spawn(move || {
        if end.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            println!("not within {PATIENCE:?}: it is killed");
            let mut kill = Command::new("kill");
            kill.args(["-KILL", "--", &group]).status().expect("kill(1) is everywhere");
        }
    });
    let output = scenario.wait_with_output().expect("it is waited for");
    drop(ended);
    watch.join().expect("it has not panicked");
    output
}

/// Makes the command that runs a scenario in a process of its own.
pub(crate) fn again(name: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("this program"));
    command.env(NAME, name);
    command
}

/// Waits until something is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    until(what, || is_so().then_some(()));
}
