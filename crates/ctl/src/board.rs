//! Reads the scoreboard file of a daemon, without connecting to the daemon.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use daemon_core::{MonotonicTime, ScoreboardReader};
use daemon_sys::shared;

use crate::error::CtlError;
use crate::snapshot::Snapshot;

/// A scoreboard file. If a restarted daemon replaces the file, the next read opens the new file.
#[derive(Debug)]
pub(crate) struct BoardFile {
    path: PathBuf,
    open: Option<(FileId, ScoreboardReader)>,
}

/// Identifies a file by its device and inode.
type FileId = (u64, u64);

impl BoardFile {
    /// Returns the scoreboard file at this path, without opening it.
    pub(crate) fn new(path: &Path) -> BoardFile {
        BoardFile { path: path.to_owned(), open: None }
    }

    /// Reads the scoreboard.
    ///
    /// # Errors
    ///
    /// Returns an error if the file does not exist, cannot be read, or does not contain a
    /// scoreboard in the format version that this daemonctl reads.
    pub(crate) fn read(&mut self, now: MonotonicTime) -> Result<Snapshot, CtlError> {
        let board = self.board()?;
        Ok(Snapshot::of_board(&board, now))
    }

    fn board(&mut self) -> Result<ScoreboardReader, CtlError> {
        let id =
            fs::metadata(&self.path).map(|data| (data.dev(), data.ino())).map_err(|error| {
                daemon_sys::Error::os(
                    format!("open scoreboard file {}", self.path.display()),
                    error,
                )
            })?;
        match &self.open {
            Some((open, board)) if *open == id => Ok(*board),
            Some(_) | None => {
                let lines = shared::open_file(&self.path)?;
                let board = ScoreboardReader::open(lines).map_err(|source| {
                    CtlError::InvalidBoard { board: self.path.clone(), source }
                })?;
                self.open = Some((id, board));
                Ok(board)
            }
        }
    }
}

/// Returns the current time of the clock that scoreboards use.
pub(crate) fn now() -> MonotonicTime {
    MonotonicTime::from_since_boot(daemon_sys::clock::monotonic())
}
