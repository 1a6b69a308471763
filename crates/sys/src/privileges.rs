//! From root to somebody else, for good, and the proof of it.

use nix::unistd::{self, Gid, Uid};

use crate::error::{Error, Result};

#[cfg(any(target_os = "macos", target_os = "ios"))]
mod apple;
#[cfg(not(any(target_os = "macos", target_os = "ios")))]
mod wide;
#[cfg(any(target_os = "macos", target_os = "ios"))]
use apple as platform;
#[cfg(not(any(target_os = "macos", target_os = "ios")))]
use wide as platform;

/// A user of this system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// His name; his number if the user database does not know him.
    pub name: String,
    /// His number.
    pub uid: u32,
    /// The number of his primary group, if the user database knows him.
    pub primary: Option<u32>,
}

impl User {
    /// Looks up a user by name, or by number. A number that the user database does not have is a
    /// user without a primary group, as containers have them.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchUser`]; [`Error::Os`] if the database can't be read.
    pub fn named(name: &str) -> Result<User> {
        let act = |errno| Error::os(format!("look up user {name}"), errno);
        let mut found = unistd::User::from_name(name).map_err(act)?;
        let number = name.parse().ok();
        if let (None, Some(uid)) = (&found, number) {
            found = unistd::User::from_uid(Uid::from_raw(uid)).map_err(act)?;
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

/// A group of this system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name; its number if the group database does not know it.
    pub name: String,
    /// Its number.
    pub gid: u32,
}

impl Group {
    /// Looks up a group by name, or by number.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchGroup`]; [`Error::Os`] if the database can't be read.
    pub fn named(name: &str) -> Result<Group> {
        let act = |errno| Error::os(format!("look up group {name}"), errno);
        if let Some(group) = unistd::Group::from_name(name).map_err(act)? {
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

/// Whom a process becomes: a user, a group, and the other groups he is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Privileges {
    /// The user.
    pub user: User,
    /// The group.
    pub group: Group,
    /// Numbers of the other groups.
    pub supplementary: Vec<u32>,
}

impl Privileges {
    /// Makes the privileges that a login of this user would have: his primary group and his
    /// supplementary groups.
    ///
    /// # Errors
    ///
    /// [`Error::NoPrimaryGroup`] if he is known by number only, and so has no primary group.
    pub fn of(user: User) -> Result<Privileges> {
        match user.primary {
            Some(gid) => Privileges::with_group(user, Group::numbered(gid)?),
            None => Err(Error::NoPrimaryGroup { user: user.name.clone() }),
        }
    }

    /// Makes the privileges of this user in this group, instead of his primary one; his
    /// supplementary groups stay.
    ///
    /// # Errors
    ///
    /// If the group database can't be read.
    pub fn with_group(user: User, group: Group) -> Result<Privileges> {
        let act = || format!("look up the groups of user {}", user.name);
        let supplementary = match user.primary {
            Some(_) => platform::groups_of(&user.name, group.gid)
                .map_err(|error| Error::os(act(), error))?,
            None => vec![group.gid],
        };
        Ok(Privileges { user, group, supplementary })
    }
}

impl Privileges {
    /// Refuses at once what [`drop_to`] would refuse later: to become another without being root.
    ///
    /// # Errors
    ///
    /// [`Error::NotRoot`].
    pub fn check(&self) -> Result<()> {
        let uid = unistd::geteuid();
        if uid.is_root() {
            return Ok(());
        }
        Err(Error::NotRoot {
            act: format!("become user {} and group {}", self.user.name, self.group.name),
            uid: uid.as_raw(),
        })
    }
}

/// Tells the number of the effective user of this process.
#[must_use]
pub fn effective_user() -> u32 {
    unistd::geteuid().as_raw()
}

/// Becomes this user and group, in all threads and for good, and proves it.
///
/// The parent death signal is lost by it (see
/// [`die_with_parent`](crate::process::die_with_parent)), and core dumps are off afterwards
/// (prctl(2), `PR_SET_DUMPABLE`).
///
/// # Errors
///
/// - [`Error::NotRoot`] if this process isn't root. Nothing was done.
/// - [`Error::Os`] if a step fails: part may be done, the process should not go on.
/// - [`Error::PrivilegesComeBack`] if the proof fails: the process must not go on. To become user 0
///   is no drop, and then only the groups are proven.
pub fn drop_to(new: &Privileges) -> Result<()> {
    let Privileges { user, group, supplementary } = new;
    let act = || format!("become user {} and group {}", user.name, group.name);
    let root = unistd::geteuid();
    if !root.is_root() {
        return Err(Error::NotRoot { act: act(), uid: root.as_raw() });
    }
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(group.gid));
    let groups: Vec<Gid> = supplementary.iter().copied().map(Gid::from_raw).collect();
    platform::become_all(uid, gid, &groups).map_err(|error| Error::os(act(), error))?;
    platform::prove_ids(uid, gid)?;
    prove_groups(&groups)?;
    if gid.as_raw() != 0 && !uid.is_root() && unistd::setegid(Gid::from_raw(0)).is_ok() {
        return comes_back("group 0 can be had again");
    }
    if !uid.is_root() && (unistd::setuid(root).is_ok() || unistd::seteuid(root).is_ok()) {
        return comes_back("user 0 can be had again");
    }
    Ok(())
}

fn prove_groups(wanted: &[Gid]) -> Result<()> {
    let sorted = |groups: &[Gid]| {
        let mut groups: Vec<u32> = groups.iter().map(|gid| gid.as_raw()).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    };
    match platform::groups() {
        Ok(groups) if sorted(&groups) == sorted(wanted) => Ok(()),
        Ok(groups) => comes_back(&format!("the groups are {:?}", sorted(&groups))),
        Err(error) => Err(Error::os("read the groups of this process", error)),
    }
}

fn comes_back(how: &str) -> Result<()> {
    Err(Error::PrivilegesComeBack { how: how.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_known_by_name_and_by_number() {
        let by_name = User::named("root").expect("there");
        assert_eq!((by_name.uid, by_name.primary), (0, Some(0)));
        assert_eq!(User::named("0").expect("there"), by_name);
        assert_eq!(Group::named("0").expect("there").gid, 0);
    }

    #[test]
    fn nobody_knows_a_made_up_name() {
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
    fn a_number_without_an_entry_needs_a_group() {
        let user = User::named("3999999").expect("a number will do");
        assert_eq!(user.primary, None);
        let alone = Privileges::of(user.clone()).expect_err("refused").to_string();
        assert_eq!(
            alone,
            "cannot tell the primary group of user 3999999: it is known by number only; name a group"
        );
        let group = Group::named("3999998").expect("a number will do");
        let both = Privileges::with_group(user, group).expect("enough");
        assert_eq!(both.supplementary, [3_999_998]);
    }
}
