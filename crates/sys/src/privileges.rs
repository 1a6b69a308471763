//! Drops root privileges permanently, and verifies the result. Also acts as another user for a
//! moment, and renounces further privileges of a process.

use std::path::PathBuf;

use nix::unistd::{self, Gid, Uid};

use crate::capabilities::{Capability, KeptCapabilities};
use crate::error::{Error, Result};

/// A user of the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user's name, or the uid if the user database does not have the user.
    pub name: String,
    /// The numeric user id.
    pub uid: u32,
    /// The gid of the primary group, if the user database has the user.
    pub primary: Option<u32>,
    /// The home directory, if the user database has the user.
    pub home: Option<PathBuf>,
}

impl User {
    /// Looks up a user by name or uid. For a uid that is not in the user database, as is common in
    /// containers, returns a user without a primary group.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchUser`] if `name` is not a number and not in the user database. [`Error::Os`]
    /// if the database cannot be read.
    pub fn named(name: &str) -> Result<User> {
        let action = |errno| Error::os(format!("look up user {name}"), errno);
        let mut found = unistd::User::from_name(name).map_err(action)?;
        let number = name.parse().ok();
        if let (None, Some(uid)) = (&found, number) {
            found = unistd::User::from_uid(Uid::from_raw(uid)).map_err(action)?;
        }
        match (found, number) {
            (Some(user), _) => Ok(User {
                name: user.name,
                uid: user.uid.as_raw(),
                primary: Some(user.gid.as_raw()),
                home: Some(user.dir),
            }),
            (None, Some(uid)) => Ok(User { name: name.into(), uid, primary: None, home: None }),
            (None, None) => Err(Error::NoSuchUser { name: name.into() }),
        }
    }
}

/// A group of the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The group's name, or the gid if the group database does not have the group.
    pub name: String,
    /// The numeric group id.
    pub gid: u32,
}

impl Group {
    /// Looks up a group by name or gid. A gid that is not in the group database is accepted.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchGroup`] if `name` is not a number and not in the group database.
    /// [`Error::Os`] if the database cannot be read.
    pub fn named(name: &str) -> Result<Group> {
        let action = |errno| Error::os(format!("look up group {name}"), errno);
        if let Some(group) = unistd::Group::from_name(name).map_err(action)? {
            return Ok(Group { name: group.name, gid: group.gid.as_raw() });
        }
        let Ok(gid) = name.parse() else {
            return Err(Error::NoSuchGroup { name: name.into() });
        };
        Group::numbered(gid)
    }

    fn numbered(gid: u32) -> Result<Group> {
        let found = unistd::Group::from_gid(Gid::from_raw(gid))
            .map_err(|errno| Error::os(format!("look up group {gid}"), errno))?;
        Ok(Group { name: found.map_or_else(|| gid.to_string(), |group| group.name), gid })
    }
}

/// The user, group and supplementary groups of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Privileges {
    /// The user that the process runs as.
    pub user: User,
    /// The group that the process runs as.
    pub group: Group,
    /// The gids of the supplementary groups.
    pub supplementary: Vec<u32>,
}

impl Privileges {
    /// Returns the privileges that a login of this user has: the user's primary group and
    /// supplementary groups.
    ///
    /// # Errors
    ///
    /// [`Error::NoPrimaryGroup`] if the user database does not have the user. [`Error::Os`] if the
    /// group database cannot be read.
    pub fn of(user: User) -> Result<Privileges> {
        match user.primary {
            Some(gid) => Privileges::with_group(user, Group::numbered(gid)?),
            None => Err(Error::NoPrimaryGroup { user: user.name.clone() }),
        }
    }

    /// Returns the privileges of this user with this group instead of the primary group, and with
    /// the user's supplementary groups. A user that is not in the user database gets only this
    /// group.
    ///
    /// # Errors
    ///
    /// If the group database cannot be read.
    pub fn with_group(user: User, group: Group) -> Result<Privileges> {
        let action = || format!("look up the groups of user {}", user.name);
        let supplementary = match user.primary {
            Some(_) => platform::groups_of(&user.name, group.gid)
                .map_err(|error| Error::os(action(), error))?,
            None => vec![group.gid],
        };
        Ok(Privileges { user, group, supplementary })
    }

    /// Checks that this process is root, so that a later call of [`drop_to`] does not fail with
    /// [`Error::NotRoot`].
    ///
    /// # Errors
    ///
    /// [`Error::NotRoot`] if this process is not root.
    pub fn check(&self) -> Result<()> {
        let uid = unistd::geteuid();
        if uid.is_root() {
            return Ok(());
        }
        Err(Error::NotRoot {
            action: format!("become user {} and group {}", self.user.name, self.group.name),
            uid: uid.as_raw(),
        })
    }
}

/// Returns the effective uid of this process.
#[must_use]
pub fn effective_uid() -> u32 {
    unistd::geteuid().as_raw()
}

/// Changes to this user and group, permanently and in all threads, and verifies the result. The
/// verification checks the ids and the groups, and that this process cannot change back to user 0
/// or group 0. Changing to user 0 drops no privileges, so in that case only the ids and the groups
/// are checked.
///
/// On Linux, changing the ids resets the parent death signal (see
/// [`die_with_parent`](crate::process::die_with_parent)) and disables core dumps and tracing by
/// other processes of the new user (prctl(2), `PR_SET_DUMPABLE`; see [`set_traceable`]). All
/// capabilities are dropped, also from the bounding set, unless the new user is user 0.
///
/// # Errors
///
/// - [`Error::NotRoot`] if this process is not root. Nothing has changed.
/// - [`Error::Os`] if a system call fails. Some ids may have changed, so the process should exit.
/// - [`Error::PrivilegesNotDropped`] if the verification fails. The process must then exit.
pub fn drop_to(new: &Privileges) -> Result<()> {
    match new.user.uid {
        0 => change_to(new),
        _ => drop_to_keeping(new, &[]),
    }
}

/// Changes to this user and group as [`drop_to`] does, but keeps these capabilities. They are then
/// permitted and effective in this process and in the processes that it forks. A program that one
/// of these processes executes does not have them, because the inheritable and the ambient set are
/// emptied. All other capabilities are dropped, also from the bounding set, even if the new user is
/// user 0.
///
/// If this process lacks `CAP_SETPCAP` and has called [`set_no_new_privs`], the bounding set is not
/// changed, because a program that it executes gains nothing from this set.
///
/// # Errors
///
/// As for [`drop_to`]. [`Error::Unsupported`] if there are capabilities to keep and the operating
/// system has none.
pub fn drop_to_keeping(new: &Privileges, keep: &[Capability]) -> Result<()> {
    new.check()?;
    let kept = KeptCapabilities::prepare(keep)?;
    change_to(new)?;
    kept.keep()
}

fn change_to(new: &Privileges) -> Result<()> {
    let Privileges { user, group, supplementary } = new;
    new.check()?;
    let action = || format!("become user {} and group {}", user.name, group.name);
    let root = Uid::from_raw(0);
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(group.gid));
    let groups: Vec<Gid> = supplementary.iter().copied().map(Gid::from_raw).collect();
    platform::become_all(uid, gid, &groups).map_err(|error| Error::os(action(), error))?;
    platform::verify_ids(uid, gid)?;
    verify_groups(&groups)?;
    if gid.as_raw() != 0 && !uid.is_root() && unistd::setegid(Gid::from_raw(0)).is_ok() {
        return not_dropped("changing back to group 0 succeeds");
    }
    if !uid.is_root() && (unistd::setuid(root).is_ok() || unistd::seteuid(root).is_ok()) {
        return not_dropped("changing back to user 0 succeeds");
    }
    Ok(())
}

/// Calls `act` with the effective user, group and supplementary groups of `user`, and then restores
/// those of this process. In between, the system checks each access to a file as it does for that
/// user. If this process is not root, it cannot change them, and calls `act` as it is.
///
/// # Errors
///
/// If the ids cannot be changed or restored. If they cannot be restored, the process should exit.
pub fn act_as<T>(user: &Privileges, act: impl FnOnce() -> T) -> Result<T> {
    let (uid, gid) = (unistd::geteuid(), unistd::getegid());
    if !uid.is_root() {
        return Ok(act());
    }
    let action =
        |error: std::io::Error| Error::os(format!("act as user {}", user.user.name), error);
    let groups = platform::groups().map_err(action)?;
    let new: Vec<Gid> = user.supplementary.iter().copied().map(Gid::from_raw).collect();
    let restore = || {
        unistd::seteuid(uid)?;
        unistd::setegid(gid)?;
        platform::set_groups(&groups)
    };
    let change = || {
        platform::set_groups(&new)?;
        unistd::setegid(Gid::from_raw(user.group.gid))?;
        unistd::seteuid(Uid::from_raw(user.user.uid))?;
        Ok(())
    };
    let done = change().map(|()| act());
    restore().map_err(|error: std::io::Error| Error::os("become root again", error))?;
    done.map_err(action)
}

/// Gives up the possibility to gain privileges by executing a program, for this process and all
/// processes that it forks, permanently: set-user-id bits and capabilities of files have no effect
/// (prctl(2), `PR_SET_NO_NEW_PRIVS`; on FreeBSD 14 or later procctl(2), `PROC_NO_NEW_PRIVS_CTL`).
///
/// # Errors
///
/// [`Error::Unsupported`] on other systems.
pub fn set_no_new_privs() -> Result<()> {
    renounce::set_no_new_privs()
}

/// Returns whether the operating system supports [`set_no_new_privs`].
#[must_use]
pub fn supports_no_new_privs() -> bool {
    renounce::supports_no_new_privs()
}

/// Sets whether other processes of the same user may trace this process, read its memory and its
/// files in `/proc`, and whether this process dumps core when it crashes (prctl(2),
/// `PR_SET_DUMPABLE`; on FreeBSD procctl(2), `PROC_TRACE_CTL`). Processes that this process forks
/// inherit the setting. Root may trace it in any case.
///
/// # Errors
///
/// [`Error::Unsupported`] on systems other than Linux and FreeBSD.
pub fn set_traceable(traceable: bool) -> Result<()> {
    renounce::set_traceable(traceable)
}

/// Returns whether the operating system supports [`set_traceable`].
#[must_use]
pub fn supports_traceable() -> bool {
    renounce::SUPPORTS_TRACEABLE
}

fn verify_groups(wanted: &[Gid]) -> Result<()> {
    let sorted = |groups: &[Gid]| {
        let mut groups: Vec<u32> = groups.iter().map(|gid| gid.as_raw()).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    };
    match platform::groups() {
        Ok(groups) if sorted(&groups) == sorted(wanted) => Ok(()),
        Ok(groups) => not_dropped(&format!("the groups are {:?}", sorted(&groups))),
        Err(error) => Err(Error::os("read the groups of this process", error)),
    }
}

fn not_dropped(reason: &str) -> Result<()> {
    Err(Error::PrivilegesNotDropped { reason: reason.into() })
}

/// Renounces privileges with procctl(2).
#[cfg(target_os = "freebsd")]
mod renounce {
    use std::io;

    use libc::c_int;

    use crate::error::{Error, Result};

    pub(super) const SUPPORTS_TRACEABLE: bool = true;

    /// FreeBSD 14 was the first to support it.
    pub(super) fn supports_no_new_privs() -> bool {
        let mut status: c_int = 0;
        control(libc::PROC_NO_NEW_PRIVS_STATUS, &mut status).is_ok()
    }

    pub(super) fn set_no_new_privs() -> Result<()> {
        let action = "set no_new_privs";
        if !supports_no_new_privs() {
            return Err(Error::Unsupported { action: action.into() });
        }
        control(libc::PROC_NO_NEW_PRIVS_CTL, &mut libc::PROC_NO_NEW_PRIVS_ENABLE.clone())
            .map_err(|error| Error::os(action, error))
    }

    pub(super) fn set_traceable(traceable: bool) -> Result<()> {
        let mut mode = match traceable {
            true => libc::PROC_TRACE_CTL_ENABLE,
            false => libc::PROC_TRACE_CTL_DISABLE,
        };
        control(libc::PROC_TRACE_CTL, &mut mode).map_err(|error| {
            Error::os(format!("set whether this process is traceable to {traceable}"), error)
        })
    }

    /// Controls this process.
    fn control(command: c_int, value: &mut c_int) -> io::Result<()> {
        // SAFETY: the pointer is to an int, which each of these commands reads or writes; id 0 with
        // P_PID is this process.
        match unsafe { libc::procctl(libc::P_PID, 0, command, std::ptr::from_mut(value).cast()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Renounces privileges with prctl(2).
#[cfg(target_os = "linux")]
mod renounce {
    use nix::sys::prctl;

    use crate::error::{Error, Result};

    pub(super) const SUPPORTS_TRACEABLE: bool = true;

    pub(super) fn supports_no_new_privs() -> bool {
        true
    }

    pub(super) fn set_no_new_privs() -> Result<()> {
        prctl::set_no_new_privs().map_err(|error| Error::os("set no_new_privs", error))
    }

    pub(super) fn set_traceable(traceable: bool) -> Result<()> {
        prctl::set_dumpable(traceable).map_err(|error| {
            Error::os(format!("set whether this process is traceable to {traceable}"), error)
        })
    }
}

/// Systems on which a process cannot renounce these privileges.
#[cfg(not(any(target_os = "freebsd", target_os = "linux")))]
mod renounce {
    use crate::error::{Error, Result};

    pub(super) const SUPPORTS_TRACEABLE: bool = false;

    pub(super) fn supports_no_new_privs() -> bool {
        false
    }

    pub(super) fn set_no_new_privs() -> Result<()> {
        Err(Error::Unsupported { action: "set no_new_privs".into() })
    }

    pub(super) fn set_traceable(traceable: bool) -> Result<()> {
        let action = format!("set whether this process is traceable to {traceable}");
        Err(Error::Unsupported { action })
    }
}

/// Changes user and group ids on macOS. If root calls setuid or setgid on macOS, the real, the
/// effective and the saved id change.
///
/// macOS keeps supplementary groups in its directory service, which this module does not read.
/// `groups_of` therefore returns only the user's main group.
#[cfg(any(target_os = "macos", target_os = "ios"))]
mod platform {
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
}

/// Changes the real, effective and saved user and group ids, on Linux and the BSDs.
#[cfg(not(any(target_os = "macos", target_os = "ios")))]
mod platform {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_by_name_and_by_number() {
        let by_name = User::named("root").expect("found");
        assert_eq!((by_name.uid, by_name.primary), (0, Some(0)));
        assert_eq!(User::named("0").expect("found"), by_name);
        assert_eq!(Group::named("0").expect("found").gid, 0);
    }

    #[test]
    fn unknown_names_are_refused() {
        let user = User::named("no-such-user").expect_err("refused");
        assert_eq!(
            user.to_string(),
            "cannot look up user no-such-user: the user database has no such user"
        );
        let group = Group::named("no-such-group").expect_err("refused");
        assert_eq!(
            group.to_string(),
            "cannot look up group no-such-group: the group database has no such group"
        );
    }

    #[test]
    fn a_uid_without_a_database_entry_needs_a_group() {
        let user = User::named("3999999").expect("a number is accepted");
        assert_eq!(user.primary, None);
        let alone = Privileges::of(user.clone()).expect_err("refused").to_string();
        assert_eq!(
            alone,
            "cannot look up the primary group of user 3999999: the user database has no such uid; set a group"
        );
        let group = Group::named("3999998").expect("a number is accepted");
        let both = Privileges::with_group(user, group).expect("privileges");
        assert_eq!(both.supplementary, [3_999_998]);
    }
}
