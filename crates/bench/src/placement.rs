//! On which processors two sides run that talk to each other: what a message costs depends on that
//! more than on anything else.

use std::process::{Command, Stdio};

use crate::Measured;

/// Where the two sides are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Both on the first processor: each wakes the other and goes to sleep.
    Together,
    /// On the first two: each wakes a processor that sleeps.
    Apart,
}

impl Placement {
    /// What a server is told.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Placement::Together => "together",
            Placement::Apart => "apart",
        }
    }

    /// What a server was told.
    pub(crate) fn named(word: &str) -> Measured<Placement> {
        [Placement::Together, Placement::Apart]
            .into_iter()
            .find(|placement| placement.word() == word)
            .ok_or_else(|| format!("there is no placement {word}").into())
    }

    /// Puts this process on one side, and these on the other.
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
        .map_err(|error| format!("taskset(1) cannot be run: {error}"))?;
    if done.success() {
        Ok(())
    } else {
        Err(format!("process {pid} cannot be put on processor {processor}").into())
    }
}
