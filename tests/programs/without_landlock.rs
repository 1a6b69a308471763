//! Executes a program as on a kernel without Landlock: `without_landlock PROGRAM ARGUMENT...`.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Makes the first system call of Landlock fail as if the kernel did not have it.
#[cfg(target_os = "linux")]
mod kernel {
    use std::collections::BTreeMap;
    use std::error::Error;

    use nix::libc;
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

    pub(crate) fn hide_landlock() -> Result<(), Box<dyn Error>> {
        let calls = BTreeMap::from([(libc::SYS_landlock_create_ruleset, Vec::new())]);
        let missing = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
        let architecture = std::env::consts::ARCH.try_into()?;
        let filter = SeccompFilter::new(calls, SeccompAction::Allow, missing, architecture)?;
        let filter: BpfProgram = filter.try_into()?;
        Ok(apply_filter(&filter)?)
    }
}

/// Other kernels have no Landlock.
#[cfg(not(target_os = "linux"))]
mod kernel {
    #[expect(clippy::unnecessary_wraps, reason = "the same signature as on Linux")]
    pub(crate) fn hide_landlock() -> Result<(), Box<dyn std::error::Error>> {
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let program = arguments.next().ok_or("a program is required")?;
    kernel::hide_landlock()?;
    Err(Command::new(program).args(arguments).exec().into())
}
