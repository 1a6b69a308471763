//! Changes the real, effective and saved user and group ids, on Linux and the BSDs.

use std::ffi::CString;
use std::io;

use nix::unistd::{self, Gid, Uid};

use super::not_dropped;
use crate::error::{Error, Result};

pub(super) fn groups_of(name: &str, gid: u32) -> io::Result<Vec<u32>> {
    let groups = unistd::getgrouplist(&CString::new(name)?, Gid::from_raw(gid))?;
    Ok(groups.into_iter().map(Gid::as_raw).collect())
}

pub(super) fn groups() -> io::Result<Vec<Gid>> {
    Ok(unistd::getgroups()?)
}

pub(super) fn set_groups(groups: &[Gid]) -> io::Result<()> {
    Ok(unistd::setgroups(groups)?)
}

pub(super) fn become_all(uid: Uid, gid: Gid, groups: &[Gid]) -> io::Result<()> {
    set_groups(groups)?;
    unistd::setresgid(gid, gid, gid)?;
    unistd::setresuid(uid, uid, uid)?;
    Ok(())
}

pub(super) fn verify_ids(uid: Uid, gid: Gid) -> Result<()> {
    let users = unistd::getresuid().map_err(|e| Error::os("read the user ids", e))?;
    if [users.real, users.effective, users.saved] != [uid; 3] {
        return not_dropped(&format!("the user ids are {users:?}"));
    }
    let groups = unistd::getresgid().map_err(|e| Error::os("read the group ids", e))?;
    if [groups.real, groups.effective, groups.saved] != [gid; 3] {
        return not_dropped(&format!("the group ids are {groups:?}"));
    }
    Ok(())
}
