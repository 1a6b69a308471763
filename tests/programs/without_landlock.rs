//! Executes a program as on a kernel without Landlock: `without_landlock PROGRAM ARGUMENT...`.

use std::os::unix::process::CommandExt;
use std::process::Command;

#[cfg(not(target_os = "linux"))]
#[path = "without_landlock/fallback.rs"]
mod kernel;
#[cfg(target_os = "linux")]
#[path = "without_landlock/linux.rs"]
mod kernel;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let program = arguments.next().ok_or("a program is required")?;
    kernel::hide_landlock()?;
    Err(Command::new(program).args(arguments).exec().into())
}
