//! What a daemon sets for itself at launch: its directory, its umask, its limits and its weight.

use std::path::Path;

use nix::sys::resource::{self, getrlimit, setrlimit};
use nix::sys::stat::Mode;

use crate::error::{Error, Result};

#[cfg(target_vendor = "apple")]
#[path = "limits/names/apple.rs"]
mod names;
#[cfg(target_os = "freebsd")]
#[path = "limits/names/freebsd.rs"]
mod names;
#[cfg(not(any(target_os = "freebsd", target_vendor = "apple")))]
#[path = "limits/names/wide.rs"]
mod names;

#[cfg(all(target_os = "linux", not(plain_means)))]
mod linux;
#[cfg(any(not(target_os = "linux"), plain_means))]
mod plain;
#[cfg(all(target_os = "linux", not(plain_means)))]
use linux as platform;
#[cfg(any(not(target_os = "linux"), plain_means))]
use plain as platform;

/// No limit, for [`set_limit`].
pub const UNLIMITED: u64 = u64::MAX;

/// What the system limits for a process (getrlimit(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// One more than the highest descriptor.
    OpenFiles,
    /// Processes, and on Linux threads, of the user.
    Processes,
    /// Bytes of a core dump.
    Core,
    /// Bytes of address space.
    AddressSpace,
    /// Bytes of a file written.
    FileSize,
    /// Bytes of the stack.
    Stack,
    /// Seconds of processor time.
    Cpu,
    /// Bytes of memory locked.
    LockedMemory,
}

impl Resource {
    /// What this system calls it; none if it has no such limit.
    fn nix(self) -> Option<resource::Resource> {
        match self {
            Resource::OpenFiles => Some(resource::Resource::RLIMIT_NOFILE),
            Resource::Processes => names::PROCESSES,
            Resource::Core => Some(resource::Resource::RLIMIT_CORE),
            Resource::AddressSpace => names::ADDRESS_SPACE,
            Resource::FileSize => Some(resource::Resource::RLIMIT_FSIZE),
            Resource::Stack => Some(resource::Resource::RLIMIT_STACK),
            Resource::Cpu => Some(resource::Resource::RLIMIT_CPU),
            Resource::LockedMemory => names::LOCKED_MEMORY,
        }
    }
}

/// Sets the umask, and returns the former one. Bits past 0777 are dropped.
pub fn umask(mode: u32) -> u32 {
    let mask = Mode::from_bits_truncate((mode & 0o777) as libc::mode_t);
    let former: libc::mode_t = nix::sys::stat::umask(mask).bits();
    former as u32
}

/// Changes the working directory, so that the daemon does not hold the one it was launched in.
///
/// # Errors
///
/// If there is no such directory, or it may not be entered.
pub fn change_dir(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    std::env::set_current_dir(path)
        .map_err(|error| Error::os(format!("change to directory {}", path.display()), error))
}

/// Limits this process, and what it forks: `soft` counts, and may be raised up to `hard` later.
/// [`UNLIMITED`] is none.
///
/// # Errors
///
/// If `hard` would be raised by other than root, or `soft` is above it; [`Error::Unsupported`] for
/// processes and locked memory on macOS.
pub fn set_limit(resource: Resource, soft: u64, hard: u64) -> Result<()> {
    let act = || format!("limit {resource:?} to {soft} of {hard}");
    let known = resource.nix().ok_or_else(|| Error::Unsupported { act: act() })?;
    setrlimit(known, raw(soft), raw(hard)).map_err(|errno| Error::os(act(), errno))
}

fn raw(limit: u64) -> libc::rlim_t {
    libc::rlim_t::try_from(limit).unwrap_or(libc::RLIM_INFINITY)
}

/// Returns how many descriptors this process may have open (the soft limit), or [`UNLIMITED`].
///
/// # Errors
///
/// None that getrlimit(2) names for this call.
pub fn open_files_limit() -> Result<u64> {
    let (soft, _) = getrlimit(resource::Resource::RLIMIT_NOFILE)
        .map_err(|errno| Error::os("read the limit of open files", errno))?;
    if soft == libc::RLIM_INFINITY {
        return Ok(UNLIMITED);
    }
    // By way of i128, since FreeBSD's limits are signed.
    Ok(u64::try_from(i128::from(soft)).unwrap_or(UNLIMITED))
}

/// Raises how many descriptors this process may have open to the most that it may choose itself (from
/// the soft limit to the hard one), and returns how many that are, or [`UNLIMITED`].
///
/// # Errors
///
/// If the system gives less than its hard limit says, as macOS does where that is none.
pub fn raise_open_files_limit() -> Result<u64> {
    let (_, hard) = getrlimit(resource::Resource::RLIMIT_NOFILE)
        .map_err(|errno| Error::os("read the limit of open files", errno))?;
    setrlimit(resource::Resource::RLIMIT_NOFILE, hard, hard)
        .map_err(|errno| Error::os(format!("raise the limit of open files to {hard}"), errno))?;
    open_files_limit()
}

/// Gives this process a niceness: from -20, the most favoured, to 19; 0 is usual. Only root may
/// lower it.
///
/// # Errors
///
/// If this process may not.
pub fn nice(niceness: i32) -> Result<()> {
    // SAFETY: setpriority takes three numbers and touches no memory of ours; process 0 is this one.
    match unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, niceness) } {
        0 => Ok(()),
        _ => Err(Error::last(format!("set niceness {niceness}"))),
    }
}

/// Sets how willingly the kernel kills this process when memory runs out: from -1000, never, to
/// 1000, first. Only root may lower it (proc_pid_oom_score_adj(5)).
///
/// # Errors
///
/// If this process may not; [`Error::Unsupported`] elsewhere than on Linux.
pub fn oom_score_adj(score: i32) -> Result<()> {
    platform::oom_score_adj(score)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let error = change_dir("/nonexistent").expect_err("refused").to_string();
        assert_eq!(error, "cannot change to directory /nonexistent: no such file or directory");
    }

    #[test]
    fn the_limit_of_open_files_is_raised_to_the_hard_one() {
        let (soft, hard) = getrlimit(resource::Resource::RLIMIT_NOFILE).expect("readable");
        setrlimit(resource::Resource::RLIMIT_NOFILE, soft.min(512), hard).expect("lowered");
        let raised = raise_open_files_limit().expect("raised");
        assert_eq!(getrlimit(resource::Resource::RLIMIT_NOFILE).expect("readable"), (hard, hard));
        assert_eq!(open_files_limit().expect("readable"), raised);
    }

    #[test]
    fn a_limit_is_read_as_it_was_set() {
        let limit = open_files_limit().expect("readable");
        assert!(limit >= 16);
        set_limit(Resource::Core, 0, 0).expect("lowered");
        assert_eq!(getrlimit(resource::Resource::RLIMIT_CORE).expect("readable"), (0, 0));
        let error = set_limit(Resource::Cpu, 2, 1).expect_err("refused").to_string();
        assert_eq!(error, "cannot limit Cpu to 2 of 1: invalid argument");
    }
}
