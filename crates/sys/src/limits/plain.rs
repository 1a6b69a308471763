//! The out-of-memory score where there is none.

use crate::error::{Error, Result};

pub(super) fn oom_score_adj(score: i32) -> Result<()> {
    Err(Error::Unsupported { act: format!("set oom_score_adj to {score}") })
}
