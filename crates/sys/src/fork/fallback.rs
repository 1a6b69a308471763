//! Refuses every fork, on systems on which this crate cannot count the threads of a process.

use super::Thread;
use crate::error::{Error, Result};

pub(super) fn is_alone() -> Result<bool> {
    Err(Error::Unsupported { action: "count the threads of this process".into() })
}

pub(super) fn others() -> Vec<Thread> {
    Vec::new()
}
