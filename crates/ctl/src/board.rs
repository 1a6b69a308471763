//! The scoreboard's file, read without the daemon's help.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use daemon_core::{MonotonicTime, ScoreboardReader};
use daemon_sys::shared;

use crate::failure::Failure;
use crate::picture::Picture;

/// A scoreboard that is kept in a file. A daemon that starts anew makes a new file of that name; it is
/// opened then.
#[derive(Debug)]
pub(crate) struct BoardFile {
    path: PathBuf,
    open: Option<(FileId, ScoreboardReader)>,
}

/// Device and inode.
type FileId = (u64, u64);

impl BoardFile {
    /// Names it; nothing is opened yet.
    pub(crate) fn at(path: &Path) -> BoardFile {
        BoardFile { path: path.to_owned(), open: None }
    }

    /// Reads it.
    ///
    /// # Errors
    ///
    /// If it is not there, may not be read, or is no scoreboard of this version.
    pub(crate) fn look(&mut self, now: MonotonicTime) -> Result<Picture, Failure> {
        let board = self.board()?;
        Ok(Picture::of_board(&board, now))
    }

    fn board(&mut self) -> Result<ScoreboardReader, Failure> {
        let id =
            fs::metadata(&self.path).map(|data| (data.dev(), data.ino())).map_err(|error| {
                daemon_sys::Error::os(format!("open shared file {}", self.path.display()), error)
            })?;
        match &self.open {
            Some((open, board)) if *open == id => Ok(*board),
            Some(_) | None => {
                let lines = shared::open_file(&self.path)?;
                let board = ScoreboardReader::open(lines)
                    .map_err(|source| Failure::NoBoard { board: self.path.clone(), source })?;
                self.open = Some((id, board));
                Ok(board)
            }
        }
    }
}

/// Now, on the clock that scoreboards are written by.
pub(crate) fn now() -> MonotonicTime {
    MonotonicTime::from_since_boot(daemon_sys::clock::monotonic())
}
