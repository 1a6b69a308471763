//! Whether a user can replace a file or one of its directories.
//!
//! A process with root's permissions must not create a file, change its owner or remove it if
//! another user controls the path: that user could replace a directory by a symbolic link between
//! two starts of the daemon, or while the daemon starts.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use crate::privileges::Privileges;

/// The maximum number of symbolic links in a path, as in path_resolution(7).
const LINKS_MAX: usize = 40;

const GROUP_WRITE: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Returns whether neither this user nor any other user except root can replace the file at this
/// path, or one of the directories and symbolic links that lead to it. The file itself need not
/// exist. A group that may write to a directory is trusted unless the user is in it.
///
/// # Errors
///
/// If one of the directories cannot be examined, for example because it does not exist.
pub(crate) fn is_protected_from(path: &Path, user: &Privileges) -> io::Result<bool> {
    let path = std::path::absolute(path)?;
    let mut names: VecDeque<OsString> = names(path.parent().unwrap_or(&path)).collect();
    let mut links = 0;
    let mut directory = PathBuf::from("/");
    let mut found = fs::symlink_metadata(&directory)?;
    if !is_owned_by_root(&found) {
        return Ok(false);
    }
    while let Some(name) = names.pop_front() {
        if access_to(&found, user) == WriteAccess::Any {
            return Ok(false);
        }
        if name == ".." {
            directory.pop();
            found = fs::symlink_metadata(&directory)?;
            continue;
        }
        let next = directory.join(&name);
        let entry = fs::symlink_metadata(&next)?;
        if !is_owned_by_root(&entry) {
            return Ok(false);
        }
        if !entry.is_symlink() {
            (directory, found) = (next, entry);
            continue;
        }
        links += 1;
        if links > LINKS_MAX {
            return Ok(false);
        }
        let target = fs::read_link(&next)?;
        if target.is_absolute() {
            directory = PathBuf::from("/");
            found = fs::symlink_metadata(&directory)?;
        }
        for name in self::names(&target).collect::<Vec<_>>().into_iter().rev() {
            names.push_front(name);
        }
    }
    Ok(access_to(&found, user) == WriteAccess::RootOnly)
}

fn names(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    })
}

fn is_owned_by_root(entry: &Metadata) -> bool {
    entry.uid() == 0
}

/// Who may change the entries of a directory that root owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WriteAccess {
    RootOnly,
    /// Everyone may create entries, and nobody may replace those that root owns.
    OwnEntries,
    Any,
}

fn access_to(directory: &Metadata, user: &Privileges) -> WriteAccess {
    let mode = directory.mode();
    let in_group =
        user.group.gid == directory.gid() || user.supplementary.contains(&directory.gid());
    let is_writable = mode & OTHERS_WRITE != 0 || (mode & GROUP_WRITE != 0 && in_group);
    match (is_writable, mode & STICKY != 0) {
        (false, _) => WriteAccess::RootOnly,
        (true, true) => WriteAccess::OwnEntries,
        (true, false) => WriteAccess::Any,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;
    use crate::privileges::{Group, User};

    fn user() -> Privileges {
        let user = User { name: "4711".into(), uid: 4711, primary: None, home: None };
        let group = Group { name: "4712".into(), gid: 4712 };
        Privileges { user, group, supplementary: vec![4712, 4713] }
    }

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("changed");
    }

    #[test]
    fn a_path_is_protected_only_if_root_alone_can_replace_its_parts() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: only root can create directories of other users");
            return;
        }
        let temporary = tempfile::tempdir().expect("a directory");
        let root = temporary.path();
        let (safe, theirs) = (root.join("safe"), root.join("theirs"));
        for directory in [&safe, &theirs, &theirs.join("inner")] {
            fs::create_dir(directory).expect("created");
            mode(directory, 0o755);
        }
        chown(&theirs, Some(4711), None).expect("changed");
        symlink(&theirs, safe.join("link")).expect("linked");
        symlink("../safe", safe.join("up")).expect("linked");
        symlink(&safe, theirs.join("escape")).expect("linked");
        symlink("loop", safe.join("loop")).expect("linked");
        let is_protected = |path: &Path| is_protected_from(path, &user()).expect("examined");
        assert!(is_protected(&safe.join("x")));
        assert!(is_protected(&safe.join("up/up/x")));
        assert!(!is_protected(&theirs.join("x")));
        assert!(!is_protected(&theirs.join("inner/x")));
        assert!(!is_protected(&theirs.join("escape/x")));
        assert!(!is_protected(&safe.join("link/x")));
        assert!(!is_protected(&safe.join("link/escape/x")));
        assert!(!is_protected(&safe.join("loop/x")));
        assert!(!is_protected(Path::new("/tmp/x")));
        is_protected_from(&safe.join("none/x"), &user()).expect_err("no such directory");
        for (group, bits, expected) in [
            (4713, 0o775, false),
            (4714, 0o775, true),
            (4713, 0o755, true),
            (4714, 0o757, false),
            (4714, 0o1777, false),
        ] {
            chown(&safe, Some(0), Some(group)).expect("changed");
            mode(&safe, bits);
            assert_eq!(is_protected(&safe.join("x")), expected, "{group} {bits:o}");
        }
    }
}
