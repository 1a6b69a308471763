//! Drops root privileges permanently, and verifies the result.

use nix::unistd::{self, Gid, Uid};

use crate::error::{Error, Result};

#[cfg(any(target_os = "macos", target_os = "ios"))]
mod apple;
#[cfg(not(any(target_os = "macos", target_os = "ios")))]
mod other;
#[cfg(any(target_os = "macos", target_os = "ios"))]
use apple as platform;
#[cfg(not(any(target_os = "macos", target_os = "ios")))]
use other as platform;

/// A user of the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user's name, or the uid if the user database does not have the user.
    pub name: String,
    /// The numeric user id.
    pub uid: u32,
    /// The gid of the primary group, if the user database has the user.
    pub primary: Option<u32>,
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
            }),
            (None, Some(uid)) => Ok(User { name: name.into(), uid, primary: None }),
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
}

impl Privileges {
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
/// [`die_with_parent`](crate::process::die_with_parent)) and disables core dumps (prctl(2),
/// `PR_SET_DUMPABLE`).
///
/// # Errors
///
/// - [`Error::NotRoot`] if this process is not root. Nothing has changed.
/// - [`Error::Os`] if a system call fails. Some ids may have changed, so the process should exit.
/// - [`Error::PrivilegesNotDropped`] if the verification fails. The process must then exit.
pub fn drop_to(new: &Privileges) -> Result<()> {
    let Privileges { user, group, supplementary } = new;
    let action = || format!("become user {} and group {}", user.name, group.name);
    let root = unistd::geteuid();
    if !root.is_root() {
        return Err(Error::NotRoot { action: action(), uid: root.as_raw() });
    }
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
