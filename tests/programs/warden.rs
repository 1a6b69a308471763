//! Watches a program under test and all processes that it leaves behind: `warden REPORT PROGRAM
//! ARGUMENTS...`.
//!
//! The warden reaps the program and all orphaned descendants, including those that have detached.
//! The first line of the file REPORT is the program's pid. A line `PID STATUS` follows for each
//! process that the warden reaps. The warden exits when no descendant is left. When the test ends,
//! it closes the warden's standard input, and the warden then kills the remaining processes.

use std::fs::File;
use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::Pid;

/// On Linux, the nearest ancestor that is a child subreaper adopts orphans.
#[cfg(target_os = "linux")]
mod orphans {
    /// Makes this process the parent of its orphaned descendants.
    pub(super) fn adopt_orphans() -> std::io::Result<()> {
        Ok(nix::sys::prctl::set_child_subreaper(true)?)
    }
}

/// On other systems, init adopts orphans, so the warden cannot find the processes that a test
/// leaves behind.
#[cfg(not(target_os = "linux"))]
mod orphans {
    /// Always fails, because the live tests run on Linux only.
    pub(super) fn adopt_orphans() -> std::io::Result<()> {
        Err(std::io::Error::other("the live tests read /proc and run on Linux only"))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let report = arguments.next().ok_or("a report file is required")?;
    let program = arguments.next().ok_or("a program is required")?;
    orphans::adopt_orphans()?;
    let mut report = File::create(report)?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let started = command.spawn()?.id();
    writeln!(report, "{started}")?;
    // A test may read standard output and standard error to their end, so the warden must not keep
    // them open.
    let null = File::options().write(true).open("/dev/null")?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    std::thread::spawn(kill_descendants_at_end_of_input);
    loop {
        match wait() {
            Ok(WaitStatus::Exited(pid, code)) => writeln!(report, "{pid} code {code}")?,
            Ok(WaitStatus::Signaled(pid, signal, _core)) => {
                writeln!(report, "{pid} signal {signal}")?;
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_no_child_left) => return Ok(()),
        }
    }
}

fn kill_descendants_at_end_of_input() {
    // An error also means the end of the input.
    let _ = io::stdin().read_to_end(&mut Vec::new());
    loop {
        for pid in descendants(std::process::id()) {
            // The process may have exited by now.
            let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

fn descendants(of: u32) -> Vec<u32> {
    let mut found = vec![of];
    let mut seen = 0;
    while let Some(parent) = found.get(seen).copied() {
        seen += 1;
        let threads = std::fs::read_dir(format!("/proc/{parent}/task"));
        for thread in threads.into_iter().flatten().flatten() {
            let children = std::fs::read_to_string(thread.path().join("children"));
            found.extend(
                children
                    .unwrap_or_default()
                    .split_whitespace()
                    .filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
    }
    found.split_off(1)
}
