//! The processors of two communicating processes: nothing affects the cost of a message more.

use std::process::{Command, Stdio};

use crate::Measured;

/// The placement of the two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Both on the first processor: each wakes the other and goes to sleep.
    Together,
    /// On the first two processors: each wakes a sleeping processor.
    Apart,
}

impl Placement {
    /// Returns the argument of a server.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Placement::Together => "together",
            Placement::Apart => "apart",
        }
    }

    /// Parses the argument of a server.
    pub(crate) fn named(word: &str) -> Measured<Placement> {
        [Placement::Together, Placement::Apart]
            .into_iter()
            .find(|placement| placement.word() == word)
            .ok_or_else(|| format!("no placement {word}").into())
    }

    /// Pins this process to one side, and the given ones to the other.
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
