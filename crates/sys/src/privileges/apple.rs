//! Changes user and group ids on macOS. If root calls setuid or setgid on macOS, the real, the
//! effective and the saved id change.
//!
//! macOS keeps supplementary groups in its directory service, which this module does not read.
//! `groups_of` therefore returns only the user's main group.

use std::io;

use nix::unistd::{self, Gid, Uid};

use super::not_dropped;
use crate::error::Result;

#[expect(clippy::unnecessary_wraps, reason = "the same signature as on other systems")]
pub(super) fn groups_of(_: &str, gid: u32) -> io::Result<Vec<u32>> {
    Ok(vec![gid])
}

pub(super) fn groups() -> io::Result<Vec<Gid>> {
    let mut groups = [0; 16];
    // SAFETY: getgroups writes at most as many numbers as its first argument allows.
    let count = unsafe { libc::getgroups(16, groups.as_mut_ptr()) };
    match usize::try_from(count) {
        Ok(count) => Ok(groups[..count].iter().copied().map(Gid::from_raw).collect()),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

pub(super) fn set_groups(groups: &[Gid]) -> io::Result<()> {
    let numbers: Vec<libc::gid_t> = groups.iter().map(|gid| gid.as_raw()).collect();
    // SAFETY: setgroups reads as many numbers as its first argument states.
    match unsafe { libc::setgroups(numbers.len() as libc::c_int, numbers.as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

pub(super) fn become_all(uid: Uid, gid: Gid, groups: &[Gid]) -> io::Result<()> {
    set_groups(groups)?;
    unistd::setgid(gid)?;
    unistd::setuid(uid)?;
    Ok(())
}

pub(super) fn verify_ids(uid: Uid, gid: Gid) -> Result<()> {
    if [unistd::getuid(), unistd::geteuid()] != [uid; 2] {
        return not_dropped("the user ids differ");
    }
    if [unistd::getgid(), unistd::getegid()] != [gid; 2] {
        return not_dropped("the group ids differ");
    }
    Ok(())
}
