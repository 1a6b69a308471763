//! Counting threads where no way is known: not knowing is no leave to fork.

use super::Thread;
use crate::error::{Error, Result};

pub(super) fn is_alone() -> Result<bool> {
    Err(Error::Unsupported { act: "count the threads of this process".into() })
}

pub(super) fn others() -> Vec<Thread> {
    Vec::new()
}
