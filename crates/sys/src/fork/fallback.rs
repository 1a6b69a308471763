//! Counting threads is not supported, so every fork is refused.

use super::Thread;
use crate::error::{Error, Result};

pub(super) fn is_alone() -> Result<bool> {
    Err(Error::Unsupported { action: "count the threads of this process".into() })
}

pub(super) fn others() -> Vec<Thread> {
    Vec::new()
}
