//! Process settings that a daemon changes at launch: working directory, umask, resource limits,
//! niceness and OOM score.

use std::os::fd::AsFd;
use std::path::Path;

use nix::sys::resource::{self, getrlimit, setrlimit};
use nix::sys::stat::Mode;

use crate::error::{Error, Result};
use crate::place::Place;
use crate::privileges::{Privileges, act_as};

/// The value that means "no limit" in [`set_limit`] and [`open_files_limit`].
pub const UNLIMITED: u64 = u64::MAX;

/// A resource limit of a process (getrlimit(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// The number of open descriptors.
    OpenFiles,
    /// The number of processes of the user; on Linux threads count too.
    Processes,
    /// Size of a core dump, in bytes.
    Core,
    /// Size of the address space, in bytes.
    AddressSpace,
    /// Size of a written file, in bytes.
    FileSize,
    /// Size of the stack, in bytes.
    Stack,
    /// CPU time, in seconds.
    Cpu,
    /// Size of locked memory, in bytes.
    LockedMemory,
}

impl Resource {
    /// Returns nix's constant; `None` if nix has no such limit for this system.
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

/// Sets the umask and returns the previous one. Bits above 0777 are ignored.
pub fn umask(mode: u32) -> u32 {
    let mask = Mode::from_bits_truncate((mode & 0o777) as libc::mode_t);
    let previous: libc::mode_t = nix::sys::stat::umask(mask).bits();
    previous as u32
}

/// Changes the working directory, so that the daemon does not keep the launch directory in use.
///
/// # Errors
///
/// If the directory does not exist, or this process is not permitted to enter it.
pub fn change_dir(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    std::env::set_current_dir(path)
        .map_err(|error| Error::os(format!("change to directory {}", path.display()), error))
}

/// Changes the working directory for a daemon that will run as this user.
///
/// The directory is entered with the user's permissions. If the user may not enter it, it is
/// entered with this process's permissions, but only if the user can replace no part of its path.
///
/// # Errors
///
/// As for [`change_dir`].
pub fn change_dir_for(path: impl AsRef<Path>, user: &Privileges) -> Result<()> {
    let path = path.as_ref();
    match act_as(user, || change_dir(path))? {
        Err(denied)
            if denied.raw_os_error() == Some(libc::EACCES)
                && Place::is_protected_from(user, path) =>
        {
            change_dir(path)
        }
        entered => entered,
    }
}

/// Sets a limit of this process and of the processes that it forks. The `soft` limit is enforced
/// and can be raised up to `hard` later. [`UNLIMITED`] removes a limit.
///
/// # Errors
///
/// [`Error::Os`] if a process other than root raises `hard`, or if `soft` is greater than `hard`.
/// [`Error::Unsupported`] for [`Resource::Processes`] and [`Resource::LockedMemory`] on macOS.
pub fn set_limit(resource: Resource, soft: u64, hard: u64) -> Result<()> {
    let action = || format!("set limit {resource:?} to {soft} (hard limit {hard})");
    let constant = resource.nix().ok_or_else(|| Error::Unsupported { action: action() })?;
    setrlimit(constant, raw(soft), raw(hard)).map_err(|errno| Error::os(action(), errno))
}

/// Raises the soft limit of this process to the hard limit.
///
/// # Errors
///
/// As for [`set_limit`]. macOS refuses a limit of open files whose hard limit is unlimited.
pub fn raise_limit(resource: Resource) -> Result<()> {
    let action = || format!("raise limit {resource:?}");
    let constant = resource.nix().ok_or_else(|| Error::Unsupported { action: action() })?;
    let (_, hard) = getrlimit(constant).map_err(|errno| Error::os(action(), errno))?;
    setrlimit(constant, hard, hard).map_err(|errno| Error::os(action(), errno))
}

fn raw(limit: u64) -> libc::rlim_t {
    libc::rlim_t::try_from(limit).unwrap_or(libc::RLIM_INFINITY)
}

/// Returns this process's soft limit on open descriptors; [`UNLIMITED`] if there is no limit.
///
/// # Errors
///
/// getrlimit(2) documents no error for this call.
pub fn open_files_limit() -> Result<u64> {
    soft_limit(resource::Resource::RLIMIT_NOFILE)
        .map_err(|errno| Error::os("read the limit of open files", errno))
}

fn soft_limit(resource: resource::Resource) -> nix::Result<u64> {
    let (soft, _) = getrlimit(resource)?;
    if soft == libc::RLIM_INFINITY {
        return Ok(UNLIMITED);
    }
    // Converted through i128, because FreeBSD's limits are signed.
    Ok(u64::try_from(i128::from(soft)).unwrap_or(UNLIMITED))
}

/// Checks that this process can open this number of further descriptors.
///
/// # Errors
///
/// [`Error::LimitTooLow`] if the soft limit of this process is too low. [`Error::Os`] if the whole
/// system is out of descriptors, or standard error is not open.
pub fn require_descriptors(count: u32) -> Result<()> {
    let mut open = Vec::new();
    for free in 0..count {
        match std::io::stderr().as_fd().try_clone_to_owned() {
            Ok(descriptor) => open.push(descriptor),
            Err(error) if error.raw_os_error() == Some(libc::EMFILE) => {
                let limit = open_files_limit()?;
                return Err(Error::LimitTooLow {
                    resource: "open files (ulimit -n)",
                    limit,
                    needed: limit.saturating_add(u64::from(count - free)),
                });
            }
            Err(error) => return Err(Error::os("open further descriptors", error)),
        }
    }
    Ok(())
}

/// Checks that the stack of this process may have this number of bytes.
///
/// # Errors
///
/// [`Error::LimitTooLow`] if the soft limit is lower.
pub fn require_stack(bytes: u64) -> Result<()> {
    let limit = soft_limit(resource::Resource::RLIMIT_STACK)
        .map_err(|errno| Error::os("read the limit of the stack", errno))?;
    if limit >= bytes {
        return Ok(());
    }
    Err(Error::LimitTooLow { resource: "bytes of the stack (ulimit -s)", limit, needed: bytes })
}

/// Limits the address space of this process to its present size and this number of bytes more.
/// Allocations beyond the limit fail.
///
/// # Errors
///
/// [`Error::Os`] if the present size cannot be read, or if a lower limit is set already.
/// [`Error::Unsupported`] on systems other than Linux.
pub fn limit_additional_memory(bytes: u64) -> Result<()> {
    let limit = platform::address_space()?.saturating_add(bytes);
    set_limit(Resource::AddressSpace, limit, limit)
}

/// Sets the niceness of this process, from -20 (highest priority) to 19 (lowest priority); the
/// default is 0. Only root is allowed to lower the niceness.
///
/// # Errors
///
/// If this process is not permitted to lower the niceness.
pub fn nice(niceness: i32) -> Result<()> {
    // SAFETY: setpriority takes three numbers and touches no memory of ours; process 0 is this one.
    match unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, niceness) } {
        0 => Ok(()),
        _ => Err(Error::last(format!("set niceness {niceness}"))),
    }
}

/// Sets this process's score for the kernel's OOM killer, from -1000 (never killed) to 1000 (killed
/// first). Only root is allowed to lower the score (proc_pid_oom_score_adj(5)).
///
/// # Errors
///
/// [`Error::Os`] if this process is not permitted to lower the score. [`Error::Unsupported`] on
/// systems other than Linux.
pub fn oom_score_adj(score: i32) -> Result<()> {
    platform::oom_score_adj(score)
}

/// The names of the less common limits on macOS, where nix lacks two of them.
#[cfg(target_vendor = "apple")]
mod names {
    use nix::sys::resource::Resource;

    pub(super) const PROCESSES: Option<Resource> = None;
    pub(super) const LOCKED_MEMORY: Option<Resource> = None;
    pub(super) const ADDRESS_SPACE: Option<Resource> = Some(Resource::RLIMIT_AS);
}

/// The names of the less common resource limits on FreeBSD, where the limit of the address space
/// has the older name `RLIMIT_VMEM`.
#[cfg(target_os = "freebsd")]
mod names {
    use nix::sys::resource::Resource;

    pub(super) const PROCESSES: Option<Resource> = Some(Resource::RLIMIT_NPROC);
    pub(super) const LOCKED_MEMORY: Option<Resource> = Some(Resource::RLIMIT_MEMLOCK);
    pub(super) const ADDRESS_SPACE: Option<Resource> = Some(Resource::RLIMIT_VMEM);
}

/// nix's names of the limits that some systems lack, for the systems that have all of them.
#[cfg(not(any(target_os = "freebsd", target_vendor = "apple")))]
mod names {
    use nix::sys::resource::Resource;

    pub(super) const PROCESSES: Option<Resource> = Some(Resource::RLIMIT_NPROC);
    pub(super) const LOCKED_MEMORY: Option<Resource> = Some(Resource::RLIMIT_MEMLOCK);
    pub(super) const ADDRESS_SPACE: Option<Resource> = Some(Resource::RLIMIT_AS);
}

/// Refuses to set the OOM score, which only Linux has, and to read the size of the address space.
#[cfg(any(not(target_os = "linux"), fallback))]
mod platform {
    use crate::error::{Error, Result};

    pub(super) fn oom_score_adj(score: i32) -> Result<()> {
        Err(Error::Unsupported { action: format!("set oom_score_adj to {score}") })
    }

    pub(super) fn address_space() -> Result<u64> {
        Err(Error::Unsupported { action: "read the size of the address space".to_owned() })
    }
}

/// Sets the OOM score, and reads the size of the address space, with `/proc`.
#[cfg(all(target_os = "linux", not(fallback)))]
mod platform {
    use std::fs;
    use std::io;

    use crate::error::{Error, Result};

    pub(super) fn oom_score_adj(score: i32) -> Result<()> {
        fs::write("/proc/self/oom_score_adj", score.to_string())
            .map_err(|error| Error::os(format!("set oom_score_adj to {score}"), error))
    }

    /// Returns the size of this process's address space in bytes.
    pub(super) fn address_space() -> Result<u64> {
        let error = |error| Error::os("read the size of the address space", error);
        let statm = fs::read_to_string("/proc/self/statm").map_err(error)?;
        let pages =
            statm.split_ascii_whitespace().next().and_then(|pages| pages.parse::<u64>().ok());
        let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
        let page = page.and_then(|bytes| u64::try_from(bytes).ok());
        let size = pages.zip(page).and_then(|(pages, page)| pages.checked_mul(page));
        size.ok_or_else(|| error(io::ErrorKind::InvalidData.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_for_a_missing_directory_contains_its_path() {
        let error = change_dir("/nonexistent").expect_err("refused").to_string();
        assert_eq!(error, "cannot change to directory /nonexistent: no such file or directory");
    }

    #[test]
    fn the_limit_of_open_files_is_raised_to_the_hard_limit() {
        let (soft, hard) = getrlimit(resource::Resource::RLIMIT_NOFILE).expect("read");
        setrlimit(resource::Resource::RLIMIT_NOFILE, soft.min(512), hard).expect("lowered");
        raise_limit(Resource::OpenFiles).expect("raised");
        assert_eq!(getrlimit(resource::Resource::RLIMIT_NOFILE).expect("read"), (hard, hard));
        assert!(open_files_limit().expect("read") >= 16);
    }

    #[test]
    fn a_limit_is_read_back_as_it_was_set() {
        let limit = open_files_limit().expect("read");
        assert!(limit >= 16);
        set_limit(Resource::Core, 0, 0).expect("lowered");
        assert_eq!(getrlimit(resource::Resource::RLIMIT_CORE).expect("read"), (0, 0));
        let error = set_limit(Resource::Cpu, 2, 1).expect_err("refused").to_string();
        assert_eq!(error, "cannot set limit Cpu to 2 (hard limit 1): invalid argument");
    }
}
