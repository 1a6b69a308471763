//! Pins two communicating processes to processors, because nothing affects the cost of a message
//! more than their placement.

use std::process::{Command, Stdio};

use bench_server::Measured;

/// The placement of two communicating sides on processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Both sides run on the first processor. Each wakes the other side and then sleeps.
    Together,
    /// The sides run on the first and the second processor. Each wakes the sleeping processor of
    /// the other side.
    Apart,
}

impl Placement {
    /// Returns the word for this placement in the arguments of a server.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Placement::Together => "together",
            Placement::Apart => "apart",
        }
    }

    /// Returns the placement for a word in the arguments of a server.
    pub(crate) fn named(word: &str) -> Measured<Placement> {
        [Placement::Together, Placement::Apart]
            .into_iter()
            .find(|placement| placement.word() == word)
            .ok_or_else(|| format!("no placement {word}").into())
    }

    /// Pins this process to the first processor, and the given processes to the processor of the
    /// other side.
    pub(crate) fn take(self, others: &[u32]) -> Measured<()> {
        let other = match self {
            Placement::Together => 0,
            Placement::Apart => 1,
        };
        pin(std::process::id(), 0)?;
        others.iter().try_for_each(|pid| pin(*pid, other))
    }
}

fn pin(pid: u32, processor: u32) -> Measured<()> {
    let (pid, processor) = (pid.to_string(), processor.to_string());
    let done = Command::new("taskset")
        .args(["--all-tasks", "--cpu-list", "--pid", &processor, &pid])
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("cannot run taskset(1): {error}"))?;
    if done.success() {
        Ok(())
    } else {
        Err(format!("cannot pin process {pid} to processor {processor}").into())
    }
}
