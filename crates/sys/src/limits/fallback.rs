//! Refuses to set the OOM score, which only Linux has.

use crate::error::{Error, Result};

pub(super) fn oom_score_adj(score: i32) -> Result<()> {
    Err(Error::Unsupported { action: format!("set oom_score_adj to {score}") })
}
