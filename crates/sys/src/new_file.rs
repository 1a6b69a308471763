//! Files that this process has created, so that it can remove them again if it does not need them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::place::{Place, Trust};
use crate::privileges::{Privileges, act_as};

/// A path at which nothing existed before this process created a regular file there.
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
}

/// Which contents a file may have to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoveIf {
    /// The file is removed with its contents.
    Always,
    /// The file is kept if it has contents.
    Empty,
}

impl NewFile {
    /// Returns the path if nothing exists there. Call this before the file is created.
    #[must_use]
    pub fn absent(path: &Path) -> Option<NewFile> {
        let path = std::path::absolute(path).ok()?;
        fs::symlink_metadata(&path).is_err().then_some(NewFile { path })
    }

    /// Removes the file, if there is a regular file now. Root removes it with the permissions of
    /// `user`, if given, unless this user can replace neither the file nor one of its directories.
    ///
    /// # Errors
    ///
    /// If the file cannot be removed.
    pub fn remove(self, condition: RemoveIf, user: Option<&Privileges>) -> Result<()> {
        let remove = || self.remove_in_place(condition);
        let removed = match user {
            Some(user) if !Place::is_protected_from(user, &self.path) => act_as(user, remove)?,
            Some(_) | None => remove(),
        };
        removed.map_err(|error| Error::os(format!("remove {}", self.path.display()), error))
    }

    fn remove_in_place(&self, condition: RemoveIf) -> io::Result<()> {
        let Ok(file) = fs::symlink_metadata(&self.path) else { return Ok(()) };
        let is_removed = match condition {
            RemoveIf::Always => true,
            RemoveIf::Empty => file.len() == 0,
        };
        if file.is_file() && is_removed {
            Place::find(&self.path, Trust::Own)?.remove()
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_is_removed_and_an_existing_one_is_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        let new = NewFile::absent(&path).expect("nothing exists");
        new.remove(RemoveIf::Always, None).expect("nothing to remove");
        let new = NewFile::absent(&path).expect("nothing exists");
        fs::write(&path, "").expect("written");
        assert!(NewFile::absent(&path).is_none());
        new.remove(RemoveIf::Empty, None).expect("removed");
        assert!(!path.exists());
        std::os::unix::fs::symlink("nowhere", &path).expect("linked");
        assert!(NewFile::absent(&path).is_none());
    }

    #[test]
    fn a_file_with_contents_is_removed_only_on_demand() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        for (condition, stays) in [(RemoveIf::Empty, true), (RemoveIf::Always, false)] {
            let _ = fs::remove_file(&path);
            let new = NewFile::absent(&path).expect("nothing exists");
            fs::write(&path, "why").expect("written");
            new.remove(condition, None).expect("removed or kept");
            assert_eq!(path.exists(), stays);
        }
    }
}
