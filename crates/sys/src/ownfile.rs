//! A file that this process has made, and the path that leads to it.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::place::{Entry, Place, Trust};

/// The path of a file that this process has made, and the identity of the file.
///
/// The identity is meaningful as long as a process has the file open: later the system may give it
/// to another file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl OwnFile {
    pub(crate) fn new(path: &Path, entry: &Entry) -> OwnFile {
        OwnFile { path: path.to_owned(), identity: entry.identity }
    }

    /// Returns the path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether the path still leads to the file. It does not if the file was removed or
    /// replaced, or if a directory of the path was.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        self.place().is_some()
    }

    fn place(&self) -> Option<Place> {
        let place = Place::find(&self.path, Trust::Own).ok()?;
        let there = place.entry().ok()??;
        (there.identity == self.identity).then_some(place)
    }

    /// Removes the file. If another file has replaced it at the path, that file is kept.
    ///
    /// # Errors
    ///
    /// If the file cannot be removed, for example because its directory belongs to root, and the
    /// process has dropped its privileges.
    pub fn remove(&self) -> Result<()> {
        match self.place() {
            Some(place) => place
                .remove()
                .map_err(|error| Error::os(format!("remove {}", self.path.display()), error)),
            None => Ok(()),
        }
    }
}
