//! Sets the OOM score by writing to `/proc`.

use std::fs;

use crate::error::{Error, Result};

pub(super) fn oom_score_adj(score: i32) -> Result<()> {
    fs::write("/proc/self/oom_score_adj", score.to_string())
        .map_err(|error| Error::os(format!("set oom_score_adj to {score}"), error))
}
